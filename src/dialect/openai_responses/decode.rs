//! Reads Responses events.
//!
//! In: the events of one attempt, which may go on in the middle of a response. Out: signals. It must
//! never call an answer finished before the response is, nor say anything twice: what comes once more,
//! whole, when its pieces have come is only looked at where they have not. Law kept: *Truth*.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::super::prediction::Steady;
use super::super::wire;
use super::super::{Cursor, DecodeError, Decoder, Fault, FaultClass, Signal, fault};
use super::content::{Block, contents, part};
use super::frame::{Frame, Incomplete, Item, Kind, Response, error_of, is_foreign, text};
use super::item::{Open, Sort, escaped, kind_of};
use super::place::Place;
use super::usage;
use crate::event::{FinishReason, PartKind};
use crate::sse;

pub(super) type Sink<'s> = dyn FnMut(Signal<'_>) + 's;

/// The decoder of one attempt.
#[derive(Default)]
pub(in crate::dialect) struct ResponsesDecoder {
    started: bool,
    /// Items that are not done, by their place in the output.
    pub(super) open: BTreeMap<u64, Open>,
    /// The text or refusal that is open. There is one at most.
    pub(super) text: Option<Block>,
    next_slot: u32,
    /// Any item has been seen.
    pub(super) spoke: bool,
    /// A call of the caller's is done.
    pub(super) called: bool,
    finished: bool,
    /// An error came; whatever follows proves nothing.
    faulted: bool,
    pub(super) place: Place,
}

impl fmt::Debug for ResponsesDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponsesDecoder")
            .field("open", &self.open.len())
            .field("finished", &self.finished)
            .field("faulted", &self.faulted)
            .finish_non_exhaustive()
    }
}

impl Decoder for ResponsesDecoder {
    fn decode(
        &mut self,
        event: &sse::Event<'_>,
        sink: &mut dyn FnMut(Signal<'_>),
    ) -> Result<(), DecodeError> {
        let data = event.data.trim();
        // OpenRouter's last word, after the response's own.
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
        let number = frame.sequence_number.0;
        if self.place.is_before(number) {
            sink(Signal::Alive);
            return Ok(());
        }
        let mut said = false;
        self.read(Kind::of_frame(&frame.kind, event.event), &frame, &mut |signal| {
            said = true;
            sink(signal);
        })?;
        if !said {
            sink(Signal::Alive);
        }
        self.pass(number);
        Ok(())
    }

    fn attach(&mut self, cursor: &Cursor) {
        self.place = Place::at(cursor);
    }

    /// A stored response, as `GET` has it. One that is not finished says nothing.
    fn whole(&mut self, body: &str, sink: &mut dyn FnMut(Signal<'_>)) {
        let response: Response<'_> = serde_json::from_str(body).unwrap_or_default();
        let status = response.status.given();
        if let Some(status @ ("completed" | "incomplete")) = status {
            let data = format!(r#"{{"type":"response.{status}","response":{body}}}"#);
            let event = sse::Event::new(&data);
            // What cannot be read has not finished, and says so by that.
            let _ = self.decode(&event, sink);
        }
    }

    fn generation(&self) -> Option<&str> {
        self.place.id().filter(|_| !self.faulted && !self.finished)
    }

    fn cursor(&self) -> Option<Cursor> {
        self.place.cursor().filter(|_| !self.faulted && !self.finished)
    }
}

/// A delta of words changes nothing of its block or thought once one has come, but for the place.
impl Steady for ResponsesDecoder {
    const FILLERS: &'static [&'static str] = &["obfuscation"];

    const ASIDE: Option<&'static str> = Some("sequence_number");

    fn repeat(
        &mut self,
        slot: u32,
        text: &str,
        aside: Option<&str>,
        sink: &mut dyn FnMut(Signal<'_>),
    ) -> bool {
        let number = aside.map(serde_json::from_str::<u64>).transpose();
        let Ok(number) = number else { return false };
        if self.place.is_before(number) {
            return false;
        }
        sink(Signal::Append { slot, text: Cow::Borrowed(text) });
        if self.text.as_ref().is_some_and(|block| block.slot == slot) {
            self.place.write();
        }
        self.pass(number);
        true
    }
}

impl ResponsesDecoder {
    /// An event has been read.
    fn pass(&mut self, number: Option<u64>) {
        let whole = self.open.values().all(|open| matches!(open, Open::Message { .. }));
        self.place.pass(number, whole);
    }

    fn read(
        &mut self,
        kind: Kind,
        frame: &Frame<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let index = frame.output_index.0.unwrap_or_default();
        let content = frame.content_index.0.unwrap_or_default();
        let mut say = |kind, said| self.say(index, content, kind, said, sink);
        match kind {
            Kind::TextDelta => say(PartKind::Text, text(frame.delta)?),
            Kind::RefusalDelta => say(PartKind::Refusal, text(frame.delta)?),
            Kind::TextDone => self.say_whole(index, content, PartKind::Text, frame.text, sink),
            Kind::RefusalDone => {
                self.say_whole(index, content, PartKind::Refusal, frame.refusal, sink)
            }
            Kind::PartAdded => self.add_part(index, content, frame, sink),
            Kind::PartDone => {
                let part = frame.part.map(part).transpose()?.unwrap_or_default();
                self.end_part(index, content, part, sink);
                Ok(())
            }
            Kind::Annotation => self.annotate(index, content, frame.annotation, sink),
            Kind::ReasoningDelta => self.think(index, text(frame.delta)?, sink),
            Kind::ArgumentsDelta => self.argue(index, text(frame.delta)?, false, sink),
            Kind::ArgumentsDone => self.argue(index, text(frame.arguments)?, true, sink),
            Kind::InputDelta => self.argue(index, text(frame.delta)?, false, sink),
            Kind::InputDone => self.argue(index, text(frame.input)?, true, sink),
            Kind::ItemAdded => self.add(index, frame, sink),
            Kind::ItemDone => {
                let raw = frame.item.ok_or(DecodeError)?;
                self.end(index, raw, sink)
            }
            Kind::Begun => {
                self.start(&wire::lenient(frame.response).unwrap_or_default(), sink);
                Ok(())
            }
            Kind::Completed | Kind::Incomplete | Kind::Failed => self.conclude(kind, frame, sink),
            Kind::Unknown => Ok(()),
        }
    }

    fn start(&mut self, response: &Response<'_>, sink: &mut Sink<'_>) {
        self.place.learn(response.id.given());
        let news = response.id.given().is_some() || response.model.given().is_some();
        if news && !std::mem::replace(&mut self.started, true) {
            sink(Signal::Started { id: response.id.given(), model: response.model.given() });
        }
    }

    fn add(
        &mut self,
        index: u64,
        frame: &Frame<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let item: Item<'_> = wire::object(frame.item.ok_or(DecodeError)?.get())?;
        if self.open.len() >= ITEMS_MAX {
            return Err(DecodeError);
        }
        self.spoke = true;
        // A message that is announced again is the one that is open; of anything else nobody could tell what
        // belongs to which.
        match (self.open.get(&index), Sort::of(&item)) {
            (Some(Open::Message { .. }), Sort::Message) => return Ok(()),
            (Some(_), _) => return Err(DecodeError),
            (None, _) => {}
        }
        let open = self.begin(&item, sink);
        self.open.insert(index, open);
        Ok(())
    }

    /// The item is done. What has not come in pieces comes with it.
    fn end(&mut self, index: u64, raw: &RawValue, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let item: Item<'_> = wire::object(raw.get())?;
        self.spoke = true;
        let sort = Sort::of(&item);
        if self.open.get(&index).is_some_and(|open| !open.is(sort)) {
            return Err(DecodeError);
        }
        let input = match sort {
            Sort::Function => text(item.arguments)?,
            Sort::Custom => text(item.input)?,
            _ => None,
        };
        let contents = if sort == Sort::Message { contents(item.content)? } else { Vec::new() };
        let open = match self.open.remove(&index) {
            Some(open) => open,
            // It began before the place that this attempt goes on from, and its pieces are said.
            None if sort == Sort::Message && self.place.is_attached() => {
                self.close_text(sink);
                return Ok(());
            }
            None => self.begin(&item, sink),
        };
        let whole = item.status.given() != Some("incomplete");
        match open {
            Open::Message { seen } => self.end_message(index, contents, &seen, sink),
            Open::Reasoning { slot, said } => self.end_thought(slot, said, raw, &item, sink),
            Open::Call { slot, custom, said } => {
                match (custom, said) {
                    (true, true) => {}
                    (true, false) => {
                        append(slot, format!("\"{}", escaped(&input.unwrap_or_default())), sink)
                    }
                    (false, false) => append(slot, input.unwrap_or_default(), sink),
                    (false, true) => {}
                }
                self.end_call(slot, custom, whole, sink);
            }
            Open::Whole { slot, own } => {
                append(slot, raw.get(), sink);
                if whole || !own {
                    self.called |= own;
                    sink(Signal::Close { slot });
                }
            }
        }
        Ok(())
    }

    /// An item begins, be it with its end.
    fn begin(&mut self, item: &Item<'_>, sink: &mut Sink<'_>) -> Open {
        let sort = Sort::of(item);
        if sort == Sort::Message {
            return Open::Message { seen: Vec::new() };
        }
        self.close_text(sink);
        let slot = self.open_slot(kind_of(item), sink);
        match sort {
            Sort::Reasoning => Open::Reasoning { slot, said: false },
            Sort::Function | Sort::Custom => {
                Open::Call { slot, custom: sort == Sort::Custom, said: false }
            }
            Sort::Own | Sort::Other | Sort::Message => Open::Whole { slot, own: sort == Sort::Own },
        }
    }

    fn conclude(
        &mut self,
        kind: Kind,
        frame: &Frame<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let response: Response<'_> = wire::lenient(frame.response).unwrap_or_default();
        self.start(&response, sink);
        let status = response.status.given();
        let failed = kind == Kind::Failed || matches!(status, Some("failed" | "cancelled"));
        if failed {
            usage::read(response.usage).into_iter().for_each(|usage| sink(Signal::Usage(usage)));
            let error = response.error.map(RawValue::get).filter(|error| fault::is_error(error));
            let unknown = || Fault::new(FaultClass::Unrecognised).code(status);
            self.fault(error.map_or_else(unknown, fault::of_frame), sink);
            return Ok(());
        }
        if !self.spoke && !self.place.is_attached() {
            for (index, item) in (0..).zip(wire::list(response.output)?) {
                self.end(index, item, sink)?;
            }
        }
        self.close_text(sink);
        let incomplete = kind == Kind::Incomplete || status == Some("incomplete");
        let details: Incomplete<'_> =
            wire::lenient(response.incomplete_details).unwrap_or_default();
        self.settle(!incomplete, sink);
        usage::read(response.usage).into_iter().for_each(|usage| sink(Signal::Usage(usage)));
        if !self.faulted && !std::mem::replace(&mut self.finished, true) {
            let reason = match details.reason.given().filter(|_| incomplete) {
                Some("max_output_tokens") => FinishReason::Length,
                Some("content_filter") => FinishReason::ContentFilter,
                Some(other) => FinishReason::Other(Arc::from(other)),
                None if incomplete => FinishReason::Unstated,
                None if self.called => FinishReason::ToolUse,
                None => FinishReason::Stop,
            };
            sink(Signal::Finish { reason });
        }
        sink(Signal::Terminal);
        Ok(())
    }

    /// The items that were never said to be done are, or, where the answer is not `whole`, never will be.
    fn settle(&mut self, whole: bool, sink: &mut Sink<'_>) {
        for open in std::mem::take(&mut self.open).into_values() {
            match open {
                Open::Call { slot, custom, said: true } => self.end_call(slot, custom, whole, sink),
                Open::Reasoning { slot, .. } => sink(Signal::Close { slot }),
                Open::Call { .. } | Open::Message { .. } | Open::Whole { .. } => {}
            }
        }
    }

    fn fault(&mut self, fault: Fault, sink: &mut Sink<'_>) {
        self.faulted = true;
        sink(Signal::Fault(fault));
    }

    pub(super) fn open_slot(&mut self, kind: PartKind, sink: &mut Sink<'_>) -> u32 {
        let slot = self.next_slot;
        self.next_slot = slot.wrapping_add(1);
        sink(Signal::Open { slot, choice: 0, kind });
        slot
    }
}

pub(super) fn append<'t>(slot: u32, text: impl Into<Cow<'t, str>>, sink: &mut Sink<'_>) {
    let text = text.into();
    if !text.is_empty() {
        sink(Signal::Append { slot, text });
    }
}

/// Most items of a response that are open at a time, and most content parts of one.
pub(super) const ITEMS_MAX: usize = 1024;
