//! How many connections the limit on open files allows, and how many open files connections need.
//!
//! It raises no limit: that is for whom the process belongs to. A node raises it as far as it goes; a VM
//! has sized tables of its own by the one it found.

use super::Config;
use super::door::farewell::WAITING_MAX;
use super::shard::parting::PARTING_MAX;

/// Descriptors that are no connections: listeners, pollers, a node's links, admin, logs.
const RESERVE: usize = 256;

/// Heads of a listener take at most this part of the open files.
const HEADS_PART: usize = 16;

/// When nothing can be learnt of the limit: what most systems begin with.
const LIMIT_UNKNOWN: u64 = 1024;

/// The open files that this process may have now.
pub fn open_files_limit() -> u64 {
    rlimit::Resource::NOFILE.get_soft().unwrap_or(LIMIT_UNKNOWN)
}

impl Config {
    /// Lowers what is allowed to what `limit` open files allow, when `others` of them are for what is not
    /// ours: a refusal with 503 is better than an accept that fails. Says so in the log.
    pub fn fit_open_files(&mut self, limit: u64, others: usize) {
        let open_files = usize::try_from(limit).unwrap_or(usize::MAX);
        let wanted = self.connections_max;
        let room = self.fit(open_files.saturating_sub(others));
        tracing::info!(
            connections_max = self.connections_max,
            heads_max = self.heads_max,
            open_files,
            "limits"
        );
        if room < wanted {
            tracing::info!(
                wanted,
                "the limit on open files (ulimit -n) holds connections_max down: raise it for more"
            );
        }
    }

    /// The connections that there is room for.
    fn fit(&mut self, limit: usize) -> usize {
        // Heads being read hold descriptors too, and must not take them all.
        self.heads_max = self.heads_max.min(limit / HEADS_PART).max(1);
        let heads = self.heads_max * self.listen.len();
        let room = limit
            .saturating_sub(RESERVE + heads + self.waiting_for_their_end())
            .max(1);
        self.connections_max = self.connections_max.min(room);
        room
    }

    /// Open files that are needed to hold so many connections: what [`Config::fit_open_files`] reckons,
    /// the other way round.
    pub fn open_files_needed(&self, connections: usize) -> usize {
        let listeners = self.listen.len();
        let others = connections
            .saturating_add(RESERVE)
            .saturating_add(self.waiting_for_their_end());
        // Heads take at most a sixteenth for each listener, less with few open files.
        let squeezed = match HEADS_PART.checked_sub(listeners) {
            None | Some(0) => usize::MAX,
            Some(rest) => others.saturating_mul(HEADS_PART).div_ceil(rest),
        };
        let heads = self.heads_max.saturating_mul(listeners);
        others.saturating_add(heads).min(squeezed)
    }

    /// Sockets that are no connections any more, beyond those that the reserve has room for: what the
    /// first listener has refused. Each further listener has its own, and each shard those that it has
    /// closed.
    fn waiting_for_their_end(&self) -> usize {
        let refused = WAITING_MAX * self.listen.len().saturating_sub(1);
        refused + PARTING_MAX * self.shards
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn config(listeners: usize) -> Config {
        Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 1)).into(); listeners],
            ..Config::default()
        }
    }

    #[test]
    fn so_many_open_files_are_enough_and_hardly_more() {
        for listeners in [1, 2, 15, 16, 20] {
            let config = config(listeners);
            let room = |limit| config.clone().fit(limit);
            for connections in [1, 1_000, 18_000, 1_000_000] {
                let needed = config.open_files_needed(connections);
                assert!(room(needed) >= connections, "{listeners} {connections}");
                let less = needed - needed / 10 - listeners;
                // Whatever the limit, one connection is allowed.
                let least = connections.max(2);
                assert!(room(less) < least, "{listeners} {connections}");
            }
        }
    }

    #[test]
    fn what_others_need_is_not_for_connections() {
        let fitted = |limit, others| {
            let mut config = config(1);
            config.fit_open_files(limit, others);
            (config.connections_max, config.heads_max)
        };
        assert_eq!(fitted(20_000, 500), fitted(19_500, 0));
        assert_eq!(fitted(500, 20_000), (1, 1));
        let (connections, _) = fitted(10_000_000, 0);
        assert_eq!(connections, Config::default().connections_max);
    }
}
