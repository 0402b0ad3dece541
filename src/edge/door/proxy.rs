//! The header that a proxy sends ahead of what its client says: the PROXY protocol, both versions.
//!
//! Pure: bytes in, the client's address out. It is believed without question: who may send one is
//! `origin`'s affair. Of version 2 the checksum and the other extensions are skipped; they say
//! nothing that is needed here. Spec: haproxy.org, proxy-protocol.txt, sections 2.1 and 2.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A line of version 1 has at most this many bytes (section 2.1).
const LINE_BYTES_MAX: usize = 107;

/// What follows the fixed part of version 2. Addresses are at most 216; the rest is extensions,
/// of which certificates are the largest. A length that the proxy announces is never reserved.
const REST_BYTES_MAX: usize = 2048;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) struct Header {
    /// The client's address; `None` when the proxy speaks for itself (a health check) or has no
    /// address to tell.
    pub(in crate::edge) source: Option<SocketAddr>,
    /// Bytes of the header.
    pub(in crate::edge) length: usize,
}

/// Not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) struct Malformed;

/// Reads the header at the beginning of `bytes`; `None` when it is not complete yet.
pub(in crate::edge) fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let is_begin = |of: &[u8]| bytes.iter().zip(of).all(|(ours, theirs)| ours == theirs);
    if is_begin(SIGNATURE) {
        binary(bytes)
    } else if is_begin(b"PROXY ") {
        text(bytes)
    } else {
        Err(Malformed)
    }
}

/// Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`.
fn text(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        let is_open = window.len() < LINE_BYTES_MAX;
        return if is_open { Ok(None) } else { Err(Malformed) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let mut words = line.split(' ').skip(1);
    let mut word = || words.next().ok_or(Malformed);
    let source = match word()? {
        "UNKNOWN" => None,
        family @ ("TCP4" | "TCP6") => {
            let (from, to) = (ip(family, word()?)?, ip(family, word()?)?);
            let (from_port, to_port) = (port(word()?)?, port(word()?)?);
            if words.next().is_some() {
                return Err(Malformed);
            }
            let _ = (to, to_port);
            Some(SocketAddr::new(from, from_port))
        }
        _ => return Err(Malformed),
    };
    let length = end + 1;
    Ok(Some(Header { source, length }))
}

fn ip(family: &str, text: &str) -> Result<IpAddr, Malformed> {
    let parsed = match family {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4),
        _ => text.parse::<Ipv6Addr>().map(IpAddr::V6),
    };
    parsed.map_err(|_| Malformed)
}

fn port(text: &str) -> Result<u16, Malformed> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = is_decimal.then(|| text.parse().ok()).flatten();
    parsed.ok_or(Malformed)
}

/// Version 2: the signature, version and command, family, length, addresses, extensions.
fn binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some((fixed, rest)) = bytes.split_at_checked(16) else {
        return Ok(None);
    };
    let (command, family) = (fixed[12], fixed[13]);
    let announced = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if announced > REST_BYTES_MAX {
        return Err(Malformed);
    }
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed),
    };
    let Some(rest) = rest.get(..announced) else {
        return Ok(None);
    };
    // Stream over IPv4 and over IPv6; the rest (datagrams, Unix sockets) has no client to tell.
    let source = match family {
        0x11 => Some(address::<4>(rest, 8)?),
        0x21 => Some(address::<16>(rest, 32)?),
        _ => None,
    };
    let length = fixed.len() + announced;
    let source = source.filter(|_| !is_local);
    Ok(Some(Header { source, length }))
}

/// The source of two addresses of `N` bytes and, at `ports`, two ports.
fn address<const N: usize>(rest: &[u8], ports: usize) -> Result<SocketAddr, Malformed>
where
    IpAddr: From<[u8; N]>,
{
    let ip: [u8; N] = *rest.first_chunk().ok_or(Malformed)?;
    let both = rest.get(ports..ports + 4).ok_or(Malformed)?;
    Ok(SocketAddr::new(
        ip.into(),
        u16::from_be_bytes([both[0], both[1]]),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(source: Option<&str>, length: usize) -> Result<Option<Header>, Malformed> {
        let source = source.map(|source| source.parse().unwrap());
        Ok(Some(Header { source, length }))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn spec_2_1_version_1() {
        for (line, source) in [
            (
                "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
                Some("192.0.2.1:56324"),
            ),
            (
                "PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
                Some("[2001:db8::1]:1"),
            ),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2 and more\r\n", None),
        ] {
            let bytes = format!("{line}GET / HTTP/1.1\r\n\r\n");
            assert_eq!(
                parse(bytes.as_bytes()),
                header(source, line.len()),
                "{line}"
            );
            for cut in 0..line.len() {
                assert_eq!(parse(&line.as_bytes()[..cut]), Ok(None), "{line} at {cut}");
            }
        }
    }

    #[test]
    fn spec_2_2_version_2() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let with_extension = [&v4[..], &[0x04, 0, 1, 0]].concat();
        let mut v6 = [0; 36];
        (v6[15], v6[33]) = (1, 9);
        for (bytes, source) in [
            (v2(0x21, 0x11, &v4), Some("192.0.2.1:4660")),
            (v2(0x21, 0x11, &with_extension), Some("192.0.2.1:4660")),
            (v2(0x21, 0x21, &v6), Some("[::1]:9")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            assert_eq!(parse(&bytes), header(source, bytes.len()), "{bytes:?}");
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{bytes:?} at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_malformed() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(LINE_BYTES_MAX));
        for bytes in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"\r\n\r\n\0\r\nQUIT\r".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            long.into_bytes(),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x11, &[0; REST_BYTES_MAX + 1]),
        ] {
            assert_eq!(parse(&bytes), Err(Malformed), "{}", bytes.escape_ascii());
        }
    }
}
