//! Laws of what comes in, with `tungstenite` as the client and with frames made by hand.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

use super::*;
use crate::wire::Said;

const RULES: Rules = Rules {
    message_bytes_max: 70_000,
    frames_max: 100,
    may_deflate: true,
};

/// All that is said, and the fault that ends it; the input comes in these parts.
fn said<'a>(
    parts: impl IntoIterator<Item = &'a [u8]>,
    rules: &Rules,
) -> (Vec<Heard>, Option<Fault>) {
    let (mut incoming, mut inflater) = (Incoming::default(), Inflater::default());
    let mut all = Vec::new();
    for mut part in parts {
        loop {
            match incoming.next(&mut part, rules, &mut inflater) {
                Ok(Some(one)) => {
                    let is_close = matches!(one, Heard::Close(_));
                    all.push(one);
                    if is_close {
                        return (all, None);
                    }
                }
                Ok(None) => break,
                Err(fault) => return (all, Some(fault)),
            }
            // Whoever is in no middle may be forgotten.
            if incoming.is_idle() {
                incoming = Incoming::default();
            }
        }
        assert!(part.is_empty(), "all is taken");
    }
    (all, None)
}

/// A client's frame.
fn frame(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut out = Vec::new();
    write_head(Opcode::Binary, false, payload.len(), &mut out);
    out[0] = first;
    out[1] |= 0x80;
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::mask(&mut out[start..], key);
    out
}

fn cut<'a>(bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    let mut cuts = cuts.iter().cycle();
    std::iter::from_fn(move || {
        let (part, behind) = rest.split_at_checked(*cuts.next()?).unwrap_or((rest, &[]));
        rest = behind;
        (!part.is_empty()).then_some(part)
    })
}

/// What a peer writes, and what it is to read.
#[derive(Default)]
struct Wire {
    written: Vec<u8>,
    to_read: Cursor<Vec<u8>>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.to_read.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Sent {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        ".{0,200}".prop_map(Sent::Text),
        prop::collection::vec(any::<u8>(), 0..400).prop_map(Sent::Binary),
        (65_000_usize..68_000).prop_map(|length| Sent::Binary(vec![7; length])),
        prop::collection::vec(any::<u8>(), 0..125).prop_map(Sent::Ping),
        prop::collection::vec(any::<u8>(), 0..125).prop_map(Sent::Pong),
    ]
}

proptest! {
    #[test]
    fn what_tungstenite_sends_is_heard(
        all in prop::collection::vec(sent(), 0..8),
        cuts in prop::collection::vec(1_usize..5000, 1..20),
    ) {
        let mut peer = WebSocket::from_raw_socket(Wire::default(), Role::Client, None);
        let mut expected = Vec::new();
        for one in all {
            let message = match one.clone() {
                Sent::Text(text) => tungstenite::Message::text(text),
                Sent::Binary(bytes) => tungstenite::Message::binary(bytes),
                Sent::Ping(payload) => tungstenite::Message::Ping(payload.into()),
                Sent::Pong(payload) => tungstenite::Message::Pong(payload.into()),
            };
            peer.send(message).unwrap();
            expected.push(match one {
                Sent::Text(text) => Heard::Message(Said::Text(text.into())),
                Sent::Binary(bytes) => Heard::Message(Said::Binary(bytes.into())),
                Sent::Ping(payload) => Heard::Ping(payload),
                Sent::Pong(_) => Heard::Pong,
            });
        }
        peer.close(None).unwrap();
        peer.flush().unwrap();
        expected.push(Heard::Close(None));
        let written = &peer.get_ref().written;
        prop_assert_eq!(said([written.as_slice()], &RULES), (expected.clone(), None));
        prop_assert_eq!(said(cut(written, &cuts), &RULES), (expected, None));
    }

    #[test]
    fn tungstenite_hears_what_we_write(all in prop::collection::vec(sent(), 1..8)) {
        let mut out = Vec::new();
        for one in &all {
            let (opcode, payload) = match one {
                Sent::Text(text) => (Opcode::Text, text.as_bytes()),
                Sent::Binary(bytes) => (Opcode::Binary, &bytes[..]),
                Sent::Ping(payload) => (Opcode::Ping, &payload[..]),
                Sent::Pong(payload) => (Opcode::Pong, &payload[..]),
            };
            write_head(opcode, false, payload.len(), &mut out);
            out.extend_from_slice(payload);
        }
        close_frame(Some(CloseCode::RESTART), "retry: 7", &mut out);
        let wire = Wire { to_read: Cursor::new(out), ..Wire::default() };
        let config = WebSocketConfig::default();
        let mut peer = WebSocket::from_raw_socket(wire, Role::Client, Some(config));
        for one in all {
            let heard = peer.read().unwrap();
            let expected = match one {
                Sent::Text(text) => tungstenite::Message::text(text),
                Sent::Binary(bytes) => tungstenite::Message::binary(bytes),
                Sent::Ping(payload) => tungstenite::Message::Ping(payload.into()),
                Sent::Pong(payload) => tungstenite::Message::Pong(payload.into()),
            };
            prop_assert_eq!(heard, expected);
        }
        let tungstenite::Message::Close(Some(close)) = peer.read().unwrap() else {
            panic!("it is the close frame");
        };
        prop_assert_eq!((u16::from(close.code), close.reason.as_str()), (1012, "retry: 7"));
    }

    #[test]
    fn fragments_are_one_message_with_others_between(
        text in ".{0,300}",
        cuts in prop::collection::vec(1_usize..50, 1..20),
        deflated: bool,
        key: [u8; 4],
    ) {
        let mut payload = Vec::new();
        match deflated {
            true => Deflater::new(Window::Full).deflate(text.as_bytes(), &mut payload),
            false => payload.extend_from_slice(text.as_bytes()),
        }
        let mut parts: Vec<&[u8]> = cut(&payload, &cuts).collect();
        parts.push(b"");
        let last = parts.len() - 1;
        let mut bytes = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let opcode = u8::from(at == 0);
            let flags = if at == last { 0x80 } else { 0 } | if at == 0 && deflated { 0x40 } else { 0 };
            bytes.extend(frame(opcode | flags, part, key));
            bytes.extend(frame(0x89, b"are you there", key));
        }
        let rules = Rules { frames_max: 1000, ..RULES };
        let (heard, fault) = said(bytes.chunks(1), &rules);
        prop_assert_eq!(fault, None);
        let mut expected = vec![Heard::Ping(b"are you there".to_vec()); last];
        expected.push(Heard::Message(Said::Text(text.into())));
        expected.push(Heard::Ping(b"are you there".to_vec()));
        prop_assert_eq!(heard, expected);
    }

    #[test]
    fn any_bytes_are_judged_alike_however_they_are_cut(
        frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..130)), 0..6),
        noise in prop::collection::vec(any::<u8>(), 0..60),
        cuts in prop::collection::vec(1_usize..40, 1..20),
    ) {
        let mut bytes = noise[..noise.len() / 2].to_vec();
        for (first, payload) in frames {
            bytes.extend(frame(first & 0xcf, &payload, [1, 2, 3, 4]));
        }
        bytes.extend(&noise[noise.len() / 2..]);
        prop_assert_eq!(said(cut(&bytes, &cuts), &RULES), said([bytes.as_slice()], &RULES));
    }
}

#[test]
fn every_fault_is_told_as_soon_as_it_is_there() {
    let key = [9, 8, 7, 6];
    let concat = |frames: &[Vec<u8>]| frames.concat();
    for (what, bytes, fault) in [
        (
            "a continuation of nothing",
            frame(0x80, b"x", key),
            Fault::Order,
        ),
        (
            "a message within another",
            concat(&[frame(0x01, b"x", key), frame(0x81, b"x", key)]),
            Fault::Order,
        ),
        (
            "a compressed continuation",
            concat(&[frame(0x41, b"x", key), frame(0xc0, b"x", key)]),
            Fault::ReservedBit,
        ),
        ("no UTF-8", frame(0x01, b"a\xc3\x28", key), Fault::Text),
        (
            "a surrogate",
            frame(0x01, b"\xed\xa0\x80", key),
            Fault::Text,
        ),
        ("half a character", frame(0x81, b"a\xc3", key), Fault::Text),
        (
            "no deflate",
            frame(0xc2, b"\xff\xff\xff", key),
            Fault::Compression,
        ),
        (
            "a close code",
            frame(0x88, &[3, 238], key),
            Fault::CloseCode,
        ),
        (
            "too many frames",
            concat(&[frame(0x01, b"", key), frame(0x00, b"", key).repeat(100)]),
            Fault::TooManyFrames,
        ),
    ] {
        let (heard, found) = said([bytes.as_slice()], &RULES);
        assert_eq!((heard, found), (Vec::new(), Some(fault)), "{what}");
    }
    // Its head alone says it.
    let big = frame(0x82, &vec![0; 70_001], key);
    assert_eq!(said([&big[..14]], &RULES).1, Some(Fault::TooBig));
    let rules = Rules {
        may_deflate: false,
        ..RULES
    };
    let compressed = frame(0xc1, b"x", key);
    assert_eq!(said([&compressed[..6]], &rules).1, Some(Fault::ReservedBit));
}

#[test]
fn an_idle_connection_keeps_nothing() {
    let (mut incoming, mut inflater) = (Incoming::default(), Inflater::default());
    let message = frame(0x82, b"whole", [1, 2, 3, 4]);
    for length in 1..message.len() {
        let mut input = &message[..length];
        assert_eq!(incoming.next(&mut input, &RULES, &mut inflater), Ok(None));
        assert!(!incoming.is_idle());
        let mut rest = &message[length..];
        let whole = incoming.next(&mut rest, &RULES, &mut inflater);
        assert_eq!(
            whole,
            Ok(Some(Heard::Message(Said::Binary("whole".into()))))
        );
        assert!(incoming.is_idle() && incoming.kept_bytes() == 0);
    }
    assert!(size_of::<Incoming>() <= 160, "{}", size_of::<Incoming>());
}
