//! One running edge in the VM: its start, its state, and its end.
//!
//! Nothing here waits on a scheduler but the start, which runs on a dirty one. What takes long, the end above
//! all, is done by the thread of `commands`, which owns the runtime.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lariat::bridge::{self, Bridge};
use lariat::config::{Change, edge_changes, say_changes};
use lariat::edge::{self, open_files_limit};
use lariat::memory;
use lariat::metrics::Metrics;
use lariat::term::InVm;
use lariat::wire::Owner;
use rustler::{Atom, LocalPid};
use tokio::runtime::{Builder, Runtime};
use tracing::Dispatch;
use tracing::dispatcher::with_default;

use crate::commands::{self, Commands, Tag};
use crate::config::Start;
use crate::log;
use crate::uplink::Uplink;

/// Threads that accept, read requests and answer the ordinary ones: at most so many, as in a node.
const WORKERS_MAX: usize = 4;

/// Open files that are left to the VM and to the application.
const VM_OPEN_FILES: usize = 256;

/// Edges of this build that have not ended.
pub(crate) static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// A running edge, or one that has ended: terms that are its may be around for long.
pub(crate) struct Edge {
    /// Its name, as an atom.
    pub(crate) name: Atom,
    /// Who has started it: it ends with it.
    starter: LocalPid,
    /// Of all its threads.
    log: Dispatch,
    pub(crate) bridge: Bridge,
    pub(crate) held: edge::Edge,
    /// As it was read: what it runs with, but for what the open files do not allow.
    config: Mutex<edge::Config>,
    pub(crate) uplink: Arc<Uplink>,
    pub(crate) commands: Commands,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether its end has begun: what comes now is refused.
    is_stopping: AtomicBool,
    /// Whether a drain has begun.
    is_leaving: AtomicBool,
    end: Mutex<End>,
}

/// How far the end has come, and what the thread of `commands` is to look at.
#[derive(Default)]
struct End {
    has_ended: bool,
    /// Who waits for it.
    waiting: Vec<(LocalPid, Tag)>,
    /// Owners whose processes have ended.
    gone: Vec<Owner>,
}

/// Starts an edge of which `starter` is the owner.
pub(crate) fn start(start: Start, name: Atom, starter: LocalPid) -> Result<Arc<Edge>, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let log = log::of(starter);
    let of_workers = log.clone();
    let runtime = Builder::new_multi_thread()
        .worker_threads(cores.min(WORKERS_MAX))
        .thread_name("lariat")
        .on_thread_start(move || log::keep(&of_workers))
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let started = with_default(&log, || started(start, name, starter, &log, &runtime));
    match started {
        Ok((edge, receiver)) => {
            let running = Arc::clone(&edge);
            commands::spawn(running, receiver, runtime)?;
            RUNNING.fetch_add(1, Ordering::AcqRel);
            Ok(edge)
        }
        Err(error) => {
            runtime.shutdown_background();
            Err(error)
        }
    }
}

fn started(
    mut start: Start,
    name: Atom,
    starter: LocalPid,
    log: &Dispatch,
    runtime: &Runtime,
) -> Result<(Arc<Edge>, commands::Receiver), String> {
    let metrics = Arc::new(Metrics::default());
    let config = Mutex::new(start.edge.clone());
    fit_open_files(&mut start.edge);
    let held = {
        let _inside = runtime.enter();
        edge::start(start.edge, Arc::clone(&metrics)).map_err(|error| error.to_string())?
    };
    let names = InVm { name: start.name };
    let mut bridging = bridge::Config {
        name: names.name.clone(),
        ..bridge::Config::default()
    };
    if let Some(epoch) = start.epoch {
        bridging.epoch_base = epoch;
    }
    let uplink = Arc::new(Uplink::new(names, starter));
    let up = Arc::clone(&uplink);
    let bridge = bridge::start(bridging, held.clone(), up, Arc::clone(&metrics));
    let bridge = bridge.map_err(|error| {
        held.stop();
        format!("cannot start the bridge: {error}; look at the limit on threads (ulimit -u)")
    })?;
    runtime.spawn(memory::watch(Arc::clone(&metrics)));
    for address in held.addresses() {
        tracing::info!(%address, "listening");
    }
    let (commands, receiver) = commands::queue();
    let edge = Arc::new(Edge {
        name,
        starter,
        log: log.clone(),
        bridge,
        held,
        config,
        uplink,
        commands,
        metrics,
        is_stopping: AtomicBool::new(false),
        is_leaving: AtomicBool::new(false),
        end: Mutex::default(),
    });
    Ok((edge, receiver))
}

/// The limit stays as it is: the VM has sized its own tables by it.
fn fit_open_files(config: &mut edge::Config) {
    config.fit_open_files(open_files_limit(), VM_OPEN_FILES);
}

/// What a reload has done.
pub(crate) struct Reloaded {
    /// Keys that have changed.
    pub(crate) changed: Vec<&'static str>,
    /// Keys that need a new start.
    pub(crate) kept: Vec<&'static str>,
    /// Certificates that were read again.
    pub(crate) certificates: usize,
}

impl Edge {
    /// Takes what may change at run time, and says the rest; nobody who is connected notices. When a
    /// certificate cannot be shown nothing is changed.
    pub(crate) fn reload(&self, new: &edge::Config) -> Result<Reloaded, String> {
        with_default(&self.log, || self.take(new))
    }

    /// Its thread, which carries out what is asked, is of this edge from now on.
    pub(crate) fn keeps_log(&self) {
        log::keep(&self.log);
    }

    fn take(&self, new: &edge::Config) -> Result<Reloaded, String> {
        let config = self.config.lock();
        let mut config = config.unwrap_or_else(PoisonError::into_inner);
        let certificates = self.held.reload_certificates();
        let certificates = certificates.map_err(|error| error.to_string())?;
        let changes = edge_changes(&config, new);
        *config = config.reloaded(new);
        let mut fitted = new.clone();
        fit_open_files(&mut fitted);
        self.held.reload(&fitted);
        say_changes(&changes);
        let (changed, kept): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.is_live);
        tracing::info!(changed = changed.len(), certificates, "config reloaded");
        let keys = |changes: Vec<&Change>| changes.iter().map(|change| change.key).collect();
        Ok(Reloaded {
            changed: keys(changed),
            kept: keys(kept),
            certificates,
        })
    }

    /// Whether new connections are welcome: what a node says at `/readyz`.
    pub(crate) fn is_ready(&self) -> bool {
        let is_leaving = self.is_leaving.load(Ordering::Relaxed);
        !is_leaving && !self.is_stopping() && self.metrics.draining.value() == 0
    }

    /// New connections are not welcome any more.
    pub(crate) fn leaves(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Whether nothing more is taken.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Begins the end, if nobody has; who is named is told when it is over. Never blocks. `false`: it is
    /// over already, and nobody is told.
    pub(crate) fn stop(&self, waiting: Option<(LocalPid, Tag)>) -> bool {
        let mut end = self.end();
        if end.has_ended {
            return false;
        }
        end.waiting.extend(waiting);
        drop(end);
        self.is_stopping.store(true, Ordering::Relaxed);
        self.commands.nudge();
        true
    }

    /// A process that was monitored has ended. Never blocks.
    pub(crate) fn down(&self, pid: LocalPid) {
        if let Some((owner, _)) = self.uplink.detach(pid) {
            self.end().gone.push(owner);
            self.commands.nudge();
        }
        if pid == self.starter {
            self.stop(None);
        }
    }

    /// Who has ended since this was asked.
    pub(crate) fn take_gone(&self) -> Vec<Owner> {
        std::mem::take(&mut self.end().gone)
    }

    /// Everything has been taken down: tells those who wait.
    pub(crate) fn ended(&self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
        let waiting = {
            let mut end = self.end();
            end.has_ended = true;
            std::mem::take(&mut end.waiting)
        };
        for (pid, tag) in waiting {
            tag.answer_ok(pid);
        }
        log::forget(self.starter);
    }

    fn end(&self) -> MutexGuard<'_, End> {
        // It is whole whatever a panic elsewhere has done.
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
