//! Sending now: all shards or none, and who asks is told.
//!
//! A real edge and bridge, and nobody connected: what has been carried out is counted as for nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use lariat::bridge::{self, Busy, Now, Uplink};
use lariat::edge::{self, Answer, Edge};
use lariat::metrics::{Dropped, Metrics};
use lariat::wire::{Conn, Event, Gone, Id, Ids, Message, Owner, Watcher};

/// Only ends a test that failed.
const DEADLINE: Duration = Duration::from_secs(60);

struct Nobody;

impl Uplink for Nobody {
    fn tell(&self, _: Owner, _: u64, _: &[Event]) -> Result<(), Busy> {
        Ok(())
    }

    fn gone(&self, _: Watcher, _: Conn, _: Gone) {}
}

/// Returns when `shard` has carried out all that was sent before.
fn reach(edge: &Edge, shard: usize) {
    let (tell, told) = sync_channel(1);
    let answer: Answer = Box::new(move |_| tell.send(()).expect("it is waited for"));
    edge.close_all(shard, 0, Some(answer));
    told.recv_timeout(DEADLINE).expect("the shard runs");
}

#[tokio::test]
async fn all_shards_take_a_message_or_none_does() {
    let metrics = Arc::<Metrics>::default();
    let config = edge::Config {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
        shards: 2,
        queue_bytes_max: 32 * 10_000,
        ..edge::Config::default()
    };
    let edge = edge::start(config, Arc::clone(&metrics)).expect("the edge starts");
    let bridge = bridge::start(
        bridge::Config::default(),
        edge.clone(),
        Arc::new(Nobody),
        Arc::clone(&metrics),
    );
    let bridge = bridge.expect("the bridge starts");
    let on = |shard| (0..).map(Id::Int).find(|id| edge.shard_of(id) == shard);
    let ids = [0, 1].map(|shard| on(shard).expect("both have ids"));
    let both = || Ids::list(ids.to_vec());
    let nobody = || metrics.dropped.of(Dropped::NoConnection).value();

    // The first shard stands still until it is let go.
    let (let_go, held) = sync_channel::<()>(1);
    let (tell, told) = sync_channel(1);
    let stand: Answer = Box::new(move |_| {
        let _ = tell.send(());
        let _ = held.recv_timeout(DEADLINE);
    });
    edge.close_all(0, 0, Some(stand));
    told.recv_timeout(DEADLINE).expect("the shard runs");
    let message = || Message::new(vec![b'x'; 3000]);
    let mut taken = 0;
    while bridge
        .send_now(Ids::One(ids[0].clone()), (&message()).into())
        .is_ok()
    {
        taken += 1;
        assert!(taken < 10, "the queue has a bound");
    }
    assert!(taken > 0);
    assert_eq!(bridge.send_now(both(), (&message()).into()), Err(Busy));
    assert_eq!(metrics.busy_sends.value(), 2);
    let one = Ids::One(ids[1].clone());
    assert!(
        bridge.send_now(one, (&message()).into()).is_ok(),
        "the other has room"
    );
    reach(&edge, 1);
    assert_eq!(nobody(), 1, "what was refused went nowhere");

    let_go.send(()).expect("it waits");
    reach(&edge, 0);
    assert_eq!(
        (nobody(), metrics.shard_queue_bytes.value()),
        (1 + taken, 0)
    );
    assert_eq!(
        bridge.send_now(both(), (&message()).into()),
        Ok(Now::Queued)
    );
    (0..2).for_each(|shard| reach(&edge, shard));
    assert_eq!(nobody(), 3 + taken);
    assert_eq!(metrics.dropped.of(Dropped::ShardQueueFull).value(), 0);
    bridge.stop();
    assert_eq!(
        bridge.send_now(both(), (&message()).into()),
        Err(Busy),
        "it has stopped"
    );
}
