//! What the dialects' requests have in common.
//!
//! In: a caller's request. Out: what it says, or why it cannot be streamed. It must never show any
//! of the request's content.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::InvalidRequest;

/// Whether the request can be streamed and recovered at all.
///
/// Only what the crate itself needs is checked; the rest is the provider's to judge. A model may be
/// missing: some gateways have it in the path.
pub(super) fn check(request: &Value) -> Result<(), InvalidRequest> {
    let Value::Object(fields) = request else {
        return Err(InvalidRequest::NotAnObject);
    };
    match fields.get("messages") {
        None => Err(InvalidRequest::Missing("messages")),
        Some(Value::Array(_)) => check_rest(fields),
        Some(_) => Err(InvalidRequest::WrongType("messages")),
    }
}

/// What every dialect's requests have in common.
pub(super) fn check_rest(fields: &Map<String, Value>) -> Result<(), InvalidRequest> {
    match fields.get("model") {
        None | Some(Value::Null | Value::String(_)) => {}
        Some(_) => return Err(InvalidRequest::WrongType("model")),
    }
    match fields.get("stream") {
        None | Some(Value::Null | Value::Bool(true)) => Ok(()),
        Some(Value::Bool(false)) => Err(InvalidRequest::NotStreaming),
        Some(_) => Err(InvalidRequest::WrongType("stream")),
    }
}

/// The model asked for; empty where the request names none.
pub(super) fn model(request: &Value) -> Arc<str> {
    Arc::from(request.get("model").and_then(Value::as_str).unwrap_or_default())
}

/// A string or a list of strings; what is empty stops nothing.
pub(super) fn strings(value: Option<&Value>) -> Vec<Box<str>> {
    let list = match value {
        Some(Value::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let strings = list.iter().filter_map(Value::as_str);
    strings.filter(|text| !text.is_empty()).map(Box::from).collect()
}

/// Whether `thinking` turns reasoning on.
pub(super) fn thinks(thinking: Option<&Value>) -> bool {
    let kind = thinking.and_then(|thinking| thinking.get("type")).and_then(Value::as_str);
    matches!(kind, Some("enabled" | "adaptive"))
}

/// Bytes of the text that is in the fields of `request` that hold the conversation, at the least.
///
/// Strings count, and what stands in the `text`, `content` and `parts` of objects: no image or file, in
/// whatever encoding, no tool, no call, and no reasoning of earlier turns, which providers may leave out. None
/// of it counts where the request lets the provider shorten the conversation.
pub(super) fn text_bytes<'v>(
    request: &Value,
    fields: impl IntoIterator<Item = Option<&'v Value>>,
) -> usize {
    let asks = |field: &str| match request.get(field) {
        None | Some(Value::Null) => false,
        Some(value) => value != "disabled",
    };
    if SHORTENING.into_iter().any(asks) {
        return 0;
    }
    fields.into_iter().flatten().map(text_in).sum()
}

fn text_in(value: &Value) -> usize {
    match value {
        Value::String(text) => changes(text.as_bytes()),
        Value::Array(items) => items.iter().map(text_in).sum(),
        Value::Object(fields) if !is_reasoning(fields) => {
            let fields =
                ["text", "content", "parts"].into_iter().filter_map(|name| fields.get(name));
            fields.map(text_in).sum()
        }
        _ => 0,
    }
}

fn is_reasoning(fields: &Map<String, Value>) -> bool {
    let kind = fields.get("type").and_then(Value::as_str);
    matches!(kind, Some("reasoning" | "thinking" | "thought"))
        || fields.get("thought") == Some(&Value::Bool(true))
}

/// The bytes that differ from the one before: a long run of blanks may be one token.
fn changes(text: &[u8]) -> usize {
    let pairs = text.iter().zip(text.iter().skip(1));
    usize::from(!text.is_empty()) + pairs.filter(|(one, next)| one != next).count()
}

/// Fields by which a request lets its provider leave out parts of the conversation: Responses, Anthropic, vLLM,
/// OpenRouter.
const SHORTENING: [&str; 4] =
    ["truncation", "context_management", "truncate_prompt_tokens", "transforms"];
