//! The dataset generator: a friends graph as lines `subscriber subscribee`, streamed as drawn.
//!
//! It does not shuffle, relabel or sort: ids are 1..=N, and a low id is a popular one. Who wants
//! it otherwise pipes the lines through `sort` or `shuf`.

mod graph;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use graph::{FriendsGraph, GraphError};

/// Large enough that writing costs a system call per 70,000 lines, small enough for the cache.
const BUFFER_BYTES: usize = 1 << 20;

/// How often progress is told, and the run time below which a summary is not worth a line.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Lines between two looks at the clock: a fraction of a millisecond.
const LINES_PER_LOOK: u64 = 1 << 14;

/// What to draw and where to write it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Users, with ids 1 to N
    #[arg(long, value_name = "N")]
    users: u32,
    /// Subscriptions of each user
    #[arg(long, value_name = "M")]
    edges: u32,
    /// Seed of the draws; the same seed gives the same file
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// File to write, instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot draw this graph: {0}")]
    Graph(#[from] GraphError),
    #[error("cannot create {path}: {source}; name a file in a folder you may write to")]
    Create { path: String, source: io::Error },
    #[error("cannot write to {path}: {source}; free some space or write elsewhere")]
    Write { path: String, source: io::Error },
}

/// Draws the graph and writes it, telling progress on standard error when it takes long.
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let graph = FriendsGraph::new(options.users, options.edges, options.seed)?;
    match &options.output {
        Some(path) => {
            let name = path.display().to_string();
            let file = create(path).map_err(|source| Error::Create {
                path: name.clone(),
                source,
            })?;
            write(graph, file).map_err(|source| Error::Write { path: name, source })
        }
        None => write(graph, io::stdout().lock()).map_err(|source| Error::Write {
            path: "standard output".to_owned(),
            source,
        }),
    }
}

fn create(path: &Path) -> io::Result<File> {
    File::create(path)
}

fn write(graph: FriendsGraph, sink: impl Write) -> io::Result<()> {
    let total = graph.total();
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, sink);
    let mut digits = itoa::Buffer::new();
    let started = Instant::now();
    let mut told = started;
    for (written, (subscriber, subscribee)) in (1_u64..).zip(graph) {
        out.write_all(digits.format(subscriber).as_bytes())?;
        out.write_all(b" ")?;
        out.write_all(digits.format(subscribee).as_bytes())?;
        out.write_all(b"\n")?;
        if written % LINES_PER_LOOK == 0 && told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            eprintln!("dataset: {written} of {total} lines");
        }
    }
    out.flush()?;
    let took = started.elapsed();
    if took >= PROGRESS_EVERY || io::stderr().is_terminal() {
        eprintln!("dataset: {total} lines in {:.1} s", took.as_secs_f64());
    }
    Ok(())
}
