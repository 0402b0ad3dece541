//! Refusals: a status, what is wrong, and what to do about it, in one short answer.
//!
//! A refusal closes the connection: after a request that was not understood, what follows on the
//! socket cannot be understood either. Only where a request was understood and nobody answered it the
//! connection goes on: that is `exchange`'s to say.

use std::io::Write;
use std::time::SystemTime;

use super::reply::phrase;
use crate::metrics::{self, TokenRefused};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Refusal {
    /// Not a request that may be answered (RFC 9112, sections 2.2 and 3.2).
    BadRequest(&'static str),
    /// No route has this path.
    NotFound,
    /// The route exists and has only these methods.
    MethodNotAllowed(&'static str),
    /// The head was not complete in time.
    Timeout,
    /// The body was not.
    BodyTimeout,
    /// The route takes no body.
    Body,
    /// The body has too many bytes.
    BodyTooLarge,
    /// The site whose script asks is not listed.
    Origin,
    /// The credentials are missing, or wrong.
    Unauthorized(&'static str),
    /// A handler did not answer in time.
    Late,
    /// A handler's answer is none.
    BadAnswer,
    /// The id is longer than ids may be.
    IdTooLong,
    /// The head has too many bytes or fields.
    HeadTooLarge,
    /// The route takes WebSockets alone, of version 13 (RFC 6455, section 4.4).
    Upgrade,
    /// A limit on connections is reached.
    Unavailable(&'static str),
    /// It has no good token, or one for another id.
    Token(TokenRefused),
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
}

impl Refusal {
    /// How long a refused client is asked to stay away, in seconds, at least; jitter adds up to
    /// as much again, so that those refused together do not come back together.
    const RETRY_AFTER_SECONDS: u8 = 5;

    /// The edge holds as many as it may.
    pub(in crate::edge) const CONNECTIONS: Refusal = Refusal::Unavailable("too many connections");

    /// One address has as many as it may.
    pub(in crate::edge) const ADDRESS: Refusal =
        Refusal::Unavailable("too many connections from this address");

    /// One id has as many as it may.
    pub(in crate::edge) const ID: Refusal =
        Refusal::Unavailable("this id has too many connections");

    /// Its label in `lariat_refused_total`.
    pub(in crate::edge) fn label(&self) -> metrics::Refused {
        match self.status() {
            401 => metrics::Refused::Unauthorized,
            403 => metrics::Refused::Forbidden,
            404 => metrics::Refused::NotFound,
            405 => metrics::Refused::MethodNotAllowed,
            408 => metrics::Refused::Timeout,
            413 => metrics::Refused::ContentTooLarge,
            414 => metrics::Refused::UriTooLong,
            426 => metrics::Refused::UpgradeRequired,
            431 => metrics::Refused::HeadTooLarge,
            500 => metrics::Refused::Internal,
            503 => metrics::Refused::Unavailable,
            504 => metrics::Refused::GatewayTimeout,
            505 => metrics::Refused::VersionNotSupported,
            _ => metrics::Refused::BadRequest,
        }
    }

    /// Its status.
    pub(in crate::edge) fn status(&self) -> u16 {
        match self {
            Refusal::BadRequest(_) => 400,
            Refusal::Unauthorized(_) => 401,
            Refusal::Origin => 403,
            Refusal::NotFound => 404,
            Refusal::MethodNotAllowed(_) => 405,
            Refusal::Timeout | Refusal::BodyTimeout => 408,
            Refusal::Body | Refusal::BodyTooLarge => 413,
            Refusal::IdTooLong => 414,
            Refusal::Upgrade => 426,
            Refusal::HeadTooLarge => 431,
            Refusal::Token(TokenRefused::Several) => 400,
            Refusal::Token(TokenRefused::OtherId) => 403,
            Refusal::Token(_) => 401,
            Refusal::BadAnswer => 500,
            Refusal::Unavailable(_) => 503,
            Refusal::Late => 504,
            Refusal::Version => 505,
        }
    }

    /// What is wrong, in words.
    pub(in crate::edge) fn what(&self) -> &'static str {
        match self {
            Refusal::BadRequest(what)
            | Refusal::Unavailable(what)
            | Refusal::Unauthorized(what) => what,
            Refusal::Origin => "this origin is not in http.cors_origins",
            Refusal::Upgrade => "WebSocket, version 13, is spoken here",
            Refusal::NotFound => "no route has this path; try /stream/{id}",
            Refusal::MethodNotAllowed(_) => "this path has other methods: see Allow",
            Refusal::Timeout => "the request head took too long",
            Refusal::BodyTimeout => "the request body took too long",
            Refusal::Body => "this path takes no body",
            Refusal::BodyTooLarge => "the request body is too large",
            Refusal::IdTooLong => "an id has at most 255 bytes",
            Refusal::HeadTooLarge => "the request head is too large",
            Refusal::Token(reason) => explain(*reason),
            Refusal::BadAnswer => "the handler's answer is none",
            Refusal::Late => "the handler took too long",
            Refusal::Version => "HTTP/1.1 is spoken here",
        }
    }

    /// The fields that only some refusals have, with those that all have.
    pub(in crate::edge) fn write_fields(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n",
        );
        // A Vec takes what is written.
        let _ = match (self, self.status()) {
            (Refusal::MethodNotAllowed(methods), _) => write!(out, "Allow: {methods}\r\n"),
            (Refusal::Upgrade, _) => write!(
                out,
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            ),
            // RFC 6750, section 3.
            (Refusal::Unauthorized(_) | Refusal::Token(TokenRefused::Missing), _) => {
                write!(out, "WWW-Authenticate: Bearer\r\n")
            }
            (Refusal::Token(reason), _) => {
                let error = match reason {
                    TokenRefused::Several => "invalid_request",
                    TokenRefused::OtherId => "insufficient_scope",
                    _ => "invalid_token",
                };
                let (field, what) = ("WWW-Authenticate: Bearer error=", self.what());
                write!(out, "{field}\"{error}\", error_description=\"{what}\"\r\n")
            }
            (_, 503) => {
                let base = Self::RETRY_AFTER_SECONDS;
                write!(out, "Retry-After: {}\r\n", base + fastrand::u8(0..=base))
            }
            _ => Ok(()),
        };
    }

    /// The whole answer.
    pub(in crate::edge) fn answer(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, b"");
        out
    }

    /// The same into a buffer that is used again; `fields` are more lines of its head.
    pub(in crate::edge) fn write(&self, out: &mut Vec<u8>, fields: &[u8]) {
        let (status, what) = (self.status(), self.what());
        let date = httpdate::HttpDate::from(SystemTime::now());
        // A Vec takes what is written.
        let _ = write!(
            out,
            "HTTP/1.1 {status} {}\r\nDate: {date}\r\nContent-Length: {}\r\nConnection: close\r\n",
            phrase(status),
            what.len() + 1
        );
        self.write_fields(out);
        out.extend_from_slice(fields);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(what.as_bytes());
        out.push(b'\n');
    }
}

/// Nothing of the token, and no more of the rules than its owner can read in it.
fn explain(reason: TokenRefused) -> &'static str {
    match reason {
        TokenRefused::Missing => "a token is needed: Authorization: Bearer, or ?token=",
        TokenRefused::Several => "more than one token",
        TokenRefused::Malformed => "the token cannot be read, or asks for what is not known here",
        TokenRefused::Algorithm => "no key has the token's algorithm",
        TokenRefused::UnknownKey => "no key has the name that the token gives",
        TokenRefused::Signature => "the token's signature is wrong",
        TokenRefused::NoExpiry => "the token does not say when it ends",
        TokenRefused::Expired => "the token has ended",
        TokenRefused::NotYet => "the token has not begun",
        TokenRefused::Audience => "the token is for somebody else",
        TokenRefused::Issuer => "the token is from somebody else",
        TokenRefused::NoId => "the token has no id",
        TokenRefused::OtherId => "the token is for another id than the path",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_length_and_closes() {
        let text = String::from_utf8(Refusal::NotFound.answer()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"));
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(head.contains("Connection: close"));
    }

    #[test]
    fn retry_after_is_spread() {
        for _ in 0..100 {
            let text = String::from_utf8(Refusal::Unavailable("full").answer()).unwrap();
            let after = text.split("Retry-After: ").nth(1).unwrap();
            let seconds: u8 = after.split("\r\n").next().unwrap().parse().unwrap();
            assert!((5..=10).contains(&seconds));
        }
    }
}
