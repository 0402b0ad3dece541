//! What Erlang asks for: commands, messages for ids, messages for a connection.
//!
//! Nothing is executed and nothing answered here. How a request comes, and who waits for the answer, is
//! the concern of whoever brings it. Terms: the page "What Erlang says and hears" of the design.

use bytes::Bytes;

use super::answer;
use super::id::{id, ids};
use super::iodata::flatten;
use super::view::{Kind, Term};
use super::write::atom;
use crate::wire::{Command, EventMeta, Form, Handler, Message, Reason, Signal, Worded};

/// The longest reason that is kept and echoed to owners, encoded. A longer one would ride along in
/// every `closed` event of a mass close.
const REASON_BYTES_MAX: usize = 1024;

/// Handlers that one owner serves: as many as an application has modules for them, and some more.
const HANDLERS_MAX: usize = 256;

/// A request in a call or cast.
#[derive(Debug)]
pub enum Request<'a> {
    /// `{is_auth, Node}`: `net_adm:ping`.
    IsAuth,
    /// A command that needs nothing of whoever brings it.
    Command(Command),
    /// `{attach, Pid, Options}`
    Attach {
        /// Who attaches.
        pid: Term<'a>,
        /// What it wants.
        options: AttachOptions,
    },
    /// `detach`.
    Detach,
    /// Not a command.
    Bad,
}

/// What an owner that attaches wants, beside news.
#[derive(Debug, Default)]
pub struct AttachOptions {
    /// `credit => true`
    pub on_credit: bool,
    /// `handlers => [Name]`: what it serves.
    pub handlers: Vec<Handler>,
}

/// `{Id, Msg}` or `{[Id], Msg}`, or with options a third, on nobody's credit. `frame` is the buffer that
/// the terms lie in.
pub fn delivery(
    whom: Term<'_>,
    what: Term<'_>,
    options: Option<Term<'_>>,
    frame: &Bytes,
) -> Option<Command> {
    let mut message = message(what, frame)?;
    if let Some(options) = options {
        message.meta = event_options(options, frame)?;
    }
    let ids = ids(whom)?;
    Some(Command::Send {
        ids,
        message,
        credit: None,
    })
}

/// What a call or cast asks for.
pub fn request<'a>(term: Term<'a>, frame: &Bytes) -> Request<'a> {
    if let Some(atom) = term.atom() {
        return match atom {
            "info" => Request::Command(Command::Info),
            "detach" => Request::Detach,
            _ => Request::Bad,
        };
    }
    let Kind::Tuple(elements) = term.kind() else {
        return Request::Bad;
    };
    let request = match elements.count() {
        2 => elements.first().and_then(|[verb, argument]| {
            Some(match verb.atom()? {
                "is_auth" => Request::IsAuth,
                "connections" => Request::Command(Command::Connections { id: id(argument)? }),
                "answers" => Request::Command(Command::Answers(answer::several(argument, frame)?)),
                "close_all" => Request::Command(Command::CloseAll {
                    per_second: rate(argument)?,
                }),
                _ => return None,
            })
        }),
        3 => elements.first().and_then(|[verb, first, second]| {
            Some(match verb.atom()? {
                "send" => Request::Command(delivery(first, second, None, frame)?),
                "answer" => Request::Command(Command::Answers(answer::one(first, second, frame)?)),
                "close" => Request::Command(Command::Close {
                    ids: ids(first)?,
                    reason: reason(second),
                }),
                "attach" => {
                    first.pid()?;
                    let options = attach_options(second)?;
                    Request::Attach {
                        pid: first,
                        options,
                    }
                }
                _ => return None,
            })
        }),
        4 => elements.first().and_then(|[verb, first, second, options]| {
            (verb.atom() == Some("send")).then_some(())?;
            delivery(first, second, Some(options), frame).map(Request::Command)
        }),
        _ => None,
    };
    request.unwrap_or(Request::Bad)
}

/// Iodata, or `{text | binary, iodata}` where it matters what it is to a WebSocket.
fn message(term: Term<'_>, frame: &Bytes) -> Option<Message> {
    let (form, payload) = match term.tuple() {
        Some([form, payload]) => match form.atom()? {
            "text" => (Form::Text, payload),
            "binary" => (Form::Binary, payload),
            _ => return None,
        },
        None => (Form::default(), term),
    };
    Some(Message {
        form,
        ..Message::new(flatten(payload.bytes(), frame)?)
    })
}

/// `#{credit => boolean(), handlers => [binary()]}`; other options may come, and are ignored.
fn attach_options(options: Term<'_>) -> Option<AttachOptions> {
    let Kind::Map(mut pairs) = options.kind() else {
        return None;
    };
    let mut read = AttachOptions::default();
    while let Some(key) = pairs.next() {
        let value = pairs.next()?;
        match key.atom() {
            Some("credit") => read.on_credit = value.atom() == Some("true"),
            Some("handlers") => read.handlers = handlers(value)?,
            _ => {}
        }
    }
    Some(read)
}

/// A list of names, at most [`HANDLERS_MAX`].
fn handlers(names: Term<'_>) -> Option<Vec<Handler>> {
    let list = match names.kind() {
        Kind::Nil => return Some(Vec::new()),
        Kind::List(list) if list.is_proper() => list,
        _ => return None,
    };
    let mut handlers = Vec::new();
    for name in list.elements() {
        let Kind::Binary(name) = name.kind() else {
            return None;
        };
        (handlers.len() < HANDLERS_MAX).then_some(())?;
        handlers.push(std::str::from_utf8(name).ok()?.parse().ok()?);
    }
    Some(handlers)
}

/// `#{event => iodata, id => iodata}`, both optional. The outer `None`: not such a map.
pub fn event_options(options: Term<'_>, frame: &Bytes) -> Option<Option<Box<EventMeta>>> {
    let Kind::Map(mut pairs) = options.kind() else {
        return None;
    };
    let mut meta = EventMeta::default();
    while let Some(key) = pairs.next() {
        let value = pairs.next()?;
        match key.atom()? {
            "event" => meta.event = Some(field(value, frame)?),
            "id" => meta.id = Some(field(value, frame)?),
            _ => return None,
        }
    }
    let is_plain = meta == EventMeta::default();
    Some((!is_plain).then(|| Box::new(meta)))
}

/// The value of an SSE field: a line break would begin another field, a NUL voids an event id.
fn field(value: Term<'_>, frame: &Bytes) -> Option<Bytes> {
    let bytes = flatten(value.bytes(), frame)?;
    let is_line = !bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    is_line.then_some(bytes)
}

fn rate(term: Term<'_>) -> Option<u32> {
    let rate = u32::try_from(term.int()?).ok()?;
    (rate > 0).then_some(rate)
}

/// A reason as it came, or the atom `reason_too_long` for one above 1 KiB.
pub fn reason(term: Term<'_>) -> Reason {
    if term.bytes().len() > REASON_BYTES_MAX {
        return atom_reason("reason_too_long");
    }
    let bytes = Bytes::copy_from_slice(term.bytes());
    worded(term, &bytes).map_or(Reason::Asked(bytes), |worded| Reason::Worded(worded.into()))
}

/// What a WebSocket is told, of a reason `{Code, Text}`; `None` for all others.
fn worded(term: Term<'_>, bytes: &Bytes) -> Option<Worded> {
    let [code, text] = term.tuple()?;
    let code = u16::try_from(code.int()?).ok()?;
    // Too short to be shared with its frame.
    let text = flatten(text.bytes(), &Bytes::new())?;
    let text = String::from_utf8(text.into()).ok()?;
    Worded::new(bytes.clone(), code, text)
}

/// The reason that is this atom.
pub fn atom_reason(name: &str) -> Reason {
    Reason::Asked(atom(name).into())
}

/// What a message to the pid of a connection tells it: iodata, `{text | binary, iodata}`,
/// `{event, Name, Msg}`, `{event, Name, EventId, Msg}`, `close` (reason `normal`) or
/// `{close, Reason}`.
pub fn signal(term: Term<'_>, frame: &Bytes) -> Option<Signal> {
    let event = |event, id, payload: Term<'_>| {
        let meta = EventMeta { event, id };
        Some(Signal::Deliver(Message {
            meta: Some(Box::new(meta)),
            ..message(payload, frame)?
        }))
    };
    match term.kind() {
        Kind::Atom(atom) => (atom.0 == "close").then(|| Signal::Close(atom_reason("normal"))),
        Kind::Tuple(elements) => {
            let [verb] = elements.first()?;
            match (verb.atom()?, elements.count()) {
                ("text" | "binary", 2) => message(term, frame).map(Signal::Deliver),
                ("close", 2) => {
                    let [_, why] = elements.first()?;
                    Some(Signal::Close(reason(why)))
                }
                ("event", 3) => {
                    let [_, name, payload] = elements.first()?;
                    event(Some(field(name, frame)?), None, payload)
                }
                ("event", 4) => {
                    let [_, name, id, payload] = elements.first()?;
                    event(Some(field(name, frame)?), Some(field(id, frame)?), payload)
                }
                _ => None,
            }
        }
        _ => message(term, frame).map(Signal::Deliver),
    }
}
