//! The frames of the handshake: a length, then that many bytes.
//!
//! Reads exactly one frame and never a byte beyond: what follows the last frame of the handshake
//! belongs to the link. No buffering, therefore; a handshake has six frames at most.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Failure;

/// The longest frame accepted from a peer that has proved nothing yet. The longest that OTP sends
/// is `N` with a name of 255 characters of 4 bytes: 1,039 bytes; the rest is for fields to come.
const FRAME_BYTES_MAX: usize = 2 * 1024;

/// How long the length field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// Two bytes: over TCP.
    Two,
    /// Four bytes: over TLS.
    Four,
}

pub(crate) async fn read<S>(io: &mut S, width: Width) -> Result<Vec<u8>, Failure>
where
    S: AsyncRead + Unpin,
{
    let length = match width {
        Width::Two => usize::from(io.read_u16().await?),
        Width::Four => io.read_u32().await? as usize,
    };
    if length > FRAME_BYTES_MAX {
        return Err(Failure::FrameTooLarge { bytes: length });
    }
    let mut body = vec![0; length];
    io.read_exact(&mut body).await?;
    Ok(body)
}

/// Writes length and body at once, so that the peer reads them at once.
pub(crate) async fn write<S>(io: &mut S, width: Width, body: &[u8]) -> Result<(), Failure>
where
    S: AsyncWrite + Unpin,
{
    let too_long = |_| io::Error::other("a handshake frame of ours is below 2 KiB");
    let mut frame = Vec::with_capacity(4 + body.len());
    match width {
        Width::Two => frame.extend(u16::try_from(body.len()).map_err(too_long)?.to_be_bytes()),
        Width::Four => frame.extend(u32::try_from(body.len()).map_err(too_long)?.to_be_bytes()),
    }
    frame.extend(body);
    io.write_all(&frame).await?;
    io.flush().await?;
    Ok(())
}
