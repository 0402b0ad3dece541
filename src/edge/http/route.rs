//! A route of the config: its path, what it is for, who may come in, and what is particular to those
//! who come there.
//!
//! Pure data, and what of it fits together. Which route a request takes is `routing`'s affair.

use super::pattern::Pattern;
use crate::wire::{Handler, Kind, WhenFull};

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Which paths are its.
    pub path: Pattern,
    /// What it is for.
    pub kind: Kind,
    /// Who may come in.
    pub access: Access,
    /// Who decides, answers, or hears what clients say.
    pub handler: Option<Handler>,
    /// The sub-protocols that are spoken there, of a route of kind "websocket".
    pub protocols: Vec<String>,
    /// What becomes of a connection, or its messages, when its outbox is full; `None` is what
    /// `outbox.when_full` says.
    pub when_full: Option<WhenFull>,
}

/// Who may come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// `open`: everybody; who is held has the id of the path.
    #[default]
    Open,
    /// `ask`: the handler decides, and says the id.
    Ask,
    /// `token`: who has a valid token.
    Token,
}

impl Route {
    /// A route on this path, with what is usual.
    pub fn new(path: Pattern) -> Route {
        Route {
            path,
            ..Route::default()
        }
    }

    /// Whether its parts fit together; else the key that does not, and why.
    ///
    /// # Errors
    /// Names the culprit and what is accepted.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let Route {
            path,
            kind,
            access,
            handler,
            ..
        } = self;
        let named = kind.as_str();
        if kind.is_held() && *access == Access::Open && !path.has_id() {
            let what = format!("a route of kind {named:?} that is open needs {{id}} in its path");
            return Err(("http.route.path", what));
        }
        if !self.protocols.is_empty() && *kind != Kind::Websocket {
            let what = format!("kind {named:?} has no sub-protocols; accepted: \"websocket\"");
            return Err(("http.route.protocols", what));
        }
        if let Some(name) = self.protocols.iter().find(|name| !is_token(name)) {
            let what = format!("{name:?} is no name of a sub-protocol; accepted: \"chat.v1\"");
            return Err(("http.route.protocols", what));
        }
        let needs_handler = *access == Access::Ask || matches!(kind, Kind::Request | Kind::Batch);
        if needs_handler && handler.is_none() {
            let what = "needed by access \"ask\" and by the kinds \"request\" and \"batch\": the \
                        name of what serves it in Erlang";
            return Err(("http.route.handler", what.to_owned()));
        }
        if !kind.is_held() && *access == Access::Ask {
            let what = format!("kind {named:?} is asked anyway; accepted: open, token");
            return Err(("http.route.access", what));
        }
        Ok(())
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let is_mark = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
}

impl Access {
    /// Every access.
    pub const ALL: [Access; 3] = [Access::Open, Access::Ask, Access::Token];

    /// Its name in the config.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Open => "open",
            Access::Ask => "ask",
            Access::Token => "token",
        }
    }
}

impl std::str::FromStr for Access {
    type Err = String;

    fn from_str(text: &str) -> Result<Access, String> {
        let named = Access::ALL
            .into_iter()
            .find(|access| access.as_str() == text);
        named.ok_or_else(|| {
            let names = Access::ALL.map(Access::as_str).join(", ");
            format!("{text:?} says not who may come in; accepted: {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_together_is_named() {
        let path = |text: &str| text.parse::<Pattern>().expect("it is a path");
        let open = Route::new(path("/a"));
        assert_eq!(open.check().unwrap_err().0, "http.route.path");
        assert_eq!(Route::default().check(), Ok(()));
        for access in Access::ALL {
            assert_eq!(access.as_str().parse(), Ok(access));
        }
        assert!("closed".parse::<Access>().unwrap_err().contains("token"));
    }
}
