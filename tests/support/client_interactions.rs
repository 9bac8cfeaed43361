//! A client of the Interactions API, as strict as one can be.

use serde_json::Value;

use super::{Seen, events};

/// A step that is open: what it is, and what has come of it.
struct Open {
    step: Value,
    said: String,
}

/// Reads a stream of one interaction.
pub(crate) fn read(bytes: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let mut open: Option<Open> = None;
    let (mut next, mut done, mut id) = (0, false, Value::Null);
    for (name, data) in events(bytes, |_| true) {
        assert!(!done && !seen.error, "{name} after the end");
        if data == "[DONE]" {
            assert!(seen.terminal && name == "done", "[DONE] before the end");
            done = true;
            continue;
        }
        assert_eq!(data["event_type"], name.as_str(), "the line before it says the same: {data}");
        if name == "error" {
            assert!(data["error"]["message"].is_string(), "{data}");
            seen.error = true;
            continue;
        }
        assert!(!seen.terminal, "{name} after the end");
        assert_eq!(seen.started, name != "interaction.created", "{name}");
        match name.as_str() {
            "interaction.created" => {
                let interaction = &data["interaction"];
                assert!(interaction["id"].is_string() && interaction["model"].is_string());
                (seen.started, id) = (true, interaction["id"].clone());
            }
            "interaction.status_update" => assert_eq!(data["interaction_id"], id),
            "step.start" => {
                assert!(open.is_none(), "a step begins inside a step");
                assert_eq!(data["index"], next, "steps are numbered in order");
                open = Some(Open { step: data["step"].clone(), said: String::new() });
            }
            "step.delta" => {
                let open = open.as_mut().expect("a delta of an open step");
                assert_eq!(data["index"], next, "a delta of another step");
                piece(open, &data["delta"]);
            }
            "step.stop" => {
                assert_eq!(data["index"], next, "another step ends");
                keep(&mut seen, open.take().expect("a step is open"));
                next += 1;
            }
            "interaction.completed" => {
                assert!(open.is_none(), "the end inside a step");
                let interaction = &data["interaction"];
                assert_eq!(interaction["id"], id, "one id");
                seen.usage = interaction["usage"].clone();
                seen.reason = interaction["status"].as_str().map(str::to_owned);
                assert!(seen.reason.is_some(), "{data}");
                seen.terminal = true;
            }
            other => panic!("{other}: {data}"),
        }
    }
    // What a broken stream has open.
    if let Some(open) = open.filter(|open| open.step["type"] == "model_output") {
        seen.push("text", &open.said);
    }
    seen
}

fn piece(open: &mut Open, delta: &Value) {
    let said = match (open.step["type"].as_str(), delta["type"].as_str()) {
        (Some("model_output"), Some("text")) => &delta["text"],
        (Some("thought"), Some("thought_summary")) => &delta["content"]["text"],
        (Some("function_call"), Some("arguments_delta")) => &delta["arguments"],
        (Some("thought" | "function_call"), Some("thought_signature"))
        | (Some("model_output"), Some("text_annotation_delta")) => return,
        (own, same) if own == same => return,
        other => panic!("a delta that does not fit its step: {other:?}"),
    };
    open.said.push_str(said.as_str().expect("text"));
}

fn keep(seen: &mut Seen, open: Open) {
    match open.step["type"].as_str().expect("a step has a type") {
        "model_output" => {
            assert!(!open.said.is_empty(), "an empty step");
            seen.push("text", &open.said);
        }
        "thought" => seen.push("reasoning", &open.said),
        "function_call" => {
            let name = open.step["name"].as_str().expect("a name");
            let arguments = if open.said.is_empty() { "{}" } else { &open.said };
            seen.push(&format!("call {name}"), arguments);
        }
        other => seen.push(other, ""),
    }
}
