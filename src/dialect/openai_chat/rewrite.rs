//! Continues a Chat Completions request.
//!
//! In: the caller's request and what has been said. Out: the next request, or the assistant turn
//! for a history. It must never add a parameter but the flag of the rung itself.

use serde_json::{Map, Value, json};

use super::super::ladder::{Sent, Terms};
use super::super::{
    Capabilities, Continuation, Dialect, Echo, Prefill, Rewrite, Unresumable, conversation,
};
use super::OpenAiChat;
use crate::event::{PartKind, Resume};
use crate::seam::Expect;
use crate::transcript::Transcript;

/// The assistant turn. Reasoning is no part of a history here, nor are other vendors' blocks.
pub(super) fn message(transcript: &Transcript) -> Value {
    let content = transcript.text();
    let kept = || transcript.kept().filter(|part| part.choice() == 0);
    let refusal: String =
        kept().filter(|part| *part.kind() == PartKind::Refusal).map(|part| part.text()).collect();
    let calls: Vec<Value> = transcript
        .tool_calls()
        .filter(|part| part.choice() == 0)
        .filter_map(|part| call(part.kind(), part.text()))
        .collect();
    let mut message = json!({ "role": "assistant", "content": null });
    if !content.is_empty() {
        message["content"] = Value::from(content);
    }
    if !refusal.is_empty() {
        message["refusal"] = Value::from(refusal);
    }
    if !calls.is_empty() {
        message["tool_calls"] = Value::from(calls);
    }
    message
}

fn call(kind: &PartKind, arguments: &str) -> Option<Value> {
    let PartKind::ToolCall { id, name } = kind else {
        return None;
    };
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    let function = json!({ "name": **name, "arguments": arguments });
    Some(json!({ "id": **id, "type": "function", "function": function }))
}

pub(super) fn resumes(
    request: &Value,
    transcript: &Transcript,
    known: &Capabilities,
) -> Vec<Resume> {
    let terms = Terms {
        outline: OpenAiChat.outline(request),
        structured: is_structured(request),
        forces_tool: forces_tool(request),
        is_continued: is_continued(request),
        can_prefill: true,
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
    let echo = context.capabilities.echo;
    let wording = context.wording;
    let expect = match by {
        Resume::Align => return Ok(Continuation::new(next, Expect::Align)),
        Resume::Prefill => {
            let turn = push_turn(messages, &sent.text, echo).ok_or(Unresumable)?;
            match context.capabilities.prefill {
                Prefill::None => return Err(Unresumable),
                Prefill::Trailing => {}
                Prefill::Prefix => _ = turn.insert("prefix".to_owned(), Value::Bool(true)),
                Prefill::Partial => _ = turn.insert("partial".to_owned(), Value::Bool(true)),
                Prefill::ContinueFinalMessage => {
                    fields.insert("continue_final_message".to_owned(), Value::Bool(true));
                    // Its default is true, and both at once are a 400.
                    fields.insert("add_generation_prompt".to_owned(), Value::Bool(false));
                }
            }
            Expect::Literal { sent: sent.text.len(), echo }
        }
        Resume::Instruct => {
            push_turn(messages, &sent.text, echo).ok_or(Unresumable)?;
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
    // OpenRouter's reasoning budget lies within the limit.
    let budget = request.pointer("/reasoning/max_tokens").and_then(Value::as_u64);
    let floor = budget.map_or(1, |budget| budget.saturating_add(1));
    for field in ["max_tokens", "max_completion_tokens"] {
        sent.lower(fields, field, context.spent, floor);
    }
    Ok(Continuation::new(next, expect))
}

/// Appends `text` as an assistant turn, or to the assistant turn that the request ends in. Hands
/// back that turn.
///
/// Where a server repeats what it is sent, the caller's own beginning has come back as part of the
/// answer, and stands in `text` already.
fn push_turn<'m>(
    messages: &'m mut Vec<Value>,
    text: &str,
    echo: Echo,
) -> Option<&'m mut Map<String, Value>> {
    if messages.last().and_then(|turn| turn.get("role")) != Some(&json!("assistant")) {
        messages.push(json!({ "role": "assistant", "content": text }));
        return messages.last_mut()?.as_object_mut();
    }
    let turn = messages.last_mut()?.as_object_mut()?;
    match turn.get_mut("content") {
        Some(Value::String(own)) => {
            let own_too = echo != Echo::Never && text.starts_with(own.as_str());
            own.push_str(if own_too { text.get(own.len()..)? } else { text });
        }
        Some(Value::Array(parts)) => parts.push(json!({ "type": "text", "text": text })),
        _ => _ = turn.insert("content".to_owned(), Value::from(text)),
    }
    Some(turn)
}

/// Whether the output has a form of its own: JSON, a grammar, sound.
fn is_structured(request: &Value) -> bool {
    let format = request.pointer("/response_format/type").and_then(Value::as_str);
    format.is_some_and(|format| format != "text")
        || CONSTRAINTS.iter().any(|field| request.get(field).is_some_and(|value| !value.is_null()))
}

fn forces_tool(request: &Value) -> bool {
    let mode = request.pointer("/tool_choice/allowed_tools/mode").or(request.get("tool_choice"));
    match mode {
        // Mistral says `any`.
        Some(Value::String(mode)) => mode == "required" || mode == "any",
        Some(Value::Object(_)) => true,
        _ => request.get("function_call").is_some_and(Value::is_object),
    }
}

/// Whether the caller himself has his last turn continued by a flag.
fn is_continued(request: &Value) -> bool {
    let last = request.get("messages").and_then(Value::as_array).and_then(|turns| turns.last());
    let has_flag = |flag: &str| last.and_then(|turn| turn.get(flag)) == Some(&Value::Bool(true));
    has_flag("prefix")
        || has_flag("partial")
        || request.get("add_generation_prompt") == Some(&Value::Bool(false))
        || request
            .get("continue_final_message")
            .is_some_and(|flag| !flag.is_null() && *flag != Value::Bool(false))
}

/// Fields by which servers constrain their output (vLLM, SGLang, llama.cpp), and OpenAI's for
/// sound.
const CONSTRAINTS: [&str; 10] = [
    "audio",
    "ebnf",
    "grammar",
    "guided_choice",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "json_schema",
    "regex",
    "structured_outputs",
];
