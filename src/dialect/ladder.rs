//! What both dialects' continuations have in common: which rungs there are, what is sent, and how
//! far the token limit is lowered.
//!
//! In: what a request and a transcript say. Out: rungs, the text to send, the request's fields
//! lowered. It must never offer a rung that would say a delivered tool call again. Laws kept:
//! *Once*, *Spend*.

use serde_json::{Map, Value};

use super::{Capabilities, Outline, Prefill};
use crate::event::{PartKind, Resume};
use crate::seam::Expect;
use crate::transcript::{Progress, Transcript};

/// What a request says about its being continued.
#[derive(Debug)]
pub(super) struct Terms {
    /// Choices, reasoning.
    pub(super) outline: Outline,
    /// Its output has a form of its own, of which no half can be continued.
    pub(super) structured: bool,
    /// A tool must be called.
    pub(super) forces_tool: bool,
    /// Its last turn carries a flag by which the caller has it continued; no note can follow.
    pub(super) is_continued: bool,
    /// The dialect can express the upstream's kind of prefill.
    pub(super) can_prefill: bool,
}

impl Terms {
    /// The rungs, best first.
    pub(super) fn rungs(&self, transcript: &Transcript, known: &Capabilities) -> Vec<Resume> {
        if self.outline.choices > 1 || transcript.progress() == Progress::Committed {
            return Vec::new();
        }
        let mut rungs = Vec::new();
        if !self.structured && !Sent::of(transcript).text.is_empty() {
            if self.prefills(transcript, known) {
                rungs.push(Resume::Prefill);
            }
            if !self.is_continued {
                rungs.extend([Resume::Instruct, Resume::Quote]);
            }
        }
        rungs.push(Resume::Align);
        rungs
    }

    fn prefills(&self, transcript: &Transcript, known: &Capabilities) -> bool {
        let reasons = self.outline.reasoning || known.reasoning;
        let ends_in_reasoning = transcript.kept().last().is_some_and(|part| {
            matches!(
                part.kind(),
                PartKind::Reasoning | PartKind::RedactedReasoning
            )
        });
        self.can_prefill
            && known.prefill != Prefill::None
            && !reasons
            && !self.forces_tool
            && !ends_in_reasoning
    }
}

/// The visible text that goes into a continuation, without the whitespace at its end, which
/// providers refuse.
#[derive(Debug)]
pub(super) struct Sent {
    /// The text; empty where nothing but whitespace has been said.
    pub(super) text: String,
}

impl Sent {
    pub(super) fn of(transcript: &Transcript) -> Self {
        let mut text = transcript.text();
        text.truncate(text.trim_end().len());
        Self { text }
    }

    /// The end of the text, for the model to repeat.
    pub(super) fn anchor(&self) -> &str {
        anchor_of(&self.text)
    }

    /// What is expected of an answer to a note.
    pub(super) fn anchored(&self) -> Expect {
        Expect::Anchor {
            sent: self.text.len(),
            anchor: self.anchor().to_owned(),
        }
    }

    /// Lowers the token limit in `field` by what the text has cost, if there is a limit.
    ///
    /// Reported tokens are taken off exactly. An estimate takes off what the text costs at least,
    /// so that no answer is cut short, and leaves at least [`ROOM`]. `floor` is the provider's
    /// minimum. The limit is never raised.
    pub(super) fn lower(
        &self,
        request: &mut Map<String, Value>,
        field: &str,
        spent: Option<u64>,
        floor: u64,
    ) {
        let Some(limit) = request.get(field).and_then(Value::as_u64) else {
            return;
        };
        let rest = match spent {
            Some(spent) => limit.saturating_sub(spent),
            None => limit
                .saturating_sub(self.text.len() as u64 / BYTES_PER_TOKEN)
                .max(ROOM),
        };
        let rest = rest.max(floor).min(limit);
        request.insert(field.to_owned(), Value::from(rest));
    }
}

/// The last characters of `sent`, from a non-space on; more of them where they stand twice.
// A stand-in until `seam::anchor_of` is there.
fn anchor_of(sent: &str) -> &str {
    let mut anchor = "";
    for chars in (ANCHOR_MIN..=ANCHOR_MAX).step_by(ANCHOR_STEP) {
        let start = sent
            .char_indices()
            .rev()
            .nth(chars - 1)
            .map_or(0, |(start, _)| start);
        anchor = sent.get(start..).unwrap_or_default().trim_start();
        let is_unique = sent.find(anchor) == Some(sent.len() - anchor.len());
        if is_unique || start == 0 {
            break;
        }
    }
    anchor
}

/// Characters of an anchor: enough to be found, few enough to be repeated exactly.
const ANCHOR_MIN: usize = 40;
/// Characters of an anchor whose shorter forms stand elsewhere in the text, too.
const ANCHOR_MAX: usize = 80;
const ANCHOR_STEP: usize = 10;

/// More bytes than a token of ordinary text has on average in any tokenizer we know of, so that
/// an estimate is a lower bound.
const BYTES_PER_TOKEN: u64 = 8;

/// Tokens that an estimate leaves at least.
const ROOM: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors() {
        let (digits, twice) = (
            "0123456789".repeat(3),
            "Once upon a time there was a small house. ",
        );
        for (sent, chars) in [
            ("short", 5),
            (
                &*format!("{digits}_one two three four five six seven eight"),
                40,
            ),
            // A space at its start is left out.
            (&*format!("{digits}_ {}", "b".repeat(39)), 39),
            // More where it stands twice; not more than the most.
            (&*format!("A {twice}B {}", twice.trim_end()), 50),
            (&*"ab".repeat(100), 80),
            (&*"é".repeat(30), 30),
            (&*format!("x{}", "日本".repeat(20)), 40),
        ] {
            let anchor = anchor_of(sent);
            assert!(sent.ends_with(anchor), "{sent}");
            assert_eq!(anchor.chars().count(), chars, "{anchor}");
        }
    }
}
