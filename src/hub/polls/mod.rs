//! Long polls: connections that have a socket only while their client asks.
//!
//! A connection begins with a poll without a cursor and lives from poll to poll: it has its slot, its
//! conn and its outbox also while nobody asks, so that nothing is lost in between. What its client has
//! been told stays in the outbox until the client's next cursor says that it has come, or until the
//! room is needed. An answer goes out when everything that came together is there, at the end of a
//! turn. It reads no request; what an answer looks like is `answer`'s.
//!
//! | state | a poll comes | a message comes | its socket is gone | its time comes |
//! |---|---|---|---|---|
//! | away | waiting; answered if something is there | waits in the outbox | – | gone (`client`) |
//! | waiting | the older one is told 409; waiting | answered → away, or writing | away | told 204 → away |
//! | writing | the older one is cut; waiting | waits in the outbox | away | away |

mod answer;
mod cursor;
pub(super) mod json;
#[cfg(test)]
mod law_test;

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};

pub(super) use answer::Answer;
pub use cursor::{Cursor, NoCursor};

use super::congestion::Refused;
use super::outbox::{Entry, Outbox};
use super::pieces::Kept;
use super::{Hub, Output, Sockets, WhenFull};
use crate::wire::{Conn, Id, Reason};

/// Bytes of messages in one answer, or one message: what a fresh socket takes at once. The rest
/// is what the next poll finds.
const ANSWER_BYTES: usize = 64 * 1024;

/// How long the client of an away connection may be away when nobody says.
const LINGER: Duration = Duration::from_secs(60);

/// What a poll asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// How far its client has got; `None` when it has just begun.
    pub after: Option<Result<Cursor, NoCursor>>,
    /// How long it may wait.
    pub wait: Duration,
    /// What nobody can guess, for a connection that begins with it.
    pub key: u64,
    /// Fields for the head of its answer, each with its line end.
    pub fields: Bytes,
}

/// What became of polls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Answered with messages.
    pub told: u64,
    /// Answered with a first cursor.
    pub begun: u64,
    /// Answered with nothing.
    pub nothing: u64,
    /// Their cursor was not known any more.
    pub anew: u64,
    /// A later one took their place.
    pub replaced: u64,
    /// Their client left before the answer, or did not take it.
    pub left: u64,
}

/// The connections that are polls, by slot.
#[derive(Debug)]
pub(super) struct Polls {
    rows: HashMap<u32, Poll>,
    /// When each of them has to be looked at.
    due: BTreeSet<(Duration, u32)>,
    /// Waiting, and something has come.
    ready: Vec<u32>,
    /// Time that has passed since there is this hub.
    now: Duration,
    /// The time of day, as it was last said.
    date: SystemTime,
    linger: Duration,
    polled: Polled,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Poll {
    key: u64,
    /// Messages that are not in the outbox any more.
    base: u64,
    /// Messages that have been told, `base` at least.
    told: u64,
    due: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Away,
    /// With fields for its answer.
    Waiting(Option<Box<Bytes>>),
    /// What the socket has not taken.
    Writing(Box<Bytes>),
}

const _: () = assert!(size_of::<Poll>() == 56, "what ARCHITECTURE says");

impl Default for Polls {
    fn default() -> Polls {
        Polls {
            rows: HashMap::new(),
            due: BTreeSet::new(),
            ready: Vec::new(),
            now: Duration::ZERO,
            date: SystemTime::UNIX_EPOCH,
            linger: LINGER,
            polled: Polled::default(),
            scratch: Vec::new(),
        }
    }
}

impl Polls {
    /// No polls, at the same time.
    pub(super) fn successor(&self) -> Polls {
        Polls {
            now: self.now,
            date: self.date,
            linger: self.linger,
            ..Polls::default()
        }
    }

    fn begin(&mut self, slot: u32, key: u64) {
        let due = self.now + self.linger;
        let poll = Poll {
            key,
            base: 0,
            told: 0,
            due,
            state: State::Away,
        };
        self.due.insert((due, slot));
        self.rows.insert(slot, poll);
    }

    /// A state and the time that it has.
    fn enter(&mut self, slot: u32, state: State, time: Duration) -> State {
        let poll = self.rows.get_mut(&slot).expect("the caller has seen it");
        self.due.remove(&(poll.due, slot));
        poll.due = self.now + time;
        self.due.insert((poll.due, slot));
        std::mem::replace(&mut poll.state, state)
    }

    fn away(&mut self, slot: u32) -> State {
        self.enter(slot, State::Away, self.linger)
    }

    fn cursor(&self, slot: u32, ahead: u64) -> Cursor {
        let Poll { key, base, .. } = self.rows[&slot];
        Cursor {
            slot,
            key,
            seen: base + ahead,
        }
    }

    fn remove(&mut self, slot: u32) -> Option<Poll> {
        let poll = self.rows.remove(&slot)?;
        self.due.remove(&(poll.due, slot));
        if self.rows.is_empty() {
            self.rows = HashMap::new();
        }
        Some(poll)
    }
}

impl<S: BuildHasher> Hub<S> {
    /// How long a client may be away between two polls, from now on.
    pub fn set_poll_linger(&mut self, linger: Duration) {
        self.polls.linger = linger;
    }

    /// What became of polls since this was last asked.
    pub fn take_polled(&mut self) -> Polled {
        std::mem::take(&mut self.polls.polled)
    }

    /// The connection that a poll goes on with. A cursor that is older than what is kept, or from
    /// elsewhere, is nobody's.
    pub fn poll_of(&self, id: &Id, ask: &Ask) -> Option<Conn> {
        let cursor = ask.after?.ok()?;
        let poll = self.polls.rows.get(&cursor.slot)?;
        let is_known = poll.key == cursor.key && (poll.base..=poll.told).contains(&cursor.seen);
        let held = self.slots.get(cursor.slot)?;
        (is_known && held.id == *id).then(|| self.conn(cursor.slot))
    }

    /// Lets go of the socket that a connection has, for the one that is to come.
    pub fn handle_poll_replaced(&mut self, conn: Conn, sockets: &mut impl Sockets) {
        match self.polls.away(conn.slot) {
            State::Away => return,
            State::Waiting(fields) => {
                self.say(conn.slot, Answer::Replaced, fields, sockets);
                self.polls.polled.replaced += 1;
            }
            State::Writing(_) => self.polls.polled.left += 1,
        }
        self.polls.away(conn.slot);
        self.outputs.push_back(Output::Answered(conn.slot));
    }

    /// A poll has come, and its socket is in the connection's slot.
    pub fn handle_poll(&mut self, conn: Conn, ask: Ask, sockets: &mut impl Sockets) {
        let slot = conn.slot;
        let is_new = !self.polls.rows.contains_key(&slot);
        let fields = (!ask.fields.is_empty()).then(|| Box::new(ask.fields));
        if is_new {
            self.polls.begin(slot, ask.key);
            let answer = match ask.after {
                None => Answer::Told,
                Some(_) => Answer::Anew,
            };
            match answer {
                Answer::Told => self.polls.polled.begun += 1,
                _ => self.polls.polled.anew += 1,
            }
            return self.say(slot, answer, fields, sockets);
        }
        if let Some(Ok(cursor)) = ask.after {
            self.poll_acknowledges(slot, cursor.seen);
        }
        self.polls.enter(slot, State::Waiting(fields), ask.wait);
        if self
            .slots
            .get(slot)
            .is_some_and(|held| held.outbox.is_some())
        {
            self.polls.ready.push(slot);
        }
    }

    pub(super) fn has_ready_polls(&self) -> bool {
        !self.polls.ready.is_empty()
    }

    /// Answers those for whom something has come. To be called at the end of each turn, before
    /// [`Hub::poll_output`].
    pub fn handle_ready_polls(&mut self, sockets: &mut impl Sockets) {
        let mut ready = std::mem::take(&mut self.polls.ready);
        for slot in ready.drain(..) {
            self.tell_poll(slot, sockets);
        }
        self.polls.ready = ready;
    }

    /// Time passes: polls that have waited long enough are answered, clients that have been away too
    /// long are gone.
    pub fn handle_poll_time(
        &mut self,
        elapsed: Duration,
        date: SystemTime,
        sockets: &mut impl Sockets,
    ) {
        self.polls.now += elapsed;
        self.polls.date = date;
        while let Some(&(due, slot)) = self.polls.due.first()
            && due <= self.polls.now
        {
            match self.polls.away(slot) {
                State::Away => self.remove(slot, Reason::Client),
                State::Waiting(fields) => {
                    let nothing = Answer::Nothing { retry_ms: None };
                    self.polls.polled.nothing += 1;
                    self.say(slot, nothing, fields, sockets);
                }
                State::Writing(_) => {
                    self.polls.polled.left += 1;
                    self.outputs.push_back(Output::Answered(slot));
                }
            }
        }
    }

    /// The socket of a poll is gone. `false` when it is no poll, or has none.
    pub(super) fn poll_lost_socket(&mut self, slot: u32) -> bool {
        let poll = self.polls.rows.get(&slot);
        if poll.is_none_or(|poll| matches!(poll.state, State::Away)) {
            return false;
        }
        self.polls.away(slot);
        self.polls.polled.left += 1;
        self.outputs.push_back(Output::Answered(slot));
        true
    }

    /// A message for a poll: it waits at least until the end of the turn.
    pub(super) fn deliver_poll(&mut self, slot: u32, frame: Kept) -> Result<(), Refused> {
        let held = self.slots.get(slot).expect("the caller has seen it");
        let limits = self.limits;
        let is_full = held.outbox.as_ref().is_some_and(|outbox| {
            outbox.bytes() + frame.len() > limits.outbox_bytes_max
                || outbox.messages() >= limits.outbox_messages_max
        });
        // What has been told is kept in case that it did not arrive: not at the cost of what is new.
        let when_full = held.mode.when_full();
        if is_full && matches!(when_full, WhenFull::Close | WhenFull::DropNewest) {
            let told = self.polls.rows[&slot].told;
            self.poll_acknowledges(slot, told);
        }
        let before = self.told_messages(slot);
        self.enqueue(slot, frame, 0)?;
        // Nor is it lost.
        let again = before.saturating_sub(self.told_messages(slot));
        match when_full {
            WhenFull::DropOldest => self.lost.oldest -= again,
            WhenFull::KeepLatest => self.lost.replaced -= again,
            WhenFull::Close | WhenFull::DropNewest => {}
        }
        if let Some(poll) = self.polls.rows.get(&slot)
            && matches!(poll.state, State::Waiting(_))
            && self.polls.ready.last() != Some(&slot)
        {
            self.polls.ready.push(slot);
        }
        Ok(())
    }

    /// The socket takes bytes again.
    pub(super) fn poll_writable(&mut self, slot: u32, sockets: &mut impl Sockets) {
        let Some(Poll {
            state: State::Writing(rest),
            ..
        }) = self.polls.rows.get_mut(&slot)
        else {
            return;
        };
        match sockets.write(slot, rest) {
            Some(written) if written == rest.len() => {
                self.polls.away(slot);
                self.outputs.push_back(Output::Answered(slot));
            }
            Some(written) => rest.advance(written),
            None => {
                self.poll_lost_socket(slot);
            }
        }
    }

    /// The connection ends: who waits is told what there is, or that there is nothing.
    pub(super) fn close_poll(
        &mut self,
        slot: u32,
        reason: Reason,
        retry_ms: Option<u32>,
        sockets: &mut impl Sockets,
    ) {
        if let State::Waiting(fields) = self.polls.away(slot) {
            let held = self.slots.get(slot);
            if held.is_some_and(|held| held.outbox.is_some()) {
                self.polls.polled.told += 1;
                self.say(slot, Answer::Told, fields, sockets);
            } else {
                self.polls.polled.nothing += 1;
                self.say(slot, Answer::Nothing { retry_ms }, fields, sockets);
            }
        }
        self.remove(slot, reason);
    }

    /// A poll that is gone takes what it has told from its outbox: that is not unsent.
    pub(super) fn forget_poll(&mut self, slot: u32) {
        if let Some(poll) = self.polls.rows.get(&slot) {
            self.poll_acknowledges(slot, poll.told);
            self.polls.remove(slot);
        }
    }

    /// How many messages of an outbox have been told already.
    fn told_messages(&self, slot: u32) -> u64 {
        let Poll { base, told, .. } = self.polls.rows[&slot];
        let outbox = self.slots.get(slot).and_then(|held| held.outbox.as_ref());
        outbox.map_or(0, |outbox| outbox.messages_within(told - base))
    }

    fn tell_poll(&mut self, slot: u32, sockets: &mut impl Sockets) {
        let has_something = self
            .slots
            .get(slot)
            .is_some_and(|held| held.outbox.is_some());
        let poll = self.polls.rows.get(&slot);
        if !has_something || !poll.is_some_and(|poll| matches!(poll.state, State::Waiting(_))) {
            return;
        }
        if let State::Waiting(fields) = self.polls.away(slot) {
            self.polls.polled.told += 1;
            self.say(slot, Answer::Told, fields, sockets);
        }
    }

    /// Writes an answer, with as much of the outbox as goes into one.
    fn say(
        &mut self,
        slot: u32,
        answer: Answer,
        fields: Option<Box<Bytes>>,
        sockets: &mut impl Sockets,
    ) {
        let outbox = self.slots.get(slot).and_then(|held| held.outbox.as_deref());
        let outbox = outbox.filter(|_| answer == Answer::Told);
        let (count, covered) = outbox.map_or((0, 0), portion);
        let cursor = self.polls.cursor(slot, covered);
        let entries = outbox.into_iter().flat_map(Outbox::entries).take(count);
        let mut out = std::mem::take(&mut self.polls.scratch);
        let fields = fields.as_ref().map_or(&[][..], |fields| fields);
        answer::write(answer, cursor, entries, self.polls.date, fields, &mut out);
        if let Some(poll) = self.polls.rows.get_mut(&slot) {
            poll.told = poll.told.max(cursor.seen);
        }
        match sockets.write(slot, &out) {
            Some(written) if written < out.len() => {
                let rest = Box::new(Bytes::copy_from_slice(&out[written..]));
                let linger = self.polls.linger;
                self.polls.enter(slot, State::Writing(rest), linger);
                self.outputs.push_back(Output::WantWrite(slot));
            }
            _ => self.outputs.push_back(Output::Answered(slot)),
        }
        out.clear();
        out.shrink_to(ANSWER_BYTES);
        self.polls.scratch = out;
    }

    /// The client has got as far as `seen`: what it has leaves the outbox.
    fn poll_acknowledges(&mut self, slot: u32, seen: u64) {
        let poll = self
            .polls
            .rows
            .get_mut(&slot)
            .expect("the caller has seen it");
        let count = seen - poll.base;
        poll.base = seen;
        let conn = self.conn(slot);
        let held = self.slots.get_mut(slot).expect("a poll is held");
        let Some(outbox) = held.outbox.as_mut() else {
            return;
        };
        let before = outbox.bytes();
        outbox.acknowledge(count);
        self.queued_bytes = self.queued_bytes - before + outbox.bytes();
        if outbox.is_empty() {
            if outbox.is_told {
                let id = held.id.clone();
                self.outputs.push_back(Output::Drained { conn, id });
            }
            held.outbox = None;
            self.congested -= 1;
        }
    }
}

/// How much of an outbox goes into one answer: entries, and the messages that they stand for.
fn portion(outbox: &Outbox) -> (usize, u64) {
    let (mut count, mut covered, mut bytes) = (0, 0, 0);
    for entry in outbox.entries() {
        match entry {
            Entry::Message(frame) => {
                bytes += frame.len();
                if count > 0 && bytes > ANSWER_BYTES {
                    break;
                }
                covered += 1;
            }
            Entry::Lost(lost) => covered += lost,
        }
        count += 1;
    }
    (count, covered)
}
