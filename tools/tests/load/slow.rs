//! Slow readers: they hold nobody else up, and are told apart.

use serde_json::json;

use crate::check;
use crate::client::Client;
use crate::server::{Server, chunk, stamp, stream};

const MESSAGES: u64 = 40;

#[test]
fn slow_readers_are_slow_and_the_others_are_not() {
    let server = Server::start(stream);
    let client = Client::load(
        &server.url(),
        "--connections 4 --slow 2 --slow-rate 2000 --expect 80",
    );
    client.wait_for("connected");
    let mut streams = server.streams_of(4);
    for stream in &mut streams {
        for _ in 0..MESSAGES {
            stream.send(&chunk(&format!("{:900}{}", "", stamp(stream.id))));
        }
    }
    client.wait_for("expected");
    let (report, status) = client.report();
    assert_eq!(status, 0, "{report:#}");
    check(
        &report,
        &json!({"ok": true, "connections": 4, "open": 4, "opened": 2, "messages": 2 * MESSAGES,
            "misrouted": 0}),
    );
    let slow = &report["slow"];
    check(
        slow,
        &json!({"connections": 2, "opened": 2, "misrouted": 0}),
    );
    // What each may have read in all the time there was, and the read it begins with.
    let seconds = report["total_seconds"].as_f64().unwrap();
    let most = 2.0 * (2000.0 * seconds + 100.0);
    let read = slow["read_bytes"].as_f64().unwrap();
    assert!(read <= most, "{read} bytes in {seconds} s");
}

#[test]
fn a_slow_reader_still_sees_the_end() {
    let server = Server::start(stream);
    let client = Client::load(&server.url(), "--slow 1 --slow-rate 1000000");
    client.wait_for("connected");
    let mut streams = server.streams_of(1);
    streams[0].send(&chunk(&"x".repeat(100_000)));
    streams[0].close();
    let (report, _) = client.report();
    check(&report, &json!({"ended_by": "all_closed", "messages": 0}));
    check(
        &report["slow"],
        &json!({"messages": 1, "closed_unfinished": 1, "payload_bytes": 100_000}),
    );
}
