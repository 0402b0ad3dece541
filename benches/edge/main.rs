//! What writing to many streams and accepting them costs, beside bare loops of the same system calls:
//! `make bench-edge`.
//!
//! Prints what it measured and judges none of it: machines differ, and are shared. Ours and the bare
//! loop take turns within one run; the clients are a process of their own. Argument: where the JSON
//! lines go.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

mod accept;
mod bare;
mod clients;
#[path = "../dist/counting.rs"]
mod counting;
#[path = "../dist/cpu.rs"]
#[expect(dead_code, reason = "the other bench needs more of it")]
mod cpu;
mod ours;
mod ratio;
#[cfg(target_os = "linux")]
mod ring;
mod write;

use std::io::Write;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

fn main() {
    // cargo adds `--bench`.
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let out = match words.next() {
        None => {
            println!("bench edge: call scripts/bench-edge, which says where the JSON goes");
            return;
        }
        Some(word) if word == "clients" => {
            let to = words.next().expect("clients are told whom to ask");
            return clients::serve(&to);
        }
        Some(path) => path,
    };
    println!("{}", ratio::HEAD);
    let mut lines = write::run();
    lines.extend(accept::run());
    let mut file = std::fs::File::create(&out).expect("the JSON lines can be written");
    for line in lines {
        writeln!(file, "{line}").expect("the JSON lines can be written");
    }
    println!("aimed at: 0.90 for fan-out, 0.85 for unicast and accepting; as JSON lines: {out}");
}
