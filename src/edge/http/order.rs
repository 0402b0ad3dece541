//! What an ordinary request asks for, as its head says; its body is still to come.
//!
//! Pure but for a glance at the config. It reads no body and answers nothing: `exchange` does.

use std::net::SocketAddr;

use super::bearer::Bearer;
use super::body::Length;
use super::head::Head;
use super::refusal::Refusal;
use super::reply::Manner;
use super::route::Access;
use super::routing::{self, Destination};
use super::{asking, publish};
use crate::edge::Config;
use crate::wire::{Handler, Kind, Request};

/// An ordinary request.
pub(in crate::edge) struct Order {
    pub(in crate::edge) task: Task,
    /// Bytes of its head.
    pub(in crate::edge) head_bytes: usize,
    pub(in crate::edge) body: Length,
    /// Its token decides whether it is carried out.
    pub(in crate::edge) bearer: Option<Box<Bearer>>,
    /// The client waits for a word before it sends the body.
    pub(in crate::edge) expects_continue: bool,
    pub(in crate::edge) manner: Manner,
}

/// What is to be done about it.
#[derive(Debug)]
pub(in crate::edge) enum Task {
    /// The demo's page.
    Page,
    /// Who is connected: the page asks.
    Connections,
    /// These fields, and nothing else.
    Fields(Vec<u8>),
    /// A handler answers.
    Ask(Box<Request>),
    /// A handler takes the body, with others.
    Gather(Handler),
    /// The body is to be published; it is JSON, or the message itself.
    Publish {
        request: Box<Request>,
        is_json: bool,
    },
}

impl Order {
    /// The order to carry out `task`, as the head of its request says.
    pub(in crate::edge) fn new(
        config: &Config,
        task: Task,
        bearer: Option<Box<Bearer>>,
        head: &Head<'_>,
        manner: Manner,
    ) -> Result<Order, Refusal> {
        let bytes_max = config.body_bytes_max as u64;
        if matches!(head.body, Length::Known(bytes) if bytes > bytes_max) {
            return Err(Refusal::BodyTooLarge);
        }
        Ok(Order {
            task,
            bearer,
            head_bytes: head.length,
            body: head.body,
            expects_continue: head.expects_continue,
            manner,
        })
    }
}

/// What a request to `destination` asks for; `None` when it is no ordinary one. Its head was read from
/// `bytes`.
pub(in crate::edge) fn task(
    config: &Config,
    destination: &Destination,
    head: &Head<'_>,
    bytes: &[u8],
    peer: Option<SocketAddr>,
) -> Result<Option<Task>, Refusal> {
    let methods = destination.methods();
    if let Some(preflight) = config.cors.preflight(head, methods) {
        return Ok(Some(Task::Fields(preflight?)));
    }
    if let Some(methods) = methods
        && head.method == "OPTIONS"
        && !head.has_body
    {
        let allow = match methods.contains("OPTIONS") {
            true => format!("Allow: {methods}\r\n"),
            false => format!("Allow: {methods}, OPTIONS\r\n"),
        };
        return Ok(Some(Task::Fields(allow.into_bytes())));
    }
    destination.admit(head)?;
    let route = match destination {
        Destination::Held { .. } => return Ok(None),
        Destination::Demo if head.path == "/" => return Ok(Some(Task::Page)),
        Destination::Demo => return Ok(Some(Task::Connections)),
        Destination::Server => return Err(Refusal::NotFound),
        Destination::Answered { route } => route,
    };
    let handler = route.handler.as_ref().ok_or(Refusal::NotFound)?;
    let request = || asking::request(head, bytes, route, handler, peer).map(Box::new);
    Ok(Some(match route.kind {
        Kind::Batch => Task::Gather(handler.clone()),
        Kind::Publish => {
            publish::admit(config.publish_token.as_ref(), head)?;
            let mut request = request()?;
            request.kind = Kind::Request;
            Task::Publish {
                request,
                is_json: head.is_json,
            }
        }
        _ => Task::Ask(request()?),
    }))
}

/// What an ordinary request says of its client, where its route wants a token.
pub(in crate::edge) fn bearer(
    destination: &Destination,
    task: &Task,
    head: &Head<'_>,
    bytes: &[u8],
) -> Result<Option<Box<Bearer>>, Refusal> {
    let Destination::Answered { route } = destination else {
        return Ok(None);
    };
    if route.access != Access::Token || matches!(task, Task::Fields(_)) {
        return Ok(None);
    }
    let has_id = route.path.has_id();
    let id = has_id.then(|| routing::id(route, head.path)).transpose()?;
    Ok(Some(Box::new(Bearer::new(head, bytes, id))))
}
