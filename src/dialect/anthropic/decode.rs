//! Reads Anthropic's events.
//!
//! In: the events of one attempt. Out: signals. It must never forget a block that was not closed,
//! nor close one that the provider did not. Several messages may come in one stream (programmatic
//! tool calling, corrupt splices): each has block numbers of its own, so the blocks of an earlier
//! one that were open stay so. Law kept: *Truth*.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::wire::{self, Count, Text};
use super::super::{DecodeError, Decoder, Signal, fault};
use super::frame::{Block, Delta, Frame, Message, RawDelta, Usage as RawUsage};
use crate::event::{Annotation, FinishReason, PartKind, Usage};
use crate::sse;

type Sink<'s> = dyn FnMut(Signal<'_>) + 's;

/// The decoder of one attempt.
#[derive(Debug, Default)]
pub(super) struct AnthropicDecoder {
    /// The message that is being sent, if it has an id.
    message: Option<Arc<str>>,
    /// Open blocks of that message by their index.
    open: HashMap<u64, Open>,
    next_slot: u32,
    counts: Counts,
    /// The stop reason that came in `message_start`; counts once `message_stop` comes.
    early: Option<Box<str>>,
    /// The last reason that was handed on.
    finished: Option<FinishReason>,
    /// Tool calls that were closed without any input: `{}`, unless the token limit cut them.
    held: Vec<u32>,
}

/// A block that may get more.
#[derive(Debug)]
struct Open {
    slot: u32,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Text, reasoning, results: handed on as they come.
    Direct,
    /// A tool call; its whole input if it stood in the block start and nothing else came.
    Call {
        initial: Option<Box<str>>,
        empty: bool,
    },
    /// A call of the server's: the block as it started, and its input so far.
    Server { block: Box<str>, input: String },
    /// Any other block, handed on whole when it closes.
    Opaque(Whole),
}

/// A block that is handed on whole, with what later deltas added to it.
#[derive(Debug)]
struct Whole {
    block: Box<str>,
    /// The block's fields once a delta has changed them.
    changed: Option<Map<String, Value>>,
    /// Bytes of both.
    size: usize,
}

impl Whole {
    fn new(block: &str) -> Self {
        Self {
            block: Box::from(block),
            changed: None,
            size: block.len(),
        }
    }

    /// Merges the fields of a delta into the block: text is appended, anything else replaced.
    fn merge(&mut self, fields: Map<String, Value>, size: usize) -> Result<(), DecodeError> {
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

    fn json(self) -> String {
        let changed = self
            .changed
            .and_then(|changed| serde_json::to_string(&changed).ok());
        changed.unwrap_or_else(|| self.block.into())
    }
}

impl Decoder for AnthropicDecoder {
    fn decode(
        &mut self,
        event: &sse::Event<'_>,
        sink: &mut dyn FnMut(Signal<'_>),
    ) -> Result<(), DecodeError> {
        let data = event.data.trim();
        // A gateway appends `[DONE]` after `message_stop`.
        if data == "[DONE]" {
            self.release(true, sink);
            sink(Signal::Terminal);
            return Ok(());
        }
        let frame = match wire::object::<Frame<'_>>(data) {
            Ok(frame) => frame,
            Err(_) if event.event == "error" => {
                sink(Signal::Fault(fault::of_frame(data)));
                return Ok(());
            }
            Err(_) if data.is_empty() || is_foreign(event.event) => {
                sink(Signal::Alive);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Some(error) = error_of(&frame, event.event, data) {
            sink(Signal::Fault(fault::of_frame(error)));
            return Ok(());
        }
        match Kind::of(frame.kind.given().unwrap_or(event.event)) {
            Kind::BlockDelta => self.append(data, frame, sink)?,
            Kind::BlockStart => self.start(&frame, sink)?,
            Kind::BlockStop => self.stop(frame.index.unwrap_or_default(), sink),
            Kind::MessageStart => self.begin(&frame, sink),
            Kind::MessageDelta => self.note(&frame, sink),
            Kind::MessageStop => self.end(sink),
            Kind::Unknown => sink(Signal::Alive),
        }
        Ok(())
    }
}

impl AnthropicDecoder {
    fn begin(&mut self, frame: &Frame<'_>, sink: &mut Sink<'_>) {
        let Some(message) = wire::lenient::<Message<'_>>(frame.message) else {
            return sink(Signal::Alive);
        };
        let id = message.id.given();
        // The same id twice is benign; another one is another message.
        if self.message.is_some() && id.is_some() && self.message.as_deref() != id {
            self.open.clear();
            self.held.clear();
            self.finished = None;
            self.counts.next_message();
        }
        if id.is_some() {
            self.message = id.map(Arc::from);
        }
        self.early = message.stop_reason.given().map(Box::from);
        sink(Signal::Started {
            id,
            model: message.model.given(),
        });
        self.count(message.usage, sink);
    }

    fn start(&mut self, frame: &Frame<'_>, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        self.release(true, sink);
        let index = frame.index.unwrap_or_default();
        let raw = frame.content_block.ok_or(DecodeError)?.get();
        let block: Block<'_> = wire::object(raw)?;
        let kind = kind_of(&block);
        let slot = self.open_slot(kind.clone(), sink);
        let content = match &kind {
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
                let input = block
                    .input
                    .map(RawValue::get)
                    .filter(|input| !is_hollow(input));
                Content::Call {
                    empty: input.is_none(),
                    initial: input.map(Box::from),
                }
            }
            PartKind::ServerCall { .. } => Content::Server {
                block: Box::from(raw),
                input: String::new(),
            },
            PartKind::ServerResult { .. } => {
                sink(Signal::Append {
                    slot,
                    text: Cow::Borrowed(raw),
                });
                Content::Direct
            }
            _ => Content::Opaque(Whole::new(raw)),
        };
        self.open.insert(index, Open { slot, content });
        Ok(())
    }

    fn append(
        &mut self,
        data: &str,
        frame: Frame<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let index = frame.index.unwrap_or_default();
        let delta = frame.delta.ok_or(DecodeError)?;
        match delta.kind.given() {
            Some("text_delta") => self.append_text(index, PartKind::Text, delta.text, sink),
            Some("thinking_delta") => {
                self.append_text(index, PartKind::Reasoning, delta.thinking, sink)
            }
            Some("input_json_delta") => self.append_input(index, delta.partial_json, sink),
            Some("signature_delta") => {
                let slot = self.slot_of(index, PartKind::Reasoning, sink);
                annotate_signature(slot, delta.signature.given(), sink);
                Ok(())
            }
            Some("citations_delta") => {
                let slot = self.slot_of(index, PartKind::Text, sink);
                match delta.citation {
                    Some(citation) => annotate_citation(slot, citation, sink),
                    None => sink(Signal::Alive),
                }
                Ok(())
            }
            _ => self.append_unknown(index, data, delta, sink),
        }
    }

    fn append_text(
        &mut self,
        index: u64,
        kind: PartKind,
        text: Text<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let Some(text) = text.said() else {
            sink(Signal::Alive);
            return Ok(());
        };
        let slot = self.slot_of(index, kind, sink);
        match self.open.get_mut(&index).map(|open| &mut open.content) {
            Some(Content::Opaque(whole)) => {
                let size = text.len();
                whole.merge(
                    Map::from_iter([("text".to_owned(), Value::from(text))]),
                    size,
                )?;
                sink(Signal::Alive);
            }
            Some(Content::Direct) => sink(Signal::Append { slot, text }),
            _ => return Err(DecodeError),
        }
        Ok(())
    }

    fn append_input(
        &mut self,
        index: u64,
        piece: Text<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let Some(piece) = piece.said() else {
            sink(Signal::Alive);
            return Ok(());
        };
        // Input for a block that never started is a call that nobody could run.
        let open = self.open.get_mut(&index).ok_or(DecodeError)?;
        match &mut open.content {
            Content::Call { initial, empty } => {
                (*initial, *empty) = (None, false);
                sink(Signal::Append {
                    slot: open.slot,
                    text: piece,
                });
            }
            Content::Server { input, .. } if input.len() + piece.len() <= HELD_MAX => {
                input.push_str(&piece);
                sink(Signal::Alive);
            }
            _ => return Err(DecodeError),
        }
        Ok(())
    }

    fn append_unknown(
        &mut self,
        index: u64,
        data: &str,
        delta: Delta<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        if delta.kind.given().is_none() {
            return self.append_text(index, PartKind::Text, delta.text, sink);
        }
        let content = self.open.get_mut(&index).map(|open| &mut open.content);
        if let Some(Content::Opaque(whole)) = content {
            let raw: RawDelta<'_> = wire::object(data)?;
            let mut fields: Map<String, Value> = wire::lenient(raw.delta).unwrap_or_default();
            fields.shift_remove("type");
            whole.merge(fields, data.len())?;
        }
        sink(Signal::Alive);
        Ok(())
    }

    fn stop(&mut self, index: u64, sink: &mut Sink<'_>) {
        let Some(Open { slot, content }) = self.open.remove(&index) else {
            return sink(Signal::Alive);
        };
        let whole = match content {
            Content::Direct => None,
            Content::Call { empty: true, .. } => {
                self.held.push(slot);
                return sink(Signal::Alive);
            }
            Content::Call { initial, .. } => initial.map(String::from),
            Content::Server { block, input } => Some(with_input(&block, &input)),
            Content::Opaque(whole) => Some(whole.json()),
        };
        if let Some(whole) = whole {
            sink(Signal::Append {
                slot,
                text: Cow::Owned(whole),
            });
        }
        sink(Signal::Close { slot });
    }

    fn note(&mut self, frame: &Frame<'_>, sink: &mut Sink<'_>) {
        let counted = self.count(frame.usage, sink);
        match frame
            .delta
            .as_ref()
            .and_then(|delta| delta.stop_reason.given())
        {
            Some(reason) => self.finish(reason, sink),
            None if !counted => sink(Signal::Alive),
            None => {}
        }
    }

    fn end(&mut self, sink: &mut Sink<'_>) {
        if self.finished.is_none() {
            match self.early.take() {
                Some(reason) => self.finish(&reason, sink),
                None => self.finish_with(FinishReason::Unstated, sink),
            }
        }
        sink(Signal::Terminal);
    }

    fn finish(&mut self, reason: &str, sink: &mut Sink<'_>) {
        match fault::of_reason(reason) {
            Some(fault) => sink(Signal::Fault(fault)),
            None => self.finish_with(reason_of(reason), sink),
        }
    }

    fn finish_with(&mut self, reason: FinishReason, sink: &mut Sink<'_>) {
        let cut_short = matches!(
            reason,
            FinishReason::Length | FinishReason::ContextWindow | FinishReason::Refusal
        );
        self.release(!cut_short, sink);
        if self.finished.as_ref() == Some(&reason) {
            return sink(Signal::Alive);
        }
        self.finished = Some(reason.clone());
        sink(Signal::Finish { reason });
    }

    /// Closes the calls that were closed without input, or leaves them unfinished.
    fn release(&mut self, whole: bool, sink: &mut Sink<'_>) {
        for slot in self.held.drain(..) {
            if whole {
                sink(Signal::Close { slot });
            }
        }
    }

    fn count(&mut self, usage: Option<&RawValue>, sink: &mut Sink<'_>) -> bool {
        let Some(usage) = wire::lenient::<RawUsage>(usage) else {
            return false;
        };
        self.counts.take(&usage);
        sink(Signal::Usage(self.counts.total()));
        true
    }

    /// The slot of the block, which begins here if the provider did not say so.
    fn slot_of(&mut self, index: u64, kind: PartKind, sink: &mut Sink<'_>) -> u32 {
        if let Some(open) = self.open.get(&index) {
            return open.slot;
        }
        let slot = self.open_slot(kind, sink);
        self.open.insert(
            index,
            Open {
                slot,
                content: Content::Direct,
            },
        );
        slot
    }

    fn open_slot(&mut self, kind: PartKind, sink: &mut Sink<'_>) -> u32 {
        let slot = self.next_slot;
        self.next_slot = slot.wrapping_add(1);
        sink(Signal::Open {
            slot,
            choice: 0,
            kind,
        });
        slot
    }
}

/// The counts of the message that is being sent, and of those before it.
#[derive(Debug, Default)]
struct Counts {
    earlier: Usage,
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
    thinking: u64,
}

impl Counts {
    /// Takes over what is given; the counts are cumulative.
    fn take(&mut self, usage: &RawUsage) {
        let set = |count: &mut u64, new: Count| *count = new.0.unwrap_or(*count);
        set(&mut self.input, usage.input_tokens);
        set(&mut self.output, usage.output_tokens);
        set(&mut self.cache_read, usage.cache_read_input_tokens);
        set(&mut self.cache_write, usage.cache_creation_input_tokens);
        if let Some(details) = &usage.output_tokens_details {
            set(&mut self.thinking, details.thinking_tokens);
        }
    }

    fn next_message(&mut self) {
        *self = Self {
            earlier: self.total(),
            ..Self::default()
        };
    }

    fn total(&self) -> Usage {
        let cached = self.cache_read.saturating_add(self.cache_write);
        self.earlier.plus(Usage {
            input_tokens: self.input.saturating_add(cached),
            output_tokens: self.output,
            cached_input_tokens: self.cache_read,
            cache_write_tokens: self.cache_write,
            reasoning_tokens: self.thinking,
        })
    }
}

/// The events that are read.
enum Kind {
    MessageStart,
    BlockStart,
    BlockDelta,
    BlockStop,
    MessageDelta,
    MessageStop,
    Unknown,
}

impl Kind {
    fn of(kind: &str) -> Self {
        match kind {
            "content_block_delta" => Self::BlockDelta,
            "content_block_start" => Self::BlockStart,
            "content_block_stop" => Self::BlockStop,
            "message_start" => Self::MessageStart,
            "message_delta" => Self::MessageDelta,
            "message_stop" => Self::MessageStop,
            _ => Self::Unknown,
        }
    }
}

/// Whether an event of this type is none that carries content.
fn is_foreign(event: &str) -> bool {
    event != "message" && matches!(Kind::of(event), Kind::Unknown)
}

/// The error in a frame: its `error`, or the whole frame where that is one by its type.
fn error_of<'a>(frame: &Frame<'a>, event: &str, data: &'a str) -> Option<&'a str> {
    let error = frame
        .error
        .map(RawValue::get)
        .filter(|error| fault::is_error(error));
    let is_error = event == "error" || frame.kind.given() == Some("error");
    error.or_else(|| is_error.then_some(data))
}

fn kind_of(block: &Block<'_>) -> PartKind {
    let word = |word: Option<&str>| Arc::from(word.unwrap_or_default());
    match block.kind.given().unwrap_or_default() {
        "text" => PartKind::Text,
        "thinking" => PartKind::Reasoning,
        "tool_use" => PartKind::ToolCall {
            id: word(block.id.given()),
            name: word(block.name.given()),
        },
        "server_tool_use" | "mcp_tool_use" => PartKind::ServerCall {
            id: word(block.id.given()),
            name: word(block.name.given()),
        },
        kind if kind.ends_with("_tool_result") => PartKind::ServerResult {
            call: word(block.tool_use_id.given()),
        },
        "redacted_thinking" => PartKind::RedactedReasoning,
        kind => PartKind::Opaque {
            name: Arc::from(kind),
        },
    }
}

fn reason_of(reason: &str) -> FinishReason {
    match reason {
        "end_turn" => FinishReason::Stop,
        "max_tokens" => FinishReason::Length,
        "stop_sequence" => FinishReason::StopSequence,
        "tool_use" => FinishReason::ToolUse,
        "pause_turn" => FinishReason::Pause,
        "refusal" => FinishReason::Refusal,
        "model_context_window_exceeded" => FinishReason::ContextWindow,
        other => FinishReason::Other(Arc::from(other)),
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
fn with_input(block: &str, input: &str) -> String {
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

fn annotate_signature(slot: u32, signature: Option<&str>, sink: &mut Sink<'_>) {
    if let Some(signature) = signature {
        sink(Signal::Annotate {
            slot,
            annotation: Annotation::Signature(signature.into()),
        });
    }
}

fn annotate_citations(slot: u32, citations: Option<&RawValue>, sink: &mut Sink<'_>) {
    let citations: Option<Vec<&RawValue>> = wire::lenient(citations);
    for citation in citations.unwrap_or_default() {
        annotate_citation(slot, citation, sink);
    }
}

fn annotate_citation(slot: u32, citation: &RawValue, sink: &mut Sink<'_>) {
    sink(Signal::Annotate {
        slot,
        annotation: Annotation::Citation(citation.get().into()),
    });
}

/// Most bytes of one block that are kept back until it closes; such blocks are queries and code.
const HELD_MAX: usize = 16 * 1024 * 1024;
