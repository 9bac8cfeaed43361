//! Writes the events of an interaction.
//!
//! In: deltas, and the events that go through as they came. Out: events of one interaction: one beginning,
//! one numbering of steps, one end. Comments are read as such by the vendor's own clients here
//! (`_gaos/utils/eventstreaming.py` of python-genai, read in November 2026). Law kept: *Fold*.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::super::wire::{self, Word};
use super::super::super::writer::{Place, Writer, costly, frame, output_tokens};
use crate::event::{Annotation, Delta, Finish, FinishReason, PartKind};
use crate::report::Report;
use crate::sse;

/// Writes one interaction.
#[derive(Clone, Debug)]
pub(super) struct InteractionWriter {
    id: Box<str>,
    model: Box<str>,
    started: bool,
    /// The step that is open, and whether it is text.
    open: Option<(u64, bool)>,
    next_index: u64,
    completed: bool,
    /// The marker behind the end has passed.
    done: bool,
}

/// What is read of an event that is not made of deltas.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Seen<'a> {
    #[serde(borrow)]
    event_type: Word<'a>,
    index: Option<u64>,
    #[serde(borrow)]
    interaction: Option<SeenInteraction<'a>>,
    /// What begins.
    #[serde(borrow, alias = "content")]
    step: Option<SeenStep<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SeenStep<'a> {
    #[serde(borrow, rename = "type")]
    kind: Word<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SeenInteraction<'a> {
    #[serde(borrow)]
    id: Word<'a>,
    #[serde(borrow)]
    model: Word<'a>,
}

impl InteractionWriter {
    pub(super) fn new(model: &str) -> Self {
        Self {
            id: Box::from("unbroken"),
            model: Box::from(model),
            started: false,
            open: None,
            next_index: 0,
            completed: false,
            done: false,
        }
    }

    fn learn(&mut self, seen: &Seen<'_>) {
        let Some(interaction) = &seen.interaction else { return };
        if let Some(id) = interaction.id.given() {
            self.id = Box::from(id);
        }
        if let Some(model) = interaction.model.given() {
            self.model = Box::from(model);
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.started, true) {
            let interaction = json!({
                "id": *self.id, "status": "in_progress", "object": "interaction", "model": *self.model,
            });
            emit("interaction.created", json!({ "interaction": interaction }), out);
        }
    }

    fn start(&mut self, step: &Value, is_text: bool, out: &mut Vec<u8>) -> u64 {
        self.stop(out);
        let index = self.next_index;
        self.next_index = self.next_index.saturating_add(1);
        self.open = Some((index, is_text));
        emit("step.start", json!({ "index": index, "step": step }), out);
        index
    }

    fn stop(&mut self, out: &mut Vec<u8>) {
        if let Some((index, _)) = self.open.take() {
            emit("step.stop", json!({ "index": index }), out);
        }
    }

    fn delta(&mut self, delta: &Value, out: &mut Vec<u8>) {
        if let Some((index, _)) = self.open {
            emit("step.delta", json!({ "index": index, "delta": delta }), out);
        }
    }

    /// The text step that is open, or a new one.
    fn text(&mut self, out: &mut Vec<u8>) {
        if self.open.is_none_or(|(_, is_text)| !is_text) {
            self.start(&json!({ "type": "model_output" }), true, out);
        }
    }

    fn append(&mut self, kind: &PartKind, text: &str, out: &mut Vec<u8>) {
        let delta = match kind {
            PartKind::Text | PartKind::Refusal => {
                self.text(out);
                json!({ "type": "text", "text": text })
            }
            PartKind::Reasoning => {
                json!({ "type": "thought_summary", "content": { "type": "text", "text": text } })
            }
            PartKind::ToolCall { .. } => json!({ "type": "arguments_delta", "arguments": text }),
            PartKind::Opaque { .. }
            | PartKind::ServerCall { .. }
            | PartKind::ServerResult { .. } => {
                let own = |step: &Value| is_own(step, kind);
                if let Some(step) = serde_json::from_str(text).ok().filter(own) {
                    self.start(&step, false, out);
                    self.stop(out);
                }
                return;
            }
            _ => return,
        };
        self.delta(&delta, out);
    }
}

impl Writer for InteractionWriter {
    fn speaks(&mut self, speaker: &str) {
        self.model = Box::from(speaker);
    }

    fn passes(&mut self, event: &sse::Event<'_>) -> bool {
        let data = event.data.trim();
        // Nothing of an answer follows its marker.
        if self.done && !data.is_empty() {
            return false;
        }
        self.done |= data == "[DONE]";
        let Ok(seen) = wire::object::<Seen<'_>>(data) else {
            return true;
        };
        self.learn(&seen);
        let index = seen.index.unwrap_or_default();
        match seen.event_type.given().unwrap_or(event.event) {
            "interaction.created" | "interaction.start" => self.started = true,
            "step.start" | "content.start" => {
                let kind = seen.step.as_ref().and_then(|step| step.kind.given());
                self.open = Some((index, matches!(kind, Some("model_output" | "text"))));
                self.next_index = self.next_index.max(index.saturating_add(1));
            }
            "step.stop" | "content.stop" => self.open = None,
            "interaction.completed" | "interaction.complete" => self.completed = true,
            _ => {}
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
        if let Ok(seen) = wire::object::<Seen<'_>>(event.data.trim()) {
            if !self.started {
                self.learn(&seen);
            }
        }
    }

    fn amend(&mut self, event: &sse::Event<'_>, report: &Report, out: &mut Vec<u8>) -> bool {
        let Ok(mut whole) = serde_json::from_str::<Value>(event.data.trim()) else {
            return false;
        };
        let Some(usage) = whole.pointer_mut("/interaction/usage") else {
            return false;
        };
        *usage = merged(report);
        frame(event.event, &whole, out);
        true
    }

    fn write(&mut self, delta: &Delta, place: &Place, _: &Report, out: &mut Vec<u8>) {
        self.begin(out);
        match (delta, &place.kind) {
            (Delta::Open { .. }, PartKind::Text | PartKind::Refusal) => self.text(out),
            (Delta::Open { .. }, PartKind::Reasoning) => {
                self.start(&json!({ "type": "thought" }), false, out);
            }
            (Delta::Open { .. }, PartKind::ToolCall { id, name }) => {
                let step = json!({ "type": "function_call", "id": **id, "name": **name });
                self.start(&step, false, out);
            }
            (Delta::Append { text, .. }, kind) => self.append(kind, text, out),
            (
                Delta::Annotate { annotation: Annotation::Signature(signature), .. },
                PartKind::Reasoning | PartKind::ToolCall { .. },
            ) => {
                let delta = json!({ "type": "thought_signature", "signature": **signature });
                self.delta(&delta, out);
            }
            (Delta::Close { .. } | Delta::Truncate { .. }, _) => self.stop(out),
            // A call that will never be whole must not look as if it were.
            (Delta::Abandon { .. }, PartKind::ToolCall { .. }) => {}
            (Delta::Abandon { .. }, _) => self.stop(out),
            _ => {}
        }
    }

    fn finish(&mut self, finish: &Finish, ended: bool, report: &Report, out: &mut Vec<u8>) {
        if !self.completed {
            self.begin(out);
            self.stop(out);
            let interaction = json!({
                "id": *self.id, "status": status_of(&finish.reason), "usage": merged(report),
                "object": "interaction", "model": *self.model,
            });
            emit("interaction.completed", json!({ "interaction": interaction }), out);
        }
        // A server that has ended in order without the marker has none.
        let has_none = std::mem::replace(&mut self.completed, true) && ended;
        if !has_none && !std::mem::replace(&mut self.done, true) {
            out.extend_from_slice(b"event: done\ndata: [DONE]\n\n");
        }
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        sse::encode_comment("keep-alive", out);
        out.push(b'\n');
    }

    fn holds_reasoning(&self) -> bool {
        false
    }
}

/// Whether a step is one of this API: other vendors have blocks of the same kinds.
fn is_own(step: &Value, kind: &PartKind) -> bool {
    match kind {
        PartKind::Opaque { name } | PartKind::ServerCall { name, .. } => {
            step.get("type").and_then(Value::as_str) == Some(&**name)
        }
        _ => step.get("type").is_some() && step.get("call_id").is_some(),
    }
}

/// Appends `data` as an event of type `kind`.
fn emit(kind: &str, mut data: Value, out: &mut Vec<u8>) {
    data["event_type"] = Value::from(kind);
    frame(kind, &data, out);
}

fn merged(report: &Report) -> Value {
    let sum = report.usage();
    let output = output_tokens(report);
    let known = costly(report).any(|attempt| attempt.usage.is_some());
    let thoughts = if known { sum.reasoning_tokens } else { 0 };
    json!({
        "total_tokens": sum.input_tokens.saturating_add(output),
        "total_input_tokens": sum.input_tokens,
        "total_cached_tokens": sum.cached_input_tokens,
        "total_output_tokens": output.saturating_sub(thoughts),
        "total_thought_tokens": thoughts,
    })
}

fn status_of(reason: &FinishReason) -> &str {
    match reason {
        FinishReason::Length | FinishReason::ContextWindow => "incomplete",
        FinishReason::ToolUse => "requires_action",
        FinishReason::Other(word) => word,
        _ => "completed",
    }
}
