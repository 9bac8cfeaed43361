//! Writes Chat Completions chunks.
//!
//! In: deltas, and the chunks that go through as they came. Out: chunks of one answer: one id, one
//! time of creation, one role, one finish reason for each choice, usage where it was asked for, and
//! `[DONE]`. The model is the one that speaks. Shapes:
//! <https://platform.openai.com/docs/api-reference/chat-streaming>, November 2026. Law kept: *Fold*.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::alike::Alike;
use super::super::request;
use super::super::wire::{self, Word};
use super::super::writer::{Place, Writer, costly, frame, output_tokens};
use super::reason_of;
use crate::event::{Delta, Finish, FinishReason, PartKind};
use crate::report::Report;
use crate::sse;

/// Writes one answer.
#[derive(Clone, Debug)]
pub(super) struct ChunkWriter {
    /// The model asked for, where no attempt says which one answers.
    model: Box<str>,
    /// Who answers in place of a model.
    speaker: Option<Box<str>>,
    wants_usage: bool,
    /// The id and the time of the first chunk that went through.
    identity: Option<Identity>,
    /// Those of the last chunk that did not.
    learned: Option<Identity>,
    /// What the stream has of each choice.
    choices: BTreeMap<u32, Choice>,
    /// The index of each call that is written, by its part.
    calls: BTreeMap<u32, u32>,
    /// The finish reasons that were withheld, by choice, in the provider's own word.
    reasons: BTreeMap<u32, Box<str>>,
    /// Reasoning goes by this name here.
    reasoning_field: &'static str,
    usage_sent: bool,
    done: bool,
    /// The last chunk that went through.
    alike: Alike,
}

#[derive(Clone, Debug)]
struct Identity {
    id: Box<str>,
    created: u64,
}

impl Identity {
    /// That of a chunk, if it has one.
    fn of(seen: &Seen<'_>) -> Option<Self> {
        let created = seen.created.0.unwrap_or_default();
        seen.id.given().map(|id| Self { id: Box::from(id), created })
    }
}

#[derive(Clone, Debug, Default)]
struct Choice {
    /// Its first chunk, which has the role, is out.
    started: bool,
    finished: bool,
    /// The index that the next call gets.
    next_call: u32,
}

/// What is read of a chunk that is not made of deltas.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Seen<'a> {
    #[serde(borrow)]
    id: Word<'a>,
    created: wire::Count,
    #[serde(borrow)]
    choices: Option<Vec<SeenChoice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SeenChoice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    delta: Option<SeenDelta<'a>>,
    #[serde(borrow)]
    finish_reason: Word<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SeenDelta<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    tool_calls: Option<Vec<SeenCall>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SeenCall {
    index: Option<u32>,
}

impl<'a> Seen<'a> {
    /// The text, if a chunk that says another one says nothing else that is new. (Calls without an index are
    /// counted.)
    fn only_text(&self) -> Option<&'a RawValue> {
        let [SeenChoice { delta: Some(delta), .. }] = self.choices.as_deref()? else {
            return None;
        };
        delta.content.filter(|_| delta.tool_calls.is_none())
    }
}

impl ChunkWriter {
    pub(super) fn new(request: &Value) -> Self {
        Self {
            model: Box::from(&*request::model(request)),
            speaker: None,
            wants_usage: request.pointer("/stream_options/include_usage") == Some(&json!(true)),
            identity: None,
            learned: None,
            choices: BTreeMap::new(),
            calls: BTreeMap::new(),
            reasons: BTreeMap::new(),
            reasoning_field: "reasoning_content",
            usage_sent: false,
            done: false,
            alike: Alike::default(),
        }
    }

    /// Takes over what a chunk says about the reasoning field, whoever reads it.
    fn learn(&mut self, seen: &Seen<'_>) {
        let deltas = seen.choices.iter().flatten().filter_map(|choice| choice.delta.as_ref());
        if deltas.filter_map(|delta| delta.reasoning).any(|text| text.get().starts_with('"')) {
            self.reasoning_field = "reasoning";
        }
    }

    fn chunk(&mut self, choices: &Value, usage: Option<Value>, report: &Report, out: &mut Vec<u8>) {
        let model = report.attempts.last().map_or(&*self.model, |attempt| &*attempt.model);
        let speaking = self.speaker.as_deref().unwrap_or(model);
        let unknown = || Identity { id: Box::from("chatcmpl-unbroken"), created: 0 };
        let learned = self.learned.take();
        let identity = self.identity.get_or_insert_with(|| learned.unwrap_or_else(unknown));
        let mut chunk = json!({
            "id": *identity.id,
            "object": "chat.completion.chunk",
            "created": identity.created,
            "model": speaking,
            "choices": choices,
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        frame("message", &chunk, out);
    }

    fn say(&mut self, delta: Value, choice: u32, report: &Report, out: &mut Vec<u8>) {
        let mut delta = delta;
        let state = self.choices.entry(choice).or_default();
        if !std::mem::replace(&mut state.started, true) {
            let mut first = Map::from_iter([("role".to_owned(), json!("assistant"))]);
            first.extend(delta.as_object_mut().map(std::mem::take).unwrap_or_default());
            delta = Value::Object(first);
        }
        let choices = json!([{ "index": choice, "delta": delta, "finish_reason": null }]);
        self.chunk(&choices, None, report, out);
    }

    /// What a piece of a part looks like; none for what this dialect has no word for.
    fn piece(&mut self, delta: &Delta, place: &Place) -> Option<Value> {
        match (delta, &place.kind) {
            (Delta::Append { text, .. }, PartKind::Text) => Some(json!({ "content": **text })),
            (Delta::Append { text, .. }, PartKind::Refusal) => Some(json!({ "refusal": **text })),
            (Delta::Append { text, .. }, PartKind::Reasoning) => {
                let field = self.reasoning_field.to_owned();
                Some(Value::Object(Map::from_iter([(field, json!(**text))])))
            }
            (Delta::Open { part, .. }, PartKind::ToolCall { id, name }) => {
                let state = self.choices.entry(place.choice).or_default();
                let index = state.next_call;
                state.next_call = state.next_call.saturating_add(1);
                self.calls.insert(*part, index);
                let function = json!({ "name": **name, "arguments": "" });
                let call =
                    json!({ "index": index, "id": **id, "type": "function", "function": function });
                Some(json!({ "tool_calls": [call] }))
            }
            (Delta::Append { part, text }, PartKind::ToolCall { .. }) => {
                let index = self.calls.get(part)?;
                let call = json!({ "index": index, "function": { "arguments": **text } });
                Some(json!({ "tool_calls": [call] }))
            }
            _ => None,
        }
    }
}

impl Writer for ChunkWriter {
    fn speaks(&mut self, speaker: &str) {
        self.speaker = Some(Box::from(speaker));
    }

    fn passes(&mut self, event: &sse::Event<'_>) -> bool {
        let data = event.data.trim();
        if self.alike.is(data) {
            return true;
        }
        self.alike.forget();
        // Nothing of an answer follows its marker.
        if self.done && !data.is_empty() {
            return false;
        }
        self.done |= data == "[DONE]";
        let Ok(seen) = wire::object::<Seen<'_>>(data) else {
            return true;
        };
        self.learn(&seen);
        self.alike.learn(data, seen.only_text());
        if self.identity.is_none() {
            self.identity = Identity::of(&seen);
        }
        self.usage_sent |= reports_usage(&seen);
        for choice in seen.choices.into_iter().flatten() {
            let state = self.choices.entry(choice.index.unwrap_or_default()).or_default();
            state.started = true;
            state.finished |= choice.finish_reason.given().is_some();
            for call in choice.delta.and_then(|delta| delta.tool_calls).into_iter().flatten() {
                let next = call
                    .index
                    .map_or(state.next_call.saturating_add(1), |index| index.saturating_add(1));
                state.next_call = state.next_call.max(next);
            }
        }
        true
    }

    /// Any chunk will do for a beginning.
    fn has_begun(&self) -> bool {
        true
    }

    fn snapshot(&self) -> Box<dyn Writer> {
        Box::new(self.clone())
    }

    fn withheld(&mut self, event: &sse::Event<'_>) {
        let Ok(seen) = wire::object::<Seen<'_>>(event.data.trim()) else {
            return;
        };
        self.learn(&seen);
        self.learned = Identity::of(&seen).or(self.learned.take());
        for choice in seen.choices.iter().flatten() {
            if let Some(reason) = choice.finish_reason.given() {
                self.reasons.insert(choice.index.unwrap_or_default(), Box::from(reason));
            }
        }
    }

    fn amend(&mut self, event: &sse::Event<'_>, report: &Report, out: &mut Vec<u8>) -> bool {
        let data = event.data.trim();
        if !wire::object::<Seen<'_>>(data).is_ok_and(|seen| reports_usage(&seen)) {
            return false;
        }
        let Ok(mut whole) = serde_json::from_str::<Map<String, Value>>(data) else {
            return false;
        };
        whole.insert("usage".to_owned(), merged(report));
        frame(event.event, &whole, out);
        true
    }

    fn write(&mut self, delta: &Delta, place: &Place, report: &Report, out: &mut Vec<u8>) {
        // What was counted before, by a server that counts in every chunk, is not all any more.
        self.usage_sent = false;
        self.alike.forget();
        if let Some(piece) = self.piece(delta, place) {
            self.say(piece, place.choice, report, out);
        }
    }

    fn finish(&mut self, finish: &Finish, ended: bool, report: &Report, out: &mut Vec<u8>) {
        if self.done {
            return;
        }
        if !self.choices.get(&0).is_some_and(|choice| choice.started) {
            self.say(json!({ "content": "" }), 0, report, out);
        }
        let unfinished = self.choices.iter().filter(|(_, choice)| !choice.finished);
        let unfinished: Vec<u32> = unfinished.map(|(choice, _)| *choice).collect();
        // Many servers end without `[DONE]`; nothing is missing then.
        if unfinished.is_empty() && ended {
            return;
        }
        for choice in unfinished {
            let own = self.reasons.remove(&choice);
            let own = own.filter(|word| choice > 0 || reason_of(word) == finish.reason);
            let word = own.as_deref().unwrap_or_else(|| word_of(&finish.reason));
            let choices = json!([{ "index": choice, "delta": {}, "finish_reason": word }]);
            self.chunk(&choices, None, report, out);
        }
        // A server that ended in order and counted nothing has nothing to add; what was cut is estimated.
        let known = !ended || costly(report).any(|attempt| attempt.usage.is_some());
        if self.wants_usage && known && !self.usage_sent {
            self.chunk(&json!([]), Some(merged(report)), report, out);
        }
        self.done = true;
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        sse::encode_comment("keep-alive", out);
        out.push(b'\n');
    }

    /// Reasoning is not signed here, and no server refuses a piece of it.
    fn holds_reasoning(&self) -> bool {
        false
    }
}

fn reports_usage(seen: &Seen<'_>) -> bool {
    seen.usage.is_some_and(|usage| usage.get().starts_with('{'))
}

/// The usage of all attempts.
fn merged(report: &Report) -> Value {
    let sum = report.usage();
    let output = output_tokens(report);
    json!({
        "prompt_tokens": sum.input_tokens,
        "completion_tokens": output,
        "total_tokens": sum.input_tokens.saturating_add(output),
        "prompt_tokens_details": { "cached_tokens": sum.cached_input_tokens },
        "completion_tokens_details": { "reasoning_tokens": sum.reasoning_tokens },
    })
}

/// The API's word for a reason.
fn word_of(reason: &FinishReason) -> &str {
    match reason {
        FinishReason::Length | FinishReason::ContextWindow => "length",
        FinishReason::ToolUse => "tool_calls",
        FinishReason::ContentFilter | FinishReason::Refusal => "content_filter",
        FinishReason::Other(word) => word,
        FinishReason::Stop
        | FinishReason::StopSequence
        | FinishReason::Pause
        | FinishReason::Unstated => "stop",
    }
}
