//! Our writer of terms: the dozen constructors that replies, events and control messages need.
//!
//! Writes each value in one way only, the one OTP itself prefers, but for lists of small integers:
//! those are `LIST_EXT`, never `STRING_EXT`, so that equal terms have equal bytes (`id`). It does
//! not check that as many elements follow as were announced; the callers' tests do.

use super::scan::{VERSION, tag};
use super::view::Pid;

/// An atom by itself.
pub fn atom(name: &str) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.atom(name);
    writer.into_bytes()
}

/// A pid in the one encoding that is compared, whatever the encoding that it came in.
pub fn pid(pid: Pid<'_>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.pid(pid.node, pid.id, pid.serial, pid.creation);
    writer.into_bytes()
}

/// A term under construction.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// For a term inside another.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// What has been written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many bytes there are so far.
    pub fn written(&self) -> usize {
        self.bytes.len()
    }

    /// The version byte that begins a term which stands alone.
    pub fn version(&mut self) -> &mut Self {
        self.u8(VERSION)
    }

    /// A byte that is no term: the pass-through mark of a frame.
    pub fn u8(&mut self, byte: u8) -> &mut Self {
        self.bytes.push(byte);
        self
    }

    /// A term that is encoded already.
    pub fn raw(&mut self, term: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(term);
        self
    }

    /// An atom of at most 1,020 bytes: a name of ours, or one that came as an atom.
    pub fn atom(&mut self, name: &str) -> &mut Self {
        match u8::try_from(name.len()) {
            Ok(length) => self.u8(tag::SMALL_ATOM_UTF8).u8(length),
            Err(_) => {
                let length = u16::try_from(name.len()).expect("an atom has at most 1,020 bytes");
                self.u8(tag::ATOM_UTF8).raw(&length.to_be_bytes())
            }
        };
        self.raw(name.as_bytes())
    }

    /// An integer, in the shortest encoding.
    pub fn int(&mut self, value: i64) -> &mut Self {
        if let Ok(small) = u8::try_from(value) {
            return self.u8(tag::SMALL_INTEGER).u8(small);
        }
        if let Ok(word) = i32::try_from(value) {
            return self.u8(tag::INTEGER).raw(&word.to_be_bytes());
        }
        self.big(value < 0, &value.unsigned_abs().to_le_bytes())
    }

    /// The same for one that is never negative.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        match i64::try_from(value) {
            Ok(value) => self.int(value),
            Err(_) => self.big(false, &value.to_le_bytes()),
        }
    }

    /// An integer beyond 32 bits: sign and little-endian digits, at most 2^32 of them.
    pub fn big(&mut self, is_negative: bool, digits: &[u8]) -> &mut Self {
        let significant = digits
            .iter()
            .rposition(|digit| *digit != 0)
            .map_or(0, |at| at + 1);
        let digits = &digits[..significant];
        match u8::try_from(significant) {
            Ok(count) => self.u8(tag::SMALL_BIG).u8(count),
            Err(_) => self.u8(tag::LARGE_BIG).count(significant),
        };
        self.u8(u8::from(is_negative)).raw(digits)
    }

    /// A float; it must be finite.
    pub fn float(&mut self, value: f64) -> &mut Self {
        self.u8(tag::NEW_FLOAT).raw(&value.to_be_bytes())
    }

    /// A binary.
    pub fn binary(&mut self, bytes: &[u8]) -> &mut Self {
        self.u8(tag::BINARY).count(bytes.len()).raw(bytes)
    }

    /// A bit string; of the last byte so many bits count.
    pub fn bit_binary(&mut self, bytes: &[u8], bits_of_last: u8) -> &mut Self {
        self.u8(tag::BIT_BINARY)
            .count(bytes.len())
            .u8(bits_of_last)
            .raw(bytes)
    }

    /// `count` elements follow.
    pub fn tuple(&mut self, count: usize) -> &mut Self {
        match u8::try_from(count) {
            Ok(count) => self.u8(tag::SMALL_TUPLE).u8(count),
            Err(_) => self.u8(tag::LARGE_TUPLE).count(count),
        }
    }

    /// `count` elements and a tail follow; `[]` alone when there are none.
    pub fn list(&mut self, count: usize) -> &mut Self {
        if count > 0 {
            self.u8(tag::LIST).count(count);
        }
        self
    }

    /// `[]`, which also ends a proper list.
    pub fn nil(&mut self) -> &mut Self {
        self.u8(tag::NIL)
    }

    /// `count` pairs of key and value follow.
    pub fn map(&mut self, count: usize) -> &mut Self {
        self.u8(tag::MAP).count(count)
    }

    /// A pid.
    pub fn pid(&mut self, node: &str, id: u32, serial: u32, creation: u32) -> &mut Self {
        self.u8(tag::NEW_PID).atom(node);
        self.raw(&id.to_be_bytes()).raw(&serial.to_be_bytes());
        self.raw(&creation.to_be_bytes())
    }

    /// A port.
    pub fn port(&mut self, node: &str, id: u64, creation: u32) -> &mut Self {
        self.u8(tag::V4_PORT).atom(node);
        self.raw(&id.to_be_bytes()).raw(&creation.to_be_bytes())
    }

    /// A reference of 1 to 5 words.
    pub fn reference(&mut self, node: &str, creation: u32, words: &[u32]) -> &mut Self {
        let count = u16::try_from(words.len()).expect("a reference has at most 5 words");
        self.u8(tag::NEWER_REFERENCE)
            .raw(&count.to_be_bytes())
            .atom(node);
        self.raw(&creation.to_be_bytes());
        for word in words {
            self.raw(&word.to_be_bytes());
        }
        self
    }

    /// `fun Module:Function/Arity`.
    pub fn export(&mut self, module: &str, function: &str, arity: u8) -> &mut Self {
        self.u8(tag::EXPORT).atom(module).atom(function);
        self.int(i64::from(arity))
    }

    /// A 32-bit length or count.
    fn count(&mut self, count: usize) -> &mut Self {
        let count = u32::try_from(count).expect("frames are far below 4 GiB");
        self.raw(&count.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use eetf::{Atom, BigInteger, Binary, Term};
    use proptest::prelude::*;

    use super::*;

    /// What the independent decoder makes of it.
    fn read_back(write: impl FnOnce(&mut Writer)) -> Term {
        let mut writer = Writer::new();
        writer.version();
        write(&mut writer);
        let bytes = writer.into_bytes();
        let mut cursor = Cursor::new(&bytes);
        let term = Term::decode(&mut cursor).unwrap();
        assert_eq!(cursor.position(), bytes.len() as u64, "all of it");
        term
    }

    fn decimal(term: &Term) -> String {
        match term {
            Term::FixInteger(int) => int.value.to_string(),
            Term::BigInteger(BigInteger { value }) => value.to_string(),
            other => panic!("{other} is no integer"),
        }
    }

    proptest! {
        #[test]
        fn integers_read_back(value: i64, unsigned: u64) {
            prop_assert_eq!(decimal(&read_back(|w| { w.int(value); })), value.to_string());
            prop_assert_eq!(decimal(&read_back(|w| { w.uint(unsigned); })), unsigned.to_string());
        }

        #[test]
        fn binaries_and_atoms_read_back(bytes: Vec<u8>, name in "\\PC{0,255}") {
            prop_assert_eq!(
                read_back(|w| { w.binary(&bytes); }),
                Term::from(Binary { bytes: bytes.clone() })
            );
            prop_assert_eq!(read_back(|w| { w.atom(&name); }), Term::from(Atom::from(name)));
        }
    }

    #[test]
    fn pids_references_and_containers_read_back() {
        let term = read_back(|w| {
            w.tuple(4)
                .pid("a@b", u32::MAX, 0xfe00_0001, 7)
                .reference("a@b", 7, &[1, 2, 3]);
            w.list(2).int(-1).int(5).nil();
            w.map(1).atom("k").binary(b"v");
        });
        let text = term.to_string();
        assert!(text.contains("[-1,5]"), "{text}");
        assert!(text.contains("#Ref<'a@b'.1.2.3>"), "{text}");
    }
}
