//! A term in place: one level of it decoded at a time, borrowed from the frame.
//!
//! Never allocates and never looks at bytes that `scan` has not passed: [`Term::parse`] is the only
//! way in. It does not know what terms mean; `control` and `command` do. Canonical forms of whole
//! terms, where equality counts, are `id`'s concern.

use super::scan::{Refused, tag, term_length};

/// The bytes of exactly one term, scanned. Without the version byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term<'a>(&'a [u8]);

/// One level of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// An integer that fits 64 signed bits, however it is encoded.
    Int(i64),
    /// An atom, however it is encoded.
    Atom(Atom<'a>),
    /// A binary; bit strings are [`Kind::Other`].
    Binary(&'a [u8]),
    /// `[]`, however it is encoded.
    Nil,
    /// A list of bytes, never empty.
    Bytes(&'a [u8]),
    /// A list with elements, proper or not.
    List(List<'a>),
    /// A tuple, of any size.
    Tuple(Elements<'a>),
    /// Keys and values in turn.
    Map(Elements<'a>),
    /// A pid in the encoding that current nodes use.
    Pid(Pid<'a>),
    /// A reference; what it refers to is its own node's to know.
    Reference,
    /// What is never looked into: floats, bit strings, large integers, ports, funs.
    Other,
}

/// An atom, as the characters of a name; Latin-1 names of old encodings only while they are ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Atom<'a>(pub &'a str);

/// A process identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pid<'a> {
    /// The node whose process it is.
    pub node: &'a str,
    /// The first number of a pid.
    pub id: u32,
    /// The second number of a pid.
    pub serial: u32,
    /// Which run of the node it is of.
    pub creation: u32,
}

/// Terms in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elements<'a> {
    count: usize,
    bytes: &'a [u8],
}

/// A list of at least one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<'a> {
    elements: Elements<'a>,
}

impl<'a> Term<'a> {
    /// The term at the start of `bytes`, and what follows it.
    pub fn parse(bytes: &'a [u8]) -> Result<(Term<'a>, &'a [u8]), Refused> {
        let length = term_length(bytes)?;
        let (term, rest) = bytes.split_at(length);
        Ok((Term(term), rest))
    }

    /// The term that all of `bytes` is.
    pub fn whole(bytes: &'a [u8]) -> Result<Term<'a>, Refused> {
        match Term::parse(bytes)? {
            (term, []) => Ok(term),
            _ => Err(Refused::Malformed("term: bytes behind it")),
        }
    }

    /// The encoding as it came.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Its first level.
    pub fn kind(self) -> Kind<'a> {
        // `None` is out of reach after the scan, but for atoms that are no UTF-8.
        self.decode().unwrap_or(Kind::Other)
    }

    fn decode(self) -> Option<Kind<'a>> {
        let (tag, body) = self.0.split_first()?;
        Some(match *tag {
            tag::SMALL_INTEGER => Kind::Int(i64::from(*body.first()?)),
            tag::INTEGER => Kind::Int(i64::from(i32::from_be_bytes(*body.first_chunk()?))),
            tag::SMALL_BIG => {
                let (_, digits) = body.split_first()?;
                big(digits)?
            }
            tag::LARGE_BIG => big(body.get(4..)?)?,
            tag::NIL => Kind::Nil,
            tag::STRING => match body.get(2..)? {
                [] => Kind::Nil,
                bytes => Kind::Bytes(bytes),
            },
            tag::BINARY => Kind::Binary(body.get(4..)?),
            tag::LIST => {
                let (count, bytes) = body.split_first_chunk()?;
                let count = u32::from_be_bytes(*count) as usize;
                let elements = Elements { count, bytes };
                if count == 0 {
                    return Term::parse(bytes).ok()?.0.decode();
                }
                Kind::List(List { elements })
            }
            tag::SMALL_TUPLE => {
                let (count, bytes) = body.split_first()?;
                let count = usize::from(*count);
                Kind::Tuple(Elements { count, bytes })
            }
            tag::LARGE_TUPLE | tag::MAP => {
                let (count, bytes) = body.split_first_chunk()?;
                let count = u32::from_be_bytes(*count) as usize;
                if *tag == tag::MAP {
                    let count = count * 2;
                    Kind::Map(Elements { count, bytes })
                } else {
                    Kind::Tuple(Elements { count, bytes })
                }
            }
            tag::NEW_PID => Kind::Pid(pid(body)?),
            tag::NEWER_REFERENCE | tag::NEW_REFERENCE | tag::REFERENCE => Kind::Reference,
            tag::ATOM | tag::SMALL_ATOM | tag::ATOM_UTF8 | tag::SMALL_ATOM_UTF8 => {
                Kind::Atom(Atom(atom(self.0)?.0))
            }
            _ => Kind::Other,
        })
    }

    /// The value of an integer of 64 bits.
    pub fn int(self) -> Option<i64> {
        match self.kind() {
            Kind::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The name of an atom.
    pub fn atom(self) -> Option<&'a str> {
        match self.kind() {
            Kind::Atom(Atom(name)) => Some(name),
            _ => None,
        }
    }

    /// The parts of a pid.
    pub fn pid(self) -> Option<Pid<'a>> {
        match self.kind() {
            Kind::Pid(pid) => Some(pid),
            _ => None,
        }
    }

    /// Whether it is a reference.
    pub fn is_reference(self) -> bool {
        self.kind() == Kind::Reference
    }

    /// The elements of a tuple of exactly `N`.
    pub fn tuple<const N: usize>(self) -> Option<[Term<'a>; N]> {
        match self.kind() {
            Kind::Tuple(elements) if elements.count == N => elements.first(),
            _ => None,
        }
    }
}

impl<'a> Elements<'a> {
    /// How many terms there are.
    pub fn count(self) -> usize {
        self.count
    }

    /// The first `N` elements, when there are as many.
    pub fn first<const N: usize>(mut self) -> Option<[Term<'a>; N]> {
        if self.count < N {
            return None;
        }
        let mut found = [Term(&[tag::NIL]); N];
        for place in &mut found {
            *place = self.next()?;
        }
        Some(found)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Term<'a>;

    fn next(&mut self) -> Option<Term<'a>> {
        self.count = self.count.checked_sub(1)?;
        let (term, rest) = Term::parse(self.bytes).ok()?;
        self.bytes = rest;
        Some(term)
    }
}

impl<'a> List<'a> {
    /// The elements, without the tail.
    pub fn elements(self) -> Elements<'a> {
        self.elements
    }

    /// The elements before a tail, when there are `N`, and the tail.
    pub fn split<const N: usize>(self) -> Option<([Term<'a>; N], Term<'a>)> {
        let mut rest = self.elements;
        (rest.count == N).then_some(())?;
        let heads = rest.first()?;
        rest.by_ref().for_each(drop);
        let (tail, _) = Term::parse(rest.bytes).ok()?;
        Some((heads, tail))
    }

    /// Whether the list ends in `[]`. Walks the list.
    pub fn is_proper(self) -> bool {
        let mut rest = self.elements;
        rest.by_ref().for_each(drop);
        rest.bytes == [tag::NIL]
    }
}

/// Sign, then little-endian digits.
fn big(body: &[u8]) -> Option<Kind<'_>> {
    let (sign, digits) = body.split_first()?;
    let significant = digits
        .iter()
        .rposition(|digit| *digit != 0)
        .map_or(0, |at| at + 1);
    if significant > 8 {
        return Some(Kind::Other);
    }
    let mut bytes = [0; 8];
    bytes[..significant].copy_from_slice(&digits[..significant]);
    let magnitude = i128::from(u64::from_le_bytes(bytes));
    let value = match *sign {
        0 => magnitude,
        1 => -magnitude,
        // No Erlang writes another, and decoders disagree about what it means.
        _ => return None,
    };
    Some(i64::try_from(value).map_or(Kind::Other, Kind::Int))
}

/// The name of the atom at the start of `bytes`, and what follows.
fn atom(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (tag, body) = bytes.split_first()?;
    let (length, body) = match *tag {
        tag::ATOM | tag::ATOM_UTF8 => {
            let (length, body) = body.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), body)
        }
        _ => {
            let (length, body) = body.split_first()?;
            (usize::from(*length), body)
        }
    };
    let (name, rest) = body.split_at_checked(length)?;
    let is_latin1 = matches!(*tag, tag::ATOM | tag::SMALL_ATOM);
    if is_latin1 && !name.is_ascii() {
        return None;
    }
    Some((std::str::from_utf8(name).ok()?, rest))
}

fn pid(body: &[u8]) -> Option<Pid<'_>> {
    let (node, rest) = atom(body)?;
    let (id, rest) = rest.split_first_chunk()?;
    let (serial, rest) = rest.split_first_chunk()?;
    let creation = rest.first_chunk()?;
    Some(Pid {
        node,
        id: u32::from_be_bytes(*id),
        serial: u32::from_be_bytes(*serial),
        creation: u32::from_be_bytes(*creation),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(bytes: &[u8]) -> Kind<'_> {
        Term::parse(bytes).unwrap().0.kind()
    }

    #[test]
    fn integers_are_one_value_whatever_their_encoding() {
        assert_eq!(kind(&[97, 255]), Kind::Int(255));
        assert_eq!(kind(&[98, 255, 255, 255, 251]), Kind::Int(-5));
        assert_eq!(kind(&[110, 1, 0, 255]), Kind::Int(255));
        assert_eq!(
            kind(&[110, 9, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0]),
            Kind::Int(255)
        );
        let minimum = [110, 8, 1, 0, 0, 0, 0, 0, 0, 0, 128];
        assert_eq!(kind(&minimum), Kind::Int(i64::MIN));
        let above = [110, 8, 0, 0, 0, 0, 0, 0, 0, 0, 128];
        assert_eq!(kind(&above), Kind::Other);
        assert_eq!(kind(&[110, 1, 5, 1]), Kind::Other, "a sign is 0 or 1");
    }

    #[test]
    fn the_empty_list_has_one_shape() {
        for empty in [&[106][..], &[107, 0, 0], &[108, 0, 0, 0, 0, 106]] {
            assert_eq!(kind(empty), Kind::Nil);
        }
    }

    #[test]
    fn lists_know_their_tail() {
        let Kind::List(proper) = kind(&[108, 0, 0, 0, 1, 97, 1, 106]) else {
            panic!("a list");
        };
        assert!(proper.is_proper());
        let improper = [108, 0, 0, 0, 1, 119, 5, b'a', b'l', b'i', b'a', b's', 97, 1];
        let Kind::List(list) = kind(&improper) else {
            panic!("a list");
        };
        assert!(!list.is_proper());
        let ([head], tail) = list.split().unwrap();
        assert_eq!((head.atom(), tail.int()), (Some("alias"), Some(1)));
    }
}
