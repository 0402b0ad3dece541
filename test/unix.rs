//! Over a Unix socket: the same streams, and the client's address from its proxy or none.

#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod world;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use lariat::edge::{Address, Listen};
use lariat::wire::{Event, Id, Message, Reason};
use world::{DEADLINE, World};

fn world_at(path: &Path) -> World {
    let path = path.to_owned();
    World::start(|config| {
        config.listen.push(Listen {
            unix_mode: 0o600,
            ..Address::Unix(path).into()
        });
    })
}

fn client(path: &Path, request: &str) -> UnixStream {
    let mut client = UnixStream::connect(path).expect("the edge accepts");
    client
        .set_read_timeout(Some(DEADLINE))
        .expect("a deadline can be set");
    client
        .write_all(request.as_bytes())
        .expect("the edge reads");
    client
}

fn read_until(client: &mut UnixStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("more comes");
        text.push(byte[0]);
    }
    String::from_utf8(text).expect("tests send text")
}

#[test]
fn a_stream_over_a_unix_socket_is_a_stream() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join("http.sock");
    let world = world_at(&path);
    let mode = std::fs::metadata(&path).expect("it is there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let mut stream = client(&path, "GET /stream/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 200 "));
    let fields = "Accept: text/event-stream\r\nX-Forwarded-For: 192.0.2.1\r\n";
    let request = format!("GET /stream/2 HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let mut proxied = client(&path, &request);
    assert!(read_until(&mut proxied, "\n\n\r\n").starts_with("HTTP/1.1 200 "));
    for (id, peer) in [(1, None), (2, "192.0.2.1:0".parse().ok())] {
        let told = world.owner.wait("the stream to open", |told| {
            told.events.iter().find_map(|event| match event {
                Event::Opened {
                    id: Id::Int(of),
                    info,
                    ..
                } if *of == id => Some(info.peer),
                _ => None,
            })
        });
        assert_eq!(told, Some(peer));
    }
    // More than a socket takes at once, so that the poller has its part in it.
    let large = "x".repeat(500_000);
    assert_eq!(world.send(1, Message::new(large.clone())), 1);
    let chunk = format!("7a120\r\n{large}\r\n");
    assert_eq!(read_until(&mut stream, "x\r\n"), chunk);
    drop(proxied);
    world.owner.wait("its end", |told| {
        told.events.iter().any(|event| {
            matches!(
                event,
                Event::Closed {
                    id: Id::Int(2),
                    reason: Reason::Client,
                    ..
                }
            )
        })
    });
    let mut refused = client(&path, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut answer = String::new();
    refused.read_to_string(&mut answer).expect("it ends");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[test]
fn what_a_killed_process_left_is_in_nobodys_way() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join("http.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("it can be bound"));
    let world = world_at(&path);
    let mut stream = client(&path, "GET /stream/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    read_until(&mut stream, "\r\n\r\n");
    drop(world);
    assert!(!path.exists(), "it goes with its listener");
}
