//! The terms in `test/vectors` mean here what `test/lariat_vectors.erl` says they mean there.
//!
//! Commands are read and compared as values, answers and news are written and compared byte by
//! byte. A vector that no test here knows by name or by the beginning of its name fails.

mod told;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::id::{id, write};
use super::{
    InVm, Names, Request as Asked, Term, Writer, delivery, events, reply, request, signal,
};
use crate::wire::Conn;
use told::{answered, answered_in_vm, news, news_in_vm};

const CONN: Conn = Conn {
    shard: 1,
    slot: 2,
    generation: 3,
};

const EPOCH: u64 = (1 << 63) + 5;

/// A hidden node: its connections are pids.
struct Node;

const CREATION: u32 = 7;

impl Names for Node {
    fn edge(&self) -> &str {
        "lariat@127.0.0.1"
    }

    fn write_conn(&self, writer: &mut Writer, conn: Conn) {
        let (id, serial) = conn.to_pid_parts();
        writer.pid(self.edge(), id, serial, CREATION);
    }
}

fn in_vm() -> InVm {
    InVm {
        name: "live".to_owned(),
    }
}

/// The connection that a pid is.
fn conn(pid: Term<'_>) -> Conn {
    let pid = pid.pid().expect("it is a pid");
    assert_eq!((pid.node, pid.creation), (Node.edge(), CREATION));
    Conn::from_pid_parts(pid.id, pid.serial).expect("it is no pid of the node's own")
}

/// Name, and the term without its version byte.
fn vectors() -> BTreeMap<&'static str, Bytes> {
    include_str!("../../test/vectors/terms.txt")
        .lines()
        .map(|line| {
            let (name, digits) = line.split_once(' ').expect("a name and bytes");
            let bytes = digits.as_bytes().chunks(2).map(|pair| {
                let pair = std::str::from_utf8(pair).unwrap();
                u8::from_str_radix(pair, 16).unwrap()
            });
            (name, bytes.collect())
        })
        .collect()
}

fn term(bytes: &Bytes) -> Term<'_> {
    Term::whole(bytes).expect("Erlang wrote it")
}

/// What the bytes of a message, request or signal are, as text.
fn read(name: &str, bytes: &Bytes) -> String {
    let said = |asked| match request(asked, bytes) {
        Asked::Command(command) => format!("{command:?}"),
        Asked::Attach { pid, options } => {
            let whom = conn(pid);
            let on_credit = options.on_credit;
            match &options.handlers[..] {
                [] => format!("Attach({whom:?}, {on_credit})"),
                handlers => format!("Attach({whom:?}, {on_credit}, {handlers:?})"),
            }
        }
        Asked::Bad => "Bad".to_owned(),
        other => format!("{other:?}"),
    };
    match name.split('_').next() {
        Some("request" | "bad") => said(term(bytes)),
        Some("signal") => format!("{:?}", signal(term(bytes), bytes).expect("it is a signal")),
        _ => match term(bytes).tuple() {
            Some([whom, what]) => delivery(whom, what, None, bytes)
                .map_or_else(|| "Unknown".to_owned(), |command| format!("{command:?}")),
            None => "Unknown".to_owned(),
        },
    }
}

fn sent(ids: &str, payload: &str, meta: &str) -> String {
    sent_as("Text", ids, payload, meta)
}

fn sent_as(form: &str, ids: &str, payload: &str, meta: &str) -> String {
    format!(
        "Send {{ ids: {ids}, message: Message {{ payload: b\"{payload}\", meta: {meta}, form: {form} }}, credit: None }}"
    )
}

fn told(payload: &str, meta: &str) -> String {
    told_as("Text", payload, meta)
}

fn told_as(form: &str, payload: &str, meta: &str) -> String {
    format!("Deliver(Message {{ payload: b\"{payload}\", meta: {meta}, form: {form} }})")
}

fn worded(term: &str, code: u16, text: &str) -> String {
    format!("Worded(Worded {{ term: b\"{term}\", code: {code}, text: \"{text}\" }})")
}

fn answers(all: &str) -> String {
    format!("Answers([{all}])")
}

/// What Erlang asks, by the name of its vector.
fn asked() -> Vec<(&'static str, String)> {
    let plain = |ids: &str, payload: &str| sent(ids, payload, "None");
    let meta = |event: &str, id: &str| {
        format!("Some(EventMeta {{ event: Some(b\"{event}\"), id: {id} }})")
    };
    let user = r"term:h\x02w\x04usera\x07";
    let bye = worded(r"h\x02b\0\0\x0f\xa1m\0\0\0\x03bye", 4001, "bye");
    let ok = worded(r"h\x02b\0\0\x03\xe8k\0\x02ok", 1000, "ok");
    vec![
        ("deliver_int", plain("One(123)", "Hello")),
        ("deliver_binary", plain("One(<<\"alice\">>)", "Hello")),
        ("deliver_iolist", plain("One(1)", "Hello!")),
        ("deliver_text", plain("One(1)", "Hello")),
        ("deliver_nobody", plain("Ints([])", "m")),
        ("deliver_string", plain("Ints([1, 2, 3])", "m")),
        ("deliver_list", plain("Ints([1000])", "m")),
        (
            "deliver_mixed",
            plain(&format!("Many([1, <<\"b\">>, {user}])"), "m"),
        ),
        ("deliver_text_form", plain("One(7)", "m")),
        (
            "deliver_binary_form",
            sent_as("Binary", "Ints([7, 8])", "m", "None"),
        ),
        ("unknown_atom", "Unknown".to_owned()),
        ("unknown_improper", "Unknown".to_owned()),
        ("unknown_payload", "Unknown".to_owned()),
        ("unknown_byte", "Unknown".to_owned()),
        ("request_send", plain("One(1)", "m")),
        ("request_send_many", plain("Many([1, <<\"b\">>])", "ab")),
        (
            "request_send_event",
            sent("One(7)", "m", &meta("tick", "Some(b\"9\")")),
        ),
        ("request_send_plain", plain("One(7)", "m")),
        (
            "request_send_binary_event",
            sent_as("Binary", "One(7)", "m", &meta("tick", "None")),
        ),
        (
            "request_close",
            r#"Close { ids: One(7), reason: Asked(b"h\x02w\x06kickedw\x03out") }"#.to_owned(),
        ),
        (
            "request_close_many",
            r#"Close { ids: Many([7, <<"b">>]), reason: Asked(b"w\x03bye") }"#.to_owned(),
        ),
        (
            "request_close_worded",
            format!("Close {{ ids: One(7), reason: {bye} }}"),
        ),
        (
            "request_close_all",
            "CloseAll { per_second: 1000 }".to_owned(),
        ),
        (
            "request_connections",
            "Connections { id: <<\"alice\">> }".to_owned(),
        ),
        ("request_info", "Info".to_owned()),
        ("request_detach", "Detach".to_owned()),
        ("request_attach", format!("Attach({CONN:?}, false)")),
        (
            "request_attach_handlers",
            format!("Attach({CONN:?}, true, [\"chat\", \"a_1-B\"])"),
        ),
        (
            "request_answer_accept",
            answers(&format!(
                "(Ref({}), Some(Accept {{ id: <<\"alice\">>, options: AcceptOptions {{ headers: [], \
                 heartbeat: None, when_full: None }} }}))",
                1_u64 << 40
            )),
        ),
        (
            "request_answer_accept_options",
            answers(&format!(
                "(Ref(7), Some(Accept {{ id: {user}, options: AcceptOptions {{ headers: \
                 [(b\"Set-Cookie\", b\"a=1\"), (b\"set-cookie\", b\"b=2\")], \
                 heartbeat: Some(Every(30s)), when_full: Some(KeepLatest) }} }}))"
            )),
        ),
        (
            "request_answer_off",
            answers(
                "(Ref(7), Some(Accept { id: 1, options: AcceptOptions { headers: [], \
                 heartbeat: Some(Off), when_full: None } }))",
            ),
        ),
        (
            "request_answer_reply",
            answers(
                "(Ref(7), Some(Reply { status: 200, headers: [(b\"content-type\", \
                 b\"text/html\")], body: b\"<p>hi\" }))",
            ),
        ),
        (
            "request_answer_reject",
            answers("(Ref(7), Some(Reject { status: 403, reason: b\"not today\" }))"),
        ),
        ("request_answer_none", answers("(Ref(7), None)")),
        ("request_answer_none_atom", answers("(Ref(7), None)")),
        ("request_answer_none_option", answers("(Ref(7), None)")),
        ("request_answer_none_id", answers("(Ref(7), None)")),
        (
            "request_answers",
            answers(
                "(Ref(7), Some(Taken)), (Ref(8), Some(Reject { status: 500, reason: b\"\" })), \
                 (Ref(9), None)",
            ),
        ),
        ("request_answers_empty", answers("")),
        ("bad_answer", "Bad".to_owned()),
        ("bad_answers", "Bad".to_owned()),
        ("bad_handlers", "Bad".to_owned()),
        ("bad_handler_name", "Bad".to_owned()),
        ("request_is_auth", "IsAuth".to_owned()),
        ("bad_send", "Bad".to_owned()),
        ("bad_rate", "Bad".to_owned()),
        ("bad_connections", "Bad".to_owned()),
        ("bad_event", "Bad".to_owned()),
        ("bad_option", "Bad".to_owned()),
        ("signal_deliver", told("m", "None")),
        ("signal_text", told("m", "None")),
        ("signal_binary", told_as("Binary", "m", "None")),
        ("signal_event", told("m", &meta("tick", "None"))),
        ("signal_event_id", told("m", &meta("tick", "Some(b\"9\")"))),
        ("signal_close", r#"Close(Asked(b"w\x06normal"))"#.to_owned()),
        (
            "signal_close_reason",
            r#"Close(Asked(b"w\x03bye"))"#.to_owned(),
        ),
        ("signal_close_worded", format!("Close({ok})")),
    ]
}

#[test]
fn commands_mean_what_erlang_means() {
    let vectors = vectors();
    for (name, expected) in asked() {
        assert_eq!(read(name, &vectors[name]), expected, "{name}");
    }
}

#[test]
fn answers_and_news_are_the_bytes_that_erlang_expects() {
    let vectors = vectors();
    for (name, value) in answered() {
        let mut writer = Writer::new();
        reply(&mut writer, &Node, &value);
        assert_eq!(writer.into_bytes(), vectors[name], "{name}");
    }
    for (name, value) in answered_in_vm() {
        let mut writer = Writer::new();
        reply(&mut writer, &in_vm(), &value);
        assert_eq!(writer.into_bytes(), vectors[name], "{name}");
    }
    for (name, batch) in news_in_vm() {
        let mut writer = Writer::new();
        events(&mut writer, &in_vm(), EPOCH, &batch);
        assert_eq!(writer.into_bytes(), vectors[name], "{name}");
    }
    for (name, batch) in news() {
        let mut writer = Writer::new();
        events(&mut writer, &Node, EPOCH, &batch);
        assert_eq!(writer.into_bytes(), vectors[name], "{name}");
    }
}

#[test]
fn ids_have_one_encoding() {
    for (name, bytes) in vectors() {
        if !name.starts_with("id_") {
            continue;
        }
        let id = id(term(&bytes)).unwrap_or_else(|| panic!("{name} is no id"));
        let mut writer = Writer::new();
        write(&mut writer, &id);
        assert_eq!(writer.into_bytes(), bytes, "{name}");
    }
}

#[test]
fn pids_are_packed_as_their_names_say() {
    for (name, bytes) in vectors() {
        let Some(numbers) = name.strip_prefix("pid_") else {
            continue;
        };
        let mut numbers = numbers.split('_').map(|number| number.parse().unwrap());
        let mut next = || -> u32 { numbers.next().expect("three numbers") };
        let conn = Conn {
            shard: u8::try_from(next()).unwrap(),
            slot: next(),
            generation: next(),
        };
        let mut writer = Writer::new();
        Node.write_conn(&mut writer, conn);
        assert_eq!(writer.into_bytes(), bytes, "{name}");
        assert_eq!(self::conn(term(&bytes)), conn, "{name}");
    }
}

#[test]
fn every_vector_is_known() {
    let known: Vec<&str> = asked()
        .iter()
        .map(|(name, _)| *name)
        .chain(answered().iter().map(|(name, _)| *name))
        .chain(news().iter().map(|(name, _)| *name))
        .chain(answered_in_vm().iter().map(|(name, _)| *name))
        .chain(news_in_vm().iter().map(|(name, _)| *name))
        .collect();
    for name in vectors().keys() {
        let is_known = known.contains(name) || name.starts_with("id_") || name.starts_with("pid_");
        assert!(is_known, "{name}: say in this file what it is");
    }
}
