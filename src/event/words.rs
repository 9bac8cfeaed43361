//! The words for causes and ways, as a table or a log shows them; and one fixed word for each, as a metric
//! is labelled by it.

use std::fmt;

use super::{Cut, Join, Resume, Source, Timer};

impl Cut {
    /// The cause in one fixed word, without what is particular to this cut.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Rejected { .. } => "rejected",
            Self::Truncated => "truncated",
            Self::Reset => "reset",
            Self::Stalled { .. } => "stalled",
            Self::Faulted => "faulted",
            Self::Garbled => "garbled",
            Self::OverLimit => "over_limit",
            Self::Diverged => "diverged",
            Self::Denied => "denied",
        }
    }
}

impl Resume {
    /// The rung in one fixed word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cursor => "cursor",
            Self::Prefill => "prefill",
            Self::Instruct => "instruct",
            Self::Quote => "quote",
            Self::Align => "align",
        }
    }
}

impl Join {
    /// The way in one fixed word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Literal => "literal",
            Self::Echo => "echo",
            Self::Anchor => "anchor",
            Self::Overlap => "overlap",
            Self::Aligned => "aligned",
            Self::Unverified => "unverified",
        }
    }
}

impl Source {
    /// Who it is, in one fixed word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Cached => "cached",
            Self::Canned => "canned",
            Self::HandOff => "hand-off",
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("unreachable"),
            Self::Rejected { status, .. } => write!(f, "rejected with status {}", status.as_u16()),
            Self::Truncated => f.write_str("truncated"),
            Self::Reset => f.write_str("reset"),
            Self::Stalled { timer } => write!(f, "stalled ({timer})"),
            Self::Faulted => f.write_str("error in the stream"),
            Self::Garbled => f.write_str("garbled"),
            Self::OverLimit => f.write_str("over a limit"),
            Self::Diverged => f.write_str("diverged"),
            Self::Denied => f.write_str("denied"),
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstEvent => "first event",
            Self::Idle => "idle",
            Self::Delta => "delta",
            Self::Closing => "closing",
            Self::KeepAlive => "keep-alive",
            Self::Backoff => "backoff",
            Self::Progress => "progress",
            Self::Cache => "cache",
            Self::HandOff => "hand-off",
            Self::Overall => "overall",
        })
    }
}

impl fmt::Display for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
