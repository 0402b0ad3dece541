//! The functions of the module `lariat_nif`, one for each line of its list: arguments, a call, an answer.
//!
//! What may take longer than a millisecond has a twin on the dirty schedulers; which is called is decided
//! there, by the numbers in ARCHITECTURE.md. None of them blocks.

use lariat::bridge::{Busy, Now};
use lariat::wire::{Command, Conn, Refusal};
use rustler::schedule::consume_timeslice;
use rustler::{Atom, Binary, Encoder, Env, LocalPid, OwnedBinary, Term};

use crate::commands::{Job, Refused, ReplyTo, Tag, WATCHER};
use crate::entry::{self, Handle};
use crate::hot::{Effort, Told};
use crate::uplink::Uplink;
use crate::{config, edge, hot, log};

rustler::atoms! {
    ok, error, busy, closed, badarg, stopped, stopping, attach, detach, changed, kept, certificates
}

/// Why nothing was done.
enum No {
    Busy,
    Closed,
    Bad,
}

impl From<Refused> for No {
    fn from(refused: Refused) -> No {
        match refused {
            Refused::Busy => No::Busy,
            Refused::Closed => No::Closed,
        }
    }
}

/// `ok | {error, busy | closed | badarg}`
fn answer<'a>(env: Env<'a>, done: Result<(), No>) -> Term<'a> {
    let why = match done {
        Ok(()) => return ok().to_term(env),
        Err(No::Busy) => busy(),
        Err(No::Closed) => closed(),
        Err(No::Bad) => badarg(),
    };
    (error(), why).encode(env)
}

/// A queue that takes nothing is full, or of an edge that has ended meanwhile. What was written here the
/// caller pays for.
fn taken(edge: &edge::Edge, sent: Result<Now, Busy>, effort: &mut Effort) -> Result<(), No> {
    let now = sent.map_err(|Busy| is_open(edge).err().unwrap_or(No::Busy))?;
    match now {
        Now::Written => effort.written(),
        Now::Queued => {}
        Now::Delayed => effort.delayed(),
    }
    Ok(())
}

fn is_open(edge: &edge::Edge) -> Result<(), No> {
    if edge.is_stopping() {
        Err(No::Closed)
    } else {
        Ok(())
    }
}

#[rustler::nif(schedule = "DirtyIo")]
fn start_nif<'a>(env: Env<'a>, given: Term<'a>) -> Term<'a> {
    let starter = env.pid();
    let started = config::start(given).and_then(|(start, name)| {
        let edge = edge::start(start, name, starter)?;
        log::tell(starter);
        entry::resource(env, &edge, starter).ok_or_else(|| "its owner has ended".to_owned())
    });
    match started {
        Ok(handle) => (ok(), handle).encode(env),
        Err(text) => (error(), words(env, &text)).encode(env),
    }
}

/// `stopping`: `{Tag, ok}` comes when it has stopped.
#[rustler::nif]
fn stop_nif(env: Env<'_>, handle: Handle<'_>, tag: Term<'_>) -> Atom {
    let waiting = (env.pid(), Tag::new(tag));
    if handle.edge().stop(Some(waiting)) {
        stopping()
    } else {
        stopped()
    }
}

fn send<'a>(
    env: Env<'a>,
    handle: Handle<'_>,
    term: Term<'_>,
    charge: impl FnOnce(&Effort),
) -> Term<'a> {
    let edge = handle.edge();
    let mut effort = Effort::default();
    let sent = is_open(edge).and_then(|()| {
        let (ids, said) = hot::send(term, &mut effort).ok_or(No::Bad)?;
        taken(edge, edge.bridge.send_now(ids, said.lend()), &mut effort)
    });
    charge(&effort);
    answer(env, sent)
}

/// Has the caller pay with its time slice for what takes longer than the call of a function: whoever sends
/// to long lists all the time is not to keep others from its scheduler.
fn charge(env: Env<'_>, effort: &Effort) {
    let percent = effort.percent().min(100);
    if percent > 0 {
        let percent = i32::try_from(percent).expect("at most 100");
        let _ = consume_timeslice(env, percent);
    }
}

#[rustler::nif]
fn send_nif<'a>(env: Env<'a>, handle: Handle<'a>, term: Term<'a>) -> Term<'a> {
    send(env, handle, term, |effort| charge(env, effort))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn send_dirty_nif<'a>(env: Env<'a>, handle: Handle<'a>, term: Term<'a>) -> Term<'a> {
    send(env, handle, term, |_| {})
}

fn signal<'a>(
    env: Env<'a>,
    handle: Handle<'_>,
    conn: Term<'_>,
    term: Term<'_>,
    charge: impl FnOnce(&Effort),
) -> Term<'a> {
    let edge = handle.edge();
    let mut effort = Effort::default();
    let told = is_open(edge).and_then(|()| {
        let conn = hot::conn(conn, edge.name).ok_or(No::Bad)?;
        let told = match hot::told(term, &mut effort).ok_or(No::Bad)? {
            Told::Said(said) => edge.bridge.deliver_now(conn, said.lend()),
            Told::Signal(signal) => edge.bridge.signal_now(conn, signal),
        };
        taken(edge, told, &mut effort)
    });
    charge(&effort);
    answer(env, told)
}

#[rustler::nif]
fn signal_nif<'a>(env: Env<'a>, handle: Handle<'a>, conn: Term<'a>, term: Term<'a>) -> Term<'a> {
    signal(env, handle, conn, term, |effort| charge(env, effort))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn signal_dirty_nif<'a>(
    env: Env<'a>,
    handle: Handle<'a>,
    conn: Term<'a>,
    term: Term<'a>,
) -> Term<'a> {
    signal(env, handle, conn, term, |_| {})
}

fn cast<'a>(env: Env<'a>, handle: Handle<'_>, command: Term<'_>) -> Term<'a> {
    let edge = handle.edge();
    let cast = is_open(edge)
        .and_then(|()| Ok(edge.commands.push(Job::Carry(hot::frame(command), None))?));
    answer(env, cast)
}

#[rustler::nif]
fn cast_nif<'a>(env: Env<'a>, handle: Handle<'a>, command: Term<'a>) -> Term<'a> {
    cast(env, handle, command)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn cast_dirty_nif<'a>(env: Env<'a>, handle: Handle<'a>, command: Term<'a>) -> Term<'a> {
    cast(env, handle, command)
}

fn request<'a>(env: Env<'a>, handle: Handle<'_>, tag: Term<'_>, command: Term<'_>) -> Term<'a> {
    let edge = handle.edge();
    let asked = is_open(edge).and_then(|()| {
        let caller = env.pid();
        let reply_to = ReplyTo::new(caller, Tag::new(tag), edge.uplink.names().clone());
        Ok(edge
            .commands
            .push(job(env, handle, caller, command, reply_to))?)
    });
    answer(env, asked)
}

/// A request as a job. Owners are noted here, because monitors are made on behalf of the caller.
fn job(
    env: Env<'_>,
    handle: Handle<'_>,
    caller: LocalPid,
    command: Term<'_>,
    reply_to: ReplyTo,
) -> Job {
    let uplink = &handle.edge().uplink;
    if let Ok((verb, pid, _)) = command.decode::<(Atom, LocalPid, Term<'_>)>()
        && verb == attach()
    {
        return match uplink.attach(pid, || handle.monitor(env, pid)) {
            Some(owner) => Job::Attach(owner, hot::frame(command), reply_to),
            None => Job::Refuse(Refusal::OwnersLimit, reply_to),
        };
    }
    if command.decode::<Atom>().is_ok_and(|verb| verb == detach())
        && let Some((owner, monitor)) = uplink.detach(caller)
    {
        if let Some(monitor) = &monitor {
            handle.demonitor(env, monitor);
        }
        return Job::Detach(owner, reply_to);
    }
    Job::Carry(hot::frame(command), Some(reply_to))
}

#[rustler::nif]
fn request_nif<'a>(env: Env<'a>, handle: Handle<'a>, tag: Term<'a>, command: Term<'a>) -> Term<'a> {
    request(env, handle, tag, command)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn request_dirty_nif<'a>(
    env: Env<'a>,
    handle: Handle<'a>,
    tag: Term<'a>,
    command: Term<'a>,
) -> Term<'a> {
    request(env, handle, tag, command)
}

#[rustler::nif]
fn heard_nif(env: Env<'_>, handle: Handle<'_>, events: usize) -> Atom {
    handle.edge().uplink.heard(env.pid(), events);
    ok()
}

/// Straight into the shard's queue, behind what the caller has said to the connection before.
fn watching<'a>(
    env: Env<'a>,
    handle: Handle<'_>,
    conn: Term<'_>,
    command: fn(Conn) -> Command,
) -> Term<'a> {
    let edge = handle.edge();
    let watched = is_open(edge).and_then(|()| {
        let conn = hot::conn(conn, edge.name).ok_or(No::Bad)?;
        let at_once = Uplink::watching(|| edge.bridge.handle(command(conn), None));
        for (conn, gone) in at_once {
            edge.commands.push(Job::Gone(conn, gone))?;
        }
        Ok(())
    });
    answer(env, watched)
}

#[rustler::nif]
fn watch_nif<'a>(env: Env<'a>, handle: Handle<'a>, conn: Term<'a>) -> Term<'a> {
    watching(env, handle, conn, |conn| Command::Watch {
        conn,
        watcher: WATCHER,
    })
}

#[rustler::nif]
fn unwatch_nif<'a>(env: Env<'a>, handle: Handle<'a>, conn: Term<'a>) -> Term<'a> {
    watching(env, handle, conn, |conn| Command::Unwatch {
        conn,
        watcher: WATCHER,
    })
}

/// What `/metrics` of a node says.
#[rustler::nif(schedule = "DirtyCpu")]
fn metrics_nif<'a>(env: Env<'a>, handle: Handle<'a>) -> Binary<'a> {
    let text = handle.edge().metrics.render();
    Binary::from_owned(OwnedBinary::from(text), env)
}

/// The version of this build, so that Erlang can tell which library it has loaded.
#[rustler::nif(name = "version")]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

fn words<'a>(env: Env<'a>, text: &str) -> Binary<'a> {
    let mut bytes = OwnedBinary::new(text.len());
    bytes.as_mut_slice().copy_from_slice(text.as_bytes());
    Binary::from_owned(bytes, env)
}

/// Reads files, as the start does.
#[rustler::nif(schedule = "DirtyIo")]
fn reload_nif<'a>(env: Env<'a>, handle: Handle<'a>, given: Term<'a>) -> Term<'a> {
    let edge = handle.edge();
    if is_open(edge).is_err() {
        return (error(), closed()).encode(env);
    }
    let read = config::edge_config(given).and_then(|config| edge.reload(&config));
    match read {
        Ok(done) => {
            let keys = |keys: Vec<&str>| -> Vec<_> {
                keys.into_iter().map(|key| words(env, key)).collect()
            };
            let map = Term::map_from_pairs(
                env,
                &[
                    (changed().to_term(env), keys(done.changed).encode(env)),
                    (kept().to_term(env), keys(done.kept).encode(env)),
                    (certificates().to_term(env), done.certificates.encode(env)),
                ],
            );
            (ok(), map.expect("its keys are different")).encode(env)
        }
        Err(text) => (error(), words(env, &text)).encode(env),
    }
}

/// `{ok, Ms}`: `{Tag, ok}` comes within that time, and when it is over at the latest.
#[rustler::nif]
fn drain_nif<'a>(env: Env<'a>, handle: Handle<'a>, tag: Term<'a>, options: Term<'a>) -> Term<'a> {
    let edge = handle.edge();
    let begun = is_open(edge).and_then(|()| {
        let how = config::drain(options, edge.held.drains()).ok_or(No::Bad)?;
        let reply_to = ReplyTo::new(env.pid(), Tag::new(tag), edge.uplink.names().clone());
        edge.commands.push(Job::Drain(how, reply_to))?;
        edge.leaves();
        Ok(how.timeout)
    });
    match begun {
        Ok(time) => (ok(), u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).encode(env),
        Err(no) => answer(env, Err(no)),
    }
}

/// Whether new connections are welcome.
#[rustler::nif]
fn is_ready_nif(handle: Handle<'_>) -> bool {
    handle.edge().is_ready()
}
