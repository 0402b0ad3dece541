//! What an edge is started with, `#{name := Name, config => Map | File, epoch => Number}`, and what it is told
//! later: a config read again, options of a drain.
//!
//! The keys of the config are the library's, and so are its words for what is wrong with them.

use std::path::PathBuf;
use std::time::Duration;

use lariat::config::{edge_from_file, edge_from_table, table_from_term};
use lariat::{edge, term};
use rustler::types::map::MapIterator;
use rustler::{Atom, Term};

use crate::hot;

rustler::atoms! { name, config, epoch, timeout, grace, rate }

pub(crate) struct Start {
    pub(crate) name: String,
    pub(crate) edge: edge::Config,
    /// The first epoch is above this, if it is said.
    pub(crate) epoch: Option<u64>,
}

/// Reads it; the name as an atom, too.
pub(crate) fn start(given: Term<'_>) -> Result<(Start, Atom), String> {
    let field = |key: Atom| given.map_get(key).ok();
    let atom = field(name()).and_then(|name| Some((Atom::from_term(name).ok()?, text_of(name)?)));
    let Some((atom, name)) = atom else {
        return Err("start it with a map that has the atom that it is called by as `name`".into());
    };
    let epoch = match field(epoch()) {
        Some(epoch) => Some(
            epoch
                .decode()
                .map_err(|_| "epoch: not a number".to_owned())?,
        ),
        None => None,
    };
    let edge = field(config()).map_or_else(|| Ok(edge::Config::default()), edge_config)?;
    Ok((Start { name, edge, epoch }, atom))
}

/// The text of an atom.
fn text_of(atom: Term<'_>) -> Option<String> {
    let bytes = hot::frame(atom);
    let term = term::Term::whole(&bytes).ok()?;
    term.atom().map(str::to_owned)
}

/// `config` alone.
pub(crate) fn edge_config(given: Term<'_>) -> Result<edge::Config, String> {
    let read = if given.is_map() {
        let bytes = hot::frame(given);
        let map = term::Term::whole(&bytes).map_err(|refused| format!("config: {refused}"))?;
        table_from_term(map).and_then(edge_from_table)
    } else {
        edge_from_file(&path(given)?)
    };
    read.map_err(|error| error.to_string())
}

/// `#{timeout => Ms, grace => Ms, rate => PerSecond}`, in place of what the config says.
pub(crate) fn drain(options: Term<'_>, mut drain: edge::Drain) -> Option<edge::Drain> {
    for (key, value) in MapIterator::new(options)? {
        let key: Atom = key.decode().ok()?;
        let number: u32 = value.decode().ok()?;
        let time = Duration::from_millis(number.into());
        if key == timeout() {
            drain.timeout = time;
        } else if key == grace() {
            drain.grace = time;
        } else if key == rate() && number > 0 {
            drain.rate = Some(number);
        } else {
            return None;
        }
    }
    Some(drain)
}

/// As Erlang names files: a binary, or a list of characters.
fn path(given: Term<'_>) -> Result<PathBuf, String> {
    let text = given.decode::<String>();
    let text = text.or_else(|_| {
        let characters = given.decode::<Vec<u32>>()?;
        let characters = characters.into_iter().map(char::from_u32);
        characters
            .collect::<Option<String>>()
            .ok_or(rustler::Error::BadArg)
    });
    text.map(PathBuf::from)
        .map_err(|_| "config: neither a map nor the name of a file".to_owned())
}
