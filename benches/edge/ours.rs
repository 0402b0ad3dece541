//! The edge that is measured: one shard, no heartbeats, nobody who is told what happens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use lariat::edge::{self, Address, Answer, Edge};
use lariat::metrics::{Metrics, Transport};
use lariat::wire::{Id, Ids, Message};

pub(crate) struct Ours {
    edge: Edge,
    metrics: Arc<Metrics>,
    runtime: tokio::runtime::Runtime,
}

impl Ours {
    pub(crate) fn start() -> Ours {
        // As main has it on a machine of one core, which is what scripts/bench-edge leaves us.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let config = edge::Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
            shards: 1,
            heartbeat: None,
            ..edge::Config::default()
        };
        let metrics = Arc::new(Metrics::default());
        let edge = runtime.block_on(async { edge::start(config, Arc::clone(&metrics)) });
        Ours {
            edge: edge.expect("the edge starts"),
            metrics,
            runtime,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self.edge.addresses()[0] {
            Address::Tcp(address) => address,
            Address::Unix(_) => unreachable!("it listens where it was told to"),
        }
    }

    pub(crate) fn held(&self) -> u64 {
        self.metrics.connections.of(Transport::Chunked).value()
    }

    /// Keeps the runtime's one worker, and with it the listener, from working until dropped.
    pub(crate) fn pause(&self) -> SyncSender<()> {
        let (resume, resumed) = sync_channel(0);
        let (tell, told) = sync_channel(1);
        self.runtime.spawn(async move {
            tell.send(()).expect("the bench waits");
            let _ = resumed.recv();
        });
        told.recv().expect("the runtime runs");
        resume
    }

    /// One message to all these ids; waits until it is written.
    pub(crate) fn fan_out(&self, ids: &Ids, message: &Message) {
        let (tell, told) = sync_channel(1);
        let answer = Some(answer(tell));
        let sent = self
            .edge
            .send(0, ids.clone(), message.clone(), None, answer);
        sent.expect("the queue has room");
        told.recv().expect("the shard answers");
    }

    /// A message to each of these ids, handed over as links do: what one read of 64 KiB brings at a
    /// time. Waits until all are written.
    pub(crate) fn unicast(&self, ids: &[Id], message: &Message) {
        let mut batch = self.edge.batch();
        for ids in ids.chunks(500) {
            for id in ids {
                batch.send(0, Ids::One(id.clone()), message.clone(), None);
            }
            self.edge
                .hand_over(&mut batch, |_, _| panic!("the queue has room"));
        }
        self.fan_out(&Ids::One(ids[0].clone()), message);
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.edge.stop();
    }
}

fn answer(tell: SyncSender<()>) -> Answer {
    Box::new(move |_| tell.send(()).expect("the bench waits"))
}
