//! Reads `src/` and fails, naming the line, where a room imports what the layering rule forbids.
//!
//! It reads text, not the compiler's view: `crate::room` in code is an arrow, in a comment it is
//! not. It also keeps the hub and the wire free of sockets, threads, clocks and randomness, keeps
//! each foreign format with its one owner, and keeps every room within its size.

use std::fs;
use std::path::{Path, PathBuf};

/// Room, and the rooms it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["config", "doctor", "launch", "node"]),
    (
        "node",
        &[
            "admin", "bridge", "config", "dist", "edge", "hub", "memory", "wire", "metrics",
        ],
    ),
    (
        "config",
        &[
            "admin", "bridge", "dist", "doctor", "edge", "node", "term", "wire",
        ],
    ),
    ("admin", &["metrics"]),
    ("doctor", &[]),
    ("launch", &[]),
    ("memory", &["metrics"]),
    ("bridge", &["edge", "wire", "metrics"]),
    ("dist", &["term", "wire", "metrics"]),
    ("term", &["wire"]),
    ("edge", &["hub", "websocket", "wire", "metrics"]),
    ("hub", &["websocket", "wire"]),
    ("websocket", &["wire"]),
    ("wire", &[]),
    ("metrics", &[]),
];

/// What a room must not name, and why.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("hub", "tokio", "the hub is sans-IO"),
    ("hub", "mio", "the hub is sans-IO"),
    ("hub", "std::net", "the hub is sans-IO"),
    ("hub", "std::thread", "the hub is sans-IO"),
    ("hub", "std::sync", "the hub belongs to one thread"),
    ("hub", "Instant::now", "time is an argument"),
    ("hub", "fastrand", "randomness is an argument"),
    ("hub", "tracing", "the hub tells by values"),
    ("websocket", "tokio", "WebSocket is sans-IO"),
    ("websocket", "mio", "WebSocket is sans-IO"),
    ("websocket", "std::net", "WebSocket is sans-IO"),
    ("websocket", "Instant", "WebSocket is sans-IO"),
    ("websocket", "fastrand", "WebSocket is sans-IO"),
    ("wire", "tokio", "the wire is pure data"),
    ("wire", "std::thread", "the wire is pure data"),
    ("wire", "Instant", "the wire is pure data"),
    ("term", "tokio", "terms are pure data"),
    ("term", "std::net::Tcp", "terms are pure data"),
    ("term", "std::thread", "terms are pure data"),
    ("term", "Instant", "terms are pure data"),
    ("bridge", "tokio", "the bridge also runs inside the BEAM"),
];

/// A foreign crate, and the only places that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("eetf", &["src/term", "src/dist/codec"]),
    (
        "erl_dist",
        &["src/dist/epmd.rs", "src/dist/codec/oracle_test.rs"],
    ),
    (
        "tokio_rustls",
        &[
            "src/dist/tls.rs",
            "src/dist/link/stream.rs",
            "src/edge/door/tls.rs",
            "src/edge/shard/session.rs",
            "src/edge/shard/session_test.rs",
            "src/edge/token/keys.rs",
        ],
    ),
    ("jsonwebtoken", &["src/edge/token", "src/hub/polls/json.rs"]),
    ("mio", &["src/edge"]),
    ("httparse", &["src/edge"]),
    ("hyper", &["src/admin"]),
    ("flate2", &["src/websocket/deflate.rs"]),
    ("sha1", &["src/websocket/handshake.rs"]),
    (
        "base64",
        &[
            "src/websocket/handshake.rs",
            "src/edge/token",
            "src/hub/polls/json.rs",
        ],
    ),
    ("tungstenite", &["src/websocket/peer_test.rs"]),
    ("clap", &["src/config"]),
    ("toml", &["src/config"]),
];

#[test]
fn arrows_point_down() {
    let mut offences = Vec::new();
    for (path, number, line) in code_lines() {
        let room = room_of(&path);
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            assert_eq!(room, "lib", "{}: a room without a rule", path.display());
            continue;
        };
        for named in rooms_named(&line) {
            if named != room && !allowed.contains(&named) {
                offences.push(format!(
                    "{}:{number}: {room} → {named}: {line}",
                    path.display()
                ));
            }
        }
    }
    assert!(
        offences.is_empty(),
        "the layering rule forbids:\n{}",
        offences.join("\n")
    );
}

#[test]
fn rooms_keep_their_promises() {
    let mut offences = Vec::new();
    for (path, number, line) in code_lines() {
        for (room, word, reason) in FORBIDDEN {
            if room_of(&path) == *room && names(&line, word) {
                offences.push(format!("{}:{number}: {reason}: {line}", path.display()));
            }
        }
        for (word, places) in OWNERS {
            let at_home = places.iter().any(|place| path.starts_with(place));
            if names(&line, &format!("{word}::")) && !at_home {
                offences.push(format!(
                    "{}:{number}: {word} belongs to {places:?}",
                    path.display()
                ));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn there_are_no_drawers_and_no_halls() {
    let native = sources(Path::new("native/src"));
    for path in sources(Path::new("src")).into_iter().chain(native) {
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        assert!(
            !["util", "utils", "common", "helpers", "misc", "types"].contains(&stem),
            "{}: a drawer, not a room",
            path.display()
        );
        let text = fs::read_to_string(&path).expect("sources are readable");
        assert!(
            text.starts_with("//!"),
            "{}: begins without saying what it is",
            path.display()
        );
        let lines = text.lines().count();
        assert!(
            lines <= 500,
            "{}: {lines} lines, look for the seam",
            path.display()
        );
    }
}

/// `crate::room` in the line, also inside `use crate::{a::B, c::D}`.
fn rooms_named(line: &str) -> Vec<&'static str> {
    let rooms = ARROWS.iter().map(|(name, _)| *name);
    let Some(at) = line.find("crate::").or_else(|| line.find("lariat::")) else {
        return Vec::new();
    };
    let rest = &line[at..];
    let grouped = rest.starts_with("crate::{") || rest.starts_with("lariat::{");
    rooms
        .filter(|room| {
            ["crate::", "lariat::"]
                .iter()
                .any(|root| line.contains(&format!("{root}{room}")))
                || grouped && names(rest, &format!("{room}::"))
        })
        .collect()
}

/// Whether `word` stands in the line, not as the end of a longer name.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

fn room_of(path: &Path) -> String {
    let below = path.strip_prefix("src").expect("sources are below src");
    let first = below
        .iter()
        .next()
        .and_then(|part| part.to_str())
        .unwrap_or_default();
    first.trim_end_matches(".rs").to_owned()
}

/// Each line of code below `src/`, comments and strings of prose left out.
fn code_lines() -> Vec<(PathBuf, usize, String)> {
    let mut lines = Vec::new();
    for path in sources(Path::new("src")) {
        let text = fs::read_to_string(&path).expect("sources are readable");
        for (index, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default().trim();
            if !code.is_empty() {
                lines.push((path.clone(), index + 1, code.to_owned()));
            }
        }
    }
    assert!(lines.len() > 100, "run from the root of the repository");
    lines
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the entry is readable").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
