//! The command line: its grammar and its help.
//!
//! What a flag means is said once, here; what it becomes is `config`'s affair.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::LogFormat;
use super::edge::Flags;

/// What was typed.
#[derive(Debug, Parser)]
#[command(
    name = "lariat",
    version,
    about = "Holds HTTP connections for Erlang and Elixir systems, as a hidden Erlang node",
    after_help = "Exit codes: 0 ok, 1 the doctor found something, 64 wrong usage, 69 cannot reach or listen, 78 wrong config.",
    arg_required_else_help = true
)]
pub(super) struct CommandLine {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the hidden node: hold HTTP connections, deliver what Erlang sends
    #[command(after_long_help = NODE_EXAMPLES)]
    Node(Box<NodeArgs>),
    /// Say whether a config file is right, without running anything
    Check {
        /// The config file (TOML)
        file: PathBuf,
    },
    /// Say which limits of this machine fall short for so many connections, and what mends each
    #[command(after_help = DOCTOR_HELP)]
    Doctor {
        /// How many [default: http.connections_max of the config]
        #[arg(long, value_name = "N")]
        connections: Option<usize>,
        /// Config file (TOML) whose limits of listeners, outboxes and queues count, too
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

const DOCTOR_HELP: &str = "\
It reads and changes nothing. Run it as the user, and in the unit or container, that the node will
have. Each line is ok, a note, or SHORT with what mends it.
Exit codes: 0 nothing falls short, 1 something does.";

const NODE_EXAMPLES: &str = "\
First steps:
  erl -name app@127.0.0.1 -setcookie secret
  LARIAT_COOKIE=secret lariat node --connect app@127.0.0.1
  curl -N http://127.0.0.1:8000/stream/123
  and in the Erlang shell:  {any, 'lariat@127.0.0.1'} ! {123, <<\"Hello\">>}.

Every flag overrides its key in the config file. `lariat check FILE` validates one.";

#[derive(Debug, Default, Args)]
pub(super) struct NodeArgs {
    /// Config file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Name of this node, as Erlang writes it [default: lariat@127.0.0.1]
    #[arg(long, value_name = "NAME@HOST")]
    pub(super) name: Option<String>,
    /// File with the cookie [default: the environment variable LARIAT_COOKIE, else
    /// ~/.erlang.cookie]
    #[arg(long, value_name = "FILE")]
    pub(super) cookie_file: Option<PathBuf>,
    /// Erlang node to connect to, and to reconnect to when lost; repeatable. With --no-epmd give
    /// its port: NAME@HOST:PORT
    #[arg(long, value_name = "NAME@HOST")]
    pub(super) connect: Vec<String>,
    /// Where HTTP is spoken; port 0 picks one and says which; unix:/path is a Unix socket; repeatable
    /// [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) http: Vec<String>,
    /// Where HTTPS is spoken, with --certificate and --key; repeatable
    #[arg(long, value_name = "ADDRESS:PORT", requires_all = ["certificate", "key"])]
    pub(super) https: Vec<String>,
    /// The certificate of --https and those between it and its authority (PEM)
    #[arg(long, value_name = "FILE", requires = "https")]
    pub(super) certificate: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "https")]
    pub(super) key: Option<PathBuf>,
    /// Where /healthz, /readyz and /metrics are [default: 127.0.0.1:8001]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) admin: Option<SocketAddr>,
    /// Where Erlang nodes connect [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) dist: Option<SocketAddr>,
    /// Do not register with EPMD and do not ask it (its port else: ERL_EPMD_PORT or 4369); give
    /// --dist a fixed port then
    #[arg(long)]
    pub(super) no_epmd: bool,
    /// Threads that hold connections [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(super) shards: Option<usize>,
    /// Serve the demo page at / (it tells everybody who is connected: not for production)
    #[arg(long)]
    pub(super) demo: bool,
    /// What is logged: error, warn, info, debug, trace, or a filter such as lariat::dist=debug
    /// [default: info]
    #[arg(long, value_name = "FILTER")]
    pub(super) log: Option<String>,
    /// How it is logged [default: pretty]
    #[arg(long, value_enum)]
    pub(super) log_format: Option<LogFormat>,
    /// Stop when standard input ends: for a parent process that must not outlive us
    #[arg(long)]
    pub(super) stop_on_stdin_eof: bool,
}

impl NodeArgs {
    /// Takes what concerns the edge out.
    pub(super) fn take_edge(&mut self) -> Flags {
        Flags {
            http: std::mem::take(&mut self.http),
            https: std::mem::take(&mut self.https),
            certificate: self.certificate.take(),
            key: self.key.take(),
            shards: self.shards.take(),
            demo: self.demo,
        }
    }
}
