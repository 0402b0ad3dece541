//! Fan-out and unicast to held streams, beside a loop of `write(2)` over as many sockets that the same
//! clients hold.

use lariat::hub::Framing;
use lariat::wire::{Id, Ids, Message};
use serde_json::Value;

use crate::bare::Bare;
use crate::clients::Clients;
use crate::ours::Ours;
use crate::ratio::{compare, took};

/// Bytes of a message, and messages of a fan-out or a round of unicast: a tenth of a second and more,
/// which is ten times the grain of the kernel's CPU times.
const MESSAGE: usize = 100;
const DELIVERIES: usize = 40_000;

struct State {
    ours: Ours,
    bare: Bare,
    clients: Clients,
    all: Ids,
    message: Message,
    frame: Vec<u8>,
}

pub(crate) fn run() -> Vec<Value> {
    [1000, 8000].into_iter().flat_map(of_size).collect()
}

fn of_size(streams: usize) -> Vec<Value> {
    let message = Message::new(vec![b'x'; MESSAGE]);
    let mut frame = Vec::new();
    Framing::Chunked.frame(&message, &mut frame);
    let mut state = State {
        ours: Ours::start(),
        bare: Bare::start(),
        clients: Clients::start(),
        all: Ids::list((0..streams).map(int).collect()),
        message,
        frame,
    };
    state.clients.open(state.ours.address(), 0, streams);
    let to = state.bare.address();
    let (clients, bare) = (&mut state.clients, &mut state.bare);
    std::thread::scope(|scope| {
        scope.spawn(|| bare.accept(streams));
        clients.open(to, 0, streams);
    });
    let times = DELIVERIES / streams;
    // The unicast of ours ends with one message more, which says that the others are written.
    vec![
        compare(
            &format!("fan-out to {streams}"),
            DELIVERIES,
            &mut state,
            |state, _| {
                let fan_out = |_| state.ours.fan_out(&state.all, &state.message);
                took(|| (0..times).for_each(fan_out))
            },
            |state, _| {
                let (bare, frame) = (&mut state.bare, &state.frame);
                took(|| (0..times).for_each(|_| bare.write(0..streams, frame)))
            },
            |state| state.clients.read(DELIVERIES * state.frame.len()),
        ),
        compare(
            &format!("unicast among {streams}"),
            DELIVERIES,
            &mut state,
            |state, round| {
                let ids: Vec<Id> = random(streams, round)
                    .take(DELIVERIES - 1)
                    .map(int)
                    .collect();
                took(|| state.ours.unicast(&ids, &state.message))
            },
            |state, round| {
                let to: Vec<usize> = random(streams, round).take(DELIVERIES).collect();
                took(|| state.bare.write(to.into_iter(), &state.frame))
            },
            |state| state.clients.read(DELIVERIES * state.frame.len()),
        ),
    ]
}

fn int(place: usize) -> Id {
    Id::Int(i64::try_from(place).expect("streams are few"))
}

/// Places in a random order, the same for both sides of a round.
fn random(streams: usize, round: usize) -> impl Iterator<Item = usize> {
    let mut random = fastrand::Rng::with_seed(round as u64);
    std::iter::repeat_with(move || random.usize(..streams))
}
