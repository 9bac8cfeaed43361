//! Writes Responses events.
//!
//! In: deltas, and the events that go through as they came. Out: events of one response: one beginning,
//! numbers without a gap, items in the order of the output, one end with the whole output and the usage of
//! all attempts. A continued text goes on in the content part that is open. Shapes:
//! <https://platform.openai.com/docs/api-reference/responses-streaming>, November 2026. Law kept: *Fold*.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::writer::{Place, Writer, frame};
use super::super::{request, wire};
use super::draft::{ContentKind, Draft, Field, Told, value};
use super::frame::{Frame, Item, Kind};
use super::history;
use super::usage::merged;
use crate::event::{Annotation, Delta, Finish, FinishReason, PartKind};
use crate::report::Report;
use crate::sse;

/// Writes one response.
#[derive(Clone, Debug)]
pub(super) struct ResponseWriter {
    /// The model asked for, where no attempt says which one answers.
    model: Arc<str>,
    /// Who answers in place of a model.
    speaker: Option<Arc<str>>,
    holds_reasoning: bool,
    started: bool,
    /// The response as the client knows it, without its output.
    response: Map<String, Value>,
    /// The last one that was withheld: who speaks, if nobody did before.
    learned: Option<Map<String, Value>>,
    /// The number of the next event.
    number: u64,
    next_index: u64,
    /// The items that are open.
    open: Vec<Draft>,
    /// The items that are done, by their place.
    output: BTreeMap<u64, Arc<Value>>,
    /// What has come of calls that are written whole, by their part.
    calls: BTreeMap<u32, String>,
    /// The open thought as its provider sent it.
    thought: Option<Map<String, Value>>,
    /// The last event is out.
    concluded: bool,
}

impl ResponseWriter {
    pub(super) fn new(request: &Value) -> Self {
        let tools = request.get("tools").and_then(Value::as_array);
        let include = request.get("include").and_then(Value::as_array);
        let sent_back = include.is_some_and(|list| list.contains(&json!(ENCRYPTED)));
        Self {
            model: request::model(request),
            speaker: None,
            holds_reasoning: sent_back || tools.is_some_and(|tools| !tools.is_empty()),
            started: false,
            response: Map::new(),
            learned: None,
            number: 0,
            next_index: 0,
            open: Vec::new(),
            output: BTreeMap::new(),
            calls: BTreeMap::new(),
            thought: None,
            concluded: false,
        }
    }

    fn emit(&mut self, (kind, fields): Told, out: &mut Vec<u8>) {
        let mut event = Map::new();
        event.insert("type".to_owned(), kind.into());
        event.insert("sequence_number".to_owned(), self.number.into());
        if let Value::Object(fields) = fields {
            event.extend(fields);
        }
        self.number = self.number.saturating_add(1);
        frame(kind, &event, out);
    }

    fn begin(&mut self, report: &Report, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let model = report.attempts.last().map_or(&self.model, |attempt| &attempt.model);
        let model = self.speaker.as_ref().unwrap_or(model);
        let unknown = || {
            let fields = [("id", "resp_unbroken".into()), ("model", Value::from(&**model))];
            Map::from_iter(fields.map(|(name, value)| (name.to_owned(), value)))
        };
        let learned = self.learned.take().filter(|_| self.speaker.is_none());
        let mut response = learned.unwrap_or_else(unknown);
        response.insert("status".to_owned(), "in_progress".into());
        for (name, value) in [
            ("object", json!("response")),
            ("created_at", json!(0)),
            ("error", Value::Null),
            ("incomplete_details", Value::Null),
            ("output", json!([])),
            ("parallel_tool_calls", json!(true)),
            ("tool_choice", json!("auto")),
            ("tools", json!([])),
        ] {
            response.entry(name).or_insert(value);
        }
        for kind in ["response.created", "response.in_progress"] {
            self.emit((kind, json!({ "response": response })), out);
        }
        self.response = response;
    }

    fn add(&mut self, prefix: &str, fields: Vec<Field>, out: &mut Vec<u8>) {
        let index = self.next_index;
        self.next_index = self.next_index.saturating_add(1);
        let draft = Draft::new(index, format!("{prefix}_unbroken_{index}"), fields);
        self.emit(draft.announcement(), out);
        self.open.push(draft);
    }

    fn end_all(&mut self, out: &mut Vec<u8>) {
        self.end(|_| true, out);
    }

    /// Ends those items that are open and `ends` means.
    fn end(&mut self, ends: impl Fn(&Draft) -> bool, out: &mut Vec<u8>) {
        let (ended, open) = std::mem::take(&mut self.open).into_iter().partition(|d| ends(d));
        self.open = open;
        let ended: Vec<Draft> = ended;
        for draft in ended {
            let own = self.thought.take().filter(|_| draft.is("reasoning"));
            let index = draft.index;
            let (told, item) = draft.end(own);
            for told in told {
                self.emit(told, out);
            }
            self.output.insert(index, Arc::new(item));
        }
    }

    /// The item that is open and has a content part of `kind` open; every other one is ended.
    fn only(&mut self, kind: ContentKind, out: &mut Vec<u8>) -> Option<&mut Draft> {
        let alone = self.open.len() == 1;
        let fits = self.open.last_mut().is_some_and(|open| open.open_content(kind).is_some());
        if !(alone && fits) {
            self.end_all(out);
        }
        self.open.last_mut()
    }

    fn say(&mut self, kind: ContentKind, text: &str, out: &mut Vec<u8>) {
        if self.only(kind, out).is_none() {
            if kind == ContentKind::Summary {
                self.add("rs", vec![("type", json!("reasoning")), ("summary", json!([]))], out);
            } else {
                let fields = vec![
                    ("type", json!("message")),
                    ("status", json!("in_progress")),
                    ("role", json!("assistant")),
                    ("content", json!([])),
                ];
                self.add("msg", fields, out);
            }
            if let Some(told) = self.open.last_mut().map(|draft| draft.begin(kind)) {
                self.emit(told, out);
            }
        }
        if let Some(told) = self.open.last_mut().and_then(|draft| draft.piece(kind, text)) {
            self.emit(told, out);
        }
    }

    /// The open thought, in whichever of its two channels it comes.
    fn think(&mut self, text: &str, out: &mut Vec<u8>) {
        let thinks = |draft: &mut Draft| draft.open_content(ContentKind::Thought).is_some();
        let thought = self.open.last_mut().is_some_and(thinks);
        self.say(if thought { ContentKind::Thought } else { ContentKind::Summary }, text, out);
    }

    /// An item that is there whole.
    fn whole(&mut self, item: Value, out: &mut Vec<u8>) {
        self.end_all(out);
        let index = self.next_index;
        self.next_index = self.next_index.saturating_add(1);
        let fields = json!({ "output_index": index, "item": item });
        self.emit(("response.output_item.added", fields.clone()), out);
        self.emit(("response.output_item.done", fields), out);
        self.output.insert(index, Arc::new(item));
    }

    /// A call with all its input; `status`: whether that is whole.
    fn call(&mut self, part: u32, id: &str, name: &str, status: &str, out: &mut Vec<u8>) {
        let content = self.calls.remove(&part).unwrap_or_default();
        let broken = || json!({ "type": "function_call", "call_id": id, "name": name, "arguments": content });
        let mut item = history::call(id, name, &content).unwrap_or_else(broken);
        let (field, input, events) = match item.get("type").and_then(Value::as_str) {
            Some("function_call") => ("arguments", item.get("arguments"), ARGUMENTS),
            Some("custom_tool_call") => ("input", item.get("input"), INPUT),
            _ => return self.whole(item, out),
        };
        let input = input.cloned().unwrap_or_default();
        self.end_all(out);
        let index = self.next_index;
        self.next_index = self.next_index.saturating_add(1);
        let [delta, done, prefix] = events;
        let item_id = format!("{prefix}_unbroken_{index}");
        item["id"] = json!(item_id);
        let mut empty = item.clone();
        empty["status"] = json!("in_progress");
        empty[field] = json!("");
        item["status"] = json!(status);
        let told = |kind, name: &str, value: &Value| {
            let mut fields = json!({ "item_id": item_id, "output_index": index });
            fields[name] = value.clone();
            (kind, fields)
        };
        let about = |item: &Value| json!({ "output_index": index, "item": item });
        self.emit(("response.output_item.added", about(&empty)), out);
        self.emit(told(delta, "delta", &input), out);
        self.emit(told(done, field, &input), out);
        self.emit(("response.output_item.done", about(&item)), out);
        self.output.insert(index, Arc::new(item));
    }
}

impl Writer for ResponseWriter {
    fn speaks(&mut self, speaker: &str) {
        self.speaker = Some(Arc::from(speaker));
    }

    fn passes(&mut self, event: &sse::Event<'_>) -> bool {
        let Ok(seen) = wire::object::<Frame<'_>>(event.data.trim()) else {
            return true;
        };
        let kind = Kind::of_frame(&seen.kind, event.event);
        if !self.started && !matches!(kind, Kind::Begun | Kind::Unknown) {
            return false;
        }
        let index = seen.output_index.0.unwrap_or_default();
        let open = self.open.iter().position(|draft| draft.index == index);
        let taken = open.is_some() || self.output.contains_key(&index);
        let fits = match kind {
            Kind::Unknown => true,
            Kind::ItemAdded => !self.concluded && !taken,
            // Nothing of a response follows its last event.
            _ => !self.concluded,
        };
        if !fits {
            return false;
        }
        match kind {
            Kind::Begun => {
                self.started = true;
                self.response = wire::lenient(seen.response).unwrap_or_default();
            }
            Kind::ItemAdded => {
                let raw = seen.item.map_or("{}", RawValue::get);
                let item: Item<'_> = wire::lenient(seen.item).unwrap_or_default();
                self.open.retain(|draft| draft.index != index);
                self.open.push(Draft::passed(index, raw, &item));
                self.next_index = self.next_index.max(index.saturating_add(1));
            }
            Kind::ItemDone => {
                self.open.retain(|draft| draft.index != index);
                self.output.insert(index, Arc::new(value(seen.item)));
                self.next_index = self.next_index.max(index.saturating_add(1));
            }
            Kind::Completed | Kind::Incomplete | Kind::Failed => self.concluded = true,
            Kind::Unknown => {}
            _ => {
                let draft = open.and_then(|open| self.open.get_mut(open));
                if !draft.is_some_and(|draft| draft.pass(kind, &seen)) {
                    return false;
                }
            }
        }
        if let Some(number) = seen.sequence_number.0 {
            self.number = self.number.max(number.saturating_add(1));
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
        let Ok(seen) = wire::object::<Frame<'_>>(event.data.trim()) else { return };
        if Kind::of_frame(&seen.kind, event.event) == Kind::Begun {
            self.learned = wire::lenient(seen.response);
        }
    }

    fn amend(&mut self, event: &sse::Event<'_>, report: &Report, out: &mut Vec<u8>) -> bool {
        let data = event.data.trim();
        let ends = wire::object::<Frame<'_>>(data).is_ok_and(|seen| {
            let kind = Kind::of_frame(&seen.kind, event.event);
            matches!(kind, Kind::Completed | Kind::Incomplete | Kind::Failed)
        });
        let whole = serde_json::from_str::<Map<String, Value>>(data).ok().filter(|_| ends);
        let Some(mut whole) = whole else { return false };
        let Some(Value::Object(response)) = whole.get_mut("response") else { return false };
        response.insert("usage".to_owned(), merged(report));
        frame(event.event, &whole, out);
        true
    }

    fn write(&mut self, delta: &Delta, place: &Place, report: &Report, out: &mut Vec<u8>) {
        let part = delta.part();
        match (delta, &place.kind) {
            (Delta::Open { .. }, PartKind::ToolCall { .. }) => {
                self.calls.insert(part, String::new());
            }
            (Delta::Open { .. }, _) => self.begin(report, out),
            (Delta::Append { text, .. }, PartKind::Text) => self.say(ContentKind::Text, text, out),
            (Delta::Append { text, .. }, PartKind::Refusal) => {
                self.say(ContentKind::Refusal, text, out);
            }
            (Delta::Append { text, .. }, PartKind::Reasoning) => self.think(text, out),
            (Delta::Append { text, .. }, PartKind::ToolCall { .. }) => {
                self.calls.entry(part).or_default().push_str(text);
            }
            // Such a part is its own item.
            (Delta::Append { text, .. }, _) => {
                if let Ok(item @ Value::Object(_)) = serde_json::from_str(text) {
                    self.whole(item, out);
                }
            }
            (Delta::Annotate { annotation: Annotation::Citation(json), .. }, PartKind::Text) => {
                let annotation = serde_json::from_str(json).unwrap_or_default();
                let told = self.open.last_mut().and_then(|draft| draft.cite(annotation));
                if let Some(told) = told {
                    self.emit(told, out);
                }
            }
            (Delta::Annotate { annotation: Annotation::Signature(json), .. }, _) => {
                self.thought = serde_json::from_str(json).ok();
            }
            (Delta::Close { .. }, PartKind::ToolCall { id, name }) => {
                self.begin(report, out);
                self.call(part, id, name, "completed", out);
            }
            (Delta::Truncate { .. }, PartKind::ToolCall { id, name }) => {
                self.begin(report, out);
                self.call(part, id, name, "incomplete", out);
            }
            // A call that will never be whole must not look as if it were.
            (Delta::Abandon { .. }, PartKind::ToolCall { .. }) => _ = self.calls.remove(&part),
            (
                Delta::Close { .. } | Delta::Truncate { .. } | Delta::Abandon { .. },
                kind @ (PartKind::Text | PartKind::Refusal | PartKind::Reasoning),
            ) => {
                let thinks = matches!(kind, PartKind::Reasoning);
                self.end(|draft| draft.is(if thinks { "reasoning" } else { "message" }), out);
            }
            // The rest is in the item, or nothing that this API has a word for.
            _ => {}
        }
    }

    fn finish(&mut self, finish: &Finish, _: bool, report: &Report, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.concluded, true) {
            return;
        }
        self.begin(report, out);
        self.end_all(out);
        let (event, reason) = match &finish.reason {
            FinishReason::Length | FinishReason::ContextWindow => {
                ("response.incomplete", Some("max_output_tokens"))
            }
            FinishReason::ContentFilter => ("response.incomplete", Some("content_filter")),
            _ => ("response.completed", None),
        };
        let mut response = std::mem::take(&mut self.response);
        let output: Vec<&Value> = self.output.values().map(|item| &**item).collect();
        response.insert("status".to_owned(), event.trim_start_matches("response.").into());
        response.insert("output".to_owned(), json!(output));
        response.insert("usage".to_owned(), merged(report));
        response.insert(
            "incomplete_details".to_owned(),
            reason.map_or(Value::Null, |reason| json!({ "reason": reason })),
        );
        self.emit((event, json!({ "response": response })), out);
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        sse::encode_comment("keep-alive", out);
        out.push(b'\n');
    }

    fn holds_reasoning(&self) -> bool {
        self.holds_reasoning
    }
}

/// By which a client that keeps nothing with the provider has thoughts to send back.
const ENCRYPTED: &str = "reasoning.encrypted_content";
/// A piece of a call's input, all of it, and the first letters of such an item's id.
const ARGUMENTS: [&str; 3] =
    ["response.function_call_arguments.delta", "response.function_call_arguments.done", "fc"];
const INPUT: [&str; 3] =
    ["response.custom_tool_call_input.delta", "response.custom_tool_call_input.done", "ctc"];
