//! Refusals: a status, what is wrong, and what to do about it, in one short answer.
//!
//! Every refusal closes the connection: after a request that was not understood, what follows on
//! the socket cannot be understood either.

use std::io::Write;
use std::time::SystemTime;

use crate::metrics::{self, TokenRefused};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Refusal {
    /// Not a request that may be answered (RFC 9112, sections 2.2 and 3.2).
    BadRequest(&'static str),
    /// No route has this path.
    NotFound,
    /// The route exists and has only the method GET.
    MethodNotAllowed,
    /// The head was not complete in time.
    Timeout,
    /// The route takes no body.
    Body,
    /// The id is longer than ids may be.
    IdTooLong,
    /// The head has too many bytes or fields.
    HeadTooLarge,
    /// A limit on connections is reached.
    Unavailable(&'static str),
    /// A handler did not answer in time.
    Late,
    /// A handler's answer is none.
    BadAnswer,
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
        match self {
            Refusal::BadRequest(_) => metrics::Refused::BadRequest,
            Refusal::NotFound => metrics::Refused::NotFound,
            Refusal::MethodNotAllowed => metrics::Refused::MethodNotAllowed,
            Refusal::Timeout => metrics::Refused::Timeout,
            Refusal::Body => metrics::Refused::ContentTooLarge,
            Refusal::IdTooLong => metrics::Refused::UriTooLong,
            Refusal::HeadTooLarge => metrics::Refused::HeadTooLarge,
            Refusal::Unavailable(_) => metrics::Refused::Unavailable,
            Refusal::Late => metrics::Refused::GatewayTimeout,
            Refusal::BadAnswer => metrics::Refused::Internal,
            Refusal::Token(TokenRefused::Several) => metrics::Refused::BadRequest,
            Refusal::Token(TokenRefused::OtherId) => metrics::Refused::Forbidden,
            Refusal::Token(_) => metrics::Refused::Unauthorized,
            Refusal::Version => metrics::Refused::VersionNotSupported,
        }
    }

    /// The whole answer.
    pub(in crate::edge) fn answer(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// The same into a buffer that is used again: in a storm nothing is allocated.
    pub(in crate::edge) fn write(&self, out: &mut Vec<u8>) {
        let (status, what) = match self {
            Refusal::BadRequest(what) => ("400 Bad Request", *what),
            Refusal::NotFound => ("404 Not Found", "no route has this path; try /stream/{id}"),
            Refusal::MethodNotAllowed => ("405 Method Not Allowed", "this path has only GET"),
            Refusal::Timeout => ("408 Request Timeout", "the request head took too long"),
            Refusal::Body => ("413 Content Too Large", "this path takes no body"),
            Refusal::IdTooLong => ("414 URI Too Long", "an id has at most 255 bytes"),
            Refusal::HeadTooLarge => (
                "431 Request Header Fields Too Large",
                "the request head is too large",
            ),
            Refusal::Unavailable(what) => ("503 Service Unavailable", *what),
            Refusal::Late => ("504 Gateway Timeout", "the handler took too long"),
            Refusal::BadAnswer => ("500 Internal Server Error", "the handler's answer is none"),
            Refusal::Token(reason) => (status_of(*reason), explain(*reason)),
            Refusal::Version => ("505 HTTP Version Not Supported", "HTTP/1.1 is spoken here"),
        };
        let date = httpdate::HttpDate::from(SystemTime::now());
        let length = what.len() + 1;
        // A Vec takes what is written.
        let _ = write!(
            out,
            "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\nCache-Control: no-store\r\nConnection: close\r\n"
        );
        let _ = match self {
            Refusal::MethodNotAllowed => write!(out, "Allow: GET\r\n"),
            Refusal::Unavailable(_) => {
                let base = Self::RETRY_AFTER_SECONDS;
                write!(out, "Retry-After: {}\r\n", base + fastrand::u8(0..=base))
            }
            // RFC 6750, section 3.
            Refusal::Token(TokenRefused::Missing) => write!(out, "WWW-Authenticate: Bearer\r\n"),
            Refusal::Token(reason) => {
                let error = match reason {
                    TokenRefused::Several => "invalid_request",
                    TokenRefused::OtherId => "insufficient_scope",
                    _ => "invalid_token",
                };
                let field = "WWW-Authenticate: Bearer error=";
                write!(out, "{field}\"{error}\", error_description=\"{what}\"\r\n")
            }
            _ => Ok(()),
        };
        let _ = write!(out, "\r\n{what}\n");
    }
}

fn status_of(reason: TokenRefused) -> &'static str {
    match reason {
        TokenRefused::Several => "400 Bad Request",
        TokenRefused::OtherId => "403 Forbidden",
        _ => "401 Unauthorized",
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
