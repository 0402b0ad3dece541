//! Adds up what several shards answer to one command, and answers once.

use std::sync::{Arc, Mutex};

use super::Answer;
use crate::edge::{self, ShardAnswer};
use crate::wire::{Refusal, Reply};

/// The answers of some shards.
#[derive(Clone)]
pub(super) struct Gather(Arc<Mutex<State>>);

struct State {
    sum: Reply,
    missing: usize,
    /// Gone once the answer is given.
    answer: Option<Answer>,
}

impl Gather {
    /// Of `parts` shards, to a send.
    pub(super) fn sent(parts: usize, answer: Answer) -> Gather {
        Gather::new(
            Reply::Sent {
                connections: 0,
                queued_bytes: 0,
            },
            parts,
            answer,
        )
    }

    /// Of `parts` shards, to a close.
    pub(super) fn closed(parts: usize, answer: Answer) -> Gather {
        Gather::new(Reply::Closed { connections: 0 }, parts, answer)
    }

    /// Of one shard, to the question for an id's connections.
    pub(super) fn connections(answer: Answer) -> Gather {
        Gather::new(Reply::Connections(Vec::new()), 1, answer)
    }

    fn new(sum: Reply, parts: usize, answer: Answer) -> Gather {
        let gather = Gather(Arc::new(Mutex::new(State {
            sum,
            missing: parts,
            answer: Some(answer),
        })));
        if parts == 0 {
            gather.change(|_| {});
        }
        gather
    }

    /// What one shard is to call.
    pub(super) fn part(&self) -> edge::Answer {
        let gather = self.clone();
        Box::new(move |part| {
            gather.change(|state| {
                state.missing -= 1;
                match (&mut state.sum, part) {
                    (
                        Reply::Sent {
                            connections,
                            queued_bytes,
                        },
                        ShardAnswer::Sent {
                            connections: more,
                            queued_bytes: bytes,
                        },
                    ) => {
                        *connections += more;
                        *queued_bytes += bytes;
                    }
                    (Reply::Closed { connections }, ShardAnswer::Closed(more)) => {
                        *connections += more;
                    }
                    (Reply::Connections(conns), ShardAnswer::Connections(more)) => {
                        conns.extend(more);
                    }
                    (sum, part) => unreachable!("{part:?} does not answer what {sum:?} sums up"),
                }
            });
        })
    }

    /// One shard will not answer: neither will the others' answers count.
    pub(super) fn refuse(&self, refusal: Refusal) {
        self.change(|state| {
            state.sum = Reply::Refused(refusal);
            state.missing = 0;
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock().expect("nothing panics while adding up");
        if state.answer.is_none() {
            return;
        }
        change(&mut state);
        if state.missing == 0
            && let Some(answer) = state.answer.take()
        {
            let sum = std::mem::replace(&mut state.sum, Reply::Ok);
            drop(state);
            answer(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    fn listen() -> (Answer, Receiver<Reply>) {
        let (tell, told) = sync_channel(2);
        (Box::new(move |reply| tell.send(reply).unwrap()), told)
    }

    #[test]
    fn parts_add_up_to_one_answer() {
        let (answer, told) = listen();
        let gather = Gather::sent(2, answer);
        for connections in [2, 3] {
            assert!(told.try_recv().is_err());
            gather.part()(ShardAnswer::Sent {
                connections,
                queued_bytes: 10,
            });
        }
        assert_eq!(
            told.recv().unwrap(),
            Reply::Sent {
                connections: 5,
                queued_bytes: 20
            }
        );
    }

    #[test]
    fn nobody_asked_is_an_answer_at_once() {
        let (answer, told) = listen();
        let _gather = Gather::closed(0, answer);
        assert_eq!(told.recv().unwrap(), Reply::Closed { connections: 0 });
    }

    #[test]
    fn one_refusal_is_the_only_answer() {
        let (answer, told) = listen();
        let gather = Gather::sent(2, answer);
        let part = gather.part();
        gather.refuse(Refusal::Overloaded);
        part(ShardAnswer::Sent {
            connections: 1,
            queued_bytes: 0,
        });
        assert_eq!(told.recv().unwrap(), Reply::Refused(Refusal::Overloaded));
        drop(gather);
        assert!(told.recv().is_err());
    }
}
