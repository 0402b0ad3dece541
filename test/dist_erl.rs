//! The hidden node against real Erlang: every promise of `dist`, seen from the Erlang side.
//!
//! Needs `erl` and `epmd` on the path; each test has its own EPMD and ends what it started. The
//! edge behind the node is a recorder: what commands do is tested elsewhere.

#[path = "dist_erl/calls.rs"]
mod calls;
#[path = "support/erlang.rs"]
mod erlang;
#[path = "dist_erl/links.rs"]
mod links;
#[path = "dist_erl/processes.rs"]
mod processes;
#[path = "support/scripted_peer.rs"]
mod scripted_peer;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use erlang::{DEADLINE, Epmd, Erl, free_port, wait_for};
use lariat::dist::{self, Config, Cookie, Inbound, Node, NodeName, ReplyTo};
use lariat::metrics::{Dropped, HandshakeFailed, LinkDown, Metrics};
use lariat::wire::{
    Command, Conn, Event, Gone, Id, Ids, InfoValue, OpenedInfo, Owner, Reason, Reply, Signal,
    Transport, Watcher,
};
use scripted_peer::ScriptedPeer;

const US: &str = "lariat@127.0.0.1";
const APP: &str = "app@127.0.0.1";
const COOKIE: &str = "biscuit";

#[derive(Debug)]
enum Seen {
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

/// The rate of `close_all` that stands for a bug behind the node.
const BUG: u32 = 4_000_000_000;

impl Inbound for Recorder {
    fn command(&self, command: Command, reply_to: Option<ReplyTo>) {
        assert!(
            !matches!(command, Command::CloseAll { per_second: BUG }),
            "a bug, as the test wants it"
        );
        let reply = match &command {
            Command::Send { ids, .. } => Reply::Sent {
                connections: ids.len() as u64,
                queued_bytes: 0,
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
            Command::Detach { .. }
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

const CONN: Conn = Conn {
    shard: 1,
    slot: 0xffff_fff0,
    generation: 0xff_fff0,
};

fn name(text: &str) -> NodeName {
    text.parse().expect("it is a node name")
}

fn config() -> Config {
    Config::new(name(US), Cookie::new(COOKIE).expect("it is a cookie"))
}

/// A node with its recorder.
struct Edge {
    node: Node,
    metrics: Arc<Metrics>,
    seen: Receiver<Seen>,
}

impl Edge {
    async fn start(epmd: &Epmd) -> Edge {
        Edge::with(epmd, |_| ()).await
    }

    async fn with(epmd: &Epmd, change: impl FnOnce(&mut Config)) -> Edge {
        let mut config = config();
        config.epmd = Some(epmd.port);
        change(&mut config);
        let (sender, seen) = sync_channel(10_000);
        let inbound = Arc::new(Recorder(Mutex::new(sender)));
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

    fn next(&self) -> Seen {
        self.seen
            .recv_timeout(DEADLINE)
            .expect("something was sent")
    }

    fn command(&self) -> Command {
        match self.next() {
            Seen::Command(command) => command,
            other => panic!("{other:?} is no command"),
        }
    }

    fn delivered(&self) -> (Ids, Vec<u8>) {
        match self.command() {
            Command::Send { ids, message, .. } => (ids, message.payload.to_vec()),
            other => panic!("{other:?} is no delivery"),
        }
    }

    /// Whose credit a delivery is on.
    fn credit(&self) -> Option<Owner> {
        match self.command() {
            Command::Send { credit, .. } => credit,
            other => panic!("{other:?} is no delivery"),
        }
    }

    fn attached(&self) -> Owner {
        match self.command() {
            Command::Attach { owner } => owner,
            other => panic!("{other:?} is no attach"),
        }
    }

    fn is_linked(&self) -> bool {
        self.node.links() == [name(APP)]
    }
}

/// A node called [`APP`], with `N` bound to our name and `L` to our server.
fn app(epmd: &Epmd) -> Erl {
    app_with(epmd, &[])
}

fn app_with(epmd: &Epmd, arguments: &[&str]) -> Erl {
    let mut app = Erl::start(epmd.port, APP, COOKIE, arguments);
    app.eval("N = 'lariat@127.0.0.1', L = {lariat, N}.");
    app
}
