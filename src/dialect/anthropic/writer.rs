//! Writes Anthropic's events.
//!
//! In: deltas, and the events that go through as they came. Out: events of one message: one start,
//! blocks numbered without a gap, one `message_delta`, one stop. A continued text goes on in the
//! block that is open. Shapes: <https://platform.claude.com/docs/en/build-with-claude/streaming>, and
//! what the vendor's own SDK writes when it joins two streams (anthropic 2.14.0,
//! `lib/middleware/_fallbacks.py`, November 2026). Law kept: *Fold*.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::alike::Alike;
use super::super::request;
use super::super::wire::{self, Word};
use super::super::writer::{Place, Writer, costly, frame, output_tokens};
use super::decode::reason_of;
use super::frame::Kind;
use crate::event::{Annotation, Delta, Finish, FinishReason, PartKind, Usage};
use crate::report::{AttemptReport, Report};
use crate::sse;

/// Writes one message.
#[derive(Clone, Debug)]
pub(super) struct MessageWriter {
    /// The model asked for, where no attempt says which one answers.
    model: Arc<str>,
    /// Who answers in place of a model.
    speaker: Option<Arc<str>>,
    /// The request carries tools: a history is likely to come back, with its reasoning.
    holds_reasoning: bool,
    started: bool,
    /// The last `message_start` that was withheld: who speaks, if nobody did before.
    start: Option<Value>,
    /// The blocks that are open.
    open: Vec<Open>,
    next_index: u64,
    /// `message_delta` with a stop reason is out.
    concluded: bool,
    /// `message_stop` is out.
    stopped: bool,
    /// The last `message_delta` that was withheld.
    conclusion: Option<Conclusion>,
    /// The last event that went through.
    alike: Alike,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    index: u64,
    block: Block,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Text,
    Thinking,
    /// A tool call, or a block that was written whole.
    Other,
}

/// The end of a message as its provider words it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Conclusion {
    delta: Map<String, Value>,
    usage: Map<String, Value>,
}

/// What is read of an event that goes through.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Passed<'a> {
    #[serde(rename = "type", borrow)]
    kind: Word<'a>,
    index: Option<u64>,
    #[serde(borrow)]
    content_block: Option<Typed<'a>>,
    #[serde(borrow)]
    delta: Option<Concluding<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    kind: Word<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Concluding<'a> {
    #[serde(borrow)]
    stop_reason: Word<'a>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

impl MessageWriter {
    pub(super) fn new(request: &Value) -> Self {
        let tools = request.get("tools").and_then(Value::as_array);
        Self {
            model: request::model(request),
            speaker: None,
            holds_reasoning: tools.is_some_and(|tools| !tools.is_empty()),
            started: false,
            start: None,
            open: Vec::new(),
            next_index: 0,
            concluded: false,
            stopped: false,
            conclusion: None,
            alike: Alike::default(),
        }
    }

    fn begin(&mut self, report: &Report, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let own = self.start.take().filter(|_| self.speaker.is_none());
        if let Some(start) = own {
            return emit(&start, out);
        }
        let model = report.attempts.last().map(|attempt| &attempt.model);
        let speaking = self.speaker.as_ref().or(model);
        let message = json!({
            "id": "msg_unbroken",
            "type": "message",
            "role": "assistant",
            "model": **speaking.unwrap_or(&self.model),
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": { "input_tokens": 0, "output_tokens": 0 },
        });
        emit(&json!({ "type": "message_start", "message": message }), out);
    }

    /// The open block of a kind; every other one is closed.
    fn only(&mut self, block: Option<Block>, out: &mut Vec<u8>) -> Option<u64> {
        self.open.retain(|open| {
            let stays = block == Some(open.block);
            if !stays {
                emit(&json!({ "type": "content_block_stop", "index": open.index }), out);
            }
            stays
        });
        self.open.last().map(|open| open.index)
    }

    /// Begins a block, and says its index.
    fn start(
        &mut self,
        block: Block,
        content: &(impl Serialize + ?Sized),
        out: &mut Vec<u8>,
    ) -> u64 {
        #[derive(Serialize)]
        struct Start<'a, C: ?Sized> {
            r#type: &'static str,
            index: u64,
            content_block: &'a C,
        }
        self.only(None, out);
        let index = self.next_index;
        let start = Start { r#type: "content_block_start", index, content_block: content };
        frame(start.r#type, &start, out);
        self.open.push(Open { index, block });
        self.next_index = self.next_index.saturating_add(1);
        index
    }

    fn open(&mut self, kind: &PartKind, out: &mut Vec<u8>) {
        match kind {
            PartKind::Text | PartKind::Refusal => _ = self.text_block(out),
            PartKind::Reasoning => {
                let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
                self.start(Block::Thinking, &block, out);
            }
            PartKind::ToolCall { id, name } => {
                let block = json!({ "type": "tool_use", "id": **id, "name": **name, "input": {} });
                self.start(Block::Other, &block, out);
            }
            // Such a block is its own JSON, which is to come.
            PartKind::ServerCall { .. }
            | PartKind::ServerResult { .. }
            | PartKind::RedactedReasoning
            | PartKind::Opaque { .. } => _ = self.only(None, out),
        }
    }

    fn append(&mut self, kind: &PartKind, text: &str, out: &mut Vec<u8>) {
        match kind {
            PartKind::Text | PartKind::Refusal => {
                let index = self.text_block(out);
                delta_of(index, &json!({ "type": "text_delta", "text": text }), out);
            }
            PartKind::Reasoning => {
                // Something else may have come in between, where an upstream's blocks take turns.
                if self.last(Block::Thinking).is_none() {
                    self.open(kind, out);
                }
                let delta = json!({ "type": "thinking_delta", "thinking": text });
                self.add(Block::Thinking, &delta, out);
            }
            PartKind::ToolCall { .. } => {
                let delta = json!({ "type": "input_json_delta", "partial_json": text });
                self.add(Block::Other, &delta, out);
            }
            PartKind::ServerCall { .. }
            | PartKind::ServerResult { .. }
            | PartKind::RedactedReasoning
            | PartKind::Opaque { .. } => {
                if let Ok(block) = serde_json::from_str::<&RawValue>(text) {
                    self.start(Block::Other, block, out);
                }
            }
        }
    }

    /// The last block that is open, if it is one of a kind.
    fn last(&self, block: Block) -> Option<u64> {
        self.open.last().filter(|open| open.block == block).map(|open| open.index)
    }

    /// Adds `delta` to the last block, if that is one of its kind.
    fn add(&self, block: Block, delta: &Value, out: &mut Vec<u8>) {
        if let Some(index) = self.last(block) {
            delta_of(index, delta, out);
        }
    }

    /// The text block that is open, or a new one.
    fn text_block(&mut self, out: &mut Vec<u8>) -> u64 {
        if let Some(index) = self.only(Some(Block::Text), out) {
            return index;
        }
        self.start(Block::Text, &json!({ "type": "text", "text": "" }), out)
    }

    fn annotate(&mut self, kind: &PartKind, annotation: &Annotation, out: &mut Vec<u8>) {
        match (kind, annotation) {
            (PartKind::Text, Annotation::Citation(citation)) => {
                let citation: Option<Value> = serde_json::from_str(citation).ok();
                let delta = json!({ "type": "citations_delta", "citation": citation });
                self.add(Block::Text, &delta, out);
            }
            (PartKind::Reasoning, Annotation::Signature(signature)) => {
                let delta = json!({ "type": "signature_delta", "signature": **signature });
                self.add(Block::Thinking, &delta, out);
            }
            _ => {}
        }
    }

    fn close(&mut self, kind: &PartKind, out: &mut Vec<u8>) {
        let block = match kind {
            PartKind::Text | PartKind::Refusal => Block::Text,
            PartKind::Reasoning => Block::Thinking,
            _ => Block::Other,
        };
        if self.last(block).is_some() {
            self.only(None, out);
        }
    }

    fn conclude(&mut self, finish: &Finish, report: &Report, out: &mut Vec<u8>) {
        let is_this = |conclusion: &Conclusion| {
            let word = conclusion.delta.get("stop_reason").and_then(Value::as_str);
            word.is_some_and(|word| reason_of(word) == finish.reason)
        };
        let conclusion = self.conclusion.take().filter(is_this).unwrap_or_default();
        let mut delta = conclusion.delta;
        delta.entry("stop_reason").or_insert_with(|| word_of(&finish.reason).into());
        delta.entry("stop_sequence").or_insert(Value::Null);
        let usage = merged(conclusion.usage, report);
        emit(&json!({ "type": "message_delta", "delta": delta, "usage": usage }), out);
        self.concluded = true;
    }
}

impl Writer for MessageWriter {
    fn speaks(&mut self, speaker: &str) {
        self.speaker = Some(Arc::from(speaker));
    }

    fn passes(&mut self, event: &sse::Event<'_>) -> bool {
        let data = event.data.trim();
        if self.alike.is(data) {
            return true;
        }
        self.alike.forget();
        let Ok(passed) = wire::object::<Passed<'_>>(data) else {
            // What is no JSON is nothing that a client reads.
            return true;
        };
        let index = passed.index.unwrap_or_default();
        let is_open = self.open.iter().any(|open| open.index == index);
        let kind = Kind::of(passed.kind.given().unwrap_or(event.event));
        let reason = passed.delta.as_ref().and_then(|delta| delta.stop_reason.given());
        let fits = match kind {
            Kind::Unknown => true,
            // The vendor's own clients fail on a second one.
            Kind::MessageStart => !self.started,
            Kind::BlockStart => self.started && !self.concluded,
            Kind::BlockDelta => is_open && !self.concluded,
            Kind::BlockStop => is_open && !self.stopped,
            // The first reason is the one that counts.
            Kind::MessageDelta if reason.is_some() => self.started && !self.concluded,
            Kind::MessageDelta | Kind::MessageStop => self.started && !self.stopped,
        };
        if !fits {
            return false;
        }
        match kind {
            Kind::MessageStart => self.started = true,
            Kind::BlockStart => {
                let kind = passed.content_block.as_ref().and_then(|block| block.kind.given());
                let block = match kind {
                    Some("text") => Block::Text,
                    Some("thinking") => Block::Thinking,
                    _ => Block::Other,
                };
                self.open.retain(|open| open.index != index);
                self.open.push(Open { index, block });
                self.next_index = self.next_index.max(index.saturating_add(1));
            }
            Kind::BlockStop => self.open.retain(|open| open.index != index),
            Kind::MessageDelta => self.concluded |= reason.is_some(),
            Kind::MessageStop => self.stopped = true,
            // Where its own type says what it is, and not that of the event.
            Kind::BlockDelta if passed.kind.given().is_some() => {
                self.alike.learn(data, passed.delta.and_then(|delta| delta.text));
            }
            Kind::BlockDelta | Kind::Unknown => {}
        }
        true
    }

    fn has_begun(&self) -> bool {
        self.started
    }

    fn snapshot(&self) -> Box<dyn Writer> {
        Box::new(self.clone())
    }

    fn withheld(&mut self, event: &sse::Event<'_>) {
        let data = event.data.trim();
        let Ok(passed) = wire::object::<Passed<'_>>(data) else { return };
        match Kind::of(passed.kind.given().unwrap_or(event.event)) {
            Kind::MessageStart => self.start = serde_json::from_str(data).ok(),
            Kind::MessageDelta => self.conclusion = serde_json::from_str(data).ok(),
            _ => {}
        }
    }

    fn amend(&mut self, event: &sse::Event<'_>, report: &Report, out: &mut Vec<u8>) -> bool {
        let data = event.data.trim();
        let kind = wire::object::<Passed<'_>>(data).ok();
        let kind = kind.and_then(|passed| passed.kind.given().map(Kind::of));
        let Some(Kind::MessageDelta) = kind else { return false };
        let Ok(mut whole) = serde_json::from_str::<Map<String, Value>>(data) else {
            return false;
        };
        let usage = whole.remove("usage").and_then(|usage| serde_json::from_value(usage).ok());
        whole.insert("usage".to_owned(), merged(usage.unwrap_or_default(), report).into());
        frame(event.event, &whole, out);
        true
    }

    fn write(&mut self, delta: &Delta, place: &Place, report: &Report, out: &mut Vec<u8>) {
        let kind = &place.kind;
        self.alike.forget();
        match delta {
            Delta::Open { .. } => {
                self.begin(report, out);
                self.open(kind, out);
            }
            Delta::Append { text, .. } => self.append(kind, text, out),
            Delta::Annotate { annotation, .. } => self.annotate(kind, annotation, out),
            // A call that will never be whole must not look as if it were.
            Delta::Abandon { .. } if matches!(kind, PartKind::ToolCall { .. }) => {}
            Delta::Close { .. } | Delta::Truncate { .. } | Delta::Abandon { .. } => {
                self.close(kind, out);
            }
        }
    }

    fn finish(&mut self, finish: &Finish, _: bool, report: &Report, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.begin(report, out);
        if !self.concluded {
            self.only(None, out);
            self.conclude(finish, report, out);
        }
        emit(&json!({ "type": "message_stop" }), out);
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        if self.started {
            emit(&json!({ "type": "ping" }), out);
        } else {
            // Nothing may stand before `message_start` but a comment.
            sse::encode_comment("keep-alive", out);
            out.push(b'\n');
        }
    }

    fn holds_reasoning(&self) -> bool {
        self.holds_reasoning
    }
}

/// Appends `data` as an event of its own type.
fn emit(data: &Value, out: &mut Vec<u8>) {
    frame(data.get("type").and_then(Value::as_str).unwrap_or_default(), data, out);
}

fn delta_of(index: u64, delta: &Value, out: &mut Vec<u8>) {
    emit(&json!({ "type": "content_block_delta", "index": index, "delta": delta }), out);
}

/// `usage`, of the attempt that completes the answer, with the counts of all attempts, and each of
/// them in `iterations` where there are several.
///
/// A `fallback_message` at the end is the vendor's sign that another model completed the answer.
fn merged(mut usage: Map<String, Value>, report: &Report) -> Map<String, Value> {
    usage.extend(counts(report.usage(), output_tokens(report)));
    let mut attempts = costly(report).peekable();
    let first = attempts.peek().map(|first| Arc::clone(&first.model));
    let mut iterations: Vec<Value> = attempts.map(iteration).collect();
    if let (Some(first), Some(last)) = (first, iterations.last_mut()) {
        if last.get("model").and_then(Value::as_str) != Some(&*first) {
            last["type"] = Value::from("fallback_message");
        }
    }
    if iterations.len() > 1 {
        usage.insert("iterations".to_owned(), iterations.into());
    }
    usage
}

fn iteration(attempt: &AttemptReport) -> Value {
    let mut iteration = Map::new();
    iteration.insert("type".to_owned(), "message".into());
    iteration.insert("model".to_owned(), (*attempt.model).into());
    iteration.extend(counts(attempt.usage.unwrap_or_default(), attempt.output_tokens()));
    iteration.into()
}

/// Counts by the provider's names, for which input from a cache is no input.
fn counts(usage: Usage, output: u64) -> [(String, Value); 4] {
    let cached = usage.cached_input_tokens.saturating_add(usage.cache_write_tokens);
    [
        ("input_tokens", usage.input_tokens.saturating_sub(cached)),
        ("output_tokens", output),
        ("cache_read_input_tokens", usage.cached_input_tokens),
        ("cache_creation_input_tokens", usage.cache_write_tokens),
    ]
    .map(|(name, count)| (name.to_owned(), count.into()))
}

/// The provider's word for a reason.
fn word_of(reason: &FinishReason) -> &str {
    match reason {
        FinishReason::Stop | FinishReason::Unstated => "end_turn",
        FinishReason::StopSequence => "stop_sequence",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolUse => "tool_use",
        FinishReason::Refusal | FinishReason::ContentFilter => "refusal",
        FinishReason::Pause => "pause_turn",
        FinishReason::ContextWindow => "model_context_window_exceeded",
        FinishReason::Other(word) => word,
    }
}
