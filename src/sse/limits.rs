//! How much of one event the parser may hold.
//!
//! In: two byte counts. Out: the error that names the one that was passed. Keeps the law *Bound*.

/// Default of [`Limits::max_line`], in bytes: 128 MiB, the whole of an event.
///
/// A provider's event is one `data` line, so a lower limit for a line would be the limit of the
/// event. Lines of 2 MB are ordinary (an image or a tool result in base64).
pub const DEFAULT_MAX_LINE: usize = DEFAULT_MAX_EVENT;

/// Default of [`Limits::max_event`], in bytes: 128 MiB.
///
/// One vendor's SDK tests an event of somewhat more than 64 MiB as something its servers may send
/// (2026-11), and the next power of two leaves room above it. The limit is here to stop a broken
/// or hostile peer that never ends its event, not to judge real ones: cutting a good answer
/// short costs more than the memory.
pub const DEFAULT_MAX_EVENT: usize = 128 * 1024 * 1024;

/// What one event may cost.
///
/// Comments do not count, for they are never stored. An event that lies whole inside a chunk is
/// held to the same limits as one that comes in pieces, so that the chunks make no difference.
///
/// A parser holds up to about twice `max_event` while it collects an event (a growing buffer
/// doubles), and three times as much again for an event of nothing but invalid UTF-8, whose bytes
/// become three each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest line, in bytes without its line end; [`DEFAULT_MAX_LINE`] by default.
    pub max_line: usize,
    /// Most bytes in the lines of one event, line ends left out; [`DEFAULT_MAX_EVENT`] by default.
    pub max_event: usize,
    /// Most bytes of stray lines that are kept ([`Parser::stray`](super::Parser::stray)); none by
    /// default.
    pub max_stray: usize,
}

impl Limits {
    /// The limits for peers that behave: [`DEFAULT_MAX_LINE`] and [`DEFAULT_MAX_EVENT`].
    #[must_use]
    pub const fn new() -> Self {
        Self { max_line: DEFAULT_MAX_LINE, max_event: DEFAULT_MAX_EVENT, max_stray: 0 }
    }

    /// Sets the longest line in bytes. 0 lets only comments and blank lines through, `usize::MAX`
    /// leaves the line to [`max_event`](Self::max_event).
    #[must_use]
    pub const fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = bytes;
        self
    }

    /// Sets the most bytes of one event. 0 lets only comments and blank lines through,
    /// `usize::MAX` is no limit: a peer that never ends its event then takes all memory.
    #[must_use]
    pub const fn max_event(mut self, bytes: usize) -> Self {
        self.max_event = bytes;
        self
    }

    /// Sets how many bytes are kept of lines that are no fields and no comments. 0 keeps none, as the
    /// standard has it; past any other number the rest is passed over.
    #[must_use]
    pub const fn max_stray(mut self, bytes: usize) -> Self {
        self.max_stray = bytes;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// An event was larger than [`Limits`] allows. It is lost; the events after it are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitExceeded {
    /// A line was longer than [`Limits::max_line`].
    #[error("a line of the event stream is longer than {limit} bytes")]
    Line {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The lines of one event were longer than [`Limits::max_event`].
    #[error("an event of the event stream is larger than {limit} bytes")]
    Event {
        /// The limit, in bytes.
        limit: usize,
    },
}
