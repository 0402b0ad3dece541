//! A request as a handler in Erlang is told of it, and which refusal it is when there is no answer.
//!
//! No sockets and no waiting: `serve` asks.

use std::net::SocketAddr;

use bytes::Bytes;

use super::head::{self, Head};
use super::refusal::Refusal;
use super::route::Route;
use crate::edge::Unasked;
use crate::wire::{Handler, Request};

/// The request of a head that was read from `bytes`, without a body, for the handler of its route.
pub(in crate::edge) fn request(
    head: &Head<'_>,
    bytes: &[u8],
    route: &Route,
    handler: &Handler,
    peer: Option<SocketAddr>,
) -> Result<Request, Refusal> {
    Ok(Request {
        kind: route.kind,
        handler: handler.clone(),
        method: Bytes::copy_from_slice(head.method.as_bytes()),
        path: Bytes::copy_from_slice(head.path.as_bytes()),
        bindings: route.path.bindings(head.path)?,
        query: Bytes::copy_from_slice(head.query.as_bytes()),
        headers: head::fields(&bytes[..head.length]),
        peer,
        body: Bytes::new(),
        claims: None,
        publish: None,
    })
}

impl From<Unasked> for Refusal {
    fn from(unasked: Unasked) -> Refusal {
        match unasked {
            Unasked::NoHandler => Refusal::Unavailable("no handler is attached"),
            Unasked::Full => Refusal::Unavailable("too many requests wait for their handlers"),
            Unasked::Gone => Refusal::Unavailable("the handler is gone"),
            Unasked::Stopping => Refusal::Unavailable("the server is stopping"),
            Unasked::Late => Refusal::Late,
            Unasked::Bad => Refusal::BadAnswer,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reply::{Manner, has_body, write_reply};
    use super::*;
    use crate::edge::ask::checked_reply;

    proptest! {
        /// Whatever a handler says: if it goes out, a client reads one head, these fields, this body.
        #[test]
        fn what_goes_out_is_one_answer(
            status in 0_u16..=700,
            fields in prop::collection::vec(("[ -~]{0,8}|\\PC{0,4}", prop::collection::vec(any::<u8>(), 0..12)), 0..4),
            body in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let fields = fields.into_iter().map(|(name, value)| (name.into(), value.into()));
            let fields: Vec<(Bytes, Bytes)> = fields.collect();
            let Some(fields) = checked_reply(status, fields) else {
                return Ok(());
            };
            let manner = Manner { is_head: false, is_old: false, closes: true, cors: Bytes::new() };
            let mut answer = Vec::new();
            write_reply(&mut answer, status, &fields, &body, &manner);
            let mut read = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut read);
            let Ok(httparse::Status::Complete(length)) = response.parse(&answer) else {
                panic!("no answer: {:?}", String::from_utf8_lossy(&answer));
            };
            prop_assert_eq!(response.code, Some(status));
            let ours = if has_body(status) { 3 } else { 2 };
            prop_assert_eq!(response.headers.len(), fields.len() + ours);
            let body: &[u8] = if has_body(status) { &body } else { b"" };
            prop_assert_eq!(&answer[length..], body);
        }
    }
}
