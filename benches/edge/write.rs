//! Fan-out and unicast to held streams, beside a loop of `write(2)` over as many sockets that the same
//! clients hold; and beside that loop, in the place of ours, io_uring over the same sockets.

use lariat::hub::Framing;
use lariat::wire::{Id, Ids, Message};
use serde_json::Value;

use crate::bare::Bare;
use crate::clients::Clients;
use crate::ours::Ours;
use crate::ratio::{Took, compare, took};
#[cfg(target_os = "linux")]
use crate::ring::Ring;

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
    Framing::Chunked.frame((&message).into(), &mut frame);
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
    let each = |_| (0..streams).cycle().take(DELIVERIES).collect();
    let any = |round| random(streams, round).take(DELIVERIES).collect();
    let mut lines = vec![compare(
        &format!("fan-out to {streams}"),
        DELIVERIES,
        &mut state,
        |state, _| {
            let fan_out = |_| state.ours.fan_out(&state.all, &state.message);
            took(|| (0..times).for_each(fan_out))
        },
        |state, round| state.write(each(round)),
        State::read,
    )];
    lines.extend(others("fan-out", &mut state, each));
    // The unicast of ours ends with one message more, which says that the others are written.
    lines.push(compare(
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
        |state, round| state.write(any(round)),
        State::read,
    ));
    lines.extend(others("unicast", &mut state, any));
    lines
}

impl State {
    fn write(&mut self, to: Vec<usize>) -> Took {
        let (bare, frame) = (&mut self.bare, &self.frame);
        took(|| bare.write(to.into_iter(), frame))
    }

    fn read(&mut self) {
        self.clients.read(DELIVERIES * self.frame.len());
    }
}

/// The loop of `write(2)` beside itself, which shows what the ratios of a run are worth, and loops of
/// `send(2)` and io_uring beside it.
fn others(what: &str, state: &mut State, to: impl Fn(usize) -> Vec<usize>) -> Vec<Value> {
    let size = state.bare.sockets.len();
    let mut lines = vec![compare(
        &format!("  {what}, {size}: bare again"),
        DELIVERIES,
        state,
        |state, round| state.write(to(round)),
        |state, round| state.write(to(round)),
        State::read,
    )];
    lines.push(compare(
        &format!("  {what}, {size}: send(2)"),
        DELIVERIES,
        state,
        |state, round| {
            let (to, frame) = (to(round), &state.frame);
            took(|| state.bare.send(to.into_iter(), frame))
        },
        |state, round| state.write(to(round)),
        State::read,
    ));
    #[cfg(target_os = "linux")]
    for (name, ring) in [
        ("io_uring", Ring::start()),
        ("its table", Ring::with_table(&state.bare.sockets)),
    ] {
        let mut ring = match ring {
            Ok(ring) => ring,
            Err(error) => {
                println!("  {what}, {size}: {name}: refused here: {error}");
                continue;
            }
        };
        lines.push(compare(
            &format!("  {what}, {size}: {name}"),
            DELIVERIES,
            &mut (&mut *state, &mut ring),
            |(state, ring), round| {
                let to = to(round);
                took(|| ring.write(&state.bare.sockets, to.into_iter(), &state.frame))
            },
            |(state, _), round| state.write(to(round)),
            |(state, _)| state.read(),
        ));
    }
    lines
}

fn int(place: usize) -> Id {
    Id::Int(i64::try_from(place).expect("streams are few"))
}

/// Places in a random order, the same for both sides of a round.
fn random(streams: usize, round: usize) -> impl Iterator<Item = usize> {
    let mut random = fastrand::Rng::with_seed(round as u64);
    std::iter::repeat_with(move || random.usize(..streams))
}
