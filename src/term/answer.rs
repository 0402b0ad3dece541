//! What handlers answer: `{answer, Ref, Answer}` and `{answers, [{Ref, Answer}]}`.
//!
//! Shapes only: whether an answer fits its question, and may go out as HTTP, is the edge's to judge. What
//! has a reference and is no answer is passed on as such, so that nobody waits for it in vain.

use std::time::Duration;

use bytes::Bytes;

use super::id::id;
use super::iodata::flatten;
use super::view::{Kind, Term};
use crate::wire::{AcceptOptions, Answer, Heartbeat, Ref};

/// Answers that are given together: several times what an edge asks at a time.
const ANSWERS_MAX: usize = 65_536;

/// Fields in all answers that are given together: each takes 64 bytes of ours and may take ten on the
/// wire, so this bounds what a frame can grow to (4 MiB).
const FIELDS_MAX: usize = 65_536;

/// `{answer, Ref, Answer}`; `None` without a reference.
pub(super) fn one(
    reference: Term<'_>,
    said: Term<'_>,
    frame: &Bytes,
) -> Option<Vec<(Ref, Option<Answer>)>> {
    let mut room = FIELDS_MAX;
    Some(vec![(number(reference)?, answer(said, frame, &mut room))])
}

/// `{answers, [{Ref, Answer}]}`; `None` when that is no such list.
pub(super) fn several(list: Term<'_>, frame: &Bytes) -> Option<Vec<(Ref, Option<Answer>)>> {
    let list = match list.kind() {
        Kind::Nil => return Some(Vec::new()),
        Kind::List(list) if list.is_proper() => list,
        _ => return None,
    };
    let elements = list.elements();
    if elements.count() > ANSWERS_MAX {
        return None;
    }
    let mut room = FIELDS_MAX;
    let read = |element: Term<'_>| {
        let [reference, said] = element.tuple()?;
        Some((number(reference)?, answer(said, frame, &mut room)))
    };
    elements.map(read).collect()
}

fn number(reference: Term<'_>) -> Option<Ref> {
    u64::try_from(reference.int()?).ok().map(Ref)
}

/// Takes `room` for the fields.
fn answer(said: Term<'_>, frame: &Bytes, room: &mut usize) -> Option<Answer> {
    if let Some(atom) = said.atom() {
        return (atom == "taken").then_some(Answer::Taken);
    }
    let Kind::Tuple(elements) = said.kind() else {
        return None;
    };
    let [verb] = elements.first()?;
    match (verb.atom()?, elements.count()) {
        ("accept", 3) => {
            let [_, whom, options] = elements.first()?;
            Some(Answer::Accept {
                id: id(whom)?,
                options: accept_options(options, frame, room)?,
            })
        }
        ("reply", 4) => {
            let [_, status, headers, body] = elements.first()?;
            Some(Answer::Reply {
                status: self::status(status)?,
                headers: fields(headers, frame, room)?,
                body: flatten(body.bytes(), frame)?,
            })
        }
        ("reject", 3) => {
            let [_, status, reason] = elements.first()?;
            Some(Answer::Reject {
                status: self::status(status)?,
                reason: flatten(reason.bytes(), frame)?,
            })
        }
        _ => None,
    }
}

fn status(term: Term<'_>) -> Option<u16> {
    u16::try_from(term.int()?).ok()
}

/// `#{headers => _, heartbeat => Ms | off, when_full => Policy}`, each optional, and nothing else.
fn accept_options(options: Term<'_>, frame: &Bytes, room: &mut usize) -> Option<AcceptOptions> {
    let Kind::Map(mut pairs) = options.kind() else {
        return None;
    };
    let mut read = AcceptOptions::default();
    while let Some(key) = pairs.next() {
        let value = pairs.next()?;
        match key.atom()? {
            "headers" => read.headers = fields(value, frame, room)?,
            "heartbeat" => read.heartbeat = Some(heartbeat(value)?),
            "when_full" => read.when_full = Some(value.atom()?.parse().ok()?),
            _ => return None,
        }
    }
    Some(read)
}

fn heartbeat(term: Term<'_>) -> Option<Heartbeat> {
    if term.atom() == Some("off") {
        return Some(Heartbeat::Off);
    }
    let ms = u64::try_from(term.int()?).ok()?;
    Some(Heartbeat::Every(Duration::from_millis(ms)))
}

/// `#{Name => Value}` or `[{Name, Value}]`, names and values iodata.
fn fields(term: Term<'_>, frame: &Bytes, room: &mut usize) -> Option<Vec<(Bytes, Bytes)>> {
    let mut fields = Vec::new();
    let mut add = |name: Term<'_>, value: Term<'_>| {
        *room = room.checked_sub(1)?;
        let name = flatten(name.bytes(), frame)?;
        fields.push((name, flatten(value.bytes(), frame)?));
        Some(())
    };
    match term.kind() {
        Kind::Nil => {}
        Kind::Map(mut pairs) => {
            while let Some(name) = pairs.next() {
                add(name, pairs.next()?)?;
            }
        }
        Kind::List(list) if list.is_proper() => {
            for element in list.elements() {
                let [name, value] = element.tuple()?;
                add(name, value)?;
            }
        }
        _ => return None,
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::write::Writer;
    use super::*;

    fn read(write: impl FnOnce(&mut Writer)) -> Option<Answer> {
        let mut writer = Writer::new();
        write(&mut writer);
        let frame = Bytes::from(writer.into_bytes());
        let (term, _) = Term::parse(&frame).expect("it is a term");
        answer(term, &frame, &mut FIELDS_MAX.clone())
    }

    /// Ends a chain of the writer's.
    fn said(_: &mut Writer) {}

    #[test]
    fn what_is_no_answer_is_none() {
        let bad: [fn(&mut Writer); 12] = [
            |w| said(w.atom("ok")),
            |w| said(w.int(200)),
            |w| said(w.tuple(0)),
            |w| said(w.tuple(2).atom("accept").int(1)),
            |w| said(w.tuple(3).atom("accept").nil().map(0)),
            |w| said(w.tuple(3).atom("accept").int(1).nil()),
            |w| said(w.tuple(3).atom("accept").int(1).map(1).atom("color").int(1)),
            |w| {
                said(
                    w.tuple(3)
                        .atom("accept")
                        .int(1)
                        .map(1)
                        .atom("heartbeat")
                        .int(-1),
                )
            },
            |w| said(w.tuple(3).atom("reject").int(70_000).binary(b"no")),
            |w| said(w.tuple(3).atom("reject").int(403).atom("no")),
            |w| {
                said(
                    w.tuple(4)
                        .atom("reply")
                        .int(200)
                        .map(1)
                        .atom("a")
                        .binary(b"")
                        .nil(),
                )
            },
            |w| {
                said(
                    w.tuple(4)
                        .atom("reply")
                        .int(200)
                        .list(1)
                        .int(1)
                        .int(2)
                        .nil(),
                )
            },
        ];
        for (nth, write) in bad.into_iter().enumerate() {
            assert_eq!(read(write), None, "{nth}");
        }
        let taken = read(|w| said(w.atom("taken")));
        assert_eq!(taken, Some(Answer::Taken));
    }

    #[test]
    fn fields_are_limited_over_all_answers() {
        let mut writer = Writer::new();
        writer.list(2);
        for reference in 1..=2 {
            writer
                .tuple(2)
                .int(reference)
                .tuple(4)
                .atom("reply")
                .int(200);
            writer.list(FIELDS_MAX / 2 + 1);
            for _ in 0..=FIELDS_MAX / 2 {
                writer.tuple(2).binary(b"").binary(b"");
            }
            writer.nil().nil();
        }
        writer.nil();
        let frame = Bytes::from(writer.into_bytes());
        let (term, _) = Term::parse(&frame).unwrap();
        let read = several(term, &frame).unwrap();
        let is_answer: Vec<bool> = read.iter().map(|(_, answer)| answer.is_some()).collect();
        assert_eq!(is_answer, [true, false]);
    }

    proptest! {
        #[test]
        fn any_term_is_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let frame = Bytes::from(bytes);
            if let Ok((term, _)) = Term::parse(&frame) {
                let _ = several(term, &frame);
                let _ = one(term, term, &frame);
            }
        }
    }
}
