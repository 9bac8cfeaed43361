//! Answers as the Interactions API of Gemini streams them.
//!
//! Shapes: <https://ai.google.dev/gemini-api/docs/interactions/streaming>, `google/genai/_gaos` of
//! python-genai, and recorded streams, read in November 2026. Only an interaction that runs in the
//! background has ids on its events, by which it can be fetched again; no recording of another has.

use serde_json::{Value, json};

use super::super::rng::Rng;
use super::Model;
use super::answer::Block;
use super::continuation::turns_of;

/// The body that says `blocks`.
pub(super) fn render(model: &Model, request: &Value, blocks: &[Block], mut rng: Rng) -> String {
    let id = format!("v1_{}", rng.word(40));
    let mut stream = Stream {
        model,
        out: String::new(),
        rng,
        numbered: request.get("background") == Some(&json!(true)),
        number: 0,
        index: 0,
        output: 0,
        thoughts: 0,
    };
    let mut interaction = json!({"id": id, "status": "in_progress", "object": "interaction"});
    match request.get("agent") {
        Some(agent) => interaction["agent"] = agent.clone(),
        None => {
            let model = request.get("model").and_then(Value::as_str);
            interaction["model"] = json!(model.unwrap_or("scripted-1"));
        }
    }
    stream.event("interaction.created", json!({"interaction": interaction}));
    let update = json!({"interaction_id": id, "status": "in_progress"});
    stream.event("interaction.status_update", update);
    for block in blocks {
        stream.block(block);
    }
    let calls = blocks.iter().any(|block| matches!(block, Block::ToolCall { .. }));
    let status = match model.answer.finish.as_deref() {
        Some(word @ ("incomplete" | "budget_exceeded")) => word,
        _ if calls => "requires_action",
        _ => "completed",
    };
    let input = model.answer.input_tokens.unwrap_or(super::INPUT_TOKENS);
    let output = match model.answer.output_tokens {
        Some(tokens) if blocks == model.answer.blocks => tokens.saturating_sub(stream.thoughts),
        _ => stream.output,
    };
    interaction["status"] = json!(status);
    interaction["usage"] = json!({
        "total_tokens": input.saturating_add(output).saturating_add(stream.thoughts),
        "total_input_tokens": input,
        "total_cached_tokens": 0,
        "total_output_tokens": output,
        "total_tool_use_tokens": 0,
        "total_thought_tokens": stream.thoughts,
    });
    stream.event("interaction.completed", json!({"interaction": interaction}));
    stream.out.push_str("event: done\ndata: [DONE]\n\n");
    stream.out
}

/// The input of a request as turns of an assistant and a user: a text, contents of one turn, steps, or
/// turns with roles, as the API had them before.
pub(super) fn turns(input: &Value) -> Vec<Value> {
    let items = match input {
        Value::Array(items) => items.clone(),
        Value::String(text) => vec![json!({"type": "text", "text": text})],
        other => vec![other.clone()],
    };
    let text = |item: &Value| Some(json!({"type": "text", "text": item.get("text")?}));
    turns_of(items.iter().map(|item| {
        let content = match &item["content"] {
            Value::Array(items) => items.iter().filter_map(text).collect(),
            Value::String(words) => vec![json!({"type": "text", "text": words})],
            _ => Vec::new(),
        };
        match (item["type"].as_str(), item["role"].as_str()) {
            (_, Some("model")) | (Some("model_output"), _) => ("assistant", content),
            (_, Some(_)) | (Some("user_input" | "function_result"), _) => ("user", content),
            (Some(kind), _) if kind.ends_with("_result") => {
                ("assistant", vec![json!({"tool_use_id": item["call_id"]})])
            }
            (Some(kind), _) if kind == "thought" || kind.ends_with("_call") => {
                ("assistant", Vec::new())
            }
            _ => ("user", text(item).into_iter().collect()),
        }
    }))
}

struct Stream<'a> {
    model: &'a Model,
    out: String,
    rng: Rng,
    /// Events have ids.
    numbered: bool,
    number: u64,
    index: u64,
    output: u64,
    thoughts: u64,
}

impl Stream<'_> {
    fn event(&mut self, kind: &str, mut data: Value) {
        data["event_type"] = json!(kind);
        if self.numbered {
            data["event_id"] = json!(format!("evt_{}", self.number));
            self.number += 1;
        }
        self.out.push_str(&format!("event: {kind}\ndata: {data}\n\n"));
    }

    fn start(&mut self, step: &Value) {
        self.event("step.start", json!({"index": self.index, "step": step}));
    }

    fn delta(&mut self, delta: &Value) {
        self.event("step.delta", json!({"index": self.index, "delta": delta}));
    }

    fn stop(&mut self) {
        self.event("step.stop", json!({"index": self.index}));
        self.index += 1;
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Text(text) => {
                self.start(&json!({"type": "model_output"}));
                for piece in self.model.deltas.split(text, &mut self.rng) {
                    self.delta(&json!({"text": piece, "type": "text"}));
                    self.output += 1;
                }
            }
            Block::Reasoning { text, signature } => {
                self.start(&json!({"type": "thought"}));
                for piece in self.model.deltas.split(text, &mut self.rng) {
                    let content = json!({"text": piece, "type": "text"});
                    self.delta(&json!({"content": content, "type": "thought_summary"}));
                    self.delta(&json!({"signature": "", "type": "thought_signature"}));
                    self.thoughts += 1;
                }
                self.delta(&json!({"signature": signature, "type": "thought_signature"}));
            }
            Block::ToolCall { id, name, arguments } => {
                let step = json!({"type": "function_call", "id": id, "name": name});
                self.start(&step);
                for piece in self.model.deltas.split(arguments, &mut self.rng) {
                    self.delta(&json!({"arguments": piece, "type": "arguments_delta"}));
                    self.output += 1;
                }
            }
            Block::Server { id, name, input, result } => {
                let (call, returned) = (format!("{name}_call"), format!("{name}_result"));
                self.start(&json!({"type": call, "id": id}));
                self.delta(&json!({"type": call, "arguments": input}));
                self.stop();
                self.start(&json!({"type": returned, "call_id": id}));
                self.delta(&json!({"type": returned, "result": result}));
            }
        }
        self.stop();
    }
}
