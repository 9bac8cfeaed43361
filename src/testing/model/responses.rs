//! Answers as the Responses API streams them.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/responses-streaming>, and recorded streams.

use serde_json::{Value, json};

use super::super::rng::Rng;
use super::Model;
use super::answer::{Answer, Block};
use super::continuation::{kind, role};

/// The body that says `blocks`.
pub(super) fn render(model: &Model, request: &Value, blocks: &[Block], mut rng: Rng) -> String {
    let background = request.get("background") == Some(&json!(true));
    let response = json!({
        "id": format!("resp_{}", rng.word(29)),
        "object": "response",
        "created_at": 1_780_000_000,
        "status": "in_progress",
        "background": background,
        "error": null,
        "incomplete_details": null,
        "model": request.get("model").and_then(Value::as_str).unwrap_or("scripted-1"),
        "output": [],
        "usage": null,
    });
    let mut stream =
        Stream { model, out: String::new(), rng, number: 0, output: Vec::new(), deltas: 0 };
    stream.event("response.created", json!({ "response": response }));
    stream.event("response.in_progress", json!({ "response": response }));
    for block in blocks {
        stream.block(block);
    }
    let (event, details) = match model.answer.finish.as_deref() {
        Some(reason @ ("max_output_tokens" | "content_filter")) => {
            ("response.incomplete", json!({ "reason": reason }))
        }
        _ => ("response.completed", Value::Null),
    };
    let input = model.answer.input_tokens.unwrap_or(super::INPUT_TOKENS);
    let output = match model.answer.output_tokens {
        Some(tokens) if blocks == model.answer.blocks => tokens,
        _ => stream.deltas,
    };
    let mut response = response;
    response["status"] = json!(event.trim_start_matches("response."));
    response["incomplete_details"] = details;
    response["output"] = Value::Array(std::mem::take(&mut stream.output));
    response["usage"] = json!({
        "input_tokens": input,
        "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": output,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": input.saturating_add(output),
    });
    stream.event(event, json!({ "response": response }));
    stream.out
}

/// The items of an input as turns: what an assistant said in a row is one of them.
pub(super) fn turns(input: &Value, answer: &Answer) -> Vec<Value> {
    let mut servers = answer.blocks.iter().filter_map(|block| match block {
        Block::Server { id, .. } => Some(id),
        _ => None,
    });
    let items = match input {
        Value::Array(items) => items.clone(),
        text => vec![json!({ "role": "user", "content": text })],
    };
    let mut turns: Vec<Value> = Vec::new();
    for item in items {
        if role(&item) == "user" {
            turns.push(item);
            continue;
        }
        let blocks = match (role(&item), item.get("content")) {
            ("assistant", Some(Value::Array(blocks))) => blocks.clone(),
            ("assistant", Some(text)) => vec![json!({ "type": "text", "text": text })],
            // Its id may be missing; they come in order.
            _ if kind(&item) == "web_search_call" => {
                vec![json!({ "tool_use_id": servers.next() })]
            }
            _ => Vec::new(),
        };
        let last = turns.last_mut().filter(|turn| role(turn) == "assistant");
        match last.and_then(|turn| turn["content"].as_array_mut()) {
            Some(content) => content.extend(blocks),
            None => turns.push(json!({ "role": "assistant", "content": blocks })),
        }
    }
    turns
}

struct Stream<'a> {
    model: &'a Model,
    out: String,
    rng: Rng,
    number: u64,
    output: Vec<Value>,
    deltas: u64,
}

impl Stream<'_> {
    fn event(&mut self, kind: &str, fields: Value) {
        let mut event = json!({ "type": kind, "sequence_number": self.number });
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        self.number += 1;
        self.out.push_str(&format!("event: {kind}\ndata: {event}\n\n"));
    }

    fn added(&mut self, item: &Value) {
        let fields = json!({ "output_index": self.output.len(), "item": item });
        self.event("response.output_item.added", fields);
    }

    fn done(&mut self, item: Value) {
        let fields = json!({ "output_index": self.output.len(), "item": item });
        self.event("response.output_item.done", fields);
        self.output.push(item);
    }

    /// An event about the item that is open; `field` is its `value`.
    fn about(&mut self, kind: &str, id: &str, place: Option<&str>, field: &str, value: &Value) {
        let mut fields = json!({ "item_id": id, "output_index": self.output.len() });
        if let Some(place) = place {
            fields[place] = json!(0);
        }
        fields[field] = value.clone();
        self.event(kind, fields);
    }

    fn pieces(&mut self, kind: &str, id: &str, place: Option<&str>, text: &str) {
        for piece in self.model.deltas.split(text, &mut self.rng) {
            self.deltas += 1;
            self.about(kind, id, place, "delta", &json!(piece));
        }
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Text(text) => self.message(text),
            Block::Reasoning { text, signature } => self.reasoning(text, signature),
            Block::ToolCall { id, name, arguments } => self.call(id, name, arguments),
            Block::Server { id, name, input, result } => {
                let kind = format!("{name}_call");
                let begun = json!({ "type": kind, "id": id, "status": "in_progress" });
                self.added(&begun);
                let search = format!("response.{kind}.searching");
                self.about(&search, id, None, "item_id", &json!(id));
                self.done(json!({ "type": kind, "id": id, "status": "completed",
                    "action": input, "results": result }));
            }
        }
    }

    fn message(&mut self, text: &str) {
        let id = format!("msg_{}", self.rng.word(24));
        let place = Some("content_index");
        let message = |status: &str, content: Value| {
            json!({ "type": "message", "id": id, "status": status, "role": "assistant",
                "content": content })
        };
        let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] });
        self.added(&message("in_progress", json!([])));
        self.about("response.content_part.added", &id, place, "part", &part(""));
        self.pieces("response.output_text.delta", &id, place, text);
        self.about("response.output_text.done", &id, place, "text", &json!(text));
        self.about("response.content_part.done", &id, place, "part", &part(text));
        self.done(message("completed", json!([part(text)])));
    }

    fn reasoning(&mut self, text: &str, signature: &str) {
        let id = format!("rs_{}", self.rng.word(24));
        let place = Some("summary_index");
        let part = |text: &str| json!({ "type": "summary_text", "text": text });
        self.added(&json!({ "type": "reasoning", "id": id, "summary": [] }));
        self.about("response.reasoning_summary_part.added", &id, place, "part", &part(""));
        self.pieces("response.reasoning_summary_text.delta", &id, place, text);
        self.about("response.reasoning_summary_text.done", &id, place, "text", &json!(text));
        self.about("response.reasoning_summary_part.done", &id, place, "part", &part(text));
        self.done(json!({ "type": "reasoning", "id": id, "summary": [part(text)],
            "encrypted_content": signature }));
    }

    fn call(&mut self, call: &str, name: &str, arguments: &str) {
        let id = format!("fc_{}", self.rng.word(24));
        let item = |status: &str, arguments: &str| {
            json!({ "type": "function_call", "id": id, "call_id": call, "name": name,
                "status": status, "arguments": arguments })
        };
        self.added(&item("in_progress", ""));
        self.pieces("response.function_call_arguments.delta", &id, None, arguments);
        let done = "response.function_call_arguments.done";
        self.about(done, &id, None, "arguments", &json!(arguments));
        self.done(item("completed", arguments));
    }
}
