//! Where a request has its token: `Authorization: Bearer`, `?token=`, or a WebSocket sub-protocol
//! `lariat.token.` with the token behind it, which browsers can send and which stands in no URL.
//!
//! Pure, and no judge of tokens. A request with two tokens has none: which of them counts would be
//! a guess (RFC 6750, section 2).

use crate::metrics::TokenRefused;

/// What stands in front of a token that is a sub-protocol.
const PROTOCOL: &str = "lariat.token.";

/// The parts of a request that may have a token, as they stand there.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::edge) struct Places<'a> {
    /// The field `Authorization`.
    pub(in crate::edge) authorization: Option<&'a str>,
    /// What is behind the question mark.
    pub(in crate::edge) query: &'a str,
    /// The fields `Sec-WebSocket-Protocol`, joined by commas.
    pub(in crate::edge) protocols: &'a str,
}

/// The one token of a request.
pub(in crate::edge) fn find(places: Places<'_>) -> Result<&str, TokenRefused> {
    let bearer = places.authorization.and_then(|value| {
        let (scheme, token) = value.trim().split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim_start())
    });
    let query = places.query.split('&');
    let query = query.filter_map(|part| part.strip_prefix("token="));
    let protocols = listed(places.protocols).filter_map(|name| name.strip_prefix(PROTOCOL));
    let mut found = bearer.into_iter().chain(query).chain(protocols);
    match (found.next(), found.next()) {
        (None, _) => Err(TokenRefused::Missing),
        (Some(token), None) => Ok(token),
        (Some(_), Some(_)) => Err(TokenRefused::Several),
    }
}

fn listed(protocols: &str) -> impl Iterator<Item = &str> {
    let names = protocols.split(',').map(str::trim);
    names.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(authorization: &str, query: &str, protocols: &str) -> Result<String, TokenRefused> {
        let authorization = (!authorization.is_empty()).then_some(authorization);
        let places = Places {
            authorization,
            query,
            protocols,
        };
        find(places).map(str::to_owned)
    }

    #[test]
    fn a_token_is_in_one_of_three_places() {
        assert_eq!(found("Bearer a.b.c", "", "").unwrap(), "a.b.c");
        assert_eq!(found("bearer  a.b.c ", "x=1", "").unwrap(), "a.b.c");
        assert_eq!(
            found("", "after=1&token=a.b.c&x", "").unwrap(),
            "a.b.c",
            "others may ask, too"
        );
        assert_eq!(found("", "", "chat, lariat.token.a.b.c").unwrap(), "a.b.c");
        for none in ["Basic abc", "Bearer", ""] {
            assert_eq!(found(none, "mytoken=a", "chat"), Err(TokenRefused::Missing));
        }
    }

    #[test]
    fn two_are_none() {
        for (authorization, query, protocols) in [
            ("Bearer a", "token=a", ""),
            ("", "token=a&token=b", ""),
            ("", "", "lariat.token.a,lariat.token.b"),
            ("Bearer a", "", "lariat.token.a"),
        ] {
            let found = found(authorization, query, protocols);
            assert_eq!(found, Err(TokenRefused::Several));
        }
    }
}
