//! The bodies of the handshake's frames: bytes to values and back.
//!
//! No I/O and no judgement: whether a name is welcome or a digest right is decided by the phases.
//! Spec: OTP "Distribution Protocol", section "Protocol Details", version 6 of the handshake.
//! Bytes after the last known field are ignored, as the specification asks.

use crate::dist::flags::Flags;

/// `N`: who dials, or, with a challenge, who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) flags: Flags,
    pub(crate) creation: u32,
    /// As sent; it becomes a `NodeName` only when it is one.
    pub(crate) name: String,
}

/// `N` from the side that was dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) hello: Hello,
    pub(crate) challenge: u32,
}

/// `s`: how the side that was dialled feels about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Go on.
    Ok,
    /// Go on; the dialled side gives up its own attempt.
    OkSimultaneous,
    /// Stop; the dialled side goes on with its own attempt.
    Nok,
    /// Stop; you are not welcome.
    NotAllowed,
    /// There is a link already. Answer `true` to replace it, `false` to give up.
    Alive,
    /// Go on, under a name that the dialled side made up. We never ask for one.
    Named,
}

/// `r`: the dialling side's challenge, and its answer to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChallengeReply {
    pub(crate) challenge: u32,
    pub(crate) digest: [u8; 16],
}

/// The bytes are not the message that the phase expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub(crate) struct Unexpected {
    pub(crate) expected: &'static str,
}

type Parsed<T> = Result<T, Unexpected>;

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = vec![b'N'];
        body.extend(self.flags.0.to_be_bytes());
        self.encode_tail(&mut body);
        body
    }

    pub(crate) fn parse(body: &[u8]) -> Parsed<Hello> {
        let mut fields = Fields(body, "the name message of OTP 23 or later ('N')");
        fields.tag(b'N')?;
        let flags = Flags(fields.u64()?);
        fields.hello(flags)
    }

    fn encode_tail(&self, body: &mut Vec<u8>) {
        let length = u16::try_from(self.name.len()).expect("a node name has at most 255 bytes");
        body.extend(self.creation.to_be_bytes());
        body.extend(length.to_be_bytes());
        body.extend(self.name.as_bytes());
    }
}

impl Challenge {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = vec![b'N'];
        body.extend(self.hello.flags.0.to_be_bytes());
        body.extend(self.challenge.to_be_bytes());
        self.hello.encode_tail(&mut body);
        body
    }

    pub(crate) fn parse(body: &[u8]) -> Parsed<Challenge> {
        let mut fields = Fields(body, "the challenge message of OTP 23 or later ('N')");
        fields.tag(b'N')?;
        let flags = Flags(fields.u64()?);
        let challenge = fields.u32()?;
        let hello = fields.hello(flags)?;
        Ok(Challenge { hello, challenge })
    }
}

impl Status {
    pub(crate) fn encode(self) -> Vec<u8> {
        let text = match self {
            Status::Ok => "sok",
            Status::OkSimultaneous => "sok_simultaneous",
            Status::Nok => "snok",
            Status::NotAllowed => "snot_allowed",
            Status::Alive => "salive",
            Status::Named => "snamed:",
        };
        text.as_bytes().to_vec()
    }

    pub(crate) fn parse(body: &[u8]) -> Parsed<Status> {
        match body {
            b"sok" => Ok(Status::Ok),
            b"sok_simultaneous" => Ok(Status::OkSimultaneous),
            b"snok" => Ok(Status::Nok),
            b"snot_allowed" => Ok(Status::NotAllowed),
            b"salive" => Ok(Status::Alive),
            _ if body.starts_with(b"snamed:") => Ok(Status::Named),
            _ => Err(Unexpected {
                expected: "a status message ('s')",
            }),
        }
    }
}

/// The answer to [`Status::Alive`]: whether the dialling side still wants its attempt.
pub(crate) fn encode_alive_answer(go_on: bool) -> Vec<u8> {
    let text: &[u8] = if go_on { b"strue" } else { b"sfalse" };
    text.to_vec()
}

pub(crate) fn parse_alive_answer(body: &[u8]) -> Parsed<bool> {
    match body {
        b"strue" => Ok(true),
        b"sfalse" => Ok(false),
        _ => Err(Unexpected {
            expected: "'strue' or 'sfalse'",
        }),
    }
}

impl ChallengeReply {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut body = vec![b'r'];
        body.extend(self.challenge.to_be_bytes());
        body.extend(self.digest);
        body
    }

    pub(crate) fn parse(body: &[u8]) -> Parsed<ChallengeReply> {
        let mut fields = Fields(body, "the reply to our challenge ('r')");
        fields.tag(b'r')?;
        let challenge = fields.u32()?;
        let digest = fields.take()?;
        Ok(ChallengeReply { challenge, digest })
    }
}

/// `a`: the dialled side's answer to the challenge.
pub(crate) fn encode_ack(digest: [u8; 16]) -> Vec<u8> {
    let mut body = vec![b'a'];
    body.extend(digest);
    body
}

pub(crate) fn parse_ack(body: &[u8]) -> Parsed<[u8; 16]> {
    let mut fields = Fields(body, "the acknowledgement of the challenge ('a')");
    fields.tag(b'a')?;
    fields.take()
}

/// What is left of a body, and what it should have been.
struct Fields<'a>(&'a [u8], &'static str);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(self.unexpected())?;
        self.0 = rest;
        Ok(*head)
    }

    fn tag(&mut self, tag: u8) -> Parsed<()> {
        let [found] = self.take()?;
        (found == tag).then_some(()).ok_or(self.unexpected())
    }

    fn u32(&mut self) -> Parsed<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Parsed<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn hello(&mut self, flags: Flags) -> Parsed<Hello> {
        let creation = self.u32()?;
        let length = usize::from(u16::from_be_bytes(self.take()?));
        let bytes = self.0.get(..length).ok_or(self.unexpected())?;
        let name = std::str::from_utf8(bytes).map_err(|_| self.unexpected())?;
        Ok(Hello {
            flags,
            creation,
            name: name.to_owned(),
        })
    }

    fn unexpected(&self) -> Unexpected {
        Unexpected { expected: self.1 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_are_those_of_the_specification() {
        let hello = Hello {
            flags: Flags(0x0102),
            creation: 7,
            name: "a@b".to_owned(),
        };
        let bytes = b"N\0\0\0\0\0\0\x01\x02\0\0\0\x07\0\x03a@b";
        assert_eq!(hello.encode(), bytes);
        let challenge = Challenge {
            hello,
            challenge: 9,
        };
        let bytes = b"N\0\0\0\0\0\0\x01\x02\0\0\0\x09\0\0\0\x07\0\x03a@b";
        assert_eq!(challenge.encode(), bytes);
    }

    #[test]
    fn every_status_round_trips_and_trailing_bytes_of_named_are_ignored() {
        use Status::*;
        for status in [Ok, OkSimultaneous, Nok, NotAllowed, Alive, Named] {
            assert_eq!(Status::parse(&status.encode()), Result::Ok(status));
        }
        assert_eq!(
            Status::parse(b"snamed:\0\x03a@b\0\0\0\x01 later"),
            Result::Ok(Named)
        );
        assert!(Status::parse(b"ssomething").is_err());
    }

    proptest! {
        #[test]
        fn hello_and_challenge_round_trip_with_trailing_bytes(
            flags: u64, creation: u32, challenge: u32, name in "[a-z]{1,20}@[a-z.]{1,20}",
            tail in proptest::collection::vec(any::<u8>(), 0..8)
        ) {
            let hello = Hello { flags: Flags(flags), creation, name };
            let with_tail = [hello.encode(), tail.clone()].concat();
            prop_assert_eq!(Hello::parse(&with_tail), Ok(hello.clone()));
            let message = Challenge { hello, challenge };
            let with_tail = [message.encode(), tail].concat();
            prop_assert_eq!(Challenge::parse(&with_tail), Ok(message));
        }

        #[test]
        fn hostile_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Hello::parse(&body);
            let _ = Challenge::parse(&body);
            let _ = Status::parse(&body);
            let _ = ChallengeReply::parse(&body);
            let _ = parse_ack(&body);
            let _ = parse_alive_answer(&body);
        }
    }
}
