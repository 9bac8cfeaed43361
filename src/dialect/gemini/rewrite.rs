//! Continues a Gemini request.
//!
//! In: the caller's request and what has been said. Out: the next request. It must never add a
//! parameter: only turns are appended and `maxOutputTokens` lowered.

use serde_json::{Value, json};

use super::super::ladder::{Sent, Terms};
use super::super::{Capabilities, Continuation, Prefill, Rewrite, Unresumable};
use super::message;
use super::request::{field, name_in, outline};
use crate::event::Resume;
use crate::seam::Expect;
use crate::transcript::Transcript;

pub(super) fn resumes(
    request: &Value,
    transcript: &Transcript,
    known: &Capabilities,
) -> Vec<Resume> {
    let terms = Terms {
        outline: outline(request),
        structured: is_structured(request),
        forces_tool: forces_tool(request),
        is_continued: false,
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
    let contents = next.get_mut("contents").and_then(Value::as_array_mut).ok_or(Unresumable)?;
    let sent = Sent::of(transcript);
    let note = |template: &str| {
        let (words, expect) = sent.ask(template);
        (json!({ "role": "user", "parts": [{ "text": words }] }), expect)
    };
    let expect = match by {
        Resume::Align => return Ok(Continuation::new(next, Expect::Align)),
        Resume::Prefill => {
            message::push_turn(contents, message::partial(transcript));
            Expect::Literal { sent: sent.text.len(), echo: context.capabilities.echo }
        }
        Resume::Instruct => {
            message::push_turn(contents, message::partial(transcript));
            let (note, expect) = note(&context.wording.instruct);
            contents.push(note);
            expect
        }
        Resume::Quote => {
            let (note, expect) = note(&context.wording.quote);
            contents.push(note);
            expect
        }
        Resume::Cursor => return Err(Unresumable),
    };
    lower(&mut next, request, &sent, context.spent);
    Ok(Continuation::new(next, expect))
}

/// The thinking budget lies within the limit.
fn lower(next: &mut Value, request: &Value, sent: &Sent<'_>, spent: Option<u64>) {
    let Some(config) = name_in(request, "generationConfig") else { return };
    let Some(limit) = next.get(&config).and_then(|config| name_in(config, "maxOutputTokens"))
    else {
        return;
    };
    let config = next.get_mut(&config);
    let thinking = config.as_deref().and_then(|config| field(config, "thinkingConfig"));
    let budget = thinking.and_then(|thinking| field(thinking, "thinkingBudget"));
    let floor = budget.and_then(Value::as_u64).map_or(1, |budget| budget.saturating_add(1));
    if let Some(config) = config.and_then(Value::as_object_mut) {
        sent.lower(config, &limit, spent, floor);
    }
}

/// Whether the output has a form of its own: JSON, an enum, pictures, sound.
fn is_structured(request: &Value) -> bool {
    let Some(config) = field(request, "generationConfig") else { return false };
    let form = field(config, "responseMimeType").and_then(Value::as_str);
    let beside = |modality: &Value| modality.as_str() != Some("TEXT");
    let modalities = field(config, "responseModalities").and_then(Value::as_array);
    form.is_some_and(|form| form != "text/plain")
        || SCHEMAS.iter().any(|name| field(config, name).is_some())
        || modalities.is_some_and(|modalities| modalities.iter().any(beside))
}

fn forces_tool(request: &Value) -> bool {
    let tools = field(request, "toolConfig");
    let calling = tools.and_then(|tools| field(tools, "functionCallingConfig"));
    calling.and_then(|calling| field(calling, "mode")) == Some(&json!("ANY"))
}

/// The names that a schema of the output has had.
const SCHEMAS: [&str; 4] =
    ["responseSchema", "responseJsonSchema", "_responseJsonSchema", "responseFormat"];
