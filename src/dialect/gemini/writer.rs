//! Writes `GenerateContentResponse` frames.
//!
//! In: deltas, and the frames that go through as they came. Out: frames of one response: one id, calls
//! whole, a finish reason at the end, and usage with it. There is no terminal marker. Laws kept: *Fold*.
//!
//! It must never write a comment: python-genai takes every line without `data: ` for JSON, and fails
//! (`_iter_response_stream`, read in November 2026). A sign of life is an empty response.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::wire::{self, Word};
use super::super::writer::{Place, Writer, costly, frame, output_tokens};
use super::message::is_own;
use super::reason_of;
use crate::event::{Annotation, Delta, Finish, FinishReason, PartKind};
use crate::report::Report;
use crate::sse;

/// Writes one response.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseWriter {
    /// Who answers in place of a model.
    speaker: Option<Box<str>>,
    /// Id and model of the first frame that went through, and of the last one that did not.
    identity: Option<Identity>,
    learned: Option<Identity>,
    /// Whether the stream has the finish reason of each candidate, and nothing after it.
    finished: BTreeMap<u32, bool>,
    /// The finish reasons that were withheld, by candidate, in the provider's own word.
    reasons: BTreeMap<u32, Box<str>>,
    /// Calls that are not whole yet, by their part.
    calls: BTreeMap<u32, Call>,
}

#[derive(Clone, Debug)]
struct Identity {
    id: Box<str>,
    model: Option<Box<str>>,
}

#[derive(Clone, Default)]
struct Call {
    args: String,
    signature: Option<String>,
}

impl std::fmt::Debug for Call {
    /// Arguments are generated.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("bytes", &self.args.len()).finish_non_exhaustive()
    }
}

/// What is read of a frame that is not made of deltas.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Seen<'a> {
    #[serde(borrow)]
    response_id: Word<'a>,
    #[serde(borrow)]
    model_version: Word<'a>,
    #[serde(borrow)]
    candidates: Option<Vec<SeenCandidate<'a>>>,
    #[serde(borrow)]
    usage_metadata: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SeenCandidate<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    finish_reason: Word<'a>,
}

impl Seen<'_> {
    fn identity(&self) -> Option<Identity> {
        let model = self.model_version.given().map(Box::from);
        self.response_id.given().map(|id| Identity { id: Box::from(id), model })
    }
}

impl ResponseWriter {
    /// A frame with one candidate, which `parts` and `fields` are of.
    fn say(
        &mut self,
        choice: u32,
        parts: Value,
        fields: Map<String, Value>,
        usage: Option<Value>,
        report: &Report,
        out: &mut Vec<u8>,
    ) {
        let finishes = fields.contains_key("finishReason");
        self.finished.insert(choice, finishes);
        let mut candidate = Map::new();
        candidate.insert("content".to_owned(), json!({ "parts": parts, "role": "model" }));
        candidate.extend(fields);
        candidate.insert("index".to_owned(), choice.into());
        let mut whole = Map::new();
        whole.insert("candidates".to_owned(), json!([candidate]));
        if let Some(usage) = usage {
            whole.insert("usageMetadata".to_owned(), usage);
        }
        let learned = self.learned.take();
        let unknown = || Identity { id: Box::from("unbroken"), model: None };
        let identity = self.identity.get_or_insert_with(|| learned.unwrap_or_else(unknown));
        let asked = report.attempts.last().map(|attempt| &*attempt.model);
        let model = self.speaker.as_deref().or(identity.model.as_deref()).or(asked);
        whole.insert("modelVersion".to_owned(), json!(model));
        whole.insert("responseId".to_owned(), json!(identity.id));
        frame("message", &whole, out);
    }

    /// What a piece of a part looks like: a part, or fields of its candidate.
    fn piece(&mut self, delta: &Delta, place: &Place) -> Option<(Value, Map<String, Value>)> {
        let part = match (delta, &place.kind) {
            (Delta::Append { text, .. }, PartKind::Text | PartKind::Refusal) => {
                json!({ "text": **text })
            }
            (Delta::Append { text, .. }, PartKind::Reasoning) => {
                json!({ "text": **text, "thought": true })
            }
            (
                Delta::Append { text, .. },
                PartKind::Opaque { .. }
                | PartKind::ServerCall { .. }
                | PartKind::ServerResult { .. },
            ) => serde_json::from_str(text).ok().filter(is_own)?,
            (Delta::Append { part, text }, PartKind::ToolCall { .. }) => {
                self.calls.entry(*part).or_default().args.push_str(text);
                return None;
            }
            (Delta::Annotate { part, annotation }, kind) => {
                return self.note(*part, annotation, kind);
            }
            (Delta::Close { part }, PartKind::ToolCall { id, name }) => {
                let call = self.calls.remove(part).unwrap_or_default();
                whole_call(id, name, &call)?
            }
            (Delta::Abandon { part }, _) => {
                self.calls.remove(part);
                return None;
            }
            // Nobody must run it, and this format has no other way to show it.
            (Delta::Truncate { .. } | Delta::Open { .. } | Delta::Close { .. }, _) => return None,
            (Delta::Append { .. }, _) => return None,
        };
        Some((json!([part]), Map::new()))
    }

    fn note(
        &mut self,
        part: u32,
        annotation: &Annotation,
        kind: &PartKind,
    ) -> Option<(Value, Map<String, Value>)> {
        match (annotation, kind) {
            (Annotation::Signature(signature), PartKind::ToolCall { .. }) => {
                self.calls.entry(part).or_default().signature = Some(signature.to_string());
                None
            }
            (Annotation::Signature(signature), PartKind::Reasoning) => {
                let part = json!({ "text": "", "thought": true, "thoughtSignature": **signature });
                Some((json!([part]), Map::new()))
            }
            (Annotation::Signature(signature), PartKind::Text) => {
                let part = json!({ "text": "", "thoughtSignature": **signature });
                Some((json!([part]), Map::new()))
            }
            (Annotation::Citation(citation), PartKind::Text) => {
                let fields: Map<String, Value> = serde_json::from_str(citation).ok()?;
                let own = |name: &String| name.ends_with("Metadata");
                fields.keys().all(own).then(|| (json!([{ "text": "" }]), fields))
            }
            _ => None,
        }
    }
}

fn whole_call(id: &str, name: &str, call: &Call) -> Option<Value> {
    let args = if call.args.trim().is_empty() { "{}" } else { &call.args };
    let args: Value = serde_json::from_str(args).ok()?;
    let mut function = Map::new();
    if !id.is_empty() {
        function.insert("id".to_owned(), id.into());
    }
    function.insert("name".to_owned(), name.into());
    function.insert("args".to_owned(), args);
    let mut part = json!({ "functionCall": function });
    if let Some(signature) = &call.signature {
        part["thoughtSignature"] = Value::from(&**signature);
    }
    Some(part)
}

impl Writer for ResponseWriter {
    fn speaks(&mut self, speaker: &str) {
        self.speaker = Some(Box::from(speaker));
    }

    fn passes(&mut self, event: &sse::Event<'_>) -> bool {
        let Ok(seen) = wire::object::<Seen<'_>>(event.data.trim()) else {
            return true;
        };
        if self.identity.is_none() {
            self.identity = seen.identity();
        }
        for candidate in seen.candidates.iter().flatten() {
            let finished = self.finished.entry(candidate.index.unwrap_or_default()).or_default();
            *finished |= candidate.finish_reason.given().is_some();
        }
        true
    }

    /// Any frame will do for a beginning.
    fn has_begun(&self) -> bool {
        true
    }

    fn snapshot(&self) -> Box<dyn Writer> {
        Box::new(self.clone())
    }

    fn withheld(&mut self, event: &sse::Event<'_>) {
        let Ok(seen) = wire::object::<Seen<'_>>(event.data.trim()) else { return };
        self.learned = seen.identity().or(self.learned.take());
        for candidate in seen.candidates.iter().flatten() {
            if let Some(reason) = candidate.finish_reason.given() {
                self.reasons.insert(candidate.index.unwrap_or_default(), Box::from(reason));
            }
        }
    }

    fn amend(&mut self, event: &sse::Event<'_>, report: &Report, out: &mut Vec<u8>) -> bool {
        let data = event.data.trim();
        if !wire::object::<Seen<'_>>(data).is_ok_and(|seen| seen.usage_metadata.is_some()) {
            return false;
        }
        let Ok(mut whole) = serde_json::from_str::<Map<String, Value>>(data) else {
            return false;
        };
        whole.insert("usageMetadata".to_owned(), merged(report));
        frame(event.event, &whole, out);
        true
    }

    fn write(&mut self, delta: &Delta, place: &Place, report: &Report, out: &mut Vec<u8>) {
        if let Some((parts, fields)) = self.piece(delta, place) {
            self.say(place.choice, parts, fields, None, report, out);
        }
    }

    fn finish(&mut self, finish: &Finish, _: bool, report: &Report, out: &mut Vec<u8>) {
        self.finished.entry(0).or_default();
        let unfinished = self.finished.iter().filter(|(_, finished)| !**finished);
        let unfinished: Vec<u32> = unfinished.map(|(choice, _)| *choice).collect();
        for choice in unfinished {
            let own = self.reasons.remove(&choice);
            let is_this = |word: &str| {
                choice > 0
                    || reason_of(word)
                        .is_some_and(|reason| word_of(&reason) == word_of(&finish.reason))
            };
            let own = own.filter(|word| is_this(word));
            let word = own.as_deref().unwrap_or_else(|| word_of(&finish.reason));
            let fields = Map::from_iter([("finishReason".to_owned(), Value::from(word))]);
            let known = costly(report).any(|attempt| attempt.usage.is_some());
            let usage = known.then(|| merged(report));
            self.say(choice, json!([{ "text": "" }]), fields, usage, report, out);
        }
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        frame("message", &json!({}), out);
    }

    fn remark(&mut self, _: &str, _: &mut Vec<u8>) {}

    /// Thoughts that are not signed are not sent back.
    fn holds_reasoning(&self) -> bool {
        false
    }
}

/// The usage of all attempts, by names of the provider's, for which thoughts are no part of the answer.
fn merged(report: &Report) -> Value {
    let sum = report.usage();
    let output = output_tokens(report);
    json!({
        "promptTokenCount": sum.input_tokens,
        "cachedContentTokenCount": sum.cached_input_tokens,
        "candidatesTokenCount": output.saturating_sub(sum.reasoning_tokens),
        "thoughtsTokenCount": sum.reasoning_tokens,
        "totalTokenCount": sum.input_tokens.saturating_add(output),
    })
}

/// The provider's word for a reason.
fn word_of(reason: &FinishReason) -> &str {
    match reason {
        FinishReason::Length | FinishReason::ContextWindow => "MAX_TOKENS",
        FinishReason::ContentFilter | FinishReason::Refusal => "SAFETY",
        FinishReason::Other(word) => word,
        FinishReason::Stop
        | FinishReason::StopSequence
        | FinishReason::ToolUse
        | FinishReason::Pause
        | FinishReason::Unstated => "STOP",
    }
}
