//! A path of the config: literal segments, names that stand for one segment each, and at its end
//! perhaps a star for all the rest.
//!
//! Pure. Which path fits is decided on the bytes as they were sent; only what a name stands for is
//! percent-decoded, and only when somebody asks for it.

use std::str::FromStr;

use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::refusal::Refusal;

/// The name that stands for the id.
const ID: &str = "id";

/// The name of what the star stands for.
const REST: &str = "rest";

/// A path such as `/stream/{id}`, `/users/{user}/devices/{id}` or `/app/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<Segment>,
    /// Whether a star is the last segment.
    has_rest: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Name(Box<str>),
}

impl Pattern {
    /// Whether one of its names is `{id}`.
    pub fn has_id(&self) -> bool {
        let is_id = |segment: &Segment| matches!(segment, Segment::Name(name) if **name == *ID);
        self.segments.iter().any(is_id)
    }

    /// Whether the path is one of its.
    pub(in crate::edge) fn fits(&self, path: &str) -> bool {
        self.walk(path, |_, _| {})
    }

    /// The id in a path that fits, as it stands there.
    pub(in crate::edge) fn id<'a>(&self, path: &'a str) -> Option<&'a str> {
        let mut id = None;
        self.walk(path, |name, text| {
            if name == ID {
                id = Some(text);
            }
        });
        id
    }

    /// What its names stand for in a path that fits, decoded.
    pub(in crate::edge) fn bindings(&self, path: &str) -> Result<Vec<(Bytes, Bytes)>, Refusal> {
        let mut bindings = Vec::new();
        let mut are_encoded = true;
        self.walk(path, |name, text| match decode(text) {
            Ok(value) => {
                let name = Bytes::copy_from_slice(name.as_bytes());
                bindings.push((name, value.into()));
            }
            Err(_) => are_encoded = false,
        });
        are_encoded.then_some(bindings).ok_or(HALF_AN_ESCAPE)
    }

    /// Tells what each name stands for; `false` when the path is not one of its.
    fn walk<'a>(&self, path: &'a str, mut tell: impl FnMut(&str, &'a str)) -> bool {
        let Some(mut rest) = path.strip_prefix('/') else {
            return false;
        };
        let last = self.segments.len();
        for (nth, segment) in (1..).zip(&self.segments) {
            let text = if nth == last && !self.has_rest {
                std::mem::take(&mut rest)
            } else {
                let Some((text, behind)) = rest.split_once('/') else {
                    return false;
                };
                rest = behind;
                text
            };
            match segment {
                Segment::Literal(literal) if **literal == *text => {}
                Segment::Name(name) if !text.is_empty() && !text.contains('/') => tell(name, text),
                _ => return false,
            }
        }
        if self.has_rest {
            tell(REST, rest);
        }
        true
    }
}

const HALF_AN_ESCAPE: Refusal = Refusal::BadRequest("a percent sign without two digits");

/// Two hexadecimal digits follow each percent sign (RFC 3986, section 2.1), or it is refused: what is
/// not encoded would have two readings, and one id two owners.
pub(in crate::edge) fn decode(text: &str) -> Result<Vec<u8>, Refusal> {
    let is_escape = |at: usize| {
        let digits = text.as_bytes().get(at + 1..at + 3).unwrap_or_default();
        digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit)
    };
    if !memchr::memchr_iter(b'%', text.as_bytes()).all(is_escape) {
        return Err(HALF_AN_ESCAPE);
    }
    Ok(percent_decode_str(text).collect())
}

impl Default for Pattern {
    /// `/stream/{id}`
    fn default() -> Pattern {
        Pattern {
            segments: vec![Segment::Literal("stream".into()), Segment::Name(ID.into())],
            has_rest: false,
        }
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        parse(text).ok_or_else(|| {
            format!(
                "{text:?} is no path of a route; accepted are segments of letters, digits and \
                 - . _ ~, names such as {{id}}, each once, and * as the last one: \
                 \"/stream/{{id}}\", \"/app/*\""
            )
        })
    }
}

fn parse(text: &str) -> Option<Pattern> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (text, has_rest) = match text.strip_suffix("/*") {
        Some(before) => (before, true),
        None => (text, false),
    };
    let mut segments = Vec::new();
    if !(has_rest && text.is_empty()) {
        for segment in text.strip_prefix('/')?.split('/') {
            let name = segment
                .strip_prefix('{')
                .and_then(|name| name.strip_suffix('}'));
            segments.push(match name {
                Some(name) => {
                    let fits = !name.is_empty() && name.bytes().all(is_name);
                    let is_new = !segments.contains(&Segment::Name(name.into()));
                    (fits && is_new && name != REST).then_some(Segment::Name(name.into()))?
                }
                None => segment
                    .bytes()
                    .all(is_plain)
                    .then_some(Segment::Literal(segment.into()))?,
            });
        }
    }
    Some(Pattern { segments, has_rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().expect("it is a path")
    }

    fn bound(text: &str, path: &str) -> Option<Vec<(String, String)>> {
        let pattern = pattern(text);
        let text = |bytes: Bytes| String::from_utf8(bytes.into()).expect("it is text");
        let pairs = pattern.bindings(path).expect("it is encoded");
        pattern.fits(path).then(|| {
            let pairs = pairs.into_iter();
            pairs
                .map(|(name, value)| (text(name), text(value)))
                .collect()
        })
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_id_is_one_whole_segment() {
        let plain = pattern("/stream/{id}");
        assert_eq!(plain, Pattern::default());
        assert!(plain.fits("/stream/123"));
        assert_eq!(plain.id("/stream/123"), Some("123"));
        for other in [
            "/stream/",
            "/stream/1/2",
            "/streams/1",
            "/stream",
            "stream/1",
            "",
        ] {
            assert!(!plain.fits(other), "{other}");
        }
        let inner = pattern("/users/{id}/events");
        assert_eq!(inner.id("/users/a%2Fb/events"), Some("a%2Fb"));
        for other in ["/users//events", "/users/a/b/events", "/users/a/events/"] {
            assert!(!inner.fits(other), "{other}");
        }
        assert_eq!(pattern("/{id}").id("/7"), Some("7"));
        assert!(!pattern("/{user}").has_id());
    }

    #[test]
    fn names_and_the_star_are_bound() {
        assert_eq!(
            bound("/rooms/{room}/{id}", "/rooms/a%20b/7"),
            Some(vec![pair("room", "a b"), pair("id", "7")])
        );
        assert_eq!(
            bound("/app/{user}/*", "/app/u/x/y%2Fz"),
            Some(vec![pair("user", "u"), pair("rest", "x/y/z")])
        );
        assert_eq!(bound("/app/*", "/app/"), Some(vec![pair("rest", "")]));
        assert_eq!(bound("/*", "/"), Some(vec![pair("rest", "")]));
        assert_eq!(bound("/", "/"), Some(vec![]));
        assert_eq!(bound("/app/*", "/app"), None);
        assert_eq!(bound("/*", "*"), None);
        assert_eq!(bound("/", "/x"), None);
    }

    #[test]
    fn half_an_escape_binds_nothing() {
        for path in ["/a/%", "/a/%1", "/a/%zz", "/a/x%4"] {
            assert_eq!(
                pattern("/a/{b}").bindings(path),
                Err(HALF_AN_ESCAPE),
                "{path}"
            );
            assert_eq!(
                pattern("/a/*").bindings(path),
                Err(HALF_AN_ESCAPE),
                "{path}"
            );
        }
    }

    #[test]
    fn what_is_no_path_of_a_route_says_what_is() {
        let bad = [
            "",
            "stream",
            "{id}",
            "/x{id}",
            "/{id}x",
            "/{id}/{id}",
            "/a b/{id}",
            "/?{id}",
            "/%41/{id}",
            "/{}",
            "/{a-b}",
            "/{rest}/*",
            "/a*",
            "/*/a",
            "*",
        ];
        for text in bad {
            let error = text.parse::<Pattern>().unwrap_err();
            assert!(error.contains("/stream/{id}"), "{text}: {error}");
        }
    }
}
