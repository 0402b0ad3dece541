//! One process of several: holds its part, and tells its parent what it counted.
//!
//! It decides nothing: it begins when standard input brings a line, and ends with it. A line of
//! JSON ten times a second says what was counted since the line before; the last one says so.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Error;
use super::holder::Holder;
use super::tally::Sums;
use crate::output;

/// Short beside what a run waits for (300 ms of silence), long beside what a line costs.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What a member tells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct News {
    pub(super) open: u32,
    pub(super) coming: u32,
    pub(super) is_settled: bool,
    /// This is the last of it.
    pub(super) is_last: bool,
    pub(super) sums: Sums,
}

pub(super) fn run(holder: &mut impl Holder) -> Result<(), Error> {
    let mut told = Instant::now();
    let mut was_settled = false;
    loop {
        let asked = holder.asked();
        let is_last = asked.stop.is_some();
        if asked.begin {
            holder.begin()?;
        }
        let now = Instant::now();
        let is_settled = holder.is_settled();
        if now >= told + TELL_EVERY || is_last || is_settled != was_settled {
            (told, was_settled) = (now, is_settled);
            let news = News {
                open: holder.open(),
                coming: holder.coming(),
                is_settled,
                is_last,
                sums: holder.tally().drain(),
            };
            let line = output::json_line(&news).map_err(Error::Output)?;
            output::print(&line).map_err(Error::Output)?;
        }
        if is_last {
            return holder.end();
        }
        holder.turn(told + TELL_EVERY)?;
    }
}
