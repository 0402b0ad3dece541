//! Reading sockets: for what the clients of WebSockets say, and for the end of all connections.
//!
//! What is said is taken apart by `websocket`, answered by the hub where the protocol answers, and
//! told as news. Who says more than can be told is not read until it is, so that its own sending
//! blocks; nothing that was read is dropped.

use std::io::ErrorKind;

use super::Running;
use crate::hub::Farewell;
use crate::metrics::WebsocketFault;
use crate::websocket::{CloseCode, Fault, Heard, Opcode, write_head};
use crate::wire::{Conn, Event, Reason, Said, Transport};

/// Bytes a client may send on a held stream at once before it counts as a misuse. Some clients
/// send a stray line end; none has a reason to send more.
const STRAY_BYTES_MAX: usize = 4096;

/// Reads of one WebSocket before others have their turn: a megabyte.
const READS_MAX: usize = 64;

impl Running {
    /// Reads until the socket is empty, because the poller tells an edge only once.
    pub(super) fn read(&mut self, slot: u32) -> Option<Reason> {
        let framing = self.shard.hub.framing(slot)?;
        let is_websocket = framing.transport() == Transport::Websocket;
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut stray = 0;
        let mut reads = 0;
        let ended = loop {
            if is_websocket && self.inbox.is_paused(slot) {
                break None;
            }
            if reads == READS_MAX {
                self.unread.push(slot);
                break None;
            }
            match self.sockets.read(slot, &mut buffer) {
                None => break None,
                Some(Ok(0)) => break Some(Reason::Client),
                Some(Ok(count)) if is_websocket => {
                    self.hear(slot, &buffer[..count]);
                    reads += 1;
                }
                Some(Ok(count)) => stray += count,
                Some(Err(error)) => match error.kind() {
                    ErrorKind::WouldBlock => break None,
                    ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset => break Some(Reason::Client),
                    ErrorKind::InvalidData => break Some(Reason::Protocol),
                    _ => break Some(Reason::Io),
                },
            }
            if stray >= STRAY_BYTES_MAX {
                break Some(Reason::Protocol);
            }
        };
        self.buffer = buffer;
        ended
    }

    /// Takes what the client of a WebSocket has sent. What comes behind its close frame, or ours, is
    /// nobody's affair.
    pub(super) fn hear(&mut self, slot: u32, bytes: &[u8]) {
        let Some(framing) = self.shard.hub.listening(slot) else {
            return;
        };
        let Some((conn, ..)) = self.shard.hub.next_held(slot) else {
            return;
        };
        let rules = self.inbox.rules(framing);
        let mut middle = self.inbox.take(slot);
        let mut input = bytes;
        loop {
            let heard = middle
                .incoming
                .next(&mut input, &rules, &mut self.inbox.inflater);
            match heard {
                Ok(None) => break,
                Ok(Some(Heard::Message(said))) => {
                    if self.tell_said(conn, said) {
                        middle.rest = input.to_vec().into();
                        break;
                    }
                }
                Ok(Some(Heard::Ping(payload))) => {
                    let mut pong = Vec::with_capacity(2 + payload.len());
                    write_head(Opcode::Pong, false, payload.len(), &mut pong);
                    pong.extend_from_slice(&payload);
                    let hub = &mut self.shard.hub;
                    hub.handle_aside(slot, &pong, &mut self.sockets);
                    if hub.listening(slot).is_none() {
                        return;
                    }
                }
                Ok(Some(Heard::Pong)) => {}
                Ok(Some(Heard::Close(code))) => {
                    return self.part(slot, Reason::Client, code);
                }
                Err(fault) => {
                    let metrics = &self.shard.metrics;
                    metrics.websocket_faults.of(label(fault)).increment();
                    return self.part(slot, Reason::Protocol, Some(fault.code()));
                }
            }
        }
        self.inbox.keep(slot, middle);
        for slot in self.inbox.worst() {
            self.inbox.forget(slot);
            self.part(slot, Reason::Unserved, None);
        }
    }

    /// Reads those again that were not read because too much was untold.
    pub(super) fn read_on(&mut self) {
        for slot in self.inbox.read_on() {
            let mut middle = self.inbox.take(slot);
            let rest = std::mem::take(&mut middle.rest);
            self.inbox.keep(slot, middle);
            self.hear(slot, &rest);
            self.read_more(slot);
        }
    }

    /// Reads on where others were let in between.
    pub(super) fn read_unread(&mut self) {
        for slot in std::mem::take(&mut self.unread) {
            self.read_more(slot);
        }
    }

    fn read_more(&mut self, slot: u32) {
        if let Some(reason) = self.read(slot) {
            self.shard.hub.handle_gone(slot, reason);
        }
        self.outputs();
    }

    /// Whether no more is to be read for now.
    fn tell_said(&mut self, conn: Conn, said: Said) -> bool {
        let (is_text, bytes) = match said {
            Said::Text(bytes) => (true, bytes),
            Said::Binary(bytes) => (false, bytes),
        };
        let metrics = &self.shard.metrics;
        metrics.client_messages.increment();
        metrics.client_message_bytes.add(bytes.len() as u64);
        let (bytes, is_full) = self.inbox.count(conn.slot, bytes);
        if is_full {
            metrics.reading_pauses.increment();
        }
        let held = self.shard.hub.next_held(conn.slot);
        let Some((_, id, _)) = held.filter(|(held, ..)| *held == conn) else {
            return true;
        };
        let event = Event::Received {
            conn,
            id: id.clone(),
            handler: self.named.get(conn.slot).cloned(),
            said: match is_text {
                true => Said::Text(bytes),
                false => Said::Binary(bytes),
            },
        };
        self.tell(event);
        is_full
    }

    fn part(&mut self, slot: u32, reason: Reason, code: Option<CloseCode>) {
        let farewell = Farewell {
            retry_ms: None,
            code,
        };
        let hub = &mut self.shard.hub;
        hub.handle_farewell(slot, reason, farewell, &mut self.sockets);
    }
}

fn label(fault: Fault) -> WebsocketFault {
    match fault.code() {
        CloseCode::INVALID => WebsocketFault::Invalid,
        CloseCode::TOO_BIG => WebsocketFault::TooBig,
        CloseCode::POLICY => WebsocketFault::Policy,
        _ => WebsocketFault::Protocol,
    }
}
