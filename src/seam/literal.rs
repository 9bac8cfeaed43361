//! Text that should go on literally, but may repeat what was sent first.
//!
//! In: what was sent, and the text character by character. Out: whether it is new text or the
//! answer again. It must never take an overlap off: new text may repeat what stands before it.

use super::fold::{SHORT_MATCH_CHARS, coincidences, counts};
use super::overlap::Habit;
use super::{Feed, HOLD_MAX, LONG_MATCH};
use crate::event::Echo;
use crate::event::Join;

/// Text that equals the head of what was sent, so far.
pub(super) struct Literal {
    matched: usize,
    echo: Echo,
    habit: Option<Habit>,
}

impl Literal {
    /// Fails with the join where nothing that comes could count as a repetition.
    pub(super) fn new(sent: &str, echo: Echo) -> Result<Self, Join> {
        let too_short = match echo {
            Echo::Never => sent.len() < LONG_MATCH,
            Echo::Unknown => coincidences(sent, SHORT_MATCH_CHARS) < SHORT_MATCH_CHARS,
            Echo::Always => sent.is_empty(),
        };
        if too_short {
            return Err(Join::Literal);
        }
        Ok(Self { matched: 0, echo, habit: None })
    }

    pub(super) const fn matched(&self) -> usize {
        self.matched
    }

    /// What came so far, which is what was sent.
    pub(super) fn held<'a>(&self, sent: &'a str) -> &'a str {
        sent.get(..self.matched).unwrap_or_default()
    }

    pub(super) fn feed(&mut self, c: char, sent: &str) -> Feed {
        let held = self.held(sent);
        if !sent[held.len()..].starts_with(c) {
            return literal(format!("{held}{c}"));
        }
        self.matched += c.len_utf8();
        match self.reading(sent) {
            Reading::Open => Feed::Hold,
            Reading::Literal => literal(self.held(sent).to_owned()),
            Reading::Repetition => {
                Feed::Swallow { text: String::new(), matched: self.matched, trimmed: self.matched }
            }
        }
    }

    fn reading(&mut self, sent: &str) -> Reading {
        let matched = self.matched;
        let whole = matched == sent.len();
        let held_enough = matched > HOLD_MAX;
        if whole && self.echo == Echo::Always {
            return Reading::Repetition;
        }
        let enough = match self.echo {
            Echo::Never => matched >= LONG_MATCH,
            // What is sent has the characters it takes, see `new`.
            Echo::Unknown | Echo::Always => whole || held_enough || counts(self.held(sent)),
        };
        if !enough {
            return if whole { Reading::Literal } else { Reading::Open };
        }
        let habit = self.habit.get_or_insert_with(|| Habit::of(sent));
        if habit.repetition {
            // "ha ha" may go on with "ha ha": only a server that is known to echo repeats here,
            // and then it repeats all of it.
            return match self.echo {
                Echo::Always if held_enough => Reading::Repetition,
                Echo::Always => Reading::Open,
                Echo::Never | Echo::Unknown => Reading::Literal,
            };
        }
        if self.echo == Echo::Never && matched <= habit.head_again {
            return if held_enough { Reading::Literal } else { Reading::Open };
        }
        Reading::Repetition
    }
}

enum Reading {
    Open,
    Literal,
    Repetition,
}

const fn literal(text: String) -> Feed {
    Feed::Release { text, trimmed: 0, join: Join::Literal }
}
