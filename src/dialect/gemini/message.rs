//! A transcript as parts of a model's turn.
//!
//! In: a transcript. Out: parts that the provider accepts in a history, each with its own signature: a call
//! without it is a 400 from Gemini 3 on. It must never contain a call without whole arguments.

use serde_json::{Map, Value, json};

use crate::event::PartKind;
use crate::transcript::{Part, PartState, Transcript};

/// The parts of a model's turn in a history.
pub(super) fn parts(transcript: &Transcript) -> Vec<Value> {
    transcript.kept().filter(|part| part.choice() == 0).filter_map(part).collect()
}

/// The parts of an unfinished turn that is to be continued: as in a history, without whitespace at the
/// end of its text.
pub(super) fn partial(transcript: &Transcript) -> Vec<Value> {
    let mut parts = parts(transcript);
    while let Some(last) = parts.iter().rposition(is_text) {
        let Some(Value::String(text)) = parts.get_mut(last).and_then(|part| part.get_mut("text"))
        else {
            break;
        };
        text.truncate(text.trim_end().len());
        if !text.is_empty() {
            break;
        }
        parts.remove(last);
    }
    parts
}

/// Appends `parts` as a model's turn, or to the model's turn that the request ends in.
pub(super) fn push_turn(contents: &mut Vec<Value>, parts: Vec<Value>) {
    let own = contents.last_mut().filter(|turn| turn.get("role") == Some(&json!("model")));
    let Some(whole) = own.and_then(|turn| turn.get_mut("parts")).and_then(Value::as_array_mut)
    else {
        return contents.push(json!({ "role": "model", "parts": parts }));
    };
    let mut parts = parts.into_iter();
    let first = parts.next();
    match (whole.last_mut(), first) {
        (Some(last), Some(first)) if is_plain(last) && is_plain(&first) => {
            if let (Some(Value::String(last)), Some(more)) =
                (last.get_mut("text"), first.get("text").and_then(Value::as_str))
            {
                last.push_str(more);
            }
        }
        (_, first) => whole.extend(first),
    }
    whole.extend(parts);
}

fn part(part: &Part) -> Option<Value> {
    let is_whole = part.state() == PartState::Closed;
    let signature = part.signature();
    let mut fields = match part.kind() {
        PartKind::Text | PartKind::Refusal => {
            let text = Some(part.text()).filter(|text| !text.is_empty())?;
            json!({ "text": text })
        }
        // Thoughts that are not signed are for reading only.
        PartKind::Reasoning => {
            signature.filter(|_| is_whole)?;
            json!({ "text": part.text(), "thought": true })
        }
        PartKind::ToolCall { id, name } => {
            let args = object(part.text()).filter(|_| is_whole)?;
            let mut call = Map::new();
            if !id.is_empty() {
                call.insert("id".to_owned(), Value::from(&**id));
            }
            call.insert("name".to_owned(), Value::from(&**name));
            call.insert("args".to_owned(), args);
            json!({ "functionCall": call })
        }
        PartKind::Opaque { .. } | PartKind::ServerCall { .. } | PartKind::ServerResult { .. } => {
            return object(part.text()).filter(|part| is_whole && is_own(part));
        }
        PartKind::RedactedReasoning => return None,
    };
    if let Some(signature) = signature {
        fields["thoughtSignature"] = Value::from(signature);
    }
    Some(fields)
}

/// The arguments of a call; none at all are empty ones.
fn object(json: &str) -> Option<Value> {
    if json.trim().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    serde_json::from_str(json).ok().filter(Value::is_object)
}

/// Whether a part is Gemini's; other vendors' blocks have a `type`.
pub(super) fn is_own(part: &Value) -> bool {
    part.get("type").is_none() && part.as_object().is_some_and(|part| !part.is_empty())
}

fn is_text(part: &Value) -> bool {
    part.get("text").is_some() && part.get("thought").is_none()
}

fn is_plain(part: &Value) -> bool {
    is_text(part) && part.get("thoughtSignature").is_none()
}
