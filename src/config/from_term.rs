//! A table of keys as an Erlang map, for edges that are started by a term.
//!
//! Shapes only: what keys there are, and what is wrong with their values, is said where the table is read.
//! Keys and texts may be atoms, binaries or lists of characters.

use toml::{Table, Value};

use super::Error;
use crate::term::{Elements, Kind, Term};

/// The table that a map is.
///
/// # Errors
/// When it is none, or has a value that no config has: a tuple, a float, a pid.
pub fn table_from_term(term: Term<'_>) -> Result<Table, Error> {
    match term.kind() {
        Kind::Map(pairs) => table(pairs, ""),
        _ => Err(wrong("config", "a map is expected")),
    }
}

fn table(mut pairs: Elements<'_>, path: &str) -> Result<Table, Error> {
    let mut table = Table::new();
    while let (Some(key), Some(given)) = (pairs.next(), pairs.next()) {
        let Some(key) = text(key) else {
            return Err(wrong(path, "a key is an atom, a binary or a string"));
        };
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let value = value(given, &path)?;
        if table.insert(key, value).is_some() {
            return Err(wrong(&path, "it is there twice, as an atom and as a text"));
        }
    }
    Ok(table)
}

fn value(given: Term<'_>, path: &str) -> Result<Value, Error> {
    if let Some(truth) = given.atom().and_then(|word| word.parse().ok()) {
        return Ok(Value::Boolean(truth));
    }
    if let Some(text) = text(given) {
        return Ok(Value::String(text));
    }
    match given.kind() {
        Kind::Int(int) => Ok(Value::Integer(int)),
        Kind::Nil => Ok(Value::Array(Vec::new())),
        Kind::List(list) if list.is_proper() => {
            let each = list.elements().map(|element| value(element, path));
            Ok(Value::Array(each.collect::<Result<_, _>>()?))
        }
        Kind::Map(pairs) => Ok(Value::Table(table(pairs, path)?)),
        _ => Err(wrong(
            path,
            "an integer, a text, true, false, a list or a map is expected",
        )),
    }
}

fn text(term: Term<'_>) -> Option<String> {
    let bytes = match term.kind() {
        Kind::Atom(name) => return Some(name.0.to_owned()),
        Kind::Binary(bytes) => bytes,
        // A string of Latin-1; one of other characters comes as a list of integers, which no config has.
        Kind::Bytes(bytes) => return Some(bytes.iter().copied().map(char::from).collect()),
        _ => return None,
    };
    Some(std::str::from_utf8(bytes).ok()?.to_owned())
}

fn wrong(path: &str, what: &str) -> Error {
    let path = if path.is_empty() { "config" } else { path };
    let what = format!("{path}: {what}");
    Error::Table { what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::Writer;

    fn read(write: impl FnOnce(&mut Writer)) -> Result<Table, String> {
        let mut writer = Writer::new();
        write(&mut writer);
        let bytes = writer.into_bytes();
        let term = Term::whole(&bytes).expect("it is a term");
        table_from_term(term).map_err(|error| error.to_string())
    }

    /// Ends a chain of the writer's.
    fn ended(_: &mut Writer) {}

    #[test]
    fn a_map_is_the_table_that_the_file_would_be() {
        let from_map = read(|w| {
            w.map(4).atom("shards").int(2);
            w.binary(b"outbox")
                .map(1)
                .atom("when_full")
                .atom("keep_latest");
            w.raw(&[107, 0, 3, b'w', b'e', b'b']).nil();
            w.atom("http").map(2).atom("demo").atom("true");
            w.atom("listener").list(1).map(1).atom("address");
            w.binary(b"127.0.0.1:0").nil();
        });
        let from_file = "shards = 2\nweb = []\n[outbox]\nwhen_full = \"keep_latest\"\n\
                         [http]\ndemo = true\n[[http.listener]]\naddress = \"127.0.0.1:0\"\n";
        assert_eq!(from_map, Ok(from_file.parse().expect("it is TOML")));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let said = |write: fn(&mut Writer)| read(write).expect_err("it is wrong");
        let no_value = "an integer, a text, true, false, a list or a map is expected";
        assert_eq!(said(|w| ended(w.nil())), "config: a map is expected");
        assert_eq!(
            said(|w| ended(w.map(1).int(1).int(1))),
            "config: a key is an atom, a binary or a string"
        );
        assert_eq!(
            said(|w| ended(w.map(1).atom("http").map(1).atom("demo").tuple(0))),
            format!("http.demo: {no_value}")
        );
        assert_eq!(
            said(|w| ended(w.map(1).atom("a").list(1).int(1).int(2))),
            format!("a: {no_value}")
        );
        assert_eq!(
            said(|w| ended(w.map(2).atom("a").int(1).binary(b"a").int(1))),
            "a: it is there twice, as an atom and as a text"
        );
    }
}
