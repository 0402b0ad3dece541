//! Questions of the edge as terms: `{request, Ref, Request}` and `{batch, Ref, Handler, [Body]}`.
//!
//! Keys are our atoms; all that a client said is binaries, also in a token's claims.

use bytes::Bytes;

use super::id;
use super::reply::address;
use super::write::Writer;
use crate::wire::{Ask, Claim, Publish, Ref, Request};

pub(super) fn write(w: &mut Writer, reference: Ref, ask: &Ask) {
    match ask {
        Ask::Request(asked) => {
            w.tuple(3).atom("request").uint(reference.0);
            request(w, asked);
        }
        Ask::Batch { handler, bodies } => {
            w.tuple(4).atom("batch").uint(reference.0);
            w.binary(handler.as_str().as_bytes());
            w.list(bodies.len());
            for body in &**bodies {
                w.binary(body);
            }
            w.nil();
        }
    }
}

fn request(w: &mut Writer, request: &Request) {
    let Request {
        kind,
        handler,
        method,
        path,
        bindings,
        query,
        headers,
        peer,
        body,
        claims,
        publish,
    } = request;
    w.map(9 + usize::from(claims.is_some()) + usize::from(publish.is_some()));
    w.atom("kind").atom(kind.as_str());
    w.atom("handler").binary(handler.as_str().as_bytes());
    w.atom("method").binary(method);
    w.atom("path").binary(path);
    w.atom("bindings");
    pairs(w, bindings);
    w.atom("query").binary(query);
    w.atom("headers");
    pairs(w, headers);
    w.atom("peer");
    match peer {
        Some(peer) => address(w, *peer),
        None => {
            w.atom("undefined");
        }
    }
    w.atom("body").binary(body);
    if let Some(claims) = claims {
        w.atom("claims");
        claim_map(w, claims);
    }
    if let Some(publish) = publish {
        w.atom("publish");
        publication(w, publish);
    }
}

/// A map; the names must differ, as those of bindings and of joined fields do.
fn pairs(w: &mut Writer, pairs: &[(Bytes, Bytes)]) {
    w.map(pairs.len());
    for (name, value) in pairs {
        w.binary(name).binary(value);
    }
}

/// Of names that come twice the last one counts, as in most readers of JSON: a map with two equal keys
/// is no term.
fn claim_map(w: &mut Writer, claims: &[(Bytes, Claim)]) {
    let is_last = |nth: usize| {
        !claims[nth + 1..]
            .iter()
            .any(|(name, _)| *name == claims[nth].0)
    };
    let each: Vec<usize> = (0..claims.len()).filter(|&nth| is_last(nth)).collect();
    w.map(each.len());
    for nth in each {
        let (name, value) = &claims[nth];
        w.binary(name);
        claim(w, value);
    }
}

fn claim(w: &mut Writer, value: &Claim) {
    match value {
        Claim::Null => {
            w.atom("null");
        }
        Claim::Bool(true) => {
            w.atom("true");
        }
        Claim::Bool(false) => {
            w.atom("false");
        }
        Claim::Int(int) => {
            w.int(*int);
        }
        // Erlang's floats are finite, and so are those of JSON.
        Claim::Float(float) if !float.is_finite() => {
            w.atom("null");
        }
        Claim::Float(float) => {
            w.float(*float);
        }
        Claim::Text(text) => {
            w.binary(text);
        }
        Claim::List(claims) => {
            w.list(claims.len());
            for one in claims {
                claim(w, one);
            }
            w.nil();
        }
        Claim::Map(claims) => claim_map(w, claims),
    }
}

fn publication(w: &mut Writer, publish: &Publish) {
    let Publish {
        to,
        subject,
        event,
        id: event_id,
        message,
    } = publish;
    let said = [("subject", subject), ("event", event), ("id", event_id)];
    w.map(2 + said.iter().filter(|(_, value)| value.is_some()).count());
    w.atom("to").list(to.len());
    for one in to {
        id::write(w, one);
    }
    w.nil();
    w.atom("message").binary(message);
    for (name, value) in said {
        if let Some(value) = value {
            w.atom(name).binary(value);
        }
    }
}
