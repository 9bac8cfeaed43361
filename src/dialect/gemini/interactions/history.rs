//! A transcript as steps of an interaction, and steps as part of an input.
//!
//! In: a transcript, or the caller's input. Out: steps that the API accepts in a history, thoughts with their
//! signatures; the input with them behind it, in whichever of its forms it is. It must never contain a
//! thought that is not signed, or a call without whole arguments. Facts: `_gaos/types/interactions` of
//! python-genai (`interactionsinput.py`, `step.py`, `turn.py`), read in November 2026.

use serde_json::{Map, Value, json};

use crate::event::{Annotation, PartKind};
use crate::transcript::{Part, PartState, Transcript};

/// The steps of a turn.
pub(super) fn steps(transcript: &Transcript) -> Vec<Value> {
    let mut steps = Vec::new();
    for part in transcript.kept().filter(|part| part.choice() == 0) {
        match part.kind() {
            PartKind::Text | PartKind::Refusal => push_text(&mut steps, part),
            _ => steps.extend(step(part)),
        }
    }
    strip_thoughts(&mut steps);
    steps
}

/// The steps of an unfinished turn that is to be continued: without whitespace at the end of its text.
pub(super) fn partial(transcript: &Transcript) -> Vec<Value> {
    let mut steps = steps(transcript);
    while let Some(last) = steps.iter().rposition(is_output) {
        let content = steps.get_mut(last).and_then(|step| step.get_mut("content"));
        let Some(Value::Array(content)) = content else { break };
        let text = content.last_mut().and_then(|item| item.get_mut("text"));
        let Some(Value::String(text)) = text else { break };
        text.truncate(text.trim_end().len());
        if !text.is_empty() {
            break;
        }
        content.pop();
        if content.is_empty() {
            steps.remove(last);
        }
    }
    strip_thoughts(&mut steps);
    steps
}

/// What a user says.
pub(super) fn user(words: &str) -> Value {
    asked(vec![json!({ "type": "text", "text": words })])
}

/// `input` with `added` behind it. None where it is nothing that the API takes.
pub(super) fn append(input: Value, added: Vec<Value>) -> Option<Value> {
    let mut items = match input {
        Value::String(words) => vec![user(&words)],
        Value::Object(_) => vec![asked(vec![input])],
        Value::Array(items) => items,
        _ => return None,
    };
    if items.iter().any(|item| item.get("role").is_some()) {
        turns(&mut items, added);
        return Some(Value::Array(items));
    }
    if !items.is_empty() && !items.iter().any(is_step) {
        items = vec![asked(items)];
    }
    items.extend(added);
    Some(Value::Array(items))
}

/// The same where the input is made of turns, as the API had it before there were steps.
fn turns(turns: &mut Vec<Value>, added: Vec<Value>) {
    for step in added {
        let is_users = step.get("type") == Some(&json!("user_input"));
        let role = if is_users { "user" } else { "model" };
        let mut content = match step {
            Value::Object(mut step) if is_users || is_output_type(&step) => {
                step.remove("content").and_then(|content| content.as_array().cloned())
            }
            step => Some(vec![step]),
        }
        .unwrap_or_default();
        let last = turns.last_mut().filter(|turn| turn.get("role") == Some(&json!(role)));
        let last = last.filter(|_| !is_users).and_then(|turn| turn.get_mut("content"));
        match last.and_then(Value::as_array_mut) {
            Some(whole) => whole.append(&mut content),
            None => turns.push(json!({ "role": role, "content": content })),
        }
    }
}

fn asked(content: Vec<Value>) -> Value {
    json!({ "type": "user_input", "content": content })
}

/// A text, in the step that the steps end in or in a new one.
fn push_text(steps: &mut Vec<Value>, part: &Part) {
    if part.text().is_empty() {
        return;
    }
    let citations = part.annotations().iter().filter_map(|annotation| match annotation {
        Annotation::Citation(citation) => object(citation).map(Value::Object),
        Annotation::Signature(_) => None,
    });
    let citations: Vec<Value> = citations.collect();
    let mut text = json!({ "type": "text", "text": part.text() });
    if !citations.is_empty() {
        text["annotations"] = Value::Array(citations);
    }
    let last = steps.last_mut().filter(|step| is_output(step));
    match last.and_then(|step| step.get_mut("content")).and_then(Value::as_array_mut) {
        Some(content) => content.push(text),
        None => steps.push(json!({ "type": "model_output", "content": [text] })),
    }
}

fn step(part: &Part) -> Option<Value> {
    if part.state() != PartState::Closed {
        return None;
    }
    match part.kind() {
        PartKind::Reasoning => {
            let mut thought = json!({ "type": "thought", "signature": part.signature()? });
            if !part.text().is_empty() {
                thought["summary"] = json!([{ "type": "text", "text": part.text() }]);
            }
            Some(thought)
        }
        PartKind::ToolCall { id, name } => {
            let blank = part.text().trim().is_empty();
            let arguments = if blank { Map::new() } else { object(part.text())? };
            let mut call = json!({ "type": "function_call", "id": **id, "name": **name,
                "arguments": arguments });
            if let Some(signature) = part.signature() {
                call["signature"] = json!(signature);
            }
            Some(call)
        }
        PartKind::ServerCall { .. } | PartKind::ServerResult { .. } | PartKind::Opaque { .. } => {
            object(part.text()).filter(|step| step.contains_key("type")).map(Value::Object)
        }
        PartKind::Text | PartKind::Refusal | PartKind::RedactedReasoning => None,
    }
}

/// A thought is nothing without what it led to.
fn strip_thoughts(steps: &mut Vec<Value>) {
    while steps.last().is_some_and(|step| step.get("type") == Some(&json!("thought"))) {
        steps.pop();
    }
}

fn is_output(step: &Value) -> bool {
    step.as_object().is_some_and(is_output_type)
}

fn is_output_type(step: &Map<String, Value>) -> bool {
    step.get("type") == Some(&json!("model_output"))
}

/// Whether an item of an input is a step; the others are contents of one turn.
fn is_step(item: &Value) -> bool {
    let Some(kind) = item.get("type").and_then(Value::as_str) else { return false };
    matches!(kind, "user_input" | "model_output" | "thought")
        || kind.ends_with("_call")
        || kind.ends_with("_result")
}

fn object(json: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(json).ok()
}
