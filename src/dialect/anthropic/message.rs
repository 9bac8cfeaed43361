//! A transcript as Anthropic's content blocks.
//!
//! In: a transcript. Out: blocks that the provider accepts in a history. It must never contain an
//! unsigned thought, an empty text, a call without whole input or a server's call without its
//! result: each of them is a 400.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::event::{Annotation, FinishReason, PartKind};
use crate::transcript::{Part, PartState, Transcript};

/// The blocks of an assistant turn in a history.
pub(super) fn blocks(transcript: &Transcript) -> Vec<Value> {
    let servers = Servers::of(transcript);
    let kept = transcript.kept().filter(|part| part.choice() == 0);
    let mut blocks: Vec<Value> = kept.filter_map(|part| block(part, &servers)).collect();
    strip_thoughts(&mut blocks);
    blocks
}

/// The blocks of an unfinished turn that is to be continued: as in a history, without the markers
/// of a change of models, and without whitespace at the end of its text.
pub(super) fn partial(transcript: &Transcript) -> Vec<Value> {
    let mut blocks = blocks(transcript);
    blocks.retain(|block| !is_type(block, &["fallback"]));
    while let Some(last) = blocks.iter().rposition(|block| is_type(block, &["text"])) {
        let text = blocks.get_mut(last).and_then(|block| block.get_mut("text"));
        let Some(Value::String(text)) = text else {
            break;
        };
        text.truncate(text.trim_end().len());
        if !text.is_empty() {
            break;
        }
        blocks.remove(last);
    }
    strip_thoughts(&mut blocks);
    blocks
}

/// Appends `blocks` as an assistant turn, or to the assistant turn that the request ends in: two
/// in a row would be joined by the provider with a break that was never said.
pub(super) fn push_turn(messages: &mut Vec<Value>, blocks: Vec<Value>) {
    let own = messages.last_mut().filter(|turn| turn.get("role") == Some(&json!("assistant")));
    let Some(content) = own.and_then(|turn| turn.get_mut("content")) else {
        return messages.push(json!({ "role": "assistant", "content": blocks }));
    };
    let mut whole = match content.take() {
        Value::Array(blocks) => blocks,
        Value::String(text) => vec![json!({ "type": "text", "text": text })],
        _ => Vec::new(),
    };
    let mut blocks = blocks.into_iter();
    let first = blocks.next();
    match (whole.last_mut(), first) {
        (Some(last), Some(first)) if is_plain_text(last) && is_plain_text(&first) => {
            if let (Some(Value::String(last)), Some(more)) =
                (last.get_mut("text"), first.get("text").and_then(Value::as_str))
            {
                last.push_str(more);
            }
        }
        (_, first) => whole.extend(first),
    }
    whole.extend(blocks);
    *content = Value::Array(whole);
}

/// The calls and results of the provider's own tools that belong together.
struct Servers<'t> {
    calls: HashSet<&'t str>,
    results: HashSet<&'t str>,
    /// The turn is paused: it is sent back with its last call open.
    paused: bool,
}

impl<'t> Servers<'t> {
    fn of(transcript: &'t Transcript) -> Self {
        let whole = || transcript.kept().filter(|part| part.state() == PartState::Closed);
        Self {
            calls: whole()
                .filter_map(|part| match part.kind() {
                    PartKind::ServerCall { id, .. } => Some(&**id),
                    _ => None,
                })
                .collect(),
            results: whole()
                .filter_map(|part| match part.kind() {
                    PartKind::ServerResult { call } => Some(&**call),
                    _ => None,
                })
                .collect(),
            paused: transcript.finish().is_some_and(|end| end.reason == FinishReason::Pause),
        }
    }
}

fn block(part: &Part, servers: &Servers<'_>) -> Option<Value> {
    let is_whole = part.state() == PartState::Closed;
    match part.kind() {
        PartKind::Text | PartKind::Refusal => text(part),
        PartKind::Reasoning => {
            let signature = part.signature().filter(|_| is_whole)?;
            let thinking = part.text();
            Some(json!({ "type": "thinking", "thinking": thinking, "signature": signature }))
        }
        PartKind::ToolCall { id, name } => {
            let input = input(part.text()).filter(|_| is_whole)?;
            Some(json!({ "type": "tool_use", "id": **id, "name": **name, "input": input }))
        }
        PartKind::ServerCall { id, .. } => {
            let is_answered = servers.results.contains(&**id) || servers.paused;
            object(part.text()).filter(|_| is_whole && is_answered)
        }
        PartKind::ServerResult { call } => {
            object(part.text()).filter(|_| is_whole && servers.calls.contains(&**call))
        }
        PartKind::RedactedReasoning | PartKind::Opaque { .. } => {
            object(part.text()).filter(|_| is_whole)
        }
    }
}

fn text(part: &Part) -> Option<Value> {
    if part.text().trim().is_empty() {
        return None;
    }
    let citations = part.annotations().iter().filter_map(|annotation| match annotation {
        Annotation::Citation(citation) => object(citation),
        Annotation::Signature(_) => None,
    });
    let citations: Vec<Value> = citations.collect();
    let mut block = json!({ "type": "text", "text": part.text() });
    if !citations.is_empty() {
        block["citations"] = Value::Array(citations);
    }
    Some(block)
}

/// The input of a call; none at all is an empty one.
fn input(arguments: &str) -> Option<Value> {
    if arguments.trim().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    object(arguments)
}

fn object(json: &str) -> Option<Value> {
    serde_json::from_str(json).ok().filter(Value::is_object)
}

/// A turn must not end in a thought.
fn strip_thoughts(blocks: &mut Vec<Value>) {
    while blocks.last().is_some_and(|block| is_type(block, &["thinking", "redacted_thinking"])) {
        blocks.pop();
    }
}

fn is_type(block: &Value, types: &[&str]) -> bool {
    let kind = block.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| types.contains(&kind))
}

fn is_plain_text(block: &Value) -> bool {
    is_type(block, &["text"]) && block.get("citations").is_none_or(Value::is_null)
}
