//! Requests to stop, as a socket the driver's poller can wait for.
//!
//! SIGTERM and SIGINT, and the end of standard input when asked. It only says who asked first; a
//! second signal changes nothing, since the driver stops within one turn.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream as Pipe;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::goal::EndedBy;

/// What the standard input thread writes; signals write another byte.
const STDIN_ENDED: u8 = b'E';

/// The reading end; register `socket` for readability.
#[derive(Debug)]
pub(super) struct StopRequests {
    pub(super) socket: mio::net::UnixStream,
}

impl StopRequests {
    pub(super) fn install(with_stdin: bool) -> io::Result<Self> {
        let (reader, writer) = Pipe::pair()?;
        reader.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        if with_stdin {
            // A thread, because not every standard input can be polled (a file cannot). It is
            // not joined: it may be in a read that never returns, and the process ends anyway.
            thread::Builder::new()
                .name("stdin".to_owned())
                .spawn(move || wait_for_end(writer))?;
        }
        Ok(Self {
            socket: mio::net::UnixStream::from_std(reader),
        })
    }

    /// Who asked, if somebody did.
    pub(super) fn asked(&mut self) -> Option<EndedBy> {
        let mut byte = [0];
        match self.socket.read(&mut byte) {
            Ok(1) if byte[0] == STDIN_ENDED => Some(EndedBy::Stdin),
            Ok(1) => Some(EndedBy::Signal),
            _ => None,
        }
    }
}

fn wait_for_end(mut writer: Pipe) {
    let mut ignored = [0; 1024];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut ignored) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // Fails only when the driver is gone, and then nobody waits.
    let _ = writer.write_all(&[STDIN_ENDED]);
}
