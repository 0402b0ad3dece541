//! Posts that reach their handler many at a time: what is gathered, and what each client is answered.

#[path = "support/world.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod world;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lariat::edge::{Pattern, Route};
use lariat::wire::{Answer, Ask, Event, Kind};
use world::{Client, World};

fn world(change: impl FnOnce(&mut lariat::edge::Config)) -> World {
    World::start(|config| {
        let mut route = Route::new("/in/{source}".parse::<Pattern>().expect("it is a path"));
        route.kind = Kind::Batch;
        route.handler = Some("in".parse().expect("it is a name"));
        config.routes.insert(0, Arc::new(route));
        change(config);
    })
}

fn post(body: &str) -> String {
    let length = body.len();
    format!("POST /in/a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn statuses(client: &mut Client, count: usize) -> Vec<String> {
    let next = |_| {
        let head = client.read_until(b"\r\n\r\n");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.and_then(|length| length.parse().ok());
        client.read_exact(length.expect("it has a length"));
        head.split(' ').nth(1).expect("it has a status").to_owned()
    };
    (0..count).map(next).collect()
}

/// Takes everything; the bodies of each batch.
fn taking(world: &World) -> Arc<Mutex<Vec<Vec<Bytes>>>> {
    let taken = Arc::<Mutex<Vec<Vec<Bytes>>>>::default();
    let kept = Arc::clone(&taken);
    world.serve(&["in"], move |ask| {
        let Ask::Batch { bodies, .. } = ask else {
            panic!("there is no other kind of question here")
        };
        kept.lock().expect("nobody panics").push(bodies.to_vec());
        Some(Answer::Taken)
    });
    taken
}

#[test]
fn posts_of_one_connection_arrive_in_order_and_are_answered_together() {
    let world = world(|_| {});
    let taken = taking(&world);
    let mut client = world.client("");
    let all: String = (0..500).map(|number| post(&format!("{number}"))).collect();
    client.write(all);
    assert_eq!(statuses(&mut client, 500), vec!["202"; 500]);
    // A body in chunks, one that comes later, an empty one, and the last.
    client.write("POST /in/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.write("3\r\n500\r\n0\r\n\r\n");
    client.write("POST /in/a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n50");
    assert_eq!(statuses(&mut client, 1), ["202"]);
    client.write(format!("1{}", post("")));
    assert_eq!(statuses(&mut client, 2), ["202", "202"]);
    client.write(
        "POST /in/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\n502",
    );
    let last = client.read_to_end();
    assert!(last.starts_with("HTTP/1.1 202 Accepted\r\n") && last.contains("Connection: close"));
    let bodies = taken.lock().unwrap().concat();
    let expected = (0..502)
        .map(|number| number.to_string())
        .chain([String::new(), "502".into()]);
    assert_eq!(bodies, expected.collect::<Vec<_>>());
    assert_eq!(world.metrics.requests.value(), 504);
    assert_eq!(world.metrics.batched.value(), 504);
}

#[test]
fn what_comes_while_a_batch_is_on_its_way_goes_together() {
    let world = world(|_| {});
    let edge = world.edge.clone();
    // The first is kept waiting until it is told otherwise.
    let mut is_first = true;
    world.serve(&["in"], move |_| {
        (!std::mem::take(&mut is_first)).then_some(Answer::Taken)
    });
    let mut ahead = world.client(post("first"));
    let reference = world.owner.wait("the first batch", |told| {
        told.events.iter().find_map(|event| match event {
            Event::Ask { reference, .. } => Some(*reference),
            _ => None,
        })
    });
    let mut clients: Vec<_> = (0..20)
        .map(|number| world.client(post(&number.to_string())))
        .collect();
    for client in &mut clients {
        assert_eq!(
            statuses(client, 1),
            ["202"],
            "a batch does not wait for ever"
        );
    }
    edge.answer(reference.expect("it was asked"), Some(Answer::Taken));
    assert_eq!(statuses(&mut ahead, 1), ["202"]);
    let bodies: BTreeSet<Bytes> = world.owner.wait("all bodies", |told| {
        let batches = told.events.iter().filter_map(|event| match event {
            Event::Ask {
                ask: Ask::Batch { bodies, .. },
                ..
            } => Some(bodies.to_vec()),
            _ => None,
        });
        let bodies: BTreeSet<Bytes> = batches.flatten().collect();
        if bodies.len() == 21 {
            bodies
        } else {
            BTreeSet::new()
        }
    });
    assert!(bodies.contains("first".as_bytes()));
}

#[test]
fn a_batch_has_a_thousand_bodies_and_a_mebibyte_at_most() {
    let world = world(|config| config.body_bytes_max = 2 << 20);
    let taken = taking(&world);
    let all: String = (0..3000).map(|_| post("x")).collect();
    let mut client = world.client(all);
    assert_eq!(statuses(&mut client, 3000), vec!["202"; 3000]);
    let large = "y".repeat(600_000);
    let mut client = world.client(post(&large) + &post(&large) + &post(&"z".repeat(2 << 20)));
    assert_eq!(statuses(&mut client, 3), vec!["202"; 3]);
    for batch in taken.lock().unwrap().iter() {
        let bytes: usize = batch.iter().map(Bytes::len).sum();
        assert!(
            batch.len() <= 1000 && (bytes <= 1 << 20 || batch.len() == 1),
            "{bytes}"
        );
    }
}

#[test]
fn who_cannot_be_taken_is_told_and_may_post_again() {
    let world = world(|_| {});
    let mut client = world.client(post("a") + &post("b"));
    assert_eq!(statuses(&mut client, 2), ["503", "503"]);
    let mut answers = [
        Answer::Reject {
            status: 500,
            reason: "no".into(),
        },
        Answer::Taken,
    ]
    .into_iter();
    world.serve(&["in"], move |_| answers.next());
    client.write(post("c"));
    assert_eq!(statuses(&mut client, 1), ["500"]);
    client.write(post("d"));
    assert_eq!(statuses(&mut client, 1), ["202"]);
    let get = "GET /in/a HTTP/1.1\r\nHost: a\r\n\r\n";
    let refused = world.client(get).read_to_end();
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("Allow: POST\r\n"));
}
