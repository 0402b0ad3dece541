//! The head of a request: from bytes to what the routes need to know.
//!
//! Pure: bytes in, a request or a refusal out. Syntax is `httparse`'s affair; here are the rules
//! of RFC 9112 that decide whether a request may be answered at all. Bodies are read by others: here
//! is only how long they are.

use std::mem::MaybeUninit;

use bytes::Bytes;

use super::body::Length;
use super::refusal::Refusal;
use crate::websocket::Fields;

/// Header fields that are looked at; a head with more is too large. Browsers send about 20.
pub(in crate::edge) const HEADERS_MAX: usize = 64;

/// What the routes need to know of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::edge) struct Head<'a> {
    pub(in crate::edge) method: &'a str,
    /// The path as it was sent, without the query, still percent-encoded.
    pub(in crate::edge) path: &'a str,
    /// What follows the question mark, as it was sent.
    pub(in crate::edge) query: &'a str,
    /// `Accept` names `text/event-stream`.
    pub(in crate::edge) accepts_events: bool,
    /// HTTP/1.0: no chunks.
    pub(in crate::edge) is_http10: bool,
    /// A body follows, or one of unknown length.
    pub(in crate::edge) has_body: bool,
    /// How long it is.
    pub(in crate::edge) body: Length,
    /// The client may send another request when this one is answered.
    pub(in crate::edge) is_persistent: bool,
    /// The body comes when it is asked for (RFC 9110, section 10.1.1).
    pub(in crate::edge) expects_continue: bool,
    /// The site whose script asks.
    pub(in crate::edge) origin: Option<&'a [u8]>,
    /// Its browser asks whether the script may.
    pub(in crate::edge) preflight: Option<Preflight<'a>>,
    /// The client's credentials.
    pub(in crate::edge) authorization: Option<&'a [u8]>,
    /// The media type of the body is JSON.
    pub(in crate::edge) is_json: bool,
    /// What the fields `X-Forwarded-For` say, in order and with commas between; mostly nothing.
    pub(in crate::edge) forwarded_for: Vec<u8>,
    /// What it says of WebSocket.
    pub(in crate::edge) websocket: Fields<'a>,
    /// Bytes of the head.
    pub(in crate::edge) length: usize,
}

/// What a browser asks before a script may send a request (Fetch, section 3.3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::edge) struct Preflight<'a> {
    pub(in crate::edge) method: &'a [u8],
    pub(in crate::edge) headers: &'a [u8],
}

/// Reads the head at the beginning of `bytes`; `None` when it is not complete yet.
pub(in crate::edge) fn parse(bytes: &[u8]) -> Result<Option<Head<'_>>, Refusal> {
    // Most of the places stay empty: they are not worth a write each.
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        Err(httparse::Error::Version) => return Err(Refusal::Version),
        Err(error) => return Err(Refusal::BadRequest(syntax(error))),
    };
    if has_bare_line_feed(&bytes[..length]) {
        return Err(Refusal::BadRequest("a line does not end with CR LF"));
    }
    let is_http10 = request.version == Some(0);
    let (method, target) = (
        request.method.unwrap_or_default(),
        request.path.unwrap_or_default(),
    );
    let (path, query) = path_of(target)?;
    let mut head = Head {
        method,
        path,
        query,
        accepts_events: false,
        is_http10,
        is_persistent: !is_http10,
        length,
        ..Head::default()
    };
    let mut hosts = 0;
    let mut lengths = 0;
    let mut codings = 0;
    let mut closes = false;
    let (mut wanted_method, mut wanted_headers) = (None, None);
    for field in request.headers.iter() {
        let value = field.value.trim_ascii();
        head.websocket.note(field.name, value);
        if field.name.eq_ignore_ascii_case("host") {
            hosts += 1;
            if !is_authority(value) {
                return Err(Refusal::BadRequest("Host is not a host"));
            }
        } else if field.name.eq_ignore_ascii_case("accept") {
            head.accepts_events |= names_event_stream(value);
        } else if field.name.eq_ignore_ascii_case("x-forwarded-for") {
            if !head.forwarded_for.is_empty() {
                head.forwarded_for.push(b',');
            }
            head.forwarded_for.extend_from_slice(value);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            codings += 1;
            head.has_body = true;
            head.body = Length::Chunked;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::BadRequest("Transfer-Encoding is not chunked"));
            }
        } else if field.name.eq_ignore_ascii_case("content-length") {
            lengths += 1;
            if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return Err(Refusal::BadRequest("Content-Length is not a number"));
            }
            head.has_body |= value.iter().any(|&digit| digit != b'0');
            head.body = Length::Known(number(value));
        } else if field.name.eq_ignore_ascii_case("connection") {
            for option in value.split(|&byte| byte == b',') {
                let option = option.trim_ascii();
                if option.eq_ignore_ascii_case(b"close") {
                    closes = true;
                } else if option.eq_ignore_ascii_case(b"keep-alive") {
                    head.is_persistent = true;
                }
            }
        } else if field.name.eq_ignore_ascii_case("expect") {
            head.expects_continue = !is_http10 && value.eq_ignore_ascii_case(b"100-continue");
        } else if field.name.eq_ignore_ascii_case("origin") {
            if head.origin.replace(value).is_some() {
                return Err(Refusal::BadRequest("more than one Origin field"));
            }
        } else if field
            .name
            .eq_ignore_ascii_case("access-control-request-method")
        {
            wanted_method = Some(value);
        } else if field
            .name
            .eq_ignore_ascii_case("access-control-request-headers")
        {
            wanted_headers = Some(value);
        } else if field.name.eq_ignore_ascii_case("authorization") {
            if head.authorization.replace(value).is_some() {
                return Err(Refusal::BadRequest("more than one Authorization field"));
            }
        } else if field.name.eq_ignore_ascii_case("content-type") {
            head.is_json = is_json(value);
        }
    }
    head.is_persistent &= !closes;
    head.preflight = wanted_method.map(|method| Preflight {
        method,
        headers: wanted_headers.unwrap_or_default(),
    });
    if hosts > 1 || hosts == 0 && !is_http10 {
        return Err(Refusal::BadRequest("exactly one Host field is needed"));
    }
    if lengths + codings > 1 || codings > 0 && is_http10 {
        return Err(Refusal::BadRequest("more than one length, or one too new"));
    }
    Ok(Some(head))
}

/// All fields of a head that [`parse`] has accepted, each once: names in lower case, the values of one
/// that came several times joined as RFC 9110, section 5.3, and RFC 6265, section 5.4, have it.
pub(in crate::edge) fn fields(head: &[u8]) -> Vec<(Bytes, Bytes)> {
    let mut parsed = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut parsed);
    if request.parse(head).is_err() {
        return Vec::new();
    }
    let mut fields: Vec<(String, Vec<u8>)> = Vec::with_capacity(request.headers.len());
    for field in request.headers.iter() {
        let name = field.name.to_ascii_lowercase();
        let value = field.value.trim_ascii();
        match fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, joined)) => {
                let between: &[u8] = if name == "cookie" { b"; " } else { b", " };
                joined.extend_from_slice(between);
                joined.extend_from_slice(value);
            }
            None => fields.push((name, value.to_vec())),
        }
    }
    let fields = fields.into_iter();
    fields
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// RFC 9112, section 2.2, lets a server take a bare LF for the end of a line. We do not: to a proxy in
/// front that does not either, what follows it is part of a field, and a client could smuggle in
/// fields that only the proxy may set.
fn has_bare_line_feed(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// The path and the query of a request target: origin form, or absolute form as proxies send it
/// (RFC 9112, section 3.2).
fn path_of(target: &str) -> Result<(&str, &str), Refusal> {
    let no_path = Refusal::BadRequest("the request target is no path");
    if target.contains('#') {
        return Err(no_path);
    }
    let path_and_query = if target.starts_with(['/', '*']) {
        target
    } else {
        let (scheme, rest) = target.split_once("://").ok_or(no_path.clone())?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let is_http = ["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        if !is_http || authority.is_empty() || !is_authority(authority.as_bytes()) {
            return Err(no_path);
        }
        match rest.strip_prefix('?') {
            Some(query) => return Ok(("/", query)),
            None if rest.is_empty() => "/",
            None => rest,
        }
    };
    Ok(path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, "")))
}

/// Host and port (RFC 3986, section 3.2), or nothing. A comma, which may be in a host, is in none, but
/// in two fields that somebody has joined.
fn is_authority(text: &[u8]) -> bool {
    text.iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=:[]%".contains(byte))
}

/// The value of digits; [`u64::MAX`] for what is too large.
fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0_u64, |number, &digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit.wrapping_sub(b'0')))
    })
}

/// `application/json`, with parameters or without.
fn is_json(media_type: &[u8]) -> bool {
    let bare = media_type.split(|&byte| byte == b';').next();
    bare.is_some_and(|bare| bare.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

fn names_event_stream(accept: &[u8]) -> bool {
    const NAME: &[u8] = b"text/event-stream";
    accept
        .windows(NAME.len())
        .any(|part| part.eq_ignore_ascii_case(NAME))
}

fn syntax(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header field's name has a forbidden byte",
        httparse::Error::HeaderValue => "a header field's value has a forbidden byte",
        httparse::Error::NewLine => "a line does not end with CR LF",
        httparse::Error::Token => "the request line has a forbidden byte",
        _ => "this is not an HTTP request",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(text: &str) -> Result<Option<Head<'_>>, Refusal> {
        parse(text.as_bytes())
    }

    #[test]
    fn an_event_source_is_recognised() {
        let request =
            "GET /stream/1?x=y HTTP/1.1\r\nHost: a\r\naccept: text/html, Text/Event-Stream\r\n\r\n";
        let head = head(request).unwrap().unwrap();
        assert_eq!((head.path, head.accepts_events), ("/stream/1", true));
        assert_eq!(head.query, "x=y");
        assert_eq!(head.length, request.len());
    }

    #[test]
    fn absolute_form_is_a_path_too() {
        let request = "GET http://a.example/stream/2 HTTP/1.1\r\nHost: a.example\r\n\r\n";
        assert_eq!(head(request).unwrap().unwrap().path, "/stream/2");
        let request = "GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n";
        assert_eq!(head(request).unwrap().unwrap().path, "/");
        let request = "GET http://a.example?q=%20?& HTTP/1.1\r\nHost: a.example\r\n\r\n";
        let head = head(request).unwrap().unwrap();
        assert_eq!((head.path, head.query), ("/", "q=%20?&"));
    }

    #[test]
    fn each_field_is_there_once() {
        let request =
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\nX-Y:  1 \r\ncookie: b=2\r\nx-y: 2\r\n\r\n";
        let fields: Vec<_> = fields(request.as_bytes())
            .into_iter()
            .map(|(name, value)| (String::from_utf8(name.into()).unwrap(), value))
            .collect();
        let expected = [("host", "a"), ("cookie", "a=1; b=2"), ("x-y", "1, 2")];
        let expected = expected.map(|(name, value)| (name.to_owned(), Bytes::from(value)));
        assert_eq!(fields, expected);
    }

    #[test]
    fn what_may_not_be_answered_is_refused() {
        for request in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nHo st: a\r\n\r\n",
            "\0\0\0\0",
        ] {
            assert!(
                matches!(head(request), Err(Refusal::BadRequest(_))),
                "{request:?}"
            );
        }
        assert_eq!(
            head("GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
            Err(Refusal::Version)
        );
        let old = head("GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert!(old.is_http10);
    }

    #[test]
    fn bodies_and_what_follows_are_told() {
        let told = |version: &str, fields: &str| {
            let text = format!("POST / {version}\r\nHost: a\r\n{fields}\r\n");
            let head = head(&text).unwrap().unwrap();
            (head.body, head.has_body, head.is_persistent)
        };
        let none = (Length::Known(0), false, true);
        assert_eq!(told("HTTP/1.1", ""), none);
        assert_eq!(
            told(
                "HTTP/1.1",
                "Content-Length: 0012\r\nConnection: x, Close\r\n"
            ),
            (Length::Known(12), true, false)
        );
        let far = "Content-Length: 99999999999999999999999\r\n";
        assert_eq!(told("HTTP/1.1", far).0, Length::Known(u64::MAX));
        let chunked = "Transfer-Encoding: chunked\r\n";
        assert_eq!(told("HTTP/1.1", chunked), (Length::Chunked, true, true));
        assert!(!told("HTTP/1.0", "").2);
        assert!(told("HTTP/1.0", "Connection: Keep-Alive\r\n").2);
        assert!(
            !told(
                "HTTP/1.0",
                "Connection: close\r\nConnection: keep-alive\r\n"
            )
            .2
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_head_that_is_cut_is_incomplete(cut in 0_usize..60) {
            let request = "GET /stream/1 HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n";
            prop_assert_eq!(head(&request[..cut]), Ok(None));
        }
    }
}
