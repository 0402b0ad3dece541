//! Messages as terms of the VM: what nearly all callers send, recognised at sight, the rest by its bytes.
//!
//! Like `dist/codec/fast` for frames: it decides nothing, and what it does not recognise at once (ids that
//! are other terms, options, signals that are no messages) goes the general way, through `lariat::term`, where
//! the same means the same. A binary is lent for the call: what is written in it copies it into its frame, and
//! what waits for its shard copies it first. A reference to a sub-binary would keep the whole binary alive,
//! so nobody has one. An iolist is put together, in memory of ours.

use bytes::Bytes;
use lariat::term;
use lariat::wire::{Conn, EventMeta, Form, Id, Ids, Lent, Signal};
use rustler::{Atom, Binary, OwnedBinary, Term};

/// The longest id, as everywhere: longer than any in a request head.
const ID_BYTES_MAX: usize = 8 * 1024;

/// The most ids in one message, as everywhere.
const IDS_MAX: usize = 1_000_000;

/// How deep iolists are walked here; a deeper one goes the general way, which refuses it.
const DEPTH_MAX: usize = 256;

rustler::atoms! { text, binary, lariat_conn, gen_cast = "$gen_cast", send_atom = "send" }

/// What reading a term took, by what was found in it; `make bench-nif` has the numbers. A clock would take a
/// fifth as long as what it measures.
#[derive(Default)]
pub(crate) struct Effort {
    ns: usize,
}

impl Effort {
    const PAYLOAD_BYTES_PER_NS: usize = 20;
    const INT_NS: usize = 16;
    const OTHER_ID_NS: usize = 90;
    const PIECE_NS: usize = 18;
    const ENCODED_BYTE_NS: usize = 16;
    const WRITE_NS: usize = 10_000;
    const DELAY_NS: usize = 160_000;

    /// In hundredths of a time slice, which is about a millisecond.
    pub(crate) fn percent(&self) -> usize {
        self.ns / 10_000
    }

    /// A small message was written to a socket, or to a few.
    pub(crate) fn written(&mut self) {
        self.ns += Self::WRITE_NS;
    }

    /// It was queued after a rest.
    pub(crate) fn delayed(&mut self) {
        self.ns += Self::DELAY_NS;
    }

    fn payload(&mut self, bytes: usize) {
        self.ns += bytes / Self::PAYLOAD_BYTES_PER_NS;
    }

    /// A binary that is long takes no longer to encode than to copy.
    fn encoded(&mut self, bytes: &Bytes) {
        self.ns += bytes.len().min(TERM_MAX) * Self::ENCODED_BYTE_NS;
    }
}

/// What is larger is not encoded on a normal scheduler, but for one long binary in it (`lariat_nif.erl`).
const TERM_MAX: usize = 16 * 1024;

/// A message while the call lasts.
pub(crate) struct Said<'a> {
    payload: Payload<'a>,
    meta: Option<Box<EventMeta>>,
    form: Form,
}

enum Payload<'a> {
    /// The caller's.
    Lent(&'a [u8]),
    Own(Bytes),
}

impl Said<'_> {
    pub(crate) fn lend(&self) -> Lent<'_> {
        let (payload, whole) = match &self.payload {
            Payload::Lent(bytes) => (*bytes, None),
            Payload::Own(bytes) => (&bytes[..], Some(bytes)),
        };
        Lent {
            payload,
            whole,
            meta: self.meta.as_deref(),
            form: self.form,
        }
    }
}

/// What one connection is told.
pub(crate) enum Told<'a> {
    Said(Said<'a>),
    Signal(Signal),
}

/// `{Id, Msg}`, `{[Id], Msg}`, either with options, or a cast of `{send, ...}`: what may be sent to any name
/// of a node.
pub(crate) fn send<'a>(term: Term<'a>, effort: &mut Effort) -> Option<(Ids, Said<'a>)> {
    if let Ok((first, second)) = term.decode::<(Term<'a>, Term<'a>)>() {
        return if first.is_atom() && first.decode().is_ok_and(|cast: Atom| cast == gen_cast()) {
            asked(second, effort)
        } else {
            delivery(first, second, None, effort)
        };
    }
    let (whom, what, options) = term.decode().ok()?;
    delivery(whom, what, Some(options), effort)
}

/// `{send, Ids, Msg}` and `{send, Ids, Msg, Options}`
fn asked<'a>(request: Term<'a>, effort: &mut Effort) -> Option<(Ids, Said<'a>)> {
    let read = request.decode::<(Atom, Term<'a>, Term<'a>, Term<'a>)>();
    let (verb, whom, what, options) = match read {
        Ok((verb, whom, what, options)) => (verb, whom, what, Some(options)),
        Err(_) => {
            let (verb, whom, what) = request.decode().ok()?;
            (verb, whom, what, None)
        }
    };
    (verb == send_atom()).then_some(())?;
    delivery(whom, what, options, effort)
}

fn delivery<'a>(
    whom: Term<'_>,
    what: Term<'a>,
    options: Option<Term<'_>>,
    effort: &mut Effort,
) -> Option<(Ids, Said<'a>)> {
    let mut message = message(what, effort)?;
    if let Some(options) = options {
        let frame = encoded(options, effort);
        message.meta = term::event_options(term::Term::whole(&frame).ok()?, &frame)?;
    }
    let ids = ids(whom, effort).or_else(|| {
        // Other terms are ids, too.
        let frame = encoded(whom, effort);
        term::ids(term::Term::whole(&frame).ok()?)
    })?;
    Some((ids, message))
}

/// What may be sent to a connection.
pub(crate) fn told<'a>(term: Term<'a>, effort: &mut Effort) -> Option<Told<'a>> {
    if let Some(message) = message(term, effort) {
        return Some(Told::Said(message));
    }
    let frame = encoded(term, effort);
    term::signal(term::Term::whole(&frame).ok()?, &frame).map(Told::Signal)
}

/// `{lariat_conn, Name, Slot, Serial}` of the edge with this name.
pub(crate) fn conn(term: Term<'_>, name: Atom) -> Option<Conn> {
    let (tag, edge, slot, serial) = term.decode::<(Atom, Atom, u32, u32)>().ok()?;
    (tag == lariat_conn() && edge == name).then_some(())?;
    Conn::from_pid_parts(slot, serial)
}

fn encoded(term: Term<'_>, effort: &mut Effort) -> Bytes {
    let frame = frame(term);
    effort.encoded(&frame);
    frame
}

/// The bytes of a term, without the version byte; freed with the last slice of them.
pub(crate) fn frame(term: Term<'_>) -> Bytes {
    struct Encoded(OwnedBinary);
    impl AsRef<[u8]> for Encoded {
        fn as_ref(&self) -> &[u8] {
            self.0.as_slice()
        }
    }
    let bytes = Bytes::from_owner(Encoded(term.to_binary()));
    bytes.slice(1..)
}

fn ids(term: Term<'_>, effort: &mut Effort) -> Option<Ids> {
    if !term.is_list() {
        return id(term).map(Ids::One);
    }
    let count = term.list_length().ok()?;
    if count > IDS_MAX {
        return None;
    }
    effort.ns += count * Effort::INT_NS;
    let mut ints = Vec::with_capacity(count);
    let mut rest = term;
    while let Ok((head, tail)) = rest.list_get_cell() {
        let Ok(int) = head.decode() else {
            effort.ns += count * Effort::OTHER_ID_NS;
            return mixture(ints, rest, count);
        };
        ints.push(int);
        rest = tail;
    }
    Some(Ids::Ints(ints))
}

/// Goes on with a list that is not all integers.
fn mixture(ints: Vec<i64>, mut rest: Term<'_>, count: usize) -> Option<Ids> {
    let mut ids = Vec::with_capacity(count);
    ids.extend(ints.into_iter().map(Id::Int));
    while let Ok((head, tail)) = rest.list_get_cell() {
        ids.push(id(head)?);
        rest = tail;
    }
    Some(Ids::list(ids))
}

fn id(term: Term<'_>) -> Option<Id> {
    if let Ok(int) = term.decode() {
        return Some(Id::Int(int));
    }
    let bytes = Binary::from_term(term).ok()?;
    // The tag and the length of its encoding count, too.
    (bytes.len() + 5 <= ID_BYTES_MAX).then(|| Id::Bin(bytes.as_slice().into()))
}

fn message<'a>(term: Term<'a>, effort: &mut Effort) -> Option<Said<'a>> {
    let said = |form, payload| Said {
        payload,
        meta: None,
        form,
    };
    if let Some(payload) = payload(term, effort) {
        return Some(said(Form::Text, payload));
    }
    let (form, what) = term.decode::<(Atom, Term<'a>)>().ok()?;
    let form = match form {
        form if form == text() => Form::Text,
        form if form == binary() => Form::Binary,
        _ => return None,
    };
    Some(said(form, payload(what, effort)?))
}

/// The bytes of iodata.
fn payload<'a>(term: Term<'a>, effort: &mut Effort) -> Option<Payload<'a>> {
    if let Ok(binary) = Binary::from_term(term) {
        effort.payload(binary.len());
        return Some(Payload::Lent(binary.as_slice()));
    }
    term.is_list().then_some(())?;
    let (mut length, mut pieces) = (0, 0);
    walk(term, &mut |piece| {
        length += piece.len();
        pieces += 1;
    })?;
    effort.payload(length);
    effort.ns += pieces * Effort::PIECE_NS;
    let mut flat = Vec::with_capacity(length);
    walk(term, &mut |piece| flat.extend_from_slice(piece))?;
    Some(Payload::Own(flat.into()))
}

/// Visits the bytes of an iolist in order; `None` when it is none.
fn walk(list: Term<'_>, visit: &mut impl FnMut(&[u8])) -> Option<()> {
    // What follows each list that was entered.
    let mut behind = Vec::new();
    let mut rest = list;
    loop {
        if let Ok((head, tail)) = rest.list_get_cell() {
            rest = tail;
            if let Ok(value) = head.decode::<u32>() {
                visit(&[u8::try_from(value).ok()?]);
            } else if let Ok(bytes) = Binary::from_term(head) {
                visit(&bytes);
            } else if head.is_list() {
                (behind.len() < DEPTH_MAX).then_some(())?;
                behind.push(tail);
                rest = head;
            } else {
                return None;
            }
        } else {
            if !rest.is_empty_list() {
                // A binary may be the tail; a byte may not.
                visit(&Binary::from_term(rest).ok()?);
            }
            match behind.pop() {
                Some(next) => rest = next,
                None => return Some(()),
            }
        }
    }
}
