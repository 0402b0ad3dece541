//! Out of open files, in the real program: accepting pauses, says so once, and goes on.
//!
//! The program fits its limits to what it may open when it starts, so the ceiling comes down on it
//! afterwards: what is open stays, and nothing more can be opened.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use super::world::DEADLINE;

/// Descriptors that are left for connections.
const ROOM: u64 = 4;

struct Program {
    child: Child,
    said: Receiver<String>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start() -> Program {
        let any = "127.0.0.1:0";
        let mut child = Command::new(env!("CARGO_BIN_EXE_lariat"))
            .args(["node", "--no-epmd", "--log-format", "json"])
            .args(["--http", any, "--admin", any, "--dist", any])
            .env("LARIAT_COOKIE", "limits")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built for this test");
        let (tell, said) = sync_channel(1000);
        let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| tell.send(line))
        });
        Program { child, said }
    }

    /// The addresses of the listeners `http` and `admin`.
    fn addresses(&self) -> (String, String) {
        let address = |listener: &str| {
            let wanted = format!("\"listener\":\"{listener}\"");
            loop {
                let line = self.said.recv_timeout(DEADLINE).expect("it says where");
                if line.contains(&wanted) {
                    let (_, rest) = line.split_once("\"address\":\"").expect("an address");
                    return rest.split('"').next().expect("its end").to_owned();
                }
            }
        };
        (address("http"), address("admin"))
    }

    fn open_files(&self) -> u64 {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).expect("it runs").count() as u64
    }

    fn lower_limit(&self, to: u64) {
        let lowered = Command::new("prlimit")
            .args(["--pid", &self.child.id().to_string()])
            .arg(format!("--nofile={to}:{to}"))
            .status();
        assert!(lowered.expect("util-linux has prlimit").success());
    }
}

fn client(address: &str, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the backlog has room");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("a deadline can be set");
    stream
        .write_all(request.as_bytes())
        .expect("it takes a request");
    stream
}

fn begin_of_answer(stream: &mut TcpStream) -> String {
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).expect("an answer comes");
    String::from_utf8_lossy(&begin).into_owned()
}

/// A counter, asked for on a connection that stays open: there is no descriptor for another.
fn pauses(admin: &mut BufReader<TcpStream>) -> u64 {
    let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    admin.get_mut().write_all(request).expect("it is connected");
    let mut length = 0;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        admin.read_line(&mut line).expect("an answer comes");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    admin.read_exact(&mut body).expect("the body comes");
    let text = String::from_utf8(body).expect("metrics are text");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("lariat_accept_pauses_total "));
    line.expect("it is counted").parse().expect("a number")
}

#[test]
fn out_of_open_files_accepting_pauses_and_goes_on() {
    let program = Program::start();
    let (http, admin) = program.addresses();
    let mut admin = BufReader::new(client(&admin, ""));
    assert_eq!(pauses(&mut admin), 0);
    let request = |id| format!("GET /stream/{id} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut held = client(&http, &request(0));
    assert_eq!(begin_of_answer(&mut held), "HTTP/1.1 200");
    program.lower_limit(program.open_files() + ROOM);
    let begun = Instant::now();
    let clients: Vec<_> = (1..20).map(|id| client(&http, &request(id))).collect();
    while pauses(&mut admin) < 3 {
        assert!(begun.elapsed() < DEADLINE, "it pauses");
    }
    // It does not spin: there is a tenth of a second between two tries, and never less.
    let most = begun.elapsed().as_millis() / 100 + 1;
    assert!(u128::from(pauses(&mut admin)) <= most.max(3) + 1);
    drop(clients);
    let mut late = client(&http, &request(99));
    assert_eq!(begin_of_answer(&mut late), "HTTP/1.1 200");
    let complains = |line: &String| line.contains("cannot accept");
    while !complains(&program.said.recv_timeout(DEADLINE).expect("it says so")) {}
    assert_eq!(program.said.try_iter().filter(complains).count(), 0, "once");
}
