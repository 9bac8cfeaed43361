//! A client of the provider's own format, as strict as one can be.
//!
//! In: the bytes of the wire view. Out: what a client reads of them. It panics at the first thing
//! that no provider would send.

#[path = "client_gemini.rs"]
pub(crate) mod gemini;
#[path = "client_interactions.rs"]
pub(crate) mod interactions;
#[path = "client_responses.rs"]
pub(crate) mod responses;

use std::collections::BTreeMap;

use serde_json::Value;
use unbroken::sse::Parser;

/// What a client has read.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Name and content of each block; adjacent texts are one.
    pub(crate) kept: Vec<(String, String)>,
    /// The provider's word for the end, if there was one.
    pub(crate) reason: Option<String>,
    /// The terminal marker came.
    pub(crate) terminal: bool,
    pub(crate) error: bool,
    pub(crate) usage: Value,
    pub(crate) started: bool,
}

impl Seen {
    fn push(&mut self, name: &str, content: &str) {
        match self.kept.last_mut() {
            Some((last, text)) if name == "text" && last == "text" => text.push_str(content),
            _ if name == "text" && content.is_empty() => {}
            _ => self.kept.push((name.to_owned(), content.to_owned())),
        }
    }
}

/// Every event with its JSON; `[DONE]` is a string. Events of types that nobody knows are passed over,
/// as clients do.
fn events(bytes: &[u8], knows: fn(&str) -> bool) -> Vec<(String, Value)> {
    let mut parser = Parser::default();
    let mut rest = bytes;
    let mut events = Vec::new();
    // A server that forgets the last blank line is passed on as it is: its last event must be whole.
    let mut end: &[u8] = b"\n\n";
    loop {
        let event = match parser.next_event(&mut rest).expect("no event is too long") {
            Some(event) => event,
            None => match parser.next_event(&mut end).expect("no event is too long") {
                Some(event) => event,
                None => break,
            },
        };
        // By the standard an event without data is none.
        if !knows(event.event) || event.data.is_empty() {
            continue;
        }
        let data = match event.data {
            // Nobody reads what is in it.
            _ if event.event == "ping" => serde_json::json!({"type": "ping"}),
            "[DONE]" => Value::from("[DONE]"),
            data => serde_json::from_str(data).unwrap_or_else(|_| panic!("no JSON: {data}")),
        };
        events.push((event.event.to_owned(), data));
    }
    events
}

/// Reads an Anthropic stream.
pub(crate) fn anthropic(bytes: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let mut open: Option<(u64, Value, String)> = None;
    let mut next = 0;
    let knows = |kind: &str| ANTHROPIC.contains(&kind);
    for (_, data) in events(bytes, knows) {
        // The data's word counts, as it does for the vendor's clients.
        let kind = data["type"].as_str().expect("an event has a type").to_owned();
        assert!(!seen.terminal && !seen.error, "{kind} after the end");
        match kind.as_str() {
            "error" => seen.error = true,
            "ping" => assert!(seen.started, "a ping before message_start"),
            "message_start" => {
                assert!(!seen.started, "two starts");
                assert!(data["message"]["id"].is_string() && data["message"]["model"].is_string());
                seen.started = true;
            }
            _ => assert!(seen.started, "{kind} before message_start"),
        }
        match kind.as_str() {
            "content_block_start" => {
                assert!(open.is_none(), "a block begins inside a block");
                assert!(seen.reason.is_none(), "a block after message_delta");
                assert_eq!(data["index"], next, "blocks are numbered without a gap");
                open = Some((next, data["content_block"].clone(), String::new()));
                next += 1;
            }
            "content_block_delta" => {
                let (index, block, content) = open.as_mut().expect("a delta outside of a block");
                assert_eq!(data["index"], *index, "a delta of another block");
                let delta = &data["delta"];
                let field = match (block["type"].as_str(), delta["type"].as_str()) {
                    (Some("text"), Some("text_delta")) => "text",
                    (Some("thinking"), Some("thinking_delta")) => "thinking",
                    (Some("tool_use" | "server_tool_use"), Some("input_json_delta")) => {
                        "partial_json"
                    }
                    (Some("thinking"), Some("signature_delta"))
                    | (Some("text"), Some("citations_delta")) => continue,
                    other => panic!("a delta that does not fit its block: {other:?}"),
                };
                content.push_str(delta[field].as_str().expect("a delta is text"));
            }
            "content_block_stop" => {
                let (index, block, content) = open.take().expect("no block is open");
                assert_eq!(data["index"], index, "another block ends");
                let id = block["name"].as_str().unwrap_or_default();
                match block["type"].as_str().expect("a block has a type") {
                    "text" => {
                        assert!(!content.is_empty(), "no provider takes an empty text back");
                        seen.push("text", &content);
                    }
                    "thinking" => seen.push("reasoning", &content),
                    "tool_use" if content.is_empty() => seen.push(&format!("call {id}"), "{}"),
                    "tool_use" => seen.push(&format!("call {id}"), &content),
                    other => seen.push(&format!("{other} {id}"), ""),
                }
            }
            "message_delta" => {
                assert!(open.is_none(), "message_delta inside a block");
                assert!(seen.reason.is_none(), "two ends");
                seen.reason = data["delta"]["stop_reason"].as_str().map(str::to_owned);
                seen.usage = data["usage"].clone();
            }
            "message_stop" => {
                assert!(seen.reason.is_some(), "message_stop without a reason");
                seen.terminal = true;
            }
            _ => {}
        }
    }
    // What a broken stream has open.
    if let Some((_, block, content)) = open {
        assert!(!seen.terminal);
        if block["type"] == "text" {
            seen.push("text", &content);
        }
    }
    seen
}

/// The events of the Messages API.
const ANTHROPIC: [&str; 8] = [
    "content_block_delta",
    "content_block_start",
    "content_block_stop",
    "error",
    "message_delta",
    "message_start",
    "message_stop",
    "ping",
];

/// Reads a Chat Completions stream of one choice.
pub(crate) fn openai_chat(bytes: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let mut identity: Option<(Value, Value)> = None;
    let mut calls: BTreeMap<u64, (String, String)> = BTreeMap::new();
    for (_, data) in events(bytes, |_| true) {
        assert!(!seen.terminal && !seen.error, "{data} after the end");
        if data == "[DONE]" {
            assert!(seen.reason.is_some(), "[DONE] without a finish reason");
            seen.terminal = true;
            continue;
        }
        if data.get("error").is_some() {
            seen.error = true;
            continue;
        }
        let mine = (data["id"].clone(), data["created"].clone());
        assert_eq!(*identity.get_or_insert(mine.clone()), mine, "one id, one time");
        assert!(data["model"].is_string());
        if !data["usage"].is_null() {
            // Some servers count in every chunk; the last one counts.
            seen.usage = data["usage"].clone();
        }
        for choice in data["choices"].as_array().expect("choices") {
            assert!(seen.reason.is_none(), "a chunk after the finish reason");
            let delta = &choice["delta"];
            assert_eq!(delta["role"].is_string(), !seen.started, "one role chunk, the first");
            seen.started = true;
            if let Some(text) = delta["content"].as_str() {
                seen.push("text", text);
            }
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                let index = call["index"].as_u64().expect("a call has an index");
                let function = &call["function"];
                if let Some(name) = function["name"].as_str() {
                    assert_eq!(index, calls.len() as u64, "calls are numbered without a gap");
                    calls.insert(index, (name.to_owned(), String::new()));
                }
                let (_, arguments) = calls.get_mut(&index).expect("a call begins with its name");
                arguments.push_str(function["arguments"].as_str().unwrap_or_default());
            }
            seen.reason = choice["finish_reason"].as_str().map(str::to_owned);
        }
    }
    for (name, arguments) in calls.into_values() {
        // Of a broken stream nobody runs what is not whole.
        if !seen.error || serde_json::from_str::<Value>(&arguments).is_ok() {
            seen.push(&format!("call {name}"), &arguments);
        }
    }
    seen
}
