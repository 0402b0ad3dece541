//! Payloads against `eetf`: both make the same of them.
//!
//! What the scan refuses never reaches `eetf`, which trusts counts and aborts on some tags. One
//! difference is allowed: our reading may refuse an integer or a tail that is encoded in a way no
//! Erlang uses, where `eetf` shrugs; it never reads one as something else.

use bytes::Bytes;
use eetf::Term as Theirs;

use super::{Call, Message, Shape, agreed, call_of_undecodable, shape};
use crate::term::Kind;
use crate::term::VERSION;
use crate::term::{Request, Term, Writer, reason, request, signal};
use crate::wire::{Command, Id};

/// Above this our limit on the length of ids makes a difference that is meant.
const INPUT_BYTES_MAX: usize = 8 * 1024;

/// The term of a message to a name, without its version byte.
pub fn commands(data: &[u8]) {
    if data.len() > INPUT_BYTES_MAX {
        return;
    }
    let frame = Bytes::copy_from_slice(data);
    fast_path(&frame);
    let Ok(term) = Term::whole(&frame) else {
        let _ = call_of_undecodable(&frame);
        return;
    };
    let _ = signal(term, &frame);
    let _ = reason(term);
    let theirs = Theirs::decode([&[VERSION][..], data].concat().as_slice()).ok();
    let is_odd = data.iter().any(|byte| matches!(byte, 98 | 110 | 111))
        // A list of no elements that has a tail is that tail to eetf; Erlang writes none.
        || data.windows(5).any(|bytes| bytes == [108, 0, 0, 0, 0]);
    match shape(term, &frame) {
        Shape::Deliver(command) => {
            let expected = theirs.as_ref().and_then(delivery);
            assert_eq!(Some(delivered(command)), expected, "{data:?}");
        }
        Shape::Call(call) => {
            let _ = call.reply_address();
            if let Call {
                request: Some(asked),
                ..
            } = call
            {
                let _ = request(asked, &frame);
            }
        }
        Shape::Cast(asked) => {
            let _ = request(asked, &frame);
        }
        Shape::Io { .. } | Shape::Unknown => {
            let expected = theirs.as_ref().and_then(delivery);
            assert!(expected.is_none() || is_odd, "refused: {data:?}");
        }
    }
    if let (Request::Command(command @ Command::Send { .. }), Kind::Tuple(fields)) =
        (request(term, &frame), term.kind())
        && fields.count() == 3
    {
        let expected = theirs.as_ref().and_then(sending);
        assert_eq!(Some(delivered(command)), expected, "{data:?}");
    }
}

/// What it takes is taken the same way by the general path.
fn fast_path(data: &Bytes) {
    let mut control = Writer::new();
    control.tuple(4).int(6).pid("app@127.0.0.1", 97, 0, 1);
    control.atom("").atom("any").raw(data);
    let frame = Bytes::from(control.into_bytes());
    agreed(Message::assembled(&frame), &frame);
}

/// Whom, and what. Ids that are other terms are told by their presence only.
type Delivery = (Vec<Whom>, Vec<u8>);

#[derive(Debug, PartialEq, Eq)]
enum Whom {
    Int(i64),
    Bin(Vec<u8>),
    Term,
}

fn delivered(command: Command) -> Delivery {
    let Command::Send { ids, message, .. } = command else {
        panic!("only sends are deliveries");
    };
    let whom = |id: &Id| match id {
        Id::Int(value) => Whom::Int(*value),
        Id::Bin(bytes) => Whom::Bin(bytes.to_vec()),
        Id::Term(_) => Whom::Term,
    };
    let mut whoms = Vec::new();
    ids.for_each(|id| whoms.push(whom(id)));
    (whoms, message.payload.to_vec())
}

/// `{Id, Msg}` or `{[Id], Msg}`.
fn delivery(term: &Theirs) -> Option<Delivery> {
    let Theirs::Tuple(tuple) = plain(term) else {
        return None;
    };
    let [first, second] = tuple.elements.as_slice() else {
        return None;
    };
    let is_cast = matches!(plain(first), Theirs::Atom(atom) if atom.name == "$gen_cast");
    (!is_cast).then_some(())?;
    Some((whoms(first)?, flat(second)?))
}

/// `{send, Ids, Msg}`.
fn sending(term: &Theirs) -> Option<Delivery> {
    let Theirs::Tuple(tuple) = plain(term) else {
        return None;
    };
    let [_, whom, what] = tuple.elements.as_slice() else {
        return None;
    };
    Some((whoms(whom)?, flat(what)?))
}

fn whoms(term: &Theirs) -> Option<Vec<Whom>> {
    match plain(term) {
        Theirs::List(list) => list.elements.iter().map(whom).collect(),
        Theirs::ByteList(list) => Some(
            list.bytes
                .iter()
                .map(|byte| Whom::Int(i64::from(*byte)))
                .collect(),
        ),
        one => whom(one).map(|whom| vec![whom]),
    }
}

fn whom(term: &Theirs) -> Option<Whom> {
    match plain(term) {
        Theirs::FixInteger(int) => Some(Whom::Int(i64::from(int.value))),
        Theirs::BigInteger(int) => Some(i64::try_from(&int.value).map_or(Whom::Term, Whom::Int)),
        Theirs::Binary(binary) => Some(Whom::Bin(binary.bytes.clone())),
        Theirs::List(_) | Theirs::ImproperList(_) | Theirs::ByteList(_) => None,
        other => is_address(other).then_some(Whom::Term),
    }
}

/// Funs are no ids, and nothing that has one inside.
fn is_address(term: &Theirs) -> bool {
    match term {
        Theirs::InternalFun(_) => false,
        Theirs::List(list) => list.elements.iter().all(is_address),
        Theirs::ImproperList(list) => {
            list.elements.iter().all(is_address) && is_address(&list.last)
        }
        Theirs::Tuple(tuple) => tuple.elements.iter().all(is_address),
        Theirs::Map(map) => map
            .map
            .iter()
            .all(|(key, value)| is_address(key) && is_address(value)),
        _ => true,
    }
}

/// A list of nothing before a tail is that tail.
fn plain(term: &Theirs) -> &Theirs {
    match term {
        Theirs::ImproperList(list) if list.elements.is_empty() => plain(&list.last),
        other => other,
    }
}

/// `iolist_to_binary`.
fn flat(term: &Theirs) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match plain(term) {
        Theirs::Binary(binary) => bytes.extend(&binary.bytes),
        Theirs::ByteList(list) => bytes.extend(&list.bytes),
        Theirs::List(list) => elements(&list.elements, &mut bytes)?,
        Theirs::ImproperList(list) => {
            elements(&list.elements, &mut bytes)?;
            bytes.extend(flat(&list.last)?);
        }
        _ => return None,
    }
    Some(bytes)
}

fn elements(terms: &[Theirs], bytes: &mut Vec<u8>) -> Option<()> {
    for term in terms {
        match plain(term) {
            Theirs::FixInteger(int) => bytes.push(u8::try_from(int.value).ok()?),
            Theirs::BigInteger(int) => bytes.push(u8::try_from(&int.value).ok()?),
            other => bytes.extend(flat(other)?),
        }
    }
    Some(())
}
