//! Whether a request becomes a WebSocket: what the route speaks, and from which pages it may come.
//!
//! Pure. The handshake itself is `websocket`'s affair.

use super::head::Head;
use super::refusal::Refusal;
use super::route::Route;
use crate::edge::Config;
use crate::websocket::{Greeting, Refused};

/// The sub-protocol that says nothing, spoken on every route: browsers that name one, to carry a token
/// say, want one of theirs chosen.
const PLAIN_PROTOCOL: &[u8] = b"lariat";

/// The answer to the handshake of a `GET` on a route of kind "websocket".
pub(in crate::edge) fn upgrade(
    head: &Head<'_>,
    route: &Route,
    config: &Config,
) -> Result<Greeting, Refusal> {
    if head.is_http10 {
        return Err(Refusal::Upgrade);
    }
    let speaks = |name: &[u8]| {
        name == PLAIN_PROTOCOL || route.protocols.iter().any(|known| known.as_bytes() == name)
    };
    let fields = &head.websocket;
    let greeting = fields
        .answer(speaks, config.deflate)
        .map_err(|refused| match refused {
            Refused::NoUpgrade | Refused::Version => Refusal::Upgrade,
            Refused::Key => Refusal::BadRequest("Sec-WebSocket-Key is not 16 bytes in Base64"),
        })?;
    if !config.cors.may_open(head.origin, fields.host()) {
        return Err(Refusal::Origin);
    }
    Ok(greeting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::http::head;

    fn answer(extra: &str) -> Result<Greeting, Refusal> {
        let request = format!(
            "GET /ws/1 HTTP/1.1\r\nHost: a.example:8000\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
        );
        let head = head::parse(request.as_bytes()).unwrap().unwrap();
        let mut route = Route::default();
        route.protocols.push("chat".to_owned());
        upgrade(&head, &route, &Config::default())
    }

    #[test]
    fn other_pages_and_other_versions_are_refused() {
        const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
        for (extra, refusal) in [
            ("", Some(Refusal::Upgrade)),
            ("Sec-WebSocket-Version: 12\r\n", Some(Refusal::Upgrade)),
            (VERSION, None),
            (
                &format!("{VERSION}Origin: https://A.example:8000\r\n"),
                None,
            ),
            (
                &format!("{VERSION}Origin: https://a.example\r\n"),
                Some(Refusal::Origin),
            ),
            (&format!("{VERSION}Origin: null\r\n"), Some(Refusal::Origin)),
        ] {
            assert_eq!(answer(extra).err(), refusal, "{extra}");
        }
    }

    #[test]
    fn a_protocol_is_chosen_in_the_order_of_the_client() {
        let chosen = |names: &str| {
            let fields =
                format!("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {names}\r\n");
            answer(&fields).unwrap().protocol
        };
        assert_eq!(chosen("x, chat, lariat").as_deref(), Some("chat"));
        assert_eq!(chosen("lariat, chat").as_deref(), Some("lariat"));
        assert_eq!(chosen("lariat.token.abc"), None);
    }
}
