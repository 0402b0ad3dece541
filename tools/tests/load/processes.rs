//! A run of several processes is told as one, and what a run leaves in files.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::check;
use crate::client::Client;
use crate::server::{Server, chunk, stamp, stream};

#[test]
fn three_processes_are_told_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let (per_id, file) = (folder.path().join("per_id"), folder.path().join("report"));
    let server = Server::start(stream);
    let arguments = format!(
        "--connections 10 --processes 3 --slow 1 --slow-rate 1000000 --storm-at 1ms --expect 18 \
         --per-id {} --json {}",
        per_id.display(),
        file.display()
    );
    let client = Client::load(&server.url(), &arguments);
    check(
        &client.wait_for("connected"),
        &json!({"connections": 10, "open": 10, "refused": 0}),
    );
    check(
        &client.wait_for("storm"),
        &json!({"cut": 10, "back": 10, "errors": 0}),
    );
    let mut back = server.streams_of(20).split_off(10);
    let peers: BTreeSet<_> = back.iter().map(|stream| stream.peer.ip()).collect();
    assert_eq!(peers.len(), 3, "an address for each process: {peers:?}");
    for stream in &mut back {
        let two = [chunk(&stamp(stream.id)), chunk("plain")].concat();
        stream.send(&two);
    }
    assert_eq!(client.wait_for("expected")["messages"], 18);
    let (report, status) = client.report();
    assert_eq!(status, 0, "{report:#}");
    check(
        &report,
        &json!({"ok": true, "processes": 3, "connections": 10, "open": 10, "messages": 18,
            "stamps": 9, "misrouted": 0, "left": 9, "returned": 9, "ended_by": "expected"}),
    );
    assert!(report["latency_us_p99"].is_u64());
    let lines = fs::read_to_string(&per_id).unwrap();
    let ids: Vec<_> = lines
        .lines()
        .map(|line| line.split_once(' ').unwrap().0)
        .collect();
    assert_eq!(ids, (1..=10).map(|id| id.to_string()).collect::<Vec<_>>());
    // All but the last, who reads slowly and may not be done.
    assert!(
        lines.lines().take(9).all(|line| line.ends_with(" 2")),
        "{lines}"
    );
    let written: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(written, report);
}

#[test]
fn a_process_that_is_lost_ends_the_run() {
    let server = Server::start(stream);
    let client = Client::load(&server.url(), "--connections 2 --processes 2");
    client.wait_for("connected");
    let parent = client.pid().to_string();
    let kill = "kill -KILL $(ps -o pid= --ppid \"$0\" | head -n 1)";
    let killed = Command::new("sh").args(["-c", kill, &parent]).status();
    assert!(killed.unwrap().success());
    assert_eq!(client.status(), 74);
}

#[test]
fn a_signal_ends_all_processes_in_order() {
    let server = Server::start(stream);
    let client = Client::load(&server.url(), "--connections 4 --processes 2");
    client.wait_for("connected");
    for mut stream in server.streams_of(4) {
        stream.send(&chunk("last words"));
    }
    client.terminate();
    let (report, status) = client.report();
    assert_eq!(status, 0, "{report:#}");
    check(&report, &json!({"ended_by": "signal", "opened": 4}));
}

#[test]
fn the_watched_process_is_in_the_report_and_the_plot() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plot.svg");
    let server = Server::start(stream);
    let arguments = format!(
        "--duration 1100ms --watch-pid {} --plot {}",
        std::process::id(),
        plot.display()
    );
    let client = Client::load(&server.url(), &arguments);
    client.wait_for("connected");
    let (report, status) = client.report();
    assert_eq!(status, 0, "{report:#}");
    for when in ["before", "connected", "max", "end"] {
        let bytes = report["memory"][format!("rss_bytes_{when}")].as_u64();
        assert!(
            bytes.is_some_and(|bytes| bytes > 4096),
            "{when}: {report:#}"
        );
    }
    let picture = fs::read_to_string(&plot).unwrap();
    for words in ["<svg", "resident memory", "open connections"] {
        assert!(picture.contains(words), "{words}");
    }
}
