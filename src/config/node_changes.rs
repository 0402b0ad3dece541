//! What differs between the settings of a node that runs and those that were read again.
//!
//! It changes nothing: `main` hands what may change at run time to the node.

use super::Settings;
use super::changes::{Change, Row, differing, edge_changes, fixed, live};

impl Settings {
    /// What differs in `new`.
    pub fn changes(&self, new: &Settings) -> Vec<Change> {
        let mut changes = edge_changes(&self.node.edge, &new.node.edge);
        changes.extend(differing(rows(self), rows(new)));
        let (old, new) = (&self.node.dist, &new.node.dist);
        if old.cookie != new.cookie || old.cookies != new.cookies {
            changes.push(Change::hidden("cookie", false));
        }
        changes
    }

    /// These settings with what may change at run time taken from `new`.
    #[must_use]
    pub fn reloaded(&self, new: &Settings) -> Settings {
        let mut settings = self.clone();
        settings.node.edge = self.node.edge.reloaded(&new.node.edge);
        settings.log_filter.clone_from(&new.log_filter);
        settings
    }
}

fn rows(settings: &Settings) -> Vec<Row> {
    let node = &settings.node;
    let dist = &node.dist;
    vec![
        fixed("name", &dist.name),
        fixed("connect", &dist.connect),
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
    use super::super::changes::edge_rows;
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
        let settings = settings("");
        let mut rows = rows(&settings);
        rows.extend(edge_rows(&settings.node.edge));
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
