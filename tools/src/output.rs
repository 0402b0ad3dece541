//! Standard output, where the tools' products go: one JSON object a line.
//!
//! The dataset streams through its own buffer and does not pass here; progress and complaints go
//! to standard error.

use std::io::{self, Write};

use serde::Serialize;

/// `value` as one line of JSON, with its newline.
pub(crate) fn json_line(value: &impl Serialize) -> io::Result<String> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(line)
}

/// Writes `line` to standard output, at once: somebody waits for it.
pub(crate) fn print(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.flush()
}
