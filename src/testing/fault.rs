//! What goes wrong with an exchange.
//!
//! In: an [`Exchange`] as it should be. Out: the same, broken in one way. Pure.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::exchange::Exchange;
use super::steps::frame_end;

/// One thing that goes wrong.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The exchange ends like this before its response head.
    BeforeHead(End),
    /// Only the first bytes of the body come, then this end. `at` may lie inside an event, inside
    /// a character and inside an HTTP chunk; beyond the body it means its end.
    Cut {
        /// Bytes of the body that are delivered.
        at: usize,
        /// What follows them.
        end: End,
    },
    /// The whole events within the first `at` bytes come, then `frame`, then this end: an error
    /// event inside a 200, for example. See [`anthropic_error`] and [`openai_error`].
    Insert {
        /// Bytes of the body to look for whole events in.
        at: usize,
        /// The bytes put there, the blank line at their end included.
        frame: Bytes,
        /// What follows them.
        end: End,
    },
    /// The event that holds byte `at` of the body loses the second half of its data, so that its
    /// JSON is malformed; everything else comes as it should. Beyond the body: the last event.
    Garble {
        /// A byte of the event.
        at: usize,
    },
    /// Another exchange altogether: a rejection, HTML, ….
    Instead(Box<Exchange>),
}

impl Fault {
    /// [`Fault::Cut`] with a connection reset.
    #[must_use]
    pub const fn reset_at(at: usize) -> Self {
        Self::Cut { at, end: End::Reset }
    }

    /// [`Fault::Cut`] with a closed connection, the body unfinished.
    #[must_use]
    pub const fn close_at(at: usize) -> Self {
        Self::Cut { at, end: End::Close }
    }

    /// [`Fault::Cut`] with a clean end of the HTTP body.
    #[must_use]
    pub const fn end_at(at: usize) -> Self {
        Self::Cut { at, end: End::Clean }
    }

    /// [`Fault::Cut`] with silence for ever.
    #[must_use]
    pub const fn stall_at(at: usize) -> Self {
        Self::Cut { at, end: End::Stall }
    }

    /// [`Fault::Instead`].
    #[must_use]
    pub fn instead(exchange: Exchange) -> Self {
        Self::Instead(Box::new(exchange))
    }

    pub(super) fn apply(self, mut exchange: Exchange) -> Exchange {
        match self {
            Self::BeforeHead(end) => {
                exchange.head = false;
                exchange.end = end;
                exchange
            }
            Self::Cut { at, end } => exchange.cut_at(at).ends(end),
            Self::Insert { at, frame, end } => {
                let whole = exchange.body.slice(..at.min(exchange.body.len()));
                let kept = last_frame_end(&whole);
                let mut body = whole[..kept].to_vec();
                body.extend_from_slice(&frame);
                exchange.with_body(body).ends(end)
            }
            Self::Garble { at } => {
                let body = garbled(&exchange.body, at);
                exchange.with_body(body)
            }
            Self::Instead(other) => *other,
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeHead(end) => write!(f, "BeforeHead({end:?})"),
            Self::Cut { at, end } => write!(f, "Cut(at {at}, {end:?})"),
            Self::Insert { at, frame, end } => {
                write!(f, "Insert(at {at}, {} bytes, {end:?})", frame.len())
            }
            Self::Garble { at } => write!(f, "Garble(at {at})"),
            Self::Instead(exchange) => write!(f, "Instead({exchange:?})"),
        }
    }
}

/// How an exchange ends, after what it has delivered.
///
/// | end | in-memory transport | HTTP/1.1 socket | HTTP/2 socket |
/// |---|---|---|---|
/// | `Refused` | `Connect` | RST when the request has come | as `Reset` |
/// | `Stale` | `Stale`; after the head: `Body` | as `Reset` | as `Reset` |
/// | `Clean` | end of body; headless: `Reset` | zero chunk; headless: FIN | `END_STREAM`; headless: FIN |
/// | `Close` | `Body`; headless: `Reset` | FIN without the zero chunk | FIN without `END_STREAM` |
/// | `Reset` | `Body`; headless: `Reset` | RST | RST |
/// | `Stall`, `Pings` | pending for ever | open for ever | open for ever |
/// | `Broken` | `Protocol` | a chunk size that is no number; headless: no status line | a frame that is none |
/// | `StreamReset` | `StreamReset` | as `Reset` | `RST_STREAM` with this code |
/// | `GoAway` | `GoAway` | as `Close` | `GOAWAY` with this code that has processed no stream, then FIN |
///
/// The words in the second column are
/// [`TransportErrorKind`](crate::client::TransportErrorKind)s.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// No connection; only before the head. After it: as `Reset`.
    Refused,
    /// The connection was a reused one and had died while it was idle; only before the head. Over
    /// a socket it is the client that knows whether it was reused.
    Stale,
    /// The HTTP body ends as it should, whatever its content.
    Clean,
    /// The connection is closed (FIN) inside the body.
    Close,
    /// The connection is reset (RST).
    Reset,
    /// Nothing more, for ever.
    Stall,
    /// The same bytes again and again, for ever; without a head: as `Stall`.
    Pings {
        /// What is repeated: a ping event, a comment line.
        bytes: Bytes,
        /// The wait before each; zero is taken as one millisecond.
        every: Duration,
    },
    /// Bytes that are not HTTP.
    Broken,
    /// HTTP/2 `RST_STREAM` with this error code (RFC 9113 section 7; 2 is `INTERNAL_ERROR`).
    StreamReset(u32),
    /// HTTP/2 `GOAWAY` with this error code.
    GoAway(u32),
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("Refused"),
            Self::Stale => f.write_str("Stale"),
            Self::Clean => f.write_str("Clean"),
            Self::Close => f.write_str("Close"),
            Self::Reset => f.write_str("Reset"),
            Self::Stall => f.write_str("Stall"),
            Self::Pings { bytes, every } => {
                write!(f, "Pings({} bytes, every {every:?})", bytes.len())
            }
            Self::Broken => f.write_str("Broken"),
            Self::StreamReset(code) => write!(f, "StreamReset({code})"),
            Self::GoAway(code) => write!(f, "GoAway({code})"),
        }
    }
}

/// A ping event of the Anthropic dialect.
pub const ANTHROPIC_PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";

/// A comment line, as many servers keep a stream alive with.
pub const COMMENT_PING: &str = ": keep-alive\n\n";

/// An error event inside a stream of the Anthropic dialect, for [`Fault::Insert`]: `kind` is
/// `overloaded_error`, `api_error`, ….
#[must_use]
pub fn anthropic_error(kind: &str, message: &str) -> Bytes {
    let error = json!({"type": "error", "error": {"type": kind, "message": message}});
    format!("event: error\ndata: {error}\n\n").into()
}

/// An error frame inside a stream of the Chat Completions dialect, for [`Fault::Insert`]; `code`
/// is a word (`server_error`). No `[DONE]` follows it.
#[must_use]
pub fn openai_error(code: &str, message: &str) -> Bytes {
    let error = json!({"error": {"message": message, "type": code, "param": null, "code": code}});
    format!("data: {error}\n\n").into()
}

/// An error frame inside a stream of Gemini's `streamGenerateContent`, for [`Fault::Insert`]; `status` is
/// `UNAVAILABLE`, `INTERNAL`, …, and `code` the HTTP status that goes with it.
#[must_use]
pub fn gemini_error(code: u16, status: &str, message: &str) -> Bytes {
    let error = json!({"error": {"code": code, "message": message, "status": status}});
    format!("data: {error}\r\n\r\n").into()
}

/// An error event inside a stream of Gemini's Interactions API, for [`Fault::Insert`]; `code` is a word.
#[must_use]
pub fn gemini_interactions_error(code: &str, message: &str) -> Bytes {
    let error = json!({"event_type": "error", "error": {"code": code, "message": message}});
    format!("event: error\ndata: {error}\n\n").into()
}

/// Length of the whole events at the beginning of `body`.
fn last_frame_end(body: &[u8]) -> usize {
    let mut kept = 0;
    while let Some(end) = frame_end(body, kept) {
        kept = end;
    }
    kept
}

/// `body` without the second half of the line that ends the event holding byte `at`.
fn garbled(body: &[u8], at: usize) -> Vec<u8> {
    let mut start = 0;
    let mut end = frame_end(body, 0).unwrap_or(body.len());
    while end <= at && end < body.len() {
        start = end;
        end = frame_end(body, start).unwrap_or(body.len());
    }
    let frame = &body[start..end];
    let is_end = |b: u8| matches!(b, b'\r' | b'\n');
    let text_end = frame.len() - frame.iter().rev().take_while(|&&b| is_end(b)).count();
    let line = frame[..text_end].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    let mut half = line + (text_end - line) / 2;
    // Malformed JSON, not malformed UTF-8: bytes 0b10xxxxxx continue a character.
    while half > line && frame[half] & 0xc0 == 0x80 {
        half -= 1;
    }
    [&body[..start], &frame[..half], &body[start + text_end..]].concat()
}
