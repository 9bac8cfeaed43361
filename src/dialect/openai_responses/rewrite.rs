//! Continues a Responses request.
//!
//! In: the caller's request and what has been said. Out: the next request, or where the provider replays
//! the answer. It must never add a parameter, nor write into a conversation that the provider keeps.

use serde_json::{Value, json};

use super::super::ladder::{Sent, Terms};
use super::super::{Capabilities, Continuation, Dialect, Replay, Rewrite, Unresumable};
use super::{NUMBERING, OpenAiResponses, history};
use crate::event::Resume;
use crate::seam::Expect;
use crate::transcript::Transcript;

pub(super) fn resumes(
    request: &Value,
    transcript: &Transcript,
    known: &Capabilities,
) -> Vec<Resume> {
    let terms = Terms {
        outline: OpenAiResponses.outline(request),
        structured: is_structured(request) || keeps_conversation(request),
        forces_tool: false,
        is_continued: false,
        can_prefill: false,
    };
    let mut rungs = terms.rungs(transcript, known);
    if is_background(request) || is_stored(request) {
        rungs.insert(0, Resume::Cursor);
    }
    rungs
}

pub(super) fn rewrite(
    request: &Value,
    transcript: &Transcript,
    by: Resume,
    context: &Rewrite<'_>,
) -> Result<Continuation, Unresumable> {
    if !resumes(request, transcript, context.capabilities).contains(&by) {
        return Err(Unresumable);
    }
    let mut next = request.clone();
    let fields = next.as_object_mut().ok_or(Unresumable)?;
    let sent = Sent::of(transcript);
    let mut added = Vec::new();
    let expect = match by {
        Resume::Align => return Ok(Continuation::new(next, Expect::Align)),
        Resume::Cursor if is_stored(request) => {
            let cursor = context.cursor.ok_or(Unresumable)?;
            let replay = Replay::below(&cursor.id, "").ok_or(Unresumable)?;
            return Ok(Continuation::new(next, Expect::Align).replayed(replay));
        }
        Resume::Cursor => return NUMBERING.replay(next, context.cursor),
        Resume::Instruct => {
            added = history::partial(transcript);
            let (note, expect) = sent.note(&context.wording.instruct);
            added.push(note);
            expect
        }
        Resume::Quote => {
            let (note, expect) = sent.note(&context.wording.quote);
            added.push(note);
            expect
        }
        Resume::Prefill => return Err(Unresumable),
    };
    let input = fields.entry("input").or_insert(Value::Null);
    *input = match input.take() {
        Value::Array(mut items) => {
            items.append(&mut added);
            Value::Array(items)
        }
        Value::String(text) => {
            added.insert(0, json!({ "role": "user", "content": text }));
            Value::Array(added)
        }
        Value::Null => Value::Array(added),
        _ => return Err(Unresumable),
    };
    sent.lower(fields, "max_output_tokens", context.spent, OUTPUT_MIN);
    Ok(Continuation::new(next, expect))
}

/// Whether the response is made whoever listens, and can be replayed.
pub(super) fn is_background(request: &Value) -> bool {
    request.get("background") == Some(&Value::Bool(true))
}

/// Whether a response that only goes on as long as somebody listens is stored. It has to be said: not every
/// server of the format stores what is left unsaid, as OpenAI's does, and one more request at every cut
/// is only worth it where there is something to fetch.
pub(super) fn is_stored(request: &Value) -> bool {
    !is_background(request) && request.get("store") == Some(&Value::Bool(true))
}

/// Whether the output has a form of its own.
fn is_structured(request: &Value) -> bool {
    let format = request.pointer("/text/format/type").and_then(Value::as_str);
    format.is_some_and(|format| format != "text")
}

/// Whether the provider writes what it is sent into a conversation of the caller's, where a note of ours
/// would stay.
pub(super) fn keeps_conversation(request: &Value) -> bool {
    request.get("conversation").is_some_and(|conversation| !conversation.is_null())
}

/// The least that `max_output_tokens` may be: below it Azure answers 400, "Expected a value >= 16"
/// (<https://github.com/vectorize-io/hindsight/issues/58>, read in November 2026).
const OUTPUT_MIN: u64 = 16;
