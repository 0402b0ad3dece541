//! The config of the hidden node: what is to be done, and with which settings.
//!
//! What the edge is told is composed beside it (`edge`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;

use super::args::{CommandLine, NodeArgs, Verb};
use super::edge::edge_config;
use super::file::File;
use super::{Error, parse, positive, within};
use crate::dist::{Cookie, NodeName, Peer, Tls};
use crate::doctor::Needs;
use crate::{admin, bridge, dist, edge, node};

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
        open_files: edge.open_files_needed(connections) as u64,
        buffer_bytes: buffers as u64,
    }
}

/// Everything but the cookie, which a mere check does not need.
pub(super) fn compose(mut args: NodeArgs, mut file: File) -> Result<Settings, Error> {
    let edge = edge_config(&args.take_edge(), &file.take_edge())?;
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
    let log_format = args.log_format.or(file.log.format).unwrap_or_default();
    let stop_on_stdin_eof = args.stop_on_stdin_eof;
    let dist = dist_config(args, file)?;
    let node = node::Config {
        edge,
        bridge: bridge::Config::default(),
        dist,
        admin,
    };
    Ok(Settings {
        node,
        log_filter,
        log_format,
        stop_on_stdin_eof,
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
