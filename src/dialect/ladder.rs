//! What the dialects' continuations have in common: which rungs there are, what is sent, and how
//! far the token limit is lowered.
//!
//! In: what a request and a transcript say. Out: rungs, the text to send, the request's fields
//! lowered. It must never offer a rung that would say a delivered tool call again. Laws kept:
//! *Once*, *Spend*.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{Capabilities, Outline, Prefill, wording};
use crate::event::{PartKind, Resume};
use crate::report::estimate_tokens;
use crate::seam::{Expect, anchor_of};
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
        if self.outline.choices > 1 {
            return Vec::new();
        }
        let mut rungs = Vec::new();
        if known.replays {
            rungs.push(Resume::Cursor);
        }
        if transcript.progress() == Progress::Committed {
            return rungs;
        }
        if !self.structured && !Sent::of(transcript).text.is_empty() {
            if self.prefills(transcript, known) {
                rungs.push(Resume::Prefill);
            }
            if !self.is_continued {
                rungs.push(Resume::Instruct);
                // A note can quote text, not the results of the provider's own tools.
                if !transcript
                    .kept()
                    .any(|part| matches!(part.kind(), PartKind::ServerResult { .. }))
                {
                    rungs.push(Resume::Quote);
                }
            }
        }
        rungs.push(Resume::Align);
        rungs
    }

    fn prefills(&self, transcript: &Transcript, known: &Capabilities) -> bool {
        let reasons = self.outline.reasoning || known.reasoning;
        let ends_in_reasoning = transcript.kept().last().is_some_and(|part| {
            matches!(part.kind(), PartKind::Reasoning | PartKind::RedactedReasoning)
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
pub(super) struct Sent<'t> {
    /// The text; empty where nothing but whitespace has been said.
    pub(super) text: Cow<'t, str>,
}

impl<'t> Sent<'t> {
    pub(super) fn of(transcript: &'t Transcript) -> Self {
        let text = match transcript.spoken() {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_end()),
            Cow::Owned(mut text) => {
                text.truncate(text.trim_end().len());
                Cow::Owned(text)
            }
        };
        Self { text }
    }

    /// The words that ask to go on, by `template`, and what is expected of an answer to them.
    pub(super) fn ask(&self, template: &str) -> (String, Expect) {
        let anchor = anchor_of(&self.text);
        let words = wording::fill(template, &self.text, anchor);
        (words, Expect::Anchor { sent: self.text.len(), anchor: anchor.to_owned() })
    }

    /// The same as a user turn of most APIs.
    pub(super) fn note(&self, template: &str) -> (Value, Expect) {
        let (words, expect) = self.ask(template);
        (json!({ "role": "user", "content": words }), expect)
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
            None => limit.saturating_sub(estimate_tokens(self.text.len())).max(ROOM),
        };
        let rest = rest.max(floor).min(limit);
        request.insert(field.to_owned(), Value::from(rest));
    }
}

/// Tokens that an estimate leaves at least.
const ROOM: u64 = 256;
