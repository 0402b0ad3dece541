//! A payload that waits in memory of ours, with room around it: its frame is made where it lies.
//!
//! So a payload that somebody lent is copied once on its way to sockets, also when it waits for its shard. What a
//! frame is, is not known here; one that has no room is made elsewhere, by a copy.

use super::frames::LARGE_BYTES_MIN;
use crate::wire::{EventMeta, Form, Lent};

/// A message with a payload of its own.
#[derive(Debug)]
pub struct Roomy {
    /// [`Roomy::BEFORE`] bytes, the payload, and [`Roomy::BEHIND`] bytes.
    bytes: Box<[u8]>,
    meta: Option<Box<EventMeta>>,
    form: Form,
}

impl Roomy {
    /// What goes before 16 KiB on any transport has at most 12 bytes; the rest is for names of events.
    const BEFORE: usize = 32;

    /// And behind it 4.
    const BEHIND: usize = 4;

    /// Copies what is lent. `None`: to keep it as a message takes no more copies, because somebody has it who
    /// shares it, or because it is so large that no frame is made of it.
    pub fn of(message: Lent<'_>) -> Option<Roomy> {
        let payload = message.payload;
        if message.whole.is_some() || payload.len() >= LARGE_BYTES_MIN {
            return None;
        }
        let mut bytes = Vec::with_capacity(Self::BEFORE + payload.len() + Self::BEHIND);
        bytes.resize(Self::BEFORE, 0);
        bytes.extend_from_slice(payload);
        bytes.resize(bytes.len() + Self::BEHIND, 0);
        Some(Roomy {
            bytes: bytes.into(),
            meta: message.meta.map(|meta| Box::new(meta.clone())),
            form: message.form,
        })
    }

    /// The message.
    pub fn lend(&self) -> Lent<'_> {
        Lent {
            payload: &self.bytes[Self::BEFORE..self.bytes.len() - Self::BEHIND],
            whole: None,
            meta: self.meta.as_deref(),
            form: self.form,
        }
    }

    /// Bytes that it holds, for the byte bounds of queues.
    pub fn bytes(&self) -> usize {
        self.lend().bytes() + Self::BEFORE + Self::BEHIND
    }

    /// Whether there is room for these around the payload.
    pub(super) fn has_room(before: usize, behind: usize) -> bool {
        before <= Self::BEFORE && behind <= Self::BEHIND
    }

    /// The payload between these two, for which there is room.
    pub(super) fn between(&mut self, before: &[u8], behind: &[u8]) -> &[u8] {
        let start = Self::BEFORE - before.len();
        let end = self.bytes.len() - Self::BEHIND;
        self.bytes[start..Self::BEFORE].copy_from_slice(before);
        self.bytes[end..end + behind.len()].copy_from_slice(behind);
        &self.bytes[start..end + behind.len()]
    }
}
