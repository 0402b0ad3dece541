//! Ours and the bare loop in turns, and the ratio of the two: times, and CPU time where other work on
//! the machine is not to count.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::counting::allocations;
use crate::cpu;

/// Odd: the median is one of them.
const ROUNDS: usize = 9;

pub(crate) const HEAD: &str = "1 is as fast as the bare loop, below 1 is slower: min, median and max of 9 pairs of rounds
(indented: other bare loops in the place of ours)
                                bare/ours in                          us of CPU       us             allocations
  what                          wall            CPU             ours   bare    ours   bare    of ours";

/// What one side of a round took.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    wall: Duration,
    cpu: Duration,
    allocations: u64,
}

/// Measures this much of a round.
pub(crate) fn took(work: impl FnOnce()) -> Took {
    let pid = std::process::id();
    let (cpu, _) = cpu::of_process(pid, "");
    let (allocated, at) = (allocations(), Instant::now());
    work();
    let wall = at.elapsed();
    let allocations = allocations() - allocated;
    Took {
        wall,
        cpu: cpu::of_process(pid, "").0 - cpu,
        allocations,
    }
}

/// Runs both in turns, `count` things each time; prints a line of the table and answers one of JSON.
/// `between` is not measured.
pub(crate) fn compare<S>(
    what: &str,
    count: usize,
    state: &mut S,
    ours: impl Fn(&mut S, usize) -> Took,
    bare: impl Fn(&mut S, usize) -> Took,
    between: impl Fn(&mut S),
) -> Value {
    let mut pairs = Vec::new();
    for round in 0..=ROUNDS {
        let one = ours(state, round);
        between(state);
        let other = bare(state, round);
        between(state);
        // The first pair warms up.
        if round > 0 {
            pairs.push((one, other));
        }
    }
    let all = |of: &dyn Fn(&(Took, Took)) -> f64| sorted(pairs.iter().map(of).collect());
    let each = |took: Duration| took.as_secs_f64() * 1e6 / count as f64;
    let wall = all(&|(ours, bare)| each(bare.wall) / each(ours.wall));
    let cpu = all(&|(ours, bare)| each(bare.cpu) / each(ours.cpu));
    let [ours_wall, bare_wall] = [
        all(&|pair| each(pair.0.wall)),
        all(&|pair| each(pair.1.wall)),
    ];
    let [ours_cpu, bare_cpu] = [all(&|pair| each(pair.0.cpu)), all(&|pair| each(pair.1.cpu))];
    let [allocations, ..] = all(&|(ours, _)| ours.allocations as f64 / count as f64);
    let text = |[min, median, max]: [f64; 3]| format!("{min:.2} {median:.2} {max:.2}");
    println!(
        "  {what:28}  {:14}  {:14}  {:5.2}  {:5.2}  {:6.2} {:6.2}  {allocations:8.4}",
        text(wall),
        text(cpu),
        ours_cpu[1],
        bare_cpu[1],
        ours_wall[1],
        bare_wall[1],
    );
    json!({
        "what": what, "count": count, "bare_by_ours": { "wall": wall, "cpu": cpu },
        "us": { "ours_wall": ours_wall, "bare_wall": bare_wall, "ours_cpu": ours_cpu, "bare_cpu": bare_cpu },
        "allocations": allocations,
    })
}

fn sorted(mut all: Vec<f64>) -> [f64; 3] {
    all.sort_by(f64::total_cmp);
    [all[0], all[all.len() / 2], all[all.len() - 1]]
}
