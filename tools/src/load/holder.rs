//! Who holds the connections of a run: one process (`driver`) or several (`crew`).
//!
//! Whoever asks for messages, latencies or the end of a run asks a holder, and need not know which.

use std::time::Instant;

use super::Error;
use super::stop::Asked;
use super::tally::Tally;

pub(super) trait Holder {
    /// Works until `until`, or until something happened.
    fn turn(&mut self, until: Instant) -> Result<(), Error>;

    /// What was counted so far.
    fn tally(&mut self) -> &mut Tally;

    /// Connections that are open.
    fn open(&self) -> u32;

    /// Connections that are being opened, or are away and will be.
    fn coming(&self) -> u32;

    /// Every connection is open or has failed.
    fn is_settled(&self) -> bool;

    /// From now on counts the time after which connections leave.
    fn begin(&mut self) -> Result<(), Error>;

    fn asked(&self) -> Asked;

    /// Takes in what was counted and not yet told; what is held is closed after this.
    fn end(&mut self) -> Result<(), Error>;
}
