//! The messages that make up nearly all traffic, recognised in the raw frame: `{Id, Msg}` and
//! `{[Id], Msg}` to a registered name, where ids are integers of 64 bits or binaries and `Msg` is a
//! binary or an iolist.
//!
//! It builds no term, decides nothing and answers nothing: whatever it does not recognise at once is
//! `None`, and goes the general way (`control` and `command`). What it does recognise means the same
//! there; `fast_test` holds it to that. A binary is sliced out of the frame, never copied: what that
//! keeps alive is `link::frames`' concern.

use bytes::Bytes;

use super::frame::Message as Envelope;
use crate::term::flatten_list;
use crate::term::{ID_BYTES_MAX, IDS_MAX};
use crate::term::{Kind, Term};
use crate::term::{VERSION, tag};
use crate::wire::{Command, Id, Ids, Message};

/// A message to the connections of some ids.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    /// The registered name it was sent to.
    pub(crate) name: &'a str,
    /// The send, on nobody's credit: what the name means is the link's concern.
    pub(crate) command: Command,
}

/// What `envelope`, a part of `frame`, brings.
pub(crate) fn sent<'a>(envelope: Envelope<'a>, frame: &Bytes) -> Option<Sent<'a>> {
    // REG_SEND: {6, From, Unused, Name}
    let [tag::SMALL_TUPLE, 4, tag::SMALL_INTEGER, 6, rest @ ..] = envelope.bytes else {
        return None;
    };
    let (_, rest) = flat(rest, |tag| tag == tag::NEW_PID)?;
    let (_, rest) = flat(rest, is_atom)?;
    let (name, rest) = flat(rest, is_atom)?;
    let name = name.atom()?;
    let payload = if envelope.is_versioned {
        rest.strip_prefix(&[VERSION])?
    } else {
        rest
    };
    let [tag::SMALL_TUPLE, 2, rest @ ..] = payload else {
        return None;
    };
    let (ids, rest) = ids(rest)?;
    let message = match rest {
        [tag::BINARY, a, b, c, d, rest @ ..] => {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            (rest.len() == length).then(|| frame.slice_ref(rest))?
        }
        [tag::LIST | tag::STRING | tag::NIL, ..] => {
            // Of the whole payload: the depth counts from there.
            let (_, behind) = Term::parse(payload).ok()?;
            behind.is_empty().then_some(())?;
            Bytes::from(flatten_list(rest)?)
        }
        _ => return None,
    };
    let command = Command::Send {
        ids,
        message: Message::new(message),
        credit: None,
    };
    Some(Sent { name, command })
}

/// The term at the start of `bytes`, which must be of an expected kind, without terms inside.
fn flat(bytes: &[u8], is_expected: impl Fn(u8) -> bool) -> Option<(Term<'_>, &[u8])> {
    is_expected(*bytes.first()?).then_some(())?;
    Term::parse(bytes).ok()
}

fn is_atom(tag: u8) -> bool {
    matches!(
        tag,
        tag::SMALL_ATOM_UTF8 | tag::SMALL_ATOM | tag::ATOM | tag::ATOM_UTF8
    )
}

/// The ids at the start of `bytes`, and what follows.
fn ids(bytes: &[u8]) -> Option<(Ids, &[u8])> {
    match bytes {
        [tag::LIST, a, b, c, d, rest @ ..] => {
            let count = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            // Each id takes two bytes at least.
            if count == 0 || count > IDS_MAX || count > rest.len() / 2 {
                return None;
            }
            let (ids, rest) = match ints(rest, count) {
                Some((ints, rest)) => (Ids::Ints(ints), rest),
                None => mixture(rest, count)?,
            };
            Some((ids, rest.strip_prefix(&[tag::NIL])?))
        }
        [tag::STRING, a, b, rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([*a, *b]));
            let (bytes, rest) = rest.split_at_checked(length)?;
            let ids = bytes.iter().copied().map(i64::from);
            Some((Ids::Ints(ids.collect()), rest))
        }
        [tag::NIL, rest @ ..] => Some((Ids::Ints(Vec::new()), rest)),
        _ => {
            let (id, rest) = id(bytes)?;
            Some((Ids::One(id), rest))
        }
    }
}

/// `count` integers of 32 bits: nearly all lists, at a few instructions an id.
fn ints(bytes: &[u8], count: usize) -> Option<(Vec<i64>, &[u8])> {
    let (elements, rest) = bytes.split_at_checked(count * 5)?;
    let (elements, _) = elements.as_chunks();
    let is_int = |element: &[u8; 5]| element[0] == tag::INTEGER;
    let int = |&[_, a, b, c, d]: &[u8; 5]| i64::from(i32::from_be_bytes([a, b, c, d]));
    let all_are = elements.iter().all(is_int);
    all_are.then(|| (elements.iter().map(int).collect(), rest))
}

/// `count` ids of any kind that is recognised here.
fn mixture(bytes: &[u8], count: usize) -> Option<(Ids, &[u8])> {
    let mut ids = Vec::with_capacity(count);
    let mut rest = bytes;
    for _ in 0..count {
        let (id, behind) = id(rest)?;
        ids.push(id);
        rest = behind;
    }
    Some((Ids::list(ids), rest))
}

/// One id at the start of `bytes`, and what follows.
fn id(bytes: &[u8]) -> Option<(Id, &[u8])> {
    match bytes {
        [tag::SMALL_INTEGER, value, rest @ ..] => Some((Id::Int(i64::from(*value)), rest)),
        [tag::INTEGER, a, b, c, d, rest @ ..] => {
            let value = i32::from_be_bytes([*a, *b, *c, *d]);
            Some((Id::Int(i64::from(value)), rest))
        }
        [tag::SMALL_BIG | tag::BINARY, ..] => {
            let (term, rest) = Term::parse(bytes).ok()?;
            if term.bytes().len() > ID_BYTES_MAX {
                return None;
            }
            let id = match term.kind() {
                Kind::Int(value) => Id::Int(value),
                Kind::Binary(bytes) => Id::Bin(bytes.into()),
                // More than 64 bits.
                _ => return None,
            };
            Some((id, rest))
        }
        _ => None,
    }
}
