//! The edge inside the Erlang VM: NIFs on the rooms of `lariat` that are not the hidden node's.
//!
//! It has no logic of its own: each function takes its terms apart, calls, and answers.

/// The version of this build, so that Erlang can tell which library it has loaded.
#[rustler::nif]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

rustler::init!("lariat_nif");
