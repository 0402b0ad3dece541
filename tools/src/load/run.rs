//! A run from its first connection to its report, whoever holds the connections.
//!
//! It counts and polls nothing itself: the `goal` says when it is over, the `teller` what is told.

use std::time::Instant;

use super::Error;
use super::goal::{Goal, Step, Terms};
use super::holder::Holder;
use super::options::Options;
use super::report::{Report, Run};
use super::teller::Teller;

/// Times are counted from `started`: not later than the holder's own clock, or the thread may lose its core
/// between the two, and a run at a rate would seem to be faster than its rate.
pub(super) fn run(
    options: &Options,
    holder: &mut impl Holder,
    started: Instant,
) -> Result<Report, Error> {
    let connections = options.connections.get();
    let mut teller = Teller::new(options);
    let mut goal = Goal::new(Terms {
        duration: options.duration,
        expect: options.expect,
        timeout: options.timeout,
        quiet: options.quiet,
        hold: options.until_stdin_closes,
    });
    let mut connecting = None;
    let mut is_warm = options.warm_up == 0;
    let ended_by = loop {
        let now = Instant::now();
        if connecting.is_none() && holder.is_settled() {
            connecting = Some(now - started);
            goal.handle_settled(now);
            holder.begin()?;
            let open = holder.open();
            teller.tell_connected(holder.tally(), open, now - started)?;
        }
        if let Some(by) = holder.asked().stop {
            goal.handle_asked(by);
        }
        if !is_warm && holder.tally().messages() >= options.warm_up {
            is_warm = true;
            holder.tally().begin_to_measure();
            teller.tell_warm(holder.tally().messages())?;
        }
        let there = holder.open() + holder.coming();
        let goal_at = match goal.poll(now, holder.tally().messages(), there) {
            Step::Stop(by) => break by,
            Step::Wait(at) => at,
            Step::Reached => {
                teller.tell_expected(holder.tally().messages())?;
                continue;
            }
        };
        let (open, coming) = (holder.open(), holder.coming());
        teller.turn(now, holder.tally(), open, coming)?;
        let wake = goal_at.map_or(teller.next_at(), |at| at.min(teller.next_at()));
        holder.turn(wake)?;
    };
    let open = holder.open();
    holder.end()?;
    let run = Run {
        ended_by,
        processes: options.processes,
        connections,
        slow: options.slow,
        open,
        expect: options.expect,
        connecting: connecting.unwrap_or_else(|| started.elapsed()),
        total: started.elapsed(),
        memory: teller.memory(),
    };
    let report = Report::new(holder.tally(), run);
    teller.tell_report(&report, holder.tally())?;
    Ok(report)
}
