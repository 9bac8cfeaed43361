//! Bytes ↔ server-sent events.
//!
//! In: the chunks of a response body, as they come. Out: [`Event`]s that borrow from the chunk or
//! from the [`Parser`], and the way back, [`encode()`]. Nothing here knows what is in an event, what
//! the time is or where the bytes come from: comments are gone without a trace, so who asks for
//! signs of life must count bytes. Syntax never fails; the one error is an event over its
//! [`Limits`]. The law is *Split*: the events do not depend on how the bytes were cut.

use std::fmt;

mod encode;
mod limits;
mod line;
#[cfg(test)]
mod oracle;
mod parser;
#[cfg(all(test, feature = "eventsource-stream"))]
mod peer;
mod stray;
#[cfg(test)]
mod tests;
mod whole;

pub use encode::{encode, encode_comment};
pub use limits::{DEFAULT_MAX_EVENT, DEFAULT_MAX_LINE, LimitExceeded, Limits};
pub use parser::{Parser, Tail};

/// One event, borrowed from the parser or from the chunk it came in.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The event type; `message` where the stream gave none.
    pub event: &'a str,
    /// The data: all `data` lines joined by LF.
    pub data: &'a str,
    /// The last event id at this point; empty at first.
    pub id: &'a str,
    /// The `retry` field of this event, in milliseconds.
    pub retry: Option<u64>,
}

impl<'a> Event<'a> {
    /// An event of type `message` with `data`.
    #[must_use]
    pub const fn new(data: &'a str) -> Self {
        Self { event: "message", data, id: "", retry: None }
    }

    /// The same with another type.
    #[must_use]
    pub const fn event(mut self, event: &'a str) -> Self {
        self.event = event;
        self
    }

    /// The same with an id.
    #[must_use]
    pub const fn id(mut self, id: &'a str) -> Self {
        self.id = id;
        self
    }

    /// The same with a time to wait before a new connection, in milliseconds.
    #[must_use]
    pub const fn retry(mut self, millis: u64) -> Self {
        self.retry = Some(millis);
        self
    }
}

impl fmt::Debug for Event<'_> {
    /// The type and the sizes; never the data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event", &self.event)
            .field("data", &format_args!("{} bytes", self.data.len()))
            .field("id", &self.id)
            .field("retry", &self.retry)
            .finish()
    }
}
