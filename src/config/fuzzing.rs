//! The way in for fuzzing: the term that an edge in a VM is started with.
//!
//! Public only with the feature `fuzzing`, which nothing but `fuzz/` turns on. It asks whether a map means
//! what the file with the same keys means. It opens no file: what names one is left alone.

use super::edge_file::{EdgeFile, parse_table, parse_text};
use super::table_from_term;
use crate::term::Term;

/// Bytes of one term, without a version.
pub fn terms(data: &[u8]) {
    let Ok(Ok(table)) = Term::whole(data).map(table_from_term) else {
        return;
    };
    let Ok(text) = toml::to_string(&table) else {
        // No file has it either.
        return;
    };
    let from_table = parse_table::<EdgeFile>(table.clone());
    // A file may be nested less deeply than a term.
    let Ok(again) = text.parse::<toml::Table>() else {
        assert!(from_table.is_err(), "{text}");
        return;
    };
    assert_eq!(again, table, "{text}");
    let from_text = parse_text::<EdgeFile>(&text);
    assert_eq!(from_text.is_ok(), from_table.is_ok(), "{text}");
    let Ok(file) = from_table else { return };
    let secured = |listener: &super::edge_file::Listener| listener.certificate.is_some();
    let is_free_of_files = file.token.is_none()
        && file.publish.is_none()
        && !file.http.listener.iter().flatten().any(secured);
    if is_free_of_files {
        // Right or wrong, but said.
        let _ = super::edge_from_table(table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bounded run of every `cargo test`: the seeds, and always the same mutants of them.
    #[test]
    fn terms_survive() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/config");
        let mut rng = fastrand::Rng::with_seed(7);
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .expect("the seeds are part of the repository")
            .map(|entry| entry.expect("it is readable").path())
            .collect();
        paths.sort();
        for path in paths {
            let seed = std::fs::read(path).expect("it is readable");
            let read = Term::whole(&seed).map(table_from_term);
            assert!(matches!(read, Ok(Ok(_))), "a seed is a config: {read:?}");
            terms(&seed);
            for _ in 0..2000 {
                let mut mutant = seed.clone();
                for _ in 0..rng.usize(1..4) {
                    let at = rng.usize(0..mutant.len());
                    mutant[at] = rng.u8(..);
                }
                mutant.truncate(rng.usize(1..2 * mutant.len()));
                terms(&mutant);
            }
        }
    }
}
