//! The lines of the log, as messages to one who has started an edge: `{lariat_log, Level, Text}`.
//!
//! The library logs by `tracing`, from any thread, schedulers among them. A thread of its own passes the lines
//! on. So many may wait, and so many go in a second; what is more is counted, and said. Lines are for
//! people: whoever wants numbers has the metrics.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use lariat::term::Writer;
use rustler::LocalPid;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::commands::standalone;
use crate::uplink::send;

/// Lines that wait.
const WAITING_MAX: usize = 1000;

/// Lines in a second: more than anybody reads.
const PER_SECOND_MAX: usize = 100;

/// The longest line.
const BYTES_MAX: usize = 4096;

struct Line {
    level: Level,
    text: String,
}

struct Log {
    lines: SyncSender<Line>,
    dropped: AtomicU64,
    /// Who may be told; the last is.
    told: Mutex<Vec<LocalPid>>,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Begins to listen; once for the life of the library.
pub(crate) fn start() {
    LOG.get_or_init(|| {
        let (lines, receiver) = mpsc::sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("lariat-log".into());
        // Without the thread there is no log; edges work.
        if thread.spawn(move || pass_on(&receiver)).is_ok() {
            let _ = tracing::subscriber::set_global_default(Listener);
        }
        Log {
            lines,
            dropped: AtomicU64::new(0),
            told: Mutex::default(),
        }
    });
}

/// Lines go to this process from now on.
pub(crate) fn tell(pid: LocalPid) {
    if let Some(log) = LOG.get() {
        log.told().push(pid);
    }
}

/// It has no edge any more; another one gets the lines.
pub(crate) fn forget(pid: LocalPid) {
    if let Some(log) = LOG.get() {
        let mut told = log.told();
        if let Some(at) = told.iter().rposition(|known| *known == pid) {
            told.remove(at);
        }
    }
}

impl Log {
    fn told(&self) -> MutexGuard<'_, Vec<LocalPid>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pass_on(lines: &Receiver<Line>) {
    let mut second = Instant::now();
    let mut passed = 0;
    for line in lines {
        let Some(log) = LOG.get() else { continue };
        if second.elapsed() >= Duration::from_secs(1) {
            second = Instant::now();
            passed = 0;
            let dropped = log.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                pass(
                    log,
                    Level::WARN,
                    &format!("{dropped} lines of the log were dropped"),
                );
            }
        }
        if passed < PER_SECOND_MAX {
            passed += 1;
            pass(log, line.level, &line.text);
        } else {
            log.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn pass(log: &Log, level: Level, text: &str) {
    let told = log.told().last().copied();
    if let Some(pid) = told {
        let write = |w: &mut Writer| {
            w.tuple(3)
                .atom("lariat_log")
                .atom(word(level))
                .binary(text.as_bytes());
        };
        send(pid, &standalone(write));
    }
}

/// As Erlang's logger calls it.
fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        _ => "info",
    }
}

/// Hears what the library logs.
struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= Level::INFO
            && metadata.target().starts_with("lariat")
    }

    fn event(&self, event: &Event<'_>) {
        let Some(log) = LOG.get() else { return };
        let mut text = Text::default();
        event.record(&mut text);
        let Text { message, fields } = text;
        let mut text = message + &fields;
        text.truncate(text.floor_char_boundary(BYTES_MAX));
        let level = *event.metadata().level();
        if log.lines.try_send(Line { level, text }).is_err() {
            log.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The message, then its fields as `key=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
        written.expect("a string takes what is written");
    }
}
