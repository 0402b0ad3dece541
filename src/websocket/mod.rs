//! WebSocket (RFC 6455) and its compression (RFC 7692) as bytes: frames, messages, the handshake.
//!
//! Sans-IO: no sockets, no clock, no connection. What a client has sent is given to an [`Incoming`]
//! and comes out as what was [`Heard`]; what goes out is written behind what a buffer holds. An own
//! codec, because libraries keep buffers for each connection, and here a connection that is not in
//! the middle of a frame or a message has no state at all.

mod close;
mod deflate;
mod extension;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handshake;
mod incoming;
mod mask;
#[cfg(test)]
mod peer_test;

pub use close::{CloseCode, Fault, close_frame};
pub use deflate::{Deflater, Inflater, Window};
pub use extension::Deflate;
pub use frame::{Opcode, PING, write_head};
pub use handshake::{Fields, Greeting, Refused};
pub use incoming::{Heard, Incoming, Rules};
