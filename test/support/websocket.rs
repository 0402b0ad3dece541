//! A raw WebSocket client: frames as bytes, nothing done that a test has not asked for.
//!
//! An encoder and decoder of its own: one that shared the code of the edge would agree with its
//! mistakes. No compression.

use std::io::{Read, Write};

use super::world::{Client, World};

/// The handshake for a path; `extra` are more fields, each with its line end.
pub(crate) fn handshake(path: &str, extra: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    )
}

/// A frame of a client, masked; `first` has the flags and the opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        length @ ..=125 => frame.push(0x80 | u8::try_from(length).expect("it is short")),
        length @ ..=65535 => {
            frame.push(0xfe);
            frame.extend(u16::try_from(length).expect("it is").to_be_bytes());
        }
        length => {
            frame.push(0xff);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    let masked = payload.iter().enumerate();
    frame.extend(masked.map(|(at, byte)| byte ^ key[at % 4]));
    frame
}

/// A frame of the server: its first byte and its payload.
pub(crate) type Frame = (u8, Vec<u8>);

impl Client {
    /// The next frame; what follows it stays in `received`.
    pub(crate) fn read_frame(&mut self) -> Frame {
        loop {
            if let Some((frame, length)) = cut(&self.received) {
                self.received.drain(..length);
                return frame;
            }
            let mut buffer = [0; 65536];
            let count = self.stream.read(&mut buffer).expect("no reset");
            assert!(count > 0, "ended in the middle: {:?}", self.received);
            self.received.extend_from_slice(&buffer[..count]);
        }
    }

    /// The close frame's code and reason, and nothing behind it.
    pub(crate) fn read_close(mut self) -> (u16, String) {
        loop {
            match self.read_frame() {
                (0x88, payload) => {
                    let (code, reason) = payload.split_at(2);
                    // Whether there is a reset behind it is no matter.
                    let mut rest = self.received.clone();
                    let _ = self.stream.read_to_end(&mut rest);
                    assert!(rest.is_empty(), "{rest:?} behind the end");
                    let code = u16::from_be_bytes([code[0], code[1]]);
                    return (
                        code,
                        String::from_utf8(reason.to_vec()).expect("it is text"),
                    );
                }
                (0x89 | 0x8a, _) => {}
                other => panic!("{other:?} before the end"),
            }
        }
    }

    /// Sends a frame.
    pub(crate) fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.stream
            .write_all(&frame(first, payload))
            .expect("the edge reads");
    }
}

fn cut(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (&second, rest) = rest.split_first()?;
    assert!(second < 0x80, "a server masks nothing");
    let (length, rest) = match second {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            let length = usize::try_from(u64::from_be_bytes(*length));
            (length.expect("it fits"), rest)
        }
        length => (usize::from(length), rest),
    };
    let payload = rest.get(..length)?;
    let whole = bytes.len() - rest.len() + length;
    Some(((first, payload.to_vec()), whole))
}

impl World {
    /// A WebSocket of an id: greeted, and known to the owner.
    pub(crate) fn websocket(&self, id: i64, extra: &str) -> Client {
        let opened = self.owner.count_opened();
        let mut client = self.client(handshake(&format!("/ws/{id}"), extra));
        let head = client.read_until(b"\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        self.owner
            .wait("the WebSocket to open", |told| told.opened() > opened);
        client
    }
}
