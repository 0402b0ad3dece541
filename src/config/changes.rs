//! What differs between the config of an edge that runs and one that was read again, key by key.
//!
//! It changes nothing: who runs the edge takes what may change at run time, and has the rest said. What
//! a node has besides is beside it (`node_changes`).

use std::fmt::Debug;

use crate::edge;

/// A key whose value differs.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name in the file.
    pub key: &'static str,
    /// The value that runs.
    pub was: String,
    /// The value that was read.
    pub is: String,
    /// Whether it changes at run time; else it takes a restart.
    pub is_live: bool,
}

impl Change {
    /// Of what is nobody's to read.
    pub(super) fn hidden(key: &'static str, is_live: bool) -> Change {
        let hidden = || "(hidden)".to_owned();
        Change {
            key,
            was: hidden(),
            is: hidden(),
            is_live,
        }
    }
}

/// Tells the log of each, those that need a restart last.
pub fn say_changes(changes: &[Change]) {
    for Change { key, was, is, .. } in changes.iter().filter(|change| change.is_live) {
        tracing::info!(key, was, is, "config changed");
    }
    for Change { key, was, is, .. } in changes.iter().filter(|change| !change.is_live) {
        tracing::warn!(key, was, is, "config not changed: this key needs a restart");
    }
}

/// What differs in `new`.
pub fn edge_changes(old: &edge::Config, new: &edge::Config) -> Vec<Change> {
    let mut changes = differing(edge_rows(old), edge_rows(new));
    let (old, new) = (&old.tokens, &new.tokens);
    if old != new && format!("{old:?}") == format!("{new:?}") {
        changes.push(Change::hidden("token (the keys)", true));
    }
    changes
}

/// Key, value, whether it changes at run time.
pub(super) type Row = (&'static str, String, bool);

pub(super) fn live(key: &'static str, value: &dyn Debug) -> Row {
    (key, format!("{value:?}"), true)
}

pub(super) fn fixed(key: &'static str, value: &dyn Debug) -> Row {
    (key, format!("{value:?}"), false)
}

/// Both have the same keys in the same order.
pub(super) fn differing(old: Vec<Row>, new: Vec<Row>) -> Vec<Change> {
    let both = old.into_iter().zip(new);
    let differing = both.filter(|((_, was, _), (_, is, _))| was != is);
    let change = |((key, was, is_live), (_, is, _))| Change {
        key,
        was,
        is,
        is_live,
    };
    differing.map(change).collect()
}

pub(super) fn edge_rows(edge: &edge::Config) -> Vec<Row> {
    vec![
        fixed("shards", &edge.shards),
        live("drain_timeout", &edge.drain.timeout),
        live("drain_grace", &edge.drain.grace),
        live("drain_rate", &edge.drain.rate),
        fixed("http.listen, http.listener", &edge.listen),
        live("http.demo", &edge.demo),
        live("http.connections_max", &edge.connections_max),
        live("http.connections_per_id_max", &edge.connections_per_id_max),
        live("http.trusted_proxies", &edge.trusted_proxies),
        fixed(
            "http.connections_per_address_max",
            &edge.connections_per_address_max,
        ),
        fixed("http.accept_rate_max", &edge.accept_rate_max),
        fixed("http.heads_max", &edge.heads_max),
        live("http.head_bytes_max", &edge.head_bytes_max),
        live("http.head_timeout", &edge.head_timeout),
        live("http.body_bytes_max", &edge.body_bytes_max),
        live("http.bodies_bytes_max", &edge.bodies_bytes_max),
        live("http.body_timeout", &edge.body_timeout),
        live("http.idle_timeout", &edge.idle_timeout),
        live("http.cors_origins", &edge.cors),
        live("http.heartbeat", &edge.heartbeat),
        fixed("http.client_timeout", &edge.client_timeout),
        live("http.poll_timeout", &edge.poll_timeout),
        live("http.poll_linger", &edge.poll_linger),
        live("http.retry", &edge.retry),
        live("http.drain_spread", &edge.drain_spread),
        fixed("http.queue_bytes_max", &edge.queue_bytes_max),
        live("http.route", &edge.routes),
        live("http.ask_timeout", &edge.ask_timeout),
        live("http.asks_max", &edge.asks_max),
        live("http.asks_bytes_max", &edge.asks_bytes_max),
        live("token", &edge.tokens),
        live("publish.path, publish.token_file", &edge.publish_token),
        live("websocket.message_bytes_max", &edge.message_bytes_max),
        live("websocket.message_frames_max", &edge.message_frames_max),
        live("websocket.unfinished_bytes_max", &edge.unfinished_bytes_max),
        fixed("websocket.untold_bytes_max", &edge.untold.one_bytes_max),
        fixed(
            "websocket.untold_total_bytes_max",
            &edge.untold.all_bytes_max,
        ),
        live("websocket.deflate", &edge.deflate),
        live("outbox.bytes_max", &edge.outbox_bytes_max),
        live("outbox.messages_max", &edge.outbox_messages_max),
        live("outbox.total_bytes_max", &edge.outbox_total_bytes_max),
        live("outbox.when_full", &edge.when_full),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_restart_is_told_apart() {
        let old = edge::Config::default();
        let mut new = old.clone();
        new.shards += 1;
        new.demo = true;
        let changes = edge_changes(&old, &new);
        let told: Vec<_> = changes.iter().map(|c| (c.key, c.is_live)).collect();
        assert_eq!(told, [("shards", false), ("http.demo", true)]);
        let running = old.reloaded(&new);
        let left = edge_changes(&running, &new);
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(edge_changes(&old, &old), []);
    }
}
