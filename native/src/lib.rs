//! The edge inside the Erlang VM: NIFs on the rooms of `lariat` that are not the hidden node's.
//!
//! ```text
//!   caller ── send, signal ─── hot ───────────► bridge ─► shards
//!   caller ── request, cast ─► commands (thread) ─┘
//!   owners ◄─ uplink ◄─ pump (thread), shards: {lariat, Name, Epoch, [Event]}, {lariat_gone, ..}
//! ```
//!
//! It holds no connection and decides nothing about one: that is the library's. What is here:
//!
//! * `entry`: load and upgrade, the resource that an edge is, all that is `unsafe`
//! * `nifs`: one short function for each NIF
//! * `hot`: messages recognised as terms, without an encoding between
//! * `edge`: one running edge, and its end
//! * `commands`: the thread that carries out what is asked, in order
//! * `uplink`: who is told what, and how much may wait for them
//! * `config`: what an edge is started with
//! * `log`: lines of the log, to who has started the edge
//!
//! The functions of the VM are there only inside a VM, so there are no tests here: what can be tested
//! without one is in `lariat` (`term`, `config`), the rest is for the suites that load the library.

mod commands;
mod config;
mod edge;
mod entry;
mod hot;
mod log;
mod nifs;
mod uplink;
