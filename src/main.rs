//! The program: arguments → config → log → runtime → node → exit code.
//!
//! No logic: what could be wrong is said by `config` and `node`.

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use lariat::config::{self, LogFormat, Settings, Task};
use lariat::node;
use tokio::signal::unix::{SignalKind, signal};

/// Cannot reach or listen (sysexits.h: EX_UNAVAILABLE).
const EXIT_UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    match config::read(std::env::args_os()) {
        Ok(Task::Node(settings)) => run(*settings),
        Ok(Task::Checked(path)) => {
            let _ = writeln!(std::io::stdout(), "{}: ok", path.display());
            ExitCode::SUCCESS
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
    start_log(&settings);
    // Heads, handshakes and the admin side need little; the shards and links have own threads.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(4))
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(serve(settings));
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

async fn serve(settings: Settings) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot listen for signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let node = node::start(settings.node)
        .await
        .map_err(|error| error.to_string())?;
    let cause = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = stdin_end(), if settings.stop_on_stdin_eof => "end of standard input",
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

async fn stdin_end() {
    let reading = tokio::task::spawn_blocking(|| {
        let mut ignored = [0; 256];
        while matches!(std::io::stdin().read(&mut ignored), Ok(count) if count > 0) {}
    });
    // A failed read is an end, too.
    let _ = reading.await;
}

fn start_log(settings: &Settings) {
    let filter = tracing_subscriber::EnvFilter::new(&settings.log_filter);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Json => log.json().init(),
        LogFormat::Pretty => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}
