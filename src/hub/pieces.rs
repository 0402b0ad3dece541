//! The bytes of one message as they go out: in one piece, or around its payload, which is not copied.
//!
//! It frames nothing, and does not say when copying is worth avoiding. What is lent is written at once; what is
//! kept waits in outboxes.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::Sockets;

/// A frame that is lent: the same bytes whether the payload lies in `head` or by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) head: &'a [u8],
    pub(super) payload: &'a [u8],
    pub(super) tail: &'a [u8],
}

impl<'a> Frame<'a> {
    pub(super) fn whole(bytes: &'a [u8]) -> Frame<'a> {
        Frame {
            head: bytes,
            payload: &[],
            tail: &[],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.head.len() + self.payload.len() + self.tail.len()
    }

    /// In one call.
    pub(super) fn write(&self, slot: u32, sockets: &mut impl Sockets) -> Option<usize> {
        if self.payload.is_empty() {
            return sockets.write(slot, self.head);
        }
        let pieces = [self.head, self.payload, self.tail].map(IoSlice::new);
        sockets.write_vectored(slot, &pieces)
    }

    /// In one piece.
    pub(super) fn copy(&self) -> Bytes {
        if self.payload.is_empty() {
            return Bytes::copy_from_slice(self.head);
        }
        [self.head, self.payload, self.tail].concat().into()
    }
}

/// A frame that is kept, or what is left of it.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Whole(Bytes),
    /// Head, payload, tail; boxed, because few messages are as large.
    Parts(Box<[Bytes; 3]>),
}

impl From<Bytes> for Kept {
    fn from(whole: Bytes) -> Kept {
        Kept::Whole(whole)
    }
}

impl Kept {
    pub(super) fn len(&self) -> usize {
        self.pieces().iter().map(Bytes::len).sum()
    }

    /// In their order; some may be empty.
    pub(super) fn pieces(&self) -> &[Bytes] {
        match self {
            Kept::Whole(whole) => std::slice::from_ref(whole),
            Kept::Parts(parts) => &**parts,
        }
    }

    /// Takes the first `count` bytes away.
    pub(super) fn advance(&mut self, mut count: usize) {
        let pieces = match self {
            Kept::Whole(whole) => std::slice::from_mut(whole),
            Kept::Parts(parts) => &mut **parts,
        };
        for piece in pieces {
            let taken = count.min(piece.len());
            piece.advance(taken);
            count -= taken;
        }
    }
}
