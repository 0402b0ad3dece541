//! What receiving costs in allocations, from the bytes of a link to the shards' queues and out of
//! them again. A process of its own, because it counts those of all threads. Nothing is timed.

#[path = "../benches/dist/counting.rs"]
mod counting;
#[path = "../benches/dist/traffic.rs"]
mod traffic;

use counting::{Counting, allocations};
use traffic::{Edge, Shape, Stream};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations for each of `messages` messages of this shape, in reads of at most `read_bytes`.
fn per_message(edge: &Edge, shape: Shape, messages: usize, read_bytes: usize) -> f64 {
    let frames: Vec<u8> = (0..10).flat_map(|n| shape.frame(n * 7919)).collect();
    let ids = (messages * shape.ids.unwrap_or(1)) as u64;
    let before = edge
        .metrics
        .dropped
        .of(lariat::metrics::Dropped::NoConnection)
        .value();
    let allocated = allocations();
    edge.replay(Stream::new(&frames, messages / 10, read_bytes));
    edge.wait_for(before + ids);
    (allocations() - allocated) as f64 / messages as f64
}

#[test]
fn a_message_costs_at_most_one_allocation() {
    for shards in [1, 2] {
        let edge = Edge::start(shards);
        // Queues and scratch space grow to their size first.
        per_message(&edge, Shape::ONE, 20_000, 256 * 1024);
        for read_bytes in [2 * 1024, 16 * 1024, 64 * 1024, 256 * 1024] {
            let cost = per_message(&edge, Shape::ONE, 20_000, read_bytes);
            assert!(
                cost <= 1.0,
                "{cost} with {shards} shards, reads of {read_bytes}"
            );
        }
        // Blocks that grow; then the ids as they came, and a list for each shard: nothing for each id.
        for (shape, most) in [
            (Shape::LARGE, 3.0),
            (Shape::THOUSAND, 10.0),
            (Shape::TEN_THOUSAND, 10.0),
        ] {
            let cost = per_message(&edge, shape, 100, 64 * 1024);
            assert!(cost <= most, "{cost} for {}, {shards} shards", shape.name);
        }
    }
}
