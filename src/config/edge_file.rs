//! The edge's part of the config file: TOML, every key optional, every unknown key an error.
//!
//! Only its shape is here, and how text or a table is read into a shape. Where a key is absent the
//! edge's own default stands.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};

use super::Error;
use super::units::{Size, Span, SpanOrOff};

/// All that the edge is told.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EdgeFile {
    pub(super) shards: Option<usize>,
    pub(super) drain_timeout: Option<Span>,
    pub(super) drain_grace: Option<SpanOrOff>,
    pub(super) drain_rate: Option<u32>,
    #[serde(default)]
    pub(super) http: Http,
    pub(super) token: Option<Token>,
    #[serde(default)]
    pub(super) outbox: Outbox,
    pub(super) publish: Option<Publish>,
    #[serde(default)]
    pub(super) websocket: Websocket,
}

/// `[http]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: Option<Vec<String>>,
    pub(super) demo: Option<bool>,
    pub(super) connections_max: Option<usize>,
    pub(super) connections_per_id_max: Option<usize>,
    pub(super) listener: Option<Vec<Listener>>,
    pub(super) route: Option<Vec<Route>>,
    pub(super) trusted_proxies: Option<Vec<String>>,
    pub(super) connections_per_address_max: Option<usize>,
    pub(super) accept_rate_max: Option<u32>,
    pub(super) heads_max: Option<usize>,
    pub(super) head_bytes_max: Option<Size>,
    pub(super) head_timeout: Option<Span>,
    pub(super) body_bytes_max: Option<Size>,
    pub(super) bodies_bytes_max: Option<Size>,
    pub(super) body_timeout: Option<Span>,
    pub(super) idle_timeout: Option<Span>,
    pub(super) cors_origins: Option<Vec<String>>,
    pub(super) heartbeat: Option<SpanOrOff>,
    pub(super) client_timeout: Option<SpanOrOff>,
    pub(super) poll_timeout: Option<Span>,
    pub(super) poll_linger: Option<Span>,
    pub(super) retry: Option<Span>,
    pub(super) drain_spread: Option<Span>,
    pub(super) queue_bytes_max: Option<Size>,
    pub(super) ask_timeout: Option<Span>,
    pub(super) asks_max: Option<usize>,
    pub(super) asks_bytes_max: Option<Size>,
}

/// `[[http.listener]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub(super) address: String,
    #[serde(default)]
    pub(super) proxy_protocol: bool,
    pub(super) unix_mode: Option<String>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// `[[http.route]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    pub(super) path: String,
    pub(super) kind: Option<String>,
    pub(super) access: Option<String>,
    pub(super) handler: Option<String>,
    pub(super) when_full: Option<String>,
    pub(super) protocols: Option<Vec<String>>,
}

/// `[token]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    pub(super) key_file: Option<PathBuf>,
    pub(super) jwks_file: Option<PathBuf>,
    pub(super) algorithms: Option<Vec<String>>,
    pub(super) audience: Option<Vec<String>>,
    pub(super) issuer: Option<Vec<String>>,
    pub(super) leeway: Option<SpanOrOff>,
    pub(super) id_claim: Option<String>,
    pub(super) requires_expiry: Option<bool>,
}

/// `[publish]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Publish {
    pub(super) path: Option<String>,
    pub(super) token_file: PathBuf,
}

/// `[outbox]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outbox {
    pub(super) bytes_max: Option<Size>,
    pub(super) messages_max: Option<usize>,
    pub(super) total_bytes_max: Option<Size>,
    pub(super) when_full: Option<String>,
}

/// `[websocket]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Websocket {
    pub(super) message_bytes_max: Option<Size>,
    pub(super) message_frames_max: Option<u32>,
    pub(super) unfinished_bytes_max: Option<Size>,
    pub(super) untold_bytes_max: Option<Size>,
    pub(super) untold_total_bytes_max: Option<Size>,
    pub(super) deflate: Option<bool>,
}

/// Reads a file of this shape; an error names the file, the key, the value and what is accepted.
pub(super) fn read_text<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse_text(&text).map_err(|what| Error::File {
        path: path.to_owned(),
        what,
    })
}

pub(super) fn parse_text<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let parsed = toml::Deserializer::parse(text).map_err(|error| at(text, &error))?;
    shaped(parsed, |error| at(text, error))
}

/// Reads a table of this shape; it has no lines to name.
pub(super) fn parse_table<T: DeserializeOwned>(table: toml::Table) -> Result<T, String> {
    shaped(table, |error| at("", error))
}

fn shaped<'de, T, D>(from: D, say: impl Fn(&D::Error) -> String) -> Result<T, String>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    serde_path_to_error::deserialize(from).map_err(|error| {
        let key = error.path().to_string();
        format!("{key}: {}", say(error.inner()))
    })
}

fn at(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().trim_end().replace('\n', "; ");
    match error.span() {
        Some(span) => {
            let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
            format!("{message} (line {line})")
        }
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn keys_are_read() {
        let file =
            parse_text::<EdgeFile>("shards = 2\n[http]\nheartbeat = \"off\"\nretry = \"5s\"\n")
                .unwrap();
        assert_eq!(file.shards, Some(2));
        assert_eq!(file.http.heartbeat, Some(SpanOrOff(None)));
        assert_eq!(file.http.retry, Some(Span(Duration::from_secs(5))));
    }

    #[test]
    fn an_error_names_key_value_accepted_form_and_line() {
        let error = parse_text::<EdgeFile>("\n[http]\nhead_bytes_max = \"8 XB\"\n").unwrap_err();
        for part in ["http.head_bytes_max", "8 XB", "8 KiB", "line 3"] {
            assert!(error.contains(part), "{error}");
        }
        let error = parse_text::<EdgeFile>("[http]\nlissten = 1\n").unwrap_err();
        for part in ["lissten", "listen"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
