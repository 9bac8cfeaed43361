//! A transcript as items of a Responses input.
//!
//! In: a transcript. Out: items that the provider accepts in a history. It must never contain a thought
//! whose words are not in it, a call without whole input, or a name that only a kept response has: an id
//! that the provider does not find, or finds without the item that it belongs to, is a 400. So items
//! have the ids that their schema demands and no others, as in the vendor's own Codex (November 2026).

use serde_json::{Map, Value, json};

use super::item::is_callers;
use crate::event::{Annotation, PartKind};
use crate::transcript::{Part, PartState, Transcript};

/// The items of a turn.
pub(super) fn items(transcript: &Transcript) -> Vec<Value> {
    let mut items = Vec::new();
    for part in transcript.kept().filter(|part| part.choice() == 0) {
        match part.kind() {
            PartKind::Text | PartKind::Refusal => push_content(&mut items, part),
            _ => items.extend(item(part)),
        }
    }
    strip_thoughts(&mut items);
    items
}

/// The items of an unfinished turn that is to be continued: without whitespace at the end of its text.
pub(super) fn partial(transcript: &Transcript) -> Vec<Value> {
    let mut items = items(transcript);
    while let Some(last) = items.iter().rposition(is_message) {
        let content = items.get_mut(last).and_then(|item| item.get_mut("content"));
        let Some(Value::Array(content)) = content else { break };
        let text = content.last_mut().and_then(|part| part.get_mut("text"));
        let Some(Value::String(text)) = text else { break };
        text.truncate(text.trim_end().len());
        if !text.is_empty() {
            break;
        }
        content.pop();
        if content.is_empty() {
            items.remove(last);
        }
    }
    strip_thoughts(&mut items);
    items
}

/// A text or refusal, in the message that the items end in or in a new one.
fn push_content(items: &mut Vec<Value>, part: &Part) {
    if part.text().is_empty() {
        return;
    }
    let content = match part.kind() {
        PartKind::Refusal => json!({ "type": "refusal", "refusal": part.text() }),
        _ => text(part),
    };
    let last = items.last_mut().filter(|item| is_message(item));
    match last.and_then(|item| item.get_mut("content")).and_then(Value::as_array_mut) {
        Some(parts) => parts.push(content),
        None => items.push(json!({ "role": "assistant", "content": [content] })),
    }
}

fn text(part: &Part) -> Value {
    let citations = part.annotations().iter().filter_map(|annotation| match annotation {
        Annotation::Citation(citation) => object(citation).map(Value::Object),
        Annotation::Signature(_) => None,
    });
    let citations: Vec<Value> = citations.collect();
    let mut content = json!({ "type": "output_text", "text": part.text() });
    if !citations.is_empty() {
        content["annotations"] = Value::Array(citations);
    }
    content
}

fn item(part: &Part) -> Option<Value> {
    if part.state() != PartState::Closed {
        return None;
    }
    match part.kind() {
        PartKind::ToolCall { id, name } => call(id, name, part.text()),
        PartKind::Reasoning => unnamed(object(part.signature()?)?),
        PartKind::RedactedReasoning => unnamed(object(part.text())?),
        // Its id is the one that a history can do without, and by which a thought would be missed.
        PartKind::ServerResult { .. } => {
            let item = object(part.text())?;
            match item.get("type").and_then(Value::as_str)? {
                "web_search_call" => unnamed(item),
                _ => Some(Value::Object(item)),
            }
        }
        PartKind::ServerCall { .. } | PartKind::Opaque { .. } => {
            object(part.text()).filter(|item| item.contains_key("type")).map(Value::Object)
        }
        PartKind::Text | PartKind::Refusal => None,
    }
}

/// A call: free text where its content is a JSON string, one of the API's own tools where it is a whole
/// item, else a function's arguments.
pub(super) fn call(id: &str, name: &str, content: &str) -> Option<Value> {
    if is_callers(name) {
        let item = object(content)?;
        if item.get("type").and_then(Value::as_str) == Some(name) {
            return Some(Value::Object(item));
        }
    }
    let content = if content.trim().is_empty() { "{}" } else { content };
    Some(match serde_json::from_str(content).ok()? {
        Value::String(input) => {
            json!({ "type": "custom_tool_call", "call_id": id, "name": name, "input": input })
        }
        _ => {
            json!({ "type": "function_call", "call_id": id, "name": name, "arguments": content })
        }
    })
}

fn unnamed(mut item: Map<String, Value>) -> Option<Value> {
    item.contains_key("type").then(|| {
        item.shift_remove("id");
        item.shift_remove("status");
        Value::Object(item)
    })
}

fn object(json: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(json).ok()
}

/// A thought is nothing without what it led to.
fn strip_thoughts(items: &mut Vec<Value>) {
    while items.last().is_some_and(|item| item.get("type") == Some(&json!("reasoning"))) {
        items.pop();
    }
}

fn is_message(item: &Value) -> bool {
    item.get("role").is_some()
}
