//! Reads Anthropic's events.
//!
//! In: the events of one attempt. Out: signals. It must never forget a block that was not closed,
//! nor close one that the provider did not. Several messages may come in one stream (programmatic
//! tool calling, corrupt splices): each has block numbers of its own, so the blocks of an earlier
//! one that were open stay so. Behind the reason to stop there is no more of an answer: what claims to be is
//! not read. Law kept: *Truth*.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::prediction::Steady;
use super::super::wire::{self, Text};
use super::super::{DecodeError, Decoder, Fault, Signal, fault};
use super::block::{
    Content, HELD_MAX, Open, annotate_citation, annotate_signature, kind_of, with_input,
};
use super::counts::Counts;
use super::frame::{
    Block, Delta, Frame, Kind, Message, RawDelta, Usage as RawUsage, error_of, is_foreign,
};
use crate::event::{FinishReason, PartKind};
use crate::sse;

type Sink<'s> = dyn FnMut(Signal<'_>) + 's;

/// The decoder of one attempt.
#[derive(Default)]
pub(in crate::dialect) struct AnthropicDecoder {
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
    /// An error came; whatever follows proves nothing.
    faulted: bool,
    /// Tool calls that were closed without any input: `{}`, unless the token limit cut them.
    held: Vec<u32>,
}

impl fmt::Debug for AnthropicDecoder {
    /// Blocks that are open hold what was generated, so only their number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnthropicDecoder")
            .field("open", &self.open.len())
            .field("finished", &self.finished)
            .field("faulted", &self.faulted)
            .finish_non_exhaustive()
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
                self.fault(fault::of_frame(data), sink);
                return Ok(());
            }
            Err(_) if data.is_empty() || is_foreign(event.event) => {
                sink(Signal::Alive);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Some(error) = error_of(&frame, event.event, data) {
            self.fault(fault::of_frame(error), sink);
            return Ok(());
        }
        let kind = Kind::of(frame.kind.given().unwrap_or(event.event));
        if self.is_out_of_order(&kind, &frame) {
            return Err(DecodeError);
        }
        match kind {
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

/// A delta of text changes nothing of a block that is open; only its start and its stop do.
impl Steady for AnthropicDecoder {}

impl AnthropicDecoder {
    /// Whether an event is more of an answer whose reason to stop has come: whatever happens after that, the
    /// message is complete.
    fn is_out_of_order(&self, kind: &Kind, frame: &Frame<'_>) -> bool {
        self.finished.is_some()
            && match kind {
                Kind::BlockStart | Kind::BlockDelta => true,
                Kind::MessageStart => {
                    let message: Message<'_> = wire::lenient(frame.message).unwrap_or_default();
                    self.is_another(message.id.given())
                }
                _ => false,
            }
    }

    /// Whether `id` is of another message than the one being sent. The same id twice is benign.
    fn is_another(&self, id: Option<&str>) -> bool {
        self.message.is_some() && id.is_some() && self.message.as_deref() != id
    }

    fn begin(&mut self, frame: &Frame<'_>, sink: &mut Sink<'_>) {
        let Some(message) = wire::lenient::<Message<'_>>(frame.message) else {
            return sink(Signal::Alive);
        };
        let id = message.id.given();
        if self.is_another(id) {
            self.open.clear();
            self.held.clear();
            self.counts.next_message();
        }
        if id.is_some() {
            self.message = id.map(Arc::from);
        }
        self.early = message.stop_reason.given().map(Box::from);
        sink(Signal::Started { id, model: message.model.given() });
        self.count(message.usage, sink);
    }

    fn start(&mut self, frame: &Frame<'_>, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        self.release(true, sink);
        let index = frame.index.unwrap_or_default();
        let raw = frame.content_block.ok_or(DecodeError)?.get();
        let block: Block<'_> = wire::object(raw)?;
        let kind = kind_of(&block);
        let slot = self.open_slot(kind.clone(), sink);
        let open = Open::begin(slot, &kind, raw, &block, sink)?;
        self.open.insert(index, open);
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
                match delta.signature.given() {
                    None => sink(Signal::Alive),
                    signature => annotate_signature(slot, signature, sink),
                }
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
                whole.merge(Map::from_iter([("text".to_owned(), Value::from(text))]), size)?;
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
                sink(Signal::Append { slot: open.slot, text: piece });
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
            sink(Signal::Append { slot, text: Cow::Owned(whole) });
        }
        sink(Signal::Close { slot });
    }

    fn note(&mut self, frame: &Frame<'_>, sink: &mut Sink<'_>) {
        let counted = self.count(frame.usage, sink);
        match frame.delta.as_ref().and_then(|delta| delta.stop_reason.given()) {
            Some(reason) => self.finish(reason, sink),
            None if !counted => sink(Signal::Alive),
            None => {}
        }
    }

    fn end(&mut self, sink: &mut Sink<'_>) {
        if self.finished.is_none() && !self.faulted {
            match self.early.take() {
                Some(reason) => self.finish(&reason, sink),
                None => self.finish_with(FinishReason::Unstated, sink),
            }
        }
        sink(Signal::Terminal);
    }

    fn finish(&mut self, reason: &str, sink: &mut Sink<'_>) {
        match fault::of_reason(reason) {
            Some(fault) => self.fault(fault, sink),
            None => self.finish_with(reason_of(reason), sink),
        }
    }

    fn finish_with(&mut self, reason: FinishReason, sink: &mut Sink<'_>) {
        let cut_short = matches!(
            reason,
            FinishReason::Length | FinishReason::ContextWindow | FinishReason::Refusal
        );
        self.release(!cut_short, sink);
        if self.faulted || self.finished.as_ref() == Some(&reason) {
            return sink(Signal::Alive);
        }
        self.finished = Some(reason.clone());
        sink(Signal::Finish { reason });
    }

    fn fault(&mut self, fault: Fault, sink: &mut Sink<'_>) {
        self.faulted = true;
        sink(Signal::Fault(fault));
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
        self.open.insert(index, Open { slot, content: Content::Direct });
        slot
    }

    fn open_slot(&mut self, kind: PartKind, sink: &mut Sink<'_>) -> u32 {
        let slot = self.next_slot;
        self.next_slot = slot.wrapping_add(1);
        sink(Signal::Open { slot, choice: 0, kind });
        slot
    }
}

pub(super) fn reason_of(reason: &str) -> FinishReason {
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
