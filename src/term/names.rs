//! How an edge is called in terms: by which atom, and what its connections are written as.
//!
//! The one thing in which the vocabulary of two edges differs. Reading needs no such thing: what names a
//! connection comes beside a command, never in it.

use super::write::Writer;
use crate::wire::Conn;

/// An edge, as Erlang knows it.
pub trait Names {
    /// The atom that its news say they are from.
    fn edge(&self) -> &str;

    /// Writes the term that is this connection.
    fn write_conn(&self, writer: &mut Writer, conn: Conn);
}
