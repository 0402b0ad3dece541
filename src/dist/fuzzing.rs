//! The ways in for fuzzing: what bytes of a stranger reach, without sockets, threads or a cookie.
//!
//! This is the only part of the room that is public for the sake of a test, and only with the
//! feature `fuzzing`, which nothing but `fuzz/` turns on. The alternative was to make codec, frames
//! and session public for good; a target here is one function from bytes to nothing that panics
//! when a promise is broken, so what it looks at may change without `fuzz/` noticing. The promises
//! are checked by the rooms themselves, in the files of the same name.
//!
//! The test below is the bounded run of every `cargo test`: the seeds, which are real traffic, and
//! a fixed number of mutants of each, always the same ones. It knows no coverage and finds what is
//! easy to find; `make fuzz` looks for the rest.

pub use super::codec::fuzzing::commands;
pub use super::link::fuzzing::{frames, queue, session};
pub use super::peers::fuzzing::peers;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Mutants of each seed: the whole run takes a few seconds in a debug build.
    const MUTANTS: usize = 200;

    /// Inputs for targets that read decisions, not bytes of a format.
    const DICE: usize = 2000;

    /// The longest of these inputs.
    const DICE_BYTES_MAX: usize = 400;

    fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        let mut found: Vec<_> = fs::read_dir(folder.join(target))
            .expect("the seeds are part of the repository")
            .map(|entry| entry.expect("the folder is readable").path())
            .map(|path| {
                let bytes = fs::read(&path).expect("seeds are readable");
                (path.display().to_string(), bytes)
            })
            .collect();
        found.sort();
        assert!(!found.is_empty(), "seeds for {target}");
        found
    }

    /// A few changes of the kinds that a fuzzer makes.
    fn mutate(rng: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
        const TELLING: [u8; 12] = [0, 1, 4, 67, 97, 98, 104, 107, 108, 109, 131, 255];
        for _ in 0..=rng.usize(0..4) {
            if bytes.is_empty() {
                bytes.push(rng.u8(..));
            }
            let at = rng.usize(0..bytes.len());
            match rng.u8(0..6) {
                0 => bytes[at] = rng.u8(..),
                1 => bytes[at] ^= 1 << rng.u8(0..8),
                2 => bytes[at] = TELLING[rng.usize(0..TELLING.len())],
                3 => bytes.truncate(at),
                4 => bytes.insert(at, rng.u8(..)),
                _ => {
                    let piece = bytes[at..].to_vec();
                    let to = rng.usize(0..bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
    }

    fn survives(target: &str, run: fn(&[u8])) {
        let mut rng = fastrand::Rng::with_seed(1);
        for (_, seed) in seeds(target) {
            run(&seed);
            for _ in 0..MUTANTS {
                let mut mutant = seed.clone();
                mutate(&mut rng, &mut mutant);
                run(&mutant);
            }
        }
    }

    fn survives_dice(run: fn(&[u8])) {
        let mut rng = fastrand::Rng::with_seed(2);
        for _ in 0..DICE {
            let count = rng.usize(0..DICE_BYTES_MAX);
            let bytes: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(count).collect();
            run(&bytes);
        }
    }

    #[test]
    fn frames_survive() {
        survives("frames", frames);
    }

    #[test]
    fn commands_survive() {
        survives("commands", commands);
    }

    #[test]
    fn sessions_survive() {
        survives("session", session);
    }

    #[test]
    fn queues_survive() {
        survives_dice(queue);
    }

    #[test]
    fn peers_survive() {
        survives_dice(peers);
    }
}
