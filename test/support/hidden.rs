//! A hidden node of the test's own, whose edge only remembers what it was told, and Erlang nodes for it.
//!
//! No HTTP and no shards: what commands do is tested elsewhere.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use lariat::dist::{self, Config, Cookie, Inbound, Node, NodeName, ReplyTo};
use lariat::metrics::Metrics;
use lariat::wire::{Command, Conn, Ids, InfoValue, Owner, Reply};

use super::erlang::{DEADLINE, Epmd, Erl};

pub(crate) const US: &str = "lariat@127.0.0.1";
pub(crate) const APP: &str = "app@127.0.0.1";
pub(crate) const COOKIE: &str = "biscuit";

/// What a socket of Erlang's holds unread, whatever the system would let it grow to.
pub(crate) const SMALL_SOCKETS: [&str; 3] =
    ["-kernel", "inet_dist_connect_options", "[{recbuf,65536}]"];

/// The connection of every id.
pub(crate) const CONN: Conn = Conn {
    shard: 1,
    slot: 0xffff_fff0,
    generation: 0xff_fff0,
};

/// The rate of `close_all` that stands for a bug behind the node.
pub(crate) const BUG: u32 = 4_000_000_000;

#[derive(Debug)]
pub(crate) enum Seen {
    Command(Command),
    Gone(Owner),
}

/// Answers everything at once and remembers it.
struct Recorder(Mutex<SyncSender<Seen>>);

impl Recorder {
    fn record(&self, seen: Seen) {
        let _ = self.0.lock().expect("no test panics in here").send(seen);
    }
}

impl Inbound for Recorder {
    fn command(&self, command: Command, reply_to: Option<ReplyTo>) {
        assert!(
            !matches!(command, Command::CloseAll { per_second: BUG }),
            "a bug, as the test wants it"
        );
        let reply = match &command {
            Command::Send { ids, message, .. } => Reply::Sent {
                connections: ids.len() as u64,
                queued_bytes: message.payload.len() as u64,
            },
            Command::Close { .. } | Command::CloseAll { .. } => Reply::Closed { connections: 1 },
            Command::Connections { .. } => Reply::Connections(vec![CONN]),
            Command::Info => Reply::Info(vec![
                ("connections", InfoValue::Int(3)),
                ("version", InfoValue::Text("1".to_owned())),
            ]),
            Command::Attach { .. } => Reply::Attached {
                epoch: 5,
                credit: 1000,
            },
            Command::Answers(_)
            | Command::Detach { .. }
            | Command::Signal { .. }
            | Command::Watch { .. }
            | Command::Unwatch { .. }
            | Command::Forget { .. } => Reply::Ok,
        };
        self.record(Seen::Command(command));
        if let Some(reply_to) = reply_to {
            reply_to.send(reply);
        }
    }

    fn owner_gone(&self, owner: Owner) {
        self.record(Seen::Gone(owner));
    }
}

/// What remembers, and where it can be looked at.
pub(crate) fn recorder() -> (Arc<dyn Inbound>, Receiver<Seen>) {
    let (sender, seen) = sync_channel(10_000);
    (Arc::new(Recorder(Mutex::new(sender))), seen)
}

pub(crate) fn name(text: &str) -> NodeName {
    text.parse().expect("it is a node name")
}

pub(crate) fn config() -> Config {
    let mut config = Config::new(name(US), Cookie::new(COOKIE).expect("it is a cookie"));
    // As Erlang has it here: on a busy machine a turn may be long in coming.
    config.handshake_timeout = DEADLINE;
    config
}

/// A node with its recorder.
pub(crate) struct Edge {
    pub(crate) node: Node,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) seen: Receiver<Seen>,
}

impl Edge {
    pub(crate) async fn start(epmd: &Epmd) -> Edge {
        Edge::with(epmd, |_| ()).await
    }

    pub(crate) async fn with(epmd: &Epmd, change: impl FnOnce(&mut Config)) -> Edge {
        let mut config = config();
        config.epmd = Some(epmd.port);
        change(&mut config);
        epmd.forgets("lariat");
        let (inbound, seen) = recorder();
        let metrics = Arc::new(Metrics::default());
        let node = dist::start(config, inbound, Arc::clone(&metrics))
            .await
            .expect("the node starts");
        Edge {
            node,
            metrics,
            seen,
        }
    }

    pub(crate) fn next(&self) -> Seen {
        self.seen
            .recv_timeout(DEADLINE)
            .expect("something was sent")
    }

    pub(crate) fn command(&self) -> Command {
        match self.next() {
            Seen::Command(command) => command,
            other => panic!("{other:?} is no command"),
        }
    }

    pub(crate) fn delivered(&self) -> (Ids, Vec<u8>) {
        match self.command() {
            Command::Send { ids, message, .. } => (ids, message.payload.to_vec()),
            other => panic!("{other:?} is no delivery"),
        }
    }

    /// The payload of the next delivery.
    pub(crate) fn payload(&self) -> Vec<u8> {
        self.delivered().1
    }

    /// Whose credit a delivery is on.
    pub(crate) fn credit(&self) -> Option<Owner> {
        match self.command() {
            Command::Send { credit, .. } => credit,
            other => panic!("{other:?} is no delivery"),
        }
    }

    pub(crate) fn attached(&self) -> Owner {
        match self.command() {
            Command::Attach { owner, .. } => owner,
            other => panic!("{other:?} is no attach"),
        }
    }

    /// To [`APP`], and to nobody else.
    pub(crate) fn is_linked(&self) -> bool {
        self.node.links() == [name(APP)]
    }
}

/// A node called [`APP`], with `N` bound to our name and `L` to our server.
pub(crate) fn app(epmd: &Epmd) -> Erl {
    app_with(epmd, &[])
}

pub(crate) fn app_with(epmd: &Epmd, arguments: &[&str]) -> Erl {
    let mut app = Erl::start(epmd.port, APP, COOKIE, arguments);
    app.eval(&format!("N = '{US}', L = {{lariat, N}}."));
    app
}
