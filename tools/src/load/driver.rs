//! The poller: one thread that opens, reads, cuts and closes the sockets of one process.
//!
//! It parses nothing, counts nothing and decides nothing about the end: bytes go to the
//! `connection`, its events to the `tally`; who leaves when is the `leaves`' affair. Polling is
//! edge-triggered: a socket that was not read dry keeps its place in `unread`, a slow reader's in
//! `slow`.
//!
//! | a connection is | until | then |
//! |---|---|---|
//! | Held, opening | it is open | Held, open |
//! | Held, opening | it fails, is refused, or takes too long | Over; Away, if it was coming back |
//! | Held, open | it leaves or is cut | Away |
//! | Held, open | the server ends it | Over; Away with `--come-back` |
//! | Away | its time comes | Held, opening |

mod traffic;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};
use socket2::SockRef;

use super::Error;
use super::connection::Connection;
use super::holder::Holder;
use super::leaves::{Leave, Leaves};
use super::pace::Pace;
use super::plan::Plan;
use super::schedule::Schedule;
use super::socket;
use super::source::Sources;
use super::stop::{Asked, Requests};
use super::storm::Failure;
use super::tally::Tally;

/// Connections take the tokens from 0; this one is beyond any number of them.
const STOP: Token = Token(usize::MAX - 1);

/// Readiness events taken at a time: 12 KB; more wait in the kernel.
const EVENTS_MAX: usize = 1024;

/// One buffer for all sockets: one read takes what a socket of default size holds.
const READ_BYTES: usize = 128 * 1024;

/// What one that could not come back waits, unless the server said how long: a second, give or
/// take half, as clients with some manners do.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Driver {
    plan: Plan,
    poll: Poll,
    events: Events,
    stop: Requests,
    sources: Sources,
    schedule: Schedule,
    leaves: Leaves,
    /// When all were open: from here the leaves' time counts.
    begun: Option<Instant>,
    tally: Tally,
    /// By number of the connection.
    states: Vec<State>,
    opening: u32,
    open: u32,
    /// Each Away connection by the time it comes back.
    away: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Connections by the time they must be open; those that already are, or are gone, are passed
    /// over.
    deadlines: VecDeque<(Instant, usize)>,
    unread: Vec<usize>,
    /// Slow readers with something to read, by the time they may.
    slow: BinaryHeap<Reverse<(Instant, usize)>>,
    buffer: Vec<u8>,
    request: Vec<u8>,
    started: Instant,
    advised: bool,
}

enum State {
    Held(Box<Held>),
    Away(Return),
    Over,
}

struct Held {
    socket: TcpStream,
    connection: Connection,
    deadline: Instant,
    was_open: bool,
    pace: Option<Pace>,
    /// It has a place in `slow`.
    is_paced: bool,
    /// It was open before.
    returning: Option<Return>,
}

/// Why one is not there, or not there yet.
#[derive(Debug, Clone, Copy)]
struct Return {
    /// When the storm cut it; absent when it left otherwise.
    cut: Option<Instant>,
}

impl Driver {
    pub(super) fn new(plan: Plan, mut stop: Requests) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::Poll)?;
        poll.registry()
            .register(&mut stop.socket, STOP, Interest::READABLE)
            .map_err(Error::Poll)?;
        let tally = match plan.per_id {
            Some((ids, connections)) => Tally::new().with_per_id(ids, connections),
            None => Tally::new(),
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            stop,
            sources: Sources::new(&plan.sources, plan.address),
            schedule: Schedule::new(plan.connections, plan.rate),
            leaves: Leaves::new(plan.connections, plan.churn, plan.drop_every, plan.storm_at),
            begun: None,
            tally,
            states: Vec::new(),
            opening: 0,
            open: 0,
            away: BinaryHeap::new(),
            deadlines: VecDeque::new(),
            unread: Vec::new(),
            slow: BinaryHeap::new(),
            buffer: vec![0; READ_BYTES],
            request: Vec::new(),
            started: Instant::now(),
            advised: false,
            plan,
        })
    }

    /// When anything but a socket wants a turn.
    fn wake_at(&self) -> Option<Instant> {
        let mut wakes = [self.deadlines.front().map(|(at, _)| *at), None, None, None];
        if self.opening < self.plan.opening_max {
            wakes[1] = self.schedule.next_at().map(|at| self.started + at);
            wakes[2] = self.away.peek().map(|Reverse((at, _))| *at);
        }
        if let Some(begun) = self.begun {
            wakes[3] = self.leaves.next_at().and_then(|at| begun.checked_add(at));
        }
        let slow = self.slow.peek().map(|Reverse((at, _))| *at);
        wakes.into_iter().chain([slow]).flatten().min()
    }

    /// Opens those whose time has come: who comes back before who comes first.
    fn open_due(&mut self, now: Instant) {
        while self.opening < self.plan.opening_max {
            let Some(Reverse((at, number))) = self.away.peek().copied() else {
                break;
            };
            if at > now {
                break;
            }
            self.away.pop();
            if let State::Away(why) = self.states[number] {
                if why.cut.is_some() {
                    self.tally.storm.handle_attempt();
                }
                self.connect(number, now, Some(why));
            }
        }
        let room = self.plan.opening_max - self.opening.min(self.plan.opening_max);
        for _ in 0..self.schedule.due(now - self.started).min(room) {
            let Some(number) = self.schedule.take() else {
                return;
            };
            let number = usize::try_from(number).expect("a u32 fits");
            self.states.push(State::Over);
            self.connect(number, now, None);
        }
    }

    fn connect(&mut self, number: usize, now: Instant, returning: Option<Return>) {
        let at = numbered(number);
        let is_slow = self.plan.is_slow(at);
        let registry = self.poll.registry();
        match open(
            &mut self.sources,
            &self.plan,
            registry,
            Token(number),
            is_slow,
        ) {
            Ok(socket) => {
                let deadline = now + self.plan.opening_timeout;
                self.states[number] = State::Held(Box::new(Held {
                    socket,
                    connection: Connection::new(
                        self.plan.id(at),
                        self.plan.transport,
                        fastrand::u64(..),
                    ),
                    deadline,
                    was_open: false,
                    pace: is_slow.then(|| Pace::new(self.plan.slow_rate, now)),
                    is_paced: false,
                    returning,
                }));
                self.deadlines.push_back((deadline, number));
                self.opening += 1;
            }
            Err(error) => self.connect_failed(number, returning, &error),
        }
    }

    fn connect_failed(&mut self, number: usize, returning: Option<Return>, error: &io::Error) {
        let is_slow = self.plan.is_slow(numbered(number));
        self.tally.class(is_slow).handle_connect_error(error);
        if !std::mem::replace(&mut self.advised, true) {
            let advice =
                socket::advice(error).map_or(String::new(), |advice| format!("; {advice}"));
            let address = self.plan.address;
            eprintln!("load: cannot connect to {address}: {error}{advice}");
        }
        if returning.is_some_and(|why| why.cut.is_some()) {
            self.tally.storm.handle_failure(Failure::Connect);
        }
        self.retire(number, returning, None);
    }

    /// A connection was not opened: over, or to be tried again.
    fn retire(&mut self, number: usize, returning: Option<Return>, retry_after_s: Option<u32>) {
        let Some(why) = returning else {
            self.states[number] = State::Over;
            return;
        };
        let wait = match retry_after_s {
            Some(seconds) => Duration::from_secs(u64::from(seconds)),
            None => RETRY / 2 + RETRY.mul_f64(fastrand::f64()),
        };
        self.leave(number, why, wait);
    }

    fn leave(&mut self, number: usize, why: Return, wait: Duration) {
        self.states[number] = State::Away(why);
        self.away.push(Reverse((Instant::now() + wait, number)));
    }

    fn give_up_late(&mut self, now: Instant) {
        while let Some((deadline, number)) = self.deadlines.front().copied() {
            let State::Held(held) = &self.states[number] else {
                self.deadlines.pop_front();
                continue;
            };
            let is_late = held.deadline == deadline && !held.was_open;
            if is_late && deadline > now {
                return;
            }
            self.deadlines.pop_front();
            if is_late {
                let (returning, is_slow) = (held.returning, held.pace.is_some());
                self.opening -= 1;
                self.tally.class(is_slow).counts.opening_timeouts += 1;
                if returning.is_some_and(|why| why.cut.is_some()) {
                    self.tally.storm.handle_failure(Failure::Timeout);
                }
                self.retire(number, returning, None);
            }
        }
    }

    fn cut_due(&mut self, now: Instant) {
        let Some(begun) = self.begun else { return };
        while let Some(leave) = self.leaves.take(now - begun) {
            match leave {
                Leave::Churn(number) => {
                    self.cut(number, Return { cut: None }, Duration::ZERO, false);
                }
                Leave::Drop(number) => {
                    let wait = self.plan.drop_for.unwrap_or_default();
                    self.cut(number, Return { cut: None }, wait, true);
                }
                Leave::Storm => {
                    let open = self.open;
                    for number in 0..self.plan.connections {
                        self.cut(number, Return { cut: Some(now) }, Duration::ZERO, true);
                    }
                    self.tally.storm.handle_cut(open - self.open);
                }
            }
        }
    }

    /// Closes the connection if it is open. Abruptly is with a reset: it leaves no port behind that
    /// would have to rest a minute (TIME_WAIT).
    fn cut(&mut self, number: u32, why: Return, wait: Duration, abruptly: bool) {
        let number = usize::try_from(number).expect("a u32 fits");
        let Some(State::Held(held)) = self.states.get(number) else {
            return;
        };
        if !held.was_open {
            return;
        }
        if abruptly {
            reset_when_closed(&held.socket);
        }
        let is_slow = held.pace.is_some();
        self.tally.class(is_slow).counts.left += 1;
        self.open -= 1;
        self.leave(number, why, wait);
    }
}

impl Holder for Driver {
    fn turn(&mut self, until: Instant) -> Result<(), Error> {
        let now = Instant::now();
        self.cut_due(now);
        self.open_due(now);
        self.give_up_late(now);
        while let Some(Reverse((_, number))) = self.slow.peek().copied().filter(|s| s.0.0 <= now) {
            self.slow.pop();
            if let State::Held(held) = &mut self.states[number] {
                held.is_paced = false;
                self.read(number, true);
            }
        }
        let wait = match self.unread.is_empty() {
            true => self.wake_at().map_or(until, |wake| wake.min(until)),
            false => now,
        };
        if !self.plan.rest.is_zero() {
            std::thread::sleep(self.plan.rest);
        }
        let wait = wait.saturating_duration_since(Instant::now());
        match self.poll.poll(&mut self.events, Some(wait)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(Error::Poll(error)),
        }
        for number in std::mem::take(&mut self.unread) {
            self.read(number, true);
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let Token(number) = event.token();
            if event.token() == STOP {
                self.stop.read();
                continue;
            }
            if event.is_writable() {
                self.write(number);
            }
            let ends = event.is_read_closed() || event.is_error();
            if event.is_readable() || ends {
                self.read(number, ends);
            }
        }
        self.events = events;
        Ok(())
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn open(&self) -> u32 {
        self.open
    }

    fn coming(&self) -> u32 {
        self.opening + numbered(self.away.len())
    }

    fn is_settled(&self) -> bool {
        self.begun.is_some() || (self.schedule.is_over() && self.opening == 0)
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.begun.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn asked(&self) -> Asked {
        self.stop.asked()
    }

    fn end(&mut self) -> Result<(), Error> {
        let held = self.states.iter().filter_map(|state| match state {
            State::Held(held) => Some(held),
            _ => None,
        });
        for held in held.filter(|_| self.plan.reset) {
            reset_when_closed(&held.socket);
        }
        Ok(())
    }
}

/// Begins a connection, registered with the poller.
fn open(
    sources: &mut Sources,
    plan: &Plan,
    registry: &Registry,
    token: Token,
    is_slow: bool,
) -> io::Result<TcpStream> {
    let mut socket = sources.connect(plan.address, is_slow)?;
    registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(socket)
}

fn reset_when_closed(socket: &TcpStream) {
    // Where it fails the connection has ended already.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

fn numbered(number: usize) -> u32 {
    u32::try_from(number).expect("connections are counted in u32")
}
