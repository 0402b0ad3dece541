//! When a run is over, and whether its expectation was met.
//!
//! Pure: time and counts are arguments. It ends nothing itself.
//!
//! Until every connection is open or has failed, only a request to stop ends the run. From then:
//!
//! | given | ends |
//! |---|---|
//! | `--duration` | when it is over, not before |
//! | `--expect` | `--quiet` after the count was reached, or when `--timeout` is over |
//! | `--expect --until-stdin-closes` | as before when the count is missed; when reached, when standard input closes |
//! | nothing | when asked to |
//! | any | when no stream is open any more |

use std::time::{Duration, Instant};

use serde::Serialize;

/// What the run is measured by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) duration: Option<Duration>,
    pub(super) expect: Option<u64>,
    pub(super) timeout: Duration,
    pub(super) quiet: Duration,
    /// Reaching the expectation does not end the run.
    pub(super) hold: bool,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EndedBy {
    Duration,
    /// As many messages arrived as expected, and no more.
    Expected,
    /// More messages arrived than expected.
    Exceeded,
    Timeout,
    Stdin,
    Signal,
    AllClosed,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Go on, and ask again at that time if nothing happens before.
    Wait(Option<Instant>),
    /// The expectation was reached and it stayed quiet. Said once.
    Reached,
    Stop(EndedBy),
}

#[derive(Debug)]
pub(super) struct Goal {
    terms: Terms,
    settled: Option<Instant>,
    reached: Option<Instant>,
    said_reached: bool,
    asked: Option<EndedBy>,
}

impl Goal {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            settled: None,
            reached: None,
            said_reached: false,
            asked: None,
        }
    }

    /// Every connection is open or has failed.
    pub(super) fn handle_settled(&mut self, now: Instant) {
        self.settled.get_or_insert(now);
    }

    /// Somebody asks to stop.
    pub(super) fn handle_asked(&mut self, by: EndedBy) {
        self.asked.get_or_insert(by);
    }

    pub(super) fn poll(&mut self, now: Instant, messages: u64, open: u32) -> Step {
        if let Some(by) = self.asked {
            return Step::Stop(by);
        }
        let Some(settled) = self.settled else {
            return Step::Wait(None);
        };
        let mut wake = None;
        if let Some(expect) = self.terms.expect
            && !self.said_reached
        {
            if self.reached.is_none() && messages >= expect {
                self.reached = Some(now);
            }
            match self.reached {
                // Without an open stream nothing can break the silence any more.
                Some(reached) if open == 0 || now >= reached + self.terms.quiet => {
                    self.said_reached = true;
                    match self.terms.duration {
                        _ if messages == expect => return Step::Reached,
                        Some(_) => {}
                        None => return Step::Stop(EndedBy::Exceeded),
                    }
                }
                Some(reached) => wake = Some(reached + self.terms.quiet),
                None => {}
            }
        }
        let end = match (self.terms.duration, self.terms.expect) {
            (Some(duration), _) => Some((settled + duration, EndedBy::Duration)),
            (None, Some(_)) if self.said_reached && self.terms.hold => None,
            (None, Some(_)) if self.said_reached => Some((now, EndedBy::Expected)),
            (None, Some(_)) if self.reached.is_some() => None,
            (None, Some(_)) => Some((settled + self.terms.timeout, EndedBy::Timeout)),
            (None, None) => None,
        };
        match end {
            Some((at, by)) if now >= at => Step::Stop(by),
            _ if open == 0 => Step::Stop(EndedBy::AllClosed),
            Some((at, _)) => Step::Wait(Some(wake.map_or(at, |wake| at.min(wake)))),
            None => Step::Wait(wake),
        }
    }
}

/// Whether `messages` is what was expected, if anything was.
pub(super) fn is_met(expect: Option<u64>, messages: u64) -> bool {
    expect.is_none_or(|expect| expect == messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn terms(duration: Option<u32>, expect: Option<u64>, hold: bool) -> Terms {
        Terms {
            duration: duration.map(|seconds| SECOND * seconds),
            expect,
            timeout: SECOND * 10,
            quiet: SECOND,
            hold,
        }
    }

    /// A goal whose connections have settled, and the time they did.
    fn settled(terms: Terms) -> (Goal, Instant) {
        let mut goal = Goal::new(terms);
        let start = clock();
        assert_eq!(
            goal.poll(start, 1_000_000, 0),
            Step::Wait(None),
            "not settled"
        );
        goal.handle_settled(start);
        (goal, start)
    }

    fn clock() -> Instant {
        Instant::now()
    }

    #[test]
    fn an_expectation_is_reached_when_it_stays_quiet() {
        let (mut goal, start) = settled(terms(None, Some(5), false));
        assert_eq!(
            goal.poll(start, 4, 1),
            Step::Wait(Some(start + SECOND * 10))
        );
        let reached = start + SECOND * 3;
        assert_eq!(goal.poll(reached, 5, 1), Step::Wait(Some(reached + SECOND)));
        assert_eq!(goal.poll(reached + SECOND, 5, 1), Step::Reached);
        let stop = Step::Stop(EndedBy::Expected);
        assert_eq!(goal.poll(reached + SECOND, 5, 1), stop);
    }

    #[test]
    fn too_many_end_the_run_without_being_reached() {
        let (mut goal, start) = settled(terms(None, Some(5), false));
        assert_eq!(goal.poll(start, 5, 1), Step::Wait(Some(start + SECOND)));
        let stop = Step::Stop(EndedBy::Exceeded);
        assert_eq!(goal.poll(start + SECOND, 6, 1), stop);
        assert!(is_met(Some(5), 5) && is_met(None, 9) && !is_met(Some(5), 6));
    }

    #[test]
    fn too_few_end_it_by_timeout() {
        for hold in [false, true] {
            let (mut goal, start) = settled(terms(None, Some(5), hold));
            let stop = Step::Stop(EndedBy::Timeout);
            assert_eq!(goal.poll(start + SECOND * 10, 4, 1), stop);
        }
    }

    #[test]
    fn nothing_expected_is_checked_for_quiet() {
        let (mut goal, start) = settled(terms(None, Some(0), false));
        assert_eq!(goal.poll(start, 0, 1), Step::Wait(Some(start + SECOND)));
        assert_eq!(goal.poll(start + SECOND, 0, 1), Step::Reached);
    }

    #[test]
    fn a_held_run_goes_on_after_it_was_reached() {
        let (mut goal, start) = settled(terms(None, Some(1), true));
        goal.poll(start, 1, 1);
        assert_eq!(goal.poll(start + SECOND, 1, 1), Step::Reached);
        assert_eq!(goal.poll(start + SECOND * 100, 1, 1), Step::Wait(None));
        goal.handle_asked(EndedBy::Stdin);
        goal.handle_asked(EndedBy::Signal);
        assert_eq!(goal.poll(start, 1, 1), Step::Stop(EndedBy::Stdin));
    }

    #[test]
    fn a_duration_is_held_whatever_arrives() {
        let (mut goal, start) = settled(terms(Some(20), Some(1), false));
        goal.poll(start, 1, 1);
        assert_eq!(goal.poll(start + SECOND, 1, 1), Step::Reached);
        let end = start + SECOND * 20;
        assert_eq!(goal.poll(start + SECOND * 15, 1, 1), Step::Wait(Some(end)));
        assert_eq!(goal.poll(end, 1, 1), Step::Stop(EndedBy::Duration));
    }

    #[test]
    fn a_run_without_open_streams_is_over() {
        let (mut goal, start) = settled(terms(Some(20), None, true));
        assert_eq!(goal.poll(start, 0, 0), Step::Stop(EndedBy::AllClosed));
        for messages in [4, 6] {
            let (mut goal, start) = settled(terms(None, Some(5), true));
            let Step::Stop(_) = goal.poll(start, messages, 0) else {
                panic!("{messages} are not 5, and none can come any more");
            };
        }
        let (mut goal, start) = settled(terms(None, Some(5), true));
        assert_eq!(goal.poll(start, 5, 0), Step::Reached);
        assert_eq!(goal.poll(start, 5, 0), Step::Stop(EndedBy::AllClosed));
    }
}
