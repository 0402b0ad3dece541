//! Ordinary requests as a client sees them: raw bytes in, raw bytes out, cases labelled by RFC section;
//! the handler's part is played by the owner of the tests.

#[path = "support/world.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lariat::edge::{Pattern, Route};
use lariat::wire::{Answer, Ask, Event, Id, Kind, Message, Publish, Request};
use world::{Client, World};

type Asked = Arc<Mutex<Vec<Request>>>;

/// A world with routes for handlers, and `cors_origins`.
fn world(change: impl FnOnce(&mut lariat::edge::Config)) -> World {
    World::start(|config| {
        let route = |path: &str, kind, handler: &str| {
            let mut route = Route::new(path.parse::<Pattern>().expect("it is a path"));
            route.kind = kind;
            route.handler = Some(handler.parse().expect("it is a name"));
            Arc::new(route)
        };
        config
            .routes
            .insert(0, route("/app/{name}/*", Kind::Request, "app"));
        config
            .routes
            .insert(0, route("/publish", Kind::Publish, "lariat_publish"));
        config.publish_token = Some("0123456789abcdef".parse().expect("it is a token"));
        config.cors = ["https://a.example".parse().expect("it is an origin")]
            .into_iter()
            .collect();
        change(config);
    })
}

/// A handler that says what it was asked: status 201, `X-Seen`, and the body again.
fn echo(world: &World) -> Asked {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    world.serve(&["app", "lariat_publish"], move |ask| {
        let Ask::Request(request) = ask else {
            panic!("there is no other kind of question here")
        };
        seen.lock()
            .expect("nobody panics")
            .push(Request::clone(request));
        Some(Answer::Reply {
            status: 201,
            headers: vec![("X-Seen".into(), request.method.clone())],
            body: request.body.clone(),
        })
    });
    asked
}

/// One answer, whose body has the length that its head says.
fn answer(client: &mut Client) -> (String, String) {
    let head = client.read_until(b"\r\n\r\n");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.parse().expect("it is a number"));
    (head, client.read_exact(length))
}

fn status(client: &mut Client) -> String {
    let (head, _) = answer(client);
    head.split(' ').nth(1).expect("it has a status").to_owned()
}

#[test]
fn rfc9112_9_3_a_connection_goes_on_and_a_stream_may_follow() {
    let world = world(|_| {});
    let asked = echo(&world);
    let mut client =
        world.client("GET /app/a%20b/x/y?q=%20&r HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\n\r\n");
    let (head, body) = answer(&mut client);
    assert!(head.starts_with("HTTP/1.1 201 Created\r\nDate: "), "{head}");
    assert!(
        head.contains("X-Seen: GET\r\n") && !head.contains("Connection"),
        "{head}"
    );
    assert_eq!(body, "");
    client.write("POST /app/n/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(answer(&mut client).1, "hello");
    // RFC 9110, 9.3.2: the length of what is not sent.
    client.write("HEAD /app/n/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    let head = client.read_until(b"\r\n\r\n");
    assert!(head.contains("Content-Length: 3\r\n"), "{head}");
    client.write("GET /stream/7 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.read_until(b"\r\n\r\n").contains("chunked"));
    world.owner.wait("the stream to open", |told| {
        let opened = |event: &Event| matches!(event, Event::Opened { id: Id::Int(7), .. });
        told.events.iter().any(opened)
    });
    assert_eq!(world.send(7, Message::new("Hello")), 1);
    assert_eq!(client.read_until(b"Hello\r\n"), "5\r\nHello\r\n");
    let asked = asked.lock().unwrap();
    let first = &asked[0];
    assert_eq!(
        (&first.method[..], &first.path[..]),
        (&b"GET"[..], &b"/app/a%20b/x/y"[..])
    );
    assert_eq!(&first.query[..], b"q=%20&r");
    assert_eq!(
        first.bindings,
        [("name".into(), "a b".into()), ("rest".into(), "x/y".into())]
    );
    assert!(first.headers.contains(&("x-a".into(), "1, 2".into())));
    assert!(first.peer.is_some());
}

#[test]
fn rfc9112_9_3_2_pipelined_requests_are_answered_in_order() {
    let world = world(|_| {});
    echo(&world);
    let mut all = String::new();
    for number in 0..50 {
        all += &format!(
            "PUT /app/n/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{number:02}\
             POST /app/n/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             1\r\na\r\n1;x=y\r\nb\r\n0\r\nX: y\r\n\r\n"
        );
    }
    let mut client = world.client(all);
    for number in 0..50 {
        assert_eq!(answer(&mut client).1, format!("{number:02}"));
        assert_eq!(answer(&mut client).1, "ab");
    }
}

#[test]
fn rfc9110_10_1_1_a_body_is_asked_for() {
    let world = world(|config| config.body_bytes_max = 10);
    echo(&world);
    let head = "POST /app/n/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n";
    let mut client = world.client(format!("{head}Content-Length: 5\r\n\r\n"));
    assert_eq!(
        client.read_until(b"\r\n\r\n"),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client.write("hello");
    assert_eq!(answer(&mut client).1, "hello");
    // One that would be refused is not asked for.
    client.write(format!("{head}Content-Length: 11\r\n\r\n"));
    let refused = client.read_to_end();
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
}

#[test]
fn rfc9112_9_3_http_1_0_closes_unless_it_asks() {
    let world = world(|_| {});
    echo(&world);
    let mut client = world.client("GET /app/n/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(answer(&mut client).0.contains("Connection: keep-alive\r\n"));
    client.write("GET /app/n/ HTTP/1.0\r\n\r\n");
    let last = client.read_to_end();
    assert!(
        last.starts_with("HTTP/1.1 201") && last.contains("Connection: close\r\n"),
        "{last}"
    );
    let mut client = world.client("GET /app/n/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(client.read_to_end().contains("Connection: close\r\n"));
}

#[test]
fn rfc9112_11_2_what_is_smuggled_ends_the_connection_behind_the_good_answers() {
    let world = world(|_| {});
    let asked = echo(&world);
    let good = "POST /app/n/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let smuggled = "GET /app/evil/ HTTP/1.1\r\nHost: a\r\n\r\n";
    for bad in [
        "POST /app/n/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\n",
        "POST /app/n/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
        "POST /app/n/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 0\r\n\r\n",
        "POST /app/n/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let mut client = world.client(format!("{good}{bad}{smuggled}"));
        assert_eq!(answer(&mut client).1, "hi");
        let rest = client.read_to_end();
        assert!(rest.starts_with("HTTP/1.1 400 "), "{bad:?}: {rest}");
        assert_eq!(rest.matches("HTTP/1.1").count(), 1, "{bad:?}: {rest}");
    }
    let asked = asked.lock().unwrap();
    assert!(
        asked.iter().all(|request| request.path != "/app/evil/"),
        "nothing was smuggled"
    );
}

#[test]
fn whoever_has_no_answer_is_told_and_may_ask_again() {
    let world = world(|config| config.ask_timeout = Duration::from_millis(200));
    let request = "GET /app/n/ HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = world.client(request);
    let (head, body) = answer(&mut client);
    assert!(
        head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After: "),
        "{head}"
    );
    assert_eq!(body, "no handler is attached\n");
    let mut answers = vec![
        Some(Answer::Taken),
        Some(Answer::Reply {
            status: 200,
            headers: vec![("X".into(), "a\r\nSet-Cookie: b".into())],
            body: "".into(),
        }),
        None,
        Some(Answer::Reject {
            status: 418,
            reason: "no".into(),
        }),
    ]
    .into_iter();
    world.serve(&["app"], move |_| answers.next().flatten());
    for expected in ["500", "500", "504", "418"] {
        client.write(request);
        assert_eq!(status(&mut client), expected);
    }
}

#[test]
fn other_sites_may_read_what_the_config_says() {
    let world = world(|_| {});
    echo(&world);
    let allowed = "Access-Control-Allow-Origin: https://a.example\r\n";
    let get = |path: &str, origin: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n")
    };
    // The same for a stream, an answer and a refusal.
    for path in ["/stream/7", "/app/n/", "/nothing"] {
        let mut client = world.client(get(path, "https://a.example"));
        let head = client.read_until(b"\r\n\r\n");
        assert!(
            head.contains(allowed) && head.contains("Vary: Origin\r\n"),
            "{path}: {head}"
        );
        let mut client = world.client(get(path, "https://b.example"));
        let head = client.read_until(b"\r\n\r\n");
        assert!(
            !head.contains("Access-Control") && head.contains("Vary"),
            "{path}: {head}"
        );
    }
    let asks = "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a\r\n";
    for (path, methods) in [
        ("/stream/7", "GET"),
        ("/app/n/", "PUT"),
        ("/publish", "POST"),
    ] {
        let preflight = format!("OPTIONS {path} HTTP/1.1\r\nHost: a\r\n{asks}");
        let mut client = world.client(format!("{preflight}Origin: https://a.example\r\n\r\n"));
        let head = client.read_until(b"\r\n\r\n");
        let allow = format!("Access-Control-Allow-Methods: {methods}\r\n");
        assert!(
            head.starts_with("HTTP/1.1 204 ") && head.contains(allowed),
            "{head}"
        );
        assert!(
            head.contains(&allow) && head.contains("Allow-Headers: x-a\r\n"),
            "{head}"
        );
        // The request that it asked for may follow.
        client.write(get("/app/n/", "https://a.example"));
        assert_eq!(status(&mut client), "201");
        let mut client = world.client(format!("{preflight}Origin: https://b.example\r\n\r\n"));
        assert!(client.read_to_end().starts_with("HTTP/1.1 403 "));
    }
}

#[test]
fn rfc9110_9_3_7_options_name_the_methods() {
    let world = world(|_| {});
    let mut client = world.client("OPTIONS /stream/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.read_until(b"\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 204 ") && head.contains("Allow: GET, OPTIONS\r\n"),
        "{head}"
    );
    client.write("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&mut client), "204");
    client.write("OPTIONS /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.read_to_end().starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_program_publishes_with_its_token() {
    let world = world(|_| {});
    let asked = echo(&world);
    let token = "Authorization: Bearer 0123456789abcdef\r\n";
    let json = r#"{"to": [1, "a"], "subject": "s", "message": "Hello"}"#;
    let post = |query: &str, fields: &str, body: &str| {
        let length = body.len();
        format!(
            "POST /publish{query} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
        )
    };
    let is_json = "Content-Type: application/json; charset=utf-8\r\n";
    let mut client = world.client(post("", &format!("{token}{is_json}"), json));
    assert_eq!(status(&mut client), "201");
    client.write(post("?to=1&to=a&subject=s", token, "Hello"));
    assert_eq!(status(&mut client), "201");
    let expected = Publish {
        to: vec![Id::Int(1), Id::Bin((*b"a").into())],
        subject: Some("s".into()),
        message: "Hello".into(),
        ..Publish::default()
    };
    let published = |request: &Request| request.publish.clone();
    let told: Vec<_> = asked.lock().unwrap().iter().map(published).collect();
    assert_eq!(told, [Some(expected.clone()), Some(expected)]);
    for (fields, expected) in [
        ("", "401"),
        ("Authorization: Bearer 0123456789abcdeX\r\n", "401"),
        (token, "400"),
    ] {
        let refused = world.client(post("", fields, json)).read_to_end();
        assert!(
            refused.starts_with(&format!("HTTP/1.1 {expected} ")),
            "{refused}"
        );
        assert_eq!(
            refused.contains("WWW-Authenticate: Bearer\r\n"),
            expected == "401"
        );
    }
    let get = format!("GET /publish HTTP/1.1\r\nHost: a\r\n{token}\r\n");
    assert!(world.client(get).read_to_end().contains("Allow: POST\r\n"));
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[test]
fn bodies_are_bounded_alone_and_together() {
    let world = world(|config| {
        config.body_bytes_max = 1000;
        config.bodies_bytes_max = 1500;
        config.body_timeout = Duration::from_millis(500);
    });
    echo(&world);
    let post = |length: &str| format!("POST /app/n/ HTTP/1.1\r\nHost: a\r\n{length}\r\n");
    for length in [
        "Content-Length: 1001\r\n",
        "Content-Length: 99999999999999999999999\r\n",
    ] {
        let refused = world.client(post(length)).read_to_end();
        assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
    }
    let chunked = post("Transfer-Encoding: chunked\r\n");
    let refused = world.client(format!("{chunked}3e9\r\n")).read_to_end();
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
    // The first is slow; while it is, there is no room for a second.
    let mut slow = world.client(post("Content-Length: 1000\r\nExpect: 100-continue\r\n"));
    slow.read_until(b"100 Continue\r\n\r\n");
    let refused = world
        .client(post("Content-Length: 1000\r\n") + "x")
        .read_to_end();
    let is_refused = refused.starts_with("HTTP/1.1 503 ") && refused.contains("Retry-After");
    // A machine that is slower than the deadline of bodies has the first one go before.
    assert!(
        is_refused || refused.starts_with("HTTP/1.1 408 "),
        "{refused}"
    );
    assert!(slow.read_to_end().starts_with("HTTP/1.1 408 "));
}

#[test]
fn silent_connections_end_without_a_word() {
    let world = world(|config| config.idle_timeout = Duration::from_millis(50));
    echo(&world);
    let mut client = world.client("GET /app/n/ HTTP/1.1\r\nHost: a\r\n\r\n");
    answer(&mut client);
    assert_eq!(client.read_to_end(), "");
}

#[test]
fn who_is_silent_when_accepting_stops_goes_and_who_asks_is_answered_first() {
    let world = world(|_| {});
    let edge = world.edge.clone();
    world.serve(&["app"], move |ask| {
        let Ask::Request(request) = ask else {
            panic!("there is no other kind of question here")
        };
        let reply = Answer::Reply {
            status: 200,
            headers: Vec::new(),
            body: request.query.clone(),
        };
        (request.query != "late").then_some(reply)
    });
    let mut silent = world.client("GET /app/n/ HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&mut silent), "200");
    let mut asking = world.client("GET /app/n/?late HTTP/1.1\r\nHost: a\r\n\r\n");
    let late = world.owner.wait("the question", |told| {
        told.events.iter().find_map(|event| match event {
            Event::Ask {
                reference,
                ask: Ask::Request(request),
            } if request.query == "late" => Some(*reference),
            _ => None,
        })
    });
    assert_eq!(world.metrics.exchanges.value(), 1);
    edge.stop_accepting();
    assert_eq!(silent.read_to_end(), "");
    let reply = Answer::Reply {
        status: 200,
        headers: Vec::new(),
        body: "late".into(),
    };
    edge.answer(late.expect("it was asked"), Some(reply));
    assert_eq!(answer(&mut asking).1, "late");
    assert_eq!(asking.read_to_end(), "");
}

#[test]
fn connections_that_go_on_are_counted_among_the_others() {
    let world = world(|config| {
        config.connections_max = 2;
        config.heads_max = 1;
    });
    echo(&world);
    let request = "GET /app/n/ HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut clients: Vec<_> = (0..2).map(|_| world.client(request)).collect();
    for client in &mut clients {
        assert_eq!(status(client), "201");
    }
    assert!(
        world
            .client(request)
            .read_to_end()
            .starts_with("HTTP/1.1 503 ")
    );
    for client in &mut clients {
        client.write(request);
        assert_eq!(status(client), "201");
    }
}
