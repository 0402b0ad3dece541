//! What is agreed on compression: `Sec-WebSocket-Extensions`, RFC 6455, section 9.1, and RFC 7692,
//! section 7.1.
//!
//! Offers in, the first that can be met out, with its answer. It compresses nothing.

use super::deflate::Window;

const NAME: &str = "permessage-deflate";

/// Compression as it was agreed: no context is taken over in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// How far back the client can look.
    pub window: Window,
}

impl Deflate {
    /// The first offer in these values of the field that we can meet. What cannot be read is not met.
    pub(super) fn accept<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<Deflate> {
        let text = values
            .into_iter()
            .filter_map(|value| std::str::from_utf8(value).ok());
        text.flat_map(|value| value.split(',')).find_map(offer)
    }

    /// What the answer's field says.
    pub(super) fn answer(self) -> &'static str {
        match self.window {
            Window::Full => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            }
            Window::Small => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=9"
            }
        }
    }
}

/// One offer. An unknown parameter, one that comes twice and one with a wrong value decline it
/// (section 7.1).
fn offer(offer: &str) -> Option<Deflate> {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next() != Some(NAME) {
        return None;
    }
    let mut window = Window::Full;
    let mut seen = Vec::new();
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start()))),
            None => (part, None),
        };
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match (name, value) {
            // A client's window is no more than ours, whatever it is.
            ("server_no_context_takeover" | "client_no_context_takeover", None)
            | ("client_max_window_bits", None) => {}
            ("client_max_window_bits", Some(value)) => drop(bits(value)?),
            ("server_max_window_bits", Some(value)) => {
                window = match bits(value)? {
                    15 => Window::Full,
                    9.. => Window::Small,
                    // 256 bytes: no zlib compresses for that.
                    _ => return None,
                };
            }
            _ => return None,
        }
    }
    Some(Deflate { window })
}

fn unquoted(value: &str) -> &str {
    let inner = value.strip_prefix('"');
    inner
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(value)
}

/// A decimal number from 8 to 15, without a leading zero.
fn bits(text: &str) -> Option<u8> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let bits: u8 = text.parse().ok()?;
    (is_number && (8..=15).contains(&bits)).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(values: &[&str]) -> Option<u8> {
        let accepted = Deflate::accept(values.iter().map(|value| value.as_bytes()));
        accepted.map(|deflate| deflate.window.bits())
    }

    #[test]
    fn the_first_offer_that_can_be_met_is() {
        for (values, expected) in [
            (&["permessage-deflate"][..], Some(15)),
            (&["permessage-deflate; client_max_window_bits"], Some(15)),
            (
                &["permessage-deflate;client_max_window_bits=\"9\""],
                Some(15),
            ),
            (&["permessage-deflate; server_max_window_bits=12"], Some(9)),
            (&["permessage-deflate; server_max_window_bits=15"], Some(15)),
            (&["permessage-deflate; server_max_window_bits=8"], None),
            (
                &["permessage-deflate; server_max_window_bits=8, permessage-deflate"],
                Some(15),
            ),
            (
                &["x-other", "permessage-deflate; server_no_context_takeover"],
                Some(15),
            ),
            (&["permessage-deflate; unheard_of"], None),
            (&["permessage-deflate; server_max_window_bits"], None),
            (&["permessage-deflate; server_no_context_takeover=1"], None),
            (&["permessage-deflate; client_max_window_bits=16"], None),
            (&["permessage-deflate; client_max_window_bits=07"], None),
            (
                &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
                None,
            ),
            (&["deflate-frame"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(window(values), expected, "{values:?}");
        }
    }
}
