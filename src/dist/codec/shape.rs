//! The shapes that `!`, `call`, `cast` and io give to what they bring, and to the answers.
//!
//! What is asked inside them is `term`'s. A shape that is not known is a value, not an error: the link
//! counts it and says once in a while what was expected. Tags of calls: OTP's `gen.erl`.

use bytes::Bytes;

use crate::term::Writer;
use crate::term::delivery;
use crate::term::tag;
use crate::term::{Kind, Term};
use crate::wire::Command;

/// Requests up to this long are echoed in `{error, {bad_request, Request}}`; a longer one is
/// `unknown`, so that an answer is never larger than a screen.
const ECHO_BYTES_MAX: usize = 256;

/// A message, by its shape.
#[derive(Debug)]
pub(crate) enum Shape<'a> {
    /// `{Id, Msg}` or `{[Id], Msg}`.
    Deliver(Command),
    /// A call of `gen`'s: somebody waits.
    Call(Call<'a>),
    /// `{'$gen_cast', Request}`.
    Cast(Term<'a>),
    /// `{io_request, From, ReplyAs, _}`: somebody waits.
    Io { from: Term<'a>, reply_as: Term<'a> },
    /// Anything else.
    Unknown,
}

/// `{Label, {From, Tag}, Request}`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// The caller's pid.
    pub(crate) from: Term<'a>,
    /// Echoed in the answer, and where the answer goes.
    pub(crate) tag: Term<'a>,
    /// `None` for calls that are not `gen_server`'s: of `sys` and `gen_event`.
    pub(crate) request: Option<Term<'a>>,
}

/// Where the answer to a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyAddress<'a> {
    /// To the alias that the caller made for this call.
    Alias(Term<'a>),
    /// To the caller.
    Pid(Term<'a>),
}

/// What a message to a registered name is. `frame` is the buffer that the term lies in.
pub(crate) fn shape<'a>(message: Term<'a>, frame: &Bytes) -> Shape<'a> {
    let Kind::Tuple(elements) = message.kind() else {
        return Shape::Unknown;
    };
    let shape = match elements.count() {
        2 => elements
            .first()
            .and_then(|[first, second]| pair(first, second, frame)),
        3 => elements.first().and_then(call),
        4 => elements.first().and_then(io),
        _ => None,
    };
    shape.unwrap_or(Shape::Unknown)
}

/// The call in a payload that is refused as a whole, when only its request is at fault: a native
/// record, say.
pub(crate) fn call_of_undecodable(bytes: &[u8]) -> Option<Call<'_>> {
    let [tag::SMALL_TUPLE, 3, rest @ ..] = bytes else {
        return None;
    };
    let (_, rest) = Term::parse(rest).ok()?;
    let (from, _) = Term::parse(rest).ok()?;
    let [from, tag] = from.tuple()?;
    from.pid()?;
    let request = None;
    Some(Call { from, tag, request })
}

fn pair<'a>(first: Term<'a>, second: Term<'a>, frame: &Bytes) -> Option<Shape<'a>> {
    if first.atom() == Some("$gen_cast") {
        return Some(Shape::Cast(second));
    }
    delivery(first, second, None, frame).map(Shape::Deliver)
}

fn call([label, from, request]: [Term<'_>; 3]) -> Option<Shape<'_>> {
    let [from, tag] = from.tuple()?;
    from.pid()?;
    let request = (label.atom() == Some("$gen_call")).then_some(request);
    Some(Shape::Call(Call { from, tag, request }))
}

fn io([label, from, reply_as, _]: [Term<'_>; 4]) -> Option<Shape<'_>> {
    (label.atom() == Some("io_request") && from.pid().is_some())
        .then_some(Shape::Io { from, reply_as })
}

impl<'a> Call<'a> {
    /// `[alias|Ref]` and `[[alias|Ref]|_]` name an alias; any other tag means the caller itself.
    pub(crate) fn reply_address(&self) -> ReplyAddress<'a> {
        let alias = alias(self.tag).or_else(|| {
            let Kind::List(list) = self.tag.kind() else {
                return None;
            };
            let [head] = list.elements().first()?;
            alias(head)
        });
        alias.map_or(ReplyAddress::Pid(self.from), ReplyAddress::Alias)
    }
}

fn alias(tag: Term<'_>) -> Option<Term<'_>> {
    let Kind::List(list) = tag.kind() else {
        return None;
    };
    let ([head], reference) = list.split()?;
    (head.atom() == Some("alias") && reference.is_reference()).then_some(reference)
}

/// The payload that answers a call: `{Tag, Answer}`.
pub(crate) fn answer(tag: &[u8], write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::new();
    w.tuple(2).raw(tag);
    write(&mut w);
    w.into_bytes()
}

/// `{io_reply, ReplyAs, {error, enotsup}}`
pub(crate) fn io_refused(reply_as: Term<'_>) -> Vec<u8> {
    let mut w = Writer::new();
    w.tuple(3).atom("io_reply").raw(reply_as.bytes());
    error(&mut w).atom("enotsup");
    w.into_bytes()
}

/// `{error, {bad_request, Request}}`
pub(crate) fn bad_request(w: &mut Writer, request: Option<Term<'_>>) {
    error(w).tuple(2).atom("bad_request");
    match request {
        Some(term) if term.bytes().len() <= ECHO_BYTES_MAX => w.raw(term.bytes()),
        _ => w.atom("unknown"),
    };
}

/// `{error, ...`
fn error(w: &mut Writer) -> &mut Writer {
    w.tuple(2).atom("error")
}
