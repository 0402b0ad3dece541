//! Which other sites' scripts may read what is answered here: one rule for every kind of route.
//!
//! Pure. The Fetch standard (section 3.3, the CORS protocol) says what the fields mean. Without origins
//! in the config nothing is said, which browsers take for no. Whether a script may ask at all is
//! not decided here: only WebSockets are refused for their origin, because browsers let every site
//! open one and read it.

use std::io::Write;
use std::str::FromStr;

use bytes::Bytes;

use super::body::is_token;
use super::head::Head;
use super::refusal::Refusal;

/// Seconds that a browser may remember the answer to a preflight: ten minutes, so that a change of
/// the config is noticed while somebody still remembers it.
const MAX_AGE_SECONDS: u32 = 600;

/// The origins of the config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    listed: Vec<Origin>,
}

/// `https://app.example`, or `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    text: String,
    /// What answers to it say.
    fields: Bytes,
}

impl FromIterator<Origin> for Origins {
    fn from_iter<I: IntoIterator<Item = Origin>>(origins: I) -> Origins {
        Origins {
            listed: origins.into_iter().collect(),
        }
    }
}

impl Origins {
    /// The fields of an answer to a request with this `Origin`, each with its line end.
    pub(in crate::edge) fn fields(&self, origin: Option<&[u8]>) -> Bytes {
        match (self.find(origin), self.listed.is_empty()) {
            (Some(found), _) => found.fields.clone(),
            (None, true) => Bytes::new(),
            // Caches must not show this answer to those who are listed.
            (None, false) => Bytes::from_static(b"Vary: Origin\r\n"),
        }
    }

    /// Whether a page of `origin` may open a WebSocket to `host`: a page of the same host, one that is
    /// listed, or no page at all.
    pub(in crate::edge) fn may_open(&self, origin: Option<&[u8]>, host: &[u8]) -> bool {
        let Some(text) = origin else {
            return true;
        };
        let own = memchr::memmem::find(text, b"://").map(|at| &text[at + 3..]);
        own.is_some_and(|own| own.eq_ignore_ascii_case(host)) || self.find(origin).is_some()
    }

    /// The answer to a preflight (Fetch, section 3.3.1): `None` when the request is none, or when
    /// there are no origins, because then the handler may have a rule of its own. `methods` are those
    /// of the route; without any it is whichever is asked for.
    pub(in crate::edge) fn preflight(
        &self,
        head: &Head<'_>,
        methods: Option<&str>,
    ) -> Option<Result<Vec<u8>, Refusal>> {
        let wanted = head.preflight.as_ref()?;
        if self.listed.is_empty() || head.method != "OPTIONS" {
            return None;
        }
        let Some(found) = self.find(head.origin) else {
            return Some(Err(Refusal::Origin));
        };
        let is_list = |text: &[u8]| {
            text.iter()
                .all(|byte| is_token(byte) || b", \t".contains(byte))
        };
        if !wanted.method.iter().all(is_token) || !is_list(wanted.headers) {
            return Some(Err(Refusal::BadRequest(
                "a preflight asks for what is no method or field",
            )));
        }
        let mut out = found.fields.to_vec();
        out.extend_from_slice(b"Access-Control-Allow-Methods: ");
        out.extend_from_slice(methods.map_or(wanted.method, str::as_bytes));
        if !wanted.headers.is_empty() {
            out.extend_from_slice(b"\r\nAccess-Control-Allow-Headers: ");
            out.extend_from_slice(wanted.headers);
        }
        // A Vec takes what is written.
        let _ = write!(out, "\r\nAccess-Control-Max-Age: {MAX_AGE_SECONDS}\r\n");
        Some(Ok(out))
    }

    fn find(&self, origin: Option<&[u8]>) -> Option<&Origin> {
        let mut listed = self.listed.iter();
        listed.find(|listed| {
            listed.text == "*" || origin.is_some_and(|origin| listed.text.as_bytes() == origin)
        })
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Origin, String> {
        let host = text.split_once("://").map(|(_, host)| host);
        let is_host = |host: &str| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
            !host.is_empty() && host.bytes().all(is_part)
        };
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        if text != "*" && !(is_lower && host.is_some_and(is_host)) {
            return Err(format!(
                "{text:?} is no origin; accepted: \"https://app.example\", as browsers send it, or \"*\""
            ));
        }
        // A page that is listed is trusted with what its user's cookies open; all pages are not.
        let fields = match text {
            "*" => "Access-Control-Allow-Origin: *\r\n".to_owned(),
            text => format!(
                "Access-Control-Allow-Origin: {text}\r\nAccess-Control-Allow-Credentials: true\r\n\
                 Vary: Origin\r\n"
            ),
        };
        Ok(Origin {
            text: text.to_owned(),
            fields: fields.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::head;
    use super::*;

    fn origins(texts: &[&str]) -> Origins {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn said(origins: &Origins, origin: Option<&str>) -> String {
        let fields = origins.fields(origin.map(str::as_bytes));
        String::from_utf8(fields.to_vec()).unwrap()
    }

    #[test]
    fn who_is_listed_is_named_and_nobody_else() {
        let listed = origins(&["https://app.example", "http://localhost:3000"]);
        let fields = said(&listed, Some("http://localhost:3000"));
        assert!(fields.starts_with("Access-Control-Allow-Origin: http://localhost:3000\r\n"));
        assert!(fields.contains("Vary: Origin\r\n"));
        for other in [
            None,
            Some("https://app.example.evil"),
            Some("null"),
            Some(""),
        ] {
            assert_eq!(said(&listed, other), "Vary: Origin\r\n", "{other:?}");
        }
        let all = origins(&["*"]);
        assert_eq!(said(&all, None), "Access-Control-Allow-Origin: *\r\n");
        assert_eq!(said(&Origins::default(), Some("https://app.example")), "");
    }

    #[test]
    fn websockets_are_for_the_same_host_and_who_is_listed() {
        let none = Origins::default();
        assert!(none.may_open(None, b"a.example"));
        assert!(none.may_open(Some(b"https://A.example:8443"), b"a.example:8443"));
        assert!(!none.may_open(Some(b"https://a.example"), b"a.example:8443"));
        assert!(!none.may_open(Some(b"null"), b"null"));
        assert!(origins(&["https://b.example"]).may_open(Some(b"https://b.example"), b"a"));
        assert!(!origins(&["https://b.example"]).may_open(Some(b"https://c.example"), b"a"));
    }

    #[test]
    fn a_preflight_is_answered_for_who_is_listed() {
        let listed = origins(&["https://app.example"]);
        let answer = |method: &str, fields: &str| {
            let text = format!("{method} /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let head = head::parse(text.as_bytes()).unwrap().unwrap();
            let answered = listed.preflight(&head, Some("POST"))?;
            Some(answered.map(|fields| String::from_utf8(fields).unwrap()))
        };
        let asks = "Access-Control-Request-Method: PUT\r\n\
                    Access-Control-Request-Headers: x-a, content-type\r\n";
        let good = format!("Origin: https://app.example\r\n{asks}");
        let fields = answer("OPTIONS", &good).unwrap().unwrap();
        assert!(fields.contains("Access-Control-Allow-Methods: POST\r\n"));
        assert!(fields.contains("Access-Control-Allow-Headers: x-a, content-type\r\n"));
        assert_eq!(answer("GET", &good), None);
        assert_eq!(answer("OPTIONS", "Origin: https://app.example\r\n"), None);
        let stranger = format!("Origin: https://b.example\r\n{asks}");
        assert_eq!(answer("OPTIONS", &stranger), Some(Err(Refusal::Origin)));
        let odd = "Origin: https://app.example\r\nAccess-Control-Request-Method: a/b\r\n";
        assert!(matches!(
            answer("OPTIONS", odd),
            Some(Err(Refusal::BadRequest(_)))
        ));
    }

    #[test]
    fn what_is_no_origin_says_what_is() {
        for text in [
            "",
            "app.example",
            "https://app.example/",
            "https://",
            "https://a b",
            "HTTPS://a",
        ] {
            assert!(
                text.parse::<Origin>()
                    .unwrap_err()
                    .contains("https://app.example")
            );
        }
    }
}
