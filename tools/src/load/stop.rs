//! Requests to begin and to stop, as a socket the driver's poller can wait for.
//!
//! SIGTERM and SIGINT, and standard input when asked: a line begins, the end stops. It only says
//! what was asked first; a second signal changes nothing, since the driver stops within one turn.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream as Pipe;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::goal::EndedBy;

/// What the standard input thread writes; signals write another byte.
const STDIN_ENDED: u8 = b'E';
const STDIN_LINE: u8 = b'L';

/// What was asked for so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub(super) begin: bool,
    pub(super) stop: Option<EndedBy>,
}

/// The reading end; register `socket` for readability.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) socket: mio::net::UnixStream,
    asked: Asked,
}

impl Requests {
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
                .spawn(move || tell_of_stdin(writer))?;
        }
        Ok(Self {
            socket: mio::net::UnixStream::from_std(reader),
            asked: Asked::default(),
        })
    }

    pub(super) fn asked(&self) -> Asked {
        self.asked
    }

    /// Takes what was asked since the last time.
    pub(super) fn read(&mut self) {
        let mut byte = [0];
        while let Ok(1) = self.socket.read(&mut byte) {
            match byte[0] {
                STDIN_LINE => self.asked.begin = true,
                STDIN_ENDED => _ = self.asked.stop.get_or_insert(EndedBy::Stdin),
                _ => _ = self.asked.stop.get_or_insert(EndedBy::Signal),
            }
        }
    }
}

fn tell_of_stdin(mut writer: Pipe) {
    let mut bytes = [0; 1024];
    let mut stdin = io::stdin().lock();
    // Writing fails only when the driver is gone, and then nobody waits.
    loop {
        match stdin.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => {
                if bytes[..read].contains(&b'\n') {
                    let _ = writer.write_all(&[STDIN_LINE]);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = writer.write_all(&[STDIN_ENDED]);
}
