//! What the edge is told: listeners, limits, times, policies, their defaults, and which of them may
//! change while it runs.
//!
//! It checks nothing: who makes a config of what an operator wrote says what is accepted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::shard::drain::Comeback;
use super::shard::inbox::Allowed;
use super::untold::UntoldLimits;
use super::{Drain, Listen, Origins, PublishToken, Route, Tokens, Trust, WhenFull};
use crate::hub::Limits;
use crate::wire::SHARDS_MAX;

/// What the edge is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where HTTP is spoken. Default: 127.0.0.1:8000.
    pub listen: Vec<Listen>,
    /// Shards, each a thread. Default: one for each core, at most [`SHARDS_MAX`].
    pub shards: usize,
    /// Connections held at the same time. Default: 1,000,000.
    pub connections_max: usize,
    /// Connections that share one id. Default: 64, enough for the tabs and devices of a person.
    pub connections_per_id_max: usize,
    /// Proxies whose word for the client's address is taken: by PROXY protocol on listeners that have
    /// it, by `X-Forwarded-For` on all. Default: none.
    pub trusted_proxies: Trust,
    /// Connections and heads of one client address, an IPv6 one without its last 64 bits; 0 counts
    /// none. Default: 0, because behind a proxy or a provider's address translation thousands of
    /// clients share one, and only the operator knows.
    pub connections_per_address_max: usize,
    /// Connections that each listener accepts in a second, after as many at once; the others wait in
    /// the backlog. 0 is as fast as it goes. Default: 0: the limits on connections and heads hold
    /// in any storm, and a slower one only lasts longer.
    pub accept_rate_max: u32,
    /// Request heads being read at the same time, per listener. Default: 4,096, a second's worth
    /// of a reconnect storm.
    pub heads_max: usize,
    /// Bytes of a request head. Default: 8 KiB, as nginx and Apache have it.
    pub head_bytes_max: usize,
    /// Time for a request head. Default: 10 s.
    pub head_timeout: Duration,
    /// Bytes of a request body. Default: 1 MiB, as nginx has it.
    pub body_bytes_max: usize,
    /// Bytes of all request bodies that are being read. Default: 256 MiB.
    pub bodies_bytes_max: usize,
    /// Time for a request body, and for a client to take an answer. Default: 30 s.
    pub body_timeout: Duration,
    /// How long a connection may be silent between ordinary requests. Default: 75 s, more than the 60 s
    /// after which common proxies close theirs, so that it is they who do.
    pub idle_timeout: Duration,
    /// Sites whose scripts may read answers. Default: none.
    pub cors: Origins,
    /// What a publisher has to know, when there is a route to publish on. Default: none.
    pub publish_token: Option<PublishToken>,
    /// Heartbeat of a silent connection; `None` sends none. Default: 25 s, below the 30 to 60 s
    /// after which common proxies give a silent connection up.
    pub heartbeat: Option<Duration>,
    /// A client that acknowledges nothing of what was sent to it, or takes nothing, for this long is
    /// gone; `None` leaves that to the system, which takes a quarter of an hour. Default: 30 s, a
    /// tunnel's length: with heartbeats a client that vanished is found within a minute.
    pub client_timeout: Option<Duration>,
    /// How long a poll waits for messages, give or take a fifth. Default: 25 s, as for heartbeats.
    pub poll_timeout: Duration,
    /// How long the client of a poll may be away before it asks again; what comes meanwhile waits for it.
    /// Default: 60 s, for a client that changes its network or backs off after an error.
    pub poll_linger: Duration,
    /// What SSE clients are asked to wait before they reconnect, ± 50 %. Default: 3 s.
    pub retry: Duration,
    /// Those who are sent away by a drain are asked to come back over this time, so that they do not
    /// come all at once; half of [`Config::retry`] goes before it. Default: 10 s.
    pub drain_spread: Duration,
    /// How it takes its leave. Default: within 10 s.
    pub drain: Drain,
    /// Bytes waiting for one connection. Default: 256 KiB.
    pub outbox_bytes_max: usize,
    /// Messages waiting for one connection. Default: 256.
    pub outbox_messages_max: usize,
    /// Bytes waiting for all connections together. Default: 256 MiB.
    pub outbox_total_bytes_max: usize,
    /// Bytes of a client's message to a WebSocket, inflated. Default: 64 KiB.
    pub message_bytes_max: usize,
    /// Frames of such a message. Default: 1,024.
    pub message_frames_max: u32,
    /// Bytes of such messages that have not come whole, of all connections. Default: 64 MiB.
    pub unfinished_bytes_max: usize,
    /// Whether WebSockets are compressed whose clients want it. Default: yes.
    pub deflate: bool,
    /// What clients may have said and nobody has been told. Default: 1 MiB, and 32 MiB of all.
    pub untold: UntoldLimits,
    /// What is there for which paths; the first whose path fits. Default: streams at
    /// `/stream/{id}`.
    pub routes: Vec<Arc<Route>>,
    /// Time for Erlang to answer what it is asked. Default: 5 s, what `gen_server:call` waits.
    pub ask_timeout: Duration,
    /// Questions to Erlang that wait for their answer. Default: 4,096, as many as request heads.
    pub asks_max: usize,
    /// Bytes of questions that are not told yet. Default: 32 MiB, what a link's send queue holds.
    pub asks_bytes_max: usize,
    /// What the tokens of clients must say, on routes that ask for one. Default: none, no token is good.
    pub tokens: Option<Tokens>,
    /// What becomes of a connection, or its messages, when its outbox is full, where its route does
    /// not say. Default: close.
    pub when_full: WhenFull,
    /// Bytes of commands waiting for one shard, without what is covered by credit. Default: 64 MiB,
    /// the size of one distribution frame. An eighth of it is the credit of each producer.
    pub queue_bytes_max: usize,
    /// News waiting to be told. Default: 200,000, some ten seconds of a connection storm.
    pub news_max: usize,
    /// Whether `/` is the demo page. Default: no.
    pub demo: bool,
}

impl Config {
    /// This config with what may change at run time taken from `new`.
    pub fn reloaded(&self, new: &Config) -> Config {
        Config {
            connections_max: new.connections_max,
            connections_per_id_max: new.connections_per_id_max,
            trusted_proxies: new.trusted_proxies.clone(),
            head_bytes_max: new.head_bytes_max,
            head_timeout: new.head_timeout,
            body_bytes_max: new.body_bytes_max,
            bodies_bytes_max: new.bodies_bytes_max,
            body_timeout: new.body_timeout,
            idle_timeout: new.idle_timeout,
            cors: new.cors.clone(),
            publish_token: new.publish_token.clone(),
            heartbeat: new.heartbeat,
            poll_timeout: new.poll_timeout,
            poll_linger: new.poll_linger,
            retry: new.retry,
            drain_spread: new.drain_spread,
            drain: new.drain,
            outbox_bytes_max: new.outbox_bytes_max,
            outbox_messages_max: new.outbox_messages_max,
            outbox_total_bytes_max: new.outbox_total_bytes_max,
            message_bytes_max: new.message_bytes_max,
            message_frames_max: new.message_frames_max,
            unfinished_bytes_max: new.unfinished_bytes_max,
            deflate: new.deflate,
            routes: new.routes.clone(),
            ask_timeout: new.ask_timeout,
            asks_max: new.asks_max,
            asks_bytes_max: new.asks_bytes_max,
            tokens: new.tokens.clone(),
            when_full: new.when_full,
            demo: new.demo,
            ..self.clone()
        }
    }

    /// What each shard is told of it.
    pub(super) fn of_shard(&self) -> OfShard {
        OfShard {
            limits: Limits {
                connections_per_id_max: self.connections_per_id_max,
                outbox_bytes_max: self.outbox_bytes_max,
                outbox_messages_max: self.outbox_messages_max,
                outbox_total_bytes_max: self.outbox_total_bytes_max / self.shards,
            },
            heartbeat: self.heartbeat,
            poll_linger: self.poll_linger,
            comeback: Comeback::new(self.retry, self.drain_spread),
            allowed: Allowed {
                message_bytes_max: self.message_bytes_max,
                frames_max: self.message_frames_max,
                unfinished_bytes_max: self.unfinished_bytes_max / self.shards,
            },
        }
    }
}

/// What a shard knows of the config.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfShard {
    pub(super) limits: Limits,
    pub(super) heartbeat: Option<Duration>,
    pub(super) poll_linger: Duration,
    pub(super) comeback: Comeback,
    pub(super) allowed: Allowed,
}

impl Default for Config {
    fn default() -> Config {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8000)).into()],
            shards: cores.min(SHARDS_MAX),
            connections_max: 1_000_000,
            connections_per_id_max: 64,
            trusted_proxies: Trust::default(),
            connections_per_address_max: 0,
            accept_rate_max: 0,
            heads_max: 4096,
            head_bytes_max: 8 * 1024,
            head_timeout: Duration::from_secs(10),
            body_bytes_max: 1024 * 1024,
            bodies_bytes_max: 256 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            cors: Origins::default(),
            publish_token: None,
            heartbeat: Some(Duration::from_secs(25)),
            client_timeout: Some(Duration::from_secs(30)),
            poll_timeout: Duration::from_secs(25),
            poll_linger: Duration::from_secs(60),
            retry: Duration::from_secs(3),
            drain_spread: Duration::from_secs(10),
            drain: Drain::default(),
            outbox_bytes_max: 256 * 1024,
            outbox_messages_max: 256,
            outbox_total_bytes_max: 256 * 1024 * 1024,
            message_bytes_max: 64 * 1024,
            message_frames_max: 1024,
            unfinished_bytes_max: 64 * 1024 * 1024,
            deflate: true,
            untold: UntoldLimits {
                one_bytes_max: 1024 * 1024,
                all_bytes_max: 32 * 1024 * 1024,
            },
            routes: vec![Arc::default()],
            ask_timeout: Duration::from_secs(5),
            asks_max: 4096,
            asks_bytes_max: 32 * 1024 * 1024,
            tokens: None,
            when_full: WhenFull::Close,
            queue_bytes_max: 64 * 1024 * 1024,
            news_max: 200_000,
            demo: false,
        }
    }
}
