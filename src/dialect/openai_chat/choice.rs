//! One choice of a chat answer.
//!
//! In: its deltas. Out: signals of its text, reasoning, refusal and calls. It must never drop what
//! comes after the choice has finished. Law kept: *Fold*.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::super::wire::Word;
use super::super::{DecodeError, Signal};
use super::calls::{Calls, Piece};
use super::frame::{Content, ContentPart, Delta, ThinkingPart};
use crate::event::{FinishReason, PartKind};

type Sink<'s> = dyn FnMut(Signal<'_>) + 's;

/// Where one choice stands.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The open text, reasoning or refusal. There is one at most: another one, or a tool call,
    /// shows that it is over.
    open: Option<(Channel, u32)>,
    calls: Calls,
    /// Something has been said.
    pub(super) said: bool,
    pub(super) reason: Option<FinishReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Text,
    Reasoning,
    Refusal,
}

impl Progress {
    pub(super) fn read(
        &mut self,
        delta: Delta<'_>,
        slots: &mut Slots<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        // Both names for the same piece: one is enough.
        let reasoning = delta.reasoning_content.said().or(delta.reasoning.said());
        self.say(Channel::Reasoning, reasoning, slots, sink);
        match delta.content {
            Content::None => {}
            Content::Text(text) => self.say(Channel::Text, Some(text), slots, sink),
            Content::Parts(parts) => {
                for part in parts {
                    self.read_part(part, slots, sink)?;
                }
            }
        }
        self.say(Channel::Refusal, delta.refusal.said(), slots, sink);
        for call in delta.tool_calls.iter().flatten() {
            self.call(Piece::of_tool(call)?, slots, sink)?;
        }
        match &delta.function_call {
            Some(function) => self.call(Piece::of_function(function)?, slots, sink),
            None => Ok(()),
        }
    }

    pub(super) fn read_part(
        &mut self,
        part: ContentPart<'_>,
        slots: &mut Slots<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        match (part.kind.given(), part.thinking.map(RawValue::get)) {
            (Some("thinking"), Some(raw)) if raw.starts_with('[') => {
                let thoughts: Vec<ThinkingPart<'_>> =
                    serde_json::from_str(raw).map_err(|_| DecodeError)?;
                for thought in thoughts {
                    self.say(Channel::Reasoning, thought.text.said(), slots, sink);
                }
            }
            (Some("thinking"), Some(raw)) => {
                let thought: Word<'_> = serde_json::from_str(raw).map_err(|_| DecodeError)?;
                self.say(Channel::Reasoning, thought.said(), slots, sink);
            }
            (Some("text" | "output_text") | None, _) => {
                self.say(Channel::Text, part.text.said(), slots, sink);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn say(
        &mut self,
        channel: Channel,
        text: Option<Cow<'_, str>>,
        slots: &mut Slots<'_>,
        sink: &mut Sink<'_>,
    ) {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return;
        };
        self.said = true;
        let slot = match self.open {
            Some((open, slot)) if open == channel => slot,
            _ => {
                self.close(sink);
                let slot = slots.open(channel.kind(), sink);
                self.open = Some((channel, slot));
                slot
            }
        };
        sink(Signal::Append { slot, text });
    }

    pub(super) fn call(
        &mut self,
        piece: Piece<'_>,
        slots: &mut Slots<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        self.said = true;
        self.close(sink);
        self.calls.push(piece, &mut |kind, sink| slots.open(kind, sink), sink)
    }

    pub(super) fn finish(
        &mut self,
        reason: FinishReason,
        slots: &mut Slots<'_>,
        sink: &mut Sink<'_>,
    ) {
        self.close(sink);
        let cut_short = matches!(
            reason,
            FinishReason::Length | FinishReason::ContextWindow | FinishReason::ContentFilter
        );
        self.calls.finish(cut_short, &mut |kind, sink| slots.open(kind, sink), sink);
        self.reason = Some(reason);
    }

    /// What comes after the finish has no other marker of its end.
    pub(super) fn settle(&mut self, sink: &mut Sink<'_>) {
        if self.reason.is_some() {
            self.close(sink);
            self.calls.settle(sink);
        }
    }

    /// Whether a call has begun that is not opened yet.
    pub(super) fn holds(&self) -> bool {
        self.calls.holds()
    }

    pub(super) fn close(&mut self, sink: &mut Sink<'_>) {
        if let Some((_, slot)) = self.open.take() {
            sink(Signal::Close { slot });
        }
    }
}

impl Channel {
    const fn kind(self) -> PartKind {
        match self {
            Self::Text => PartKind::Text,
            Self::Reasoning => PartKind::Reasoning,
            Self::Refusal => PartKind::Refusal,
        }
    }
}

/// Opens slots of one choice.
pub(super) struct Slots<'a> {
    pub(super) next: &'a mut u32,
    pub(super) choice: u32,
}

impl Slots<'_> {
    pub(super) fn open(&mut self, kind: PartKind, sink: &mut Sink<'_>) -> u32 {
        let slot = *self.next;
        *self.next = slot.wrapping_add(1);
        sink(Signal::Open { slot, choice: self.choice, kind });
        slot
    }
}
