//! `[websocket]`: what clients may say, and compression.
//!
//! Defaults are the edge's own.

use super::{Error, edge_file, positive};
use crate::edge;

/// Takes what the file says into the edge's config.
pub(super) fn websocket(edge: &mut edge::Config, file: &edge_file::Websocket) -> Result<(), Error> {
    for (key, size, into) in [
        (
            "websocket.message_bytes_max",
            file.message_bytes_max,
            &mut edge.message_bytes_max,
        ),
        (
            "websocket.unfinished_bytes_max",
            file.unfinished_bytes_max,
            &mut edge.unfinished_bytes_max,
        ),
        (
            "websocket.untold_bytes_max",
            file.untold_bytes_max,
            &mut edge.untold.one_bytes_max,
        ),
        (
            "websocket.untold_total_bytes_max",
            file.untold_total_bytes_max,
            &mut edge.untold.all_bytes_max,
        ),
    ] {
        if let Some(size) = size {
            *into = positive(key, size.0)?;
        }
    }
    if let Some(frames) = file.message_frames_max {
        positive(
            "websocket.message_frames_max",
            usize::try_from(frames).unwrap_or(usize::MAX),
        )?;
        edge.message_frames_max = frames;
    }
    edge.deflate = file.deflate.unwrap_or(edge.deflate);
    Ok(())
}
