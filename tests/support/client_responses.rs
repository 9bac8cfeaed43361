//! A client of the Responses API, as strict as one can be.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Seen, events};

/// An item that is open: what has come of it.
struct Open {
    item: Value,
    text: BTreeMap<u64, String>,
    input: String,
}

/// Reads a stream of the Responses API.
pub(crate) fn read(bytes: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let mut open: BTreeMap<u64, Open> = BTreeMap::new();
    let mut output: Vec<Value> = Vec::new();
    let mut last = None;
    for (name, data) in events(bytes, |_| true) {
        let kind = data["type"].as_str();
        let kind = kind.unwrap_or_else(|| panic!("an event has a type: {data}")).to_owned();
        assert_eq!(name, kind, "the line before it says the same");
        assert!(!seen.terminal && !seen.error, "{kind} after the end");
        if kind == "error" {
            assert!(data["error"]["message"].is_string() && data["message"].is_string());
            seen.error = true;
            continue;
        }
        let number = data["sequence_number"].as_u64().expect("a number");
        assert_eq!(number, last.map_or(0, |last: u64| last + 1), "a gap before {kind}");
        last = Some(number);
        assert_eq!(seen.started, kind != "response.created", "{kind}");
        let index = data["output_index"].as_u64().unwrap_or_default();
        match kind.as_str() {
            "response.created" => {
                let response = &data["response"];
                assert!(response["id"].is_string() && response["model"].is_string());
                seen.started = true;
            }
            "response.in_progress" => {}
            "response.output_item.added" => {
                assert!(open.is_empty(), "an item begins inside an item");
                assert_eq!(index, output.len() as u64, "items are numbered in order");
                let item = data["item"].clone();
                open.insert(index, Open { item, text: BTreeMap::new(), input: String::new() });
            }
            "response.output_item.done" => {
                let open = open.remove(&index).expect("a done item is open");
                keep(&mut seen, &open, &data["item"]);
                output.push(data["item"].clone());
            }
            "response.completed" | "response.incomplete" => {
                assert!(open.is_empty(), "the end inside an item");
                assert_eq!(data["response"]["output"], json!(output), "the whole output");
                seen.usage = data["response"]["usage"].clone();
                seen.reason = data["response"]["status"].as_str().map(str::to_owned);
                seen.terminal = true;
            }
            _ => piece(open.get_mut(&index).expect("a piece of an open item"), &kind, &data),
        }
    }
    // Text of an item that an error leaves open has been read all the same.
    for open in open.values() {
        for text in open.text.values().filter(|_| open.item["type"] == "message") {
            seen.push("text", text);
        }
    }
    seen
}

fn piece(open: &mut Open, kind: &str, data: &Value) {
    assert_eq!(open.item["id"], data["item_id"], "{kind} of another item");
    let at = data["content_index"].as_u64().or(data["summary_index"].as_u64()).unwrap_or(0);
    let text = || data["delta"].as_str().expect("text");
    match kind {
        "response.content_part.added" | "response.reasoning_summary_part.added" => {
            assert!(open.text.insert(at, String::new()).is_none(), "a part begins twice");
        }
        "response.output_text.delta"
        | "response.refusal.delta"
        | "response.reasoning_summary_text.delta" => {
            open.text.get_mut(&at).expect("a piece of an open part").push_str(text());
        }
        "response.output_text.done" | "response.reasoning_summary_text.done" => {
            assert_eq!(data["text"], json!(open.text[&at]), "all of the text");
        }
        "response.content_part.done" | "response.reasoning_summary_part.done" => {
            assert_eq!(data["part"]["text"], json!(open.text[&at]), "all of the part");
        }
        "response.function_call_arguments.delta" => open.input.push_str(text()),
        "response.function_call_arguments.done" => {
            assert_eq!(data["arguments"], json!(open.input), "all of the arguments");
        }
        _ => {}
    }
}

fn keep(seen: &mut Seen, open: &Open, item: &Value) {
    assert_eq!((&open.item["id"], &open.item["type"]), (&item["id"], &item["type"]));
    match item["type"].as_str().expect("an item has a type") {
        "message" => {
            let parts = item["content"].as_array().expect("a list");
            assert_eq!(parts.len(), open.text.len(), "all parts");
            for (part, text) in parts.iter().zip(open.text.values()) {
                assert_eq!(part["text"], json!(text));
                seen.push("text", text);
            }
        }
        "function_call" => {
            assert_eq!(item["arguments"], json!(open.input));
            let name = item["name"].as_str().expect("a name");
            seen.push(&format!("call {name}"), &open.input);
        }
        _ => {}
    }
}
