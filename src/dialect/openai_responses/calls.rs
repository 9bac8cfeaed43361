//! The thoughts of a response, and the calls that the caller runs.
//!
//! In: their pieces, and what they came to. Out: signals. It must never close a call that the provider
//! left unfinished. Law kept: *Once*.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::super::{DecodeError, Signal};
use super::decode::{ResponsesDecoder, Sink, append};
use super::frame::Item;
use super::item::{Open, escaped, is_signed, thought};
use crate::event::{Annotation, PartKind};

impl ResponsesDecoder {
    /// A thought goes back into a history as the whole item, which is kept as its signature.
    pub(super) fn end_thought(
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
    pub(super) fn end_call(&mut self, slot: u32, custom: bool, whole: bool, sink: &mut Sink<'_>) {
        if whole {
            if custom {
                append(slot, "\"", sink);
            }
            self.called = true;
            sink(Signal::Close { slot });
        }
    }

    pub(super) fn think(
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
    pub(super) fn argue(
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
}
