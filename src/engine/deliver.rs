//! Handing content on: which part it belongs to, and what was opened and closed for it.
//!
//! In: content that is to be delivered now. Out: deltas. A part is opened only when it has content.
//! Law kept: *Fold*.

use std::mem;

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::attempt::{Live, Slot};
use super::decide::Ended;
use super::{Notice, Output, Recovery};
use crate::event::{Cut, Delta, Event, PartKind, Text};

impl Recovery {
    /// A call that had to wait for the end of the answer. Where it is not whole, the provider itself
    /// ended the answer in the middle of it.
    pub(super) fn late_call(&mut self, call: Slot) {
        let whole = call.closed && is_json(&call.held);
        match call.part {
            Some(part) => self.emit(Event::Delta(Delta::Truncate { part })),
            None => self.deliver_call(call, !whole),
        }
    }

    pub(super) fn deliver_call(&mut self, call: Slot, truncated: bool) {
        let empty = call.held.trim().is_empty() && !truncated;
        let text = if empty { "{}".to_owned() } else { call.held };
        let Slot { choice, kind, notes, .. } = call;
        if let Some(live) = &mut self.live {
            live.delivered += text.len();
            live.aside = true;
        }
        // A call of the server's is worth nothing before its result.
        if matches!(kind, PartKind::ToolCall { .. } | PartKind::ServerResult { .. }) {
            self.fresh();
        }
        let part = self.open_part(choice, kind);
        for annotation in notes {
            self.emit(Event::Delta(Delta::Annotate { part, annotation }));
        }
        if !text.is_empty() {
            self.emit(Event::Delta(Delta::Append { part, text: Text::from(text) }));
        }
        self.emit(Event::Delta(if truncated {
            Delta::Truncate { part }
        } else {
            Delta::Close { part }
        }));
    }

    pub(super) fn deliver(&mut self, slot: u32, text: Text) {
        let open = self.live.as_ref().and_then(|live| live.slots.get(&slot));
        let lasting = open.is_none_or(|slot| matches!(slot.kind, PartKind::Text));
        let part = open.and_then(|slot| slot.part);
        if !self.charge(text.len()) {
            return;
        }
        let Some(part) = part.or_else(|| self.part_of(slot)) else {
            return;
        };
        if let Some(live) = &mut self.live {
            live.delivered += text.len();
            live.aside |= !lasting;
        }
        if lasting {
            self.fresh();
        } else {
            self.clocks.last_new = self.clocks.last_new.map(|_| self.now);
        }
        self.emit(Event::Delta(Delta::Append { part, text }));
    }

    /// Counts bytes that are kept for the caller, or until their block ends; `false` if they are too
    /// many, which cuts the attempt.
    pub(super) fn charge(&mut self, bytes: usize) -> bool {
        self.course.held = self.course.held.saturating_add(bytes);
        let fits = self.course.held <= self.plan.policy.answer_max;
        if !fits {
            self.cut(Ended { cut: Cut::OverLimit, fault: None, transport: None });
        }
        fits
    }

    /// Something new was handed on that outlasts a cut: text, a whole call, a result.
    pub(super) fn fresh(&mut self) {
        if let Some(live) = &mut self.live {
            live.fresh = true;
        }
        self.clocks.last_new = self.clocks.last_new.map(|_| self.now);
        self.step.barren = 0;
        self.course.failures = 0;
        self.delays.reset();
    }

    /// The part that a slot is delivered as; text goes on in the part that an earlier attempt left
    /// open.
    pub(super) fn part_of(&mut self, slot: u32) -> Option<u32> {
        let live = self.live.as_mut()?;
        let (choice, kind) = match live.slots.get(&slot) {
            Some(open) if open.part.is_some() => return open.part,
            Some(open) => (open.choice, open.kind.clone()),
            None => (0, PartKind::Text),
        };
        let open_text = self.course.open_text.iter().find(|(of, _)| *of == choice);
        let part = match open_text {
            Some((_, part)) if matches!(kind, PartKind::Text) => *part,
            _ => self.open_part(choice, kind),
        };
        if let Some(open) = self.live.as_mut().and_then(|live| live.slots.get_mut(&slot)) {
            open.part = Some(part);
            for annotation in mem::take(&mut open.notes) {
                self.emit(Event::Delta(Delta::Annotate { part, annotation }));
            }
        }
        Some(part)
    }

    pub(super) fn open_part(&mut self, choice: u32, kind: PartKind) -> u32 {
        if !self.course.started {
            self.on_started(None, None);
        }
        let continued = self.live.as_ref().is_some_and(Live::is_ours);
        let aside = continued && matches!(kind, PartKind::Reasoning);
        if !aside {
            self.close_open_text(choice);
        }
        let part = self.course.next_part;
        self.course.next_part += 1;
        if matches!(kind, PartKind::Text) {
            self.course.open_text.push((choice, part));
        }
        self.emit(Event::Delta(Delta::Open { part, choice, kind }));
        part
    }

    pub(super) fn close_open_text(&mut self, choice: u32) {
        let at = self.course.open_text.iter().position(|(of, _)| *of == choice);
        if let Some((_, part)) = at.map(|at| self.course.open_text.swap_remove(at)) {
            // The slot, if it goes on, is another part from here.
            if let Some(live) = &mut self.live {
                for slot in live.slots.values_mut().filter(|slot| slot.part == Some(part)) {
                    slot.part = None;
                }
            }
            self.emit(Event::Delta(Delta::Close { part }));
        }
    }

    pub(super) fn emit(&mut self, event: Event) {
        if let Event::Delta(Delta::Abandon { part }) = &event {
            let part = self.transcript.parts().get(*part as usize);
            self.ledger.abandoned(part.map_or(0, |part| part.text().len()));
        }
        let speaks = matches!(event, Event::Delta(Delta::Append { .. }));
        if speaks && !mem::replace(&mut self.course.spoken, true) {
            let attempt = self.live.as_ref().map(|live| live.id);
            self.queue.push_back(Output::Notice(Notice::FirstDelta { attempt }));
        }
        if self.wire.is_some() {
            self.queue.push_back(Output::Event(event.clone()));
            self.wire_event(&event);
        } else {
            self.queue.push_back(Output::Event(event));
        }
    }
}

/// `text`, sharing the chunk that it lies in; copied where it had to be unescaped or lies elsewhere.
pub(super) fn shared(text: &str, chunk: &Bytes) -> Text {
    let (start, at) = (chunk.as_ptr() as usize, text.as_ptr() as usize);
    if at >= start && at + text.len() <= start + chunk.len() {
        let bytes = chunk.slice(at - start..at - start + text.len());
        return Text::from_utf8(bytes).unwrap_or_else(|_| Text::from(text));
    }
    Text::from(text)
}

/// Whether the arguments of a call are whole. None at all means no arguments.
pub(super) fn is_json(arguments: &str) -> bool {
    arguments.trim().is_empty() || serde_json::from_str::<IgnoredAny>(arguments).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_lies_in_its_chunk_is_not_copied_and_any_other_is() {
        let all = Bytes::from_static(b"aabbbcc");
        let chunk = all.slice(2..5);
        let text = std::str::from_utf8(&all).unwrap();
        for (from, to, within) in [
            (2, 5, true),
            (2, 4, true),
            (3, 5, true),
            (5, 7, false),
            (4, 7, false),
            (0, 2, false),
            (1, 3, false),
        ] {
            let text = &text[from..to];
            let shared = shared(text, &chunk);
            assert_eq!(&*shared, text);
            assert_eq!(shared.as_ptr() == text.as_ptr(), within, "{from}..{to}");
        }
    }
}
