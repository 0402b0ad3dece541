//! Clients that leave by themselves and come back: churn, drops, the storm.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use crate::check;
use crate::client::Client;
use crate::server::{Server, chunk, stamp, stream};

#[test]
fn all_are_cut_at_once_and_come_back_when_they_may() {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let server = Server::start(|path, wants_events| {
        match ASKED.fetch_add(1, Ordering::Relaxed) {
            // Of those that come back, three are told to wait.
            10..13 => "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n".to_owned(),
            _ => stream(path, wants_events),
        }
    });
    let arguments = "--connections 10 --storm-at 1ms --expect 10";
    let client = Client::load(&server.url(), arguments);
    client.wait_for("connected");
    let storm = client.wait_for("storm");
    let expected = json!({"cut": 10, "back": 10, "attempts": 13, "errors": 0,
        "refused_503": 3, "retry_after_honoured": 3});
    check(&storm, &expected);
    let seconds = storm["all_back_seconds"].as_f64().unwrap();
    assert!(seconds >= 1.0, "Retry-After was one second: {seconds}");

    let mut streams = server.streams_of(20);
    let mut back = streams.split_off(10);
    let mut ids: Vec<_> = back.iter().map(|stream| stream.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=10).collect::<Vec<_>>());
    for stream in &mut back {
        stream.send(&chunk(&stamp(stream.id)));
    }
    client.wait_for("expected");
    let (report, status) = client.report();
    assert_eq!(status, 0, "{report:#}");
    check(&report["storm"], &expected);
    check(
        &report,
        &json!({"ok": true, "open": 10, "opened": 20, "left": 10, "returned": 10,
            "refused": 3, "closed_reset": 0, "closed_unfinished": 0}),
    );
}

#[test]
fn who_does_not_come_back_from_the_storm_spoils_the_run() {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let server = Server::start(
        |path, wants_events| match ASKED.fetch_add(1, Ordering::Relaxed) {
            0..2 => stream(path, wants_events),
            _ => "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3600\r\n\r\n".to_owned(),
        },
    );
    let client = Client::load(
        &server.url(),
        "--connections 2 --storm-at 1ms --duration 1s",
    );
    client.wait_for("connected");
    let (report, status) = client.report();
    assert_eq!(status, 1, "{report:#}");
    check(&report, &json!({"ok": false, "ended_by": "duration"}));
    check(
        &report["storm"],
        &json!({"cut": 2, "back": 0, "all_back_seconds": null}),
    );
}

#[test]
fn churn_goes_round_and_leaves_everybody_there() {
    let server = Server::start(stream);
    let client = Client::load(&server.url(), "--connections 5 --churn 500");
    client.wait_for("connected");
    // Each of the five, and each of them twice again.
    let streams = server.streams_of(15);
    let mut times = BTreeMap::<_, u32>::new();
    for stream in &streams {
        *times.entry(stream.id).or_default() += 1;
    }
    assert_eq!(times.len(), 5, "{times:?}");
    assert!(times.values().all(|times| *times >= 2), "{times:?}");
    client.terminate();
    let (report, status) = client.report();
    assert_eq!(status, 0, "{report:#}");
    let number = |name: &str| report[name].as_u64().unwrap();
    assert!(number("left") >= 10 && number("returned") >= number("left") - 5);
    assert_eq!(number("opened"), 5 + number("returned"));
    check(&report, &json!({"ok": true, "refused": 0, "storm": null}));
}

#[test]
fn a_run_may_end_with_resets() {
    for (processes, has_reset) in [(1, true), (2, true), (1, false)] {
        let server = Server::start(stream);
        let reset = if has_reset { "--reset" } else { "" };
        let arguments = format!("--connections 2 --processes {processes} --duration 1ms {reset}");
        let client = Client::load(&server.url(), &arguments);
        client.wait_for("connected");
        let (report, status) = client.report();
        assert_eq!(status, 0, "{report:#}");
        for mut stream in server.streams_of(2) {
            let ended = std::io::Read::read(&mut stream.socket, &mut [0]);
            assert_eq!(ended.is_err(), has_reset, "{ended:?}");
        }
    }
}

#[test]
fn who_is_dropped_stays_away_for_its_time() {
    let server = Server::start(stream);
    let client = Client::load(
        &server.url(),
        "--connections 4 --drop-every 40ms --drop-for 1h --duration 1h",
    );
    client.wait_for("connected");
    let streams = server.streams_of(4);
    for mut stream in streams {
        // A drop is a reset, which ends the reading with an error.
        let ended = std::io::Read::read(&mut stream.socket, &mut [0]);
        assert!(ended.is_err(), "{ended:?}");
    }
    client.terminate();
    let (report, status) = client.report();
    assert_eq!(status, 0, "{report:#}");
    check(
        &report,
        &json!({"open": 0, "left": 4, "returned": 0, "ended_by": "signal"}),
    );
}

#[test]
fn who_comes_back_does_so_when_the_server_ends_the_stream() {
    let server = Server::start(stream);
    let client = Client::load(&server.url(), "--connections 4 --come-back --expect 4");
    client.wait_for("connected");
    for mut stream in server.streams_of(4) {
        stream.close();
    }
    let mut back = server.streams_of(4);
    let mut ids: Vec<_> = back.iter().map(|stream| stream.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4]);
    for stream in &mut back {
        stream.send(&chunk(&stamp(stream.id)));
    }
    client.wait_for("expected");
    let (report, status) = client.report();
    assert_eq!(status, 0, "{report:#}");
    check(
        &report,
        &json!({"ok": true, "open": 4, "opened": 8, "left": 0, "returned": 4,
            "closed_unfinished": 4}),
    );
}
