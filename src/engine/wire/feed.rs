//! What of a reply reaches its client's stream, and when.
//!
//! In: frames, events and ends, as the engine meets them. Out: [`Output::Wire`]. Nothing here knows what
//! a frame says.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::super::attempt::{Body, Live, Slot};
use super::super::decide::Ended;
use super::super::{Output, Plan, Recovery, Step};
use super::Wire;
use crate::error::{Error, ErrorKind};
use crate::event::{Cut, Event, Resume, Timer};
use crate::policy::{ToolDelivery, WIRE_KEEP_ALIVE};
use crate::sse;

impl Recovery {
    /// A stream for a client of the first upstream's dialect, if one is wanted.
    pub(in crate::engine) fn wire_of(plan: &Plan, now: Instant) -> Option<Wire> {
        let options = plan.wire?;
        let first = plan.chain.iter().find_map(Step::upstream)?;
        let writer = first.dialect.writer(&plan.request);
        let wire = Wire::new(writer, Arc::clone(&first.dialect), options.reasoning, now);
        Some(if plan.replay { wire.relaying() } else { wire })
    }

    pub(in crate::engine) fn wire_attempt(&mut self, by: Option<Resume>) {
        let dialect = self.upstream().dialect.name();
        if let Some(wire) = &mut self.wire {
            wire.attempt(dialect, by);
        }
    }

    /// Bytes of the stream were read that end no event. `between`: no event has begun in them.
    pub(in crate::engine) fn wire_piece(&mut self, raw: &[u8], between: bool, unnamed: bool) {
        let holding = self.wire_behind(unnamed);
        let Some(wire) = self.wire.as_mut() else { return };
        let bytes = wire.piece(raw, between, holding, self.ledger.report());
        self.write(bytes);
        self.wire_limit();
    }

    /// An event was read: `through`, if nothing speaks against handing its frame on. `unnamed`: the
    /// decoder holds something of a call.
    pub(in crate::engine) fn wire_frame(
        &mut self,
        raw: Bytes,
        event: &sse::Event<'_>,
        through: bool,
        unnamed: bool,
    ) {
        if !through {
            self.wire.iter_mut().for_each(|wire| wire.partial.clear());
            return;
        }
        let holding = self.wire_behind(unnamed);
        let Some(wire) = self.wire.as_mut() else { return };
        let bytes = wire.frame(raw, event, holding, self.ledger.report());
        self.write(bytes);
        self.wire_limit();
    }

    /// What [`wire_holding`](Self::wire_holding) says now that something has been read, which may be a call behind
    /// the end of the answer.
    pub(in crate::engine) fn wire_behind(&mut self, unnamed: bool) -> Option<bool> {
        let holding = self.wire_holding(unnamed);
        let behind = self.is_finished() && holding.is_some();
        if let Some(wire) = &mut self.wire {
            wire.behind = behind;
        }
        holding
    }

    /// What waits is kept, and counts as what is kept.
    fn wire_limit(&mut self) {
        let Some(wire) = &self.wire else { return };
        let policy = &self.plan.policy;
        let over = self.course.held.saturating_add(wire.waiting) > policy.answer_max
            || wire.partial.len() > policy.event_max;
        if over {
            self.cut(Ended { cut: Cut::OverLimit, fault: None, transport: None });
        }
    }

    /// Whether a block is open that goes out when it is whole, or one that nothing has come of; none once
    /// the answer is complete and no call has begun behind its end.
    fn wire_holding(&self, unnamed: bool) -> Option<bool> {
        let live = self.live.as_ref().filter(|_| self.wire.is_some())?;
        let live_tools = self.plan.policy.tools == ToolDelivery::Live;
        if live.finish.is_some() {
            // A call that begins behind the end is none before it is whole.
            let begun = unnamed || live.slots.values().any(Slot::is_call) || !live.late.is_empty();
            return (begun && !live_tools).then_some(true);
        }
        let waits =
            |slot: &Slot| slot.is_whole(live_tools) || slot.part.is_none() && !slot.is_call();
        let open = live.slots.values().any(waits);
        Some(open || !live_tools && (unnamed || !live.late.is_empty()))
    }

    /// Whether the end of this attempt leaves a piece of a call with a client that cannot take it back.
    pub(in crate::engine) fn wire_is_irrevocable(&self, live: &Live, body: &Body) -> bool {
        let unnamed = matches!(body, Body::Stream(stream) if stream.decoder.holds());
        let begun = unnamed || live.slots.values().any(Slot::is_call) || !live.late.is_empty();
        begun && self.wire_reads_on() && self.plan.policy.tools == ToolDelivery::Live
    }

    /// What follows is said by nobody upstream.
    pub(in crate::engine) fn wire_speaks(&mut self, speaker: &str) {
        let mut out = Vec::new();
        if let Some(wire) = &mut self.wire {
            wire.speaks(speaker, &mut out);
        }
        self.write(out.into());
    }

    /// What `event` brings to the client beside the frames that go through.
    pub(in crate::engine) fn wire_event(&mut self, event: &Event) {
        let mut out = Vec::new();
        if let Some(wire) = &mut self.wire {
            wire.tell(event, self.ledger.report(), &mut out);
            if let Event::Finished(finish) = event {
                wire.finish(finish, self.ledger.report(), &mut out);
            }
        }
        self.write(out.into());
    }

    pub(in crate::engine) fn wire_cut(&mut self) {
        let mut out = Vec::new();
        if let Some(wire) = &mut self.wire {
            wire.cut(self.ledger.report(), &mut out);
        }
        self.write(out.into());
    }

    /// What has come of the last event is none.
    pub(in crate::engine) fn wire_torn(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.partial.clear();
            wire.ended = false;
        }
    }

    pub(in crate::engine) fn wire_ended(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.ended = true;
        }
    }

    /// Whether nothing is out yet, and the response can still be anything.
    pub(in crate::engine) fn wire_is_unused(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| !wire.out)
    }

    /// Whether frames go through to the end of the upstream's stream, past its terminal marker.
    pub(in crate::engine) fn wire_reads_on(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.verbatim)
    }

    /// The last word of a stream of which something is out and that cannot be completed: the provider's own error
    /// where it gave one.
    pub(in crate::engine) fn wire_failed(&mut self, error: &Error) {
        let Some(wire) = self.wire.as_mut().filter(|_| error.kind() != ErrorKind::Canceled) else {
            return;
        };
        let mut out = Vec::new();
        let unsettled = mem::take(&mut wire.unsettled);
        wire.said.retain(|delta| !unsettled.contains(&delta.part()));
        wire.cut(self.ledger.report(), &mut out);
        if wire.out || !out.is_empty() {
            let rejection = error.rejection().map(|rejection| &rejection.body);
            let said = error.fault_body().or(rejection);
            let own = said.and_then(|body| wire.dialect.failure_in(body));
            let failure = own.unwrap_or_else(|| {
                wire.dialect.failure(error.kind(), error.code(), &error.to_string())
            });
            out.extend_from_slice(&wire.dialect.failure_frame(&failure));
        }
        self.write(out.into());
    }

    /// When the client gets a sign of life.
    pub(in crate::engine) fn wire_deadline(&self) -> Option<(Instant, Timer)> {
        let at = self.wire.as_ref()?.written.checked_add(WIRE_KEEP_ALIVE)?;
        Some((at, Timer::KeepAlive))
    }

    pub(in crate::engine) fn wire_keep_alive(&mut self) {
        let unnamed = match &self.body {
            Body::Stream(stream) => stream.decoder.holds(),
            _ => false,
        };
        let holding = self.wire_holding(unnamed).unwrap_or(false);
        let mut out = Vec::new();
        if let Some(wire) = &mut self.wire {
            wire.keep_alive(holding, self.ledger.report(), &mut out);
        }
        self.write(out.into());
    }

    fn write(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        if let Some(wire) = &mut self.wire {
            wire.written = self.now;
            wire.out = true;
        }
        self.queue.push_back(Output::Wire(bytes));
    }
}
