//! From the command line, the environment and the config file to the rooms' own configs.
//!
//! The only reader of arguments and environment. It checks what can be checked without doing
//! anything: no socket is bound and no name is looked up here. Flags override the file, the file
//! overrides the rooms' defaults.
//!
//! What the edge is told needs neither arguments nor environment: the NIF reads it without the
//! feature `node`, with the same keys and the same words for what is wrong with them.

mod changes;
mod edge;
mod edge_file;
mod from_term;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod listeners;
mod routes;
mod token;
mod units;
mod websocket;

#[cfg(feature = "node")]
mod args;
#[cfg(feature = "node")]
mod file;
#[cfg(feature = "node")]
mod node;
#[cfg(feature = "node")]
mod node_changes;

use std::path::{Path, PathBuf};

pub use changes::{Change, edge_changes, say_changes};
pub use edge::{edge_from_file, edge_from_table};
pub use from_term::table_from_term;
#[cfg(feature = "node")]
pub use node::{LogFormat, Settings, Task, read};
/// What [`edge_from_table`] takes.
pub use toml::{Table, Value};

/// Why there is nothing to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's, or a wish for help: clap's own text.
    #[cfg(feature = "node")]
    #[error("{0}")]
    Usage(#[from] clap::Error),
    /// The file cannot be read.
    #[error("{}: {source}; give --config a file that can be read", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file has an error.
    #[error("{}: {what}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Key, value, accepted form.
        what: String,
    },
    /// The table has an error.
    #[error("{what}")]
    Table {
        /// Key, value, accepted form.
        what: String,
    },
    /// A value, from wherever it came, is none.
    #[error("{key}: {what}")]
    Value {
        /// The key or flag.
        key: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// There is no cookie.
    #[cfg(feature = "node")]
    #[error(
        "no cookie: {what}; set LARIAT_COOKIE, or give --cookie-file a file with the text that \
         erl -setcookie has"
    )]
    Cookie {
        /// What was tried.
        what: String,
    },
}

#[cfg(feature = "node")]
impl Error {
    /// The exit code that says so (sysexits.h: EX_USAGE, EX_CONFIG).
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(error) if !error.use_stderr() => 0,
            Error::Usage(_) => 64,
            _ => 78,
        }
    }
}

fn within(path: &Path, error: Error) -> Error {
    match error {
        Error::Value { key, what } => Error::File {
            path: path.to_owned(),
            what: format!("{key}: {what}"),
        },
        other => other,
    }
}

fn parse<T: std::str::FromStr>(key: &'static str, text: &str) -> Result<T, Error>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| Error::Value {
        key,
        what: error.to_string(),
    })
}

fn positive(key: &'static str, number: usize) -> Result<usize, Error> {
    match number {
        0 => Err(Error::Value {
            key,
            what: "0 would allow nothing; accepted from 1".into(),
        }),
        number => Ok(number),
    }
}
