//! The items of a response: which of them are whose.
//!
//! In: an item as its provider sends it. Out: what it is to us. It must never take a call that the
//! caller runs for one that the provider has run. Law kept: *Once*.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::super::wire;
use super::frame::{Item, Part, Typed};
use crate::event::PartKind;

/// An item that has begun and is not done.
#[derive(Debug)]
pub(super) enum Open {
    /// Text and refusals, by the numbers of the content parts that have been seen.
    Message { seen: Vec<u64> },
    /// A thought.
    Reasoning { slot: u32, said: bool },
    /// A call whose arguments come in pieces.
    Call { slot: u32, custom: bool, said: bool },
    /// Any other item, handed on whole; `own`: a call that the caller runs.
    Whole { slot: u32, own: bool },
}

impl Open {
    /// Whether it began as what it is now said to be.
    pub(super) fn is(&self, sort: Sort) -> bool {
        match self {
            Self::Message { .. } => sort == Sort::Message,
            Self::Reasoning { .. } => sort == Sort::Reasoning,
            Self::Call { custom: false, .. } => sort == Sort::Function,
            Self::Call { custom: true, .. } => sort == Sort::Custom,
            Self::Whole { own, .. } => sort == if *own { Sort::Own } else { Sort::Other },
        }
    }
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Message,
    Reasoning,
    Function,
    Custom,
    /// A call of one of the API's own tools that the caller runs: shell, patches, a computer.
    Own,
    Other,
}

impl Sort {
    pub(super) fn of(item: &Item<'_>) -> Self {
        match item.kind.given().unwrap_or_default() {
            "message" => Self::Message,
            "reasoning" => Self::Reasoning,
            "function_call" => Self::Function,
            "custom_tool_call" => Self::Custom,
            // In a container of the provider's it runs by itself, and its output follows.
            "shell_call" if is_hosted(item.environment) => Self::Other,
            kind if is_callers(kind) => Self::Own,
            _ => Self::Other,
        }
    }
}

/// Whether the caller runs items of this type, the hosted ones aside.
pub(super) fn is_callers(kind: &str) -> bool {
    matches!(kind, "apply_patch_call" | "computer_call" | "local_shell_call" | "shell_call")
}

fn is_hosted(environment: Option<&RawValue>) -> bool {
    let environment: Option<Typed<'_>> = wire::lenient(environment);
    environment.is_some_and(|environment| {
        environment.kind.given().is_some_and(|kind| kind.starts_with("container"))
    })
}

/// The part that an item is delivered as. Results come with their calls in one item, so that such an item
/// is a result.
pub(super) fn kind_of(item: &Item<'_>) -> PartKind {
    let word = |word: Option<&str>| Arc::from(word.unwrap_or_default());
    let kind = item.kind.given();
    let call = item.call_id.given().or(item.id.given());
    match Sort::of(item) {
        Sort::Message => PartKind::Text,
        Sort::Reasoning => PartKind::Reasoning,
        Sort::Function | Sort::Custom => {
            PartKind::ToolCall { id: word(call), name: word(item.name.given()) }
        }
        Sort::Own => PartKind::ToolCall { id: word(call), name: word(kind) },
        Sort::Other => match kind {
            Some(
                "web_search_call"
                | "file_search_call"
                | "code_interpreter_call"
                | "image_generation_call"
                | "mcp_call",
            ) => PartKind::ServerResult { call: word(item.id.given()) },
            Some("shell_call") => PartKind::ServerCall { id: word(call), name: word(kind) },
            Some("shell_call_output") => PartKind::ServerResult { call: word(call) },
            kind => PartKind::Opaque { name: word(kind) },
        },
    }
}

/// What a thought says, where it came whole.
pub(super) fn thought(item: &Item<'_>) -> String {
    let texts = [item.summary, item.content].into_iter().flat_map(parts);
    texts.filter_map(|part| part.text.said()).collect()
}

/// Whether a history takes the thought back: its words are encrypted in it, or stand in it.
pub(super) fn is_signed(item: &Item<'_>) -> bool {
    let stands = parts(item.content).any(|part| part.text.said().is_some());
    item.encrypted_content.given().is_some() || stands
}

/// The entries of a list of parts that can be read.
fn parts(raw: Option<&RawValue>) -> impl Iterator<Item = Part<'_>> {
    let parts: Option<Vec<&RawValue>> = wire::lenient(raw);
    parts.unwrap_or_default().into_iter().filter_map(|part| wire::lenient(Some(part)))
}

/// A piece of free text as a piece of a JSON string.
pub(super) fn escaped(piece: &str) -> String {
    let mut json = serde_json::to_string(piece).unwrap_or_default();
    json.pop();
    json.split_off(json.len().min(1))
}
