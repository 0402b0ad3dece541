//! The command line: which tool, and the page that teaches each.
//!
//! The options themselves live with the room that obeys them.

use clap::{Parser, Subcommand};

use crate::{dataset, limit, load, post};

/// Outside clients of Lariat: a load generator, a dataset generator, and what the machine can do.
#[derive(Debug, Parser)]
#[command(name = "lariat-tools", version, about)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a friends graph (Barabasi-Albert) as `subscriber subscribee` lines
    #[command(after_help = DATASET_HELP)]
    Dataset(dataset::Options),
    /// Hold streams against a node, count and time what arrives
    #[command(after_help = LOAD_HELP)]
    Load(Box<load::Options>),
    /// Measure what this machine can do at most: bare write(2) to many connections
    #[command(after_help = LIMIT_HELP)]
    Limit(limit::Options),
    /// Post as fast as it is answered, and tell how fast that was
    #[command(after_help = POST_HELP)]
    Post(post::Options),
}

const DATASET_HELP: &str = "\
The first M+1 users are all friends of each other (one line a pair); every later user subscribes \
to exactly M earlier ones, the popular ones more likely. That makes

    lines = N*M - M*(M+1)/2

and the same N, M and seed give the same bytes.

Examples:
  A million users, 15 friends each (14,999,880 lines, about 200 MB):
    lariat-tools dataset --users 1000000 --edges 15 --seed 1 --output friends.txt
  A look at a small one:
    lariat-tools dataset --users 1000 --edges 3 | head";

const LOAD_HELP: &str = "\
What counts as one message: a chunk (--transport chunked), or an event with data (--transport \
sse). A chunk that is one newline and an SSE comment are heartbeats. A payload may carry stamps

    m:<20 digits, CLOCK_REALTIME in ns>#<id>;

from which latency is taken, and whether the message reached the id it was meant for.

Standard output has one JSON object a line: {\"event\":\"connected\",...} when every connection is \
open or has failed, {\"event\":\"expected\",...} when --expect was reached and stayed, \
{\"event\":\"storm\",...} when all that the storm cut are back, and last \
{\"event\":\"report\",...}. Progress goes to standard error, once a second.

Slow readers have a part of the report of their own (\"slow\"); all other counts and latencies, \
and --expect, are about the rest. Who leaves by --churn closes; who is cut by --drop-every or \
--storm-at resets. They come back with the same id, and again a second later when they cannot, or \
after the server's Retry-After. What is sent to them meanwhile does not arrive: no node keeps it. A \
stream that the server ends is over, unless --come-back is given.

With --processes each has its part of the connections, ids, rates and slow readers, and on \
127.0.0.1 a source address of its own (127.0.0.1, 127.0.0.2, ...). Latencies are merged bucket by \
bucket, so the quantiles are those of all messages.

The run ends at the first of: --duration over; --expect reached and quiet, or --timeout over \
(unless --duration or --until-stdin-closes hold it longer); standard input closed, when asked; \
every stream closed; SIGTERM or SIGINT. The report is printed in each case.

Exit status: 0 as expected; 1 not: the number of messages differs from --expect, a message \
reached the wrong id, an answer broke its format, or somebody is not back from the storm; 64 usage; \
74 input or output failed.

Examples:
  Hold 10,000 streams until interrupted:
    lariat-tools load --url http://127.0.0.1:8000/stream/{id} --connections 10000 --ids 1-10000
  Succeed when exactly 500 messages arrive over 100 SSE streams:
    lariat-tools load --url http://127.0.0.1:8000/stream/{id} --connections 100 \\
        --transport sse --expect 500 --timeout 20s --per-id deliveries.txt
  Open 2,000 a second, hold for a minute:
    lariat-tools load --url http://127.0.0.1:8000/stream/{id} --connections 18000 \\
        --rate 2000 --duration 1m
  100,000 from six processes; after ten seconds all are cut and return; with a picture:
    lariat-tools load --url http://127.0.0.1:8000/stream/{id} --connections 100000 \\
        --processes 6 --storm-at 10s --duration 1m --watch-pid $(pidof lariat) --plot storm.svg
  A day in the field: 50 of 5,000 read 200 bytes a second, 20 a second come and go, and each is \
out of reach for 5 s once in 10 minutes:
    lariat-tools load --url http://127.0.0.1:8000/stream/{id} --connections 5000 --slow 50 \\
        --slow-rate 200 --churn 20 --drop-every 10m --drop-for 5s --duration 1h --json day.json";

const LIMIT_HELP: &str = "\
It holds N connections of a client of its own (a process like `load`) and writes: (a) accepts and \
answers them, (b) one write of the same message to each, round after round, (c) messages to random \
ones as fast as they are taken, (d) the same at a share of that rate, for the latency. Nothing is \
between the loop and the kernel, so no server on this machine is faster with one thread and one \
write for each message. The client checks that everything arrived.

What is measured goes to standard error as it comes; standard output has one JSON object. Where both \
sides share a core they are measured together: give each its own, as below.

Exit status: 0 everything arrived; 1 not; 64 usage; 74 input or output failed.

Examples:
  Ten thousand connections, five seconds of each kind:
    lariat-tools limit
  The writing side on CPU 0, the reading side on CPU 1, messages of 1 KiB:
    taskset -c 0 lariat-tools limit --client-cpus 1 --connections 19000 --bytes 1024";

const POST_HELP: &str = "\
Standard output has one JSON object: requests and events a second, how long an answer took from \
the write of its round (median, 99th percentile, longest), and how many had which status.

Exit status: 0 every answer was a success; 1 not; 64 usage; 74 input or output failed.

Examples:
  Ten events a post, 16 posts on their way on each of 32 connections:
    lariat-tools post --url http://127.0.0.1:8000/in --events 10 --pipeline 16
  Requests that a handler answers, one after the other:
    lariat-tools post --url http://127.0.0.1:8000/app --get --connections 64";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
