//! A real edge and bridge in this process, an owner that writes down what it is told, and raw
//! clients on loopback.
//!
//! No Erlang here: the suites with a real node are elsewhere.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use lariat::bridge::{self, Bridge, Busy, Uplink};
use lariat::edge;
use lariat::metrics::Metrics;
use lariat::wire::{
    Answer, Ask, Command, Conn, Event, Gone, Id, Ids, Message, Owner, Reason, Ref, Reply, Said,
    Watcher,
};

/// Only a failing test waits this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The owner of the tests.
pub(crate) const OWNER: Owner = Owner(1);

/// A running edge.
pub(crate) struct World {
    #[allow(dead_code, reason = "for tests of what no command reaches")]
    pub(crate) edge: edge::Edge,
    pub(crate) bridge: Bridge,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) owner: Arc<Told>,
    pub(crate) address: SocketAddr,
    /// Dropped last: the listeners run on it.
    _runtime: tokio::runtime::Runtime,
}

impl World {
    /// An edge on a port of its own, with an owner that has its first snapshot.
    pub(crate) fn start(change: impl FnOnce(&mut edge::Config)) -> World {
        World::start_with(bridge::Config::default(), change)
    }

    /// The same with a bridge of one's own choice.
    pub(crate) fn start_with(
        bridge: bridge::Config,
        change: impl FnOnce(&mut edge::Config),
    ) -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime starts");
        let mut config = edge::Config {
            shards: 2,
            ..edge::Config::default()
        };
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()];
        change(&mut config);
        let metrics = Arc::new(Metrics::default());
        let started = runtime.block_on(async { edge::start(config, Arc::clone(&metrics)) });
        let edge = started.expect("the edge starts");
        let owner = Arc::new(Told::default());
        let uplink: Arc<dyn Uplink> = owner.clone();
        let bridge = bridge::start(bridge, edge.clone(), uplink, Arc::clone(&metrics));
        let bridge = bridge.expect("the bridge starts");
        let edge::Address::Tcp(address) = edge.addresses()[0] else {
            panic!("the first listener of a test is on TCP")
        };
        let world = World {
            edge,
            bridge,
            metrics,
            owner,
            address,
            _runtime: runtime,
        };
        world.ask(Command::Attach {
            owner: OWNER,
            handlers: Vec::new(),
        });
        world.owner.wait("the first snapshot", |told| {
            told.events.contains(&Event::SnapshotEnd)
        });
        world
    }

    /// Carries out a command and answers what the edge answered.
    pub(crate) fn ask(&self, command: Command) -> Reply {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let answer = Box::new(move |reply| drop(tell.send(reply)));
        self.bridge.handle(command, Some(answer));
        told.recv_timeout(DEADLINE)
            .expect("every command is answered")
    }

    /// From now on the owner serves these handlers, and answers what they are asked like this; `None`
    /// is no answer yet.
    #[allow(dead_code, reason = "only some tests ask")]
    pub(crate) fn serve(
        &self,
        handlers: &[&str],
        mut answer: impl FnMut(&Ask) -> Option<Answer> + Send + 'static,
    ) {
        let edge = self.edge.clone();
        self.owner.change(|told| {
            told.asked = Some(Box::new(move |reference, ask| {
                if let Some(answer) = answer(ask) {
                    edge.answer(reference, Some(answer));
                }
            }));
        });
        let handlers = handlers.iter().map(|name| name.parse());
        self.ask(Command::Attach {
            owner: OWNER,
            handlers: handlers.collect::<Result<_, _>>().expect("they are names"),
        });
    }

    /// Sends to one id and answers how many connections it reached.
    pub(crate) fn send(&self, id: i64, payload: impl Into<Message>) -> u64 {
        let ids = Ids::One(Id::Int(id));
        match self.ask(Command::Send {
            ids,
            message: payload.into(),
            credit: None,
        }) {
            Reply::Sent { connections, .. } => connections,
            other => panic!("a send is answered with {other:?}"),
        }
    }

    /// More than sockets take at once, to one id, and then its end: the body that the client of a
    /// chunked stream gets.
    pub(crate) fn send_much_and_close(&self, id: i64) -> String {
        let mut body = String::new();
        for number in 0..200 {
            let text = format!("{number:05}{}", "y".repeat(40_000));
            body += &format!("{:x}\r\n{text}\r\n", text.len());
            assert_eq!(self.send(id, Message::new(text)), 1);
        }
        self.send_end(id);
        body + "0\r\n\r\n"
    }

    /// The end of an id's connections, after what was sent to them.
    pub(crate) fn send_end(&self, id: i64) {
        self.ask(Command::Close {
            ids: Ids::One(Id::Int(id)),
            reason: Reason::Drain,
        });
    }

    /// A client that has sent `request` and nothing else.
    pub(crate) fn client(&self, request: impl AsRef<[u8]>) -> Client {
        let stream = TcpStream::connect(self.address).expect("the edge accepts");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a deadline can be set");
        let mut client = Client {
            stream,
            received: Vec::new(),
        };
        client.write(request);
        client
    }

    /// A held stream: opened, greeted, and known to the owner.
    pub(crate) fn stream(&self, id: i64, extra: &str) -> Client {
        let opened = self.owner.count_opened();
        let mut client = self.client(format!(
            "GET /stream/{id} HTTP/1.1\r\nHost: test\r\n{extra}\r\n"
        ));
        client.read_until(b"\r\n\r\n");
        self.owner
            .wait("the stream to open", |told| told.opened() > opened);
        client
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.bridge.stop();
    }
}

/// What the owner has been told.
#[derive(Default)]
pub(crate) struct Told {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) epochs: Vec<u64>,
    pub(crate) events: Vec<Event>,
    pub(crate) gone: Vec<(Watcher, Conn, Gone)>,
    /// While set the way is busy, and nothing is told.
    pub(crate) is_busy: bool,
    /// What it was not told because of that.
    pub(crate) refused: usize,
    /// What is done about a question, when somebody does something.
    pub(crate) asked: Option<Asked>,
}

/// Does something about a question, under the lock of what is told.
pub(crate) type Asked = Box<dyn FnMut(Ref, &Ask) + Send>;

impl State {
    pub(crate) fn opened(&self) -> usize {
        self.events
            .iter()
            .filter(|event| matches!(event, Event::Opened { .. }))
            .count()
    }
}

impl Told {
    pub(crate) fn count_opened(&self) -> usize {
        self.state
            .lock()
            .expect("no test panics under the lock")
            .opened()
    }

    /// Changes the owner itself.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("no test panics under the lock"));
    }

    /// Waits for the event, not for time.
    pub(crate) fn wait<T>(&self, what: &str, is_there: impl Fn(&State) -> T) -> T
    where
        T: PartialEq + Default,
    {
        let state = self.state.lock().expect("no test panics under the lock");
        let waited = self
            .changed
            .wait_timeout_while(state, DEADLINE, |state| is_there(state) == T::default());
        let (state, timeout) = waited.expect("no test panics under the lock");
        assert!(
            !timeout.timed_out(),
            "waited in vain for {what}; told: {:?}",
            state.events
        );
        is_there(&state)
    }
}

impl Uplink for Told {
    fn tell(&self, owner: Owner, epoch: u64, events: &[Event]) -> Result<(), Busy> {
        assert_eq!(owner, OWNER);
        let mut state = self.state.lock().expect("no test panics under the lock");
        if state.is_busy {
            state.refused += events.len();
            drop(state);
            self.changed.notify_all();
            return Err(Busy);
        }
        if state.epochs.last() != Some(&epoch) && !events.is_empty() {
            // What came before it would be stale.
            assert_eq!(events[0], Event::SnapshotBegin, "how an epoch begins");
            state.epochs.push(epoch);
        }
        state.events.extend(events.iter().map(told));
        if let Some(mut asked) = state.asked.take() {
            for event in events {
                if let Event::Ask { reference, ask } = event {
                    asked(*reference, ask);
                }
            }
            state.asked = Some(asked);
        }
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    fn gone(&self, watcher: Watcher, conn: Conn, gone: Gone) {
        let mut state = self.state.lock().expect("no test panics under the lock");
        state.gone.push((watcher, conn, gone));
        drop(state);
        self.changed.notify_all();
    }
}

/// A copy of its own: what clients said counts as told when nobody has it any more.
fn told(event: &Event) -> Event {
    let mut event = event.clone();
    if let Event::Received {
        said: Said::Text(bytes) | Said::Binary(bytes),
        ..
    } = &mut event
    {
        *bytes = bytes.to_vec().into();
    }
    event
}

/// A raw client.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) received: Vec<u8>,
}

impl Client {
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the edge takes what is written");
    }

    /// All bytes up to and with `end`.
    pub(crate) fn read_until(&mut self, end: &[u8]) -> String {
        let mut searched = 0;
        loop {
            let at = memchr::memmem::find(&self.received[searched..], end);
            if let Some(at) = at.map(|at| searched + at) {
                let rest = self.received.split_off(at + end.len());
                let text = std::mem::replace(&mut self.received, rest);
                return String::from_utf8(text).expect("tests send text");
            }
            searched = self.received.len().saturating_sub(end.len() - 1);
            let mut buffer = [0; 64 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(count) if count > 0 => self.received.extend_from_slice(&buffer[..count]),
                ended => panic!(
                    "waited in vain for {:?}: {ended:?}, received {:?}",
                    end.escape_ascii().to_string(),
                    self.received.escape_ascii().to_string()
                ),
            }
        }
    }

    /// So many bytes.
    #[allow(dead_code, reason = "only some tests know how many")]
    pub(crate) fn read_exact(&mut self, count: usize) -> String {
        let there = self.received.len().min(count);
        let rest = self.received.split_off(there);
        let mut bytes = std::mem::replace(&mut self.received, rest);
        bytes.resize(count, 0);
        let read = self.stream.read_exact(&mut bytes[there..]);
        read.expect("the edge sends as much as it says");
        String::from_utf8(bytes).expect("tests send text")
    }

    /// All bytes until the edge closes.
    pub(crate) fn read_to_end(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.received);
        self.stream
            .read_to_end(&mut rest)
            .expect("the edge closes in order");
        String::from_utf8(rest).expect("tests send text")
    }
}
