//! The routes of the config file.
//!
//! What a path, a kind or an access is, and what of it fits together, the edge says itself.

use std::sync::Arc;

use super::edge_file;
use super::{Error, parse};
use crate::edge::{PublishToken, Route};
use crate::wire::Kind;

/// The routes, in their order.
pub(super) fn routes(written: &[edge_file::Route]) -> Result<Vec<Arc<Route>>, Error> {
    written
        .iter()
        .map(|route| read(route).map(Arc::new))
        .collect()
}

fn read(written: &edge_file::Route) -> Result<Route, Error> {
    let mut route = Route::new(parse("http.route.path", &written.path)?);
    if let Some(text) = &written.kind {
        route.kind = parse("http.route.kind", text)?;
    }
    if let Some(text) = &written.access {
        route.access = parse("http.route.access", text)?;
    }
    if let Some(text) = &written.handler {
        route.handler = Some(parse("http.route.handler", text)?);
    }
    if let Some(text) = &written.when_full {
        route.when_full = Some(parse("http.route.when_full", text)?);
    }
    route.protocols = written.protocols.clone().unwrap_or_default();
    route.check().map_err(|(key, what)| Error::Value {
        key,
        what: format!("{what} (path {:?})", written.path),
    })?;
    Ok(route)
}

/// The route that programs publish on, which goes before the others, and what they have to know.
pub(super) fn publish(written: &edge_file::Publish) -> Result<(Arc<Route>, PublishToken), Error> {
    let path = written.path.as_deref().unwrap_or("/publish");
    let mut route = Route::new(parse("publish.path", path)?);
    route.kind = Kind::Publish;
    route.handler = Some(parse("publish", "lariat_publish")?);
    let file = &written.token_file;
    let text = std::fs::read_to_string(file).map_err(|error| Error::Value {
        key: "publish.token_file",
        what: format!("{}: {error}; give a file that can be read", file.display()),
    })?;
    let token = text.parse().map_err(|what| Error::Value {
        key: "publish.token_file",
        what: format!("{}: {what}", file.display()),
    })?;
    Ok((Arc::new(route), token))
}

#[cfg(test)]
mod tests {
    use super::super::edge_file::EdgeFile;
    use super::*;

    fn read_all(text: &str) -> Result<Vec<Arc<Route>>, Error> {
        let file: EdgeFile = toml::from_str(text).expect("it is TOML of this shape");
        routes(&file.http.route.expect("there are routes"))
    }

    #[test]
    fn an_error_names_the_key_and_the_route() {
        for (rest, key) in [
            ("path = \"/x\"", "http.route.path"),
            ("path = \"/x/{id\"", "http.route.path"),
            ("path = \"/x/{id}\"\nkind = \"strem\"", "http.route.kind"),
            (
                "path = \"/x/{id}\"\naccess = \"closed\"",
                "http.route.access",
            ),
            (
                "path = \"/x/{id}\"\nhandler = \"a b\"",
                "http.route.handler",
            ),
            (
                "path = \"/x/{id}\"\nwhen_full = \"?\"",
                "http.route.when_full",
            ),
            (
                "path = \"/x/{id}\"\nprotocols = [\"chat\"]",
                "http.route.protocols",
            ),
            (
                "path = \"/x/{id}\"\nkind = \"websocket\"\nprotocols = [\"a b\"]",
                "http.route.protocols",
            ),
        ] {
            let error = read_all(&format!("[[http.route]]\n{rest}\n")).unwrap_err();
            assert!(error.to_string().starts_with(key), "{error}");
        }
        let routes = read_all("[[http.route]]\npath = \"/x/{id}\"\nhandler = \"chat\"\n").unwrap();
        assert_eq!(routes[0].handler, Some("chat".parse().unwrap()));
    }
}
