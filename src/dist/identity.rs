//! Who this node is on the wire: its name, its creation, and the pids it mints.
//!
//! Two kinds of pid carry our name: the node's own (for the registered names `lariat` and
//! `net_kernel`) and one for each held connection. References need no uniqueness beyond a link.

use super::name::NodeName;
use crate::term::{Names, Pid, Writer};
use crate::wire::{Conn, NODE_SHARD};

/// Our name, and the number that tells this run from earlier ones.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: NodeName,
    /// Never 0.
    pub(crate) creation: u32,
}

/// What a pid that Erlang wrote names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// The node's own process.
    Node,
    /// A connection, gone or not.
    Conn(Conn),
    /// A pid of ours from an earlier run, or not a pid of ours.
    Nothing,
}

impl Identity {
    /// The id of the node's own pid; any number would do.
    const NODE_ID: u32 = 1;

    pub(crate) fn write_node(&self, writer: &mut Writer) {
        let serial = u32::from(NODE_SHARD) << 24;
        writer.pid(self.name.as_str(), Self::NODE_ID, serial, self.creation);
    }

    pub(crate) fn named_by(&self, pid: Pid<'_>) -> Named {
        if pid.node != self.name.as_str() || pid.creation != self.creation {
            return Named::Nothing;
        }
        match Conn::from_pid_parts(pid.id, pid.serial) {
            Some(conn) => Named::Conn(conn),
            None => Named::Node,
        }
    }
}

impl Names for Identity {
    fn edge(&self) -> &str {
        self.name.as_str()
    }

    fn write_conn(&self, writer: &mut Writer, conn: Conn) {
        let (id, serial) = conn.to_pid_parts();
        writer.pid(self.name.as_str(), id, serial, self.creation);
    }
}
