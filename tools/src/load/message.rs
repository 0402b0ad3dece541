//! A message under way on one connection: its length, its stamps, and whether it is a heartbeat.
//!
//! It knows nothing of how messages are framed.

use super::connection::Event;
use super::stamp::StampMatcher;

#[derive(Debug, Default)]
pub(super) struct Message {
    stamps: StampMatcher,
    bytes: u64,
    stamped: bool,
    /// All there is so far is one newline.
    newline: bool,
}

impl Message {
    /// A part of it, that reached `id`.
    pub(super) fn data(&mut self, data: &[u8], id: u64, sink: &mut impl FnMut(Event)) {
        self.newline = self.bytes == 0 && data == b"\n";
        self.bytes += data.len() as u64;
        let Self {
            stamps, stamped, ..
        } = self;
        stamps.feed(data, id, |stamp| {
            *stamped = true;
            sink(Event::Stamped(stamp));
        });
    }

    /// The same of data that cannot be looked at.
    pub(super) fn opaque(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// It is over, and always was a message, also one whose data is a newline.
    pub(super) fn end_whole(&mut self, sink: &mut impl FnMut(Event)) {
        self.newline = false;
        self.end(sink);
    }

    /// It is over; one newline was a heartbeat.
    pub(super) fn end(&mut self, sink: &mut impl FnMut(Event)) {
        if self.newline {
            sink(Event::Heartbeat);
        } else {
            sink(Event::Message {
                payload_bytes: self.bytes,
                stamped: self.stamped,
            });
        }
        self.stamps.reset();
        self.bytes = 0;
        self.stamped = false;
        self.newline = false;
    }
}
