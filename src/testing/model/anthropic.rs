//! Answers as the Messages API streams them.
//!
//! Shapes: <https://platform.claude.com/docs/en/build-with-claude/streaming>, read 2026-09; the
//! padding before the last brace as in recorded streams.

use http::StatusCode;
use serde_json::{Value, json};

use super::super::exchange::Exchange;
use super::super::fault::ANTHROPIC_PING;
use super::super::rng::Rng;
use super::Model;
use super::answer::Block;
use super::continuation::{kind, role, turn_text};

/// The body that says `blocks`.
pub(super) fn render(model: &Model, request: &Value, blocks: &[Block], rng: Rng) -> String {
    let mut stream = Stream { model, out: String::new(), rng, deltas: 0 };
    let usage = json!({
        "input_tokens": model.answer.input_tokens.unwrap_or(super::INPUT_TOKENS),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 1,
    });
    let id = format!("msg_01{}", stream.rng.word(22));
    stream.frame(&json!({"type": "message_start", "message": {
        "model": request.get("model").and_then(Value::as_str).unwrap_or("scripted-1"),
        "id": id,
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": usage,
    }}));
    let mut index = 0;
    for block in blocks {
        stream.block(&mut index, block);
    }
    let whole = blocks == model.answer.blocks;
    let output = match model.answer.output_tokens {
        Some(tokens) if whole => tokens,
        _ => stream.deltas,
    };
    let tools = blocks.iter().any(|b| matches!(b, Block::ToolCall { .. }));
    let reason = match &model.answer.finish {
        Some(reason) => reason,
        None if tools => "tool_use",
        None => "end_turn",
    };
    stream.frame(&json!({"type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": null},
        "usage": {"output_tokens": output}}));
    stream.frame(&json!({"type": "message_stop"}));
    stream.out
}

/// A rejection in the shape of the API.
pub(super) fn rejection(status: StatusCode, message: &str) -> Exchange {
    let body = json!({"type": "error",
        "error": {"type": "invalid_request_error", "message": message},
        "request_id": "req_011CZkScriptedModel00001"});
    Exchange::json(status, &body)
}

/// The API's own words where it would not take these messages.
pub(super) fn objection(request: &Value) -> Option<&'static str> {
    let messages = request.get("messages")?.as_array()?;
    for block in messages.iter().filter_map(|m| m.get("content")?.as_array()) {
        let mut texts = block.iter().filter(|block| kind(block) == "text");
        let mut texts = texts.by_ref().filter_map(|block| block.get("text")?.as_str());
        match texts.find(|text| text.trim().is_empty()) {
            Some("") => return Some("messages: text content blocks must be non-empty"),
            Some(_) => {
                return Some("messages: text content blocks must contain non-whitespace text");
            }
            None => {}
        }
    }
    let last = messages.last().filter(|last| role(last) == "assistant")?;
    let text = turn_text(last);
    if text.trim_end() != text {
        return Some("messages: final assistant content cannot end with trailing whitespace");
    }
    let end = last.get("content").and_then(|content| content.as_array()?.last());
    match end.map(kind) {
        Some("thinking" | "redacted_thinking") => {
            Some("messages: The final block in an assistant message cannot be `thinking`.")
        }
        _ => None,
    }
}

/// What models answer that take no prefill.
pub(super) const NO_PREFILL: &str = "This model does not support assistant message prefill. The \
                                     conversation must end with a user message.";

struct Stream<'a> {
    model: &'a Model,
    out: String,
    rng: Rng,
    deltas: u64,
}

impl Stream<'_> {
    fn frame(&mut self, payload: &Value) {
        let event = kind(payload);
        let mut data = payload.to_string();
        // The API pads events so that their size tells nothing; the brace comes after it.
        if data.pop().is_some() {
            data.push_str(&" ".repeat(self.rng.below(PADDING_MAX)));
            data.push('}');
        }
        self.out.push_str(&format!("event: {event}\ndata: {data}\n\n"));
    }

    fn start(&mut self, index: u32, block: &Value) {
        self.frame(&json!({"type": "content_block_start", "index": index, "content_block": block}));
        if index == 0 {
            self.out.push_str(ANTHROPIC_PING);
        }
    }

    fn delta(&mut self, index: u32, delta: &Value) {
        self.deltas += 1;
        self.frame(&json!({"type": "content_block_delta", "index": index, "delta": delta}));
    }

    fn stop(&mut self, index: &mut u32) {
        self.frame(&json!({"type": "content_block_stop", "index": *index}));
        *index += 1;
    }

    fn fragments(&mut self, index: u32, json: &str) {
        self.delta(index, &json!({"type": "input_json_delta", "partial_json": ""}));
        for piece in self.model.deltas.split(json, &mut self.rng) {
            self.delta(index, &json!({"type": "input_json_delta", "partial_json": piece}));
        }
    }

    fn block(&mut self, index: &mut u32, block: &Block) {
        let at = *index;
        match block {
            Block::Text(text) => {
                self.start(at, &json!({"type": "text", "text": ""}));
                for piece in self.model.deltas.split(text, &mut self.rng) {
                    self.delta(at, &json!({"type": "text_delta", "text": piece}));
                }
            }
            Block::Reasoning { text, signature } => {
                self.start(at, &json!({"type": "thinking", "thinking": "", "signature": ""}));
                for piece in self.model.deltas.split(text, &mut self.rng) {
                    self.delta(at, &json!({"type": "thinking_delta", "thinking": piece}));
                }
                self.delta(at, &json!({"type": "signature_delta", "signature": signature}));
            }
            Block::ToolCall { id, name, arguments } => {
                self.start(at, &json!({"type": "tool_use", "id": id, "name": name, "input": {}}));
                self.fragments(at, arguments);
            }
            Block::Server { id, name, input, result } => {
                let call = json!({"type": "server_tool_use", "id": id, "name": name, "input": {}});
                self.start(at, &call);
                self.fragments(at, &input.to_string());
                self.stop(index);
                let kind = format!("{name}_tool_result");
                let result = json!({"type": kind, "tool_use_id": id, "content": result});
                self.start(*index, &result);
            }
        }
        self.stop(index);
    }
}

/// Most spaces before a closing brace, plus one.
const PADDING_MAX: usize = 16;
