//! The way in for fuzzing: what a client of a WebSocket sends.
//!
//! Public only with the feature `fuzzing`, which nothing but `fuzz/` turns on. It asks whether what is
//! heard depends on how the bytes are cut, and whether limits hold.

use super::{Fault, Heard, Incoming, Inflater, Rules};
use crate::wire::Said;

const RULES: Rules = Rules {
    message_bytes_max: 4096,
    frames_max: 8,
    may_deflate: true,
};

/// The first byte says how the rest is cut.
pub fn incoming(data: &[u8]) {
    let Some((&cut, bytes)) = data.split_first() else {
        return;
    };
    let whole = heard([bytes].into_iter());
    assert_eq!(heard(bytes.chunks(usize::from(cut).max(1))), whole);
}

fn heard<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<Heard>, Option<Fault>) {
    let (mut incoming, mut inflater) = (Incoming::default(), Inflater::default());
    let mut all = Vec::new();
    for mut part in parts {
        loop {
            match incoming.next(&mut part, &RULES, &mut inflater) {
                Ok(None) => break,
                Ok(Some(Heard::Close(code))) => {
                    all.push(Heard::Close(code));
                    return (all, None);
                }
                Ok(Some(one)) => {
                    if let Heard::Message(Said::Text(bytes)) = &one {
                        assert!(std::str::from_utf8(bytes).is_ok());
                    }
                    if let Heard::Message(Said::Text(bytes) | Said::Binary(bytes)) = &one {
                        assert!(bytes.len() <= RULES.message_bytes_max);
                    }
                    all.push(one);
                }
                Err(fault) => return (all, Some(fault)),
            }
        }
        assert!(part.is_empty());
        assert!(incoming.kept_bytes() <= 4 * RULES.message_bytes_max);
    }
    (all, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bounded run of every `cargo test`: recorded frames, and always the same mutants of them.
    #[test]
    fn incoming_survives() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/websocket");
        let mut state = 7_u64;
        let mut random = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).expect("it has 31 bits") % below
        };
        for seed in std::fs::read_dir(folder).expect("the seeds are part of the repository") {
            let seed = std::fs::read(seed.expect("it is readable").path());
            let seed = seed.expect("it is readable");
            incoming(&seed);
            for _ in 0..2000 {
                let mut mutant = seed.clone();
                for _ in 0..=random(3) {
                    let at = random(mutant.len());
                    mutant[at] = u8::try_from(random(256)).expect("it is a byte");
                }
                mutant.truncate(1 + random(2 * mutant.len()));
                incoming(&mutant);
            }
        }
    }
}
