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

/// An edge in the VM that its owners are in: its connections are no processes, so they are
/// `{lariat_conn, Edge, Slot, Serial}`, with the numbers that a pid would have.
#[derive(Clone, Debug)]
pub struct InVm {
    /// The name that it was started by: the text of an atom.
    pub name: String,
}

impl Names for InVm {
    fn edge(&self) -> &str {
        &self.name
    }

    fn write_conn(&self, writer: &mut Writer, conn: Conn) {
        let (slot, serial) = conn.to_pid_parts();
        writer.tuple(4).atom("lariat_conn").atom(&self.name);
        writer.uint(slot.into()).uint(serial.into());
    }
}
