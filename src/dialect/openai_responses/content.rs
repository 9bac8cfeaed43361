//! The texts and refusals of a response.
//!
//! In: pieces of content parts, and the whole of them once more. Out: signals, of one open part at a time.
//! It must never say twice what comes twice. Law kept: *Truth*.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::super::wire;
use super::super::{DecodeError, Signal};
use super::decode::{ITEMS_MAX, ResponsesDecoder, Sink};
use super::frame::{Frame, Part, Typed, text};
use super::item::Open;
use crate::event::{Annotation, PartKind};

/// A content part that is open.
#[derive(Debug)]
pub(super) struct Block {
    item: u64,
    content: u64,
    kind: PartKind,
    pub(super) slot: u32,
    said: bool,
    citations: usize,
}

impl ResponsesDecoder {
    pub(super) fn add_part(
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

    pub(super) fn say(
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

    pub(super) fn annotate(
        &mut self,
        index: u64,
        content: u64,
        annotation: Option<&RawValue>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let Some(annotation) = annotation else { return Ok(()) };
        let block = self.block(index, content, PartKind::Text, sink)?;
        block.citations += 1;
        cite(block.slot, annotation, sink);
        Ok(())
    }

    /// All of a text once more: said only where no piece of it came.
    pub(super) fn say_whole(
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

    pub(super) fn end_part(
        &mut self,
        index: u64,
        content: u64,
        part: Part<'_>,
        sink: &mut Sink<'_>,
    ) {
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

    pub(super) fn close_text(&mut self, sink: &mut Sink<'_>) {
        if let Some(block) = self.text.take() {
            sink(Signal::Close { slot: block.slot });
        }
    }

    pub(super) fn end_message(
        &mut self,
        index: u64,
        parts: Vec<Part<'_>>,
        seen: &[u64],
        sink: &mut Sink<'_>,
    ) {
        self.close_text(sink);
        // A place that the item does not have is that of the next part whose own one has not come.
        let astray: BTreeSet<u64> =
            seen.iter().copied().filter(|at| *at >= parts.len() as u64).collect();
        let unseen = (0..).zip(parts).filter(|(content, _)| !seen.contains(content));
        for (content, part) in unseen.skip(astray.len()) {
            self.end_part(index, content, part, sink);
        }
        self.open.remove(&index);
        self.close_text(sink);
    }
}

/// The content of a message that came whole.
pub(super) fn contents(raw: Option<&RawValue>) -> Result<Vec<Part<'_>>, DecodeError> {
    wire::list(raw)?.into_iter().map(part).collect()
}

/// A part that came whole: one that says something has to be read, of any other what can be.
pub(super) fn part(raw: &RawValue) -> Result<Part<'_>, DecodeError> {
    if let Some(part) = wire::lenient(Some(raw)) {
        return Ok(part);
    }
    let typed: Typed<'_> = wire::lenient(Some(raw)).unwrap_or_default();
    match typed.kind.given() {
        Some("output_text" | "text" | "refusal") => Err(DecodeError),
        _ => Ok(Part::default()),
    }
}

fn cite(slot: u32, annotation: &RawValue, sink: &mut Sink<'_>) {
    sink(Signal::Annotate { slot, annotation: Annotation::Citation(annotation.get().into()) });
}
