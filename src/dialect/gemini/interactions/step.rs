//! One step of an interaction.
//!
//! In: how it begins, and its deltas. Out: signals. A step that is none of text, thought and call of the
//! caller's is kept whole. Law kept: *Bound*.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::super::{DecodeError, Signal, wire};
use super::frame::{Content, Piece};
use crate::event::{Annotation, PartKind, Text};

type Sink<'s> = dyn FnMut(Signal<'_>) + 's;

/// A step that is not over.
pub(super) struct Step {
    pub(super) slot: u32,
    holds: Holds,
}

enum Holds {
    /// Text, which is handed on as it comes.
    Text,
    /// Thoughts, likewise.
    Thought,
    /// A call of the caller's: the arguments that it began with, until there are others.
    Call(Option<Box<str>>),
    /// The step as far as it has come, and its size.
    Whole(Map<String, Value>, usize),
}

impl Step {
    pub(super) fn begin(
        slot: u32,
        raw: &RawValue,
        sink: &mut Sink<'_>,
    ) -> Result<(Self, bool), DecodeError> {
        let piece: Piece<'_> = wire::object(raw.get())?;
        let name = piece.kind.given().unwrap_or("model_output");
        let (kind, holds) = match name {
            "model_output" | "text" => (PartKind::Text, Holds::Text),
            "thought" => (PartKind::Reasoning, Holds::Thought),
            "function_call" => {
                let own = piece.arguments.map(RawValue::get).filter(|own| own.starts_with('{'));
                let id = piece.id.given().unwrap_or_default().into();
                let name = piece.name.given().unwrap_or_default().into();
                (PartKind::ToolCall { id, name }, Holds::Call(own.map(Box::from)))
            }
            other => {
                let whole = serde_json::from_str(raw.get()).map_err(|_| DecodeError)?;
                let size = raw.get().len();
                (kind_of(other, &piece), Holds::Whole(whole, size))
            }
        };
        let calls = matches!(kind, PartKind::ToolCall { .. });
        sink(Signal::Open { slot, choice: 0, kind });
        let step = Self { slot, holds };
        if !matches!(step.holds, Holds::Whole(..)) {
            step.say(&piece, sink)?;
        }
        Ok((step, calls))
    }

    /// A text that has begun before.
    pub(super) fn text(slot: u32, sink: &mut Sink<'_>) -> Self {
        sink(Signal::Open { slot, choice: 0, kind: PartKind::Text });
        Self { slot, holds: Holds::Text }
    }

    pub(super) const fn is_text(&self) -> bool {
        matches!(self.holds, Holds::Text)
    }

    pub(super) fn push(&mut self, raw: &RawValue, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let piece: Piece<'_> = wire::object(raw.get())?;
        match &mut self.holds {
            Holds::Whole(whole, size) => {
                *size += raw.get().len();
                if *size > STEP_MAX {
                    return Err(DecodeError);
                }
                let delta: Map<String, Value> =
                    serde_json::from_str(raw.get()).map_err(|_| DecodeError)?;
                merge(whole, delta);
                Ok(())
            }
            Holds::Call(own) => {
                let Some(arguments) = piece.arguments.map(RawValue::get) else {
                    return self.note(&piece, sink);
                };
                *own = None;
                let text = match arguments.starts_with('{') {
                    true => Cow::Borrowed(arguments),
                    false => {
                        let text: wire::Text<'_> =
                            serde_json::from_str(arguments).map_err(|_| DecodeError)?;
                        text.said().unwrap_or_default()
                    }
                };
                sink(Signal::Append { slot: self.slot, text });
                Ok(())
            }
            Holds::Text | Holds::Thought => self.say(&piece, sink),
        }
    }

    pub(super) fn stop(self, sink: &mut Sink<'_>) {
        let text = match self.holds {
            Holds::Text | Holds::Thought => None,
            Holds::Call(own) => own.map(String::from),
            Holds::Whole(whole, _) => Some(Value::Object(whole).to_string()),
        };
        if let Some(text) = text {
            sink(Signal::Append { slot: self.slot, text: Cow::Owned(text) });
        }
        sink(Signal::Close { slot: self.slot });
    }

    /// What a step of words says, and a call's signature.
    fn say(&self, piece: &Piece<'_>, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let slot = self.slot;
        let mut append = |text: Cow<'_, str>| sink(Signal::Append { slot, text });
        let is_said = matches!(self.holds, Holds::Text | Holds::Thought);
        if let Some(text) = piece.text.as_said().filter(|_| is_said) {
            append(Cow::Borrowed(text));
        }
        match piece.content.map(RawValue::get).filter(|_| is_said) {
            Some(list) if list.starts_with('[') => {
                let items: Vec<Content<'_>> =
                    serde_json::from_str(list).map_err(|_| DecodeError)?;
                items.into_iter().filter_map(|item| item.text.said()).for_each(append);
            }
            Some(one) => {
                let item: Content<'_> = wire::object(one)?;
                item.text.said().into_iter().for_each(append);
            }
            None => {}
        }
        self.note(piece, sink)
    }

    fn note(&self, piece: &Piece<'_>, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let slot = self.slot;
        if let Some(signature) = piece.signature.given() {
            let annotation = Annotation::Signature(Text::from(signature));
            sink(Signal::Annotate { slot, annotation });
        }
        for citation in piece.annotations.iter().flatten() {
            let annotation = Annotation::Citation(Text::from(citation.get()));
            sink(Signal::Annotate { slot, annotation });
        }
        Ok(())
    }
}

/// What a step is that is neither words nor a call of the caller's.
fn kind_of(name: &str, piece: &Piece<'_>) -> PartKind {
    if name.ends_with("_call") {
        PartKind::ServerCall { id: piece.id.given().unwrap_or_default().into(), name: name.into() }
    } else if name.ends_with("_result") {
        PartKind::ServerResult { call: piece.call_id.given().unwrap_or_default().into() }
    } else {
        PartKind::Opaque { name: name.into() }
    }
}

/// Adds the fields of `delta` to `whole`: text and lists grow, all else is replaced.
fn merge(whole: &mut Map<String, Value>, delta: Map<String, Value>) {
    for (name, more) in delta.into_iter().filter(|(name, _)| name != "type") {
        match (whole.get_mut(&name), more) {
            (Some(Value::String(text)), Value::String(more)) => text.push_str(&more),
            (Some(Value::Array(items)), Value::Array(more)) => items.extend(more),
            (Some(Value::Object(fields)), Value::Object(more)) => fields.extend(more),
            (_, more) => _ = whole.insert(name, more),
        }
    }
}

/// Most bytes of a step that is kept until it is whole.
const STEP_MAX: usize = 16 * 1024 * 1024;
