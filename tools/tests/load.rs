//! `lariat-tools load` against a server that does what each test tells it, over real sockets.
//!
//! The node itself is not needed here: what it must do is checked with this tool elsewhere, and
//! the tool must be right before.

#![expect(clippy::unwrap_used, reason = "tests, and functions only tests call")]

mod client;
#[path = "load/leaving.rs"]
mod leaving;
#[path = "load/processes.rs"]
mod processes;
mod server;
#[path = "load/slow.rs"]
mod slow;
#[path = "load/websockets.rs"]
mod websockets;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use client::Client;
use server::{Server, chunk, stamp, stamp_before, stream};

/// The report's fields that must have these values.
#[track_caller]
fn check(report: &Value, expected: &Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&report[field], value, "{field} in {report:#}");
    }
}

#[test]
fn expected_chunks_are_counted_by_id_and_timed() {
    let folder = tempfile::tempdir().unwrap();
    let per_id = folder.path().join("per_id");
    let ready = folder.path().join("ready");
    let server = Server::start(stream);
    let arguments = format!(
        "--connections 4 --ids 7-9 --expect 9 --quiet 1h --per-id {} --ready-file {}",
        per_id.display(),
        ready.display()
    );
    let client = Client::load(&server.url(), &arguments);
    let connected = client.wait_for("connected");
    check(
        &connected,
        &json!({"connections": 4, "open": 4, "refused": 0}),
    );
    let written: Value = serde_json::from_str(&fs::read_to_string(&ready).unwrap()).unwrap();
    assert_eq!(written, connected);

    let mut streams = server.streams();
    let mut ids: Vec<_> = streams.iter().map(|stream| stream.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [7, 7, 8, 9]);
    for stream in &mut streams {
        stream.trickle(&chunk("\n"));
        stream.trickle(&chunk(&stamp(stream.id)));
        let two = [chunk("plain"), chunk(&format!("x{}y", stamp(stream.id)))].concat();
        stream.send(&two);
    }
    // Nobody is left who could break the silence: it need not be waited for.
    streams.iter_mut().for_each(server::Stream::close);
    let (report, status) = client.report();
    assert_eq!(status, 1, "12 messages are not 9: {report:#}");
    check(
        &report,
        &json!({"ok": false, "messages": 12, "messages_expected": 9, "ended_by": "exceeded",
            "heartbeats": 4, "messages_unstamped": 4, "stamps": 8, "misrouted": 0,
            "framing_errors": 0, "closed_unfinished": 4, "open": 0}),
    );
    assert!(report["latency_us_p99"].as_u64().unwrap() < 60_000_000);
    assert_eq!(fs::read_to_string(&per_id).unwrap(), "7 6\n8 3\n9 3\n");
}

#[test]
fn expected_events_end_the_run_well() {
    let server = Server::start(stream);
    let client = Client::load(
        &server.url(),
        "--connections 20 --transport sse --expect 40",
    );
    client.wait_for("connected");
    let mut streams = server.streams();
    for stream in &mut streams {
        stream.trickle(&chunk("retry: 1000\n\n:"));
        let event = format!(
            "\nevent: e\ndata: {}\ndata: more\n\ndata:",
            stamp(stream.id)
        );
        stream.send(&chunk(&event));
        stream.send(&chunk(" last\n\n"));
    }
    assert_eq!(client.wait_for("expected")["messages"], 40);
    let (report, status) = client.report();
    assert_eq!(status, 0, "{report:#}");
    check(
        &report,
        &json!({"ok": true, "messages": 40, "ended_by": "expected", "heartbeats": 20,
            "stamps": 20, "misrouted": 0, "framing_errors": 0, "open": 20}),
    );
}

#[test]
fn a_message_for_somebody_else_is_found() {
    let server = Server::start(stream);
    let client = Client::load(&server.url(), "--connections 2 --expect 2");
    client.wait_for("connected");
    let mut streams = server.streams();
    for stream in &mut streams {
        stream.send(&chunk(&stamp(1)));
    }
    client.wait_for("expected");
    let (report, status) = client.report();
    assert_eq!(status, 1);
    check(
        &report,
        &json!({"ok": false, "messages": 2, "misrouted": 1}),
    );
}

#[test]
fn too_few_messages_time_out() {
    let server = Server::start(stream);
    let client = Client::load(&server.url(), "--expect 1 --timeout 50ms");
    client.wait_for("connected");
    let (report, status) = client.report();
    assert_eq!(status, 1);
    check(
        &report,
        &json!({"ok": false, "ended_by": "timeout", "messages": 0, "open": 1}),
    );
}

#[test]
fn refusals_are_counted_by_status() {
    let server = Server::start(|path, wants_events| match path {
        "/stream/1" => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/stream/2" => "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone".to_owned(),
        _ => stream(path, wants_events),
    });
    let client = Client::load(&server.url(), "--connections 4 --ids 1-3 --duration 10ms");
    check(
        &client.wait_for("connected"),
        &json!({"open": 1, "refused": 3}),
    );
    let (report, status) = client.report();
    assert_eq!(status, 0, "nothing was expected: {report:#}");
    check(
        &report,
        &json!({"opened": 1, "open": 1, "refused": 3, "ended_by": "duration",
            "refused_by_status": {"404": 1, "503": 2}}),
    );
}

#[test]
fn a_broken_format_is_a_framing_error() {
    let server = Server::start(stream);
    let client = Client::load(&server.url(), "--connections 2");
    client.wait_for("connected");
    let mut streams = server.streams();
    streams[0].send(b"5\r\nhello\r\nnonsense\r\n");
    streams[1].send(b"5\r\nhell");
    streams[1].close();
    let (report, status) = client.report();
    assert_eq!(status, 1);
    check(
        &report,
        &json!({"ok": false, "ended_by": "all_closed", "framing_errors": 1, "messages": 1,
            "framing_errors_by_kind": {"chunk size is not 1 to 8 hex digits": 1},
            "closed_mid_message": 1, "open": 0}),
    );
}

#[test]
fn an_orderly_end_is_complete() {
    let server = Server::start(stream);
    let client = Client::load(&server.url(), "--expect 1 --quiet 1h");
    client.wait_for("connected");
    server.streams()[0].send(&[chunk("x"), b"0\r\n\r\n".to_vec()].concat());
    client.wait_for("expected");
    let (report, status) = client.report();
    assert_eq!(status, 0);
    check(
        &report,
        &json!({"ended_by": "expected", "closed_complete": 1}),
    );
}

#[test]
fn nobody_listening_is_a_connect_error() {
    // A port that was free a moment ago may be given to another, or to the client itself; tcpmux is not.
    let client = Client::load("http://127.0.0.1:1/{id}", "--connections 3 --expect 1");
    client.wait_for("connected");
    let (report, status) = client.report();
    assert_eq!(status, 1);
    check(
        &report,
        &json!({"connect_errors": 3, "connect_errors_by_kind": {"connection refused": 3},
            "ended_by": "all_closed"}),
    );
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let server = Server::start(|_, _| String::new());
    let client = Client::load(&server.url(), "--connections 3 --opening-timeout 50ms");
    check(
        &client.wait_for("connected"),
        &json!({"open": 0, "opening_timeouts": 3}),
    );
    let (report, _) = client.report();
    check(&report, &json!({"opening_timeouts": 3, "opened": 0}));
}

#[test]
fn a_held_run_ends_with_standard_input() {
    let server = Server::start(stream);
    let mut client = Client::load(&server.url(), "--expect 1 --until-stdin-closes");
    client.wait_for("connected");
    let mut streams = server.streams();
    streams[0].send(&chunk("one"));
    client.wait_for("expected");
    client.close_stdin();
    let (report, status) = client.report();
    assert_eq!(status, 0);
    check(
        &report,
        &json!({"ended_by": "stdin", "messages": 1, "open": 1}),
    );
}

#[test]
fn a_signal_ends_the_run_with_a_report() {
    let server = Server::start(stream);
    let client = Client::load(&server.url(), "");
    client.wait_for("connected");
    client.terminate();
    let (report, status) = client.report();
    assert_eq!(status, 0);
    check(&report, &json!({"ended_by": "signal", "open": 1}));
}

#[test]
fn many_streams_come_from_several_addresses_at_a_rate() {
    let server = Server::start(stream);
    let client = Client::load(
        &server.url(),
        "--connections 300 --rate 5000 --source-addresses 3 --expect 300 --opening-max 8",
    );
    let connected = client.wait_for("connected");
    let seconds = connected["seconds"].as_f64().unwrap();
    assert!(seconds >= 299.0 / 5000.0, "faster than the rate: {seconds}");
    let mut streams = server.streams();
    let peers: BTreeSet<_> = streams.iter().map(|stream| stream.peer.ip()).collect();
    assert_eq!(peers.len(), 3, "{peers:?}");
    for stream in &mut streams {
        stream.send(&chunk(&stamp(stream.id)));
    }
    client.wait_for("expected");
    let (report, status) = client.report();
    assert_eq!(status, 0, "{report:#}");
    check(
        &report,
        &json!({"messages": 300, "misrouted": 0, "open": 300}),
    );
}

#[test]
fn what_cannot_be_done_is_refused_with_advice() {
    let refused = |arguments: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_lariat-tools"))
            .args(arguments.split_whitespace())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let url = "load --url http://127.0.0.1:1/{id}";
    assert!(refused(&format!("{url} --connections 4000000000")).contains("ulimit -Hn"));
    assert!(refused(&format!("{url} --sources ::1")).contains("one family"));
    assert!(refused(&format!("{url} --source-addresses 255")).contains("254"));
    assert!(refused(&format!("{url} --connections 0")).contains("--connections"));
    assert!(refused("load --url http://127.0.0.1:1/").contains("{id}"));
    assert!(refused("load --url https://127.0.0.1:1/{id}").contains("http://"));
    assert!(refused(&format!("{url} --duration soon")).contains("500ms"));
    assert!(refused(&format!("{url} --timeout 1000years")).contains("--timeout"));
    assert!(refused(&format!("{url} --connections 2 --slow 3")).contains("as many at most"));
    assert!(refused(&format!("{url} --connections 2 --processes 3")).contains("3 processes"));
    assert!(refused(&format!("{url} --drop-every 1s")).contains("--drop-for"));
    assert!(refused("").contains("Usage"));
}

#[test]
fn what_warms_up_is_said_to_have_come_and_expected_with_the_rest() {
    for processes in [1, 2] {
        let server = Server::start(stream);
        let arguments =
            format!("--connections 2 --processes {processes} --warm-up 4 --expect 6 --quiet 1h");
        let client = Client::load(&server.url(), &arguments);
        client.wait_for("connected");
        let mut streams = server.streams();
        for stream in &mut streams {
            let old = chunk(&stamp_before(Duration::from_secs(600), stream.id));
            stream.send(&old.repeat(2));
        }
        assert_eq!(client.wait_for("warm")["messages"], 4);
        for stream in &mut streams {
            stream.send(&chunk(&stamp(stream.id)));
            stream.close();
        }
        client.wait_for("expected");
        let (report, status) = client.report();
        assert_eq!(status, 0, "{report:#}");
        check(&report, &json!({"ok": true, "messages": 6, "stamps": 6}));
        assert!(
            report["latency_us_max"].as_u64().unwrap() < 60_000_000,
            "{report:#}"
        );
    }
}
