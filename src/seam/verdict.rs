//! The question put to a seam, and its answer.
//!
//! In and out of [`Seam`](super::Seam). Never shown with the text in it.

use std::fmt;

use crate::event::Echo;
use crate::event::Join;

/// What the text of a continuation is expected to begin with.
///
/// `Debug` prints sizes, never text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expect {
    /// The continuation itself: the first `sent` bytes of the delivered text went in as prefill.
    Literal {
        /// Bytes of the delivered text that were sent; what is missing is whitespace at its end.
        sent: usize,
        /// Whether the server is known to repeat what was sent.
        echo: Echo,
    },
    /// The anchor, which the model was asked to repeat.
    Anchor {
        /// Bytes of the delivered text that were sent.
        sent: usize,
        /// The quoted end of the sent text.
        anchor: String,
    },
    /// The answer from its beginning.
    Align,
    /// The rest from the very byte on, as a provider replays it: whatever comes is new, also where it
    /// begins as the answer did.
    Rest,
}

/// What a seam makes of the text so far.
///
/// `Debug` prints sizes, never text.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the engine must handle every verdict")]
pub enum Verdict {
    /// Not decided yet; nothing to deliver.
    Hold,
    /// Joined: deliver this text (which may be empty), then everything that follows as it comes.
    Resolved {
        /// What goes on after the delivered text.
        text: String,
        /// How the texts join.
        join: Join,
        /// Bytes that were taken off.
        trimmed: usize,
    },
    /// What comes back is the answer from its beginning, and differs from what was delivered.
    Diverged {
        /// Bytes of the delivered text that it equals.
        at: usize,
    },
    /// Only from [`Seam::end`](super::Seam::end): the text ended inside its preamble, echo or anchor.
    Incomplete,
}

impl fmt::Debug for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal { sent, echo } => {
                f.debug_struct("Literal").field("sent", sent).field("echo", echo).finish()
            }
            Self::Anchor { sent, anchor } => {
                f.debug_struct("Anchor").field("sent", sent).field("anchor", &anchor.len()).finish()
            }
            Self::Align => f.write_str("Align"),
            Self::Rest => f.write_str("Rest"),
        }
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold => f.write_str("Hold"),
            Self::Resolved { text, join, trimmed } => f
                .debug_struct("Resolved")
                .field("text", &text.len())
                .field("join", join)
                .field("trimmed", trimmed)
                .finish(),
            Self::Diverged { at } => f.debug_struct("Diverged").field("at", at).finish(),
            Self::Incomplete => f.write_str("Incomplete"),
        }
    }
}
