//! Reads the events of an interaction.
//!
//! In: the events of one attempt, which may go on in the middle of an interaction. Out: signals. It must never take the end of all steps, or of the
//! stream, for the end of the answer: only `interaction.completed` says that. Law kept: *Truth*.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use super::super::super::prediction::Steady;
use super::super::super::{Cursor, DecodeError, Decoder, Fault, FaultClass, Signal, fault, wire};
use super::frame::{Frame, Interaction, Metadata, Usage as RawUsage};
use super::place::Place;
use super::step::Step;
use crate::event::{FinishReason, Usage};
use crate::sse;

type Sink<'s> = dyn FnMut(Signal<'_>) + 's;

/// The decoder of one attempt.
#[derive(Default)]
pub(in crate::dialect) struct InteractionDecoder {
    /// Open steps by their index.
    open: BTreeMap<u64, Step>,
    next_slot: u32,
    called: bool,
    usage: Usage,
    finished: bool,
    /// An error came; whatever follows proves nothing.
    faulted: bool,
    place: Place,
}

impl fmt::Debug for InteractionDecoder {
    /// Steps that are open hold what was generated, so only their number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InteractionDecoder")
            .field("open", &self.open.len())
            .field("finished", &self.finished)
            .field("faulted", &self.faulted)
            .finish_non_exhaustive()
    }
}

impl Decoder for InteractionDecoder {
    fn decode(
        &mut self,
        event: &sse::Event<'_>,
        sink: &mut dyn FnMut(Signal<'_>),
    ) -> Result<(), DecodeError> {
        let data = event.data.trim();
        if data == "[DONE]" {
            sink(Signal::Terminal);
            return Ok(());
        }
        let frame = match wire::object::<Frame<'_>>(data) {
            Ok(frame) => frame,
            Err(_) if event.event == "error" => {
                self.fault(fault::of_frame(data), sink);
                return Ok(());
            }
            Err(_) if data.is_empty() => {
                sink(Signal::Alive);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let kind = frame.event_type.given().unwrap_or(event.event);
        if let Some(error) = fault::in_frame(frame.error, kind == "error", data) {
            self.fault(fault::of_frame(error), sink);
            return Ok(());
        }
        let event_id = frame.event_id.given();
        let begins = matches!(kind, "interaction.created" | "interaction.start");
        if self.place.is_before(begins, event_id) {
            sink(Signal::Alive);
            return Ok(());
        }
        let mut spoke = false;
        self.read(kind, &frame, &mut |signal| {
            spoke = true;
            sink(signal);
        })?;
        if !spoke {
            sink(Signal::Alive);
        }
        self.pass(event_id);
        Ok(())
    }

    fn attach(&mut self, cursor: &Cursor) {
        self.place = Place::at(cursor);
    }

    fn generation(&self) -> Option<&str> {
        self.place.id().filter(|_| !self.faulted && !self.finished)
    }

    fn cursor(&self) -> Option<Cursor> {
        self.place.cursor().filter(|_| !self.faulted && !self.finished)
    }
}

/// A text changes nothing of its step, but for the place.
impl Steady for InteractionDecoder {
    const ASIDE: Option<&'static str> = Some("event_id");

    fn repeat(
        &mut self,
        slot: u32,
        text: &str,
        aside: Option<&str>,
        sink: &mut dyn FnMut(Signal<'_>),
    ) -> bool {
        let event_id = aside.map(serde_json::from_str::<wire::Word<'_>>).transpose();
        let Ok(event_id) = event_id else { return false };
        let event_id = event_id.as_ref().and_then(wire::Word::given);
        // Nothing is awaited any more where a frame has been read.
        sink(Signal::Append { slot, text: Cow::Borrowed(text) });
        if self.open.values().any(|step| step.slot == slot && step.is_text()) {
            self.place.write();
        }
        self.pass(event_id);
        true
    }
}

impl InteractionDecoder {
    /// An event has been read. Not before: what cannot be read would have to come again.
    fn pass(&mut self, event_id: Option<&str>) {
        self.place.pass(event_id, self.open.values().all(Step::is_text));
    }

    /// Both names of every event: the API has renamed contents to steps.
    fn read(
        &mut self,
        kind: &str,
        frame: &Frame<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let index = frame.index.unwrap_or_default();
        match kind {
            "interaction.created" | "interaction.start" => {
                let interaction = frame.interaction.as_ref().ok_or(DecodeError)?;
                let (id, model) = (interaction.id.given(), interaction.model.given());
                self.place.learn(id);
                sink(Signal::Started { id, model });
            }
            "step.start" | "content.start" => {
                let raw = frame.step.or(frame.content).ok_or(DecodeError)?;
                let slot = self.slot();
                let (step, calls) = Step::begin(slot, raw, sink)?;
                self.called |= calls;
                if step.is_text() {
                    self.place.write();
                }
                self.open.insert(index, step);
            }
            "step.delta" | "content.delta" => self.push(index, frame, sink)?,
            "step.stop" | "content.stop" => {
                if let Some(step) = self.open.remove(&index) {
                    step.stop(sink);
                }
            }
            "interaction.completed" | "interaction.complete" => {
                let interaction = frame.interaction.as_ref().ok_or(DecodeError)?;
                self.count(interaction.usage, sink);
                self.complete(interaction, sink);
            }
            "interaction.status_update" => {
                if let Some(status @ ("failed" | "cancelled")) = frame.status.given() {
                    self.fault(failed(status), sink);
                }
            }
            _ => {}
        }
        let metadata: Option<Metadata<'_>> = wire::lenient(frame.metadata);
        self.count(metadata.and_then(|metadata| metadata.usage), sink);
        Ok(())
    }

    fn push(
        &mut self,
        index: u64,
        frame: &Frame<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let raw = frame.delta.ok_or(DecodeError)?;
        // Nothing but text is open at the place that a replay goes on from.
        if self.place.is_attached() && !self.open.contains_key(&index) {
            let slot = self.slot();
            self.open.insert(index, Step::text(slot, sink));
        }
        let step = self.open.get_mut(&index).ok_or(DecodeError)?;
        if step.is_text() {
            self.place.write();
        }
        step.push(raw, sink)
    }

    fn slot(&mut self) -> u32 {
        let slot = self.next_slot;
        self.next_slot = slot.wrapping_add(1);
        slot
    }

    fn complete(&mut self, interaction: &Interaction<'_>, sink: &mut Sink<'_>) {
        let error = interaction.error.map(RawValue::get).filter(|error| fault::is_error(error));
        if let Some(error) = error {
            return self.fault(fault::of_frame(error), sink);
        }
        let reason = match interaction.status.given() {
            Some(status @ ("failed" | "cancelled")) => return self.fault(failed(status), sink),
            // No end at all.
            Some("in_progress" | "queued") => return,
            Some("completed") if self.called => FinishReason::ToolUse,
            Some("completed") => FinishReason::Stop,
            Some("requires_action") => FinishReason::ToolUse,
            // The token limit, as far as is known (seen in one recording).
            Some("incomplete") => FinishReason::Length,
            Some(other) => FinishReason::Other(other.into()),
            None => FinishReason::Unstated,
        };
        if !self.faulted && !std::mem::replace(&mut self.finished, true) {
            sink(Signal::Finish { reason });
        }
    }

    fn fault(&mut self, fault: Fault, sink: &mut Sink<'_>) {
        self.faulted = true;
        sink(Signal::Fault(fault));
    }

    fn count(&mut self, usage: Option<&RawValue>, sink: &mut Sink<'_>) {
        let Some(usage) = wire::lenient::<RawUsage>(usage) else { return };
        let before = self.usage;
        let count = |count: wire::Count| count.0.unwrap_or_default();
        let (input, tools) = (count(usage.total_input_tokens), count(usage.total_tool_use_tokens));
        let (output, thoughts) =
            (count(usage.total_output_tokens), count(usage.total_thought_tokens));
        let raise = |count: &mut u64, new: u64| *count = (*count).max(new);
        raise(&mut self.usage.input_tokens, input.saturating_add(tools));
        raise(&mut self.usage.output_tokens, output.saturating_add(thoughts));
        raise(&mut self.usage.cached_input_tokens, count(usage.total_cached_tokens));
        raise(&mut self.usage.reasoning_tokens, thoughts);
        if self.usage != before {
            sink(Signal::Usage(self.usage));
        }
    }
}

fn failed(status: &str) -> Fault {
    Fault::new(FaultClass::Transient).code(Some(status))
}
