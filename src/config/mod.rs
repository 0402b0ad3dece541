//! From the command line, the environment and the config file to the rooms' own configs.
//!
//! The only reader of arguments and environment. It checks what can be checked without doing
//! anything: no socket is bound and no name is looked up here. Flags override the file, the file
//! overrides the rooms' defaults.

mod args;
mod changes;
mod file;
mod listeners;
mod routes;
mod token;
mod units;
mod websocket;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::dist::{Cookie, NodeName, Peer, Tls};
use crate::doctor::Needs;
use crate::{admin, bridge, dist, edge, node};
use args::{CommandLine, NodeArgs, Verb};
pub use changes::Change;
use file::File;

/// What the program is to do.
#[derive(Debug)]
pub enum Task {
    /// Run the hidden node.
    Node(Box<Settings>),
    /// The config file is right; say so.
    Checked(PathBuf),
    /// Examine the machine.
    Doctor(Needs),
}

/// All that `main` needs to run a node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The rooms' configs.
    pub node: node::Config,
    /// The filter of the log, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log_filter: String,
    /// How the log is written.
    pub log_format: LogFormat,
    /// Whether the node stops when standard input ends.
    pub stop_on_stdin_eof: bool,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people; coloured on a terminal.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Why there is nothing to do, and the exit code that says so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's, or a wish for help: clap's own text.
    #[error("{0}")]
    Usage(#[from] clap::Error),
    /// The file cannot be read.
    #[error("{}: {source}; give --config a file that can be read", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file has an error.
    #[error("{}: {what}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Key, value, accepted form.
        what: String,
    },
    /// A value, from wherever it came, is none.
    #[error("{key}: {what}")]
    Value {
        /// The key or flag.
        key: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// There is no cookie.
    #[error(
        "no cookie: {what}; set LARIAT_COOKIE, or give --cookie-file a file with the text that \
         erl -setcookie has"
    )]
    Cookie {
        /// What was tried.
        what: String,
    },
}

impl Error {
    /// The exit code (sysexits.h: EX_USAGE, EX_CONFIG).
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(error) if !error.use_stderr() => 0,
            Error::Usage(_) => 64,
            _ => 78,
        }
    }
}

/// Reads the command line and all that it names.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Task, Error> {
    match CommandLine::try_parse_from(args)?.verb {
        Verb::Check { file } => {
            let parsed = File::read(&file)?;
            compose(NodeArgs::default(), parsed).map_err(|error| within(&file, error))?;
            Ok(Task::Checked(file))
        }
        Verb::Doctor {
            connections,
            config,
        } => {
            let file = config.as_deref().map(File::read).transpose()?;
            let settings = compose(NodeArgs::default(), file.unwrap_or_default());
            let settings = settings.map_err(|error| match &config {
                Some(path) => within(path, error),
                None => error,
            })?;
            let connections = connections.unwrap_or(settings.node.edge.connections_max);
            positive("--connections", connections)?;
            Ok(Task::Doctor(needs(&settings.node.edge, connections)))
        }
        Verb::Node(args) => {
            let file = args
                .config
                .as_deref()
                .map(File::read)
                .transpose()?
                .unwrap_or_default();
            let path = args.config.clone();
            let cookie_file = args
                .cookie_file
                .clone()
                .or_else(|| file.cookie_file.clone());
            let cookies = file.dist.cookies.clone();
            let mut settings = compose(*args, file).map_err(|error| match &path {
                Some(path) => within(path, error),
                None => error,
            })?;
            settings.node.dist.cookie = read_cookie(cookie_file.as_deref())?;
            for (name, path) in cookies {
                let name = parse::<NodeName>("dist.cookies", &name)?;
                let cookie = read_cookie(Some(&path))?;
                settings.node.dist.cookies.insert(name, cookie);
            }
            Ok(Task::Node(Box::new(settings)))
        }
    }
}

/// What the edge takes with this config when everything that is bounded is at its bound.
fn needs(edge: &edge::Config, connections: usize) -> Needs {
    let heads = edge.heads_max.saturating_mul(edge.head_bytes_max);
    let buffers = edge
        .outbox_total_bytes_max
        .saturating_add(edge.queue_bytes_max.saturating_mul(edge.shards))
        .saturating_add(edge.asks_bytes_max)
        .saturating_add(heads.saturating_mul(edge.listen.len()));
    Needs {
        connections: connections as u64,
        open_files: node::open_files_needed(edge, connections) as u64,
        buffer_bytes: buffers as u64,
    }
}

fn within(path: &Path, error: Error) -> Error {
    match error {
        Error::Value { key, what } => Error::File {
            path: path.to_owned(),
            what: format!("{key}: {what}"),
        },
        other => other,
    }
}

/// Everything but the cookie, which a mere check does not need.
fn compose(args: NodeArgs, file: File) -> Result<Settings, Error> {
    let edge = edge_config(&args, &file)?;
    let admin = admin::Config {
        listen: args
            .admin
            .or(file.admin.listen)
            .unwrap_or(admin::Config::default().listen),
    };
    let log_filter = args
        .log
        .clone()
        .or(file.log.filter.clone())
        .unwrap_or("info".into());
    if let Err(error) = log_filter.parse::<tracing_subscriber::EnvFilter>() {
        return Err(Error::Value {
            key: "log.filter",
            what: format!("{log_filter:?}: {error}"),
        });
    }
    let drain = drain_config(&file)?;
    let log_format = args.log_format.or(file.log.format).unwrap_or_default();
    let stop_on_stdin_eof = args.stop_on_stdin_eof;
    let dist = dist_config(args, file)?;
    let node = node::Config {
        edge,
        bridge: bridge::Config::default(),
        dist,
        admin,
        drain,
    };
    Ok(Settings {
        node,
        log_filter,
        log_format,
        stop_on_stdin_eof,
    })
}

fn edge_config(args: &NodeArgs, file: &File) -> Result<edge::Config, Error> {
    let mut edge = edge::Config::default();
    let http = &file.http;
    if let Some(listeners) = listeners::listeners(args, http)? {
        edge.listen = listeners;
    }
    edge.trusted_proxies = listeners::trusted_proxies(http)?;
    edge.shards = args.shards.or(file.shards).unwrap_or(edge.shards);
    if !(1..=crate::wire::SHARDS_MAX).contains(&edge.shards) {
        let what = format!(
            "{} is not from 1 to {}",
            edge.shards,
            crate::wire::SHARDS_MAX
        );
        return Err(Error::Value {
            key: "shards",
            what,
        });
    }
    edge.demo = args.demo || http.demo.unwrap_or(edge.demo);
    edge.connections_max = positive(
        "http.connections_max",
        http.connections_max.unwrap_or(edge.connections_max),
    )?;
    edge.connections_per_id_max = positive(
        "http.connections_per_id_max",
        http.connections_per_id_max
            .unwrap_or(edge.connections_per_id_max),
    )?;
    edge.connections_per_address_max = http
        .connections_per_address_max
        .unwrap_or(edge.connections_per_address_max);
    edge.accept_rate_max = http.accept_rate_max.unwrap_or(edge.accept_rate_max);
    edge.heads_max = positive("http.heads_max", http.heads_max.unwrap_or(edge.heads_max))?;
    edge.head_bytes_max = http
        .head_bytes_max
        .map_or(edge.head_bytes_max, |size| size.0);
    edge.head_timeout = http.head_timeout.map_or(edge.head_timeout, |span| span.0);
    edge.body_bytes_max = http
        .body_bytes_max
        .map_or(edge.body_bytes_max, |size| size.0);
    edge.bodies_bytes_max = http
        .bodies_bytes_max
        .map_or(edge.bodies_bytes_max, |size| size.0);
    edge.body_timeout = http.body_timeout.map_or(edge.body_timeout, |span| span.0);
    edge.idle_timeout = http.idle_timeout.map_or(edge.idle_timeout, |span| span.0);
    let origins = http.cors_origins.iter().flatten();
    edge.cors = origins
        .map(|text| parse::<edge::Origin>("http.cors_origins", text))
        .collect::<Result<_, _>>()?;
    edge.heartbeat = http.heartbeat.map_or(edge.heartbeat, |span| span.0);
    edge.client_timeout = http
        .client_timeout
        .map_or(edge.client_timeout, |span| span.0);
    edge.poll_timeout = http.poll_timeout.map_or(edge.poll_timeout, |span| span.0);
    edge.poll_linger = http.poll_linger.map_or(edge.poll_linger, |span| span.0);
    edge.retry = http.retry.map_or(edge.retry, |span| span.0);
    edge.drain_spread = http.drain_spread.map_or(edge.drain_spread, |span| span.0);
    edge.queue_bytes_max = http
        .queue_bytes_max
        .map_or(edge.queue_bytes_max, |size| size.0);
    websocket::websocket(&mut edge, &file.websocket)?;
    let outbox = &file.outbox;
    edge.outbox_bytes_max = outbox
        .bytes_max
        .map_or(edge.outbox_bytes_max, |size| size.0);
    edge.outbox_messages_max = positive(
        "outbox.messages_max",
        outbox.messages_max.unwrap_or(edge.outbox_messages_max),
    )?;
    edge.outbox_total_bytes_max = outbox
        .total_bytes_max
        .map_or(edge.outbox_total_bytes_max, |size| size.0);
    if let Some(text) = &outbox.when_full {
        edge.when_full = parse("outbox.when_full", text)?;
    }
    edge.ask_timeout = http.ask_timeout.map_or(edge.ask_timeout, |span| span.0);
    edge.asks_max = positive("http.asks_max", http.asks_max.unwrap_or(edge.asks_max))?;
    edge.asks_bytes_max = http
        .asks_bytes_max
        .map_or(edge.asks_bytes_max, |size| size.0);
    if let Some(routes) = &http.route {
        edge.routes = routes::routes(routes)?;
    }
    edge.tokens = file.token.as_ref().map(token::tokens).transpose()?;
    token::are_there(&edge)?;
    if let Some(publish) = &file.publish {
        let (route, token) = routes::publish(publish)?;
        edge.routes.insert(0, route);
        edge.publish_token = Some(token);
    }
    Ok(edge)
}

fn drain_config(file: &File) -> Result<node::Drain, Error> {
    let default = node::Drain::default();
    let grace = match file.drain_grace {
        Some(span) => span.0.unwrap_or_default(),
        None => default.grace,
    };
    let at_least_one = |rate: u32| positive("drain_rate", rate as usize).map(|_| rate);
    Ok(node::Drain {
        timeout: file.drain_timeout.map_or(default.timeout, |span| span.0),
        grace,
        rate: file.drain_rate.map(at_least_one).transpose()?,
    })
}

fn dist_config(args: NodeArgs, file: File) -> Result<dist::Config, Error> {
    let name = args
        .name
        .or(file.name)
        .unwrap_or_else(|| "lariat@127.0.0.1".into());
    let name = parse::<NodeName>("name", &name)?;
    // A stand-in until the cookie is read; `check` needs none.
    let cookie = Cookie::new("unread").expect("this text is a cookie");
    let mut dist = dist::Config::new(name, cookie);
    let connect = if args.connect.is_empty() {
        file.connect.unwrap_or_default()
    } else {
        args.connect
    };
    dist.connect = connect
        .iter()
        .map(|peer| parse::<Peer>("connect", peer))
        .collect::<Result<_, _>>()?;
    let has_epmd = !args.no_epmd && file.dist.epmd.unwrap_or(true);
    dist.epmd = if has_epmd { Some(epmd_port()?) } else { None };
    if let Some(peer) = dist
        .connect
        .iter()
        .find(|peer| !has_epmd && peer.port.is_none())
    {
        let what = format!(
            "{} needs a port (name@host:port): without EPMD nobody knows it",
            peer.name
        );
        return Err(Error::Value {
            key: "connect",
            what,
        });
    }
    dist.listen = args.dist.or(file.dist.listen).unwrap_or(dist.listen);
    let allow = file.dist.allow.unwrap_or_default();
    dist.allow = allow
        .iter()
        .map(|name| parse::<NodeName>("dist.allow", name))
        .collect::<Result<_, _>>()?;
    if let Some(files) = &file.dist.tls {
        let tls = Tls::load(&files.certificate, &files.key, &files.ca);
        dist.tls = Some(tls.map_err(|error| Error::Value {
            key: "dist.tls",
            what: error.to_string(),
        })?);
    }
    for name in file.dist.cookies.keys() {
        parse::<NodeName>("dist.cookies", name)?;
    }
    dist.handshakes_max = positive(
        "dist.handshakes_max",
        file.dist.handshakes_max.unwrap_or(dist.handshakes_max),
    )?;
    dist.tick_time = file.dist.tick_time.map_or(dist.tick_time, |span| span.0);
    dist.frame_bytes_max = file
        .dist
        .frame_bytes_max
        .map_or(dist.frame_bytes_max, |size| size.0);
    dist.watches_max = positive(
        "dist.watches_max",
        file.dist.watches_max.unwrap_or(dist.watches_max),
    )?;
    dist.handshake_timeout = file
        .dist
        .handshake_timeout
        .map_or(dist.handshake_timeout, |span| span.0);
    Ok(dist)
}

fn parse<T: std::str::FromStr>(key: &'static str, text: &str) -> Result<T, Error>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| Error::Value {
        key,
        what: error.to_string(),
    })
}

fn positive(key: &'static str, number: usize) -> Result<usize, Error> {
    match number {
        0 => Err(Error::Value {
            key,
            what: "0 would allow nothing; accepted from 1".into(),
        }),
        number => Ok(number),
    }
}

fn epmd_port() -> Result<u16, Error> {
    match environment("ERL_EPMD_PORT") {
        None => Ok(4369),
        Some(text) => {
            let what = format!("{text:?} is no port; accepted from 1 to 65535");
            let port = text.parse().ok().filter(|&port| port > 0);
            port.ok_or(Error::Value {
                key: "ERL_EPMD_PORT",
                what,
            })
        }
    }
}

fn read_cookie(file: Option<&Path>) -> Result<Cookie, Error> {
    let wrong = |what: String| Error::Cookie { what };
    if file.is_none()
        && let Some(cookie) = environment("LARIAT_COOKIE")
    {
        return Cookie::new(&cookie).map_err(|error| wrong(format!("LARIAT_COOKIE: {error}")));
    }
    let path = match (file, environment("HOME")) {
        (Some(file), _) => file.to_owned(),
        (None, Some(home)) => Path::new(&home).join(".erlang.cookie"),
        (None, None) => {
            return Err(wrong(
                "there is no HOME to look for .erlang.cookie in".into(),
            ));
        }
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    Cookie::new(&text).map_err(|error| wrong(format!("{}: {error}", path.display())))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
