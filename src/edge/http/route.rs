//! Which path leads where.
//!
//! Pure: a request head in, a route or a refusal out. Streams go where the config says, the first of
//! its routes first; the demo's two are fixed, and there when the demo is on.

use percent_encoding::percent_decode_str;

use super::head::Head;
use super::refusal::Refusal;
use super::stream_route::StreamRoute;
use crate::hub::{Framing, WhenFull};
use crate::wire::Id;

/// The longest id a path may carry, in bytes after decoding; that of a node name, and more than
/// any UUID, hash or e-mail address needs.
const ID_BYTES_MAX: usize = 255;

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::edge) enum Route {
    /// `GET` on a path of streams: held by a shard. The policy is the route's own, if it has one.
    Stream {
        id: Id,
        framing: Framing,
        when_full: Option<WhenFull>,
    },
    /// `GET /` and what the page there asks for: an ordinary answer.
    Demo,
}

/// The route of a request.
pub(in crate::edge) fn route(
    head: &Head<'_>,
    streams: &[StreamRoute],
    demo: bool,
) -> Result<Route, Refusal> {
    let path = head.path;
    let found = |route: &StreamRoute| Some((route.segment(path)?, route.when_full));
    let stream = streams.iter().find_map(found);
    let route = match (stream, path) {
        (Some((segment, when_full)), _) => {
            if !is_encoded(segment.as_bytes()) {
                return Err(Refusal::BadRequest("a percent sign without two digits"));
            }
            let segment: Vec<u8> = percent_decode_str(segment).collect();
            if segment.len() > ID_BYTES_MAX {
                return Err(Refusal::IdTooLong);
            }
            let framing = match (head.accepts_events, head.is_http10) {
                (false, false) => Framing::Chunked,
                (true, false) => Framing::ChunkedSse,
                (false, true) => Framing::Plain,
                (true, true) => Framing::PlainSse,
            };
            Route::Stream {
                id: Id::from_path_segment(&segment),
                framing,
                when_full,
            }
        }
        (None, "/" | "/demo/connections") if demo => Route::Demo,
        _ => return Err(Refusal::NotFound),
    };
    if head.method != "GET" {
        return Err(Refusal::MethodNotAllowed);
    }
    if head.has_body {
        return Err(Refusal::Body);
    }
    Ok(route)
}

/// Whether two hexadecimal digits follow each percent sign (RFC 3986, section 2.1). What is not
/// encoded would have two readings, and one id two owners.
fn is_encoded(segment: &[u8]) -> bool {
    memchr::memchr_iter(b'%', segment).all(|at| {
        let digits = segment.get(at + 1..at + 3).unwrap_or_default();
        digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, demo: bool) -> Result<Route, Refusal> {
        let head = Head {
            method: "GET",
            path,
            accepts_events: true,
            is_http10: false,
            has_body: false,
            forwarded_for: Vec::new(),
            length: 0,
        };
        route(&head, &[StreamRoute::default()], demo)
    }

    fn stream(id: Id) -> Result<Route, Refusal> {
        Ok(Route::Stream {
            id,
            framing: Framing::ChunkedSse,
            when_full: None,
        })
    }

    #[test]
    fn ids_are_decoded() {
        assert_eq!(get("/stream/123", false), stream(Id::Int(123)));
        assert_eq!(
            get("/stream/%61%00", false),
            stream(Id::Bin((*b"a\0").into()))
        );
        assert_eq!(
            get(&format!("/stream/{}", "a".repeat(256)), false),
            Err(Refusal::IdTooLong)
        );
    }

    #[test]
    fn half_an_escape_is_no_id() {
        for path in ["/stream/%", "/stream/%1", "/stream/%%41", "/stream/a%4"] {
            assert!(
                matches!(get(path, false), Err(Refusal::BadRequest(_))),
                "{path}"
            );
        }
    }

    #[test]
    fn other_paths_are_not_found() {
        for path in ["/stream/", "/stream", "/stream/1/2", "/demo", "//", "*", ""] {
            assert_eq!(get(path, true), Err(Refusal::NotFound), "{path}");
        }
        assert_eq!(get("/", false), Err(Refusal::NotFound));
        assert_eq!(get("/", true), Ok(Route::Demo));
    }
}
