//! The handshake in the role of the dialling side.
//!
//! Does not connect, and does not dial again: it is given a stream and says how it ended. The
//! phases are `Named` → `Welcome` → `Challenged` → done, each consumed by the next.

use std::io::ErrorKind;

use tokio::io::{AsyncRead, AsyncWrite};

use super::message::{Challenge, ChallengeReply, Status, encode_alive_answer, parse_ack};
use super::{Failure, Local, Remote, frame, unguessable};
use crate::dist::name::NodeName;

/// Runs the whole handshake with `peer` on a fresh stream. `is_wanted` is asked when the peer says
/// that it has a link to us already: whether this attempt is still the one that counts here.
pub(crate) async fn dial<S, F>(
    io: S,
    local: &Local,
    peer: &NodeName,
    is_wanted: F,
) -> Result<(S, Remote), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: FnOnce() -> bool,
{
    let named = Named::send(io, local, peer).await?;
    let welcome = named.status(is_wanted).await?;
    let challenged = welcome.challenge().await?;
    challenged.prove().await
}

struct Named<'a, S> {
    io: S,
    local: &'a Local,
    peer: &'a NodeName,
}

struct Welcome<'a, S>(Named<'a, S>);

struct Challenged<'a, S> {
    named: Named<'a, S>,
    remote: Remote,
    challenge: u32,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Named<'a, S> {
    async fn send(mut io: S, local: &'a Local, peer: &'a NodeName) -> Result<Self, Failure> {
        frame::write(&mut io, local.width, &local.hello().encode()).await?;
        Ok(Named { io, local, peer })
    }

    async fn status(mut self, is_wanted: impl FnOnce() -> bool) -> Result<Welcome<'a, S>, Failure> {
        let peer = self.peer.clone();
        let body = frame::read(&mut self.io, self.local.width).await?;
        match Status::parse(&body)? {
            Status::Ok | Status::OkSimultaneous => Ok(Welcome(self)),
            Status::Nok => Err(Failure::Yielded(peer)),
            Status::NotAllowed => Err(Failure::NotAllowed(peer)),
            Status::Named => Err(Failure::Renamed(peer)),
            Status::Alive => {
                let go_on = is_wanted();
                let answer = encode_alive_answer(go_on);
                frame::write(&mut self.io, self.local.width, &answer).await?;
                if go_on {
                    Ok(Welcome(self))
                } else {
                    Err(Failure::Yielded(peer))
                }
            }
        }
    }
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Welcome<'a, S> {
    async fn challenge(self) -> Result<Challenged<'a, S>, Failure> {
        let Welcome(mut named) = self;
        let body = frame::read(&mut named.io, named.local.width).await?;
        let message = Challenge::parse(&body)?;
        let remote = Remote::new(&message.hello)?;
        if remote.name != *named.peer {
            return Err(Failure::OtherName {
                dialled: named.peer.clone(),
                answered: remote.name,
            });
        }
        Ok(Challenged {
            named,
            remote,
            challenge: message.challenge,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Challenged<'_, S> {
    async fn prove(mut self) -> Result<(S, Remote), Failure> {
        let Named { io, local, peer } = &mut self.named;
        let cookie = local.cookies.of(peer);
        let challenge = unguessable();
        let reply = ChallengeReply {
            challenge,
            digest: cookie.digest(self.challenge),
        };
        frame::write(io, local.width, &reply.encode()).await?;
        let body = match frame::read(io, local.width).await {
            Ok(body) => body,
            // OTP closes without a word when the digest is wrong.
            Err(Failure::Io(error)) if is_hang_up(error.kind()) => {
                let peer = peer.clone();
                return Err(Failure::CookieRefused { peer });
            }
            Err(failure) => return Err(failure),
        };
        if parse_ack(&body)? != cookie.digest(challenge) {
            let peer = peer.clone();
            return Err(Failure::WrongCookie { peer });
        }
        Ok((self.named.io, self.remote))
    }
}

fn is_hang_up(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}
