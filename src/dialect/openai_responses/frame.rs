//! The JSON of Responses events, as far as it is read.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::wire::{Count, Text, Word};
use super::super::{DecodeError, fault};

/// The data of any event; each type fills its own fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Word<'a>,
    pub(super) sequence_number: Count,
    pub(super) output_index: Count,
    pub(super) content_index: Count,
    pub(super) summary_index: Count,
    #[serde(borrow)]
    pub(super) delta: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) item: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) part: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) annotation: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) response: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

/// `item`: an entry of a response's `output`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Item<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Word<'a>,
    #[serde(borrow)]
    pub(super) id: Word<'a>,
    #[serde(borrow)]
    pub(super) call_id: Word<'a>,
    #[serde(borrow)]
    pub(super) name: Word<'a>,
    #[serde(borrow)]
    pub(super) status: Word<'a>,
    #[serde(borrow)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) summary: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) encrypted_content: Word<'a>,
    #[serde(borrow)]
    pub(super) arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) environment: Option<&'a RawValue>,
}

/// `part`: an entry of a message's `content`, or of a thought's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Part<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Word<'a>,
    #[serde(borrow)]
    pub(super) text: Text<'a>,
    #[serde(borrow)]
    pub(super) refusal: Text<'a>,
    #[serde(borrow)]
    pub(super) annotations: Option<&'a RawValue>,
}

/// `response`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Response<'a> {
    #[serde(borrow)]
    pub(super) id: Word<'a>,
    #[serde(borrow)]
    pub(super) model: Word<'a>,
    #[serde(borrow)]
    pub(super) status: Word<'a>,
    #[serde(borrow)]
    pub(super) output: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) incomplete_details: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
}

/// `response.incomplete_details`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Incomplete<'a> {
    #[serde(borrow)]
    pub(super) reason: Word<'a>,
}

/// A thing with a type.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Word<'a>,
}

/// `response.usage`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    pub(super) input_tokens: Count,
    pub(super) output_tokens: Count,
    pub(super) input_tokens_details: Option<InputDetails>,
    pub(super) output_tokens_details: Option<OutputDetails>,
}

/// `usage.input_tokens_details`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InputDetails {
    pub(super) cached_tokens: Count,
    pub(super) cache_write_tokens: Count,
}

/// `usage.output_tokens_details`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OutputDetails {
    pub(super) reasoning_tokens: Count,
}

/// The events that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `response.created`, `.queued`, `.in_progress`.
    Begun,
    ItemAdded,
    ItemDone,
    PartAdded,
    PartDone,
    TextDelta,
    TextDone,
    RefusalDelta,
    RefusalDone,
    Annotation,
    /// Of a summary, or of the reasoning itself.
    ReasoningDelta,
    ArgumentsDelta,
    ArgumentsDone,
    InputDelta,
    InputDone,
    Completed,
    Incomplete,
    Failed,
    Unknown,
}

impl Kind {
    pub(super) fn of(kind: &str) -> Self {
        match kind {
            "response.output_text.delta" => Self::TextDelta,
            "response.output_text.done" => Self::TextDone,
            "response.function_call_arguments.delta" => Self::ArgumentsDelta,
            "response.function_call_arguments.done" => Self::ArgumentsDone,
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                Self::ReasoningDelta
            }
            "response.output_item.added" => Self::ItemAdded,
            "response.output_item.done" => Self::ItemDone,
            "response.content_part.added" => Self::PartAdded,
            "response.content_part.done" => Self::PartDone,
            "response.output_text.annotation.added" => Self::Annotation,
            "response.refusal.delta" => Self::RefusalDelta,
            "response.refusal.done" => Self::RefusalDone,
            "response.custom_tool_call_input.delta" => Self::InputDelta,
            "response.custom_tool_call_input.done" => Self::InputDone,
            "response.created" | "response.queued" | "response.in_progress" => Self::Begun,
            "response.completed" => Self::Completed,
            "response.incomplete" => Self::Incomplete,
            "response.failed" | "response.cancelled" => Self::Failed,
            _ => Self::Unknown,
        }
    }

    /// The type of an event: its own word, else the line before it.
    pub(super) fn of_frame(kind: &Word<'_>, event: &str) -> Self {
        Self::of(kind.given().unwrap_or(event))
    }
}

/// Whether an event of this type is none of the API's own, any of which may carry content.
pub(super) fn is_foreign(event: &str) -> bool {
    event != "message" && !event.starts_with("response.")
}

/// Content in `raw`: a string, or none.
pub(super) fn text(raw: Option<&RawValue>) -> Result<Option<Cow<'_, str>>, DecodeError> {
    let Some(raw) = raw else { return Ok(None) };
    let text: Text<'_> = serde_json::from_str(raw.get()).map_err(|_| DecodeError)?;
    Ok(text.said())
}

/// The error in a frame: its `error`, or the whole frame where that is one by its type.
pub(super) fn error_of<'a>(frame: &Frame<'a>, event: &str, data: &'a str) -> Option<&'a str> {
    let is_error = event == "error" || frame.kind.given() == Some("error");
    fault::in_frame(frame.error, is_error, data)
}
