//! The config file of the node: TOML, every key optional, every unknown key an error.
//!
//! Only the file's shape is here; the edge's part of it has a file of its own (`edge_file`). Where a
//! key is absent the room's own default stands.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::edge_file::{EdgeFile, Http, Outbox, Publish, Token, Websocket, read_text};
use super::units::{Size, Span, SpanOrOff};
use super::{Error, LogFormat};

/// The whole file. The edge's keys stand beside the others: an unknown key must be found in either.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) name: Option<String>,
    pub(super) cookie_file: Option<PathBuf>,
    pub(super) connect: Option<Vec<String>>,
    shards: Option<usize>,
    drain_timeout: Option<Span>,
    drain_grace: Option<SpanOrOff>,
    drain_rate: Option<u32>,
    #[serde(default)]
    http: Http,
    token: Option<Token>,
    #[serde(default)]
    outbox: Outbox,
    publish: Option<Publish>,
    #[serde(default)]
    websocket: Websocket,
    #[serde(default)]
    pub(super) dist: Dist,
    #[serde(default)]
    pub(super) admin: Admin,
    #[serde(default)]
    pub(super) log: Log,
}

/// `[dist]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dist {
    pub(super) listen: Option<SocketAddr>,
    pub(super) epmd: Option<bool>,
    pub(super) allow: Option<Vec<String>>,
    #[serde(default)]
    pub(super) cookies: BTreeMap<String, PathBuf>,
    pub(super) handshakes_max: Option<usize>,
    pub(super) tls: Option<Tls>,
    pub(super) tick_time: Option<Span>,
    pub(super) frame_bytes_max: Option<Size>,
    pub(super) watches_max: Option<usize>,
    pub(super) handshake_timeout: Option<Span>,
}

/// `[dist.tls]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) ca: PathBuf,
}

/// `[admin]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) listen: Option<SocketAddr>,
}

/// `[log]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) filter: Option<String>,
    pub(super) format: Option<LogFormat>,
}

impl File {
    /// Reads a file; an error names the file, the key, the value and what is accepted.
    pub(super) fn read(path: &Path) -> Result<File, Error> {
        read_text(path)
    }

    /// Takes the edge's part out.
    pub(super) fn take_edge(&mut self) -> EdgeFile {
        EdgeFile {
            shards: self.shards.take(),
            drain_timeout: self.drain_timeout.take(),
            drain_grace: self.drain_grace.take(),
            drain_rate: self.drain_rate.take(),
            http: std::mem::take(&mut self.http),
            token: self.token.take(),
            outbox: std::mem::take(&mut self.outbox),
            publish: self.publish.take(),
            websocket: std::mem::take(&mut self.websocket),
        }
    }
}
