//! One HTTP exchange: what it answers, in which pieces and when, and how it ends.
//!
//! In: a builder's wishes. Out: [`Steps`], the one list of timed bytes that the in-memory
//! transport, the loopback server and tests in virtual time all play. Pure: no runtime, no clock.
//! It must never depend on who plays it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::fault::{End, Fault};
use super::steps::{Pieces, Steps};

/// How one exchange behaves: an HTTP response, its rhythm, and its end.
///
/// `Debug` shows the status and sizes, never headers or content.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchange {
    pub(super) head: bool,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) sent: usize,
    pub(super) end: End,
    pub(super) pieces: Pieces,
    pub(super) every: Duration,
    pub(super) delay: Duration,
}

impl Exchange {
    /// Status 200, `text/event-stream`, and `body`, delivered one server-sent event at a time.
    #[must_use]
    pub fn stream(body: impl Into<Bytes>) -> Self {
        Self::reply(StatusCode::OK)
            .header(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))
            .with_body(body)
    }

    /// Any status, without headers and with an empty body.
    #[must_use]
    pub fn reply(status: StatusCode) -> Self {
        Self {
            head: true,
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            sent: 0,
            end: End::Clean,
            pieces: Pieces::Frames,
            every: Duration::ZERO,
            delay: Duration::ZERO,
        }
    }

    /// A rejection: `status` with a JSON body.
    #[must_use]
    pub fn json(status: StatusCode, body: &serde_json::Value) -> Self {
        Self::reply(status)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .with_body(body.to_string())
    }

    /// No response at all: the exchange ends like this where its head should come.
    #[must_use]
    pub fn headless(end: End) -> Self {
        Self { head: false, end, ..Self::reply(StatusCode::OK) }
    }

    /// No connection. What that is over a socket: see [`Server`](super::Server).
    #[must_use]
    pub fn refused() -> Self {
        Self::headless(End::Refused)
    }

    /// Replaces the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.sent = self.body.len();
        self
    }

    /// Sets a header, replacing one of the same name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    /// Delivers only the first `bytes` bytes of the body; longer than the body means all of it.
    /// Unless told otherwise the HTTP body then ends cleanly.
    #[must_use]
    pub fn cut_at(mut self, bytes: usize) -> Self {
        self.sent = bytes.min(self.body.len());
        self
    }

    /// Ends in this way. The default is [`End::Clean`].
    #[must_use]
    pub fn ends(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Ends with a connection reset: [`End::Reset`].
    #[must_use]
    pub fn reset(self) -> Self {
        self.ends(End::Reset)
    }

    /// Ends with a closed connection, the body unfinished: [`End::Close`].
    #[must_use]
    pub fn close(self) -> Self {
        self.ends(End::Close)
    }

    /// Goes silent for ever: [`End::Stall`].
    #[must_use]
    pub fn stall(self) -> Self {
        self.ends(End::Stall)
    }

    /// Repeats `bytes` for ever, one copy every `every`: [`End::Pings`].
    #[must_use]
    pub fn pings(self, bytes: impl Into<Bytes>, every: Duration) -> Self {
        self.ends(End::Pings { bytes: bytes.into(), every })
    }

    /// Delivers the body in pieces of `bytes` bytes (at least 1) instead of one event at a time.
    #[must_use]
    pub fn pieces_of(mut self, bytes: usize) -> Self {
        self.pieces = Pieces::Bytes(bytes.max(1));
        self
    }

    /// Waits this long before each piece. The default is zero.
    #[must_use]
    pub fn every(mut self, wait: Duration) -> Self {
        self.every = wait;
        self
    }

    /// Waits this long before the head. The default is zero.
    #[must_use]
    pub fn delay(mut self, wait: Duration) -> Self {
        self.delay = wait;
        self
    }

    /// The same exchange with `fault` in it.
    #[must_use]
    pub fn fault(self, fault: Fault) -> Self {
        fault.apply(self)
    }

    /// Whether there is a response head.
    #[must_use]
    pub const fn has_head(&self) -> bool {
        self.head
    }

    /// The status; meaningless without a head.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers as scripted; a server adds its framing.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The bytes of the body that are delivered, which is nothing without a head.
    #[must_use]
    pub fn body(&self) -> Bytes {
        if self.head { self.body.slice(..self.sent) } else { Bytes::new() }
    }

    /// How it ends after [`body`](Self::body).
    #[must_use]
    pub const fn end(&self) -> &End {
        &self.end
    }

    /// All of it, step by step.
    #[must_use]
    pub fn steps(&self) -> Steps {
        Steps::new(self.clone())
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("head", &self.head)
            .field("status", &self.status)
            .field("body", &self.body.len())
            .field("sent", &self.sent)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
