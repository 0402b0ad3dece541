//! What receiving over Erlang distribution costs: `make bench-dist`.
//!
//! Prints what it measured and judges none of it: machines differ, and are shared. The numbers that
//! are aimed at are printed beside. Arguments: the program of the C node, and where the JSON goes.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

mod counting;
mod cpu;
#[path = "../../test/support/erlang.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod erlang;
mod live;
mod replay;
mod traffic;

use std::path::PathBuf;

use serde_json::json;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

fn main() {
    // cargo adds `--bench`.
    let mut paths = std::env::args().skip(1).filter(|word| word != "--bench");
    let (Some(ei_node), Some(out)) = (paths.next(), paths.next()) else {
        println!("bench dist: call scripts/bench-dist, which builds the C node first");
        return;
    };
    let replayed = replay::run();
    println!("  aimed at: 2,000,000 msg/s per core and 1 allocation for {{Int, 100 B}};");
    println!("            1,000 us for 10,000 ids");
    let live = live::run(&PathBuf::from(ei_node));
    println!(
        "  aimed at: ei's CPU is 4 times the reader's at least, and erl busier than the reader"
    );
    let measured = json!({ "replayed": replayed, "live": live });
    std::fs::write(&out, format!("{measured:#}\n")).expect("the JSON can be written");
    println!("as JSON: {out}");
}
