//! The handshake in the role of the side that was dialled.
//!
//! Does not decide whether the peer may come: [`Greeted::answer`] is told. The phases are
//! `Greeted` → `Verified` → done; only a checked digest makes a [`Verified`], so whoever holds one
//! may close an older link of the same name, and nobody else.

use tokio::io::{AsyncRead, AsyncWrite};

use super::message::{Challenge, ChallengeReply, Hello, Status, encode_ack, parse_alive_answer};
use super::{Failure, Local, Remote, frame, unguessable};
use crate::dist::cookie::Cookie;
use crate::dist::peers::Verdict;

/// The peer has said who it claims to be.
pub(crate) struct Greeted<'a, S> {
    io: S,
    local: &'a Local,
    remote: Remote,
}

/// The peer has proved that it knows the cookie.
pub(crate) struct Verified<'a, S> {
    io: S,
    local: &'a Local,
    remote: Remote,
    their_challenge: u32,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Greeted<'a, S> {
    /// Reads the peer's name. A peer that can never be welcome is told `not_allowed` here.
    pub(crate) async fn read(mut io: S, local: &'a Local) -> Result<Self, Failure> {
        let body = frame::read(&mut io, local.width).await?;
        let remote = Remote::new(&Hello::parse(&body)?).and_then(|remote| {
            if remote.name == local.name {
                Err(Failure::OurName(remote.name))
            } else {
                Ok(remote)
            }
        });
        match remote {
            Ok(remote) => Ok(Greeted { io, local, remote }),
            Err(failure) => {
                frame::write(&mut io, local.width, &Status::NotAllowed.encode()).await?;
                Err(failure)
            }
        }
    }

    /// Who the peer claims to be; proved only later.
    pub(crate) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Tells the peer that it is not welcome.
    pub(crate) async fn refuse(mut self) -> Failure {
        match self.status(Status::NotAllowed).await {
            Ok(()) => Failure::NotOnList(self.remote.name),
            Err(failure) => failure,
        }
    }

    /// Tells the peer the verdict and, unless that ends it, checks its digest.
    pub(crate) async fn answer(mut self, verdict: Verdict) -> Result<Verified<'a, S>, Failure> {
        match verdict {
            Verdict::Ok => self.status(Status::Ok).await?,
            Verdict::OkSimultaneous => self.status(Status::OkSimultaneous).await?,
            Verdict::Nok => {
                self.status(Status::Nok).await?;
                return Err(Failure::ToldNok(self.remote.name));
            }
            Verdict::Alive => {
                self.status(Status::Alive).await?;
                let body = frame::read(&mut self.io, self.local.width).await?;
                if !parse_alive_answer(&body)? {
                    return Err(Failure::Abandoned(self.remote.name));
                }
            }
        }
        self.challenge().await
    }

    async fn challenge(mut self) -> Result<Verified<'a, S>, Failure> {
        let challenge = unguessable();
        let message = Challenge {
            hello: self.local.hello(),
            challenge,
        };
        frame::write(&mut self.io, self.local.width, &message.encode()).await?;
        let body = frame::read(&mut self.io, self.local.width).await?;
        let reply = ChallengeReply::parse(&body)?;
        if reply.digest != self.cookie().digest(challenge) {
            return Err(Failure::WrongCookie {
                peer: self.remote.name,
            });
        }
        Ok(Verified {
            io: self.io,
            local: self.local,
            remote: self.remote,
            their_challenge: reply.challenge,
        })
    }

    fn cookie(&self) -> &Cookie {
        self.local.cookies.of(&self.remote.name)
    }

    async fn status(&mut self, status: Status) -> Result<(), Failure> {
        frame::write(&mut self.io, self.local.width, &status.encode()).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Verified<'_, S> {
    /// The peer, proved.
    pub(crate) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Proves our own knowledge of the cookie; the link begins with the next byte.
    pub(crate) async fn acknowledge(mut self) -> Result<(S, Remote), Failure> {
        let cookie = self.local.cookies.of(&self.remote.name);
        let digest = cookie.digest(self.their_challenge);
        frame::write(&mut self.io, self.local.width, &encode_ack(digest)).await?;
        Ok((self.io, self.remote))
    }
}
