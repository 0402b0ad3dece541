//! What an idle stream over TLS keeps resident, beside a plain one: the whole program, by steps.
//!
//! Prints bytes a stream and CPU time a handshake; judges neither. Argument: streams of each kind
//! (5,000). Linux only: it reads /proc. The clients forget their own TLS once the stream is open.

#![expect(clippy::print_stdout, reason = "a bench prints what it has measured")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

const STEPS: usize = 5;

/// Before the first measurement: what runs once has run.
const WARM: usize = 200;

/// What is freed after a handshake goes back to the system a moment later.
const REST: Duration = Duration::from_secs(2);

fn main() {
    let asked = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let streams: usize = asked.unwrap_or(5_000);
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let authority = certificate(folder.path());
    println!("tls: {streams} idle streams of each kind, the edge's resident memory");
    measure("plain", folder.path(), streams, |stream, id| {
        greet(stream, id)
    });
    for (name, version) in [("TLS 1.3", &TLS13), ("TLS 1.2", &TLS12)] {
        let client = client(&authority, version);
        measure(name, folder.path(), streams, |stream, id| {
            let host = ServerName::try_from("a.example").expect("a name");
            let connection = ClientConnection::new(Arc::clone(&client), host).expect("a client");
            greet(StreamOwned::new(connection, stream), id).sock
        });
    }
}

/// Opens as many in steps, and says what each step has cost.
fn measure(
    name: &str,
    folder: &Path,
    streams: usize,
    open: impl Fn(TcpStream, usize) -> TcpStream,
) {
    let edge = Edge::start(folder, name != "plain");
    let connect = |id| open(edge.connect(id), id);
    let mut held: Vec<_> = (0..WARM).map(connect).collect();
    std::thread::sleep(REST);
    let (base, mut before) = (edge.resident(), edge.resident());
    let mut line = format!("tls: {name}: bytes a stream, by steps:");
    let cpu = edge.cpu();
    for _ in 0..STEPS {
        let more = streams / STEPS;
        held.extend((held.len()..held.len() + more).map(connect));
        std::thread::sleep(REST);
        let now = edge.resident();
        line += &format!(" {:.0}", (now as f64 - before as f64) / more as f64);
        before = now;
    }
    let opened = (held.len() - WARM) as f64;
    let each = (edge.resident() as f64 - base as f64) / opened;
    let cpu_us = (edge.cpu() - cpu) * 1e6 / opened;
    println!("{line}; all {each:.0}; CPU {cpu_us:.0} us to open one");
}

/// Asks for a stream and reads until it is held.
fn greet<S: Read + Write>(mut stream: S, id: usize) -> S {
    let request = format!("GET /stream/{id} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("the edge reads");
    let (mut read, mut byte) = (Vec::new(), [0; 1]);
    while !read.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("the edge answers");
        read.extend(byte);
    }
    assert!(
        read.starts_with(b"HTTP/1.1 200 "),
        "{}",
        read.escape_ascii()
    );
    stream
}

fn client(
    authority: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).expect("it is a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("ring has them");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

fn certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]);
    let made = made.expect("a certificate can be made");
    let write = |name, text| std::fs::write(folder.join(name), text).expect("it is writable");
    write("site.pem", made.cert.pem());
    write("site.key", made.signing_key.serialize_pem());
    made.cert.der().clone()
}

/// The program, and where it listens.
struct Edge {
    child: Child,
    address: SocketAddr,
}

impl Edge {
    fn start(folder: &Path, is_secured: bool) -> Edge {
        let mut config = "[http]\nheartbeat = \"off\"\n[[http.listener]]\n\
                          address = \"127.0.0.1:0\"\n"
            .to_owned();
        if is_secured {
            config += &format!(
                "certificate = {0:?}\nkey = {1:?}\n",
                folder.join("site.pem"),
                folder.join("site.key")
            );
        }
        config += "[dist]\nepmd = false\n";
        let file = folder.join("lariat.toml");
        std::fs::write(&file, config).expect("the folder is writable");
        let mut child = Command::new(env!("CARGO_BIN_EXE_lariat"))
            .args([
                "node",
                "--admin",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "--config",
            ])
            .arg(&file)
            .env("LARIAT_COOKIE", "bench")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut lines = log.lines().map(|line| line.expect("the log is text"));
        let address = lines.find_map(|line| address_in(&line));
        // It goes on logging.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.expect("it says where it listens");
        Edge { child, address }
    }

    /// From addresses in turn: one has too few ports.
    fn connect(&self, id: usize) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let last = u8::try_from(id % 100 + 2).expect("it is small");
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
        socket.bind(&from.into()).expect("all of 127/8 is ours");
        socket
            .connect(&self.address.into())
            .expect("the edge accepts");
        socket.into()
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(path).expect("the program runs, on Linux")
    }

    fn resident(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        1024 * kilobytes
            .and_then(|kb| kb.parse::<u64>().ok())
            .expect("a number")
    }

    /// Seconds, in steps of 10 ms.
    fn cpu(&self) -> f64 {
        let stat = self.proc("stat");
        let after = stat.rsplit_once(") ").expect("a name in brackets").1;
        let ticks = after.split(' ').skip(11).take(2);
        ticks
            .map(|text| text.parse::<f64>().expect("a number"))
            .sum::<f64>()
            / 100.0
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a line such as `..."listener":"http"..."address":"127.0.0.1:8000"...`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let fields: serde_json::Value = serde_json::from_str(line).ok()?;
    let has = |value: &serde_json::Value, key: &str| value.get(key)?.as_str().map(str::to_owned);
    let fields = [Some(&fields), fields.get("fields")];
    let of_http = |value: &&serde_json::Value| {
        has(value, "listener").is_some_and(|name| name.starts_with("http"))
    };
    let found = fields.into_iter().flatten().find(of_http)?;
    has(found, "address")?.parse().ok()
}
