//! How the texts of two attempts join.

use crate::dialect::Echo;
use crate::event::Join;

/// What the text of a continuation is expected to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// What a seam makes of the text so far.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the engine must handle every verdict"
)]
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
    /// Only from [`Seam::end`]: the text ended inside its preamble, echo or anchor.
    Incomplete,
}

/// Joins the text of a continuation to what was delivered.
#[derive(Debug)]
pub struct Seam {}

impl Seam {
    /// A seam after `said`, all the visible text delivered so far.
    #[must_use]
    pub fn new(_said: &str, _expect: Expect) -> Self {
        Self {}
    }

    /// Takes the next piece of the continuation. Not to be called after a verdict other than
    /// [`Verdict::Hold`].
    pub fn push(&mut self, text: &str) -> Verdict {
        Verdict::Resolved {
            text: text.to_owned(),
            join: Join::Literal,
            trimmed: 0,
        }
    }

    /// The continuation has no more text. Never says [`Verdict::Hold`].
    pub fn end(&mut self) -> Verdict {
        Verdict::Incomplete
    }
}
