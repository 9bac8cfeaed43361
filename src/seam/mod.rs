//! How the texts of two attempts join.
//!
//! In: all the visible text delivered so far, what the next attempt was asked to begin with
//! ([`Expect`]), and its text piece by piece. Out: that text with what had been said already taken
//! off, and how it joined. It must never change anything else, invent a space, guess an overlap
//! where the text is to go on literally, or append an answer that began again. Laws kept: *Split*
//! (the text is read character by character, so its chunking cannot matter) and *Bound* (see
//! *What is held*).
//!
//! ```text
//!  Literal ──┬─ differs from what was sent ─────────────────────────▶ Rest ──▶ Resolved
//!            └─ equals it for long enough ──▶ Swallow ──┬─ all of it ──▲
//!  Anchor ───┬─ begins like the answer ────────▲   ▲    └─ differs ──────▶ Diverged
//!            └─ anchor, overlap or neither ─────────┼────────────────▶ Rest
//!  Align ──────────────────────────────────────────┘
//! ```
//!
//! `Rest` takes off the head what was delivered but not sent: whitespace at the end.
//!
//! # What is held
//!
//! - `Literal`: text that equals the head of what was sent, until it is long enough to be no
//!   coincidence; at most [`HOLD_MAX`] bytes.
//! - `Anchor`: text that is still a head of the anchor, of its end, or of the answer. After that,
//!   if the anchor stands once in the answer it may still come behind a preamble, so text is held
//!   for at most the anchor's length and [`HOLD_MAX`] bytes. If it stands there more than once it
//!   counts only at the head, behind a conversational first paragraph or a code fence, and text is
//!   held only while it may be one of these or an overlap.
//! - `Align`, and all text that is being taken off: nothing.

use std::borrow::Cow;

use crate::event::Join;

mod anchor;
mod fence;
mod fold;
mod literal;
mod overlap;
mod preamble;
mod quote;
mod stops;
mod verdict;

use anchor::Anchored;
use literal::Literal;

pub use quote::anchor_of;
pub use stops::{Straddle, Straddled};
pub use verdict::{Expect, Verdict};

/// Joins the text of a continuation to what was delivered.
///
/// `Debug` prints sizes and states, never text.
pub struct Seam {
    said: String,
    /// Bytes of `said` that were sent; all after them is whitespace.
    sent: usize,
    trimmed: usize,
    stage: Stage,
    begun: bool,
}

impl Seam {
    /// A seam after `said`, all the visible text delivered so far, not only the last attempt's.
    ///
    /// What must be known of all of it is found out here, once; however long it is,
    /// [`push`](Self::push) looks at its ends only.
    ///
    /// Where `sent` is no position of `said`, or more than whitespace follows it, all but the
    /// whitespace at the end counts as sent.
    #[must_use]
    pub fn new(said: impl Into<String>, expect: Expect) -> Self {
        let said = said.into();
        let (sent, stage) = match expect {
            Expect::Literal { sent, echo } => {
                let sent = sent_bytes(&said, sent);
                let literal = Literal::new(said.get(..sent).unwrap_or_default(), echo);
                (sent, literal.map(Stage::Literal))
            }
            Expect::Anchor { sent, anchor } => {
                let sent = sent_bytes(&said, sent);
                let text = said.get(..sent).unwrap_or_default();
                let anchored = Anchored::new(&anchor, &said, text);
                let stage = anchored.map(|anchored| Stage::Anchored(Box::new(anchored)));
                (sent, stage.ok_or(Join::Unverified))
            }
            Expect::Align => (said.len(), Ok(Stage::Swallow { at: 0, join: Join::Aligned })),
            Expect::Rest => (said.len(), Err(Join::Literal)),
        };
        Self {
            said,
            sent,
            trimmed: 0,
            stage: stage.unwrap_or_else(|join| Stage::Rest { at: sent, join }),
            begun: false,
        }
    }

    /// Takes the next piece of the continuation. Not to be called after a verdict other than
    /// [`Verdict::Hold`]; if it is, text after [`Verdict::Resolved`] comes back as it is, and
    /// [`Verdict::Diverged`] stands.
    pub fn push(&mut self, text: &str) -> Verdict {
        self.begun = true;
        let mut input = Cow::Borrowed(text);
        loop {
            match self.step(&input) {
                Step::Verdict(verdict) => return verdict,
                Step::On { used } => input = Cow::Owned(input.split_at(used).1.to_owned()),
                Step::Release { used, mut text } => {
                    text.push_str(input.split_at(used).1);
                    input = Cow::Owned(text);
                }
            }
        }
    }

    /// The continuation has no more text. Never says [`Verdict::Hold`].
    pub fn end(&mut self) -> Verdict {
        let sent = self.said.get(..self.sent).unwrap_or_default();
        let release = match &mut self.stage {
            Stage::Literal(literal) => Feed::Release {
                text: literal.held(sent).to_owned(),
                trimmed: 0,
                join: Join::Literal,
            },
            Stage::Anchored(anchored) => match anchored.end(sent) {
                Some(feed) => feed,
                None => return Verdict::Incomplete,
            },
            Stage::Swallow { .. } | Stage::Rest { .. } | Stage::Over(_) | Stage::Diverged(_) => {
                Feed::Hold
            }
        };
        let text = self.follow(release).unwrap_or_default();
        match self.push(&text) {
            Verdict::Hold => self.close(),
            verdict => verdict,
        }
    }

    /// Whether anything was pushed.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Bytes of text that were pushed and are neither delivered nor taken off.
    #[must_use]
    pub fn held(&self) -> usize {
        match &self.stage {
            Stage::Literal(literal) => literal.matched(),
            Stage::Anchored(anchored) => anchored.held(),
            Stage::Swallow { .. } | Stage::Rest { .. } | Stage::Over(_) | Stage::Diverged(_) => 0,
        }
    }

    /// Whether the text is being taken off as a repetition of the answer from its beginning, and
    /// has equalled it so far: life, though nothing new.
    #[must_use]
    pub const fn swallowing(&self) -> bool {
        matches!(self.stage, Stage::Swallow { .. })
    }

    fn step(&mut self, input: &str) -> Step {
        let sent = self.said.get(..self.sent).unwrap_or_default();
        let fed = match &mut self.stage {
            Stage::Literal(literal) => feed_all(input, |c| literal.feed(c, sent)),
            Stage::Anchored(anchored) => feed_all(input, |c| anchored.feed(c, sent)),
            Stage::Swallow { at, join } => {
                let (at, join) = (*at, *join);
                return self.swallow(input, at, join);
            }
            Stage::Rest { at, join } => {
                let (at, join) = (*at, *join);
                return self.rest(input, at, join);
            }
            Stage::Over(join) => {
                return Step::Verdict(Verdict::Resolved {
                    text: input.to_owned(),
                    join: *join,
                    trimmed: 0,
                });
            }
            Stage::Diverged(at) => return Step::Verdict(Verdict::Diverged { at: *at }),
        };
        let Some((used, feed)) = fed else {
            return Step::Verdict(Verdict::Hold);
        };
        match self.follow(feed) {
            Some(text) => Step::Release { used, text },
            None => Step::On { used },
        }
    }

    /// Goes on to the stage that `feed` leads to; what it lets go is to be read there.
    fn follow(&mut self, feed: Feed) -> Option<String> {
        match feed {
            Feed::Hold => None,
            Feed::Swallow { text, matched, trimmed } => {
                self.trimmed += trimmed;
                self.stage = Stage::Swallow { at: matched, join: Join::Echo };
                Some(text)
            }
            Feed::Release { text, trimmed, join } => {
                self.trimmed += trimmed;
                self.stage = Stage::Rest { at: self.sent, join };
                Some(text)
            }
        }
    }

    fn swallow(&mut self, input: &str, at: usize, join: Join) -> Step {
        let expected = self.said.get(at..self.sent).unwrap_or_default();
        let equal = common_prefix(expected, input);
        self.trimmed += equal;
        let next = at + equal;
        if next >= self.sent {
            self.stage = Stage::Rest { at: next, join };
            return Step::On { used: equal };
        }
        if equal < input.len() {
            self.stage = Stage::Diverged(next);
            return Step::Verdict(Verdict::Diverged { at: next });
        }
        self.stage = Stage::Swallow { at: next, join };
        Step::Verdict(Verdict::Hold)
    }

    fn rest(&mut self, input: &str, at: usize, join: Join) -> Step {
        let equal = common_prefix(self.said.get(at..).unwrap_or_default(), input);
        self.trimmed += equal;
        let next = at + equal;
        if next < self.said.len() && equal == input.len() {
            self.stage = Stage::Rest { at: next, join };
            return Step::Verdict(Verdict::Hold);
        }
        let (_, text) = input.split_at(equal);
        let text = text.to_owned();
        Step::Verdict(self.resolve(text, join))
    }

    fn resolve(&mut self, text: String, join: Join) -> Verdict {
        self.stage = Stage::Over(join);
        Verdict::Resolved { text, join, trimmed: self.trimmed }
    }

    /// The verdict when nothing more comes and nothing is held.
    fn close(&mut self) -> Verdict {
        match self.stage {
            Stage::Swallow { at, .. } => {
                self.stage = Stage::Diverged(at);
                Verdict::Diverged { at }
            }
            Stage::Rest { join, .. } | Stage::Over(join) => self.resolve(String::new(), join),
            Stage::Diverged(at) => Verdict::Diverged { at },
            Stage::Literal(_) | Stage::Anchored(_) => Verdict::Incomplete,
        }
    }
}

impl std::fmt::Debug for Seam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stage = match self.stage {
            Stage::Literal(_) => "literal",
            Stage::Anchored(_) => "anchor",
            Stage::Swallow { .. } => "swallow",
            Stage::Rest { .. } => "rest",
            Stage::Over(_) => "resolved",
            Stage::Diverged(_) => "diverged",
        };
        f.debug_struct("Seam")
            .field("said", &self.said.len())
            .field("sent", &self.sent)
            .field("stage", &stage)
            .field("held", &self.held())
            .field("trimmed", &self.trimmed)
            .finish()
    }
}

enum Stage {
    /// Goes on literally, or repeats what was sent: not known yet.
    Literal(Literal),
    /// The anchor, the answer from its beginning, or neither: not known yet.
    Anchored(Box<Anchored>),
    /// Repeats the answer, equal so far up to `at`.
    Swallow { at: usize, join: Join },
    /// New text, once the unsent whitespace from `at` on is taken off its head.
    Rest { at: usize, join: Join },
    /// Joined.
    Over(Join),
    /// Began again and differs.
    Diverged(usize),
}

enum Step {
    Verdict(Verdict),
    /// Another stage reads on after `used` bytes.
    On {
        used: usize,
    },
    /// Another stage reads `text`, then what follows `used` bytes.
    Release {
        used: usize,
        text: String,
    },
}

/// What one more character led to.
enum Feed {
    Hold,
    /// What came equals the first `matched` bytes of the answer, and is a repetition of it; `text`
    /// comes after that.
    Swallow {
        text: String,
        matched: usize,
        trimmed: usize,
    },
    /// `text` is what is left of what came.
    Release {
        text: String,
        trimmed: usize,
        join: Join,
    },
}

/// Feeds `input` character by character until something comes of it; with the bytes it took.
fn feed_all(input: &str, mut feed: impl FnMut(char) -> Feed) -> Option<(usize, Feed)> {
    input
        .char_indices()
        .map(|(at, c)| (at + c.len_utf8(), feed(c)))
        .find(|(_, feed)| !matches!(feed, Feed::Hold))
}

/// `sent` as it can be relied on.
fn sent_bytes(said: &str, sent: usize) -> usize {
    match said.get(sent..) {
        Some(unsent) if unsent.trim_start().is_empty() => sent,
        _ => said.trim_end().len(),
    }
}

/// Bytes, in whole characters, that both begin with.
fn common_prefix(a: &str, b: &str) -> usize {
    let differ = a.bytes().zip(b.bytes()).position(|(a, b)| a != b);
    let mut equal = differ.unwrap_or(a.len().min(b.len()));
    // What is equal so far ends a character of both, or of neither.
    while !a.is_char_boundary(equal) {
        equal -= 1;
    }
    equal
}

/// Most bytes held beyond the anchor's own length: some 60 tokens, about a second of a stream.
/// A preamble of a model that was asked for none is one sentence; in what is longer the answer has
/// begun.
pub const HOLD_MAX: usize = 256;

/// Bytes from which a head that equals another stretch of the answer is no coincidence.
const LONG_MATCH: usize = 24;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod searches;
#[cfg(test)]
mod tests;
