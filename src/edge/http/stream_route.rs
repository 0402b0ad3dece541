//! A path of the config on which streams are held, and what is particular to those that come there.
//!
//! Pure. It finds the id's segment in a path and does not decode it: `route` does.

use std::str::FromStr;

use crate::hub::WhenFull;

/// What stands for the id in a path.
const ID: &str = "{id}";

/// One path with an id in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRoute {
    path: StreamPath,
    /// What becomes of a connection, or its messages, when its outbox is full; `None` is what
    /// `outbox.when_full` says.
    pub when_full: Option<WhenFull>,
}

impl StreamRoute {
    /// A route on this path, with what is usual.
    pub fn new(path: StreamPath) -> StreamRoute {
        StreamRoute {
            path,
            when_full: None,
        }
    }

    /// The id in `path`, as it stands there, if the path is this route's.
    pub(in crate::edge) fn segment<'a>(&self, path: &'a str) -> Option<&'a str> {
        let StreamPath { before, after } = &self.path;
        let segment = path
            .strip_prefix(before.as_str())?
            .strip_suffix(after.as_str())?;
        (!segment.is_empty() && !segment.contains('/')).then_some(segment)
    }
}

impl Default for StreamRoute {
    /// `/stream/{id}`
    fn default() -> StreamRoute {
        StreamRoute::new(StreamPath {
            before: "/stream/".to_owned(),
            after: String::new(),
        })
    }
}

/// A path of which one whole segment is `{id}`, such as `/stream/{id}` or `/users/{id}/events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPath {
    before: String,
    after: String,
}

impl FromStr for StreamPath {
    type Err = String;

    fn from_str(text: &str) -> Result<StreamPath, String> {
        let refused = || {
            format!(
                "{text:?} is no path of streams; accepted is a path with one segment {ID}, such as \
                 \"/stream/{ID}\", else of letters, digits and - . _ ~ /"
            )
        };
        let (before, after) = text.split_once(ID).ok_or_else(refused)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let is_path = before.starts_with('/')
            && before.ends_with('/')
            && (after.is_empty() || after.starts_with('/'))
            && before.bytes().chain(after.bytes()).all(is_plain);
        is_path
            .then(|| StreamPath {
                before: before.to_owned(),
                after: after.to_owned(),
            })
            .ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_one_whole_segment() {
        let route = |path: &str| StreamRoute::new(path.parse().expect("it is a path"));
        let plain = route("/stream/{id}");
        assert_eq!(plain, StreamRoute::default());
        assert_eq!(plain.segment("/stream/123"), Some("123"));
        for other in [
            "/stream/",
            "/stream/1/2",
            "/streams/1",
            "/stream",
            "stream/1",
            "",
        ] {
            assert_eq!(plain.segment(other), None, "{other}");
        }
        let inner = route("/users/{id}/events");
        assert_eq!(inner.segment("/users/a%2Fb/events"), Some("a%2Fb"));
        for other in ["/users//events", "/users/a/b/events", "/users/a/events/"] {
            assert_eq!(inner.segment(other), None, "{other}");
        }
        assert_eq!(route("/{id}").segment("/7"), Some("7"));
    }

    #[test]
    fn what_is_no_path_of_streams_says_what_is() {
        let bad = [
            "",
            "/stream",
            "{id}",
            "/x{id}",
            "/{id}x",
            "/{id}/{id}",
            "/a b/{id}",
            "/?{id}",
            "/%41/{id}",
        ];
        for text in bad {
            let error = text.parse::<StreamPath>().unwrap_err();
            assert!(error.contains("/stream/{id}"), "{text}: {error}");
        }
    }
}
