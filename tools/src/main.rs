//! The outside clients of Lariat: `dataset` writes a friends graph, `load` holds streams against a
//! node and tells what arrived, `post` posts to one as fast as it is answered, `limit` measures what
//! this machine could do at most.
//!
//! Nothing here knows Lariat's own crate. What these tools believe about a node they read from
//! its sockets, so an error in Lariat's vocabulary cannot hide on both sides.
//!
//! Exit status: 0 done and as expected; 1 the run contradicts what was expected; 64 the command
//! line cannot be carried out; 74 reading, writing or polling failed.

mod args;
mod dataset;
mod limit;
mod load;
mod output;
mod post;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

/// EX_USAGE and EX_IOERR of sysexits.h, which the node's own exit statuses follow too.
const EXIT_USAGE: u8 = 64;
const EXIT_IO: u8 = 74;

/// Not from sysexits.h: the tool worked, the node did not do what was expected of it.
const EXIT_MISMATCH: u8 = 1;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let shown = error.print();
            return match (error.use_stderr(), shown) {
                (true, _) => ExitCode::from(EXIT_USAGE),
                (false, shown) => status_of_output(shown),
            };
        }
    };
    match args.command {
        Command::Dataset(options) => match dataset::run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => status_of_dataset(error),
        },
        Command::Limit(options) => match limit::run(&options) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(EXIT_MISMATCH),
            Err(error) => fail(&error, status_of_limit(&error)),
        },
        Command::Post(options) => match post::run(&options) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(EXIT_MISMATCH),
            Err(error) => fail(&error, status_of_post(&error)),
        },
        Command::Load(options) => match load::run(&options, &arguments()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(EXIT_MISMATCH),
            Err(error) => fail(&error, status_of_load(&error)),
        },
    }
}

/// What was typed after the program's name.
fn arguments() -> Vec<OsString> {
    std::env::args_os().skip(1).collect()
}

fn status_of_dataset(error: dataset::Error) -> ExitCode {
    match error {
        // `lariat-tools dataset | head` is no failure: the reader had enough.
        dataset::Error::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        error @ (dataset::Error::Create { .. } | dataset::Error::Write { .. }) => {
            fail(&error, EXIT_IO)
        }
        error @ dataset::Error::Graph(_) => fail(&error, EXIT_USAGE),
    }
}

fn status_of_limit(error: &limit::Error) -> u8 {
    match error {
        limit::Error::Load(error) => status_of_load(error),
        limit::Error::Connections { .. } => EXIT_MISMATCH,
        limit::Error::Accept(_) | limit::Error::Write(_) | limit::Error::Output(_) => EXIT_IO,
    }
}

fn status_of_post(error: &post::Error) -> u8 {
    match error {
        post::Error::Url { .. } => EXIT_USAGE,
        post::Error::Body { .. } | post::Error::Socket(_) | post::Error::Silent => EXIT_IO,
    }
}

fn status_of_load(error: &load::Error) -> u8 {
    match error {
        load::Error::Resolve { .. }
        | load::Error::NoAddress { .. }
        | load::Error::OpenFiles { .. }
        | load::Error::Sources { .. }
        | load::Error::Share { .. }
        | load::Error::Scheme { .. } => EXIT_USAGE,
        load::Error::Poll(_)
        | load::Error::Signals(_)
        | load::Error::Output(_)
        | load::Error::Limit(_)
        | load::Error::Crew(_)
        | load::Error::Member
        | load::Error::Plot(_)
        | load::Error::WriteFile { .. } => EXIT_IO,
    }
}

fn status_of_output(shown: io::Result<()>) -> ExitCode {
    match shown {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(EXIT_IO),
        _ => ExitCode::SUCCESS,
    }
}

fn fail(error: &dyn std::error::Error, status: u8) -> ExitCode {
    eprintln!("lariat-tools: {error}");
    ExitCode::from(status)
}
