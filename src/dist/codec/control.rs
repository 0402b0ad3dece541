//! Control messages from a peer, by operation.
//!
//! What a message makes us do is `link::session`'s concern, what frames it comes in is `frame`'s.
//! Spec: OTP "Distribution Protocol", section "Control Messages".

use super::frame::Message;
use crate::term::VERSION;
use crate::term::{Elements, Kind, Pid, Term};

/// One control message. Fields that are echoed stay encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control<'a> {
    /// `REG_SEND` (6), `REG_SEND_TT` (16), and 37 to a name.
    RegSend { name: &'a str },
    /// `SEND` (2), `SEND_TT` (12), `SEND_SENDER` (22), `SEND_SENDER_TT` (23), and 37 to a pid.
    Send { to: Pid<'a> },
    /// `ALIAS_SEND` (33), `ALIAS_SEND_TT` (34), and 37 to an alias. We hand out no alias.
    AliasSend,
    /// `LINK` (1).
    Link { from: Term<'a>, to: Term<'a> },
    /// `EXIT` (3), `EXIT_TT` (13), `PAYLOAD_EXIT` (24), `PAYLOAD_EXIT_TT` (25): a process that is
    /// linked to `to` has ended. The reason is the payload where `reason` is `None`.
    LinkExit {
        from: Term<'a>,
        to: Term<'a>,
        reason: Option<Term<'a>>,
    },
    /// `UNLINK_ID` (35).
    UnlinkId {
        id: Term<'a>,
        from: Term<'a>,
        to: Term<'a>,
    },
    /// `MONITOR_P` (19); `to` is a pid or a name.
    Monitor {
        from: Term<'a>,
        to: Term<'a>,
        reference: Term<'a>,
    },
    /// `DEMONITOR_P` (20); `to` is what the monitor was on.
    Demonitor { to: Term<'a>, reference: Term<'a> },
    /// `MONITOR_P_EXIT` (21), `PAYLOAD_MONITOR_P_EXIT` (28): the answer to a monitor of ours.
    MonitorExit { reference: Term<'a> },
    /// `EXIT2` (8), `EXIT2_TT` (18), `PAYLOAD_EXIT2` (26), `PAYLOAD_EXIT2_TT` (27), and 37 with the
    /// bit for exit signals: `exit(Pid, Reason)`. The reason is the payload where `reason` is `None`.
    Exit {
        to: Pid<'a>,
        reason: Option<Term<'a>>,
    },
    /// `SPAWN_REQUEST` (29), `SPAWN_REQUEST_TT` (30). The arguments are never looked at.
    SpawnRequest { reference: Term<'a>, from: Term<'a> },
    /// Operations that need no action: a connection never unlinks, so `UNLINK_ID_ACK` (36) is not
    /// awaited; `UNLINK` (4), `NODE_LINK` (5) and `GROUP_LEADER` (7) are of no use here; nothing is
    /// spawned, so no `SPAWN_REPLY` (31, 32) is awaited.
    Ignored,
    /// An operation that is unknown, or known with fields that it should not have.
    Unknown,
}

/// The frame is not of the agreed shape: the link cannot be trusted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed frame: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The control message, and the payload behind it without its version byte.
pub(crate) fn split(message: Message<'_>) -> Result<(Control<'_>, Option<&[u8]>), Malformed> {
    let (term, payload) =
        Term::parse(message.bytes).map_err(|_| Malformed("its control message is none"))?;
    let control = parse(term).ok_or(Malformed("its control message has no operation"))?;
    match payload {
        [] => Ok((control, None)),
        payload if !message.is_versioned => Ok((control, Some(payload))),
        [VERSION, payload @ ..] => Ok((control, Some(payload))),
        _ => Err(Malformed("its payload does not begin with 131")),
    }
}

/// `None` when the term is no tuple that begins with an integer.
fn parse(term: Term<'_>) -> Option<Control<'_>> {
    let Kind::Tuple(fields) = term.kind() else {
        return None;
    };
    let [op] = fields.first()?;
    Some(known(op.int()?, fields).unwrap_or(Control::Unknown))
}

/// `None` when the operation is unknown or lacks a field. More fields than needed are accepted.
fn known(op: i64, fields: Elements<'_>) -> Option<Control<'_>> {
    Some(match op {
        1 => {
            let [_, from, to] = fields.first()?;
            (from.pid().is_some() && to.pid().is_some()).then_some(Control::Link { from, to })?
        }
        2 | 12 | 22 | 23 => {
            let [_, _, to] = fields.first()?;
            Control::Send { to: to.pid()? }
        }
        6 | 16 => {
            let [_, _, _, name] = fields.first()?;
            Control::RegSend { name: name.atom()? }
        }
        3 => {
            let [_, from, to, reason] = fields.first()?;
            link_exit(from, to, Some(reason))?
        }
        13 => {
            let [_, from, to, _, reason] = fields.first()?;
            link_exit(from, to, Some(reason))?
        }
        24 | 25 => {
            let [_, from, to] = fields.first()?;
            link_exit(from, to, None)?
        }
        8 => {
            let [_, _, to, reason] = fields.first()?;
            exit(to, Some(reason))?
        }
        18 => {
            let [_, _, to, _, reason] = fields.first()?;
            exit(to, Some(reason))?
        }
        26 | 27 => {
            let [_, _, to] = fields.first()?;
            exit(to, None)?
        }
        19 => {
            let [_, from, to, reference] = fields.first()?;
            from.pid()?;
            (to.pid().is_some() || to.atom().is_some()).then_some(())?;
            reference.is_reference().then_some(Control::Monitor {
                from,
                to,
                reference,
            })?
        }
        20 => {
            let [_, _, to, reference] = fields.first()?;
            Control::Demonitor { to, reference }
        }
        21 | 28 => {
            let [_, _, _, reference] = fields.first()?;
            Control::MonitorExit { reference }
        }
        29 | 30 => {
            let [_, reference, from] = fields.first()?;
            from.pid()?;
            reference
                .is_reference()
                .then_some(Control::SpawnRequest { reference, from })?
        }
        33 | 34 => Control::AliasSend,
        35 => {
            let [_, id, from, to] = fields.first()?;
            (from.pid().is_some() && to.pid().is_some()).then_some(Control::UnlinkId {
                id,
                from,
                to,
            })?
        }
        37 => altact(fields)?,
        4 | 5 | 7 | 31 | 32 | 36 => Control::Ignored,
        _ => return None,
    })
}

fn link_exit<'a>(from: Term<'a>, to: Term<'a>, reason: Option<Term<'a>>) -> Option<Control<'a>> {
    (from.pid().is_some() && to.pid().is_some()).then_some(Control::LinkExit { from, to, reason })
}

fn exit<'a>(to: Term<'a>, reason: Option<Term<'a>>) -> Option<Control<'a>> {
    Some(Control::Exit {
        to: to.pid()?,
        reason,
    })
}

/// `ALTACT_SIG_SEND`: `{37, Flags, From, To, ...}`, where the flags say what `To` is.
fn altact(fields: Elements<'_>) -> Option<Control<'_>> {
    const TO_ALIAS: i64 = 4;
    const TO_NAME: i64 = 8;
    const EXIT: i64 = 16;
    let [_, flags, _, to] = fields.first()?;
    let flags = flags.int()?;
    Some(if flags & TO_ALIAS != 0 {
        Control::AliasSend
    } else if flags & EXIT != 0 {
        exit(to, None)?
    } else if flags & TO_NAME != 0 {
        Control::RegSend { name: to.atom()? }
    } else {
        Control::Send { to: to.pid()? }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dist::codec::frame::{Body, open};

    fn split(body: &[u8]) -> Result<(Control<'_>, Option<&[u8]>), Malformed> {
        match open(body)? {
            Body::Whole(message) => super::split(message),
            Body::First(_) | Body::Next(_) => Err(Malformed("a part")),
        }
    }

    #[test]
    fn unknown_operations_are_told_from_malformed_frames() {
        let unknown = [112, 131, 104, 2, 97, 99, 106];
        assert_eq!(split(&unknown), Ok((Control::Unknown, None)));
        let wrong_fields = [112, 131, 104, 2, 97, 6, 106];
        assert_eq!(split(&wrong_fields), Ok((Control::Unknown, None)));
        for malformed in [
            &[][..],
            &[112],
            &[131, 68, 0],
            &[112, 131, 106],
            &[112, 131, 104, 1, 106],
            &[112, 131, 104, 9],
            &[112, 131, 104, 2, 97, 5, 106, 7],
        ] {
            assert!(split(malformed).is_err(), "{malformed:?}");
        }
    }

    #[test]
    fn operation_37_comes_in_all_its_forms() {
        use crate::term::Writer;
        // The bits: 1 priority, 2 with a token, 4 to an alias, 8 to a name, 16 an exit signal.
        let message = |flags: i64, write_to: &dyn Fn(&mut Writer)| {
            let mut w = Writer::new();
            w.u8(112)
                .version()
                .tuple(if flags & 2 == 0 { 4 } else { 5 });
            w.int(37).int(flags).pid("a@h", 1, 2, 3);
            write_to(&mut w);
            if flags & 2 != 0 {
                w.atom("token");
            }
            w.version().atom("payload");
            w.into_bytes()
        };
        for token in [0, 2] {
            for priority in [0, 1, 1 << 40] {
                let bits = token | priority;
                let to_pid = |w: &mut Writer| {
                    w.pid("b@h", 7, 0, 1);
                };
                let pid = message(bits, &to_pid);
                let (control, payload) = split(&pid).unwrap();
                assert!(matches!(control, Control::Send { to } if to.id == 7));
                assert_eq!(payload, Some(&b"w\x07payload"[..]));
                let name = message(8 | bits, &|w| {
                    w.atom("any");
                });
                assert_eq!(split(&name).unwrap().0, Control::RegSend { name: "any" });
                let alias = message(4 | bits, &|w| {
                    w.reference("b@h", 1, &[1, 2, 3, 4, 5]);
                });
                assert_eq!(split(&alias).unwrap().0, Control::AliasSend);
                let exit = message(16 | bits, &to_pid);
                let (control, _) = split(&exit).unwrap();
                assert!(matches!(control, Control::Exit { to, reason: None } if to.id == 7));
            }
        }
        let nobody = message(8, &|w| {
            w.int(5);
        });
        assert_eq!(split(&nobody).unwrap().0, Control::Unknown);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(tail in proptest::collection::vec(any::<u8>(), 0..120)) {
            let body = [&[112, 131, 104][..], &tail].concat();
            let _ = split(&body);
            let _ = split(&tail);
        }
    }
}
