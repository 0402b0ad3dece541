//! The opening handshake: RFC 6455, section 4.2.
//!
//! Fields of a request in, the head of the answer or a refusal out. Who may come from which page is
//! not judged here: it only says what `Origin` says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::extension::Deflate;

/// What is put behind the key (section 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a request says of WebSocket. Without any of its fields nothing is allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    upgrades: bool,
    connection_upgrades: bool,
    version: Option<&'a [u8]>,
    keys: Vec<&'a [u8]>,
    protocols: Vec<&'a [u8]>,
    extensions: Vec<&'a [u8]>,
    host: &'a [u8],
}

/// Why a handshake is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It asks for no upgrade to WebSocket.
    NoUpgrade,
    /// For another version than 13.
    Version,
    /// There is not exactly one key of 16 bytes.
    Key,
}

/// What a handshake is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// `Sec-WebSocket-Accept`
    pub accept: String,
    /// `Sec-WebSocket-Protocol`: one that the client named, if one of them is spoken.
    pub protocol: Option<String>,
    /// Compression, if both want it.
    pub deflate: Option<Deflate>,
}

impl<'a> Fields<'a> {
    /// Looks at a field of the request; what is not about WebSocket is passed over.
    pub fn note(&mut self, name: &str, value: &'a [u8]) {
        // Most fields are of another length.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.host = value,
            7 if name.eq_ignore_ascii_case("upgrade") => {
                self.upgrades |=
                    tokens(value).any(|token| token.eq_ignore_ascii_case(b"websocket"));
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                self.connection_upgrades |=
                    tokens(value).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
            }
            17 if name.eq_ignore_ascii_case("sec-websocket-key") => self.keys.push(value),
            21 if name.eq_ignore_ascii_case("sec-websocket-version") => self.version = Some(value),
            22 if name.eq_ignore_ascii_case("sec-websocket-protocol") => self.protocols.push(value),
            24 if name.eq_ignore_ascii_case("sec-websocket-extensions") => {
                self.extensions.push(value);
            }
            _ => {}
        }
    }

    /// The host that the client asks.
    pub fn host(&self) -> &'a [u8] {
        self.host
    }

    /// The sub-protocols that the client names, in order.
    pub fn protocols(&self) -> impl Iterator<Item = &'a [u8]> {
        self.protocols.iter().flat_map(|value| tokens(value))
    }

    /// What a GET with these fields is answered with. `speaks`: whether a sub-protocol is spoken;
    /// `may_deflate`: whether compression is wanted here.
    pub fn answer(
        &self,
        speaks: impl Fn(&[u8]) -> bool,
        may_deflate: bool,
    ) -> Result<Greeting, Refused> {
        if !self.upgrades || !self.connection_upgrades {
            return Err(Refused::NoUpgrade);
        }
        if self.version != Some(b"13") {
            return Err(Refused::Version);
        }
        let [key] = self.keys[..] else {
            return Err(Refused::Key);
        };
        if STANDARD.decode(key).map_or(0, |nonce| nonce.len()) != 16 {
            return Err(Refused::Key);
        }
        let protocol = self.protocols().find(|name| speaks(name));
        let offers = self.extensions.iter().copied().filter(|_| may_deflate);
        Ok(Greeting {
            accept: accept(key),
            protocol: protocol.map(|name| String::from_utf8_lossy(name).into_owned()),
            deflate: Deflate::accept(offers),
        })
    }
}

impl Greeting {
    /// The fields of the answer that are WebSocket's, each with its line end.
    pub fn fields(&self) -> String {
        let mut fields = format!(
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
            self.accept
        );
        for (name, value) in [
            ("Sec-WebSocket-Protocol", self.protocol.as_deref()),
            (
                "Sec-WebSocket-Extensions",
                self.deflate.map(Deflate::answer),
            ),
        ] {
            if let Some(value) = value {
                fields.extend([name, ": ", value, "\r\n"]);
            }
        }
        fields
    }
}

fn accept(key: &[u8]) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(MAGIC).finalize();
    STANDARD.encode(digest)
}

/// The parts of a list, which are tokens (RFC 9110, section 5.6.1). What is none has bytes that could
/// end a line of an answer, and is left out.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_token = |part: &&[u8]| {
        let is_mark = |byte: &u8| b"!#$%&'*+-.^_`|~".contains(byte);
        !part.is_empty()
            && part
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
    };
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::Window;

    const GOOD: [(&str, &[u8]); 4] = [
        ("Upgrade", b"WebSocket"),
        ("Connection", b"keep-alive, Upgrade"),
        ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", b"13"),
    ];

    fn answer(fields: &[(&str, &'static [u8])]) -> Result<Greeting, Refused> {
        let mut noted = Fields::default();
        for (name, value) in fields {
            noted.note(name, value);
        }
        noted.answer(|name| name == b"chat", true)
    }

    #[test]
    fn the_example_of_section_1_3_is_accepted() {
        let greeting = answer(&GOOD).unwrap();
        assert_eq!(greeting.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!((&greeting.protocol, greeting.deflate), (&None, None));
        assert_eq!(
            greeting.fields(),
            "Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        );
    }

    #[test]
    fn what_is_spoken_is_chosen() {
        let mut fields = GOOD.to_vec();
        fields.push(("sec-websocket-protocol", b"mqtt, chat"));
        fields.push(("Sec-WebSocket-Protocol", b"chat2"));
        fields.push(("sec-websocket-extensions", b"permessage-deflate"));
        let greeting = answer(&fields).unwrap();
        assert_eq!(greeting.protocol.as_deref(), Some("chat"));
        assert_eq!(greeting.deflate.unwrap().window, Window::Full);
        let mut noted = Fields::default();
        fields
            .iter()
            .for_each(|(name, value)| noted.note(name, value));
        assert_eq!(noted.protocols().count(), 3);
        assert_eq!(noted.answer(|_| false, false).unwrap().deflate, None);
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        for (place, value, refused) in [
            (0, &b"h2c"[..], Refused::NoUpgrade),
            (1, b"close", Refused::NoUpgrade),
            (2, b"dGhlIHNhbXBsZSBub25jZQ", Refused::Key),
            (2, b"dGhlIHNhbXBsZSBub25j", Refused::Key),
            (2, b"", Refused::Key),
            (3, b"8", Refused::Version),
            (3, b"", Refused::Version),
        ] {
            let mut fields = GOOD;
            fields[place].1 = value;
            assert_eq!(answer(&fields), Err(refused), "{}", fields[place].0);
        }
        assert_eq!(answer(&GOOD[..3]), Err(Refused::Version));
        let twice = [GOOD.as_slice(), &GOOD[2..3]].concat();
        assert_eq!(answer(&twice), Err(Refused::Key));
    }
}
