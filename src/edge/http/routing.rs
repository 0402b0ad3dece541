//! Which route a request takes.
//!
//! Pure: a request head in, a destination or a refusal out. The first route of the config whose path fits
//! is taken; the demo's two paths are fixed, come after them, and are there when the demo is on.

use std::sync::Arc;

use super::head::Head;
use super::pattern::decode;
use super::refusal::Refusal;
use super::route::{Access, Route};
use crate::wire::{Id, Kind};

/// The longest id a path may carry, in bytes after decoding; that of a node name, and more than
/// any UUID, hash or e-mail address needs.
pub(in crate::edge) const ID_BYTES_MAX: usize = 255;

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::edge) enum Destination {
    /// To be held, by `GET` and without a body. The id is that of the path; it is not there where a
    /// handler says it, or a token alone.
    Held { route: Arc<Route>, id: Option<Id> },
    /// To be answered, whatever its method: the kinds that are not held.
    Answered { route: Arc<Route> },
    /// `GET /` and what the page there asks for.
    Demo,
    /// `OPTIONS *`: nothing in particular (RFC 9110, section 9.3.7).
    Server,
}

/// The route of a request.
pub(in crate::edge) fn find(
    head: &Head<'_>,
    routes: &[Arc<Route>],
    demo: bool,
) -> Result<Destination, Refusal> {
    let path = head.path;
    Ok(match routes.iter().find(|route| route.path.fits(path)) {
        Some(route) if route.kind.is_held() => Destination::Held {
            route: Arc::clone(route),
            id: match route.access {
                Access::Open => Some(id(route, path)?),
                Access::Token if route.path.has_id() => Some(id(route, path)?),
                Access::Ask | Access::Token => None,
            },
        },
        Some(route) => Destination::Answered {
            route: Arc::clone(route),
        },
        None if demo && matches!(path, "/" | "/demo/connections") => Destination::Demo,
        None if path == "*" && head.method == "OPTIONS" => Destination::Server,
        None => return Err(Refusal::NotFound),
    })
}

impl Destination {
    /// The methods that it has; `None` when they are its handler's affair.
    pub(in crate::edge) fn methods(&self) -> Option<&'static str> {
        match self {
            Destination::Held { .. } => Some("GET"),
            Destination::Demo => Some("GET, HEAD"),
            Destination::Server => Some("GET, HEAD, POST, OPTIONS"),
            Destination::Answered { route } => match route.kind {
                Kind::Request => None,
                _ => Some("POST"),
            },
        }
    }

    /// Whether it may be asked like this.
    pub(in crate::edge) fn admit(&self, head: &Head<'_>) -> Result<(), Refusal> {
        if let Some(methods) = self.methods()
            && !methods.split(", ").any(|method| method == head.method)
        {
            return Err(Refusal::MethodNotAllowed(methods));
        }
        match self {
            Destination::Answered { .. } => Ok(()),
            _ if head.has_body => Err(Refusal::Body),
            _ => Ok(()),
        }
    }
}

/// The id in the path of a request to this route.
pub(in crate::edge) fn id(route: &Route, path: &str) -> Result<Id, Refusal> {
    let segment = route.path.id(path).ok_or(Refusal::NotFound)?;
    let segment = decode(segment)?;
    if segment.len() > ID_BYTES_MAX {
        return Err(Refusal::IdTooLong);
    }
    Ok(Id::from_path_segment(&segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, demo: bool) -> Result<Destination, Refusal> {
        let head = Head {
            method: "GET",
            path,
            ..Head::default()
        };
        find(&head, &[Arc::default()], demo)
    }

    fn stream(id: Id) -> Result<Destination, Refusal> {
        Ok(Destination::Held {
            route: Arc::default(),
            id: Some(id),
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
        assert_eq!(get("/", true), Ok(Destination::Demo));
    }
}
