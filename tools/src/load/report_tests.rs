//! What a run's report says of what happened.

use serde_json::{Value, json};

use super::super::stamp::Stamp;
use super::*;

const RUN: Run = Run {
    ended_by: EndedBy::Expected,
    connections: 3,
    open: 2,
    expect: Some(2),
    connecting: Duration::from_millis(500),
    receiving: Duration::from_secs(2),
    total: Duration::from_secs(3),
};

const MESSAGE: Event = Event::Message {
    payload_bytes: 10,
    stamped: true,
};

fn told(tally: &Tally) -> Value {
    serde_json::to_value(tally.finish(RUN)).unwrap()
}

fn stamped(sent_ns: u64, ours: bool) -> Event {
    Event::Stamped(Stamp { sent_ns, ours })
}

#[test]
fn numbers_carry_their_unit() {
    let mut tally = Tally::new();
    for id in [1, 2] {
        tally.handle(Event::Opened, id, 0);
        tally.handle(stamped(1_000_000, true), id, 3_000_000);
        tally.handle(MESSAGE, id, 3_000_000);
    }
    tally.handle(Event::Refused(503), 3, 0);
    let report = told(&tally);
    assert_eq!(report["ok"], true);
    assert_eq!(report["ended_by"], "expected");
    assert_eq!(report["messages"], 2);
    assert_eq!(report["payload_bytes"], 20);
    assert_eq!(report["messages_per_second"], 1.0);
    assert_eq!(report["refused_by_status"], json!({"503": 1}));
    let p99 = report["latency_us_p99"].as_u64().unwrap();
    assert!((2000..=2002).contains(&p99), "{p99}");
}

#[test]
fn without_stamps_there_is_no_latency() {
    assert_eq!(told(&Tally::new())["latency_us_p50"], Value::Null);
}

#[test]
fn a_clock_ahead_is_told_and_no_negative_latency() {
    let mut tally = Tally::new();
    tally.handle(stamped(2_000_000, true), 1, 1_000_000);
    assert_eq!(told(&tally)["stamps_from_the_future"], 1);
    assert_eq!(told(&tally)["latency_us_max"], 0);
}

#[test]
fn what_is_out_of_order_is_not_ok() {
    let with_two = || {
        let mut tally = Tally::new();
        tally.handle(MESSAGE, 1, 0);
        tally.handle(MESSAGE, 1, 0);
        tally
    };
    assert_eq!(told(&with_two())["ok"], true);

    let mut more = with_two();
    more.handle(MESSAGE, 1, 0);
    assert_eq!(told(&more)["ok"], false);

    let mut misrouted = with_two();
    misrouted.handle(stamped(0, false), 1, 0);
    assert_eq!(told(&misrouted)["ok"], false);

    let mut broken = with_two();
    broken.handle(Event::Faulted(Fault::ChunkSize), 1, 0);
    let report = told(&broken);
    assert_eq!(report["ok"], false);
    assert_eq!(report["framing_errors"], 1);
    assert_eq!(
        report["framing_errors_by_kind"],
        json!({ Fault::ChunkSize.to_string(): 1 })
    );
}

#[test]
fn every_used_id_has_its_line() {
    let ids: IdRange = "7-100".parse().unwrap();
    let mut tally = Tally::new().with_per_id(ids, 3);
    tally.handle(MESSAGE, 9, 0);
    tally.handle(MESSAGE, 9, 0);
    assert_eq!(tally.per_id_lines(), "7 0\n8 0\n9 2\n");
}

#[test]
fn progress_tells_the_last_second_only() {
    let mut tally = Tally::new();
    tally.handle(stamped(0, true), 1, 5_000);
    tally.handle(MESSAGE, 1, 5_000);
    let second = Duration::from_secs(1);
    let line = tally.progress(10, 9, second);
    assert_eq!(
        line,
        "load: open 9/10  messages 1 (1/s)  latency p50 5 us, p99 5 us"
    );
    let line = tally.progress(10, 9, second);
    assert_eq!(line, "load: open 9/10  messages 1 (0/s)");
}
