//! The blocks of an Anthropic message while they grow.
//!
//! In: block starts and deltas. Out: what a block is, and its whole JSON where it is handed on
//! whole. It must never keep more than [`HELD_MAX`] bytes of one block. Law kept: *Bound*.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::wire::{self, Text};
use super::super::{DecodeError, Signal};
use super::frame::Block;
use crate::event::{Annotation, PartKind};

type Sink<'s> = dyn FnMut(Signal<'_>) + 's;

/// A block that may get more.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) slot: u32,
    pub(super) content: Content,
}

impl Open {
    /// A block of `kind` that begins with what its start says.
    pub(super) fn begin(
        slot: u32,
        kind: &PartKind,
        raw: &str,
        block: &Block<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<Self, DecodeError> {
        let content = match kind {
            PartKind::Text => {
                append_raw(slot, block.text, sink)?;
                annotate_citations(slot, block.citations, sink);
                Content::Direct
            }
            PartKind::Reasoning => {
                append_raw(slot, block.thinking, sink)?;
                annotate_signature(slot, block.signature.given(), sink);
                Content::Direct
            }
            PartKind::ToolCall { .. } => {
                let input = block.input.map(RawValue::get).filter(|input| !is_hollow(input));
                Content::Call { empty: input.is_none(), initial: input.map(Box::from) }
            }
            PartKind::ServerCall { .. } => {
                Content::Server { block: Box::from(raw), input: String::new() }
            }
            PartKind::ServerResult { .. } => {
                sink(Signal::Append { slot, text: Cow::Borrowed(raw) });
                Content::Direct
            }
            PartKind::RedactedReasoning | PartKind::Opaque { .. } | PartKind::Refusal => {
                Content::Opaque(Whole::new(raw))
            }
        };
        Ok(Self { slot, content })
    }
}

#[derive(Debug)]
pub(super) enum Content {
    /// Text, reasoning, results: handed on as they come.
    Direct,
    /// A tool call; its whole input if it stood in the block start and nothing else came.
    Call { initial: Option<Box<str>>, empty: bool },
    /// A call of the server's: the block as it started, and its input so far.
    Server { block: Box<str>, input: String },
    /// Any other block, handed on whole when it closes.
    Opaque(Whole),
}

/// A block that is handed on whole, with what later deltas added to it.
#[derive(Debug)]
pub(super) struct Whole {
    block: Box<str>,
    /// The block's fields once a delta has changed them.
    changed: Option<Map<String, Value>>,
    /// Bytes of both.
    size: usize,
}

impl Whole {
    fn new(block: &str) -> Self {
        Self { block: Box::from(block), changed: None, size: block.len() }
    }

    /// Merges the fields of a delta into the block: text is appended, anything else replaced.
    pub(super) fn merge(
        &mut self,
        fields: Map<String, Value>,
        size: usize,
    ) -> Result<(), DecodeError> {
        self.size += size;
        if self.size > HELD_MAX {
            return Err(DecodeError);
        }
        let changed = match &mut self.changed {
            Some(changed) => changed,
            none => none.insert(serde_json::from_str(&self.block).map_err(|_| DecodeError)?),
        };
        for (key, value) in fields {
            match (changed.get_mut(&key), value) {
                (Some(Value::String(so_far)), Value::String(more)) => so_far.push_str(&more),
                (_, value) => _ = changed.insert(key, value),
            }
        }
        Ok(())
    }

    pub(super) fn json(self) -> String {
        let changed = self.changed.and_then(|changed| serde_json::to_string(&changed).ok());
        changed.unwrap_or_else(|| self.block.into())
    }
}

pub(super) fn kind_of(block: &Block<'_>) -> PartKind {
    let word = |word: Option<&str>| Arc::from(word.unwrap_or_default());
    match block.kind.given().unwrap_or_default() {
        "text" => PartKind::Text,
        "thinking" => PartKind::Reasoning,
        "tool_use" => {
            PartKind::ToolCall { id: word(block.id.given()), name: word(block.name.given()) }
        }
        "server_tool_use" | "mcp_tool_use" => {
            PartKind::ServerCall { id: word(block.id.given()), name: word(block.name.given()) }
        }
        kind if kind.ends_with("_tool_result") => {
            PartKind::ServerResult { call: word(block.tool_use_id.given()) }
        }
        "redacted_thinking" => PartKind::RedactedReasoning,
        kind => PartKind::Opaque { name: Arc::from(kind) },
    }
}

/// Whether the input of a block start is only the place for what follows.
fn is_hollow(input: &str) -> bool {
    match input.strip_prefix('{') {
        Some(rest) => rest.trim_start().starts_with('}'),
        None => matches!(input, "null" | "\"\"" | "[]"),
    }
}

/// The block with its whole input. Input that is no JSON stays out: such a call has no result and
/// is never sent back.
pub(super) fn with_input(block: &str, input: &str) -> String {
    let whole = || -> Option<String> {
        let mut fields: Map<String, Value> = serde_json::from_str(block).ok()?;
        fields.insert("input".to_owned(), serde_json::from_str(input).ok()?);
        serde_json::to_string(&fields).ok()
    };
    whole().unwrap_or_else(|| block.to_owned())
}

fn append_raw(slot: u32, raw: Option<&RawValue>, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    let Some(raw) = raw else { return Ok(()) };
    let text: Text<'_> = serde_json::from_str(raw.get()).map_err(|_| DecodeError)?;
    if let Some(text) = text.said() {
        sink(Signal::Append { slot, text });
    }
    Ok(())
}

pub(super) fn annotate_signature(slot: u32, signature: Option<&str>, sink: &mut Sink<'_>) {
    if let Some(signature) = signature {
        sink(Signal::Annotate { slot, annotation: Annotation::Signature(signature.into()) });
    }
}

fn annotate_citations(slot: u32, citations: Option<&RawValue>, sink: &mut Sink<'_>) {
    let citations: Option<Vec<&RawValue>> = wire::lenient(citations);
    for citation in citations.unwrap_or_default() {
        annotate_citation(slot, citation, sink);
    }
}

pub(super) fn annotate_citation(slot: u32, citation: &RawValue, sink: &mut Sink<'_>) {
    sink(Signal::Annotate { slot, annotation: Annotation::Citation(citation.get().into()) });
}

/// Most bytes of one block that are kept back until it closes; such blocks are queries and code.
pub(super) const HELD_MAX: usize = 16 * 1024 * 1024;
