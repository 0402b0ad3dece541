//! How the program takes its leave, with the real program: what happens, and in which order.
//!
//! The arithmetic of the pace is tested where it is; what Erlang hears, by the suites with Erlang.

#[path = "support/service.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod service;

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use service::{Held, Service, wait_for};

/// What the last `retry:` of a stream asks for.
fn last_retry_ms(received: &str) -> u32 {
    let rest = received.rsplit("retry: ").next().expect("one is there");
    let number = rest.split('\n').next().expect("it ends");
    number.parse().expect("it is a number")
}

#[test]
fn readiness_turns_first_and_accepting_goes_on_for_the_grace() {
    let service = Service::start("drain_timeout = \"2h\"\ndrain_grace = \"1h\"\n");
    assert_eq!(service.admin("/readyz"), (200, "ready\n".into()));
    let _early = service.stream(1);
    service.signal("TERM");
    service.admin_answers("/readyz", 503);
    assert_eq!(service.admin("/healthz").0, 200);
    // Whoever has not noticed yet is served.
    let _late = service.stream(2);
    service.metric("lariat_connections{transport=\"chunked\"} 2");
}

#[test]
fn accepting_stops_before_connections_leave() {
    let mut service = Service::start(
        "drain_timeout = \"50s\"\ndrain_grace = \"off\"\ndrain_rate = 1\nshards = 1\n",
    );
    let held = [service.stream(1), service.stream(2)];
    service.metric("lariat_connections{transport=\"chunked\"} 2");
    let address = service.address("http");
    service.signal("TERM");
    service.logged("the rate", |line| line.contains("\"per_second\":1"));
    wait_for("refusal", || TcpStream::connect(address).is_err());
    for held in held {
        assert!(held.read_to_end().ends_with("0\r\n\r\n"));
    }
    assert!(service.ended().success());
    service.logged("the end", |line| line.contains("\"cut\":0"));
}

#[test]
fn a_given_rate_is_kept_and_returns_are_spread() {
    const CLIENTS: usize = 40;
    let mut service = Service::start(
        "drain_timeout = \"50s\"\ndrain_grace = \"off\"\ndrain_rate = 10\nshards = 2\n\
         [http]\nretry = \"2s\"\ndrain_spread = \"30s\"\n",
    );
    let clients: Vec<Held> = (0..CLIENTS).map(|id| service.events(id)).collect();
    service.metric("lariat_connections{transport=\"sse\"} 40");
    let start = Instant::now();
    service.signal("INT");
    let readers = clients.into_iter().map(|client| {
        thread::spawn(move || {
            let received = client.read_to_end();
            (received, start.elapsed())
        })
    });
    let readers: Vec<_> = readers.collect();
    service.logged("progress", |line| line.contains("\"left\""));
    let mut ends = Vec::new();
    let mut retries = Vec::new();
    for reader in readers {
        let (received, end) = reader.join().expect("no reader panics");
        assert!(received.ends_with("\n\n\r\n0\r\n\r\n"), "{received}");
        assert_eq!(received.matches("retry: ").count(), 2, "{received}");
        retries.push(last_retry_ms(&received));
        ends.push(end);
    }
    // Five a second from each shard, of which one has half or more: none can be faster, on a machine of any speed.
    ends.sort_unstable();
    let fastest = Duration::from_millis(200 * (CLIENTS as u64 / 2 - 1));
    assert!(ends[CLIENTS - 1] >= fastest, "{ends:?}");
    let least = retries.iter().min().expect("there are some");
    let most = retries.iter().max().expect("there are some");
    assert!((1_000..=31_000).contains(least) && *most <= 31_000);
    assert!(most - least > 10_000, "{retries:?}");
    assert!(service.ended().success());
}

#[test]
fn at_the_deadline_the_rest_is_cut_and_asked_to_spread_too() {
    let mut service = Service::start(
        "drain_timeout = \"2s\"\ndrain_grace = \"off\"\ndrain_rate = 1\nshards = 1\n\
         [http]\ndrain_spread = \"30s\"\n",
    );
    let clients: Vec<Held> = (0..20).map(|id| service.events(id)).collect();
    service.metric("lariat_connections{transport=\"sse\"} 20");
    service.signal("TERM");
    for client in clients {
        let received = client.read_to_end();
        assert!(received.ends_with("\n\n\r\n0\r\n\r\n"), "{received}");
        assert_eq!(received.matches("retry: ").count(), 2, "{received}");
    }
    assert!(service.ended().success());
    let line = service.logged("the end", |line| line.contains("\"cut\""));
    let cut = line.split("\"cut\":").nth(1).expect("it counts");
    let cut = cut.split([',', '}']).next().expect("it ends");
    let cut: usize = cut.parse().expect("it is a number");
    assert!((1..20).contains(&cut), "one a second left before: {line}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut service = Service::start(
        "drain_timeout = \"1h\"\ndrain_grace = \"1h\"\n[http]\nheartbeat = \"off\"\n",
    );
    let held = service.stream(1);
    service.signal("TERM");
    service.logged("the drain", |line| line.contains("draining"));
    service.signal("TERM");
    assert!(service.ended().success());
    service.logged("the reason", |line| line.contains("second SIGTERM"));
    drop(held);
}
