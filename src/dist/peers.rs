//! Which peer is being dialled, which is linked: the table that settles who wins when both sides
//! dial at once.
//!
//! A pure value: no sockets, no clock; the caller closes what it is told to close. One name, one
//! link. An inbound attempt has no place here until its digest is verified: a stranger who claims
//! a name can neither disturb that name's link nor block its real owner. (It can make us give up
//! one dial attempt, as in OTP; dialling is repeated.)
//!
//! | state | `inbound` | `dial` | `dialled` | `accepted` | `ended` |
//! |---|---|---|---|---|---|
//! | idle | ok | → dialling | stale | → up | – |
//! | dialling, our name greater | nok | busy | → up | → up | dial failed → idle |
//! | dialling, our name smaller | ok_simultaneous → idle | busy | → up | → up | dial failed → idle |
//! | up | alive | busy | stale | → up, replaces | link ended → idle |
//!
//! `dialled` and `ended` count only for the attempt or link that the state names; others are stale.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

use std::collections::HashMap;

use super::name::NodeName;
use crate::wire::Watcher;

/// What to answer to a peer that dials us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Come in.
    Ok,
    /// Come in; our own attempt is given up.
    OkSimultaneous,
    /// Wait for our own attempt.
    Nok,
    /// There is a link; say whether it is to be replaced.
    Alive,
}

/// One attempt or link; unique for the life of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

impl Ticket {
    /// The link in the vocabulary of the edge.
    pub(crate) fn watcher(self) -> Watcher {
        Watcher(self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Dialling(Ticket),
    Up(Ticket),
}

/// What became of a verified handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The link is up under this ticket; `replaced` is the older link to close now.
    Up {
        link: Ticket,
        replaced: Option<Ticket>,
    },
    /// The attempt no longer counts: close it.
    Stale,
}

/// The table. Peers that are idle take no room in it.
#[derive(Debug)]
pub(crate) struct Peers {
    ours: NodeName,
    states: HashMap<NodeName, State>,
    next: u64,
}

impl Peers {
    pub(crate) fn new(ours: NodeName) -> Peers {
        Peers {
            ours,
            states: HashMap::new(),
            next: 0,
        }
    }

    /// We want to dial: a ticket, or `None` when there is an attempt or a link already.
    pub(crate) fn dial(&mut self, peer: &NodeName) -> Option<Ticket> {
        if self.states.contains_key(peer) {
            return None;
        }
        let ticket = self.ticket();
        self.states.insert(peer.clone(), State::Dialling(ticket));
        Some(ticket)
    }

    /// A peer that claims this name dials us.
    pub(crate) fn inbound(&mut self, peer: &NodeName) -> Verdict {
        match self.states.get(peer) {
            None => Verdict::Ok,
            Some(State::Up(_)) => Verdict::Alive,
            Some(State::Dialling(_)) if self.ours > *peer => Verdict::Nok,
            Some(State::Dialling(_)) => {
                self.states.remove(peer);
                Verdict::OkSimultaneous
            }
        }
    }

    /// Whether the dial attempt still counts.
    pub(crate) fn is_dialling(&self, peer: &NodeName, attempt: Ticket) -> bool {
        self.states.get(peer) == Some(&State::Dialling(attempt))
    }

    pub(crate) fn is_up(&self, peer: &NodeName) -> bool {
        matches!(self.states.get(peer), Some(State::Up(_)))
    }

    /// Whether this attempt or link is the one that counts.
    pub(crate) fn is_current(&self, peer: &NodeName, ticket: Ticket) -> bool {
        matches!(
            self.states.get(peer),
            Some(State::Dialling(current) | State::Up(current)) if *current == ticket
        )
    }

    /// Our dial attempt has been verified.
    pub(crate) fn dialled(&mut self, peer: &NodeName, attempt: Ticket) -> Outcome {
        if !self.is_dialling(peer, attempt) {
            return Outcome::Stale;
        }
        self.states.insert(peer.clone(), State::Up(attempt));
        Outcome::Up {
            link: attempt,
            replaced: None,
        }
    }

    /// An inbound attempt has been verified; what it was answered to its hello no longer matters.
    pub(crate) fn accepted(&mut self, peer: &NodeName) -> Outcome {
        let link = self.ticket();
        let replaced = match self.states.insert(peer.clone(), State::Up(link)) {
            Some(State::Up(old)) => Some(old),
            Some(State::Dialling(_)) | None => None,
        };
        Outcome::Up { link, replaced }
    }

    /// An attempt failed or a link ended. True when that changed the table.
    pub(crate) fn ended(&mut self, peer: &NodeName, ticket: Ticket) -> bool {
        let is_current = self.is_current(peer, ticket);
        if is_current {
            self.states.remove(peer);
        }
        is_current
    }

    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    #[derive(Clone, Copy, Debug)]
    enum Input {
        Inbound,
        Dial,
        Dialled(usize),
        Accepted,
        Ended(usize),
    }

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Inbound),
            Just(Input::Dial),
            (0..8_usize).prop_map(Input::Dialled),
            Just(Input::Accepted),
            (0..8_usize).prop_map(Input::Ended),
        ]
    }

    /// The table of the file's header, over the state as a test sees it.
    fn check(ours: &str, inputs: &[Input]) -> Result<(), TestCaseError> {
        let peer = name("m@h");
        let greater = name(ours) > peer;
        let mut peers = Peers::new(name(ours));
        let mut tickets: Vec<Ticket> = Vec::new();
        for input in inputs {
            let before = peers.states.get(&peer).copied();
            match *input {
                Input::Inbound => {
                    let expected = match before {
                        None => Verdict::Ok,
                        Some(State::Up(_)) => Verdict::Alive,
                        Some(State::Dialling(_)) if greater => Verdict::Nok,
                        Some(State::Dialling(_)) => Verdict::OkSimultaneous,
                    };
                    prop_assert_eq!(peers.inbound(&peer), expected);
                    let gave_up = expected == Verdict::OkSimultaneous;
                    let after = if gave_up { None } else { before };
                    prop_assert_eq!(peers.states.get(&peer).copied(), after);
                }
                Input::Dial => {
                    let ticket = peers.dial(&peer);
                    prop_assert_eq!(ticket.is_some(), before.is_none());
                    tickets.extend(ticket);
                }
                Input::Dialled(at) => {
                    let Some(ticket) = tickets.get(at).copied() else {
                        continue;
                    };
                    let counts = before == Some(State::Dialling(ticket));
                    let outcome = peers.dialled(&peer, ticket);
                    prop_assert_eq!(outcome != Outcome::Stale, counts);
                    prop_assert!(!counts || peers.is_up(&peer));
                }
                Input::Accepted => {
                    let Outcome::Up { link, replaced } = peers.accepted(&peer) else {
                        return Err(TestCaseError::fail("a verified peer is never stale"));
                    };
                    let expected = match before {
                        Some(State::Up(old)) => Some(old),
                        _ => None,
                    };
                    prop_assert_eq!(replaced, expected);
                    tickets.push(link);
                }
                Input::Ended(at) => {
                    let Some(ticket) = tickets.get(at).copied() else {
                        continue;
                    };
                    let current = match before {
                        Some(State::Dialling(current) | State::Up(current)) => current == ticket,
                        None => false,
                    };
                    prop_assert_eq!(peers.ended(&peer, ticket), current);
                    let after = if current { None } else { before };
                    prop_assert_eq!(peers.states.get(&peer).copied(), after);
                }
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn the_table_holds(inputs in proptest::collection::vec(input(), 0..24)) {
            check("a@h", &inputs)?;
            check("z@h", &inputs)?;
        }

        /// Both sides dial at once, their hellos crossing: exactly one attempt survives.
        #[test]
        fn of_two_crossing_attempts_one_survives(a in "[a-y]{1,3}", b in "[a-y]{1,3}") {
            prop_assume!(a != b);
            let (a, b) = (name(&format!("{a}@h")), name(&format!("{b}@h")));
            let (mut at_a, mut at_b) = (Peers::new(a.clone()), Peers::new(b.clone()));
            at_a.dial(&b).unwrap();
            at_b.dial(&a).unwrap();
            let verdicts = (at_a.inbound(&b), at_b.inbound(&a));
            let expected = if a < b {
                (Verdict::OkSimultaneous, Verdict::Nok)
            } else {
                (Verdict::Nok, Verdict::OkSimultaneous)
            };
            prop_assert_eq!(verdicts, expected);
        }
    }
}
