//! Where HTTP is spoken: from flags and keys to the edge's listeners.
//!
//! `--http` overrides `http.listen`, and neither touches `[[http.listener]]`; the default is for those
//! who name no listener at all.

use std::path::Path;

use super::edge::Flags;
use super::edge_file::{self, Http};
use super::{Error, parse};
use crate::edge::{Address, Listen, Network, Tls, Trust};

/// All listeners; `None` when none is named.
pub(super) fn listeners(flags: &Flags, http: &Http) -> Result<Option<Vec<Listen>>, Error> {
    let plain = match (&flags.http, &http.listen) {
        (typed, _) if !typed.is_empty() => Some(("--http", typed)),
        (_, listed) => listed.as_ref().map(|listed| ("http.listen", listed)),
    };
    let mut listeners = Vec::new();
    if let Some((key, texts)) = plain {
        for text in texts {
            listeners.push(parse::<Address>(key, text)?.into());
        }
    }
    let listed = http.listener.as_deref();
    for listener in listed.unwrap_or_default() {
        listeners.push(listen(listener)?);
    }
    if let (Some(certificate), Some(key)) = (&flags.certificate, &flags.key) {
        let tls = load("--certificate", certificate, key)?;
        for text in &flags.https {
            listeners.push(Listen {
                tls: Some(tls.clone()),
                ..parse::<Address>("--https", text)?.into()
            });
        }
    }
    let is_named = !listeners.is_empty() || plain.is_some();
    let proxied = |listen: &Listen| listen.proxy_protocol && listen.address.is_tcp();
    let nobody = http.trusted_proxies.as_deref().unwrap_or_default();
    if nobody.is_empty() && listeners.iter().any(proxied) {
        return Err(Error::Value {
            key: "http.trusted_proxies",
            what: "a listener with proxy_protocol needs the addresses of its proxies; accepted: \
                   [\"10.0.0.0/8\"]"
                .into(),
        });
    }
    Ok(is_named.then_some(listeners))
}

/// The proxies whose word is taken.
pub(super) fn trusted_proxies(http: &Http) -> Result<Trust, Error> {
    let texts = http.trusted_proxies.iter().flatten();
    texts
        .map(|text| parse::<Network>("http.trusted_proxies", text))
        .collect()
}

fn listen(listener: &edge_file::Listener) -> Result<Listen, Error> {
    let address = parse::<Address>("http.listener.address", &listener.address)?;
    let tls = match (&listener.certificate, &listener.key) {
        (Some(certificate), Some(key)) => {
            Some(load("http.listener.certificate", certificate, key)?)
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(Error::Value {
                key: "http.listener",
                what: "certificate and key go together: give both, or neither".into(),
            });
        }
    };
    let default = Listen::from(address);
    let mode = listener.unix_mode.as_deref();
    Ok(Listen {
        proxy_protocol: listener.proxy_protocol,
        tls,
        unix_mode: mode.map_or(Ok(default.unix_mode), unix_mode)?,
        ..default
    })
}

fn load(named: &'static str, certificate: &Path, key: &Path) -> Result<Tls, Error> {
    Tls::load(certificate, key).map_err(|error| Error::Value {
        key: named,
        what: error.to_string(),
    })
}

/// Octal digits, as `chmod` takes them.
fn unix_mode(text: &str) -> Result<u32, Error> {
    let mode = u32::from_str_radix(text, 8).ok();
    let mode = mode.filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| Error::Value {
        key: "http.listener.unix_mode",
        what: format!("{text:?} is no mode; accepted: \"660\""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(typed: &[&str], text: &str) -> Result<Option<Vec<String>>, Error> {
        let flags = Flags {
            http: typed.iter().map(|flag| (*flag).to_owned()).collect(),
            ..Flags::default()
        };
        let http: Http = toml::from_str(text).unwrap();
        let found = listeners(&flags, &http)?;
        let name = |listen: Listen| listen.address.to_string();
        Ok(found.map(|found| found.into_iter().map(name).collect()))
    }

    #[test]
    fn flags_override_the_short_list_alone() {
        let text = "listen = [\"127.0.0.1:1\"]\n[[listener]]\naddress = \"unix:/a\"\n";
        assert_eq!(
            read(&[], text).unwrap().unwrap(),
            ["127.0.0.1:1", "unix:/a"]
        );
        assert_eq!(
            read(&["127.0.0.1:2"], text).unwrap().unwrap(),
            ["127.0.0.1:2", "unix:/a"]
        );
        assert_eq!(read(&[], "").unwrap(), None);
    }

    #[test]
    fn proxy_protocol_needs_somebody_to_trust() {
        let text = "[[listener]]\naddress = \"127.0.0.1:1\"\nproxy_protocol = true\n";
        let error = read(&[], text).unwrap_err().to_string();
        assert!(error.contains("http.trusted_proxies"), "{error}");
        let trusting = format!("trusted_proxies = [\"10.0.0.0/8\"]\n{text}");
        assert!(read(&[], &trusting).is_ok());
    }
}
