//! Accepting, reading the head, answering it and holding the stream, beside a loop that does no more.
//!
//! A storm: all connections and their requests wait in the listen queue before the clock starts, so
//! neither the clients' speed nor waiting for them is measured.

use serde_json::Value;

use crate::bare::Bare;
use crate::clients::Clients;
use crate::ours::Ours;
use crate::ratio::{compare, took};

/// Streams of a round: what a listen queue takes, whose usual limit (`net.core.somaxconn`) is 4,096.
const STREAMS: usize = 4000;

pub(crate) fn run() -> Vec<Value> {
    let mut state = (Ours::start(), Bare::start(), Clients::start());
    let line = compare(
        "accept, answer and hold",
        STREAMS,
        &mut state,
        |(ours, _, clients), _| {
            let pause = ours.pause();
            clients.knock(ours.address(), 0, STREAMS);
            took(|| {
                drop(pause);
                clients.greeted();
            })
        },
        |(_, bare, clients), _| {
            clients.knock(bare.address(), 0, STREAMS);
            took(|| {
                std::thread::scope(|scope| {
                    scope.spawn(|| clients.greeted());
                    // On this thread, whose CPU time outlives it.
                    bare.accept(STREAMS);
                });
            })
        },
        |(ours, bare, clients)| {
            clients.close();
            bare.sockets.clear();
            while ours.held() > 0 {
                std::thread::yield_now();
            }
        },
    );
    vec![line]
}
