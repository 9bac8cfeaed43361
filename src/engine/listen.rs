//! From what a provider says to what the caller hears.
//!
//! In: the signals of the attempt under way. Out: deltas, in the order in which the caller is to hear
//! them. Nothing is decided here but what is delivered when (`recovery.md` 3). Laws kept: *Fold*,
//! *Once*.

use std::mem;

use bytes::Bytes;

use super::attempt::{Live, Slot};
use super::decide::Ended;
use super::deliver::{is_json, shared};
use super::{End, Notice, Output, Recovery};
use crate::dialect::{Fault, FaultClass, Signal};
use crate::event::{
    Annotation, Cut, Delta, Event, FinishReason, Head, Join, PartKind, Resumption, Text,
};
use crate::policy::ToolDelivery;
use crate::seam::{Seam, Straddled, Verdict};

impl Recovery {
    pub(super) fn hear(&mut self, signal: Signal<'_>, chunk: &Bytes) {
        if self.ended.is_some() {
            return;
        }
        if self.is_past() {
            // What the provider still has to say is passed on, but for an error, which would cost the
            // client the answer that it has, and for what it would take for more of that.
            if !matches!(signal, Signal::Alive | Signal::Usage(_) | Signal::Terminal) {
                self.ended = Some(End::Complete);
            }
            return;
        }
        let Some(signal) = self.relayed(signal) else { return };
        match signal {
            Signal::Alive => {}
            Signal::Started { id, model } => self.on_started(id, model),
            Signal::Open { slot, choice, kind } => self.on_open(slot, choice, kind),
            Signal::Append { slot, text } => self.on_append(slot, &text, chunk),
            Signal::Annotate { slot, annotation } => self.on_annotate(slot, annotation),
            Signal::Close { slot } => self.on_close(slot),
            Signal::Usage(usage) => {
                self.live.iter_mut().for_each(|live| live.counted = live.generated);
                self.ledger.usage(usage);
            }
            Signal::Finish { reason } => self.on_finish(reason),
            Signal::Terminal => self.on_terminal(),
            Signal::Fault(fault) => self.on_fault(fault),
        }
    }

    pub(super) fn on_started(&mut self, id: Option<&str>, model: Option<&str>) {
        let Some(live) = &self.live else { return };
        let head = Head {
            attempt: Some(live.id),
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
        let reads_on = self.wire_reads_on();
        match self.live.as_mut().filter(|live| live.finish.is_some()) {
            Some(live) if reads_on => live.terminal = true,
            Some(_) => self.ended = Some(End::Complete),
            None => self.cut_by(Cut::Truncated),
        }
    }

    fn on_fault(&mut self, fault: Fault) {
        if self.is_finished() && fault.class != FaultClass::Policy {
            self.ended = Some(End::Complete);
        } else {
            self.cut(Ended { cut: Cut::Faulted, fault: Some(fault), transport: None });
        }
    }

    fn on_open(&mut self, slot: u32, choice: u32, kind: PartKind) {
        let kind = self.at_home(slot, kind);
        let Some(live) = &mut self.live else { return };
        live.last_said = self.now;
        let aside = matches!(kind, PartKind::Text | PartKind::Reasoning | PartKind::Refusal);
        // Redacted reasoning of a continuation has no place in a history of the caller's.
        let beside = live.is_ours() && matches!(kind, PartKind::RedactedReasoning);
        // What a repetition brings before it is past the delivered parts was delivered before.
        let repeats = !aside && !beside && live.is_repeating() && !live.repeats.is_empty();
        let muted = repeats || beside || live.foreign && is_private(&kind);
        if repeats && !live.repeats.pop().is_some_and(|before| same_block(&before, &kind)) {
            return self.cut_by(Cut::Diverged);
        }
        // What is not delivered does not come between the texts. What the provider's tools did before there was
        // any is delivered, and the text behind it goes on all the same; behind a call nothing does.
        let is_call = matches!(kind, PartKind::ToolCall { .. });
        let begun = live.seam.as_ref().is_none_or(Seam::has_begun);
        let ends_text = !muted && !aside && (is_call || begun);
        let bytes = SLOT_BYTES + name_len(&kind);
        let new = Slot {
            kind,
            choice,
            part: None,
            held: String::new(),
            notes: Vec::new(),
            muted,
            closed: false,
        };
        live.slots.insert(slot, new);
        self.charge(bytes);
        if ends_text {
            self.end_of_text();
        }
    }

    /// A block of an upstream of another dialect as the caller's dialect has it: a call by an id that a history
    /// may hold.
    fn at_home(&self, slot: u32, kind: PartKind) -> PartKind {
        let live = self.live.as_ref().filter(|live| live.foreign);
        match (kind, live, self.plan.dialect()) {
            (PartKind::ToolCall { id, name }, Some(live), Some(dialect)) => {
                let named = match &*id {
                    "" => format!("call_{}_{slot}", live.id.get()).into(),
                    _ => id,
                };
                PartKind::ToolCall { id: dialect.call_id(&named), name }
            }
            (kind, ..) => kind,
        }
    }

    fn on_append(&mut self, slot: u32, text: &str, chunk: &Bytes) {
        let live_tools = self.plan.policy.tools == ToolDelivery::Live;
        // An empty delta says nothing, however many come.
        let Some(live) = self.live.as_mut().filter(|_| !text.is_empty()) else {
            return;
        };
        live.last_said = self.now;
        if live.first_content.is_none() {
            live.first_content = Some(self.now);
            self.queue.push_back(Output::Notice(Notice::Answering { attempt: live.id }));
        }
        let Some(open) = live.slots.get_mut(&slot) else {
            return;
        };
        live.came += text.len();
        let made = !matches!(
            open.kind,
            PartKind::ServerResult { .. } | PartKind::Opaque { .. } | PartKind::RedactedReasoning
        );
        live.generated += if made { text.len() } else { 0 };
        if open.muted {
            return;
        }
        if open.is_whole(live_tools) {
            open.held.push_str(text);
            if open.is_call() {
                let notice = Notice::Progress { attempt: live.id, bytes: open.held.len() };
                self.queue.push_back(Output::Notice(notice));
            }
            self.charge(text.len());
        } else if matches!(open.kind, PartKind::Text) && open.choice == 0 {
            self.on_text(slot, text, chunk);
        } else {
            if open.is_call() {
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
            Verdict::Resolved { text, join, trimmed } => {
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
            let resumption =
                Resumption { attempt: live.id, upstream: live.upstream.clone(), by, join, trimmed };
            self.queue.push_back(Output::Notice(Notice::Resumed(resumption.clone())));
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
        // Where the text's own block is still open, what was noted on it goes with it.
        let is_text = |open: &Slot| matches!(open.kind, PartKind::Text) && open.choice == 0;
        let slot = live.slots.iter().rfind(|(_, open)| is_text(open));
        let slot = slot.map_or(NO_SLOT, |(slot, _)| *slot);
        let verdict = live.seam.as_mut().map(Seam::end);
        if let Some(verdict) = verdict {
            self.on_verdict(verdict, slot);
        }
        let straddle = self.live.as_mut().and_then(|live| live.straddle.take());
        if let Some(mut straddle) = straddle.filter(|_| self.ended.is_none()) {
            let text = straddle.end();
            if !text.is_empty() {
                self.deliver(slot, Text::from(text));
            }
        }
    }

    fn on_annotate(&mut self, slot: u32, annotation: Annotation) {
        let Some(live) = &mut self.live else { return };
        live.last_said = self.now;
        let joined = live.seam.is_none();
        let Some(open) = live.slots.get(&slot) else {
            return;
        };
        // No history of the caller's has a place for what another vendor notes; and a signature does not cover
        // what another attempt has said of the same text.
        let foreign = live.by.is_some() && matches!(open.kind, PartKind::Text);
        if live.foreign || foreign && matches!(annotation, Annotation::Signature(_)) {
            return;
        }
        let early = open.part.is_none() && !matches!(open.kind, PartKind::Reasoning);
        let bytes = match &annotation {
            Annotation::Signature(text) | Annotation::Citation(text) => text.len(),
        };
        // A citation of text that was said before, or is still held, would land on the wrong text.
        if open.muted || early && !joined || !self.charge(bytes) {
            return;
        }
        if early {
            let open = self.live.as_mut().and_then(|live| live.slots.get_mut(&slot));
            if let Some(open) = open {
                open.notes.push(annotation);
            }
        } else if let Some(part) = self.part_of(slot) {
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
                live.late.push((slot, Slot { closed: true, ..open }));
            }
            _ => self.deliver_call(open, false),
        }
    }

    fn close_text(&mut self, open: &Slot) {
        if let Some(part) = open.part {
            self.course.open_text.retain(|(_, text)| *text != part);
            self.emit(Event::Delta(Delta::Close { part }));
        }
    }

    /// Reasoning of a continuation is signed against a conversation that history will not contain, and that
    /// of another vendor by somebody whom nobody asks again.
    fn close_reasoning(&mut self, open: &Slot) {
        let beside = self.live.as_ref().is_some_and(Live::is_beside);
        if let Some(part) = open.part {
            let delta = if beside { Delta::Abandon { part } } else { Delta::Close { part } };
            self.emit(Event::Delta(delta));
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

    pub(super) fn on_finish(&mut self, reason: FinishReason) {
        if self.live.as_ref().is_none_or(|live| live.finish.is_some()) {
            return;
        }
        self.end_of_text();
        if self.ended.is_some() {
            return;
        }
        let Some(live) = &mut self.live else { return };
        let mut late = mem::take(&mut live.late);
        let unclosed: Vec<u32> =
            live.slots.iter().filter(|(_, slot)| slot.is_call()).map(|(id, _)| *id).collect();
        late.extend(unclosed.iter().filter_map(|id| Some((*id, live.slots.remove(id)?))));
        late.sort_by_key(|(slot, _)| *slot);
        live.finish = Some((reason.clone(), self.now));
        let attempt = live.id;
        for (_, call) in late {
            self.late_call(call);
        }
        if matches!(reason, FinishReason::Other(_)) {
            self.queue.push_back(Output::Notice(Notice::UnknownFinish { attempt, reason }));
        }
    }
}

/// Whether a block means something to its own vendor only.
const fn is_private(kind: &PartKind) -> bool {
    matches!(
        kind,
        PartKind::RedactedReasoning
            | PartKind::ServerCall { .. }
            | PartKind::ServerResult { .. }
            | PartKind::Opaque { .. }
    )
}

/// What a block costs to keep beside its content, about.
const SLOT_BYTES: usize = 128;

/// Bytes of the names that a block comes with.
fn name_len(kind: &PartKind) -> usize {
    match kind {
        PartKind::ToolCall { id, name } | PartKind::ServerCall { id, name } => {
            id.len() + name.len()
        }
        PartKind::ServerResult { call } => call.len(),
        PartKind::Opaque { name } => name.len(),
        PartKind::Text | PartKind::Reasoning | PartKind::Refusal | PartKind::RedactedReasoning => 0,
    }
}

/// A slot that no decoder uses: text that was held, whether or not its block is closed.
const NO_SLOT: u32 = u32::MAX;

/// Whether a repeated block can be the one that was delivered: ids differ from answer to answer.
fn same_block(before: &PartKind, again: &PartKind) -> bool {
    match (before, again) {
        (PartKind::ServerCall { name, .. }, PartKind::ServerCall { name: again, .. })
        | (PartKind::Opaque { name }, PartKind::Opaque { name: again }) => name == again,
        (PartKind::ServerResult { .. }, PartKind::ServerResult { .. }) => true,
        (before, again) => before == again,
    }
}
