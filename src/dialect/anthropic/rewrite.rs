//! Continues an Anthropic request.
//!
//! In: the caller's request and what has been said. Out: the next request. It must never add a
//! parameter: newer models refuse what older ones took, so only messages are appended and
//! `max_tokens` lowered.

use serde_json::Value;

use super::super::ladder::{Sent, Terms};
use super::super::{
    Capabilities, Continuation, Dialect, Prefill, Rewrite, Unresumable, conversation,
};
use super::{Anthropic, message};
use crate::event::Resume;
use crate::seam::Expect;
use crate::transcript::Transcript;

pub(super) fn resumes(
    request: &Value,
    transcript: &Transcript,
    known: &Capabilities,
) -> Vec<Resume> {
    let tool_choice = request.pointer("/tool_choice/type").and_then(Value::as_str);
    let is_set = |pointer: &str| request.pointer(pointer).is_some_and(|value| !value.is_null());
    let terms = Terms {
        outline: Anthropic.outline(request),
        structured: is_set("/output_config/format") || is_set("/output_format"),
        forces_tool: matches!(tool_choice, Some("any" | "tool")),
        is_continued: false,
        // vLLM's `/v1/messages` has no way to ask for it; the flags are Chat Completions' own.
        can_prefill: known.prefill == Prefill::Trailing,
    };
    terms.rungs(transcript, known)
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
    let messages = fields.get_mut("messages").and_then(Value::as_array_mut).ok_or(Unresumable)?;
    let sent = Sent::of(transcript);
    let wording = context.wording;
    let expect = match by {
        Resume::Align => return Ok(Continuation::new(next, Expect::Align)),
        Resume::Prefill => {
            message::push_turn(messages, message::partial(transcript));
            Expect::Literal { sent: sent.text.len(), echo: context.capabilities.echo }
        }
        Resume::Instruct => {
            message::push_turn(messages, message::partial(transcript));
            let (note, expect) = sent.note(&wording.instruct);
            messages.push(note);
            expect
        }
        Resume::Quote => {
            let (note, expect) = sent.note(&wording.quote);
            messages.push(note);
            expect
        }
        Resume::Cursor => return conversation::replay(next, context.cursor, super::OWN),
    };
    // `max_tokens` must be greater than the budget.
    let budget = request.pointer("/thinking/budget_tokens").and_then(Value::as_u64);
    let floor = budget.map_or(1, |budget| budget.saturating_add(1));
    sent.lower(fields, "max_tokens", context.spent, floor);
    Ok(Continuation::new(next, expect))
}
