//! Continues an interaction.
//!
//! In: the caller's request and what has been said. Out: the next request, or where the provider replays
//! the answer. It must never add a parameter: only steps are appended and `max_output_tokens` lowered.

use serde_json::{Value, json};

use super::super::super::ladder::{Sent, Terms};
use super::super::super::{Capabilities, Continuation, Dialect, Rewrite, Unresumable};
use super::{GeminiInteractions, NUMBERING, history};
use crate::event::Resume;
use crate::seam::Expect;
use crate::transcript::Transcript;

pub(super) fn resumes(
    request: &Value,
    transcript: &Transcript,
    known: &Capabilities,
) -> Vec<Resume> {
    let terms = Terms {
        outline: GeminiInteractions.outline(request),
        structured: is_structured(request),
        forces_tool: false,
        is_continued: false,
        can_prefill: false,
    };
    let mut rungs = terms.rungs(transcript, known);
    // What is not stored cannot be fetched.
    if request.get("store") != Some(&Value::Bool(false)) {
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
    let sent = Sent::of(transcript);
    let mut added = Vec::new();
    let expect = match by {
        Resume::Align => return Ok(Continuation::new(next, Expect::Align)),
        Resume::Cursor => return NUMBERING.replay(next, context.cursor),
        Resume::Instruct => {
            added = history::partial(transcript);
            let (words, expect) = sent.ask(&context.wording.instruct);
            added.push(history::user(&words));
            expect
        }
        Resume::Quote => {
            let (words, expect) = sent.ask(&context.wording.quote);
            added.push(history::user(&words));
            expect
        }
        Resume::Prefill => return Err(Unresumable),
    };
    let input = next.get_mut("input").ok_or(Unresumable)?;
    *input = history::append(input.take(), added).ok_or(Unresumable)?;
    if let Some(config) = next.get_mut("generation_config").and_then(Value::as_object_mut) {
        sent.lower(config, "max_output_tokens", context.spent, 1);
    }
    Ok(Continuation::new(next, expect))
}

/// Whether no half of the output can be gone on with: it has a form of its own, or an agent makes it, whose
/// work a note does not replace.
fn is_structured(request: &Value) -> bool {
    let field = |name: &str| request.get(name).filter(|value| !value.is_null());
    let mime = field("response_mime_type").and_then(Value::as_str);
    let modalities = field("response_modalities").and_then(Value::as_array);
    let is_text =
        |word: &Value| word.as_str().is_some_and(|word| word.eq_ignore_ascii_case("text"));
    field("agent").is_some()
        || field("response_format").is_some_and(|format| !is_plain(format))
        || mime.is_some_and(|mime| mime != PLAIN)
        || modalities.is_some_and(|modalities| !modalities.iter().all(is_text))
}

/// Whether a `response_format` is that of plain text.
fn is_plain(format: &Value) -> bool {
    let mime = format.get("mime_type").and_then(Value::as_str);
    format.get("type") == Some(&json!("text"))
        && format.get("schema").is_none_or(Value::is_null)
        && mime.is_none_or(|mime| mime == PLAIN)
}

const PLAIN: &str = "text/plain";
