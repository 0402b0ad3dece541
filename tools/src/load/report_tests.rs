//! What a run's report says of what happened.

use serde_json::{Value, json};

use super::super::connection::Event;
use super::super::fault::Fault;
use super::super::stamp::Stamp;
use super::super::target::IdRange;
use super::*;

const RUN: Run = Run {
    ended_by: EndedBy::Expected,
    processes: 1,
    connections: 3,
    slow: 0,
    open: 2,
    expect: Some(2),
    connecting: Duration::from_millis(500),
    total: Duration::from_secs(3),
    memory: None,
};

const MESSAGE: Event = Event::Message {
    payload_bytes: 10,
    stamped: true,
};

fn told(tally: &Tally) -> Value {
    serde_json::to_value(Report::new(tally, RUN)).unwrap()
}

fn stamped(sent_ns: u64, ours: bool) -> Event {
    Event::Stamped(Stamp { sent_ns, ours })
}

#[test]
fn numbers_carry_their_unit() {
    let mut tally = Tally::new();
    for id in [1, 2] {
        tally.handle(Event::Opened, id, false, 0);
        let now_ns = 3_000_000 + (id - 1) * 2_000_000_000;
        tally.handle(stamped(now_ns - 2_000_000, true), id, false, now_ns);
        tally.handle(MESSAGE, id, false, now_ns);
    }
    let refused = Event::Refused {
        status: 503,
        retry_after_s: None,
    };
    tally.handle(refused, 3, false, 0);
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
    tally.handle(stamped(2_000_000, true), 1, false, 1_000_000);
    assert_eq!(told(&tally)["stamps_from_the_future"], 1);
    assert_eq!(told(&tally)["latency_us_max"], 0);
}

#[test]
fn what_is_out_of_order_is_not_ok() {
    let with_two = || {
        let mut tally = Tally::new();
        tally.handle(MESSAGE, 1, false, 0);
        tally.handle(MESSAGE, 1, false, 0);
        tally
    };
    assert_eq!(told(&with_two())["ok"], true);

    let mut more = with_two();
    more.handle(MESSAGE, 1, false, 0);
    assert_eq!(told(&more)["ok"], false);

    let mut misrouted = with_two();
    misrouted.handle(stamped(0, false), 1, false, 0);
    assert_eq!(told(&misrouted)["ok"], false);

    let mut broken = with_two();
    broken.handle(Event::Faulted(Fault::ChunkSize), 1, false, 0);
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
    tally.handle(MESSAGE, 9, false, 0);
    tally.handle(MESSAGE, 9, false, 0);
    assert_eq!(tally.per_id_lines(), "7 0\n8 0\n9 2\n");
}

#[test]
fn slow_readers_are_told_apart_and_not_expected_from() {
    let mut tally = Tally::new();
    for slow in [false, false, true] {
        tally.handle(Event::Opened, 1, slow, 0);
        tally.handle(
            stamped(0, true),
            1,
            slow,
            if slow { 9_000_000 } else { 1_000 },
        );
        tally.handle(MESSAGE, 1, slow, 1_000);
    }
    let report = serde_json::to_value(Report::new(&tally, Run { slow: 1, ..RUN })).unwrap();
    assert_eq!(
        report["ok"], true,
        "the two of the fast are what was expected"
    );
    assert_eq!(
        (&report["messages"], &report["slow"]["messages"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(report["latency_us_max"], 1);
    assert!(report["slow"]["latency_us_max"].as_u64().unwrap() >= 9_000);
}

#[test]
fn a_storm_that_is_not_over_is_not_ok() {
    let mut tally = Tally::new();
    tally.handle(MESSAGE, 1, false, 0);
    tally.handle(MESSAGE, 1, false, 0);
    tally.storm.handle_cut(1);
    assert_eq!(told(&tally)["ok"], false);
    tally.storm.handle(Event::Opened, Duration::from_secs(2));
    let report = told(&tally);
    assert_eq!(report["ok"], true);
    assert_eq!(report["storm"]["back"], 1);
}

#[test]
fn what_parts_counted_is_told_as_if_one_had() {
    let ids: IdRange = "1-4".parse().unwrap();
    let new = || Tally::new().with_per_id(ids, 4);
    let events = |tally: &mut Tally, id| {
        tally.handle(Event::Opened, id, false, 0);
        tally.handle(stamped(id * 1_000, true), id, id == 2, 5_000_000 * id);
        tally.handle(MESSAGE, id, id == 2, 5_000_000 * id);
        tally.handle(Event::Faulted(Fault::Head), id, false, 0);
    };
    let mut whole = new();
    let mut sum = new();
    for id in 1..=4 {
        events(&mut whole, id);
        let mut part = new();
        events(&mut part, id);
        let sent = serde_json::to_string(&part.drain()).unwrap();
        sum.add(&serde_json::from_str(&sent).unwrap());
        let nothing = part.drain();
        assert_eq!(nothing.fast.counts.opened, 0, "what was drained is gone");
    }
    assert_eq!(told(&sum), told(&whole));
    assert_eq!(sum.per_id_lines(), whole.per_id_lines());
}

#[test]
fn what_warms_up_is_counted_and_not_measured() {
    let mut tally = Tally::new();
    let second = 1_000_000_000;
    for (came_at, took_ns) in [
        (1, 900_000_000),
        (2, 900_000_000),
        (8, 1_000_000),
        (9, 2_000_000),
    ] {
        if came_at == 8 {
            tally.begin_to_measure();
        }
        let now_ns = came_at * second;
        tally.handle(stamped(now_ns - took_ns, true), 1, false, now_ns);
        tally.handle(MESSAGE, 1, false, now_ns);
    }
    let report = told(&tally);
    assert_eq!(
        (&report["messages"], &report["stamps"]),
        (&json!(4), &json!(4))
    );
    assert_eq!(report["messages_per_second"], 2.0);
    assert_eq!(report["receiving_seconds"], 1.0);
    assert!(
        report["latency_us_max"].as_u64().unwrap() < 3000,
        "{report}"
    );
}
