//! What a bug in a shard costs: the connections of that shard, and nobody else's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::queue::ShardCommand;
use super::queue::{Answer, ShardAnswer};
use super::watchers::Watch;
use crate::edge::{Address, Config, Edge, Taken, start};
use crate::metrics::{Closed, Label, Metrics, Transport};
use crate::wire::{Conn, Gone, Id, Ids, Message, Reason, Watcher};

/// Only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(60);

fn stream(edge: &Edge, id: i64) -> TcpStream {
    let Address::Tcp(address) = edge.addresses()[0] else {
        panic!("it listens on TCP")
    };
    let mut client = TcpStream::connect(address).expect("the edge accepts");
    client
        .set_read_timeout(Some(DEADLINE))
        .expect("a deadline can be set");
    write!(client, "GET /stream/{id} HTTP/1.1\r\nHost: test\r\n\r\n").expect("the edge reads");
    read_until(&mut client, b"\r\n\r\n");
    client
}

fn read_until(client: &mut TcpStream, end: &[u8]) {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(end) {
        client.read_exact(&mut byte).expect("the stream goes on");
        read.extend(byte);
    }
}

fn connections(edge: &Edge, id: i64) -> Vec<Conn> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let answer: Answer = Box::new(move |answer| drop(tell.send(answer)));
    edge.connections(Id::Int(id), answer)
        .expect("the queue has room");
    match told.recv_timeout(DEADLINE) {
        Ok(ShardAnswer::Connections(conns)) => conns,
        other => panic!("connections are answered with {other:?}"),
    }
}

/// What watchers have been told.
#[derive(Default)]
struct Told(Mutex<Vec<(Watcher, Gone)>>);

impl Watch for Told {
    fn gone(&self, watcher: Watcher, _: Conn, gone: Gone) {
        let mut told = self.0.lock().expect("no test panics under the lock");
        told.push((watcher, gone));
    }
}

#[test]
fn a_panic_costs_its_own_shard_only() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()];
    let config = Config {
        listen,
        shards: 2,
        ..Config::default()
    };
    let metrics = Arc::new(Metrics::default());
    let edge = runtime.block_on(async { start(config, Arc::clone(&metrics)) });
    let edge = edge.expect("the edge starts");
    let on = |shard| {
        (1..)
            .find(|&id| edge.shard_of(&Id::Int(id)) == shard)
            .expect("ids are many")
    };
    let (hit, spared) = (on(0), on(1));
    let (mut lost, mut kept) = (stream(&edge, hit), stream(&edge, spared));
    let before = connections(&edge, hit);

    let told = Arc::new(Told::default());
    let watch = |conn, watcher| {
        let told = Arc::clone(&told) as Arc<dyn Watch>;
        edge.watch(conn, Watcher(watcher), told);
    };
    watch(before[0], 1);
    edge.0.queues[0].push(ShardCommand::Panic);
    watch(before[0], 2);
    assert_eq!(lost.read(&mut [0; 64]).expect("closed in order"), 0);
    let mut again = stream(&edge, hit);
    let after = connections(&edge, hit);
    assert_ne!(before, after, "a stale conn names no newer connection");
    let told = std::mem::take(&mut *told.0.lock().expect("no test panics under the lock"));
    assert_eq!(told.iter().filter(|(watcher, _)| watcher.0 == 1).count(), 1);
    assert!(told.contains(&(Watcher(1), Gone::Lost)), "{told:?}");
    // In the batch of the panic, or in the next one.
    assert!(told.contains(&(Watcher(2), Gone::Before)), "{told:?}");
    assert_eq!(told.len(), 2);

    let message = Message::new("still here");
    for id in [hit, spared] {
        let shard = edge.shard_of(&Id::Int(id));
        edge.send(shard, Ids::One(Id::Int(id)), message.clone(), None, None)
            .expect("there is room");
    }
    read_until(&mut kept, b"still here\r\n");
    read_until(&mut again, b"still here\r\n");
    assert_eq!(metrics.connections.of(Transport::Chunked).value(), 2);
    assert_eq!(metrics.closed.of(Closed::Panic).value(), 1);
    let (mut news, none) = (Vec::new(), Duration::ZERO);
    assert_eq!(
        edge.newsfeed().take(&mut news, DEADLINE, none, 1),
        Taken::Lost
    );
    edge.stop();
}

#[test]
fn reasons_have_the_same_names_in_wire_and_metrics() {
    assert_eq!(Closed::VALUES[..Reason::LABELS.len()], Reason::LABELS);
    let transports = crate::wire::Transport::ALL.map(crate::wire::Transport::as_str);
    assert_eq!(Transport::VALUES, transports);
}
