//! Whom tokens are believed: from keys of the file to the edge's rules, with the keys read.
//!
//! What a key file may hold is said by the edge.

use std::sync::Arc;

use super::edge_file::Token;
use super::{Error, parse};
use crate::edge::{self, Access, Algorithm, KeyFile, Route, TokenRules, Tokens};

/// Algorithms that keys are used with.
const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::HS256,
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];

/// The rules and keys of `[token]`.
pub(super) fn tokens(token: &Token) -> Result<Tokens, Error> {
    let keys = match (&token.key_file, &token.jwks_file) {
        (Some(path), None) => KeyFile::One(path.clone()),
        (None, Some(path)) => KeyFile::Set(path.clone()),
        _ => {
            return Err(Error::Value {
                key: "token",
                what: "the keys are in key_file or in jwks_file: give one of them".into(),
            });
        }
    };
    let default = TokenRules::new(keys);
    let algorithms = token.algorithms.iter().flatten();
    let rules = TokenRules {
        algorithms: algorithms
            .map(|text| algorithm(text))
            .collect::<Result<_, _>>()?,
        audience: token.audience.clone().unwrap_or_default(),
        issuer: token.issuer.clone().unwrap_or_default(),
        leeway: token
            .leeway
            .map_or(default.leeway, |span| span.0.unwrap_or_default()),
        id_claim: token.id_claim.clone().unwrap_or(default.id_claim),
        requires_expiry: token.requires_expiry.unwrap_or(default.requires_expiry),
        keys: default.keys,
    };
    Tokens::load(rules).map_err(|error| Error::Value {
        key: "token",
        what: error.to_string(),
    })
}

/// A route that asks for tokens takes keys to check them with.
pub(super) fn are_there(edge: &edge::Config) -> Result<(), Error> {
    let asks = |route: &Arc<Route>| route.access == Access::Token;
    if edge.tokens.is_none() && edge.routes.iter().any(asks) {
        return Err(Error::Value {
            key: "http.route.access",
            what: "\"token\" needs the keys of [token]".into(),
        });
    }
    Ok(())
}

fn algorithm(text: &str) -> Result<Algorithm, Error> {
    const KEY: &str = "token.algorithms";
    let known = parse::<Algorithm>(KEY, text).ok();
    let known = known.filter(|algorithm| ALGORITHMS.contains(algorithm));
    known.ok_or_else(|| Error::Value {
        key: KEY,
        what: format!("{text:?} is none; accepted: {ALGORITHMS:?}"),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(text: &str) -> Result<Tokens, String> {
        let token: Token = toml::from_str(text).expect("it is TOML of that shape");
        tokens(&token).map_err(|error| error.to_string())
    }

    fn secret(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("there is room for a file");
        file.write_all(bytes).expect("it can be written");
        file
    }

    #[test]
    fn keys_are_read_from_one_file() {
        let file = secret(&[b'x'; 32]);
        let path = file.path().display();
        let one = format!("key_file = \"{path}\"\n");
        assert!(read(&one).is_ok());
        assert!(read(&format!("{one}algorithms = [\"HS256\"]\n")).is_ok());
        for (text, part) in [
            (String::new(), "jwks_file"),
            (format!("{one}jwks_file = \"{path}\"\n"), "jwks_file"),
            (format!("{one}algorithms = [\"none\"]\n"), "EdDSA"),
            (format!("{one}algorithms = [\"HS512\"]\n"), "EdDSA"),
            (format!("{one}algorithms = [\"ES256\"]\n"), "no key"),
            ("key_file = \"/nonexistent\"\n".to_owned(), "/nonexistent"),
        ] {
            let error = read(&text).expect_err(&text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    /// A key that was exchanged is noticed, though nothing of it is shown.
    #[test]
    fn rules_with_other_keys_are_others() {
        let (one, other) = (secret(&[b'x'; 32]), secret(&[b'y'; 32]));
        let read_at = |path: &std::path::Path| {
            read(&format!("key_file = \"{}\"\n", path.display())).expect("it is a key")
        };
        assert_eq!(read_at(one.path()), read_at(one.path()));
        let before = read_at(one.path());
        std::fs::copy(other.path(), one.path()).expect("it can be replaced");
        let after = read_at(one.path());
        assert_ne!(before, after);
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    }
}
