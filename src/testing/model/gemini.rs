//! Answers as `streamGenerateContent?alt=sse` sends them.
//!
//! Shapes: <https://ai.google.dev/api/generate-content>, and recorded streams, read in November 2026:
//! lines end in CRLF, there are no event names, no pings and no terminal marker; the counts so far are
//! in every frame, the finish reason is in the last one that says something, and a signature comes with
//! the call that follows the thought, or on an empty text at the end.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::super::exchange::Exchange;
use super::super::rng::Rng;
use super::Model;
use super::answer::Block;
use super::continuation::turns_of;

/// The body that says `blocks`.
pub(super) fn render(model: &Model, request: &Value, blocks: &[Block], mut rng: Rng) -> String {
    let mut stream = Stream {
        model,
        served: request.get("model").and_then(Value::as_str).unwrap_or("scripted-1"),
        out: String::new(),
        id: rng.word(23),
        rng,
        output: 0,
        thoughts: 0,
        signature: None,
        last: None,
    };
    for block in blocks {
        stream.block(block);
    }
    stream.end(blocks);
    stream.out
}

/// A rejection in the shape of the API.
pub(super) fn rejection(status: StatusCode, message: &str) -> Exchange {
    let word = if status == StatusCode::NOT_FOUND { "NOT_FOUND" } else { "INVALID_ARGUMENT" };
    let body = json!({"error": {"code": status.as_u16(), "message": message, "status": word}});
    Exchange::json(status, &body)
}

/// The API's own words where it would not take this request.
pub(super) fn objection(request: &Value) -> Option<String> {
    let fields = request.as_object()?;
    let known =
        |name: &str| FIELDS.iter().any(|field| field.eq_ignore_ascii_case(&name.replace('_', "")));
    if let Some(name) = fields.keys().find(|name| !known(name)) {
        return Some(format!(
            "Invalid JSON payload received. Unknown name \"{name}\": Cannot find field."
        ));
    }
    let contents = fields.get("contents").and_then(Value::as_array);
    let empty = contents.into_iter().flatten().position(|turn| {
        turn.get("parts").and_then(Value::as_array).is_none_or(|parts| parts.is_empty())
    });
    empty.map(|at| {
        format!("* GenerateContentRequest.contents[{at}].parts: contents.parts must not be empty.")
    })
}

/// The contents of a request as turns of an assistant and a user.
pub(super) fn turns(contents: &Value) -> Vec<Value> {
    let contents = contents.as_array().cloned().unwrap_or_default();
    turns_of(contents.iter().map(|turn| {
        let role = if turn["role"] == "model" { "assistant" } else { "user" };
        let parts = turn["parts"].as_array().into_iter().flatten();
        let blocks = parts.filter_map(|part| match part.get("toolResponse") {
            Some(response) => Some(json!({ "tool_use_id": response["id"] })),
            None if part["thought"] == true => None,
            None => Some(json!({ "type": "text", "text": part.get("text")? })),
        });
        (role, blocks.collect())
    }))
}

/// What models answer that take no trailing turn of their own, in either wording.
pub(super) const NO_PREFILL: [&str; 2] = [
    "Requests ending with a model turn are not supported.",
    "Requests ending with a model turn are not supported unless the last part is a function response.",
];

struct Stream<'a> {
    model: &'a Model,
    served: &'a str,
    out: String,
    id: String,
    rng: Rng,
    output: u64,
    thoughts: u64,
    /// Of the thought before, until something carries it.
    signature: Option<String>,
    /// The part that is sent next: the last one carries the reason.
    last: Option<Value>,
}

impl Stream<'_> {
    fn part(&mut self, part: Value) {
        if let Some(before) = self.last.replace(part) {
            self.frame(&before, None, self.output);
        }
    }

    fn frame(&mut self, part: &Value, reason: Option<&str>, output: u64) {
        let mut candidate = Map::new();
        candidate.insert("content".into(), json!({"parts": [part], "role": "model"}));
        if let Some(reason) = reason {
            candidate.insert("finishReason".into(), json!(reason));
        }
        candidate.insert("index".into(), json!(0));
        let input = self.model.answer.input_tokens.unwrap_or(super::INPUT_TOKENS);
        let mut usage = json!({"promptTokenCount": input, "candidatesTokenCount": output,
            "totalTokenCount": input.saturating_add(output).saturating_add(self.thoughts)});
        if self.thoughts > 0 {
            usage["thoughtsTokenCount"] = json!(self.thoughts);
        }
        let frame = json!({"candidates": [candidate], "usageMetadata": usage,
            "modelVersion": self.served, "responseId": self.id});
        self.out.push_str(&format!("data: {frame}\r\n\r\n"));
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Text(text) => {
                for piece in self.model.deltas.split(text, &mut self.rng) {
                    self.part(json!({"text": piece}));
                    self.output += 1;
                }
            }
            Block::Reasoning { text, signature } => {
                for piece in self.model.deltas.split(text, &mut self.rng) {
                    self.part(json!({"text": piece, "thought": true}));
                    self.thoughts += 1;
                }
                self.signature = Some(signature.clone());
            }
            Block::ToolCall { id, name, arguments } => {
                let args: Value = serde_json::from_str(arguments).unwrap_or_default();
                let mut part = json!({"functionCall": {"id": id, "name": name, "args": args}});
                if let Some(signature) = self.signature.take() {
                    part["thoughtSignature"] = json!(signature);
                }
                self.part(part);
                self.output += 1;
            }
            Block::Server { id, name, input, result } => {
                let call = json!({"toolType": name, "args": input, "id": id});
                self.part(json!({"toolCall": call}));
                let response = json!({"toolType": name, "response": result, "id": id});
                self.part(json!({"toolResponse": response}));
            }
        }
    }

    fn end(&mut self, blocks: &[Block]) {
        if let Some(signature) = self.signature.take() {
            self.part(json!({"text": "", "thoughtSignature": signature}));
        }
        let answer = &self.model.answer;
        let output = match answer.output_tokens {
            Some(tokens) if blocks == answer.blocks => tokens.saturating_sub(self.thoughts),
            _ => self.output,
        };
        let own = |word: &&str| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        let reason = answer.finish.as_deref().filter(own).unwrap_or("STOP");
        let last = self.last.take().unwrap_or_else(|| json!({"text": ""}));
        self.frame(&last, Some(reason), output);
    }
}

/// The fields of a request, in lower case and without underscores; all others are refused.
const FIELDS: [&str; 9] = [
    "cachedcontent",
    "contents",
    "generationconfig",
    "labels",
    "model",
    "safetysettings",
    "systeminstruction",
    "toolconfig",
    "tools",
];
