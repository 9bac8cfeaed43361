//! Answers as the Chat Completions API streams them.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/chat-streaming>, and recorded streams.

use http::StatusCode;
use serde_json::{Value, json};

use super::super::exchange::Exchange;
use super::super::rng::Rng;
use super::Model;
use super::answer::Block;

/// The body that says `blocks`.
pub(super) fn render(model: &Model, request: &Value, blocks: &[Block], mut rng: Rng) -> String {
    let include_usage = request.pointer("/stream_options/include_usage") == Some(&json!(true));
    let mut stream = Stream {
        model,
        out: String::new(),
        id: format!("chatcmpl-{}", rng.word(29)),
        served: request.get("model").and_then(Value::as_str).unwrap_or("scripted-1"),
        rng,
        include_usage,
        deltas: 0,
    };
    stream.choice(&json!({"role": "assistant", "content": "", "refusal": null}), None);
    let mut calls = 0;
    for block in blocks {
        stream.block(&mut calls, block);
    }
    let reason = match &model.answer.finish {
        Some(reason) => reason,
        None if calls > 0 => "tool_calls",
        None => "stop",
    };
    stream.choice(&json!({}), Some(reason));
    if include_usage {
        let input = model.answer.input_tokens.unwrap_or(super::INPUT_TOKENS);
        let output = match model.answer.output_tokens {
            Some(tokens) if blocks == model.answer.blocks => tokens,
            _ => stream.deltas,
        };
        let usage = json!({"prompt_tokens": input, "completion_tokens": output,
            "total_tokens": input.saturating_add(output)});
        stream.frame(&json!([]), &usage);
    }
    stream.out.push_str("data: [DONE]\n\n");
    stream.out
}

/// A rejection in the shape of the API.
pub(super) fn rejection(status: StatusCode, message: &str) -> Exchange {
    let body = json!({"error": {"message": message, "type": "invalid_request_error",
        "param": "messages", "code": null}});
    Exchange::json(status, &body)
}

/// What a llama.cpp server answered to a prefill that it could not take.
pub(super) const NO_PREFILL: &str =
    "Assistant response prefill is incompatible with enable_thinking.";

struct Stream<'a> {
    model: &'a Model,
    out: String,
    id: String,
    served: &'a str,
    rng: Rng,
    include_usage: bool,
    deltas: u64,
}

impl Stream<'_> {
    fn frame(&mut self, choices: &Value, usage: &Value) {
        let mut chunk = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": 1_780_000_000,
            "model": self.served,
            "system_fingerprint": null,
            "choices": choices,
        });
        if self.include_usage {
            chunk["usage"] = usage.clone();
        }
        self.out.push_str(&format!("data: {chunk}\n\n"));
    }

    fn choice(&mut self, delta: &Value, finish: Option<&str>) {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        self.frame(&choices, &Value::Null);
    }

    fn delta(&mut self, delta: &Value) {
        self.deltas += 1;
        self.choice(delta, None);
    }

    fn pieces(&mut self, field: &str, text: &str) {
        for piece in self.model.deltas.split(text, &mut self.rng) {
            self.delta(&json!({field: piece}));
        }
    }

    fn block(&mut self, calls: &mut u32, block: &Block) {
        match block {
            Block::Text(text) => self.pieces("content", text),
            Block::Reasoning { text, .. } => self.pieces("reasoning_content", text),
            Block::ToolCall { id, name, arguments } => {
                let index = *calls;
                *calls += 1;
                self.delta(&json!({"tool_calls": [{"index": index, "id": id,
                    "type": "function", "function": {"name": name, "arguments": ""}}]}));
                for piece in self.model.deltas.split(arguments, &mut self.rng) {
                    self.delta(&json!({"tool_calls": [{"index": index,
                        "function": {"arguments": piece}}]}));
                }
            }
            // The dialect has no such thing.
            Block::Server { .. } => {}
        }
    }
}
