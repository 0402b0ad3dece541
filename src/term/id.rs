//! Terms as ids: two ids are equal exactly when Erlang's `=:=` holds for the terms.
//!
//! Integers of 64 bits and binaries are read in place. Any other term is decoded by `eetf` and
//! written again by our writer, so that the many encodings of one term (atoms of three kinds,
//! strings and lists, padded integers, old pids, maps in any order) become one. `eetf` spends up
//! to 56 bytes on a byte of input; [`ID_BYTES_MAX`] bounds that. Funs and lists are no ids.

use eetf::Term as Decoded;

use super::scan::VERSION;
use super::view::{Kind, Term};
use super::write::Writer;
use crate::wire::{Id, Ids};

/// The longest id, encoded. A request head has 8 KiB, so no connection has a longer one.
pub(crate) const ID_BYTES_MAX: usize = 8 * 1024;

/// The most ids in one message. An id takes 24 bytes of ours and may take one byte on the wire, so
/// this bounds what a frame can grow to (24 MiB); it is ten times the largest fan-out measured.
pub(crate) const IDS_MAX: usize = 1_000_000;

/// One id, `None` when the term is none.
pub(super) fn id(term: Term<'_>) -> Option<Id> {
    if term.bytes().len() > ID_BYTES_MAX {
        return None;
    }
    match term.kind() {
        Kind::Int(value) => Some(Id::Int(value)),
        Kind::Binary(bytes) => Some(Id::Bin(bytes.into())),
        Kind::Nil | Kind::Bytes(_) | Kind::List(_) => None,
        _ => canonical(term).map(|bytes| Id::Term(bytes.into())),
    }
}

/// One id, or a list of ids. A list is always a list of ids.
pub fn ids(term: Term<'_>) -> Option<Ids> {
    match term.kind() {
        Kind::Nil => Some(Ids::Ints(Vec::new())),
        Kind::Bytes(bytes) => Some(Ids::Ints(bytes.iter().copied().map(i64::from).collect())),
        Kind::List(list) => {
            let elements = list.elements();
            if elements.count() > IDS_MAX || !list.is_proper() {
                return None;
            }
            elements.map(id).collect::<Option<_>>().map(Ids::list)
        }
        _ => id(term).map(Ids::One),
    }
}

/// The term of an id, into a message of ours.
pub(super) fn write(writer: &mut Writer, id: &Id) {
    match id {
        Id::Int(value) => writer.int(*value),
        Id::Bin(bytes) => writer.binary(bytes),
        Id::Term(bytes) => writer.raw(bytes),
    };
}

/// The one encoding of this term that ids use; `None` for funs and what `eetf` does not know.
fn canonical(term: Term<'_>) -> Option<Vec<u8>> {
    let mut standalone = Vec::with_capacity(1 + term.bytes().len());
    standalone.push(VERSION);
    standalone.extend_from_slice(term.bytes());
    let decoded = Decoded::decode(standalone.as_slice()).ok()?;
    let mut writer = Writer::new();
    rewrite(&mut writer, &decoded)?;
    Some(writer.into_bytes())
}

/// As deep as the scan allowed.
fn rewrite(w: &mut Writer, term: &Decoded) -> Option<()> {
    match term {
        Decoded::Atom(atom) => w.atom(&atom.name),
        Decoded::FixInteger(int) => w.int(i64::from(int.value)),
        Decoded::BigInteger(int) => match i64::try_from(&int.value) {
            Ok(value) => w.int(value),
            Err(_) => {
                let sign = int.value.to_signed_bytes_be();
                let is_negative = sign.first().is_some_and(|byte| byte & 0x80 != 0);
                w.big(is_negative, &int.value.to_bytes_le().1)
            }
        },
        Decoded::Float(float) => w.float(float.value),
        Decoded::Pid(pid) => w.pid(&pid.node.name, pid.id, pid.serial, pid.creation),
        Decoded::Port(port) => w.port(&port.node.name, port.id, port.creation),
        Decoded::Reference(reference) => {
            w.reference(&reference.node.name, reference.creation, &reference.id)
        }
        Decoded::ExternalFun(fun) => w.export(&fun.module.name, &fun.function.name, fun.arity),
        Decoded::InternalFun(_) => return None,
        Decoded::Binary(binary) => w.binary(&binary.bytes),
        Decoded::BitBinary(bits) => {
            let mut bytes = bits.bytes.clone();
            if let Some(last) = bytes.last_mut() {
                // `eetf` keeps the last bits at the low end of their byte, the format at the high.
                *last <<= 8 - bits.tail_bits_size.clamp(1, 8);
            }
            w.bit_binary(&bytes, bits.tail_bits_size)
        }
        Decoded::ByteList(list) => {
            w.list(list.bytes.len());
            for byte in &list.bytes {
                w.int(i64::from(*byte));
            }
            w.nil()
        }
        Decoded::List(list) => {
            w.list(list.elements.len());
            rewrite_all(w, &list.elements)?;
            w.nil()
        }
        Decoded::ImproperList(list) => {
            w.list(list.elements.len());
            rewrite_all(w, &list.elements)?;
            return rewrite(w, &list.last);
        }
        Decoded::Tuple(tuple) => {
            w.tuple(tuple.elements.len());
            return rewrite_all(w, &tuple.elements);
        }
        Decoded::Map(map) => {
            // Canonical keys are distinct, so sorting by them alone is an order.
            let mut pairs = Vec::with_capacity(map.map.len());
            for (key, value) in &map.map {
                let mut pair = (Writer::new(), Writer::new());
                rewrite(&mut pair.0, key)?;
                rewrite(&mut pair.1, value)?;
                pairs.push((pair.0.into_bytes(), pair.1.into_bytes()));
            }
            pairs.sort_unstable();
            w.map(pairs.len());
            for (key, value) in pairs {
                w.raw(&key).raw(&value);
            }
            w
        }
    };
    Some(())
}

fn rewrite_all(w: &mut Writer, terms: &[Decoded]) -> Option<()> {
    terms.iter().try_for_each(|term| rewrite(w, term))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(bytes: &[u8]) -> Option<Id> {
        id(Term::parse(bytes).unwrap().0)
    }

    #[test]
    fn equal_terms_in_other_encodings_are_equal_ids() {
        let same: [&[&[u8]]; 5] = [
            // The atom `ab`, in the four encodings of atoms.
            &[
                &[119, 2, 97, 98],
                &[118, 0, 2, 97, 98],
                &[100, 0, 2, 97, 98],
                &[115, 2, 97, 98],
            ],
            // 255
            &[
                &[97, 255],
                &[98, 0, 0, 0, 255],
                &[110, 1, 0, 255],
                &[110, 8, 0, 255, 0, 0, 0, 0, 0, 0, 0],
            ],
            // {[1,2]}
            &[
                &[104, 1, 107, 0, 2, 1, 2],
                &[104, 1, 108, 0, 0, 0, 2, 97, 1, 97, 2, 106],
                &[
                    105, 0, 0, 0, 1, 108, 0, 0, 0, 2, 98, 0, 0, 0, 1, 110, 1, 0, 2, 106,
                ],
            ],
            // #{1 => a, 2 => b}
            &[
                &[116, 0, 0, 0, 2, 97, 1, 119, 1, 97, 97, 2, 119, 1, 98],
                &[
                    116, 0, 0, 0, 2, 97, 2, 100, 0, 1, 98, 98, 0, 0, 0, 1, 119, 1, 97,
                ],
            ],
            // 2^64
            &[
                &[110, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                &[111, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
            ],
        ];
        for encodings in same {
            let first = one(encodings[0]);
            assert!(first.is_some());
            for encoding in encodings {
                assert_eq!(one(encoding), first, "{encoding:?}");
            }
        }
    }

    #[test]
    fn a_negative_big_keeps_its_sign() {
        let negative = [110, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(one(&negative), Some(Id::Term(negative.as_slice().into())));
    }

    #[test]
    fn a_list_is_a_list_of_ids() {
        let ids_of = |bytes: &[u8]| ids(Term::parse(bytes).unwrap().0);
        let many = |ids: &[i64]| Some(Ids::Ints(ids.to_vec()));
        assert_eq!(ids_of(&[106]), many(&[]));
        assert_eq!(ids_of(&[107, 0, 3, 1, 2, 3]), many(&[1, 2, 3]));
        assert_eq!(
            ids_of(&[108, 0, 0, 0, 1, 98, 0, 0, 3, 232, 106]),
            many(&[1000])
        );
        assert_eq!(ids_of(&[108, 0, 0, 0, 1, 97, 1, 97, 2]), None, "improper");
        assert_eq!(
            ids_of(&[108, 0, 0, 0, 1, 106, 106]),
            None,
            "a list is no id"
        );
        assert_eq!(ids_of(&[97, 7]), Some(Ids::One(Id::Int(7))));
    }

    #[test]
    fn an_id_longer_than_any_request_head_is_none() {
        let mut writer = Writer::new();
        writer.binary(&vec![0; ID_BYTES_MAX]);
        assert_eq!(one(&writer.into_bytes()), None);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 1..100)) {
            if let Ok((term, _)) = Term::parse(&bytes) {
                let _ = ids(term);
            }
        }

        #[test]
        fn written_ids_read_back(value: i64, bytes: Vec<u8>) {
            for id in [Id::Int(value), Id::Bin(bytes.into())] {
                let mut writer = Writer::new();
                write(&mut writer, &id);
                prop_assert_eq!(one(&writer.into_bytes()), Some(id));
            }
        }
    }
}
