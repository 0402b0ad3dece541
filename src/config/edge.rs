//! The edge's config: from keys of a file or a table, and the flags above them.
//!
//! What the edge may be told at all is its own affair.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::edge_file::{EdgeFile, parse_table, read_text};
use super::{Error, listeners, parse, positive, routes, token, websocket, within};
use crate::edge;

/// What is typed of the edge's config; where there is a node, and nowhere else.
#[derive(Debug, Default)]
pub(super) struct Flags {
    pub(super) http: Vec<String>,
    pub(super) https: Vec<String>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) shards: Option<usize>,
    pub(super) demo: bool,
}

/// Reads a file that holds the edge's keys and no others.
///
/// # Errors
/// When it cannot be read, has an unknown key, or a value that is none.
pub fn edge_from_file(path: &Path) -> Result<edge::Config, Error> {
    let file = read_text(path)?;
    in_a_vm(&file).map_err(|error| within(path, error))
}

/// The same from a table: keys, values and errors are those of the file.
///
/// # Errors
/// When there is an unknown key, or a value that is none.
pub fn edge_from_table(table: toml::Table) -> Result<edge::Config, Error> {
    let file = parse_table(table).map_err(|what| Error::Table { what })?;
    in_a_vm(&file)
}

/// An edge of a VM has no `/readyz` that a load balancer looks at: who has one of its own says how long
/// that takes to notice.
fn in_a_vm(file: &EdgeFile) -> Result<edge::Config, Error> {
    let mut edge = edge_config(&Flags::default(), file)?;
    if file.drain_grace.is_none() {
        edge.drain.grace = Duration::ZERO;
    }
    Ok(edge)
}

/// Everything the edge is told.
pub(super) fn edge_config(flags: &Flags, file: &EdgeFile) -> Result<edge::Config, Error> {
    let mut edge = edge::Config::default();
    let http = &file.http;
    if let Some(listeners) = listeners::listeners(flags, http)? {
        edge.listen = listeners;
    }
    edge.trusted_proxies = listeners::trusted_proxies(http)?;
    edge.shards = flags.shards.or(file.shards).unwrap_or(edge.shards);
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
    edge.demo = flags.demo || http.demo.unwrap_or(edge.demo);
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
    edge.drain = drain(file)?;
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

fn drain(file: &EdgeFile) -> Result<edge::Drain, Error> {
    let default = edge::Drain::default();
    let at_least_one = |rate: u32| positive("drain_rate", rate as usize).map(|_| rate);
    Ok(edge::Drain {
        timeout: file.drain_timeout.map_or(default.timeout, |span| span.0),
        grace: file
            .drain_grace
            .map_or(default.grace, |span| span.0.unwrap_or_default()),
        rate: file.drain_rate.map(at_least_one).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::edge_file::parse_text;
    use super::*;

    fn from_text(text: &str) -> Result<edge::Config, String> {
        let file = parse_text(text)?;
        edge_config(&Flags::default(), &file).map_err(|error| error.to_string())
    }

    fn from_table(text: &str) -> Result<edge::Config, String> {
        let table = text.parse().expect("it is TOML");
        edge_from_table(table).map_err(|error| error.to_string())
    }

    #[test]
    fn a_table_means_what_the_file_means() {
        let example = include_str!("../../config/lariat.toml");
        let mut table: toml::Table = example.parse().expect("it is TOML");
        for of_the_node in ["name", "connect", "dist", "admin", "log"] {
            assert!(table.remove(of_the_node).is_some(), "{of_the_node}");
        }
        let text = toml::to_string(&table).expect("a table is TOML");
        let file = format!("{:?}", from_text(&text).expect("it is right"));
        assert_eq!(file, format!("{:?}", from_table(&text).expect("it, too")));
    }

    #[test]
    fn a_table_is_wrong_in_the_words_of_the_file() {
        for text in [
            "[http]\nhead_bytes_max = \"8 XB\"\n",
            "[http]\nlissten = 1\n",
            "[outbox]\nwhen_full = \"?\"\n",
            "name = \"a@b\"\n",
            "shards = 0\n",
            "[http]\nlistener = [{ address = 7 }]\n",
            "[[http.route]]\npath = \"/x/{id}\"\naccess = \"token\"\n",
        ] {
            let file = from_text(text).expect_err(text);
            // A table has no lines.
            let said = file
                .rsplit_once(" (line ")
                .map_or(file.as_str(), |(said, _)| said);
            assert_eq!(from_table(text).expect_err(text), said, "{text}");
        }
    }
}
