//! The opening handshake of a WebSocket as its client makes it (RFC 6455 sections 4.1 and 4.2.2).
//!
//! It asks for no subprotocol, and for no extension but permessage-deflate, without parameters. The
//! key is made of a number that its connection drew: it need not be secret here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::fault::Fault;
use super::head::Head;

/// What the server puts behind the key before it hashes it (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The one extension there is (RFC 7692).
const DEFLATE: &str = "permessage-deflate";

/// Appends the fields that ask for a WebSocket; `nonce` is the connection's number.
pub(super) fn write_fields(nonce: u64, deflate: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: ",
    );
    out.extend_from_slice(key(nonce).as_bytes());
    out.extend_from_slice(b"\r\n");
    if deflate {
        out.extend_from_slice(b"Sec-WebSocket-Extensions: ");
        out.extend_from_slice(DEFLATE.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Judges an answer of status 101; whether messages may come compressed.
pub(super) fn agreed(head: &Head, nonce: u64, deflate: bool) -> Result<bool, Fault> {
    if !head.upgrades || !head.connection_upgrades || head.is_chunked || head.has_length {
        return Err(Fault::NotAWebSocket);
    }
    if head.accept.as_ref() != Some(&accept(nonce)) {
        return Err(Fault::Accept);
    }
    if head.has_protocol || (head.has_extension && !(deflate && head.is_deflate)) {
        return Err(Fault::NotOffered);
    }
    Ok(head.has_extension)
}

/// Whether the value of `Sec-WebSocket-Extensions` names this extension alone.
pub(super) fn is_deflate(value: &[u8]) -> bool {
    let name = value.split(|byte| *byte == b';').next().unwrap_or_default();
    !value.contains(&b',') && name.trim_ascii().eq_ignore_ascii_case(DEFLATE.as_bytes())
}

/// 16 bytes, as base64.
fn key(nonce: u64) -> String {
    let nonce = u128::from(nonce);
    STANDARD.encode((nonce << 64 | !nonce).to_be_bytes())
}

/// What proves that the server has read the key.
fn accept(nonce: u64) -> [u8; 28] {
    accept_of(&key(nonce))
}

fn accept_of(key: &str) -> [u8; 28] {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(hash.finalize(), &mut accept);
    debug_assert_eq!(written, Ok(28), "20 bytes as base64");
    accept
}

/// The answer of a server that agrees, with more fields.
#[cfg(test)]
pub(super) fn answer(nonce: u64, more: &str) -> String {
    let accept = accept(nonce);
    let accept = std::str::from_utf8(&accept).expect("base64");
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::head;
    use super::*;

    const DEFLATED: &str =
        "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n";

    fn judged(answer: &str, deflate: bool) -> Result<bool, Fault> {
        agreed(
            &head::parse(answer.as_bytes()).unwrap().unwrap(),
            7,
            deflate,
        )
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(
            &accept_of("dGhlIHNhbXBsZSBub25jZQ=="),
            b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn a_key_is_16_bytes_and_each_its_own() {
        for nonce in [0, 7, u64::MAX] {
            assert_eq!(STANDARD.decode(key(nonce)).unwrap().len(), 16);
        }
        assert_ne!(key(1), key(2));
    }

    #[test]
    fn an_answer_that_was_not_asked_for_is_a_fault() {
        assert_eq!(judged(&answer(7, ""), false), Ok(false));
        assert_eq!(judged(&answer(7, ""), true), Ok(false));
        assert_eq!(judged(&answer(7, DEFLATED), true), Ok(true));
        assert_eq!(judged(&answer(7, DEFLATED), false), Err(Fault::NotOffered));
        for extension in ["permessage-deflate, x", "x"] {
            let more = format!("Sec-WebSocket-Extensions: {extension}\r\n");
            assert_eq!(judged(&answer(7, &more), true), Err(Fault::NotOffered));
        }
        let protocol = answer(7, "Sec-WebSocket-Protocol: chat\r\n");
        assert_eq!(judged(&protocol, true), Err(Fault::NotOffered));
        assert_eq!(judged(&answer(8, ""), false), Err(Fault::Accept));
        for (field, other) in [
            ("Upgrade: WebSocket", "Upgrade: h2c"),
            ("upgrade\r\n", "close\r\n"),
        ] {
            let wrong = answer(7, "").replacen(field, other, 1);
            assert_eq!(judged(&wrong, false), Err(Fault::NotAWebSocket), "{wrong}");
        }
        let length = answer(7, "Content-Length: 1\r\n");
        assert_eq!(judged(&length, false), Err(Fault::NotAWebSocket));
    }
}
