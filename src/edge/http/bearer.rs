//! Who a request comes from by its token, on routes that want one.
//!
//! What a good token is, is `token`'s affair; here are where the request has it, that its id is the
//! path's, and the counters. Checking a signature takes as long as accepting several connections, so
//! it happens in a task of its own, never in the listener's.

use std::time::SystemTime;

use super::head::{self, Head};
use super::refusal::Refusal;
use crate::edge::Edge;
use crate::edge::token::source::{Places, find};
use crate::edge::token::{Claims, Tokens};
use crate::metrics::TokenRefused;
use crate::wire::Id;

/// What a request says of itself, before anybody has looked at it.
pub(in crate::edge) struct Bearer {
    found: Result<String, TokenRefused>,
    /// The id of its path, if there is one.
    id: Option<Id>,
}

impl Bearer {
    /// Of a head that was read from `bytes`.
    pub(in crate::edge) fn new(head: &Head<'_>, bytes: &[u8], id: Option<Id>) -> Bearer {
        let fields = head::fields(&bytes[..head.length]);
        let text = |name: &[u8]| {
            let (_, value) = fields.iter().find(|(known, _)| known == name)?;
            std::str::from_utf8(value).ok()
        };
        let found = find(Places {
            authorization: text(b"authorization"),
            query: head.query,
            protocols: text(b"sec-websocket-protocol").unwrap_or_default(),
        });
        Bearer {
            found: found.map(str::to_owned),
            id,
        }
    }

    /// What its token says, if it is good.
    pub(in crate::edge) fn check(self, edge: &Edge) -> Result<Claims, Refusal> {
        let checked = self.judge(edge.config().tokens.as_ref());
        let metrics = edge.metrics();
        match &checked {
            Ok(_) => metrics.tokens_accepted.increment(),
            Err(reason) => metrics.tokens_refused.of(*reason).increment(),
        }
        checked.map_err(Refusal::Token)
    }

    fn judge(self, tokens: Option<&Tokens>) -> Result<Claims, TokenRefused> {
        let token = self.found?;
        // The config has no such route without keys; a reload may have come between.
        let tokens = tokens.ok_or(TokenRefused::UnknownKey)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let claims = tokens.check(&token, now.unwrap_or_default().as_secs())?;
        match self.id {
            Some(id) if id != claims.id => Err(TokenRefused::OtherId),
            _ => Ok(claims),
        }
    }
}
