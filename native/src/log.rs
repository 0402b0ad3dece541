//! The lines of the log, as messages to who has started the edge: `{lariat_log, Level, Text}`.
//!
//! The library logs by `tracing`, from any thread. Whose line it is says the thread: those of an edge are
//! its own (shards, pump, workers, commands), and have its [`Dispatch`]; so has who starts it or gives it another
//! config, meanwhile. What any other thread says, a scheduler above all, is told to who has started an edge last. One
//! thread passes the lines on. So many may wait, and of each edge so many go in a second; what is more
//! is counted, and said. Lines are for people: whoever wants numbers has the metrics.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use lariat::term::Writer;
use rustler::LocalPid;
use tracing::dispatcher::{self, DefaultGuard};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

use crate::commands::standalone;
use crate::uplink::send;

/// Lines that wait.
const WAITING_MAX: usize = 1000;

/// Lines of an edge in a second: more than anybody reads.
const PER_SECOND_MAX: usize = 100;

/// The longest line.
const BYTES_MAX: usize = 4096;

struct Line {
    from: Arc<Source>,
    level: Level,
    text: String,
}

/// An edge as the log knows it, or all else.
struct Source {
    /// Who is told; `None`: who has started an edge last.
    to: Option<LocalPid>,
    dropped: AtomicU64,
    second: Mutex<Second>,
}

/// The lines that have gone since it began.
struct Second {
    begun: Instant,
    passed: usize,
}

struct Log {
    lines: SyncSender<Line>,
    /// Who has started an edge that runs.
    starters: Mutex<Vec<LocalPid>>,
}

static LOG: OnceLock<Log> = OnceLock::new();

thread_local! {
    /// As long as a thread of an edge lives.
    static KEPT: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// Begins to listen; once for the life of the library.
pub(crate) fn start() {
    LOG.get_or_init(|| {
        let (lines, receiver) = mpsc::sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("lariat-log".into());
        // Without the thread there is no log; edges work.
        if thread.spawn(move || pass_on(&receiver)).is_ok() {
            let _ = dispatcher::set_global_default(listening(None));
        }
        Log {
            lines,
            starters: Mutex::default(),
        }
    });
}

/// The log of an edge that this process starts.
pub(crate) fn of(starter: LocalPid) -> Dispatch {
    listening(Some(starter))
}

/// What this thread says from now on is of the edge with this log.
pub(crate) fn keep(log: &Dispatch) {
    KEPT.set(Some(dispatcher::set_default(log)));
}

/// This process has one more edge that runs.
pub(crate) fn tell(pid: LocalPid) {
    if let Some(log) = LOG.get() {
        log.starters().push(pid);
    }
}

/// It has one less.
pub(crate) fn forget(pid: LocalPid) {
    if let Some(log) = LOG.get() {
        let mut starters = log.starters();
        if let Some(at) = starters.iter().rposition(|known| *known == pid) {
            starters.remove(at);
        }
    }
}

fn listening(to: Option<LocalPid>) -> Dispatch {
    Dispatch::new(Listener(Arc::new(Source {
        to,
        dropped: AtomicU64::new(0),
        second: Mutex::new(Second::begin()),
    })))
}

impl Log {
    fn starters(&self) -> MutexGuard<'_, Vec<LocalPid>> {
        let starters = self.starters.lock();
        starters.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Second {
    fn begin() -> Second {
        Second {
            begun: Instant::now(),
            passed: 0,
        }
    }
}

impl Source {
    fn pass_on(&self, level: Level, text: &str) {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.begun.elapsed() >= Duration::from_secs(1) {
            *second = Second::begin();
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                let text = format!("{dropped} lines of the log were dropped");
                self.pass(Level::WARN, &text);
            }
        }
        if second.passed < PER_SECOND_MAX {
            second.passed += 1;
            self.pass(level, text);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn pass(&self, level: Level, text: &str) {
        let last = || LOG.get().and_then(|log| log.starters().last().copied());
        if let Some(pid) = self.to.or_else(last) {
            let write = |w: &mut Writer| {
                w.tuple(3)
                    .atom("lariat_log")
                    .atom(word(level))
                    .binary(text.as_bytes());
            };
            send(pid, &standalone(write));
        }
    }
}

fn pass_on(lines: &Receiver<Line>) {
    for Line { from, level, text } in lines {
        from.pass_on(level, &text);
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
struct Listener(Arc<Source>);

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
        let from = Arc::clone(&self.0);
        if log.lines.try_send(Line { from, level, text }).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
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
