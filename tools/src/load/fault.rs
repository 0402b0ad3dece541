//! How an answer may break its format: the one list of framing errors.
//!
//! A refusal, a closed socket or a message to the wrong id is no framing error; those are counted
//! under their own names.

/// The first thing wrong with an answer; nothing after it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Fault {
    #[error("response head is not HTTP/1.1")]
    Head,
    #[error("response head is larger than 8 KiB")]
    HeadTooLarge,
    #[error("response has both Content-Length and Transfer-Encoding")]
    TwoLengths,
    #[error("response has a Transfer-Encoding other than chunked")]
    TransferEncoding,
    #[error("response is not a stream: it is not chunked, or has a length")]
    NotAStream,
    #[error("response is not text/event-stream")]
    NotEvents,
    #[error("chunk size is not 1 to 8 hex digits")]
    ChunkSize,
    #[error("line of the chunked coding does not end with CR LF")]
    ChunkLineEnd,
    #[error("chunk is not followed by CR LF")]
    ChunkEnd,
    #[error("chunk extension or trailer is larger than 8 KiB")]
    ChunkSkipped,
    #[error("bytes after the end of the body")]
    AfterTheEnd,
    #[error("event stream has a field other than data, event, id, retry")]
    EventField,
    #[error("event stream has a retry that is not a number")]
    EventRetry,
    #[error("response is not the handshake of a WebSocket")]
    NotAWebSocket,
    #[error("Sec-WebSocket-Accept does not fit the key")]
    Accept,
    #[error("response has an extension or a subprotocol that was not offered")]
    NotOffered,
    #[error("frame of a server is masked")]
    Masked,
    #[error("frame has reserved bits that no extension uses")]
    ReservedBits,
    #[error("frame has an opcode without meaning")]
    Opcode,
    #[error("frame has a length above 63 bits")]
    FrameLength,
    #[error("control frame is fragmented or longer than 125 bytes")]
    Control,
    #[error("fragments of messages are out of order")]
    Fragments,
}
