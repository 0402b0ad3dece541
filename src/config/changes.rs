//! What differs between the config that runs and one that was read again, key by key.
//!
//! It changes nothing: `main` hands what may change at run time to the node, and logs the rest.

use std::fmt::Debug;

use super::Settings;

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

/// Key, value, whether it changes at run time.
type Row = (&'static str, String, bool);

impl Settings {
    /// What differs in `new`.
    pub fn changes(&self, new: &Settings) -> Vec<Change> {
        let mut changes: Vec<Change> = rows(self)
            .into_iter()
            .zip(rows(new))
            .filter(|((_, was, _), (_, is, _))| was != is)
            .map(|((key, was, is_live), (_, is, _))| Change {
                key,
                was,
                is,
                is_live,
            })
            .collect();
        let (old_dist, new_dist) = (&self.node.dist, &new.node.dist);
        let (old, fresh) = (&self.node.edge.tokens, &new.node.edge.tokens);
        if old != fresh && format!("{old:?}") == format!("{fresh:?}") {
            changes.push(Change {
                key: "token (the keys)",
                was: "(hidden)".to_owned(),
                is: "(hidden)".to_owned(),
                is_live: true,
            });
        }
        if old_dist.cookie != new_dist.cookie || old_dist.cookies != new_dist.cookies {
            // Never what it is.
            let hidden = || "(hidden)".to_owned();
            changes.push(Change {
                key: "cookie",
                was: hidden(),
                is: hidden(),
                is_live: false,
            });
        }
        changes
    }

    /// These settings with what may change at run time taken from `new`.
    #[must_use]
    pub fn reloaded(&self, new: &Settings) -> Settings {
        let mut settings = self.clone();
        settings.node.edge = self.node.edge.reloaded(&new.node.edge);
        settings.node.drain = new.node.drain;
        settings.log_filter.clone_from(&new.log_filter);
        settings
    }
}

fn rows(settings: &Settings) -> Vec<Row> {
    let node = &settings.node;
    let (edge, dist, drain) = (&node.edge, &node.dist, &node.drain);
    let live = |key, value: &dyn Debug| (key, format!("{value:?}"), true);
    let fixed = |key, value: &dyn Debug| (key, format!("{value:?}"), false);
    vec![
        fixed("name", &dist.name),
        fixed("connect", &dist.connect),
        fixed("shards", &edge.shards),
        live("drain_timeout", &drain.timeout),
        live("drain_grace", &drain.grace),
        live("drain_rate", &drain.rate),
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
        fixed("dist.listen", &dist.listen),
        fixed("dist.epmd", &dist.epmd),
        fixed("dist.allow", &dist.allow),
        fixed("dist.tls", &dist.tls),
        fixed("dist.tick_time", &dist.tick_time),
        fixed("dist.frame_bytes_max", &dist.frame_bytes_max),
        fixed("dist.watches_max", &dist.watches_max),
        fixed("dist.handshake_timeout", &dist.handshake_timeout),
        fixed("dist.handshakes_max", &dist.handshakes_max),
        fixed("admin.listen", &node.admin.listen),
        live("log.filter", &settings.log_filter),
        fixed("log.format", &settings.log_format),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::args::NodeArgs;
    use super::super::file::File;
    use super::super::node::compose;
    use super::*;

    fn settings(text: &str) -> Settings {
        compose(NodeArgs::default(), toml::from_str::<File>(text).unwrap()).unwrap()
    }

    #[test]
    fn what_may_change_changes_and_the_rest_is_named() {
        let old = settings("");
        let new = settings(
            "shards = 3\n[http]\nconnections_max = 7\n[admin]\nlisten = \"127.0.0.1:1\"\n\
             [log]\nfilter = \"warn\"\n",
        );
        let keys = |changes: &[Change], live: bool| -> Vec<&'static str> {
            let like = changes.iter().filter(|change| change.is_live == live);
            like.map(|change| change.key).collect()
        };
        let changes = old.changes(&new);
        assert_eq!(keys(&changes, true), ["http.connections_max", "log.filter"]);
        assert_eq!(keys(&changes, false), ["shards", "admin.listen"]);
        let running = old.reloaded(&new);
        assert_eq!(keys(&running.changes(&new), true), [""; 0]);
        assert_eq!(
            keys(&running.changes(&new), false),
            ["shards", "admin.listen"]
        );
        assert_eq!(running.changes(&running), []);
    }

    /// A key that is in the file and in no row would change without a word.
    #[test]
    fn every_key_of_the_example_is_in_a_row() {
        let text = include_str!("../../config/lariat.toml");
        let rows = rows(&settings(""));
        let mut table = String::new();
        for line in text.lines() {
            let line = line.trim_start_matches("# ");
            if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                table = format!("{}.", name.trim_start_matches('['));
            } else if let Some((key, _)) = line.split_once(" = ")
                && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            {
                let name = format!("{table}{key}");
                // These have one row each, or none, because they are secret.
                let is_part = [
                    "http.listener.",
                    "http.route.",
                    "dist.tls.",
                    "dist.cookies.",
                    "token.",
                ]
                .iter()
                .any(|part| name.starts_with(part));
                let is_there = rows
                    .iter()
                    .any(|(row, ..)| row.split(", ").any(|row| row == name));
                assert!(is_there || is_part || name == "cookie_file", "{name}");
            }
        }
    }
}
