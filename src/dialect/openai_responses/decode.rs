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

use super::super::wire::{self, Count};
use super::super::{Cursor, DecodeError, Decoder, Fault, FaultClass, Signal, fault};
use super::frame::{
    Frame, Incomplete, Item, Kind, Part, Response, Usage as RawUsage, error_of, is_foreign, text,
};
use super::item::{Open, Sort, escaped, is_signed, kind_of, parts, thought};
use super::place::Place;
use crate::event::{Annotation, FinishReason, PartKind, Usage};
use crate::sse;

type Sink<'s> = dyn FnMut(Signal<'_>) + 's;

/// The decoder of one attempt.
#[derive(Default)]
pub(super) struct ResponsesDecoder {
    started: bool,
    /// Items that are not done, by their place in the output.
    open: BTreeMap<u64, Open>,
    /// The text or refusal that is open. There is one at most.
    text: Option<Block>,
    next_slot: u32,
    /// Any item has been seen.
    spoke: bool,
    /// A call of the caller's is done.
    called: bool,
    finished: bool,
    /// An error came; whatever follows proves nothing.
    faulted: bool,
    place: Place,
}

/// A content part that is open.
#[derive(Debug)]
struct Block {
    item: u64,
    content: u64,
    kind: PartKind,
    slot: u32,
    said: bool,
    citations: usize,
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
        let whole = self.open.values().all(|open| matches!(open, Open::Message { .. }));
        self.place.pass(number, whole);
        Ok(())
    }

    fn attach(&mut self, cursor: &Cursor) {
        self.place = Place::at(cursor);
    }

    fn cursor(&self) -> Option<Cursor> {
        self.place.cursor().filter(|_| !self.faulted && !self.finished)
    }
}

impl ResponsesDecoder {
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
                let part = wire::lenient::<Part<'_>>(frame.part).unwrap_or_default();
                self.end_part(index, content, part, sink);
                Ok(())
            }
            Kind::Annotation => {
                if let Some(annotation) = frame.annotation {
                    let block = self.block(index, content, PartKind::Text, sink)?;
                    block.citations += 1;
                    cite(block.slot, annotation, sink);
                }
                Ok(())
            }
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
        let open = match Sort::of(&item) {
            Sort::Message => Open::Message { seen: Vec::new() },
            sort => {
                self.close_text(sink);
                let slot = self.open_slot(kind_of(&item), sink);
                match sort {
                    Sort::Reasoning => Open::Reasoning { slot, said: false },
                    Sort::Function => Open::Call { slot, custom: false, said: false },
                    Sort::Custom => Open::Call { slot, custom: true, said: false },
                    Sort::Own | Sort::Other | Sort::Message => Open::Whole { slot },
                }
            }
        };
        self.open.insert(index, open);
        Ok(())
    }

    /// The item is done. What has not come in pieces comes with it.
    fn end(&mut self, index: u64, raw: &RawValue, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let item: Item<'_> = wire::object(raw.get())?;
        self.spoke = true;
        let sort = Sort::of(&item);
        let open = match self.open.remove(&index) {
            Some(open) => open,
            // It began before the place that this attempt goes on from, and its pieces are said.
            None if sort == Sort::Message && self.place.is_attached() => {
                self.close_text(sink);
                return Ok(());
            }
            None => self.unannounced(&item, sink),
        };
        let whole = item.status.given() != Some("incomplete");
        match open {
            Open::Message { seen } => self.end_message(index, &item, &seen, sink),
            Open::Reasoning { slot, said } => self.end_thought(slot, said, raw, &item, sink),
            Open::Call { slot, custom, said } => {
                let input = text(if custom { item.input } else { item.arguments })?;
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
            Open::Whole { slot } => {
                append(slot, raw.get(), sink);
                let callers = sort == Sort::Own;
                if whole || !callers {
                    self.called |= callers;
                    sink(Signal::Close { slot });
                }
            }
        }
        Ok(())
    }

    /// What `end` needs of an item whose beginning has not come.
    fn unannounced(&mut self, item: &Item<'_>, sink: &mut Sink<'_>) -> Open {
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
            Sort::Own | Sort::Other | Sort::Message => Open::Whole { slot },
        }
    }

    fn end_message(&mut self, index: u64, item: &Item<'_>, seen: &[u64], sink: &mut Sink<'_>) {
        self.close_text(sink);
        for (content, part) in (0..).zip(parts(item.content)) {
            if !seen.contains(&content) {
                self.end_part(index, content, part, sink);
            }
        }
        self.open.remove(&index);
        self.close_text(sink);
    }

    /// A thought goes back into a history as the whole item, which is kept as its signature.
    fn end_thought(
        &mut self,
        slot: u32,
        said: bool,
        raw: &RawValue,
        item: &Item<'_>,
        sink: &mut Sink<'_>,
    ) {
        let words = if said { String::new() } else { thought(item) };
        let said = said || !words.is_empty();
        append(slot, words, sink);
        if said && is_signed(item) {
            let annotation = Annotation::Signature(raw.get().into());
            sink(Signal::Annotate { slot, annotation });
        }
        sink(Signal::Close { slot });
        if !said && is_signed(item) {
            let slot = self.open_slot(PartKind::RedactedReasoning, sink);
            append(slot, raw.get(), sink);
            sink(Signal::Close { slot });
        }
    }

    /// Where the provider left the call unfinished, it stays open.
    fn end_call(&mut self, slot: u32, custom: bool, whole: bool, sink: &mut Sink<'_>) {
        if whole {
            if custom {
                append(slot, "\"", sink);
            }
            self.called = true;
            sink(Signal::Close { slot });
        }
    }

    fn add_part(
        &mut self,
        index: u64,
        content: u64,
        frame: &Frame<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let part = wire::lenient::<Part<'_>>(frame.part).unwrap_or_default();
        let kind = match part.kind.given() {
            Some("output_text" | "text") => PartKind::Text,
            Some("refusal") => PartKind::Refusal,
            _ => return Ok(()),
        };
        self.block(index, content, kind, sink).map(|_| ())
    }

    fn say(
        &mut self,
        index: u64,
        content: u64,
        kind: PartKind,
        said: Option<Cow<'_, str>>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let Some(said) = said else { return Ok(()) };
        let block = self.block(index, content, kind, sink)?;
        block.said = true;
        sink(Signal::Append { slot: block.slot, text: said });
        self.place.write();
        Ok(())
    }

    /// All of a text once more: said only where no piece of it came.
    fn say_whole(
        &mut self,
        index: u64,
        content: u64,
        kind: PartKind,
        raw: Option<&RawValue>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        if self.is_unsaid(index, content) {
            return self.say(index, content, kind, text(raw)?, sink);
        }
        Ok(())
    }

    /// Whether nothing has come of a content part; one that began before the place that this attempt goes
    /// on from has been said.
    fn is_unsaid(&self, index: u64, content: u64) -> bool {
        let open = self.text.as_ref().filter(|text| (text.item, text.content) == (index, content));
        match (open, self.open.get(&index)) {
            (Some(block), _) => !block.said,
            (None, Some(Open::Message { seen })) => !seen.contains(&content),
            (None, Some(_)) => false,
            (None, None) => !self.place.is_attached(),
        }
    }

    fn end_part(&mut self, index: u64, content: u64, part: Part<'_>, sink: &mut Sink<'_>) {
        let kind = match part.kind.given() {
            Some("refusal") => PartKind::Refusal,
            Some("output_text" | "text") => PartKind::Text,
            _ => return,
        };
        if self.is_unsaid(index, content) {
            let said = if kind == PartKind::Text { part.text } else { part.refusal };
            // A place that is none for it has been refused before.
            _ = self.say(index, content, kind, said.said(), sink);
        }
        let is_this = |text: &&mut Block| (text.item, text.content) == (index, content);
        if let Some(block) = self.text.as_mut().filter(is_this) {
            let all: Vec<&RawValue> = wire::lenient(part.annotations).unwrap_or_default();
            for annotation in all.into_iter().skip(block.citations) {
                cite(block.slot, annotation, sink);
            }
            self.close_text(sink);
        }
    }

    /// The open block of a content part, which begins here if it has not.
    fn block(
        &mut self,
        index: u64,
        content: u64,
        kind: PartKind,
        sink: &mut Sink<'_>,
    ) -> Result<&mut Block, DecodeError> {
        let is_this =
            |text: &Block| (text.item, text.content) == (index, content) && text.kind == kind;
        if !self.text.as_ref().is_some_and(is_this) {
            if self.open.len() >= ITEMS_MAX {
                return Err(DecodeError);
            }
            self.close_text(sink);
            self.spoke = true;
            let item = self.open.entry(index).or_insert(Open::Message { seen: Vec::new() });
            let Open::Message { seen } = item else { return Err(DecodeError) };
            if seen.len() >= ITEMS_MAX {
                return Err(DecodeError);
            }
            seen.push(content);
            let slot = self.open_slot(kind.clone(), sink);
            self.text = Some(Block { item: index, content, kind, slot, said: false, citations: 0 });
        }
        self.text.as_mut().ok_or(DecodeError)
    }

    fn close_text(&mut self, sink: &mut Sink<'_>) {
        if let Some(block) = self.text.take() {
            sink(Signal::Close { slot: block.slot });
        }
    }

    fn think(
        &mut self,
        index: u64,
        piece: Option<Cow<'_, str>>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let Some(piece) = piece else { return Ok(()) };
        if !self.open.contains_key(&index) {
            self.spoke = true;
            self.close_text(sink);
            let slot = self.open_slot(PartKind::Reasoning, sink);
            self.open.insert(index, Open::Reasoning { slot, said: false });
        }
        let Some(Open::Reasoning { slot, said }) = self.open.get_mut(&index) else {
            return Err(DecodeError);
        };
        *said = true;
        append(*slot, piece, sink);
        Ok(())
    }

    /// A piece of a call's input, or all of it (`whole`), which is news only where no piece came.
    fn argue(
        &mut self,
        index: u64,
        piece: Option<Cow<'_, str>>,
        whole: bool,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        // Input for a call that never began is one that nobody could run.
        let Some(Open::Call { slot, custom, said }) = self.open.get_mut(&index) else {
            return if piece.is_some() { Err(DecodeError) } else { Ok(()) };
        };
        let Some(piece) = piece.filter(|_| !(whole && *said)) else { return Ok(()) };
        let first = !std::mem::replace(said, true);
        match (*custom, first) {
            (false, _) => append(*slot, piece, sink),
            (true, true) => append(*slot, format!("\"{}", escaped(&piece)), sink),
            (true, false) => append(*slot, escaped(&piece), sink),
        }
        Ok(())
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
            self.count(response.usage, sink);
            let error = response.error.map(RawValue::get).filter(|error| fault::is_error(error));
            let unknown = || Fault::new(FaultClass::Unrecognised).code(status);
            self.fault(error.map_or_else(unknown, fault::of_frame), sink);
            return Ok(());
        }
        if !self.spoke && !self.place.is_attached() {
            let output: Vec<&RawValue> = wire::lenient(response.output).unwrap_or_default();
            for (index, item) in (0..).zip(output) {
                self.end(index, item, sink)?;
            }
        }
        self.close_text(sink);
        let incomplete = kind == Kind::Incomplete || status == Some("incomplete");
        let details: Incomplete<'_> =
            wire::lenient(response.incomplete_details).unwrap_or_default();
        self.settle(!incomplete, sink);
        self.count(response.usage, sink);
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

    fn count(&mut self, usage: Option<&RawValue>, sink: &mut Sink<'_>) {
        let Some(raw) = wire::lenient::<RawUsage>(usage) else { return };
        let count = |count: Count| count.0.unwrap_or_default();
        let mut usage = Usage {
            input_tokens: count(raw.input_tokens),
            output_tokens: count(raw.output_tokens),
            ..Usage::default()
        };
        if let Some(details) = raw.input_tokens_details {
            usage.cached_input_tokens = count(details.cached_tokens);
            usage.cache_write_tokens = count(details.cache_write_tokens);
        }
        if let Some(details) = raw.output_tokens_details {
            usage.reasoning_tokens = count(details.reasoning_tokens);
        }
        sink(Signal::Usage(usage));
    }

    fn fault(&mut self, fault: Fault, sink: &mut Sink<'_>) {
        self.faulted = true;
        sink(Signal::Fault(fault));
    }

    fn open_slot(&mut self, kind: PartKind, sink: &mut Sink<'_>) -> u32 {
        let slot = self.next_slot;
        self.next_slot = slot.wrapping_add(1);
        sink(Signal::Open { slot, choice: 0, kind });
        slot
    }
}

fn append<'t>(slot: u32, text: impl Into<Cow<'t, str>>, sink: &mut Sink<'_>) {
    let text = text.into();
    if !text.is_empty() {
        sink(Signal::Append { slot, text });
    }
}

fn cite(slot: u32, annotation: &RawValue, sink: &mut Sink<'_>) {
    sink(Signal::Annotate { slot, annotation: Annotation::Citation(annotation.get().into()) });
}

/// Most items of a response that are open at a time, and most content parts of one.
const ITEMS_MAX: usize = 1024;
