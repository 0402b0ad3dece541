//! Sequences of what happens to the table of peers: one name never has two links that count.
//!
//! The table of every single step is a test of `peers`; here it is several names at a time, and
//! tickets long out of date.

use super::{Outcome, Peers, Ticket, Verdict};
use crate::dist::name::NodeName;

/// Each pair of bytes is a step: what happens, and to which of a few names or tickets.
pub fn peers(data: &[u8]) {
    let names: Vec<NodeName> = ["a@h", "m@h", "z@h"]
        .iter()
        .map(|name| name.parse().expect("it is a node name"))
        .collect();
    let ours = &names[1];
    let mut peers = Peers::new(ours.clone());
    let mut tickets: Vec<(usize, Ticket)> = Vec::new();
    for step in data.chunks_exact(2) {
        let at = usize::from(step[1]);
        // Nobody may come under our own name: the handshake sees to that.
        let who = at % 2 * 2;
        let peer = &names[who];
        let was_up = peers.is_up(peer);
        let aged = tickets.get(at % tickets.len().max(1)).copied();
        match step[0] % 5 {
            0 => {
                let was_busy = tickets
                    .iter()
                    .any(|(of, ticket)| *of == who && peers.is_current(peer, *ticket));
                let ticket = peers.dial(peer);
                assert_eq!(ticket.is_none(), was_busy, "one attempt at a time");
                tickets.extend(ticket.map(|ticket| (who, ticket)));
            }
            1 => {
                let verdict = peers.inbound(peer);
                assert_eq!(verdict == Verdict::Alive, was_up);
                assert!(
                    verdict != Verdict::Nok || ours > peer,
                    "the greater name keeps its own"
                );
                assert!(verdict != Verdict::OkSimultaneous || ours < peer);
            }
            2 => {
                let Outcome::Up { link, replaced } = peers.accepted(peer) else {
                    panic!("a verified peer is never stale");
                };
                assert_eq!(replaced.is_some(), was_up, "exactly a link is replaced");
                assert!(peers.is_up(peer));
                tickets.push((who, link));
            }
            3 => {
                if let Some((of, ticket)) = aged {
                    let counts = peers.is_dialling(&names[of], ticket);
                    let is_up = peers.dialled(&names[of], ticket) != Outcome::Stale;
                    assert_eq!(is_up, counts);
                }
            }
            _ => {
                if let Some((of, ticket)) = aged {
                    let counts = peers.is_current(&names[of], ticket);
                    assert_eq!(peers.ended(&names[of], ticket), counts);
                    assert!(!peers.is_current(&names[of], ticket));
                }
            }
        }
        for (who, name) in names.iter().enumerate() {
            let current = tickets
                .iter()
                .filter(|(of, ticket)| *of == who && peers.is_current(name, *ticket));
            assert!(current.count() <= 1, "one attempt or link of a name counts");
        }
    }
}
