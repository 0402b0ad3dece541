//! The poller: one thread that opens, reads and closes all sockets of a run.
//!
//! It parses nothing, counts nothing and decides nothing about the end: bytes go to the
//! `connection`, its events to the `report`, the time to the `goal`. Polling is edge-triggered: a
//! socket that was not read dry keeps its place in `unread`.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::connection::{Connection, Event};
use super::goal::{Goal, Step, Terms};
use super::options::Options;
use super::report::{Expected, Report, Run, Tally};
use super::schedule::Schedule;
use super::source::Sources;
use super::stop::StopRequests;
use super::{Error, socket, write_file};
use crate::output;

/// Connections take the tokens from 0; this one is beyond any number of them.
const STOP: Token = Token(usize::MAX - 1);

/// Readiness events taken at a time: 12 KB; more wait in the kernel.
const EVENTS_MAX: usize = 1024;

/// One buffer for all sockets: one read takes what a socket of default size holds.
const READ_BYTES: usize = 128 * 1024;

/// Reads from one socket in a turn, so that a server that never stops cannot hold up the clock.
const READS_PER_TURN: u32 = 8;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Driver {
    poll: Poll,
    stop: StopRequests,
    address: SocketAddr,
    sources: Sources,
    schedule: Schedule,
    goal: Goal,
    tally: Tally,
    /// By number of the connection; `None` once it is over.
    slots: Vec<Option<Slot>>,
    opening: u32,
    open: u32,
    /// Connections by the time they must be open; those that are already are passed over.
    deadlines: VecDeque<(Instant, usize)>,
    unread: Vec<usize>,
    buffer: Vec<u8>,
    request: Vec<u8>,
    started: Instant,
    first_message: Option<Instant>,
    last_message: Instant,
    advised: bool,
}

struct Slot {
    socket: TcpStream,
    connection: Connection,
}

impl Driver {
    pub(super) fn new(options: &Options, address: SocketAddr) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::Poll)?;
        let mut stop = StopRequests::install(options.until_stdin_closes).map_err(Error::Signals)?;
        poll.registry()
            .register(&mut stop.socket, STOP, Interest::READABLE)
            .map_err(Error::Poll)?;
        let connections = options.connections.get();
        let tally = match options.per_id {
            Some(_) => Tally::new().with_per_id(options.ids(), connections),
            None => Tally::new(),
        };
        let started = Instant::now();
        Ok(Self {
            poll,
            stop,
            address,
            sources: Sources::new(&options.sources(), address),
            schedule: Schedule::new(connections, options.rate),
            goal: Goal::new(Terms {
                duration: options.duration,
                expect: options.expect,
                timeout: options.timeout,
                quiet: options.quiet,
                hold: options.until_stdin_closes,
            }),
            tally,
            slots: Vec::new(),
            opening: 0,
            open: 0,
            deadlines: VecDeque::new(),
            unread: Vec::new(),
            buffer: vec![0; READ_BYTES],
            request: Vec::new(),
            started,
            first_message: None,
            last_message: started,
            advised: false,
        })
    }

    pub(super) fn run(mut self, options: &Options) -> Result<(Report, Tally), Error> {
        let connections = options.connections.get();
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut told = self.started;
        let mut connecting = None;
        let ended_by = loop {
            let now = Instant::now();
            self.open_due(options, now);
            self.give_up_late(now);
            if connecting.is_none() && self.schedule.is_over() && self.opening == 0 {
                connecting = Some(now - self.started);
                self.goal.handle_settled(now);
                self.tell_connected(options, now - self.started)?;
            }
            let goal_at = match self.goal.poll(now, self.tally.messages(), self.open) {
                Step::Stop(by) => break by,
                Step::Wait(at) => at,
                Step::Reached => {
                    self.tell_expected()?;
                    continue;
                }
            };
            if now - told >= PROGRESS_EVERY {
                eprintln!(
                    "{}",
                    self.tally.progress(connections, self.open, now - told)
                );
                told = now;
            }
            let wake = [goal_at, self.open_next_at(options)].into_iter().flatten();
            let wake = wake.fold(told + PROGRESS_EVERY, Instant::min);
            self.turn(options, &mut events, wake)?;
        };
        let run = Run {
            ended_by,
            connections,
            open: self.open,
            expect: options.expect,
            connecting: connecting.unwrap_or_else(|| self.started.elapsed()),
            receiving: self
                .first_message
                .map_or(Duration::ZERO, |first| self.last_message - first),
            total: self.started.elapsed(),
        };
        Ok((self.tally.finish(run), self.tally))
    }

    /// Waits until `wake` for readiness, and acts on it.
    fn turn(&mut self, options: &Options, events: &mut Events, wake: Instant) -> Result<(), Error> {
        let wait = match self.unread.is_empty() {
            true => wake.saturating_duration_since(Instant::now()),
            false => Duration::ZERO,
        };
        match self.poll.poll(events, Some(wait)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(Error::Poll(error)),
        }
        for at in std::mem::take(&mut self.unread) {
            self.read(at, true);
        }
        for event in events.iter() {
            if event.token() == STOP {
                if let Some(by) = self.stop.asked() {
                    self.goal.handle_asked(by);
                }
                continue;
            }
            let Token(at) = event.token();
            if event.is_writable() {
                self.write(options, at);
            }
            let ends = event.is_read_closed() || event.is_error();
            if event.is_readable() || ends {
                self.read(at, ends);
            }
        }
        Ok(())
    }

    /// When the schedule, or the next deadline of an opening, wants a turn.
    fn open_next_at(&self, options: &Options) -> Option<Instant> {
        let deadline = self.deadlines.front().map(|(at, _)| *at);
        let due = match self.opening < options.opening_max {
            true => self.schedule.next_at().map(|at| self.started + at),
            false => None,
        };
        deadline.into_iter().chain(due).min()
    }

    fn open_due(&mut self, options: &Options, now: Instant) {
        let room = options.opening_max - self.opening.min(options.opening_max);
        for _ in 0..self.schedule.due(now - self.started).min(room) {
            let Some(number) = self.schedule.take() else {
                return;
            };
            let at = self.slots.len();
            let opened = self.sources.connect(self.address).and_then(|mut socket| {
                let both = Interest::READABLE | Interest::WRITABLE;
                let registry = self.poll.registry();
                registry.register(&mut socket, Token(at), both)?;
                Ok(socket)
            });
            match opened {
                Ok(socket) => {
                    let connection = Connection::new(options.ids().id(number), options.transport);
                    self.slots.push(Some(Slot { socket, connection }));
                    self.deadlines
                        .push_back((now + options.opening_timeout, at));
                    self.opening += 1;
                }
                Err(error) => {
                    self.slots.push(None);
                    self.connect_failed(&error);
                }
            }
        }
    }

    fn give_up_late(&mut self, now: Instant) {
        while let Some((deadline, at)) = self.deadlines.front().copied() {
            let late = self.slots[at]
                .as_ref()
                .is_some_and(|slot| !slot.connection.is_open());
            if late && deadline > now {
                return;
            }
            self.deadlines.pop_front();
            if late {
                self.slots[at] = None;
                self.opening -= 1;
                self.tally.handle_opening_timeout();
            }
        }
    }

    fn connect_failed(&mut self, error: &io::Error) {
        self.tally.handle_connect_error(error);
        if !std::mem::replace(&mut self.advised, true) {
            let advice =
                socket::advice(error).map_or(String::new(), |advice| format!("; {advice}"));
            eprintln!("load: cannot connect to {}: {error}{advice}", self.address);
        }
    }

    /// The socket is connected, or failed to, or has room for the rest of the request.
    fn write(&mut self, options: &Options, at: usize) {
        let Some(slot) = &mut self.slots[at] else {
            return;
        };
        let Some(sent) = slot.connection.request_sent() else {
            return;
        };
        let id = slot.connection.id();
        options
            .url
            .write_request(id, options.transport, &mut self.request);
        let failed = match slot.socket.take_error() {
            Ok(None) => match slot.socket.write(&self.request[sent..]) {
                Ok(more) => {
                    slot.connection.handle_sent(sent + more, self.request.len());
                    return;
                }
                Err(error) => error,
            },
            Ok(Some(error)) | Err(error) => error,
        };
        match failed.kind() {
            io::ErrorKind::WouldBlock
            | io::ErrorKind::NotConnected
            | io::ErrorKind::Interrupted => {}
            _ => {
                self.slots[at] = None;
                self.opening -= 1;
                self.connect_failed(&failed);
            }
        }
    }

    /// Reads the socket dry, or puts it in `unread`.
    ///
    /// A read that does not fill the buffer took all there was (epoll(7), question 9), which
    /// saves the read that would say so; but not the end of file, when that has come (`to_end`).
    fn read(&mut self, at: usize, to_end: bool) {
        for _ in 0..READS_PER_TURN {
            let Some(slot) = &mut self.slots[at] else {
                return;
            };
            let was_open = slot.connection.is_open();
            let ending = match slot.socket.read(&mut self.buffer) {
                Ok(0) => slot.connection.handle_end(),
                Ok(bytes) => {
                    self.take(at, bytes);
                    if bytes < READ_BYTES && !to_end {
                        return;
                    }
                    continue;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => return,
                    io::ErrorKind::Interrupted => continue,
                    _ => slot.connection.handle_reset(),
                },
            };
            let id = slot.connection.id();
            if let Some(event) = ending {
                self.tally.handle(event, id, 0);
            }
            self.over(at, was_open);
            return;
        }
        self.unread.push(at);
    }

    /// `bytes` of the buffer came from the connection.
    fn take(&mut self, at: usize, bytes: usize) {
        let Some(Slot { connection, .. }) = &mut self.slots[at] else {
            return;
        };
        let now_ns = realtime_ns();
        let tally = &mut self.tally;
        let messages_before = tally.messages();
        tally.handle_read(bytes);
        let id = connection.id();
        let was_open = connection.is_open();
        let mut is_over = false;
        let mut has_opened = false;
        connection.handle_bytes(&self.buffer[..bytes], |event| {
            has_opened |= event == Event::Opened;
            is_over |= matches!(
                event,
                Event::Refused(_) | Event::Closed(_) | Event::Faulted(_)
            );
            tally.handle(event, id, now_ns);
        });
        if tally.messages() > messages_before {
            self.last_message = Instant::now();
            self.first_message.get_or_insert(self.last_message);
        }
        if has_opened {
            self.opening -= 1;
            self.open += 1;
        }
        if is_over {
            self.over(at, was_open || has_opened);
        }
    }

    fn over(&mut self, at: usize, was_open: bool) {
        self.slots[at] = None;
        match was_open {
            true => self.open -= 1,
            false => self.opening -= 1,
        }
    }

    fn tell_connected(&self, options: &Options, took: Duration) -> Result<(), Error> {
        let connected = self
            .tally
            .connected(options.connections.get(), self.open, took);
        let line = output::json_line(&connected).map_err(Error::Output)?;
        if let Some(path) = &options.ready_file {
            write_file(path, &line)?;
        }
        output::print(&line).map_err(Error::Output)
    }

    fn tell_expected(&self) -> Result<(), Error> {
        let expected = Expected {
            event: "expected",
            messages: self.tally.messages(),
        };
        let line = output::json_line(&expected).map_err(Error::Output)?;
        output::print(&line).map_err(Error::Output)
    }
}

/// CLOCK_REALTIME, which stamps are made of.
fn realtime_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
