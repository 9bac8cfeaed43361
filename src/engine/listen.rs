//! From what a provider says to what the caller hears.
//!
//! In: the bytes of the attempt under way. Out: deltas, in the order in which the caller is to hear
//! them. Nothing is decided here but what is delivered when (`recovery.md` 3). Laws kept: *Fold*,
//! *Once*.

use std::mem;

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::attempt::{Body, Slot};
use super::decide::Ended;
use super::{End, Notice, Output, Recovery};
use crate::dialect::{Fault, FaultClass, Signal};
use crate::event::{
    Annotation, Cut, Delta, Event, FinishReason, Head, Join, PartKind, Resumption, Text,
};
use crate::policy::ToolDelivery;
use crate::seam::{Straddled, Verdict};

impl Recovery {
    /// Reads one event of what has come; `false` when there is nothing to read.
    pub(super) fn read(&mut self) -> bool {
        let Body::Stream(wire) = &mut self.body else {
            return false;
        };
        if wire.chunk.is_empty() {
            return false;
        }
        let Body::Stream(mut wire) = mem::replace(&mut self.body, Body::Awaited) else {
            return false;
        };
        let chunk = wire.chunk.clone();
        let mut rest: &[u8] = &chunk;
        match wire.parser.next_event(&mut rest) {
            Ok(Some(event)) => {
                let mut sink = |signal: Signal<'_>| self.hear(signal, &chunk);
                if wire.decoder.decode(&event, &mut sink).is_err() {
                    self.unreadable();
                }
            }
            Ok(None) => {}
            Err(_) => self.cut_by(Cut::OverLimit),
        }
        wire.chunk = chunk.slice(chunk.len() - rest.len()..);
        self.body = Body::Stream(wire);
        true
    }

    /// A frame could not be read and might have carried text: a cut at the last good frame. Where
    /// resuming from there has brought the same again and nothing else is left to try, it is skipped.
    fn unreadable(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let again = self.ledger.last_cut() == Some(Cut::Garbled)
            && self.live.as_ref().is_some_and(|live| !live.fresh);
        let last_attempt = self.ledger.counted() >= self.plan.policy.max_attempts;
        if (again || last_attempt) && !self.has_next_step() {
            self.ledger.skipped();
            if let Some(live) = &self.live {
                let attempt = live.id;
                self.queue
                    .push_back(Output::Notice(Notice::Skipped { attempt }));
            }
        } else {
            self.cut_by(Cut::Garbled);
        }
    }

    fn cut_by(&mut self, cut: Cut) {
        self.cut(Ended {
            cut,
            fault: None,
            transport: None,
        });
    }

    fn hear(&mut self, signal: Signal<'_>, chunk: &Bytes) {
        if self.ended.is_some() {
            return;
        }
        match signal {
            Signal::Alive => {}
            Signal::Started { id, model } => self.on_started(id, model),
            Signal::Open { slot, choice, kind } => self.on_open(slot, choice, kind),
            Signal::Append { slot, text } => self.on_append(slot, &text, chunk),
            Signal::Annotate { slot, annotation } => self.on_annotate(slot, annotation),
            Signal::Close { slot } => self.on_close(slot),
            Signal::Usage(usage) => {
                self.ledger.usage(usage);
                if let Some(live) = &mut self.live {
                    live.usage = Some(usage);
                }
            }
            Signal::Finish { reason } => self.on_finish(reason),
            Signal::Terminal => self.on_terminal(),
            Signal::Fault(fault) => self.on_fault(fault),
        }
    }

    fn on_started(&mut self, id: Option<&str>, model: Option<&str>) {
        let Some(live) = &self.live else { return };
        let head = Head {
            attempt: live.id,
            upstream: live.upstream.clone(),
            id: id.map(Into::into),
            model: model.map(Into::into),
        };
        if let Some(model) = &head.model {
            self.ledger.model(model);
        }
        if !mem::replace(&mut self.course.started, true) {
            self.emit(Event::Started(head));
        }
    }

    fn on_terminal(&mut self) {
        let finished = self.live.as_ref().is_some_and(|live| live.finish.is_some());
        if finished {
            self.ended = Some(End::Complete);
        } else {
            self.cut_by(Cut::Truncated);
        }
    }

    fn on_fault(&mut self, fault: Fault) {
        let finished = self.live.as_ref().is_some_and(|live| live.finish.is_some());
        if finished && fault.class != FaultClass::Policy {
            self.ended = Some(End::Complete);
        } else {
            self.cut(Ended {
                cut: Cut::Faulted,
                fault: Some(fault),
                transport: None,
            });
        }
    }

    fn on_open(&mut self, slot: u32, choice: u32, kind: PartKind) {
        let Some(live) = &mut self.live else { return };
        live.last_said = self.now;
        let aside = matches!(
            kind,
            PartKind::Text | PartKind::Reasoning | PartKind::Refusal
        );
        // What a repetition brings before it is past the delivered parts was delivered before.
        let muted = !aside && live.is_repeating() && !live.repeats.is_empty();
        if muted
            && !live
                .repeats
                .pop()
                .is_some_and(|before| same_block(&before, &kind))
        {
            return self.cut_by(Cut::Diverged);
        }
        let ends_text = !muted && !aside;
        let new = Slot {
            kind,
            choice,
            part: None,
            held: String::new(),
            muted,
            closed: false,
        };
        if let Some(old) = live.slots.insert(slot, new) {
            self.overtake(slot, old);
        }
        if ends_text {
            self.end_of_text();
        }
        self.keep(size_of::<Slot>());
    }

    /// Counts what is kept, if only to know of it.
    fn keep(&mut self, bytes: usize) {
        self.course.held = self.course.held.saturating_add(bytes);
        if self.course.held > self.plan.policy.answer_max {
            self.cut_by(Cut::OverLimit);
        }
    }

    /// Another block took the slot of one that was never closed.
    fn overtake(&mut self, slot: u32, old: Slot) {
        if let Some(live) = self.live.as_mut().filter(|_| old.is_call()) {
            live.late.push((slot, old));
        }
    }

    fn on_append(&mut self, slot: u32, text: &str, chunk: &Bytes) {
        let live_tools = self.plan.policy.tools == ToolDelivery::Live;
        let Some(live) = &mut self.live else { return };
        live.last_said = self.now;
        let Some(open) = live.slots.get_mut(&slot) else {
            return;
        };
        if text.is_empty() {
            return;
        }
        live.came += text.len();
        if open.muted {
            return;
        }
        self.course.held = self.course.held.saturating_add(text.len());
        if self.course.held > self.plan.policy.answer_max {
            self.cut_by(Cut::OverLimit);
        } else if open.is_whole(live_tools) {
            open.held.push_str(text);
            if matches!(open.kind, PartKind::ToolCall { .. }) {
                let notice = Notice::Progress {
                    attempt: live.id,
                    bytes: open.held.len(),
                };
                self.queue.push_back(Output::Notice(notice));
            }
        } else if matches!(open.kind, PartKind::Text) && open.choice == 0 {
            self.on_text(slot, text, chunk);
        } else {
            if live_tools && matches!(open.kind, PartKind::ToolCall { .. }) {
                open.held.push_str(text);
            }
            self.deliver(slot, shared(text, chunk));
        }
    }

    /// Visible text of choice 0 goes through the seam while that is open.
    fn on_text(&mut self, slot: u32, text: &str, chunk: &Bytes) {
        let Some(live) = &mut self.live else { return };
        match &mut live.seam {
            Some(seam) => {
                let verdict = seam.push(text);
                self.on_verdict(verdict, slot);
            }
            None if live.straddle.is_some() => self.past_seam(slot, text),
            None => self.deliver(slot, shared(text, chunk)),
        }
    }

    fn on_verdict(&mut self, verdict: Verdict, slot: u32) {
        match verdict {
            Verdict::Hold => {}
            Verdict::Resolved {
                text,
                join,
                trimmed,
            } => {
                self.joined(join, trimmed);
                self.past_seam(slot, &text);
            }
            Verdict::Diverged { .. } => self.cut_by(Cut::Diverged),
            Verdict::Incomplete => self.cut_by(Cut::Truncated),
        }
    }

    fn joined(&mut self, join: Join, trimmed: usize) {
        let Some(live) = &mut self.live else { return };
        live.seam = None;
        live.join = Some(join);
        self.ledger.joined(join);
        if let Some(by) = live.by {
            let resumption = Resumption {
                attempt: live.id,
                upstream: live.upstream.clone(),
                by,
                join,
                trimmed,
            };
            self.queue
                .push_back(Output::Notice(Notice::Resumed(resumption.clone())));
            self.emit(Event::Resumed(resumption));
        }
    }

    /// New text after the seam: it may complete a stop sequence that began before it.
    fn past_seam(&mut self, slot: u32, text: &str) {
        let Some(live) = &mut self.live else { return };
        let passed = match &mut live.straddle {
            None => Some(text.to_owned()),
            Some(straddle) => match straddle.push(text) {
                Straddled::Hold => None,
                Straddled::Pass(text) => {
                    live.straddle = None;
                    Some(text)
                }
                Straddled::Stopped => {
                    self.ended = Some(End::Stopped);
                    None
                }
            },
        };
        if let Some(text) = passed.filter(|text| !text.is_empty()) {
            self.deliver(slot, Text::from(text));
        }
    }

    /// No more text before something else: the seam has to make up its mind.
    fn end_of_text(&mut self) {
        let Some(live) = &mut self.live else { return };
        let slot = live
            .slots
            .iter()
            .find(|(_, slot)| slot.is_text())
            .map(|(slot, _)| *slot);
        let verdict = live.seam.as_mut().map(crate::seam::Seam::end);
        if let Some(verdict) = verdict {
            self.on_verdict(verdict, slot.unwrap_or(NO_SLOT));
        }
        if let Some(mut straddle) = self.live.as_mut().and_then(|live| live.straddle.take()) {
            let text = straddle.end();
            if !text.is_empty() && self.ended.is_none() {
                self.deliver(slot.unwrap_or(NO_SLOT), Text::from(text));
            }
        }
    }

    fn on_annotate(&mut self, slot: u32, annotation: Annotation) {
        let Some(live) = &mut self.live else { return };
        live.last_said = self.now;
        let Some(open) = live.slots.get(&slot) else {
            return;
        };
        // A citation of text that was said before, or is still held, would land on the wrong text.
        let unsaid = open.part.is_none() && !matches!(open.kind, PartKind::Reasoning);
        if open.muted || unsaid {
            return;
        }
        let (Annotation::Signature(note) | Annotation::Citation(note)) = &annotation;
        self.keep(note.len());
        if let Some(part) = self.part_of(slot) {
            self.emit(Event::Delta(Delta::Annotate { part, annotation }));
        }
    }

    fn on_close(&mut self, slot: u32) {
        let live_tools = self.plan.policy.tools == ToolDelivery::Live;
        let Some(live) = &mut self.live else { return };
        live.last_said = self.now;
        let Some(open) = live.slots.remove(&slot) else {
            return;
        };
        if open.muted {
            return;
        }
        match open.kind {
            PartKind::Text | PartKind::Refusal => self.close_text(&open),
            PartKind::Reasoning => self.close_reasoning(&open),
            PartKind::ToolCall { .. } if live_tools && is_json(&open.held) => self.close_live(open),
            PartKind::ToolCall { .. }
                if live_tools || !is_json(&open.held) || live.has_call_before(slot) =>
            {
                live.late.push((
                    slot,
                    Slot {
                        closed: true,
                        ..open
                    },
                ));
            }
            PartKind::RedactedReasoning if live.by.is_some() => {}
            _ => self.deliver_call(open, false),
        }
    }

    fn close_text(&mut self, open: &Slot) {
        if let Some(part) = open.part {
            self.course.open_text.retain(|(_, text)| *text != part);
            self.emit(Event::Delta(Delta::Close { part }));
        }
    }

    /// Reasoning of a continuation is signed against a conversation that history will not contain.
    fn close_reasoning(&mut self, open: &Slot) {
        let by = self.live.as_ref().and_then(|live| live.by);
        if let Some(part) = open.part {
            self.emit(Event::Delta(match by {
                None => Delta::Close { part },
                Some(_) => Delta::Abandon { part },
            }));
        }
    }

    fn close_live(&mut self, mut open: Slot) {
        if open.part.is_none() {
            return self.deliver_call(open, false);
        }
        if let Some(part) = open.part.take() {
            self.fresh();
            self.emit(Event::Delta(Delta::Close { part }));
        }
    }

    fn on_finish(&mut self, reason: FinishReason) {
        if self.live.as_ref().is_none_or(|live| live.finish.is_some()) {
            return;
        }
        self.end_of_text();
        if self.ended.is_some() {
            return;
        }
        let Some(live) = &mut self.live else { return };
        let mut late = mem::take(&mut live.late);
        let unclosed: Vec<u32> = live
            .slots
            .iter()
            .filter(|(_, slot)| slot.is_call())
            .map(|(id, _)| *id)
            .collect();
        late.extend(
            unclosed
                .iter()
                .filter_map(|id| Some((*id, live.slots.remove(id)?))),
        );
        late.sort_by_key(|(slot, _)| *slot);
        live.finish = Some((reason.clone(), self.now));
        let attempt = live.id;
        for (_, call) in late {
            self.late_call(call);
        }
        if matches!(reason, FinishReason::Other(_)) {
            self.queue
                .push_back(Output::Notice(Notice::UnknownFinish { attempt, reason }));
        }
    }

    /// A call that had to wait for the end of the answer. Where it is not whole, the provider itself
    /// ended the answer in the middle of it.
    fn late_call(&mut self, call: Slot) {
        let whole = call.closed && is_json(&call.held);
        match call.part {
            Some(part) => self.emit(Event::Delta(Delta::Truncate { part })),
            None => self.deliver_call(call, !whole),
        }
    }

    fn deliver_call(&mut self, call: Slot, truncated: bool) {
        let empty = call.held.trim().is_empty() && !truncated;
        let text = if empty { "{}".to_owned() } else { call.held };
        self.deliver_whole(call.choice, call.kind, text, truncated);
    }

    fn deliver_whole(&mut self, choice: u32, kind: PartKind, text: String, truncated: bool) {
        if let Some(live) = &mut self.live {
            live.delivered += text.len();
        }
        let outlasts = !matches!(kind, PartKind::RedactedReasoning | PartKind::Opaque { .. });
        if outlasts {
            self.fresh();
        }
        let part = self.open_part(choice, kind);
        if !text.is_empty() {
            self.emit(Event::Delta(Delta::Append {
                part,
                text: Text::from(text),
            }));
        }
        self.emit(Event::Delta(if truncated {
            Delta::Truncate { part }
        } else {
            Delta::Close { part }
        }));
    }

    fn deliver(&mut self, slot: u32, text: Text) {
        let reasoning = self
            .live
            .as_ref()
            .and_then(|live| live.slots.get(&slot))
            .is_some_and(|slot| matches!(slot.kind, PartKind::Reasoning));
        let Some(part) = self.part_of(slot) else {
            return;
        };
        if let Some(live) = &mut self.live {
            live.delivered += text.len();
        }
        if reasoning {
            self.clocks.last_new = self.clocks.last_new.map(|_| self.now);
        } else {
            self.fresh();
        }
        self.emit(Event::Delta(Delta::Append { part, text }));
    }

    /// Something new was handed on that outlasts a cut.
    fn fresh(&mut self) {
        if let Some(live) = &mut self.live {
            live.fresh = true;
        }
        self.clocks.last_new = self.clocks.last_new.map(|_| self.now);
        self.step.barren = 0;
        if mem::take(&mut self.course.failures) > 0 {
            self.delays.reset();
        }
    }

    /// The part that a slot is delivered as; text goes on in the part that an earlier attempt left
    /// open.
    fn part_of(&mut self, slot: u32) -> Option<u32> {
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
        if let Some(open) = self
            .live
            .as_mut()
            .and_then(|live| live.slots.get_mut(&slot))
        {
            open.part = Some(part);
        }
        Some(part)
    }

    fn open_part(&mut self, choice: u32, kind: PartKind) -> u32 {
        if !self.course.started {
            self.on_started(None, None);
        }
        let continued = self.live.as_ref().is_some_and(|live| live.by.is_some());
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

    fn close_open_text(&mut self, choice: u32) {
        let at = self
            .course
            .open_text
            .iter()
            .position(|(of, _)| *of == choice);
        if let Some((_, part)) = at.map(|at| self.course.open_text.swap_remove(at)) {
            // The slot, if it goes on, is another part from here.
            if let Some(live) = &mut self.live {
                for slot in live
                    .slots
                    .values_mut()
                    .filter(|slot| slot.part == Some(part))
                {
                    slot.part = None;
                }
            }
            self.emit(Event::Delta(Delta::Close { part }));
        }
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.queue.push_back(Output::Event(event));
    }
}

impl Slot {
    const fn is_text(&self) -> bool {
        matches!(self.kind, PartKind::Text) && self.choice == 0
    }
}

/// A slot that no decoder uses: text that was held and whose block is closed.
const NO_SLOT: u32 = u32::MAX;

/// `text`, sharing the chunk that it lies in; copied where it had to be unescaped or lies elsewhere.
fn shared(text: &str, chunk: &Bytes) -> Text {
    let (start, at) = (chunk.as_ptr() as usize, text.as_ptr() as usize);
    if at >= start && at + text.len() <= start + chunk.len() {
        let bytes = chunk.slice(at - start..at - start + text.len());
        return Text::from_utf8(bytes).unwrap_or_else(|_| Text::from(text));
    }
    Text::from(text)
}

/// Whether a repeated block can be the one that was delivered: ids differ from answer to answer.
fn same_block(before: &PartKind, again: &PartKind) -> bool {
    match (before, again) {
        (PartKind::ServerCall { name, .. }, PartKind::ServerCall { name: again, .. })
        | (PartKind::Opaque { name }, PartKind::Opaque { name: again }) => name == again,
        (PartKind::ServerResult { .. }, PartKind::ServerResult { .. }) => true,
        (before, again) => before == again,
    }
}

/// Whether the arguments of a call are whole. None at all means no arguments.
fn is_json(arguments: &str) -> bool {
    arguments.trim().is_empty() || serde_json::from_str::<IgnoredAny>(arguments).is_ok()
}
