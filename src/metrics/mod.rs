//! Every counter and gauge of the edge, declared once: name, unit, help.
//!
//! Counting is one relaxed atomic addition in a lane that no other shard writes to (`number`); nothing
//! is allocated and nothing is registered at run time, so a metric that is not in the table below
//! does not exist. No HTTP here: `admin` serves
//! the text. Names follow the Prometheus conventions (`_total` for counters, base units).

mod number;

use std::fmt::Write;

pub use number::{Counter, Gauge, count_in_lane, in_lane};

/// The values that one label of a metric can have, known at compile time.
pub trait Label: Copy + 'static {
    /// The label's key.
    const KEY: &'static str;
    /// Its values, in the order of [`Label::index`].
    const VALUES: &'static [&'static str];
    /// The place of this value in [`Label::VALUES`].
    fn index(self) -> usize;
}

/// One `T` for each value of the label `L`.
#[derive(Debug)]
pub struct By<L, T> {
    values: Vec<T>,
    label: std::marker::PhantomData<L>,
}

impl<L: Label, T: Default> Default for By<L, T> {
    fn default() -> Self {
        let values = L::VALUES.iter().map(|_| T::default()).collect();
        By {
            values,
            label: std::marker::PhantomData,
        }
    }
}

impl<L: Label, T> By<L, T> {
    /// The metric for one value of the label.
    pub fn of(&self, label: L) -> &T {
        &self.values[label.index()]
    }
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident $key:literal { $($(#[$vdoc:meta])* $variant:ident = $value:literal,)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum $name { $($(#[$vdoc])* $variant,)+ }

            impl Label for $name {
                const KEY: &'static str = $key;
                const VALUES: &'static [&'static str] = &[$($value,)+];
                fn index(self) -> usize { self as usize }
            }

            impl $name {
                /// Every value, in order.
                pub const ALL: &'static [$name] = &[$($name::$variant,)+];
            }
        )+
    };
}

labels! {
    /// How a held connection is framed.
    Transport "transport" {
        /// One HTTP chunk a message.
        Chunked = "chunked",
        /// Server-sent events.
        Sse = "sse",
        /// WebSocket.
        Websocket = "websocket",
        /// Long polls.
        Poll = "poll",
    }

    /// Why a held connection closed; the same words as `wire::Reason`.
    Closed "reason" {
        /// The client left.
        Client = "client",
        /// The client read too slowly.
        OutboxFull = "outbox_full",
        /// The outboxes of all connections were full, and this was among the fullest.
        OutboxTotal = "outbox_total",
        /// The client sent bytes where none are allowed.
        Protocol = "protocol",
        /// The socket failed.
        Io = "io",
        /// `close_all`.
        Drain = "drain",
        /// The edge is stopping.
        Shutdown = "shutdown",
        /// The client said something that nobody was there to hear.
        Unserved = "unserved",
        /// Erlang asked.
        Asked = "asked",
        /// A bug of ours took their shard's state; the panic is in the log.
        Panic = "panic",
    }

    /// What a WebSocket's client did wrong, by the code that it is told.
    WebsocketFault "code" {
        /// The protocol.
        Protocol = "1002",
        /// Text that is no UTF-8, or compression that is broken.
        Invalid = "1007",
        /// A message in too many frames.
        Policy = "1008",
        /// A message that is too big.
        TooBig = "1009",
    }

    /// Why a message was not delivered.
    Dropped "reason" {
        /// Nobody is connected with that id.
        NoConnection = "no_connection",
        /// The conn pid names a connection that is gone.
        Gone = "gone",
        /// The connection's outbox was full and it was closed.
        OutboxFull = "outbox_full",
        /// The outboxes of all connections together were full, and this one among the fullest.
        OutboxTotal = "outbox_total",
        /// The connection's outbox was full; its policy drops what has waited longest.
        DropOldest = "drop_oldest",
        /// The connection's outbox was full; its policy drops what comes.
        DropNewest = "drop_newest",
        /// A later message took its place; the connection's policy keeps the latest.
        KeepLatest = "keep_latest",
        /// Waiting in the outbox when the connection closed.
        Unsent = "unsent",
        /// The shard's queue was full.
        ShardQueueFull = "shard_queue_full",
        /// Sent to a name, in a shape that is no command.
        UnknownShape = "unknown_shape",
        /// Sent to a pid that names nothing.
        UnknownPid = "unknown_pid",
        /// The term could not be decoded.
        Undecodable = "undecodable",
        /// A client's, when nobody was there to hear it.
        Unserved = "unserved",
        /// Larger than allowed, alone or with the others that were coming in parts.
        TooLarge = "too_large",
    }

    /// Why a request was refused.
    Refused "status" {
        /// Not HTTP, or not a request we understand.
        BadRequest = "400",
        /// No good token, or other credentials.
        Unauthorized = "401",
        /// A token for another id, or a site that is not listed.
        Forbidden = "403",
        /// No route.
        NotFound = "404",
        /// The route has other methods.
        MethodNotAllowed = "405",
        /// The head or the body took too long.
        Timeout = "408",
        /// A body where none is taken, or one that is too large.
        ContentTooLarge = "413",
        /// The id is too long.
        UriTooLong = "414",
        /// The route takes WebSockets alone.
        UpgradeRequired = "426",
        /// The head is too large.
        HeadTooLarge = "431",
        /// A handler's answer is none.
        Internal = "500",
        /// A limit is reached, or nobody decides.
        Unavailable = "503",
        /// A handler took too long.
        GatewayTimeout = "504",
        /// A version of HTTP that is not spoken here.
        VersionNotSupported = "505",
    }

    /// What became of a question to Erlang.
    Asked "outcome" {
        /// The connection is held.
        Accepted = "accepted",
        /// Answered as the handler said.
        Replied = "replied",
        /// Turned away as the handler said.
        Rejected = "rejected",
        /// A batch that the handler has.
        Taken = "taken",
        /// Nobody serves the handler.
        NoHandler = "no_handler",
        /// As many waited as may.
        Full = "full",
        /// No answer in time.
        Late = "late",
        /// The client left meanwhile.
        Left = "client_left",
        /// Whoever was asked is gone.
        Gone = "gone",
        /// The answer was none, or none to this question.
        Bad = "bad_answer",
        /// The edge was stopping.
        Stopping = "stopping",
    }

    /// Why a connection to a listener with PROXY protocol was closed.
    ProxyRefused "reason" {
        /// It does not come from a trusted proxy.
        Untrusted = "untrusted",
        /// It does not begin with a header.
        Malformed = "malformed",
    }

    /// What became of a long poll.
    Poll "outcome" {
        /// Answered with messages.
        Told = "messages",
        /// Answered with the first cursor of a connection.
        Begun = "begun",
        /// Answered with nothing, because nothing came in time.
        Nothing = "nothing",
        /// Its cursor is not known any more.
        Anew = "gone",
        /// A later one took its place.
        Replaced = "replaced",
        /// Its client left before the answer, or did not take it.
        Left = "left",
    }

    /// Why a token was refused.
    TokenRefused "reason" {
        /// There is none.
        Missing = "missing",
        /// There is more than one.
        Several = "several",
        /// It cannot be read, or asks for what is not known here.
        Malformed = "malformed",
        /// No key has its algorithm.
        Algorithm = "algorithm",
        /// No key has its name, or it names none and several might be meant.
        UnknownKey = "unknown_key",
        /// It is not what was signed.
        Signature = "signature",
        /// It does not say when it ends.
        NoExpiry = "no_expiry",
        /// It has ended.
        Expired = "expired",
        /// It has not begun.
        NotYet = "not_yet",
        /// It is for somebody else.
        Audience = "audience",
        /// It is from somebody else.
        Issuer = "issuer",
        /// It says no id.
        NoId = "no_id",
        /// Its id is not that of the path.
        OtherId = "other_id",
    }

    /// How a handshake with an Erlang node ended badly.
    HandshakeFailed "reason" {
        /// The digest does not match: another cookie.
        Cookie = "cookie",
        /// Not the node that was dialled, or a name that is none.
        Name = "name",
        /// The peer lacks a mandatory flag.
        Flags = "flags",
        /// Took too long.
        Timeout = "timeout",
        /// The peer refused us.
        Refused = "refused",
        /// Bytes that are no handshake.
        Malformed = "malformed",
        /// The TLS handshake: no TLS, or a certificate that is not accepted.
        Tls = "tls",
        /// Too many handshakes at once.
        Limit = "limit",
        /// The socket failed.
        Io = "io",
    }

    /// Why a link to an Erlang node ended.
    LinkDown "reason" {
        /// The peer closed it, or its machine reset it.
        Peer = "peer",
        /// Nothing was heard for too long.
        TickTimeout = "tick_timeout",
        /// A frame that is malformed.
        Malformed = "malformed",
        /// A frame above the limit.
        FrameTooLarge = "frame_too_large",
        /// The peer does not read what we send.
        SendQueueFull = "send_queue_full",
        /// The peer dialled again while the old link lingered.
        Replaced = "replaced",
        /// We are stopping.
        Shutdown = "shutdown",
        /// The socket failed.
        Io = "io",
        /// A bug of ours: the panic is in the log.
        Panic = "panic",
    }
}

trait Render {
    const KIND: &'static str;
    fn render(&self, name: &str, out: &mut String);
}

impl Render for Counter {
    const KIND: &'static str = "counter";
    fn render(&self, name: &str, out: &mut String) {
        let _ = writeln!(out, "{name} {}", self.value());
    }
}

impl Render for Gauge {
    const KIND: &'static str = "gauge";
    fn render(&self, name: &str, out: &mut String) {
        let _ = writeln!(out, "{name} {}", self.value());
    }
}

impl<L: Label, T: Render> Render for By<L, T> {
    const KIND: &'static str = T::KIND;
    fn render(&self, name: &str, out: &mut String) {
        for (metric, value) in self.values.iter().zip(L::VALUES) {
            metric.render(&format!("{name}{{{}=\"{value}\"}}", L::KEY), out);
        }
    }
}

macro_rules! metrics {
    ($($field:ident: $kind:ty = $name:literal, $help:literal;)+) => {
        /// All metrics of one edge.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: $kind,)+
        }

        impl Metrics {
            /// The Prometheus text exposition format, version 0.0.4.
            pub fn render(&self) -> String {
                let mut out = String::with_capacity(8 * 1024);
                $(
                    let _ = writeln!(out, "# HELP {} {}", $name, $help);
                    let _ = writeln!(out, "# TYPE {} {}", $name, <$kind as Render>::KIND);
                    self.$field.render($name, &mut out);
                )+
                out
            }

            /// The names of all metrics, in order.
            pub const NAMES: &'static [&'static str] = &[$($name,)+];
        }
    };
}

metrics! {
    connections: By<Transport, Gauge> = "lariat_connections",
        "Held connections.";
    opened: By<Transport, Counter> = "lariat_opened_total",
        "Connections that have been held.";
    closed: By<Closed, Counter> = "lariat_closed_total",
        "Held connections that have closed.";
    draining: Gauge = "lariat_draining_connections",
        "Connections that a drain has still to send away; readiness waits for 0.";
    accepted: Counter = "lariat_accepted_total",
        "Sockets accepted by the HTTP listeners.";
    accept_pauses: Counter = "lariat_accept_pauses_total",
        "Times the listeners paused: out of open files, or too many request heads being read.";
    accept_throttled: Counter = "lariat_accept_throttled_total",
        "Times the listeners waited because of accept_rate_max.";
    address_limit: Counter = "lariat_address_limit_total",
        "Connections refused because their address had as many as it may; also counted in lariat_refused_total.";
    proxy_refused: By<ProxyRefused, Counter> = "lariat_proxy_refused_total",
        "Connections to listeners with PROXY protocol that were closed.";
    tls_failed: Counter = "lariat_tls_handshakes_failed_total",
        "Connections to TLS listeners that did not speak TLS as it is spoken here.";
    requests: Counter = "lariat_requests_total",
        "Ordinary requests answered (not streams; of refusals only those for want of an answer by a handler).";
    exchanges: Gauge = "lariat_requests_in_progress",
        "Ordinary requests being answered; a drain waits for them.";
    batched: Counter = "lariat_batched_posts_total",
        "Bodies of posts that Erlang has taken in batches.";
    refused: By<Refused, Counter> = "lariat_refused_total",
        "Requests refused.";
    asks: By<Asked, Counter> = "lariat_asks_total",
        "Questions to handlers in Erlang, by what became of them.";
    asks_waiting: Gauge = "lariat_asks_waiting",
        "Questions to handlers that wait for their answer.";
    asks_stale: Counter = "lariat_asks_stale_answers_total",
        "Answers of handlers that nobody waited for any more: too late, twice, or of an edge before.";
    polls: By<Poll, Counter> = "lariat_polls_total",
        "Long polls, by what became of them.";
    tokens_accepted: Counter = "lariat_tokens_accepted_total",
        "Tokens of requests that were good.";
    tokens_refused: By<TokenRefused, Counter> = "lariat_tokens_refused_total",
        "Requests refused because of their token or the want of one; also counted in lariat_refused_total.";
    delivered: Counter = "lariat_messages_delivered_total",
        "Messages written to a connection or queued in its outbox, counted per connection.";
    dropped: By<Dropped, Counter> = "lariat_messages_dropped_total",
        "Messages not delivered.";
    overloaded_bytes: Counter = "lariat_overloaded_bytes_total",
        "Bytes of the messages dropped because a shard's queue was full.";
    direct_sends: Counter = "lariat_direct_sends_total",
        "Messages of the same program that their sender has written itself, because the shard slept.";
    reliefs: Counter = "lariat_reliefs_total",
        "Times that a shard's thread took messages over from a sender of the same program that did nothing else.";
    delayed_sends: Counter = "lariat_delayed_sends_total",
        "Messages of the same program, queued after 0.1 ms because a shard was behind.";
    busy_sends: Counter = "lariat_busy_sends_total",
        "Sends of the same program, refused because a shard's queue was full: nothing was dropped.";
    credit_exceeded: Counter = "lariat_credit_exceeded_total",
        "Messages on credit that their credit did not cover: bounded as if they had come without.";
    own_heartbeats_refused: Counter = "lariat_own_heartbeats_refused_total",
        "Connections accepted with a heartbeat of their own that beat as the config says: their shard had as many as it may.";
    sent_bytes: Counter = "lariat_sent_bytes_total",
        "Bytes written to held connections, framing included.";
    client_messages: Counter = "lariat_client_messages_total",
        "Messages that clients of WebSockets have sent.";
    client_message_bytes: Counter = "lariat_client_message_bytes_total",
        "Bytes of these messages, inflated.";
    reading_pauses: Counter = "lariat_reading_pauses_total",
        "Times a client was not read for a while because too much of what clients said was not told yet.";
    unfinished_bytes: Gauge = "lariat_unfinished_message_bytes",
        "Bytes of clients' messages that have not come whole.";
    websocket_faults: By<WebsocketFault, Counter> = "lariat_websocket_faults_total",
        "WebSockets closed because of what their clients sent.";
    outbox_bytes: Gauge = "lariat_outbox_bytes",
        "Bytes waiting in outboxes because sockets are full.";
    congested: Gauge = "lariat_congested_connections",
        "Connections with an outbox.";
    shard_queue_bytes: Gauge = "lariat_shard_queue_bytes",
        "Bytes of commands waiting for a shard.";
    memory_trims: Counter = "lariat_memory_trims_total",
        "Times memory was given back to the system because half of the connections had left.";
    events: Counter = "lariat_events_total",
        "Events told to owners, counted per owner.";
    events_lost: Counter = "lariat_events_lost_total",
        "Events not told because an owner or the event queue lagged; each loss is followed by a snapshot.";
    snapshots: Counter = "lariat_snapshots_total",
        "Snapshots begun.";
    owners: Gauge = "lariat_owners",
        "Attached owners.";
    links: Gauge = "lariat_links",
        "Links to Erlang nodes that are up.";
    links_down: By<LinkDown, Counter> = "lariat_links_down_total",
        "Links to Erlang nodes that ended.";
    handshakes_failed: By<HandshakeFailed, Counter> = "lariat_handshakes_failed_total",
        "Handshakes with Erlang nodes that failed.";
    frames_received: Counter = "lariat_dist_frames_received_total",
        "Frames received from Erlang nodes, ticks included.";
    received_bytes: Counter = "lariat_dist_received_bytes_total",
        "Bytes received from Erlang nodes after the handshake.";
    frames_sent: Counter = "lariat_dist_frames_sent_total",
        "Frames sent to Erlang nodes, ticks included.";
    assembly_bytes: Gauge = "lariat_dist_assembly_bytes",
        "Bytes of messages from Erlang nodes of which parts are still to come.";
    dist_queue_bytes: Gauge = "lariat_dist_send_queue_bytes",
        "Bytes waiting to be written to Erlang nodes.";
    dist_busy: Counter = "lariat_dist_send_queue_busy_total",
        "Event batches refused because a link's send queue was half full.";
    watches: Gauge = "lariat_dist_watches",
        "Monitors of and links to connections that Erlang processes hold.";
    watches_refused: Counter = "lariat_dist_watches_refused_total",
        "Monitors and links answered with system_limit: the link's table of them or the shard's queue was full.";
    unknown_controls: Counter = "lariat_dist_unknown_controls_total",
        "Distribution control messages that were skipped because their operation is unknown.";
    spawns_refused: Counter = "lariat_dist_spawns_refused_total",
        "Spawn requests (rpc, erpc, spawn) refused: the node executes nothing.";
    epmd_registrations: Counter = "lariat_epmd_registrations_total",
        "Successful registrations with EPMD.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_convention() {
        let mut names = Metrics::NAMES.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metrics::NAMES.len());
        assert!(names.iter().all(|name| name.starts_with("lariat_")));
    }

    #[test]
    fn text_has_help_type_and_a_line_per_label_value() {
        let metrics = Metrics::default();
        metrics.dropped.of(Dropped::Gone).add(3);
        let text = metrics.render();
        assert!(text.contains("# TYPE lariat_messages_dropped_total counter\n"));
        assert!(text.contains("lariat_messages_dropped_total{reason=\"gone\"} 3\n"));
        assert!(text.contains("# TYPE lariat_connections gauge\n"));
    }
}
