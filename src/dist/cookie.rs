//! The secret that two nodes share, and the digest that proves a node knows it.
//!
//! The cookie is never printed, logged or sent. MD5 is what the protocol prescribes; it guards
//! against strangers on a trusted network, not against an eavesdropper (TLS does).

use std::collections::HashMap;
use std::fmt;

use md5::{Digest as _, Md5};

use super::name::NodeName;

/// A cookie: 1 to 255 bytes, as an Erlang atom would hold.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie(Box<[u8]>);

/// Why a text is no cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CookieError {
    /// Nothing but white space.
    #[error("the cookie is empty: write the text that erl -setcookie has")]
    Empty,
    /// More than an atom holds.
    #[error("the cookie is {0} bytes long: use at most 255")]
    TooLong(usize),
}

impl Cookie {
    /// The cookie in a cookie file or variable; surrounding white space is not part of it.
    pub fn new(text: &str) -> Result<Cookie, CookieError> {
        let text = text.trim();
        match text.len() {
            0 => Err(CookieError::Empty),
            1..=255 => Ok(Cookie(text.as_bytes().into())),
            long => Err(CookieError::TooLong(long)),
        }
    }

    /// The answer to a challenge: MD5 of the cookie followed by the challenge in decimal.
    pub(crate) fn digest(&self, challenge: u32) -> [u8; 16] {
        let mut md5 = Md5::new();
        md5.update(&self.0);
        md5.update(challenge.to_string().as_bytes());
        md5.finalize().into()
    }
}

/// The cookie for each peer: its own, or the one for all others.
#[derive(Clone, Debug)]
pub(crate) struct Cookies {
    pub(crate) of_others: Cookie,
    pub(crate) of_peers: HashMap<NodeName, Cookie>,
}

impl Cookies {
    pub(crate) fn of(&self, peer: &NodeName) -> &Cookie {
        self.of_peers.get(peer).unwrap_or(&self.of_others)
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_trimmed_bounded_and_never_printed() {
        let cookie = Cookie::new(" SECRET\n").unwrap();
        assert_eq!(cookie, Cookie::new("SECRET").unwrap());
        assert_eq!(format!("{cookie:?}"), "Cookie(..)");
        assert_eq!(Cookie::new(" \n"), Err(CookieError::Empty));
        assert_eq!(
            Cookie::new(&"x".repeat(256)),
            Err(CookieError::TooLong(256))
        );
    }

    #[test]
    fn the_digest_is_md5_of_cookie_and_decimal_challenge() {
        // erlang:md5("kaka" ++ "12345"), printed by OTP 25.
        let digest = Cookie::new("kaka").unwrap().digest(12345);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "8e40db9833fa745f0c84e0a21428f299");
    }
}
