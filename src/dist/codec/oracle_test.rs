//! Control messages against `erl_dist`, an independent encoder and decoder of them.

use bytes::Bytes;
use erl_dist::message::Message;
use erl_dist::term::{Atom, Pid as TheirPid, PidOrAtom, Reference, Term as TheirTerm};
use proptest::prelude::*;

use super::*;
use crate::dist::flags::Flags;
use crate::dist::identity::Identity;
use crate::term::{Request, Term, Writer, events, reason, reply, request, signal};
use crate::wire::{Command, Conn, Event, Id, Ids, OpenedInfo, Reply, Transport};

fn encoded(message: Message) -> Vec<u8> {
    let mut body = vec![112];
    message.write_into(&mut body).unwrap();
    body
}

/// As a whole message.
fn split(body: &[u8]) -> Result<(Control<'_>, Option<&[u8]>), Malformed> {
    let Body::Whole(message) = open(body)? else {
        return Err(Malformed("a part"));
    };
    super::split(message)
}

fn decoded(body: &[u8]) -> Message {
    let (mark, mut rest) = body.split_first().unwrap();
    assert_eq!(*mark, 112);
    let message = Message::read_from(&mut rest).unwrap();
    assert!(rest.is_empty(), "all of it is one message");
    message
}

fn pid() -> TheirPid {
    TheirPid::new("app@h", 90, 0, 3)
}

fn reference() -> Reference {
    Reference {
        node: Atom::from("app@h"),
        id: vec![1, 2, 3],
        creation: 3,
    }
}

fn standalone(term: impl Into<TheirTerm>) -> Vec<u8> {
    let mut bytes = Vec::new();
    term.into().encode(&mut bytes).unwrap();
    bytes.remove(0);
    bytes
}

fn outbound(flags: Flags) -> Outbound {
    let identity = Identity {
        name: "lariat@h".parse().unwrap(),
        creation: 7,
    };
    Outbound { identity, flags }
}

#[test]
fn sends_are_split_into_control_and_payload() {
    let payload = TheirTerm::from(Atom::from("hello"));
    let body = encoded(Message::reg_send(pid(), Atom::from("any"), payload.clone()));
    let (control, rest) = split(&body).unwrap();
    assert_eq!(control, Control::RegSend { name: "any" });
    assert_eq!(rest, Some(&b"\x77\x05hello"[..]));
    for message in [
        Message::send(pid(), payload.clone()),
        Message::send_sender(pid(), pid(), payload),
    ] {
        let body = encoded(message);
        let (control, _) = split(&body).unwrap();
        assert!(matches!(control, Control::Send { to } if to.id == 90 && to.creation == 3));
    }
}

#[test]
fn every_signal_that_needs_an_action_is_understood() {
    let name = || PidOrAtom::Atom(Atom::from("lariat"));
    let reason = || TheirTerm::from(Atom::from("boom"));
    let body = encoded(Message::monitor_p(pid(), name(), reference()));
    let (control, rest) = split(&body).unwrap();
    assert!(matches!(control, Control::Monitor { to, .. } if to.atom() == Some("lariat")));
    assert_eq!(rest, None);
    let body = encoded(Message::demonitor_p(pid(), name(), reference()));
    assert!(matches!(
        split(&body),
        Ok((Control::Demonitor { .. }, None))
    ));
    let body = encoded(Message::link(pid(), pid()));
    assert!(matches!(split(&body), Ok((Control::Link { .. }, None))));
    let body = encoded(Message::unlink_id(
        TheirTerm::from(Atom::from("1")),
        pid(),
        pid(),
    ));
    assert!(matches!(split(&body), Ok((Control::UnlinkId { .. }, None))));
    let body = encoded(Message::exit(pid(), pid(), reason()));
    assert!(matches!(
        split(&body),
        Ok((
            Control::LinkExit {
                reason: Some(_),
                ..
            },
            None
        ))
    ));
    let body = encoded(Message::payload_exit(pid(), pid(), reason()));
    assert!(matches!(
        split(&body),
        Ok((Control::LinkExit { reason: None, .. }, Some(_)))
    ));
    let body = encoded(Message::exit2(pid(), pid(), reason()));
    assert!(matches!(
        split(&body),
        Ok((
            Control::Exit {
                reason: Some(_),
                ..
            },
            None
        ))
    ));
    let body = encoded(Message::payload_exit2(pid(), pid(), reason()));
    assert!(matches!(
        split(&body),
        Ok((Control::Exit { reason: None, .. }, Some(_)))
    ));
    let body = encoded(Message::payload_monitor_p_exit(
        PidOrAtom::Pid(pid()),
        pid(),
        reference(),
        reason(),
    ));
    assert!(matches!(
        split(&body),
        Ok((Control::MonitorExit { .. }, Some(_)))
    ));
}

#[test]
fn what_we_send_reads_back_with_and_without_exit_payloads() {
    let (pid_bytes, reference_bytes) = (standalone(pid()), standalone(reference()));
    let (pid_term, _) = Term::parse(&pid_bytes).unwrap();
    let (reference_term, _) = Term::parse(&reference_bytes).unwrap();
    let hello = standalone(Atom::from("hello"));
    let out = outbound(PASSING_THROUGH);
    let texts: Vec<String> = [
        out.send(&pid_bytes, &hello),
        out.answer(ReplyAddress::Alias(reference_term), pid_term, &hello),
        out.down(&pid_bytes, &pid_bytes, &reference_bytes, &hello),
        outbound(Flags::MANDATORY).down(&pid_bytes, &pid_bytes, &reference_bytes, &hello),
        out.exit(&pid_bytes, &pid_bytes, &hello),
        outbound(Flags::MANDATORY).exit(&pid_bytes, &pid_bytes, &hello),
        out.unlink_ack(pid_term, pid_term, pid_term),
        out.spawn_refused(reference_term, pid_term),
        out.monitor(&pid_bytes, 1 << 20),
        out.demonitor(&pid_bytes, 1 << 20),
    ]
    .iter()
    .map(|message| format!("{:?}", decoded(&message.body)))
    .collect();
    let names = [
        "Send(",
        "AliasSend(",
        "PayloadMonitorPExit(",
        "MonitorPExit(",
        "PayloadExit(",
        "Exit(",
        "UnlinkIdAck(",
        "SpawnReply(",
        "MonitorP(",
        "DemonitorP(",
    ];
    for (text, name) in texts.iter().zip(names) {
        assert!(text.starts_with(name), "{text}");
    }
    assert!(texts[7].contains("notsup"), "{}", texts[7]);
}

/// What a peer without fragments and operation 37 has: `erl_dist` knows neither.
const PASSING_THROUGH: Flags = Flags(Flags::OFFERED.0 & !Flags::FRAGMENTS.0 & !Flags::ALTACT_SIG.0);

#[test]
fn with_fragments_the_same_messages_have_a_header_and_no_versions() {
    let (pid_bytes, reference_bytes) = (standalone(pid()), standalone(reference()));
    let (pid_term, _) = Term::parse(&pid_bytes).unwrap();
    let hello = standalone(Atom::from("hello"));
    let messages = |flags: Flags| {
        let out = outbound(flags);
        [
            out.send(&pid_bytes, &hello),
            out.down(&pid_bytes, &pid_bytes, &reference_bytes, &hello),
            out.unlink_ack(pid_term, pid_term, pid_term),
        ]
    };
    let with = messages(PASSING_THROUGH | Flags::FRAGMENTS);
    for (with, without) in with.into_iter().zip(messages(PASSING_THROUGH)) {
        assert_eq!(with.body[..3], HEADER);
        assert_eq!(without.cut_from, None);
        let (control, payload) = split(&with.body).unwrap();
        assert_eq!(split(&without.body), Ok((control, payload)));
        assert_eq!(
            with.cut_from.map(|at| &with.body[at..]),
            payload,
            "only a payload is cut"
        );
        assert_eq!(with.to, Receiver(90 << 32));
    }
}

#[test]
fn aliases_are_answered_by_37_where_the_peer_knows_it() {
    let (pid_bytes, reference_bytes) = (standalone(pid()), standalone(reference()));
    let (pid_term, _) = Term::parse(&pid_bytes).unwrap();
    let (reference_term, _) = Term::parse(&reference_bytes).unwrap();
    let answer = |flags: Flags| {
        let out = outbound(flags);
        out.answer(ReplyAddress::Alias(reference_term), pid_term, b"j")
    };
    for (flags, start) in [
        (PASSING_THROUGH, &[112, 131, 104, 3, 97, 33][..]),
        (
            PASSING_THROUGH | Flags::ALTACT_SIG,
            &[112, 131, 104, 4, 97, 37, 97, 4],
        ),
    ] {
        let answer = answer(flags);
        assert_eq!(answer.body[..start.len()], *start);
        assert_eq!(
            split(&answer.body),
            Ok((Control::AliasSend, Some(&b"j"[..])))
        );
    }
}

#[test]
fn replies_and_events_read_back() {
    let out = outbound(Flags::OFFERED);
    let conn = Conn {
        shard: 1,
        slot: 2,
        generation: 3,
    };
    let text = |bytes: Vec<u8>| {
        let standalone = [&[131][..], &bytes].concat();
        TheirTerm::decode(standalone.as_slice())
            .unwrap()
            .to_string()
    };
    let replied = |value: Reply| {
        let mut w = Writer::new();
        reply(&mut w, &out.identity, &value);
        text(w.into_bytes())
    };
    assert_eq!(replied(Reply::Ok), "'ok'");
    let attached = replied(Reply::Attached {
        epoch: 9,
        credit: 7,
    });
    for pair in ["'epoch'=>9", "'credit'=>7"] {
        assert!(attached.contains(pair), "{attached}");
    }
    assert_eq!(replied(Reply::Connections(Vec::new())), "{'ok',[]}");
    let news = [
        Event::SnapshotBegin,
        Event::Opened {
            conn,
            id: Id::Int(-1),
            info: OpenedInfo {
                transport: Transport::Sse,
                peer: Some("127.0.0.1:80".parse().unwrap()),
                handler: None,
            },
        },
        Event::SnapshotEnd,
    ];
    let mut w = Writer::new();
    events(&mut w, &out.identity, u64::MAX, &news);
    let text = text(w.into_bytes());
    assert!(text.starts_with("{'lariat','lariat@h',18446744073709551615,[{'snapshot','begin'},"));
    assert!(text.contains("{{127,0,0,1},80}"), "{text}");
    assert!(text.contains(",-1,#{"), "{text}");
}

/// What a message to a name comes to, for bytes that may be anything.
fn swallow(payload_bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(payload_bytes);
    let Ok(term) = Term::whole(&frame) else {
        return;
    };
    if let Shape::Call(Call {
        request: Some(asked),
        ..
    })
    | Shape::Cast(asked) = shape(term, &frame)
    {
        let _ = request(asked, &frame);
    }
    let _ = signal(term, &frame);
    let _ = reason(term);
}

/// Terms as Erlang would send them, from the independent encoder.
fn real_terms() -> Vec<Vec<u8>> {
    let binary = || {
        TheirTerm::from(eetf::Binary {
            bytes: b"hello".to_vec(),
        })
    };
    let tuple = |elements: Vec<TheirTerm>| TheirTerm::from(eetf::Tuple { elements });
    let atom = |name: &str| TheirTerm::from(Atom::from(name));
    let alias = TheirTerm::from(eetf::ImproperList {
        elements: vec![atom("alias")],
        last: Box::new(TheirTerm::from(reference())),
    });
    let send = tuple(vec![
        atom("send"),
        TheirTerm::from(eetf::List::from(vec![TheirTerm::from(
            eetf::FixInteger::from(1000),
        )])),
        binary(),
    ]);
    let call = tuple(vec![
        atom("$gen_call"),
        tuple(vec![TheirTerm::from(pid()), alias]),
        send.clone(),
    ]);
    let post = tuple(vec![TheirTerm::from(eetf::FixInteger::from(7)), binary()]);
    let cast = tuple(vec![atom("$gen_cast"), send]);
    [call, post, cast].into_iter().map(standalone).collect()
}

#[test]
fn real_terms_are_commands() {
    let terms = real_terms();
    let frame = Bytes::from(terms[0].clone());
    let Shape::Call(call) = shape(Term::whole(&frame).unwrap(), &frame) else {
        panic!("a call");
    };
    assert!(matches!(call.reply_address(), ReplyAddress::Alias(_)));
    let asked = request(call.request.unwrap(), &frame);
    assert!(matches!(
        asked,
        Request::Command(Command::Send { ids: Ids::Ints(ids), .. }) if ids == [1000]
    ));
    let frame = Bytes::from(terms[1].clone());
    assert!(matches!(
        shape(Term::whole(&frame).unwrap(), &frame),
        Shape::Deliver(Command::Send { ids: Ids::One(Id::Int(7)), message, .. }) if message.payload == "hello"
    ));
}

proptest! {
    #[test]
    fn random_payloads_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        swallow(&bytes);
        swallow(&[&[104, 2][..], &bytes].concat());
    }

    #[test]
    fn mutated_terms_never_panic(which in 0..3_usize, at in 0..90_usize, byte: u8, cut in 0..90_usize) {
        let mut bytes = real_terms().swap_remove(which);
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        swallow(&bytes);
        swallow(bytes.get(..cut).unwrap_or(&bytes));
    }

    #[test]
    fn mutated_frames_never_panic(at in 0..80_usize, byte: u8, cut in 0..80_usize) {
        let payload = TheirTerm::from(Atom::from("hello"));
        let mut body = encoded(Message::reg_send(pid(), Atom::from("any"), payload));
        if let Some(place) = body.get_mut(at) {
            *place = byte;
        }
        let _ = split(&body);
        let _ = split(body.get(..cut).unwrap_or(&body));
    }
}
