//! Sizes and durations as operators write them: `"256 KiB"`, `"25s"`.
//!
//! Only whole numbers, only binary sizes: nobody has to know what a unit rounds to.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) usize);

/// A time span above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

/// A time span, or `"off"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpanOrOff(pub(super) Option<Duration>);

/// What can be read from a text, and perhaps from a number.
trait Unit: Sized {
    const ACCEPTED: &'static str;
    fn from_text(text: &str) -> Option<Self>;
    fn from_number(_: u64) -> Option<Self> {
        None
    }
}

impl Unit for Size {
    const ACCEPTED: &'static str = "a size such as 8192, \"8 KiB\", \"64 MiB\" or \"1 GiB\"";

    fn from_text(text: &str) -> Option<Size> {
        let (number, unit) = split(text)?;
        let shift = match unit {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return None,
        };
        Size::from_number(number.checked_mul(1 << shift)?)
    }

    fn from_number(number: u64) -> Option<Size> {
        usize::try_from(number)
            .ok()
            .filter(|&bytes| bytes > 0)
            .map(Size)
    }
}

impl Unit for Span {
    const ACCEPTED: &'static str = "a duration such as \"500ms\", \"25s\", \"5m\" or \"1h\"";

    fn from_text(text: &str) -> Option<Span> {
        let (number, unit) = split(text)?;
        let span = match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            _ => return None,
        };
        // A year is beyond any use and below any overflow.
        (!span.is_zero() && span <= Duration::from_secs(365 * 24 * 3600)).then_some(Span(span))
    }
}

impl Unit for SpanOrOff {
    const ACCEPTED: &'static str = "a duration such as \"25s\", or \"off\"";

    fn from_text(text: &str) -> Option<SpanOrOff> {
        match text {
            "off" => Some(SpanOrOff(None)),
            text => Span::from_text(text).map(|Span(span)| SpanOrOff(Some(span))),
        }
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

struct UnitVisitor<U>(PhantomData<U>);

impl<U: Unit> Visitor<'_> for UnitVisitor<U> {
    type Value = U;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(U::ACCEPTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<U, E> {
        let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
        U::from_text(text).ok_or_else(wrong)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<U, E> {
        let wrong = || E::invalid_value(serde::de::Unexpected::Signed(number), &self);
        u64::try_from(number)
            .ok()
            .and_then(U::from_number)
            .ok_or_else(wrong)
    }
}

macro_rules! deserialize {
    ($($unit:ty),+) => {$(
        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_any(UnitVisitor(PhantomData))
            }
        }
    )+};
}

deserialize!(Size, Span, SpanOrOff);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(Size::from_text("8192"), Some(Size(8192)));
        assert_eq!(Size::from_text("8 KiB"), Some(Size(8192)));
        assert_eq!(Size::from_text("64MiB"), Some(Size(64 << 20)));
        for wrong in [
            "",
            "KiB",
            "8 KB",
            "-1",
            "0",
            "1.5 MiB",
            "99999999999999999999 B",
        ] {
            assert_eq!(Size::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn spans() {
        assert_eq!(
            Span::from_text("500ms"),
            Some(Span(Duration::from_millis(500)))
        );
        assert_eq!(Span::from_text("5m"), Some(Span(Duration::from_secs(300))));
        assert_eq!(SpanOrOff::from_text("off"), Some(SpanOrOff(None)));
        for wrong in ["", "5", "s", "0s", "1d", "9999h "] {
            assert_eq!(Span::from_text(wrong), None, "{wrong}");
        }
    }
}
