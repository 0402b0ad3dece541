//! Over TLS: the same streams, with certificates that change while they are held.

#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod world;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lariat::edge::{Access, Listen, Network, Route, Tls};
use lariat::metrics::Closed;
use lariat::wire::{
    AcceptOptions, Answer, Ask, Command, Event, Handler, Id, Ids, Kind, Message, Reason, Said,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use world::{DEADLINE, World};

type Secured = StreamOwned<ClientConnection, TcpStream>;

/// A certificate of `a.example` in two files.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> (Site, CertificateDer<'static>) {
        let site = Site {
            folder: tempfile::tempdir().expect("there is room for a folder"),
        };
        let shown = site.renew();
        (site, shown)
    }

    /// Another certificate in the same files.
    fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]);
        let made = made.expect("a certificate can be made");
        std::fs::write(self.certificate(), made.cert.pem()).expect("the folder is writable");
        let key = made.signing_key.serialize_pem();
        std::fs::write(self.key(), key).expect("the folder is writable");
        made.cert.der().clone()
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("site.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("site.key")
    }

    fn tls(&self) -> Tls {
        Tls::load(&self.certificate(), &self.key()).expect("the files are right")
    }
}

/// An edge that speaks TLS alone.
fn world_of(site: &Site, change: impl FnOnce(&mut lariat::edge::Config)) -> World {
    let tls = site.tls();
    World::start(|config| {
        config.listen = vec![Listen {
            tls: Some(tls),
            ..config.listen[0].clone()
        }];
        change(config);
    })
}

fn connect(
    world: &World,
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
    ahead: &str,
) -> Secured {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("it is a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("the version is known")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("a.example").expect("it is a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client can be made");
    let mut stream = TcpStream::connect(world.address).expect("the edge accepts");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("a deadline can be set");
    stream.write_all(ahead.as_bytes()).expect("the edge reads");
    StreamOwned::new(client, stream)
}

fn request(stream: &mut Secured, path: &str) {
    let text = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    stream.write_all(text.as_bytes()).expect("the edge reads");
}

fn read_until(stream: &mut Secured, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("more comes");
        text.push(byte[0]);
    }
    String::from_utf8(text).expect("tests send text")
}

fn held(world: &World, trusted: &CertificateDer<'static>, id: i64) -> Secured {
    let mut stream = connect(world, trusted, &TLS13, "");
    request(&mut stream, &format!("/stream/{id}"));
    assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 200 "));
    stream
}

#[test]
fn a_stream_over_tls_is_a_stream() {
    let (site, shown) = Site::new();
    let world = world_of(&site, |_| {});
    for (id, version) in [(1, &TLS12), (2, &TLS13)] {
        let mut stream = connect(&world, &shown, version, "");
        request(&mut stream, &format!("/stream/{id}"));
        assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 200 "));
        assert_eq!(world.send(id, Message::new("Hello")), 1);
        assert_eq!(read_until(&mut stream, "Hello\r\n"), "5\r\nHello\r\n");
        world.ask(Command::Close {
            ids: Ids::One(Id::Int(id)),
            reason: Reason::Drain,
        });
        // With a goodbye of TLS: without it this read would be an error.
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("an end in order");
        assert_eq!(rest, "0\r\n\r\n");
    }
}

#[test]
fn a_slow_reader_gets_every_byte_in_order_and_then_the_end() {
    let (site, shown) = Site::new();
    let world = world_of(&site, |config| {
        config.outbox_bytes_max = 64 << 20;
        config.outbox_messages_max = 10_000;
    });
    let mut client = held(&world, &shown, 5);
    let expected = world.send_much_and_close(5);
    let mut received = String::new();
    client
        .read_to_string(&mut received)
        .expect("an end in order");
    assert!(received == expected, "all of it, in order");
}

#[test]
fn the_end_of_tls_is_the_end_of_the_stream_and_talk_is_not_taken() {
    let (site, shown) = Site::new();
    let world = world_of(&site, |_| {});
    let closed = |reason: Closed| {
        world.owner.wait("its end", |told| {
            told.events
                .iter()
                .any(|event| matches!(event, Event::Closed { .. }))
        });
        assert_eq!(world.metrics.closed.of(reason).value(), 1);
        world.owner.change(|told| told.events.clear());
    };
    let mut leaving = held(&world, &shown, 1);
    leaving.conn.send_close_notify();
    leaving.flush().expect("the edge reads");
    closed(Closed::Client);
    let mut talking = held(&world, &shown, 2);
    let _ = talking.write_all(&[b'x'; 64 * 1024]);
    closed(Closed::Protocol);
    let mut broken = held(&world, &shown, 3);
    broken.sock.write_all(&[0; 100]).expect("the edge reads");
    world.owner.wait("its end", |told| {
        told.events
            .iter()
            .any(|event| matches!(event, Event::Closed { id: Id::Int(3), .. }))
    });
    assert_eq!(world.metrics.closed.of(Closed::Protocol).value(), 2);
}

#[test]
fn refusals_and_pages_are_for_those_who_speak_tls_too() {
    let (site, shown) = Site::new();
    let world = world_of(&site, |config| {
        config.demo = true;
        config.connections_per_id_max = 1;
    });
    let _first = held(&world, &shown, 7);
    for (path, begin) in [
        ("/nothing", "HTTP/1.1 404 "),
        ("/", "HTTP/1.1 200 "),
        ("/stream/7", "HTTP/1.1 503 "),
    ] {
        let mut client = connect(&world, &shown, &TLS13, "");
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client
            .write_all(request.as_bytes())
            .expect("the edge reads");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an end in order");
        assert!(answer.starts_with(begin), "{path}: {answer}");
    }
}

#[test]
fn what_is_no_tls_is_closed_and_counted() {
    let (site, shown) = Site::new();
    let world = world_of(&site, |_| {});
    let mut witness = held(&world, &shown, 1);
    let garbage: [&[u8]; 4] = [
        b"GET /stream/1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"\x17\x03\x03\x00\x01\x00",
        &[0xff; 20_000],
    ];
    for bytes in garbage {
        let mut client = world.client(bytes);
        let mut rest = Vec::new();
        // An alert perhaps, a reset perhaps, but an end, and nothing in plain.
        let _ = client.stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    }
    assert_eq!(world.metrics.tls_failed.value(), 4);
    assert_eq!(world.send(1, Message::new("Hello")), 1);
    read_until(&mut witness, "Hello\r\n");
}

#[test]
fn a_handshake_that_stops_ends_at_the_deadline_of_heads() {
    let (site, _) = Site::new();
    let world = world_of(&site, |config| config.head_timeout = Duration::from_secs(1));
    for bytes in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        assert_eq!(world.client(bytes).read_to_end(), "");
    }
}

#[test]
fn a_proxy_header_comes_before_tls() {
    let (site, shown) = Site::new();
    let world = world_of(&site, |config| {
        let loopback: Network = "127.0.0.1".parse().expect("it is a network");
        config.trusted_proxies = [loopback].into_iter().collect();
        config.listen[0].proxy_protocol = true;
    });
    let ahead = "PROXY TCP4 192.0.2.1 192.0.2.2 5 443\r\n";
    let mut stream = connect(&world, &shown, &TLS13, ahead);
    request(&mut stream, "/stream/1");
    assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 200 "));
    let peer = world.owner.wait("the stream to open", |told| {
        told.events.iter().find_map(|event| match event {
            Event::Opened { info, .. } => info.peer,
            _ => None,
        })
    });
    assert_eq!(peer, "192.0.2.1:5".parse().ok());
}

#[test]
fn a_renewed_certificate_is_shown_and_drops_nobody() {
    let (site, old) = Site::new();
    let world = world_of(&site, |_| {});
    let mut before = held(&world, &old, 1);
    let new = site.renew();
    assert_eq!(world.edge.reload_certificates().expect("it is right"), 1);
    let mut after = held(&world, &new, 2);
    let mut mistrusting = connect(&world, &old, &TLS13, "");
    assert!(
        mistrusting.write_all(b"GET").is_err(),
        "the old one is gone"
    );
    for (id, stream) in [(1, &mut before), (2, &mut after)] {
        assert_eq!(world.send(id, Message::new("Hello")), 1);
        read_until(stream, "Hello\r\n");
    }
    // Files that cannot be shown change nothing.
    let broken: [fn(&Path, &Path); 2] = [
        |certificate, _| std::fs::write(certificate, "no PEM").expect("it is writable"),
        |certificate, key| {
            let other = rcgen::generate_simple_self_signed(vec!["b.example".to_owned()]);
            let other = other.expect("a certificate can be made");
            std::fs::write(certificate, other.cert.pem()).expect("it is writable");
            assert!(key.exists(), "that of the certificate before");
        },
    ];
    for write in broken {
        write(&site.certificate(), &site.key());
        assert!(world.edge.reload_certificates().is_err());
        held(&world, &new, 3);
    }
}

/// Its session waits with it while the handler thinks.
#[test]
fn a_handler_is_asked_about_a_client_that_speaks_tls() {
    let (site, trusted) = Site::new();
    let handler: Handler = "chat".parse().expect("it is a name");
    let world = world_of(&site, |config| {
        let mut route = Route::new("/rooms/{room}".parse().expect("it is a path"));
        route.access = Access::Ask;
        route.handler = Some(handler.clone());
        config.routes = vec![route.into()];
    });
    world.ask(Command::Attach {
        owner: world::OWNER,
        handlers: vec![handler],
    });
    for (nth, version) in [&TLS12, &TLS13].into_iter().enumerate() {
        let mut client = connect(&world, &trusted, version, "");
        request(&mut client, "/rooms/1");
        let asked = world.owner.wait("a question", |told| {
            let question = |event: &Event| match event {
                Event::Ask {
                    reference,
                    ask: Ask::Request(request),
                } => Some((*reference, request.peer)),
                _ => None,
            };
            told.events.iter().filter_map(question).nth(nth)
        });
        let (reference, peer) = asked.expect("it was waited for");
        assert_eq!(peer, client.sock.local_addr().ok());
        let id = i64::try_from(nth).expect("it is small");
        let accept = Answer::Accept {
            id: Id::Int(id),
            options: AcceptOptions::default(),
        };
        world.ask(Command::Answers(vec![(reference, Some(accept))]));
        let head = read_until(&mut client, "\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        world.owner.wait("the stream to open", |told| {
            let is_it =
                |event: &Event| matches!(event, Event::Opened { id: Id::Int(of), .. } if *of == id);
            told.events.iter().any(is_it)
        });
        assert_eq!(world.send(id, Message::new("hello")), 1);
        read_until(&mut client, "5\r\nhello\r\n");
    }
}

/// Frames larger than a record, and smaller ones, in both directions; a library is the client.
#[test]
fn websockets_talk_over_tls() {
    let (site, shown) = Site::new();
    let world = world_of(&site, |config| {
        let mut route = Route::new("/ws/{id}".parse().expect("it is a path"));
        route.kind = Kind::Websocket;
        config.routes = vec![Arc::new(route)];
    });
    for version in [&TLS12, &TLS13] {
        let secured = connect(&world, &shown, version, "");
        let (mut client, _) = tungstenite::client("ws://a.example/ws/1", secured)
            .expect("the handshake is as the library wants it");
        for length in [0, 10, 20_000, 65_536] {
            let text = "x".repeat(length);
            let sent = tungstenite::Message::text(text.clone());
            client.send(sent.clone()).expect("it is sent");
            world.owner.wait("what the client said", |told| {
                let is_it = |event: &Event| {
                    matches!(event, Event::Received { said: Said::Text(said), .. } if said == text.as_bytes())
                };
                told.events.iter().any(is_it)
            });
            assert_eq!(world.send(1, Message::new(text)), 1);
            assert_eq!(client.read().expect("it is heard"), sent);
        }
        client.close(None).expect("it is sent");
        while client.read().is_ok() {}
        world.owner.wait("the end", |told| {
            let is_end = |event: &Event| matches!(event, Event::Closed { .. });
            told.events.iter().any(is_end)
        });
        world.owner.change(|told| told.events.clear());
    }
}
