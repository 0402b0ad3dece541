//! The ways in for fuzzing: what bytes of a stranger reach before anything is known of them.
//!
//! Public only with the feature `fuzzing`, which nothing but `fuzz/` turns on. No sockets, no tasks:
//! [`heads`] is what `listener` does with the bytes of a request, and reads them a second time in
//! another way to see that both come to the same.
//!
//! The test below is the bounded run of every `cargo test`: the seeds, and a fixed number of mutants
//! of each, always the same ones. It knows no coverage; `make fuzz` looks for the rest.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::Config;
use super::door::origin::{Network, Trust};
use super::door::proxy;
use super::http::body::Chunks;
use super::http::greeting;
use super::http::head::{self, Head};
use super::http::refusal::Refusal;
use super::http::routing::{Destination, find};
use crate::hub::Framing;
use crate::wire::Id;

/// What a client sends first.
pub fn heads(data: &[u8]) {
    let bytes_max = Config::default().head_bytes_max;
    let whole = head::parse(data);
    cuts_change_nothing(data, &whole);
    let refusal = match whole {
        Ok(None) => return,
        Ok(Some(head)) if head.length > bytes_max => Refusal::HeadTooLarge,
        Ok(Some(head)) => {
            read_again(&data[..head.length], &head);
            fields_are_each_there_once(&data[..head.length]);
            match find(&head, &[Arc::default()], true).and_then(|found| admitted(&head, found)) {
                Ok(found) => return answered(&head, found),
                Err(refusal) => refusal,
            }
        }
        Err(refusal) => refusal,
    };
    refused(&refusal);
}

/// A body in chunks, which is cut into reads by the first byte.
pub fn bodies(data: &[u8]) {
    const BYTES_MAX: usize = 1000;
    let (&first, data) = data.split_first().unwrap_or((&1, &[]));
    let taken = |part_bytes: usize| {
        let (mut chunks, mut buffer) = (Chunks::new(BYTES_MAX), BytesMut::new());
        let mut parts = data.chunks(part_bytes.max(1));
        while let Some(part) = parts.next() {
            buffer.extend_from_slice(part);
            if chunks.take(&mut buffer)? {
                parts.for_each(|part| buffer.extend_from_slice(part));
                return Ok(Some((chunks.into_body(), buffer)));
            }
            assert!(chunks.len() <= BYTES_MAX);
        }
        Ok(None)
    };
    let whole: Result<_, Refusal> = taken(data.len());
    match (taken(first.into()), &whole) {
        // Which of two offences is seen first may depend on the cuts.
        (Err(_), Err(_)) => {}
        (parts, whole) => assert_eq!(&parts, whole),
    }
    let Ok(Some((body, rest))) = whole else {
        return;
    };
    // A reading of its own, by lines.
    let mut unread = &data[..data.len() - rest.len()];
    let mut again = Vec::new();
    loop {
        let end = memchr::memmem::find(unread, b"\r\n").expect("a size ends with a line");
        let line = std::str::from_utf8(&unread[..end]);
        let size = match line {
            Ok(line) => line.split(';').next().map(str::to_owned),
            // Extensions may have any bytes that are no controls.
            Err(error) => std::str::from_utf8(&unread[..error.valid_up_to()])
                .ok()
                .and_then(|line| line.split(';').next())
                .map(str::to_owned),
        };
        let size = usize::from_str_radix(&size.expect("it has a size"), 16).expect("a number");
        unread = &unread[end + 2..];
        if size == 0 {
            break;
        }
        again.extend_from_slice(&unread[..size]);
        assert_eq!(&unread[size..size + 2], b"\r\n");
        unread = &unread[size + 2..];
    }
    assert_eq!(body, again);
    assert!(
        unread.ends_with(b"\r\n"),
        "the trailers end with an empty line"
    );
}

/// What a proxy sends ahead, and what it says in the request.
pub fn proxies(data: &[u8]) {
    let whole = proxy::parse(data);
    for cut in 0..data.len().min(256) {
        match (proxy::parse(&data[..cut]), whole) {
            (Ok(None), Ok(Some(header))) => assert!(cut < header.length, "complete at {cut}"),
            (Ok(None), _) => {}
            (part, whole) => assert_eq!(part, whole, "at {cut}"),
        }
    }
    let ours: Network = "10.0.0.0/8".parse().expect("it is a network");
    let trust: Trust = [ours].into_iter().collect();
    let values = || data.split(|&byte| byte == b'\n');
    let client = trust.client_behind(None, values());
    let joined = data
        .iter()
        .map(|&byte| if byte == b'\n' { b',' } else { byte });
    let joined: Vec<u8> = joined.collect();
    // Fields that come one by one or joined say the same.
    let again = trust.client_behind(None, std::iter::once(&joined[..]));
    assert_eq!(client, again);
    let stranger = SocketAddr::from(([192, 0, 2, 1], 1));
    assert_eq!(trust.client_behind(Some(stranger), values()), None);
}

/// What is read does not depend on how the bytes arrive, and nothing behind a head counts.
fn cuts_change_nothing(data: &[u8], whole: &Result<Option<Head<'_>>, Refusal>) {
    // Each is a parse: of a long input some cuts have to do, among them the last ones.
    let step = (data.len() / 64).max(1);
    let near_end = data.len().saturating_sub(8)..data.len();
    for cut in (0..data.len()).step_by(step).chain(near_end) {
        match (head::parse(&data[..cut]), whole) {
            (Ok(None), Ok(Some(head))) => assert!(cut < head.length, "complete at {cut}"),
            (Ok(None), _) | (Err(_), Err(_)) => {}
            (Ok(Some(part)), Ok(Some(head))) => assert_eq!(&part, head),
            (part, whole) => panic!("{part:?} at {cut}, then {whole:?}"),
        }
    }
}

/// A reading of its own, by lines and words: both must have seen the same request.
fn read_again(bytes: &[u8], head: &Head<'_>) {
    let text: String = bytes.iter().copied().map(char::from).collect();
    let (lines, end) = text.split_at(text.len() - 4);
    assert_eq!(end, "\r\n\r\n");
    assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']));
    let mut lines = lines.trim_start_matches("\r\n").split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = words[..] else {
        panic!("a request line of {} words", words.len());
    };
    assert_eq!(method, head.method);
    assert!(target.contains(&latin(head.path)) || head.path == "/");
    assert_eq!(version == "HTTP/1.0", head.is_http10);
    let fields: Vec<(String, &str)> = lines
        .map(|line| line.split_once(':').expect("a field has a colon"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])))
        .collect();
    let values = |wanted: &str| -> Vec<&str> {
        let named = fields.iter().filter(|(name, _)| name == wanted);
        named.map(|(_, value)| *value).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    assert!(values("host").len() == 1 || head.is_http10);
    assert!(lengths.len() + codings.len() <= 1, "lengths that disagree");
    let has_body =
        !codings.is_empty() || lengths.iter().any(|length| length.contains(|c| c != '0'));
    assert_eq!(has_body, head.has_body);
}

fn fields_are_each_there_once(head: &[u8]) {
    let fields = head::fields(head);
    for (nth, (name, value)) in fields.iter().enumerate() {
        assert!(!name.iter().any(u8::is_ascii_uppercase));
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        assert!(fields[..nth].iter().all(|(known, _)| known != name));
    }
}

/// Each byte a character, as `read_again` reads.
fn latin(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

fn admitted(head: &Head<'_>, found: Destination) -> Result<Destination, Refusal> {
    found.admit(head).map(|()| found)
}

fn answered(head: &Head<'_>, found: Destination) {
    assert!(!head.has_body);
    let Destination::Held { id: Some(id), .. } = &found else {
        return;
    };
    assert_eq!(head.method, "GET");
    let text = match id {
        Id::Int(number) => number.to_string().into_bytes(),
        Id::Bin(bytes) => bytes.to_vec(),
        Id::Term(_) => panic!("no path makes a term"),
    };
    assert!(text.len() <= 255);
    // Written in the one way that cannot be misread, it is the same id.
    let path = format!("/stream/{}", percent_encode(&text, NON_ALPHANUMERIC));
    let again = Head {
        path: &path,
        ..head.clone()
    };
    assert_eq!(find(&again, &[Arc::default()], true), Ok(found));
    let framings = [
        Framing::Chunked,
        Framing::ChunkedSse,
        Framing::Plain,
        Framing::PlainSse,
    ];
    for framing in framings {
        let second = Duration::from_secs(1);
        let greeting = greeting::greeting(framing, second, &[], b"", 0.5, SystemTime::UNIX_EPOCH);
        assert!(greeting.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

/// A refusal is one answer, however odd the request.
fn refused(refusal: &Refusal) {
    let answer = refusal.answer();
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = response.parse(&answer) else {
        panic!("no answer: {:?}", String::from_utf8_lossy(&answer));
    };
    let said = response
        .headers
        .iter()
        .find(|field| field.name == "Content-Length");
    let body = (answer.len() - length).to_string();
    assert_eq!(said.map(|field| field.value), Some(body.as_bytes()));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Mutants of each seed: a few seconds in a debug build.
    const MUTANTS: usize = 300;

    /// What heads are made of; a fuzzer with coverage finds these by itself.
    const TELLING: [&[u8]; 17] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"%",
        b"/",
        b"://",
        b"\xff",
        b"Host: a\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b";",
    ];

    fn mutate(rng: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
        for _ in 0..=rng.usize(0..3) {
            let at = rng.usize(0..=bytes.len());
            let telling = TELLING[rng.usize(0..TELLING.len())];
            match rng.u8(0..5) {
                0 if at < bytes.len() => bytes[at] = rng.u8(..),
                1 => bytes.truncate(at),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 => {
                    let piece = bytes[at..].to_vec();
                    let to = rng.usize(0..=bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => drop(bytes.splice(at..at, telling.iter().copied())),
            }
        }
    }

    fn survives(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        let mut seeds: Vec<_> = fs::read_dir(folder.join(target))
            .expect("the seeds are part of the repository")
            .map(|entry| entry.expect("the folder is readable").path())
            .collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "seeds for {target}");
        let mut rng = fastrand::Rng::with_seed(3);
        for seed in seeds {
            let seed = fs::read(seed).expect("seeds are readable");
            run(&seed);
            for _ in 0..MUTANTS {
                let mut mutant = seed.clone();
                mutate(&mut rng, &mut mutant);
                run(&mutant);
            }
        }
    }

    #[test]
    fn proxies_survive() {
        survives("proxies", proxies);
    }

    #[test]
    fn bodies_survive() {
        survives("bodies", bodies);
    }

    #[test]
    fn heads_survive() {
        survives("heads", heads);
    }
}
