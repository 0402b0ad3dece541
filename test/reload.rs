//! SIGHUP: the real program reads its config again, and a stream that is held notices nothing.
//!
//! Which keys may change is the config's own test; that a new certificate is shown, that of HTTPS.

#[path = "support/service.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod service;

use std::io::{Read, Write};
use std::net::TcpStream;

use service::{DEADLINE, Held, Service, wait_for};

/// The status that a request for this path gets.
fn status(service: &Service, path: &str) -> u16 {
    let mut stream = TcpStream::connect(service.address("http")).expect("it accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("it can");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut line = [0; 12];
    stream.read_exact(&mut line).expect("it answers");
    let text = std::str::from_utf8(&line[9..]).expect("it is text");
    text.parse().expect("it is a status")
}

/// The stream has been held all the time, and ends in order with its program.
fn lived(service: &mut Service, held: Held) {
    service.signal("TERM");
    let received = held.read_to_end();
    assert_eq!(received.matches("HTTP/1.1").count(), 1, "{received}");
    assert!(received.ends_with("0\r\n\r\n"), "{received}");
    assert!(service.ended().success());
}

const START: &str = "drain_grace = \"off\"\n[http]\nconnections_max = 1\nheartbeat = \"off\"\n";

#[test]
fn limits_heartbeat_and_routes_change_under_a_held_stream() {
    let mut service = Service::start(START);
    let mut held = service.stream(1);
    wait_for("the limit", || status(&service, "/stream/2") == 503);
    service.reload(
        "drain_grace = \"off\"\n[http]\nconnections_max = 3\nconnections_per_id_max = 1\n\
         heartbeat = \"1s\"\n[[http.route]]\npath = \"/new/{id}\"\n",
    );
    for key in [
        "http.connections_max",
        "http.connections_per_id_max",
        "http.heartbeat",
        "http.route",
    ] {
        service.logged(key, |line| {
            line.contains("config changed") && line.contains(&format!("\"{key}\""))
        });
    }
    service.logged("the end", |line| line.contains("\"changed\":4"));
    assert_eq!(status(&service, "/stream/2"), 404);
    assert_eq!(status(&service, "/new/2"), 200);
    assert_eq!(status(&service, "/new/1"), 503, "its id has one connection");
    held.read_until("1\r\n\n\r\n");
    lived(&mut service, held);
}

#[test]
fn a_wrong_file_changes_nothing_and_is_told_as_check_tells_it() {
    let mut service = Service::start(START);
    let held = service.stream(1);
    wait_for("the limit", || status(&service, "/stream/2") == 503);
    service.reload("[http]\nconnections_max = 5\nhead_timeout = \"soon\"\n");
    let line = service.logged("the error", |line| line.contains("not reloaded"));
    for part in [
        "ERROR",
        "lariat.toml",
        "http.head_timeout",
        "soon",
        "10s|25s",
        "line 3",
    ] {
        let is_there = part.split('|').any(|part| line.contains(part));
        assert!(is_there, "{part}: {line}");
    }
    assert_eq!(status(&service, "/stream/2"), 503);
    service.reload("drain_grace = \"off\"\n[http]\nconnections_max = 5\n");
    service.logged("the change", |line| line.contains("config reloaded"));
    assert_eq!(status(&service, "/stream/2"), 200);
    lived(&mut service, held);
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_taken() {
    let mut service = Service::start("drain_grace = \"off\"\nshards = 1\n");
    let held = service.stream(1);
    service.reload(
        "drain_grace = \"off\"\nshards = 2\nname = \"other@127.0.0.1\"\n[http]\ndemo = true\n",
    );
    service.logged("the change", |line| line.contains("\"changed\":1"));
    for key in ["shards", "name"] {
        service.logged(key, |line| {
            line.contains("WARN")
                && line.contains("restart")
                && line.contains(&format!("\"key\":\"{key}\""))
        });
    }
    assert_eq!(status(&service, "/"), 200);
    lived(&mut service, held);
}

#[test]
fn the_log_filter_changes() {
    let mut service = Service::start("drain_grace = \"off\"\n");
    let held = service.stream(1);
    service.reload("drain_grace = \"off\"\n[log]\nfilter = \"error\"\n");
    service.logged("the filter", |line| line.contains("\"log.filter\""));
    service.reload("drain_grace = \"off\"\n[http]\ndemo = true\n[log]\nfilter = \"error\"\n");
    wait_for("the demo", || status(&service, "/") == 200);
    service.reload("drain_grace = \"off\"\nretry = 1\n");
    service.logged("the error", |line| line.contains("not reloaded"));
    assert!(!service.log().contains("\"http.demo\""));
    service.reload("drain_grace = \"off\"\n");
    service.logged("the news", |line| line.contains("config reloaded"));
    lived(&mut service, held);
}

#[test]
fn certificates_are_read_again() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let key = key.expect("a certificate can be made");
    let folder = tempfile::Builder::new()
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("the target folder is writable");
    let [certificate, private] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificate, key.cert.pem()).expect("it is writable");
    std::fs::write(&private, key.signing_key.serialize_pem()).expect("it is writable");
    let config = format!(
        "drain_grace = \"off\"\n[[http.listener]]\naddress = \"127.0.0.1:0\"\n\
         certificate = \"{}\"\nkey = \"{}\"\n",
        certificate.display(),
        private.display()
    );
    let mut service = Service::start(&config);
    let held = service.stream(1);
    service.reload(&config);
    service.logged("the count", |line| line.contains("\"certificates\":1"));
    std::fs::write(&certificate, "torn").expect("it is writable");
    service.signal("HUP");
    let line = service.logged("the error", |line| line.contains("not reloaded"));
    assert!(line.contains("cert.pem"), "{line}");
    lived(&mut service, held);
}
