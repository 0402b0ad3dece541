//! What a send of the same program costs in allocations, up to the shards' queues and out of them again.
//! A process of its own, because it counts those of all threads. Nothing is timed.

#[path = "../benches/dist/counting.rs"]
mod counting;
#[path = "../benches/dist/traffic.rs"]
#[expect(dead_code, reason = "the bench needs more of it")]
mod traffic;

use bytes::Bytes;
use counting::{Counting, allocations};
use lariat::metrics::Dropped;
use lariat::wire::{Id, Ids, Message};
use traffic::Edge;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PAYLOAD: &[u8] = &[b'x'; 100];

/// Allocations for each of `messages` sends, beside those for ids and payload.
fn per_message(edge: &Edge, messages: u64, ids: impl Fn(u64) -> Ids) -> f64 {
    let nobody = || edge.metrics.dropped.of(Dropped::NoConnection).value();
    let mut sum = 0;
    for first in (0..messages).step_by(500) {
        let all: Vec<Ids> = (first..first + 500).map(&ids).collect();
        let goal = nobody() + all.iter().map(|ids| ids.len() as u64).sum::<u64>();
        let before = allocations();
        for ids in all {
            let sent = edge
                .bridge
                .send_now(ids, (&Message::new(Bytes::from_static(PAYLOAD))).into());
            assert!(sent.is_ok(), "there is room");
        }
        edge.wait_for(goal);
        sum += allocations() - before;
    }
    sum as f64 / messages as f64
}

#[test]
fn a_send_to_one_id_allocates_a_part_of_a_block() {
    for shards in [1, 2] {
        let edge = Edge::start(shards);
        let one = |n: u64| Ids::One(Id::Int(i64::try_from(n * 7919).expect("it is small")));
        // What a shard keeps grows to its size first.
        per_message(&edge, 5_000, one);
        let cost = per_message(&edge, 20_000, one);
        println!("{cost} allocations a message to one id, {shards} shards");
        assert!(cost <= 0.1, "{cost} with {shards} shards");
        let list = |_| Ids::Ints((0..100).collect());
        let cost = per_message(&edge, 500, list);
        println!("{cost} allocations a message to 100 ids, {shards} shards");
        // The parts, what room they have, a list for each shard.
        assert!(cost <= 8.0, "{cost} with {shards} shards");
    }
}
