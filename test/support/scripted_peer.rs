//! A peer that speaks the handshake one step at a time, for meetings that real Erlang cannot be
//! made to have on demand.
//!
//! Written against the specification alone; shares no code with what it tests. After the handshake
//! it reads and writes raw bytes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use md5::{Digest, Md5};

/// The flags of OTP 25.
const FLAGS: u64 = 0xd_07df_7fbd;
const CHALLENGE: u32 = 4711;

pub(crate) struct ScriptedPeer {
    pub(crate) stream: TcpStream,
    name: String,
    cookie: String,
}

impl ScriptedPeer {
    /// Dials and says its name.
    pub(crate) fn dial(to: impl ToSocketAddrs, name: &str, cookie: &str) -> ScriptedPeer {
        let stream = TcpStream::connect(to).expect("somebody listens");
        let mut peer = ScriptedPeer::new(stream, name, cookie);
        let mut hello = vec![b'N'];
        hello.extend(FLAGS.to_be_bytes());
        peer.name_into(&mut hello);
        peer.write(&hello);
        peer
    }

    /// Takes a call and hears the caller's name.
    pub(crate) fn accept(listener: &TcpListener, name: &str, cookie: &str) -> ScriptedPeer {
        let (stream, _) = listener.accept().expect("somebody dials");
        let mut peer = ScriptedPeer::new(stream, name, cookie);
        assert_eq!(peer.read()[0], b'N');
        peer
    }

    fn new(stream: TcpStream, name: &str, cookie: &str) -> ScriptedPeer {
        let timeout = Some(Duration::from_secs(60));
        stream.set_read_timeout(timeout).expect("it is no zero");
        ScriptedPeer {
            stream,
            name: name.to_owned(),
            cookie: cookie.to_owned(),
        }
    }

    /// As the dialling side: the status.
    pub(crate) fn status(&mut self) -> String {
        let body = self.read();
        assert_eq!(body[0], b's');
        String::from_utf8(body[1..].to_vec()).expect("a status is text")
    }

    /// As the dialling side: everything after the status.
    pub(crate) fn prove(&mut self) {
        let message = self.read();
        assert_eq!(message[0], b'N');
        let challenge = u32::from_be_bytes(message[9..13].try_into().expect("four bytes"));
        let mut reply = vec![b'r'];
        reply.extend(CHALLENGE.to_be_bytes());
        reply.extend(self.digest(challenge));
        self.write(&reply);
        let ack = self.read();
        assert_eq!(ack[0], b'a');
        assert_eq!(ack[1..], self.digest(CHALLENGE));
    }

    /// As the side that was dialled: everything from the status on.
    pub(crate) fn welcome(&mut self) {
        self.challenge();
        let reply = self.read();
        assert_eq!(reply[0], b'r');
        assert_eq!(reply[5..], self.digest(CHALLENGE));
        let challenge = u32::from_be_bytes(reply[1..5].try_into().expect("four bytes"));
        let mut ack = vec![b'a'];
        ack.extend(self.digest(challenge));
        self.write(&ack);
    }

    /// As the side that was dialled: `ok` and the challenge.
    pub(crate) fn challenge(&mut self) {
        self.say("ok");
        let mut message = vec![b'N'];
        message.extend(FLAGS.to_be_bytes());
        message.extend(CHALLENGE.to_be_bytes());
        self.name_into(&mut message);
        self.write(&message);
    }

    /// A status message, or the answer to one.
    pub(crate) fn say(&mut self, status: &str) {
        self.write(format!("s{status}").as_bytes());
    }

    /// Whether the other side has hung up; waits for it, past whatever it still says.
    pub(crate) fn is_hung_up(&mut self) -> bool {
        let mut bytes = [0; 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    fn name_into(&self, body: &mut Vec<u8>) {
        body.extend(1_u32.to_be_bytes());
        body.extend(
            u16::try_from(self.name.len())
                .expect("a name")
                .to_be_bytes(),
        );
        body.extend(self.name.as_bytes());
    }

    fn digest(&self, challenge: u32) -> [u8; 16] {
        Md5::digest(format!("{}{challenge}", self.cookie)).into()
    }

    fn read(&mut self) -> Vec<u8> {
        let mut length = [0; 2];
        self.stream.read_exact(&mut length).expect("a frame");
        let mut body = vec![0; usize::from(u16::from_be_bytes(length))];
        self.stream.read_exact(&mut body).expect("all of the frame");
        body
    }

    fn write(&mut self, body: &[u8]) {
        let length = u16::try_from(body.len()).expect("a short frame");
        let frame = [&length.to_be_bytes()[..], body].concat();
        self.stream
            .write_all(&frame)
            .expect("the other side listens");
    }
}
