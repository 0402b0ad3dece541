//! The edge's config: from keys of the file, and the flags above them.
//!
//! What the edge may be told at all is its own affair.

use super::args::NodeArgs;
use super::file::File;
use super::{Error, listeners, parse, positive, routes, token, websocket};
use crate::edge;

pub(super) fn edge_config(args: &NodeArgs, file: &File) -> Result<edge::Config, Error> {
    let mut edge = edge::Config::default();
    let http = &file.http;
    if let Some(listeners) = listeners::listeners(args, http)? {
        edge.listen = listeners;
    }
    edge.trusted_proxies = listeners::trusted_proxies(http)?;
    edge.shards = args.shards.or(file.shards).unwrap_or(edge.shards);
    if !(1..=crate::wire::SHARDS_MAX).contains(&edge.shards) {
        let what = format!(
            "{} is not from 1 to {}",
            edge.shards,
            crate::wire::SHARDS_MAX
        );
        return Err(Error::Value {
            key: "shards",
            what,
        });
    }
    edge.demo = args.demo || http.demo.unwrap_or(edge.demo);
    edge.connections_max = positive(
        "http.connections_max",
        http.connections_max.unwrap_or(edge.connections_max),
    )?;
    edge.connections_per_id_max = positive(
        "http.connections_per_id_max",
        http.connections_per_id_max
            .unwrap_or(edge.connections_per_id_max),
    )?;
    edge.connections_per_address_max = http
        .connections_per_address_max
        .unwrap_or(edge.connections_per_address_max);
    edge.accept_rate_max = http.accept_rate_max.unwrap_or(edge.accept_rate_max);
    edge.heads_max = positive("http.heads_max", http.heads_max.unwrap_or(edge.heads_max))?;
    edge.head_bytes_max = http
        .head_bytes_max
        .map_or(edge.head_bytes_max, |size| size.0);
    edge.head_timeout = http.head_timeout.map_or(edge.head_timeout, |span| span.0);
    edge.body_bytes_max = http
        .body_bytes_max
        .map_or(edge.body_bytes_max, |size| size.0);
    edge.bodies_bytes_max = http
        .bodies_bytes_max
        .map_or(edge.bodies_bytes_max, |size| size.0);
    edge.body_timeout = http.body_timeout.map_or(edge.body_timeout, |span| span.0);
    edge.idle_timeout = http.idle_timeout.map_or(edge.idle_timeout, |span| span.0);
    let origins = http.cors_origins.iter().flatten();
    edge.cors = origins
        .map(|text| parse::<edge::Origin>("http.cors_origins", text))
        .collect::<Result<_, _>>()?;
    edge.heartbeat = http.heartbeat.map_or(edge.heartbeat, |span| span.0);
    edge.client_timeout = http
        .client_timeout
        .map_or(edge.client_timeout, |span| span.0);
    edge.poll_timeout = http.poll_timeout.map_or(edge.poll_timeout, |span| span.0);
    edge.poll_linger = http.poll_linger.map_or(edge.poll_linger, |span| span.0);
    edge.retry = http.retry.map_or(edge.retry, |span| span.0);
    edge.drain_spread = http.drain_spread.map_or(edge.drain_spread, |span| span.0);
    edge.queue_bytes_max = http
        .queue_bytes_max
        .map_or(edge.queue_bytes_max, |size| size.0);
    websocket::websocket(&mut edge, &file.websocket)?;
    let outbox = &file.outbox;
    edge.outbox_bytes_max = outbox
        .bytes_max
        .map_or(edge.outbox_bytes_max, |size| size.0);
    edge.outbox_messages_max = positive(
        "outbox.messages_max",
        outbox.messages_max.unwrap_or(edge.outbox_messages_max),
    )?;
    edge.outbox_total_bytes_max = outbox
        .total_bytes_max
        .map_or(edge.outbox_total_bytes_max, |size| size.0);
    if let Some(text) = &outbox.when_full {
        edge.when_full = parse("outbox.when_full", text)?;
    }
    edge.ask_timeout = http.ask_timeout.map_or(edge.ask_timeout, |span| span.0);
    edge.asks_max = positive("http.asks_max", http.asks_max.unwrap_or(edge.asks_max))?;
    edge.asks_bytes_max = http
        .asks_bytes_max
        .map_or(edge.asks_bytes_max, |size| size.0);
    if let Some(routes) = &http.route {
        edge.routes = routes::routes(routes)?;
    }
    edge.tokens = file.token.as_ref().map(token::tokens).transpose()?;
    token::are_there(&edge)?;
    if let Some(publish) = &file.publish {
        let (route, token) = routes::publish(publish)?;
        edge.routes.insert(0, route);
        edge.publish_token = Some(token);
    }
    Ok(edge)
}
