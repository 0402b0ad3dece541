//! Both roles against each other over a pipe in memory, and one role against scripted bytes.

use std::collections::HashMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::dist::cookie::Cookie;
use crate::dist::peers::Verdict;

fn local(name: &str, cookie: &str, width: Width) -> Local {
    Local {
        name: name.parse().unwrap(),
        cookies: Cookies {
            of_others: Cookie::new(cookie).unwrap(),
            of_peers: HashMap::new(),
        },
        creation: 17,
        width,
    }
}

async fn accept(
    io: DuplexStream,
    local: &Local,
    verdict: Verdict,
) -> Result<(DuplexStream, Remote), Failure> {
    let greeted = Greeted::read(io, local).await?;
    let verified = greeted.answer(verdict).await?;
    verified.acknowledge().await
}

async fn meet(
    verdict: Verdict,
    cookies: (&str, &str),
    wanted: bool,
) -> (
    Result<(DuplexStream, Remote), Failure>,
    Result<(DuplexStream, Remote), Failure>,
) {
    let ours = local("b@h", cookies.0, Width::Two);
    let theirs = local("a@h", cookies.1, Width::Two);
    let (here, there) = duplex(4096);
    let peer = ours.name.clone();
    tokio::join!(
        accept(here, &ours, verdict),
        dial(there, &theirs, &peer, || wanted)
    )
}

#[tokio::test]
async fn the_same_cookie_makes_a_link_and_no_byte_beyond_is_taken() {
    for width in [Width::Two, Width::Four] {
        let (ours, theirs) = (local("b@h", "c", width), local("a@h", "c", width));
        let (here, there) = duplex(4096);
        let peer = ours.name.clone();
        let (accepted, dialled) = tokio::join!(
            async {
                let (mut io, remote) = accept(here, &ours, Verdict::Ok).await.unwrap();
                io.write_all(b"first frame").await.unwrap();
                (io, remote)
            },
            dial(there, &theirs, &peer, || true)
        );
        let (mut io, remote) = dialled.unwrap();
        assert_eq!((remote.name, remote.creation), (peer, 17));
        assert_eq!(accepted.1.name, theirs.name);
        let mut first = [0; 11];
        io.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"first frame");
    }
}

#[tokio::test]
async fn another_cookie_is_told_apart_on_both_sides() {
    let (accepted, dialled) = meet(Verdict::Ok, ("one", "two"), true).await;
    assert!(matches!(accepted, Err(Failure::WrongCookie { .. })));
    assert!(matches!(dialled, Err(Failure::CookieRefused { .. })));
}

#[tokio::test]
async fn alive_goes_on_only_when_the_attempt_is_wanted() {
    let (accepted, dialled) = meet(Verdict::Alive, ("c", "c"), true).await;
    assert!(accepted.is_ok() && dialled.is_ok());
    let (accepted, dialled) = meet(Verdict::Alive, ("c", "c"), false).await;
    assert!(matches!(accepted, Err(Failure::Abandoned(_))));
    assert!(matches!(dialled, Err(Failure::Yielded(_))));
}

#[tokio::test]
async fn simultaneous_attempts_end_as_told() {
    let (accepted, dialled) = meet(Verdict::Nok, ("c", "c"), true).await;
    assert!(matches!(accepted, Err(Failure::ToldNok(_))));
    assert!(matches!(dialled, Err(Failure::Yielded(_))));
    let (accepted, dialled) = meet(Verdict::OkSimultaneous, ("c", "c"), true).await;
    assert!(accepted.is_ok() && dialled.is_ok());
}

#[tokio::test]
async fn another_node_than_the_dialled_one_is_refused() {
    let (ours, theirs) = (local("b@h", "c", Width::Two), local("a@h", "c", Width::Two));
    let (here, there) = duplex(4096);
    let other = "other@h".parse().unwrap();
    let (_, dialled) = tokio::join!(
        accept(here, &ours, Verdict::Ok),
        dial(there, &theirs, &other, || true)
    );
    assert!(matches!(dialled, Err(Failure::OtherName { .. })));
}

#[tokio::test]
async fn hostile_first_frames_are_refused_before_anything_is_allocated() {
    let ours = local("b@h", "c", Width::Two);
    let mut lacking = Hello {
        flags: Flags(Flags::OFFERED.0 & !Flags::UNLINK_ID.0),
        creation: 1,
        name: "a@h".to_owned(),
    };
    let lacks = lacking.encode();
    lacking.flags = Flags::OFFERED;
    lacking.name = "b@h".to_owned();
    let ours_again = lacking.encode();
    lacking.name = "a@b@h".to_owned();
    let two_hosts = lacking.encode();
    let cases: [(&[u8], HandshakeFailed); 5] = [
        (&[0xff; 2047], HandshakeFailed::Malformed),
        (b"GET / HTTP/1.1\r\n\r\n", HandshakeFailed::Malformed),
        (&lacks, HandshakeFailed::Flags),
        (&ours_again, HandshakeFailed::Name),
        (&two_hosts, HandshakeFailed::Name),
    ];
    for (body, expected) in cases {
        let (here, mut there) = duplex(4096);
        frame::write(&mut there, Width::Two, body).await.unwrap();
        let failure = Greeted::read(here, &ours).await.err().unwrap();
        assert_eq!(failure.metric(), Some(expected), "{failure}");
    }
    let (here, mut there) = duplex(4096);
    there.write_all(&[0xff, 0xff, b'N']).await.unwrap();
    let failure = Greeted::read(here, &ours).await.err().unwrap();
    assert!(matches!(failure, Failure::FrameTooLarge { bytes: 65535 }));
}
