//! The program: arguments → config → launch → log → runtime → node → signals → exit code.
//!
//! No logic: what could be wrong is said by `config` and `node`.

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use lariat::config::{self, LogFormat, Settings, Task};
use lariat::doctor;
use lariat::launch;
use lariat::node::{self, Node};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

/// The log's filter, which may change.
type LogFilter = tracing_subscriber::reload::Handle<EnvFilter, Registry>;

/// Cannot reach or listen (sysexits.h: EX_UNAVAILABLE).
const EXIT_UNAVAILABLE: u8 = 69;

/// Something of this machine falls short.
const EXIT_SHORT: u8 = 1;

fn main() -> ExitCode {
    match config::read(std::env::args_os()) {
        Ok(Task::Node(settings)) => {
            launch::with_small_caches();
            run(*settings)
        }
        Ok(Task::Checked(path)) => {
            let _ = writeln!(std::io::stdout(), "{}: ok", path.display());
            ExitCode::SUCCESS
        }
        Ok(Task::Doctor(needs)) => {
            let report = doctor::examine(needs);
            let _ = write!(std::io::stdout(), "{report}");
            match report.short() {
                0 => ExitCode::SUCCESS,
                _ => ExitCode::from(EXIT_SHORT),
            }
        }
        Err(config::Error::Usage(error)) => {
            let _ = error.print();
            ExitCode::from(config::Error::Usage(error).exit_code())
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "lariat: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(settings: Settings) -> ExitCode {
    let log = start_log(&settings);
    // Heads, handshakes and the admin side need little; the shards and links have own threads.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(4))
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(serve(settings, &log));
            // A read of standard input may never end: nothing waits for it.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(format!("cannot start the runtime: {error}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            tracing::error!("{what}");
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

async fn serve(mut settings: Settings, log: &LogFilter) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot listen for signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(cannot)?;
    let node = node::start(settings.node.clone())
        .await
        .map_err(|error| error.to_string())?;
    let stdin = stdin_end();
    tokio::pin!(stdin);
    let cause = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            () = &mut stdin, if settings.stop_on_stdin_eof => break "end of standard input",
            _ = hangup.recv() => reload(&mut settings, &node, log),
        }
    };
    tracing::info!(cause, "stopping; a second signal ends at once");
    // A second signal means: now.
    tokio::select! {
        in_time = node.stop() => {
            if in_time {
                tracing::info!("stopped");
            } else {
                tracing::warn!("stopped before Erlang had heard of everything: the drain timeout is over");
            }
        }
        _ = terminate.recv() => tracing::warn!("stopped at once by a second SIGTERM"),
        _ = interrupt.recv() => tracing::warn!("stopped at once by a second SIGINT"),
    }
    Ok(())
}

/// Reads the config again, and takes what may change; what is wrong with it changes nothing.
fn reload(settings: &mut Settings, node: &Node, log: &LogFilter) {
    let kept = "config not reloaded: the one that runs stays";
    let read = match config::read(std::env::args_os()) {
        Ok(Task::Node(read)) => *read,
        Ok(_) => return tracing::error!("{kept}"),
        Err(error) => return tracing::error!("{kept}: {error}"),
    };
    let changes = settings.changes(&read);
    let new = settings.reloaded(&read);
    let certificates = match node.reload(&new.node) {
        Ok(count) => count,
        Err(error) => return tracing::error!("{kept}: {error}"),
    };
    config::say_changes(&changes);
    // Here, so that a filter that hides the lines above still shows itself, and one that shows more
    // shows the line below.
    if new.log_filter != settings.log_filter
        && let Err(error) = log.reload(EnvFilter::new(&new.log_filter))
    {
        tracing::error!(%error, "the log's filter stays");
    }
    let changed = changes.iter().filter(|change| change.is_live).count();
    tracing::info!(changed, certificates, "config reloaded");
    *settings = new;
}

async fn stdin_end() {
    let reading = tokio::task::spawn_blocking(|| {
        let mut ignored = [0; 256];
        while matches!(std::io::stdin().read(&mut ignored), Ok(count) if count > 0) {}
    });
    // A failed read is an end, too.
    let _ = reading.await;
}

fn start_log(settings: &Settings) -> LogFilter {
    let filter = EnvFilter::new(&settings.log_filter);
    let (filter, handle) = tracing_subscriber::reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let log = tracing_subscriber::registry().with(filter);
    match settings.log_format {
        LogFormat::Json => log.with(lines.json()).init(),
        LogFormat::Pretty => {
            let is_terminal = std::io::stderr().is_terminal();
            log.with(lines.with_ansi(is_terminal)).init();
        }
    }
    handle
}
