//! Frames from memory, through reader, codec and bridge to the shards' queues: what our code alone
//! costs, without kernel and without Erlang.

use std::time::Instant;

use serde_json::{Value, json};

use super::counting::allocations;
use super::cpu;
use super::traffic::{Edge, Shape, Stream};

/// As much as a read brings at full rate on loopback.
const READ_BYTES: usize = 64 * 1024;

/// The rounds; the best counts, because whatever disturbs only makes it slower.
const ROUNDS: usize = 5;

/// Measures every shape, prints a table, and answers the same as JSON.
pub(crate) fn run() -> Value {
    println!(
        "replayed from memory to the shards' queues, best of {ROUNDS} rounds, reads of 64 KiB"
    );
    println!("  shape                     shards  msg/s per core  us/msg  allocations/msg");
    let mut lines = Vec::new();
    for shards in [1, 2] {
        let edge = Edge::start(shards);
        for (shape, messages) in [
            (Shape::ONE, 400_000),
            (Shape::THOUSAND, 4_000),
            (Shape::TEN_THOUSAND, 400),
            (Shape::LARGE, 4_000),
        ] {
            lines.push(measure(&edge, shards, shape, messages));
        }
    }
    Value::Array(lines)
}

fn measure(edge: &Edge, shards: usize, shape: Shape, messages: usize) -> Value {
    let frames: Vec<u8> = (0..100).flat_map(|n| shape.frame(n * 7919)).collect();
    let mut best = f64::INFINITY;
    let mut allocated = f64::INFINITY;
    for _ in 0..ROUNDS {
        let nobody = || {
            let dropped = &edge.metrics.dropped;
            dropped.of(lariat::metrics::Dropped::NoConnection).value()
        };
        let (before, spent) = (allocations(), cpu::of_this_thread());
        let goal = nobody() + (messages * shape.ids.unwrap_or(1)) as u64;
        let started = Instant::now();
        edge.replay(Stream::new(&frames, messages / 100, READ_BYTES));
        let wall = started.elapsed();
        // The scheduler's figure is finer than a tick only in the long run.
        let spent = (cpu::of_this_thread() - spent).min(wall);
        edge.wait_for(goal);
        best = best.min(spent.as_secs_f64() / messages as f64);
        allocated = allocated.min((allocations() - before) as f64 / messages as f64);
    }
    let (rate, us) = (1.0 / best, best * 1e6);
    println!(
        "  {:24}  {shards:6}  {rate:14.0}  {us:6.3}  {allocated:15.3}",
        shape.name
    );
    json!({
        "shape": shape.name, "shards": shards, "messages_per_second_per_core": rate,
        "cpu_us_per_message": us, "allocations_per_message": allocated,
    })
}
