//! The hidden node against real Erlang: every promise of `dist`, seen from the Erlang side.
//!
//! Needs `erl` and `epmd` on the path; each test has its own EPMD and ends what it started. The
//! edge behind the node is a recorder: what commands do is tested elsewhere.

#[path = "dist_erl/calls.rs"]
mod calls;
#[path = "support/erlang.rs"]
mod erlang;
#[path = "support/hidden.rs"]
mod hidden;
#[path = "dist_erl/links.rs"]
mod links;
#[path = "dist_erl/processes.rs"]
mod processes;
#[path = "support/scripted_peer.rs"]
mod scripted_peer;

use std::sync::Arc;
use std::time::Duration;

use erlang::{Epmd, Erl, free_port, wait_for};
use hidden::{
    APP, BUG, CONN, COOKIE, Edge, SMALL_SOCKETS, Seen, US, app, app_with, config, name, recorder,
};
use lariat::dist::{self, Config};
use lariat::metrics::{Dropped, HandshakeFailed, LinkDown};
use lariat::wire::{Command, Event, Gone, Id, Ids, OpenedInfo, Reason, Signal, Transport, Watcher};
use scripted_peer::ScriptedPeer;
