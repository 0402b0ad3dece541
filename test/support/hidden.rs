//! A hidden node of the test's own, whose edge only remembers what it was told.
//!
//! No HTTP and no shards: what commands do is tested elsewhere.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use lariat::dist::{self, Config, Cookie, Inbound, Node, NodeName, ReplyTo};
use lariat::metrics::Metrics;
use lariat::wire::{Command, Owner, Reply};

use super::erlang::{DEADLINE, Epmd};

pub(crate) const US: &str = "lariat@127.0.0.1";
pub(crate) const COOKIE: &str = "biscuit";

/// Answers everything at once and hands it on.
struct Recorder(Mutex<SyncSender<Command>>);

impl Inbound for Recorder {
    fn command(&self, command: Command, reply_to: Option<ReplyTo>) {
        let reply = match &command {
            Command::Attach { .. } => Reply::Attached {
                epoch: 5,
                credit: 1000,
            },
            Command::Send { message, .. } => Reply::Sent {
                connections: 1,
                queued_bytes: message.payload.len() as u64,
            },
            _ => Reply::Ok,
        };
        let _ = self.0.lock().expect("no test panics in here").send(command);
        if let Some(reply_to) = reply_to {
            reply_to.send(reply);
        }
    }

    fn owner_gone(&self, _: Owner) {}
}

/// A node with its recorder.
pub(crate) struct Hidden {
    pub(crate) node: Node,
    pub(crate) metrics: Arc<Metrics>,
    commands: Receiver<Command>,
}

impl Hidden {
    pub(crate) async fn start(epmd: &Epmd, change: impl FnOnce(&mut Config)) -> Hidden {
        let name: NodeName = US.parse().expect("it is a node name");
        let mut config = Config::new(name, Cookie::new(COOKIE).expect("it is a cookie"));
        config.epmd = Some(epmd.port);
        change(&mut config);
        let (sender, commands) = sync_channel(10_000);
        let inbound = Arc::new(Recorder(Mutex::new(sender)));
        let metrics = Arc::new(Metrics::default());
        let node = dist::start(config, inbound, Arc::clone(&metrics))
            .await
            .expect("the node starts");
        Hidden {
            node,
            metrics,
            commands,
        }
    }

    pub(crate) fn is_linked_to(&self, name: &str) -> bool {
        self.node.links() == [name.parse().expect("it is a node name")]
    }

    pub(crate) fn command(&self) -> Command {
        self.commands
            .recv_timeout(DEADLINE)
            .expect("something was sent")
    }

    /// The payload of the next message.
    pub(crate) fn delivered(&self) -> Vec<u8> {
        match self.command() {
            Command::Send { message, .. } => message.payload.to_vec(),
            other => panic!("{other:?} is no delivery"),
        }
    }

    pub(crate) fn attached(&self) -> Owner {
        match self.command() {
            Command::Attach { owner } => owner,
            other => panic!("{other:?} is no attach"),
        }
    }
}
