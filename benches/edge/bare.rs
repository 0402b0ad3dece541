//! What ours is compared with: a loop that accepts, reads a head and answers it, and holds the socket;
//! and a loop that writes the same bytes to each socket. One thread, one poller, nothing around it.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);

/// As long as ours: its head has a date, and says the same.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
    Cache-Control: no-store\r\nX-Accel-Buffering: no\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

pub(crate) struct Bare {
    poll: Poll,
    listener: TcpListener,
    pub(crate) sockets: Vec<TcpStream>,
}

impl Bare {
    pub(crate) fn start() -> Bare {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::STREAM.nonblocking(),
            None,
        );
        let socket = socket.expect("a descriptor is left");
        socket.set_tcp_nodelay(true).expect("an option of TCP");
        socket.bind(&any.into()).expect("loopback has a port");
        socket.listen(4096).expect("it is bound");
        let mut listener = TcpListener::from_std(socket.into());
        let poll = Poll::new().expect("a poller is to be had");
        let registry = poll.registry();
        let registered = registry.register(&mut listener, LISTENER, Interest::READABLE);
        registered.expect("the poller takes it");
        let sockets = Vec::new();
        Bare {
            poll,
            listener,
            sockets,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    /// Until so many are held and answered.
    pub(crate) fn accept(&mut self, count: usize) {
        let mut events = Events::with_capacity(1024);
        let mut answered = 0;
        while answered < count {
            self.poll.poll(&mut events, None).expect("the poller works");
            for event in &events {
                if event.token() == LISTENER {
                    self.take();
                    continue;
                }
                let socket = &mut self.sockets[event.token().0];
                let mut head = [0; 1024];
                match socket.read(&mut head) {
                    Ok(length) if head[..length].ends_with(b"\r\n\r\n") => {
                        socket.write_all(ANSWER).expect("the client is there");
                        answered += 1;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    other => panic!("a client of the bench sends its head at once: {other:?}"),
                }
            }
        }
    }

    fn take(&mut self) {
        while let Ok((mut socket, _)) = self.listener.accept() {
            let token = Token(self.sockets.len());
            let registry = self.poll.registry();
            let registered = registry.register(&mut socket, token, Interest::READABLE);
            registered.expect("the poller takes it");
            self.sockets.push(socket);
        }
    }

    /// The same bytes to these sockets, in this order.
    pub(crate) fn write(&mut self, to: impl Iterator<Item = usize>, bytes: &[u8]) {
        for place in to {
            let written = self.sockets[place].write(bytes);
            assert!(matches!(written, Ok(length) if length == bytes.len()));
        }
    }

    /// The same by `send(2)`.
    pub(crate) fn send(&mut self, to: impl Iterator<Item = usize>, bytes: &[u8]) {
        for place in to {
            let sent = socket2::SockRef::from(&self.sockets[place]).send(bytes);
            assert!(matches!(sent, Ok(length) if length == bytes.len()));
        }
    }
}
