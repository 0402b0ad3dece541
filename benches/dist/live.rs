//! A real `erl` that sends as fast as it can, to our program, to a C node made with `ei`, to one that
//! only cuts frames out of large reads, and to another `erl`: one after the other, round by round, so
//! that a busy machine disturbs all alike.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::cpu;
use super::erlang::{Epmd, Erl, wait_for};
use super::traffic::Shape;

const COOKIE: &str = "biscuit";
const ROUNDS: usize = 3;

/// Schedulers that wait must not spin, or their CPU would mean nothing.
const NO_SPINNING: [&str; 6] = ["+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"];

struct Receiver {
    name: &'static str,
    pid: u32,
    /// Where to send, and how to know that all has come, as Erlang terms.
    to: &'static str,
    sync: &'static str,
}

/// How many deliveries our program has tried, in Erlang.
const COUNTED: &str =
    "maps:get(messages_dropped, element(2, gen_server:call({lariat, 'lariat@127.0.0.1'}, info))).";

struct Load {
    shape: Shape,
    senders: usize,
    each: usize,
}

impl Load {
    fn deliveries(&self) -> usize {
        self.senders * self.each * self.shape.ids.unwrap_or(1)
    }
}

/// The sums of all rounds.
#[derive(Clone, Copy, Default)]
struct Sum {
    messages: f64,
    wall: Duration,
    receiver: Duration,
    reader: Duration,
    sender: Duration,
}

/// A process that is ended with the bench.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures, prints a table, and answers the same as JSON. `ei_node` is the C node's program.
pub(crate) fn run(ei_node: &Path) -> Value {
    let epmd = Epmd::start();
    let mut sender = Erl::start(epmd.port, "app@127.0.0.1", COOKIE, &NO_SPINNING);
    let flood = compile_flood();
    sender.check(&format!("code:add_patha(\"{flood}\")"), "true");
    let mut sink = Erl::start(epmd.port, "sink@127.0.0.1", COOKIE, &NO_SPINNING);
    sink.check(
        &format!("code:add_patha(\"{flood}\"), lariat_flood:start_sink()"),
        "true",
    );
    let lariat = start_program(
        Command::new(env!("CARGO_BIN_EXE_lariat"))
            .args(["node", "--name", "lariat@127.0.0.1", "--log", "warn"])
            .args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env("LARIAT_COOKIE", COOKIE),
        &epmd,
    );
    let ei = start_program(Command::new(ei_node).args(["ei", COOKIE]), &epmd);
    let bare = start_program(Command::new(ei_node).args(["bare", COOKIE, "bare"]), &epmd);
    for node in ["lariat", "ei", "bare", "sink"] {
        let connect = format!("net_kernel:connect_node('{node}@127.0.0.1').");
        wait_for(node, || sender.eval(&connect) == "true");
    }
    let os_pid = |erl: &mut Erl| {
        let pid = erl.eval("list_to_integer(os:getpid()).");
        pid.parse().expect("a process id")
    };
    let receivers = [
        receiver("lariat", lariat.0.id(), "{x, 'lariat@127.0.0.1'}", "call"),
        receiver("ei", ei.0.id(), "{x, 'ei@127.0.0.1'}", "sync"),
        receiver("bare", bare.0.id(), "{x, 'bare@127.0.0.1'}", "sync"),
        receiver(
            "erlang",
            os_pid(&mut sink),
            "{sink, 'sink@127.0.0.1'}",
            "sync",
        ),
    ];
    let sender_pid = os_pid(&mut sender);
    println!("\nlive from erl, sums of {ROUNDS} interleaved rounds; CPU in us per message");
    println!(
        "  load                    senders  receiver     msg/s  its CPU  (reader)  ei's is x  reader busy  erl busy"
    );
    let mut lines = Vec::new();
    let mut delivered = 0;
    for load in loads() {
        let mut sums = [Sum::default(); 4];
        for _ in 0..ROUNDS {
            for (receiver, sum) in receivers.iter().zip(&mut sums) {
                round(&mut sender, sender_pid, receiver, &load, sum);
            }
            // Nobody is connected, so the edge counts each id of each message as dropped.
            delivered += load.deliveries();
            wait_for("all that was sent to be counted", || {
                sender.eval(COUNTED) == delivered.to_string()
            });
        }
        for (receiver, sum) in receivers.iter().zip(&sums) {
            lines.push(line(&load, receiver, sum, &sums[1]));
        }
    }
    Value::Array(lines)
}

fn loads() -> Vec<Load> {
    let load = |shape, senders, each| Load {
        shape,
        senders,
        each,
    };
    vec![
        load(Shape::ONE, 1, 200_000),
        load(Shape::ONE, 4, 50_000),
        load(Shape::THOUSAND, 1, 2_000),
        load(Shape::TEN_THOUSAND, 1, 200),
        load(Shape::LARGE, 1, 2_000),
    ]
}

fn round(erl: &mut Erl, erl_pid: u32, receiver: &Receiver, load: &Load, sum: &mut Sum) {
    let before = cpu::of_process(receiver.pid, "dist-read");
    let sender_before = cpu::of_process(erl_pid, "").0;
    let ids = match load.shape.ids {
        None => "one".to_owned(),
        Some(count) => format!("{{list, {count}}}"),
    };
    let wall = erl.eval(&format!(
        "lariat_flood:flood({}, {}, {ids}, {{{}, {}}}, {}).",
        receiver.to, receiver.sync, load.senders, load.each, load.shape.payload_bytes
    ));
    let wall = wall
        .parse()
        .unwrap_or_else(|_| panic!("the flood ended with {wall}"));
    let after = cpu::of_process(receiver.pid, "dist-read");
    sum.messages += (load.senders * load.each) as f64;
    sum.wall += Duration::from_micros(wall);
    sum.receiver += after.0 - before.0;
    sum.reader += after.1 - before.1;
    sum.sender += cpu::of_process(erl_pid, "").0 - sender_before;
}

fn line(load: &Load, receiver: &Receiver, sum: &Sum, ei: &Sum) -> Value {
    let us = |spent: Duration, messages: f64| spent.as_secs_f64() * 1e6 / messages;
    let busy = |spent: Duration| spent.as_secs_f64() / sum.wall.as_secs_f64();
    let rate = sum.messages / sum.wall.as_secs_f64();
    let cpu = us(sum.receiver, sum.messages);
    let is_ours = receiver.name == "lariat";
    let reader = is_ours.then(|| us(sum.reader, sum.messages));
    let ei_cpu = us(ei.receiver, ei.messages);
    // Up to the shards' queues it is the reader alone; what it is compared with does not go further.
    let ratio = ei_cpu / reader.unwrap_or(cpu);
    let text = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    println!(
        "  {:22}  {:7}  {:8}  {rate:8.0}  {cpu:7.2}  {:>8}  {ratio:9.2}  {:>11}  {:8.2}",
        load.shape.name,
        load.senders,
        receiver.name,
        text(reader),
        text(is_ours.then(|| busy(sum.reader))),
        busy(sum.sender),
    );
    json!({
        "shape": load.shape.name, "senders": load.senders, "receiver": receiver.name,
        "messages_per_second": rate, "cpu_us_per_message": cpu,
        "reader_cpu_us_per_message": reader, "ei_cpu_is_times": ratio,
        "ei_cpu_is_times_all_threads": ei_cpu / cpu,
        "reader_busy": is_ours.then(|| busy(sum.reader)), "sender_busy_cores": busy(sum.sender),
        "sender_cpu_us_per_message": us(sum.sender, sum.messages),
    })
}

fn receiver(name: &'static str, pid: u32, to: &'static str, sync: &'static str) -> Receiver {
    Receiver {
        name,
        pid,
        to,
        sync,
    }
}

fn start_program(command: &mut Command, epmd: &Epmd) -> Ended {
    let child = command
        .env("ERL_EPMD_PORT", epmd.port.to_string())
        .stdin(Stdio::null())
        .spawn();
    Ended(child.expect("the program starts"))
}

/// The folder with the compiled `lariat_flood`.
fn compile_flood() -> &'static str {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/lariat_flood.erl");
    let compiled = Command::new("erlc").args(["-o", folder, source]).status();
    assert!(compiled.expect("erlc is installed").success());
    folder
}
