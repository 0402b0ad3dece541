//! The file of a Unix socket: room is made for it, and it goes when its listener does.
//!
//! A file that nobody listens on is left from a process that was killed, and is removed; one that
//! somebody listens on, or that is no socket, is never touched. What stands in the place of ours when
//! we stop may be our successor's, and stays.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Ours while it lives.
#[derive(Debug)]
pub(in crate::edge) struct SocketFile {
    path: PathBuf,
    /// Device and number of the file that was made; `None` before.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// Removes what a killed process has left.
    pub(in crate::edge) fn make_room(path: &Path) -> io::Result<SocketFile> {
        let room = SocketFile {
            path: path.to_owned(),
            identity: None,
        };
        match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(room),
            Err(error) => return Err(error),
            Ok(found) if !found.file_type().is_socket() => {
                let what = "there is a file that is no socket";
                return Err(io::Error::new(ErrorKind::AlreadyExists, what));
            }
            Ok(_) => {}
        }
        match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
                Ok(room)
            }
            // It is full, or not ours to ask: somebody is there.
            Ok(_) | Err(_) => Err(ErrorKind::AddrInUse.into()),
        }
    }

    /// The socket has been bound.
    pub(in crate::edge) fn made(mut self) -> io::Result<SocketFile> {
        self.identity = Some(identity(&self.path)?);
        Ok(self)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path).ok() == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_is_left_goes_and_what_lives_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind");
        let room = SocketFile::make_room(&path).unwrap();
        assert!(!path.exists());
        let listener = UnixListener::bind(&path).unwrap();
        let ours = room.made().unwrap();
        let refused = SocketFile::make_room(&path).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        drop((listener, ours));
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(SocketFile::make_room(&path).is_err());
        std::fs::remove_file(&path).unwrap();
        let ours = SocketFile::make_room(&path).unwrap();
        let _first = UnixListener::bind(&path).unwrap();
        let ours = ours.made().unwrap();
        // A file number may come back at once when its file is gone: keep it.
        std::fs::rename(&path, folder.path().join("b.sock")).unwrap();
        let _successor = UnixListener::bind(&path).unwrap();
        drop(ours);
        assert!(path.exists(), "the successor's");
    }
}
