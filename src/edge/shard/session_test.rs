//! A session and a client in memory: every byte arrives through any socket, and whatever a client
//! sends instead of TLS ends its session and nothing else.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use proptest::prelude::*;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::session::{Peer, Session};
use crate::edge::door::tls::Tls;

/// A session whose handshake is done, and its client.
fn pair() -> (Box<Session>, ClientConnection) {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("a.pem"), folder.path().join("a.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = Tls::load(&certificate, &key).unwrap();
    let mut session = Session::new(tls.config()).unwrap();
    let shown: CertificateDer<'static> = made.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(shown).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("a.example").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    while client.is_handshaking() {
        let said = say(&mut client);
        let mut answer = Vec::new();
        session
            .receive(&said, &mut Vec::new(), &mut answer)
            .unwrap();
        hear(&mut client, &answer);
    }
    // The client's last word is answered with a ticket.
    let (said, mut tickets) = (say(&mut client), Vec::new());
    session
        .receive(&said, &mut Vec::new(), &mut tickets)
        .unwrap();
    hear(&mut client, &tickets);
    (session, client)
}

fn say(client: &mut ClientConnection) -> Vec<u8> {
    let mut said = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut said).unwrap();
    }
    said
}

fn hear(client: &mut ClientConnection, mut bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets().unwrap();
        let _ = client.reader().read_to_end(&mut plain);
    }
    plain
}

/// Takes as much at each turn as it is told to, and then blocks.
struct Stingy {
    takes: usize,
    taken: Vec<u8>,
}

impl Write for Stingy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.takes);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.takes -= count;
        self.taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is told as written has left, in order, and the last byte not before its record.
    #[test]
    fn every_byte_arrives_through_a_socket_that_takes_little(
        length in 1_usize..200_000,
        takes in prop::collection::vec(0_usize..90_000, 1..20),
    ) {
        let (mut session, mut client) = pair();
        let plain: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut socket = Stingy { takes: 0, taken: Vec::new() };
        let (mut told, mut records) = (0, Vec::new());
        let mut takes = takes.into_iter().chain(std::iter::repeat(1_000_000));
        while told < plain.len() {
            socket.takes = takes.next().unwrap();
            told += session.write(&plain[told..], &mut socket, &mut records).unwrap();
        }
        prop_assert_eq!(told, plain.len());
        prop_assert!(hear(&mut client, &socket.taken) == plain, "all of it, in order");
        records.clear();
        session.goodbye(&mut records);
        hear(&mut client, &records);
        prop_assert!(client.process_new_packets().unwrap().peer_has_closed());
    }

    /// Cut in any way, what the client says is the same.
    #[test]
    fn every_byte_is_heard_however_it_is_cut(cut in 1_usize..700) {
        let (mut session, mut client) = pair();
        client.writer().write_all(&[7; 1000]).unwrap();
        client.send_close_notify();
        let (mut plain, mut peer) = (Vec::new(), Peer::Open);
        for piece in say(&mut client).chunks(cut) {
            peer = session.receive(piece, &mut plain, &mut Vec::new()).unwrap();
        }
        prop_assert_eq!((plain, peer), (vec![7; 1000], Peer::Closed));
    }

    /// Nothing that a client sends is more than an error, and after an error nothing is.
    #[test]
    fn what_is_misspoken_ends_the_session_alone(
        begin in any::<bool>(),
        at in 0_usize..600,
        garbage in prop::collection::vec(any::<u8>(), 1..400),
    ) {
        let (mut session, mut client) = pair();
        client.writer().write_all(&[7; 500]).unwrap();
        let mut said = say(&mut client);
        if begin {
            let at = at.min(said.len());
            said.splice(at..at, garbage);
        } else {
            said = garbage;
        }
        let mut records = Vec::new();
        for piece in said.chunks(97) {
            let _ = session.receive(piece, &mut Vec::new(), &mut records);
        }
        let mut socket = Stingy { takes: 1_000_000, taken: Vec::new() };
        let _ = session.write(b"Hello", &mut socket, &mut Vec::new());
        session.goodbye(&mut records);
        session.write_aside(&records, &mut socket);
    }
}
