//! A cable that is pulled: a client on another machine, as two network namespaces are to each other,
//! whose network goes away in the middle of a stream.
//!
//! The test runs itself again within namespaces of its own, so it changes nothing outside of them
//! and they end with it. `liveness` has what needs no second network.
#![cfg(target_os = "linux")]

#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod world;

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use lariat::metrics::Closed;
use lariat::wire::{Event, Id, Message};
use world::World;

/// Set within the namespaces.
const INSIDE: &str = "LARIAT_TEST_INSIDE";

const TEST: &str = "a_pulled_cable_ends_what_went_through_it_and_nothing_else";

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how the test knows that it is in its namespaces"
)]
fn a_pulled_cable_ends_what_went_through_it_and_nothing_else() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let this = std::env::current_exe().expect("a test has a program");
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net"])
        .arg(this)
        .args([TEST, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare is installed");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

fn inside() {
    run("ip", "link set lo up");
    let other = Machine::start();
    let pid = other.0.id();
    run("ip", "link add ours type veth peer name theirs");
    run("ip", &format!("link set theirs netns {pid}"));
    run("ip", "addr add 10.0.0.1/24 dev ours");
    run("ip", "link set ours up");
    other.run("ip addr add 10.0.0.2/24 dev theirs");
    other.run("ip link set theirs up");

    let world = World::start(|config| {
        config.listen = vec![SocketAddr::from(([10, 0, 0, 1], 0)).into()];
        config.heartbeat = Some(Duration::from_millis(300));
        config.client_timeout = Some(Duration::from_secs(1));
    });
    let mut witness = world.stream(1, "");
    let (mut client, mut body) = other.stream(world.address, 2);
    world
        .owner
        .wait("the far stream", |told| told.opened() == 2);
    assert_eq!(world.send(2, Message::new("over the cable")), 1);
    read_until(&mut body, b"over the cable\r\n");

    other.run("ip link set theirs down");
    world.owner.wait("the end of the far stream", |told| {
        let ended = |event: &Event| matches!(event, Event::Closed { id: Id::Int(2), .. });
        told.events.iter().any(ended)
    });
    let closed = [Closed::Io, Closed::Client].map(|reason| world.metrics.closed.of(reason).value());
    assert_eq!(closed.iter().sum::<u64>(), 1);
    assert_eq!(world.send(2, Message::new("too late")), 0);
    assert_eq!(world.send(1, Message::new("Hello")), 1);
    witness.read_until(b"Hello\r\n");
    let _ = client.kill();
    let _ = client.wait();
}

/// A process in a network namespace of its own, which is a machine as far as the network goes.
struct Machine(Child);

impl Machine {
    fn start() -> Machine {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is installed");
        let mut ready = child.stdout.take().expect("it is piped");
        read_until(&mut ready, b"ready\n");
        Machine(child)
    }

    fn command(&self, shell: &str) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.0.id().to_string();
        command.args(["--target", &pid, "--net", "bash", "-c", shell]);
        command
    }

    fn run(&self, shell: &str) {
        let status = self.command(shell).status().expect("nsenter is installed");
        assert!(status.success(), "{shell}: {status}");
    }

    /// A client there, and what it receives.
    fn stream(&self, address: SocketAddr, id: i64) -> (Child, ChildStdout) {
        let (ip, port) = (address.ip(), address.port());
        let shell = format!(
            "exec 3<>/dev/tcp/{ip}/{port}; \
             printf 'GET /stream/{id} HTTP/1.1\\r\\nHost: test\\r\\n\\r\\n' >&3; exec cat <&3"
        );
        let mut command = self.command(&shell);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash is there");
        let body = child.stdout.take().expect("it is piped");
        (child, body)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, arguments: &str) {
    let status = Command::new(program)
        .args(arguments.split(' '))
        .status()
        .unwrap_or_else(|error| panic!("{program}: {error}; Debian has it in iproute2"));
    assert!(status.success(), "{program} {arguments}: {status}");
}

fn read_until(source: &mut impl Read, end: &[u8]) {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(end) {
        source.read_exact(&mut byte).expect("it goes on until then");
        read.extend(byte);
    }
}
