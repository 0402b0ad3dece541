//! The event stream format, taken apart as bytes arrive (WHATWG HTML section 9.2.6).
//!
//! It buffers nothing but the name of the field a cut falls into. Stricter than a browser, since
//! it judges a server: an unknown field, a byte order mark or a `retry` that is not a number is a
//! fault, where a browser would shrug. All three line ends are read. Event names and ids are read
//! past.
//!
//! `Start -> Name -> Space -> Value -> Start`, `Start -> Comment -> Start`, and a line end in
//! `Start` ends the event.

use super::fault::Fault;

/// What the stream says, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Bytes of the current event's data; the newline between two data lines included.
    Data(&'a [u8]),
    /// The current event, which has data, is whole.
    EventEnd,
    /// A comment line: a heartbeat.
    Comment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Data,
    Retry,
    /// `event` and `id`, whose values are anything.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Name,
    Space(Field),
    Value(Field),
    Comment,
}

/// `event` and `retry`, the longest names there are.
const NAME_BYTES_MAX: usize = 5;

#[derive(Debug)]
pub(super) struct EventParser {
    state: State,
    name: [u8; NAME_BYTES_MAX],
    name_bytes: u8,
    /// The last byte was CR: an LF now belongs to it.
    after_cr: bool,
    has_data: bool,
}

impl EventParser {
    pub(super) fn new() -> Self {
        Self {
            state: State::Start,
            name: [0; NAME_BYTES_MAX],
            name_bytes: 0,
            after_cr: false,
            has_data: false,
        }
    }

    /// Whether no event is under way.
    pub(super) fn is_between_events(&self) -> bool {
        self.state == State::Start && !self.has_data
    }

    /// Takes all of `input`. After a fault the parser must not be fed again.
    pub(super) fn feed<'a>(
        &mut self,
        mut input: &'a [u8],
        mut sink: impl FnMut(Piece<'a>),
    ) -> Result<(), Fault> {
        while let Some((&byte, rest)) = input.split_first() {
            if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                input = rest;
                continue;
            }
            match (self.state, byte) {
                (_, b'\r' | b'\n') => {
                    self.after_cr = byte == b'\r';
                    self.line_end(&mut sink)?;
                    input = rest;
                }
                (State::Start, b':') => {
                    self.state = State::Comment;
                    input = rest;
                }
                (State::Name, b':') => {
                    let field = self.begin_value(&mut sink)?;
                    self.state = State::Space(field);
                    input = rest;
                }
                (State::Start | State::Name, _) => {
                    self.name_byte(byte)?;
                    input = rest;
                }
                (State::Space(field), _) => {
                    self.state = State::Value(field);
                    if byte == b' ' {
                        input = rest;
                    }
                }
                (State::Value(_) | State::Comment, _) => {
                    let end = memchr::memchr2(b'\r', b'\n', input).unwrap_or(input.len());
                    let (value, rest) = input.split_at(end);
                    self.value(value, &mut sink)?;
                    input = rest;
                }
            }
        }
        Ok(())
    }

    fn line_end<'a>(&mut self, sink: &mut impl FnMut(Piece<'a>)) -> Result<(), Fault> {
        match self.state {
            State::Start => {
                if std::mem::take(&mut self.has_data) {
                    sink(Piece::EventEnd);
                }
            }
            // A name without a colon is a field with an empty value.
            State::Name => match self.begin_value(sink)? {
                Field::Retry => return Err(Fault::EventRetry),
                Field::Data | Field::Other => {}
            },
            State::Space(Field::Retry) => return Err(Fault::EventRetry),
            State::Space(_) | State::Value(_) => {}
            State::Comment => sink(Piece::Comment),
        }
        self.state = State::Start;
        Ok(())
    }

    fn name_byte(&mut self, byte: u8) -> Result<(), Fault> {
        if self.state == State::Start {
            self.state = State::Name;
            self.name_bytes = 0;
        }
        let place = self.name.get_mut(usize::from(self.name_bytes));
        *place.ok_or(Fault::EventField)? = byte;
        self.name_bytes += 1;
        Ok(())
    }

    /// The field whose name was read; a second data line first continues the first.
    fn begin_value<'a>(&mut self, sink: &mut impl FnMut(Piece<'a>)) -> Result<Field, Fault> {
        match &self.name[..usize::from(self.name_bytes)] {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    sink(Piece::Data(b"\n"));
                }
                Ok(Field::Data)
            }
            b"retry" => Ok(Field::Retry),
            b"event" | b"id" => Ok(Field::Other),
            _ => Err(Fault::EventField),
        }
    }

    fn value<'a>(
        &mut self,
        value: &'a [u8],
        sink: &mut impl FnMut(Piece<'a>),
    ) -> Result<(), Fault> {
        match self.state {
            State::Value(Field::Data) => sink(Piece::Data(value)),
            State::Value(Field::Retry) if !value.iter().all(u8::is_ascii_digit) => {
                return Err(Fault::EventRetry);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Said {
        events: Vec<Vec<u8>>,
        rest: Vec<u8>,
        comments: usize,
        fault: Option<Fault>,
        between: bool,
    }

    fn said<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Said {
        let mut said = Said::default();
        let mut parser = EventParser::new();
        for part in parts {
            let fed = parser.feed(part, |piece| match piece {
                Piece::Data(data) => said.rest.extend_from_slice(data),
                Piece::EventEnd => said.events.push(std::mem::take(&mut said.rest)),
                Piece::Comment => said.comments += 1,
            });
            if let Err(fault) = fed {
                said.fault = Some(fault);
                return said;
            }
        }
        said.between = parser.is_between_events();
        said
    }

    fn fault(bytes: &[u8]) -> Option<Fault> {
        said([bytes]).fault
    }

    #[test]
    fn fields_comments_and_line_ends_are_read() {
        let said = said([
            &b"retry: 10\n\n:\r\n: beat\revent: x\rid\rdata:a\ndata\r\ndata:  b\r\n\r\n\
            data: half"[..],
        ]);
        assert_eq!(said.events, [b"a\n\n b"]);
        assert_eq!((said.comments, said.rest.as_slice()), (2, &b"half"[..]));
        assert!(!said.between && said.fault.is_none());
    }

    #[test]
    fn an_event_without_data_is_none() {
        let said = said([&b"event: x\nid: 3\n\n\n\n"[..]]);
        assert!(said.events.is_empty() && said.between);
    }

    #[test]
    fn an_event_with_empty_data_is_one() {
        assert_eq!(said([&b"data\n\ndata:\n\ndata: \n\n"[..]]).events.len(), 3);
    }

    #[test]
    fn what_breaks_the_format_is_a_fault() {
        for bytes in [
            &b"dat: x\n"[..],
            b"messages: x\n",
            b"\xEF\xBB\xBFdata: x\n",
            b"Data: x\n",
        ] {
            assert_eq!(fault(bytes), Some(Fault::EventField), "{bytes:?}");
        }
        for bytes in [&b"retry\n"[..], b"retry:\n", b"retry: 1x\n", b"retry: -1\n"] {
            assert_eq!(fault(bytes), Some(Fault::EventRetry), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn events_come_back_however_they_are_cut(
            events in prop::collection::vec(
                prop::collection::vec("[ -~]{0,12}", 1..4), 0..8),
            line_end in prop::sample::select(&["\n", "\r\n", "\r"][..]),
            cuts in prop::collection::vec(1_usize..9, 0..200),
        ) {
            let mut text = String::new();
            for lines in &events {
                text += &format!(": beat{line_end}event: e{line_end}");
                for line in lines {
                    text += &format!("data: {line}{line_end}");
                }
                text += &format!("id: 7{line_end}{line_end}");
            }
            let whole = said([text.as_bytes()]);
            let sent: Vec<_> = events.iter().map(|lines| lines.join("\n").into_bytes()).collect();
            prop_assert_eq!(&whole.events, &sent);
            prop_assert_eq!(whole.comments, events.len());
            prop_assert!(whole.between && whole.fault.is_none());
            prop_assert_eq!(&said(crate::load::cut(text.as_bytes(), &cuts)), &whole);
            prop_assert_eq!(&said(text.as_bytes().chunks(1)), &whole);
        }

        #[test]
        fn nonsense_is_judged_alike_however_it_is_cut(
            lines in prop::collection::vec(
                prop::sample::select(&[
                    "data", "data:", ":", " ", "x", "id", "event: ", "retry", "1", "\n", "\r",
                    "\r\n", "\n\n", "\u{feff}",
                ][..]), 0..30),
            cuts in prop::collection::vec(1_usize..6, 0..60),
        ) {
            let text = lines.concat();
            let whole = said([text.as_bytes()]);
            prop_assert_eq!(said(crate::load::cut(text.as_bytes(), &cuts)), whole);
        }
    }
}
