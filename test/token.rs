//! Tokens at the door of the real program: who gets in, who does not and is told why, and that keys
//! change under a held stream. Nothing of a token is ever in the log.
//!
//! What a good token is, is the edge's own test.

#[path = "support/service.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod service;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use service::{DEADLINE, Held, Service, wait_for};

const ROUTES: &str = "drain_grace = \"off\"\n[http]\nheartbeat = \"1s\"\n\
                      [[http.route]]\npath = \"/me\"\naccess = \"token\"\n\
                      [[http.route]]\npath = \"/stream/{id}\"\naccess = \"token\"\n\
                      [log]\nfilter = \"trace\"\n";

struct Issuer {
    /// Kept, because the file goes with it.
    folder: tempfile::TempDir,
    secret: Vec<u8>,
}

impl Issuer {
    fn new() -> Issuer {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let mut issuer = Issuer {
            folder: folder.expect("the target folder is writable"),
            secret: Vec::new(),
        };
        issuer.draw();
        issuer
    }

    /// Another secret, in the same file.
    fn draw(&mut self) {
        let letters = std::iter::repeat_with(fastrand::alphanumeric).take(40);
        self.secret = letters.collect::<String>().into_bytes();
        std::fs::write(self.path(), &self.secret).expect("the folder is writable");
    }

    fn path(&self) -> impl AsRef<Path> {
        self.folder.path().join("token.secret")
    }

    fn config(&self) -> String {
        let path = self.path();
        let file = path.as_ref().display();
        format!("{ROUTES}[token]\nkey_file = \"{file}\"\naudience = [\"test\"]\nleeway = \"off\"\n")
    }

    /// A token for this id that ends so many seconds from now.
    fn token(&self, sub: &str, ends_in: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = i64::try_from(now.expect("it is later").as_secs()).expect("it is not much later");
        let claims = format!(
            "{{\"sub\":{sub},\"aud\":\"test\",\"exp\":{}}}",
            now + ends_in
        );
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", part("{\"alg\":\"HS256\"}"), part(&claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let signature = hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The head of an answer, and its connection.
fn ask(service: &Service, target: &str, fields: &str) -> Held {
    let mut stream = TcpStream::connect(service.address("http")).expect("it accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("it can");
    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let received = String::new();
    let mut held = Held { stream, received };
    held.read_until("\r\n\r\n");
    held
}

fn refused(service: &Service, target: &str, fields: &str) -> String {
    let mut held = ask(service, target, fields);
    let mut rest = String::new();
    held.stream.read_to_string(&mut rest).expect("it ends");
    held.received + &rest
}

#[test]
fn who_has_a_good_token_is_held_and_others_are_told_why_not() {
    let issuer = Issuer::new();
    let service = Service::start(&issuer.config());
    let (good, late) = (issuer.token("\"7\"", 600), issuer.token("7", -1));
    let by_field = format!("Authorization: Bearer {good}\r\n");
    let by_protocol = format!("Sec-WebSocket-Protocol: chat, lariat.token.{good}\r\n");
    let in_query = format!("/stream/7?token={good}");
    let mut held = Vec::new();
    for (target, fields) in [
        ("/me", by_field.as_str()),
        ("/stream/7", &by_field),
        (&in_query, ""),
        ("/me", &by_protocol),
    ] {
        let answer = ask(&service, target, fields);
        assert!(
            answer.received.starts_with("HTTP/1.1 200"),
            "{}",
            answer.received
        );
        held.push(answer);
    }
    service.metric("lariat_tokens_accepted_total 4");
    service.metric("lariat_connections{transport=\"chunked\"} 4");
    let (message, _) = good.rsplit_once('.').expect("it is signed");
    let forged = format!("Authorization: Bearer {message}.AAAA\r\n");
    let ended = format!("Authorization: Bearer {late}\r\n");
    for (target, fields, status, error, reason) in [
        ("/me", "", "401", "Bearer\r\n", "missing"),
        ("/me", &ended, "401", "error=\"invalid_token\"", "expired"),
        ("/me", &forged, "401", "signature is wrong", "signature"),
        ("/me?token=a", "", "401", "cannot be read", "malformed"),
        (&in_query, &by_field, "400", "more than one", "several"),
        ("/stream/8", &by_field, "403", "another id", "other_id"),
    ] {
        let answer = refused(&service, target, fields);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let challenge = answer
            .split("WWW-Authenticate: ")
            .nth(1)
            .expect("a challenge");
        assert!(challenge.contains(error), "{answer}");
        service.metric(&format!(
            "lariat_tokens_refused_total{{reason=\"{reason}\"}} 1"
        ));
    }
    service.metric("lariat_refused_total{status=\"401\"} 4");
    let log = service.log();
    for part in good.split('.').chain([late.as_str()]) {
        assert!(!log.contains(part), "a token is in the log");
    }
}

#[test]
fn keys_change_under_a_held_stream() {
    let mut issuer = Issuer::new();
    let service = Service::start(&issuer.config());
    let old = format!("Authorization: Bearer {}\r\n", issuer.token("1", 600));
    let mut held = ask(&service, "/me", &old);
    issuer.draw();
    let new = format!("Authorization: Bearer {}\r\n", issuer.token("1", 600));
    service.signal("HUP");
    wait_for("the new key", || {
        ask(&service, "/me", &new)
            .received
            .starts_with("HTTP/1.1 200")
    });
    assert!(refused(&service, "/me", &old).starts_with("HTTP/1.1 401"));
    service.logged("the change", |line| {
        line.contains("config changed") && line.contains("(the keys)")
    });
    // A heartbeat after that: the stream has been held all the time.
    held.received.clear();
    held.read_until("1\r\n\n\r\n");
    // A file that has no key changes nothing.
    std::fs::write(issuer.path(), "short").expect("it is writable");
    service.signal("HUP");
    service.logged("the refusal", |line| {
        line.contains("config not reloaded") && line.contains("too short")
    });
    assert!(
        ask(&service, "/me", &new)
            .received
            .starts_with("HTTP/1.1 200")
    );
}
