//! Bytes ↔ server-sent events.

/// One event, borrowed from the parser or from the chunk it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        Self {
            event: "message",
            data,
            id: "",
            retry: None,
        }
    }

    /// The same with another type.
    #[must_use]
    pub const fn event(mut self, event: &'a str) -> Self {
        self.event = event;
        self
    }
}
