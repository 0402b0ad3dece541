//! Where streams are asked for: the URL with its `{id}`, the range of ids, the request.
//!
//! Plain HTTP and WebSockets without TLS only; no redirects, no user names. The name is resolved once, before the run.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use super::Error;
use super::connection::Transport;
use super::handshake;

/// The place in the URL that an id takes.
const PLACE: &str = "{id}";

/// What real request targets stay under, and half of the 8 KiB a node takes as a head.
const URL_BYTES_MAX: usize = 4096;

/// `http://host[:port]/path/{id}` or `ws://...`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    authority: String,
    before_id: String,
    after_id: String,
    pub(super) is_websocket: bool,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum TargetError {
    #[error("must begin with http:// or ws:// (for TLS, go through a proxy that ends it)")]
    Scheme,
    #[error("must name a host, as in http://127.0.0.1:8000/stream/{{id}}")]
    Host,
    #[error("must contain {{id}} once, as in http://127.0.0.1:8000/stream/{{id}}")]
    Place,
    #[error("contains a space or a control or non-ASCII character; percent-encode it")]
    Character,
    #[error("is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        if url.len() > URL_BYTES_MAX {
            return Err(TargetError::TooLong);
        }
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TargetError::Character);
        }
        let (scheme, rest) = url.split_once("://").ok_or(TargetError::Scheme)?;
        let is_websocket = match scheme {
            "http" => false,
            "ws" => true,
            _ => return Err(TargetError::Scheme),
        };
        let (authority, path) = rest.split_once('/').ok_or(TargetError::Place)?;
        if authority.is_empty() || authority.contains(['@', '?', '#', '{']) {
            return Err(TargetError::Host);
        }
        let (before_id, after_id) = path.split_once(PLACE).ok_or(TargetError::Place)?;
        if after_id.contains(PLACE) {
            return Err(TargetError::Place);
        }
        Ok(Self {
            authority: authority.to_owned(),
            before_id: format!("/{before_id}"),
            after_id: after_id.to_owned(),
            is_websocket,
        })
    }
}

impl Target {
    /// The first address of the host.
    pub(super) fn resolve(&self) -> Result<SocketAddr, Error> {
        let with_port = match self.authority.to_socket_addrs() {
            Ok(addresses) => Ok(addresses),
            // No port: the error cannot tell that from a host that is not there.
            Err(first) => (self.authority.trim_matches(['[', ']']), 80_u16)
                .to_socket_addrs()
                .map_err(|_| first),
        };
        let failed = |source| Error::Resolve {
            host: self.authority.clone(),
            source,
        };
        with_port
            .map_err(failed)?
            .next()
            .ok_or_else(|| Error::NoAddress {
                host: self.authority.clone(),
            })
    }

    /// Writes the request for the stream of `id` into `out`, replacing what is there; `nonce` is what a
    /// WebSocket's key is made of.
    pub(super) fn write_request(
        &self,
        id: u64,
        transport: Transport,
        nonce: u64,
        out: &mut Vec<u8>,
    ) {
        let mut digits = itoa::Buffer::new();
        let parts = [
            "GET ",
            &self.before_id,
            digits.format(id),
            &self.after_id,
            " HTTP/1.1\r\nHost: ",
            &self.authority,
            "\r\nUser-Agent: lariat-tools\r\n",
        ];
        out.clear();
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
        match transport {
            Transport::Chunked => out.extend_from_slice(b"Accept: */*\r\n"),
            Transport::Sse => out.extend_from_slice(b"Accept: text/event-stream\r\n"),
            Transport::WebSocket { deflate } => handshake::write_fields(nonce, deflate, out),
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The ids streams are opened for, as `FIRST-LAST` or one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdRange {
    first: u64,
    last: u64,
}

impl IdRange {
    /// The ids 1 to `count`.
    pub(super) fn of(count: u32) -> Self {
        Self {
            first: 1,
            last: u64::from(count),
        }
    }

    /// The id of the connection with this number: round and round.
    pub(super) fn id(&self, connection: u32) -> u64 {
        match (self.last - self.first).checked_add(1) {
            Some(span) => self.first + u64::from(connection) % span,
            None => u64::from(connection),
        }
    }

    /// Which of the range's ids this is, from 0.
    pub(super) fn place(&self, id: u64) -> Option<usize> {
        usize::try_from(id.checked_sub(self.first)?).ok()
    }

    /// The ids that `connections` connections use, in order.
    pub(super) fn used_by(&self, connections: u32) -> impl Iterator<Item = u64> {
        let last = self.first.saturating_add(u64::from(connections) - 1);
        self.first..=last.min(self.last)
    }
}

impl FromStr for IdRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            part.parse::<u64>()
                .map_err(|_| format!("{part:?} is no id; write a range as 1-10000, or one number"))
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!(
                "the range ends before it begins; write {last}-{first}"
            ));
        }
        Ok(Self { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_takes_its_place_in_the_request() {
        let target: Target = "http://localhost:8000/a/{id}?x=y".parse().unwrap();
        let mut request = b"old".to_vec();
        target.write_request(7, Transport::Sse, 0, &mut request);
        let text = String::from_utf8(request).unwrap();
        assert!(
            text.starts_with("GET /a/7?x=y HTTP/1.1\r\nHost: localhost:8000\r\n"),
            "{text}"
        );
        assert!(text.contains("\r\nAccept: text/event-stream\r\n") && text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_websocket_is_asked_for_by_its_scheme() {
        let target: Target = "ws://localhost:8000/ws/{id}".parse().unwrap();
        assert!(target.is_websocket);
        let mut request = Vec::new();
        for deflate in [false, true] {
            target.write_request(7, Transport::WebSocket { deflate }, 9, &mut request);
            let text = std::str::from_utf8(&request).unwrap();
            assert!(text.starts_with("GET /ws/7 HTTP/1.1\r\n"), "{text}");
            assert!(text.contains("\r\nUpgrade: websocket\r\n") && text.ends_with("\r\n\r\n"));
            assert_eq!(text.contains("permessage-deflate"), deflate);
        }
    }

    #[test]
    fn a_url_that_cannot_be_asked_is_refused() {
        let refused = |url: &str| url.parse::<Target>().unwrap_err();
        assert_eq!(refused("https://h/{id}"), TargetError::Scheme);
        assert_eq!(refused("wss://h/{id}"), TargetError::Scheme);
        assert_eq!(refused("h/{id}"), TargetError::Scheme);
        assert_eq!(refused("http:///{id}"), TargetError::Host);
        assert_eq!(refused("http://user@h/{id}"), TargetError::Host);
        assert_eq!(refused("http://h"), TargetError::Place);
        assert_eq!(refused("http://h/stream"), TargetError::Place);
        assert_eq!(refused("http://h/{id}/{id}"), TargetError::Place);
        assert_eq!(refused("http://h/ {id}"), TargetError::Character);
        assert_eq!(
            refused(&format!("http://h/{}", "x".repeat(4096))),
            TargetError::TooLong
        );
    }

    #[test]
    fn the_port_defaults_to_80() {
        let address = |url: &str| {
            url.parse::<Target>()
                .unwrap()
                .resolve()
                .unwrap()
                .to_string()
        };
        assert_eq!(address("http://127.0.0.1/{id}"), "127.0.0.1:80");
        assert_eq!(address("http://127.0.0.1:8000/{id}"), "127.0.0.1:8000");
        assert_eq!(address("http://[::1]/{id}"), "[::1]:80");
    }

    #[test]
    fn ids_go_round() {
        let ids: IdRange = "5-7".parse().unwrap();
        let round: Vec<_> = (0..5).map(|connection| ids.id(connection)).collect();
        assert_eq!(round, [5, 6, 7, 5, 6]);
        assert_eq!(ids.used_by(2).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(ids.used_by(9).collect::<Vec<_>>(), [5, 6, 7]);
        assert_eq!((ids.place(6), ids.place(4)), (Some(1), None));
        let all: IdRange = format!("0-{}", u64::MAX).parse().unwrap();
        assert_eq!(all.id(9), 9);
        assert_eq!("7".parse::<IdRange>().unwrap().id(3), 7);
        assert!("7-5".parse::<IdRange>().unwrap_err().contains("5-7"));
        assert!("a-5".parse::<IdRange>().is_err());
    }
}
