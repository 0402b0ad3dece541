//! WebSockets: what comes in frames is counted, what has to be answered is.

use std::io::Read;

use serde_json::json;

use crate::check;
use crate::client::Client;
use crate::server::{Server, Stream, stamp, stream, websocket};

fn url(server: &Server) -> String {
    server.url().replacen("http://", "ws://", 1)
}

/// A short frame of a server.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126, "{length}");
    [&[first, length], payload].concat()
}

/// The first byte and the payload of the next frame, which is masked.
fn answer(stream: &mut Stream) -> (u8, Vec<u8>) {
    let mut head = [0; 6];
    stream.socket.read_exact(&mut head).unwrap();
    let [first, length, mask @ ..] = head;
    assert_eq!(length & 0x80, 0x80, "a client masks");
    let mut payload = vec![0; usize::from(length & 0x7f)];
    stream.socket.read_exact(&mut payload).unwrap();
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    (first, payload)
}

#[test]
fn messages_are_counted_and_pings_are_answered() {
    let server = Server::start(websocket);
    let client = Client::load(
        &url(&server),
        "--connections 4 --deflate --expect 16 --quiet 1h",
    );
    check(
        &client.wait_for("connected"),
        &json!({"connections": 4, "open": 4, "refused": 0}),
    );
    let mut streams = server.streams_of(4);
    for stream in &mut streams {
        let stamp = stamp(stream.id);
        let (one, other) = stamp.as_bytes().split_at(9);
        stream.trickle(&frame(0x89, b"there?"));
        assert_eq!(answer(stream), (0x8a, b"there?".to_vec()));
        let fragments = [frame(0x01, one), frame(0x89, b""), frame(0x80, other)];
        stream.send(&fragments.concat());
        assert_eq!(answer(stream), (0x8a, Vec::new()));
        // Text that is a newline, bytes, and something compressed.
        let others = [frame(0x81, b"\n"), frame(0x82, b"xy"), frame(0xc1, b"zzz")];
        stream.send(&others.concat());
        stream.send(&frame(0x88, b"\x03\xe9"));
        assert_eq!(answer(stream), (0x88, b"\x03\xe9".to_vec()));
    }
    assert_eq!(client.wait_for("expected")["messages"], 16);
    let (report, status) = client.report();
    assert_eq!(status, 0, "{report:#}");
    check(
        &report,
        &json!({"ok": true, "messages": 16, "messages_unstamped": 12, "stamps": 4, "misrouted": 0,
            "heartbeats": 8, "closed_complete": 4, "framing_errors": 0}),
    );
}

#[test]
fn a_server_without_websockets_is_found_out() {
    let told = |server: &Server, arguments: &str| {
        let client = Client::load(&url(server), arguments);
        client.wait_for("connected");
        client.report().0
    };
    // An extension that was not offered.
    let report = told(&Server::start(websocket), "--expect 1");
    let kind = "response has an extension or a subprotocol that was not offered";
    check(
        &report,
        &json!({"ok": false, "framing_errors": 1, "opened": 0,
        "framing_errors_by_kind": {kind: 1}}),
    );
    let report = told(&Server::start(stream), "--expect 1");
    let kind = "response is not the handshake of a WebSocket";
    check(
        &report,
        &json!({"ok": false, "framing_errors": 1, "opened": 0,
        "framing_errors_by_kind": {kind: 1}}),
    );
    let upgrade = |_: &str, _: bool| "HTTP/1.1 426 Upgrade Required\r\n\r\n".to_owned();
    let report = told(&Server::start(upgrade), "--expect 1");
    check(
        &report,
        &json!({"ok": false, "framing_errors": 0, "refused_by_status": {"426": 1}}),
    );
}

#[test]
fn options_that_do_not_fit_the_url_are_refused() {
    for (url, option) in [
        ("ws://127.0.0.1:1/{id}", "--transport sse"),
        ("http://127.0.0.1:1/{id}", "--deflate"),
    ] {
        assert_eq!(Client::load(url, option).status(), 64, "{url} {option}");
    }
}
