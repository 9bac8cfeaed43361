//! From the end of an attempt to what comes next.
//!
//! In: how the attempt under way ended. Out: the loose ends, told to the caller; then the next
//! attempt, or the end of the reply. What is to be done is decided in `decide`; here it is done. Laws
//! kept: *Terminal*, *Spend*, *Truth*.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::ask::Otherwise;
use super::attempt::{Body, Live, without_mark};
use super::decide::{self, Circumstances, Ended, Move, Standing, Wait};
use super::ledger::Cause;
use super::open::Next;
use super::{Current, End, Notice, Output, Recovery, Refusal, State};
use crate::dialect::{Continuation, Cursor, Fault, FaultClass};
use crate::error::{ErrorKind, Rejection};
use crate::event::{
    Cut, Delta, Event, FinishReason, Interruption, Next as Told, PartKind, Position, Resume,
};
use crate::policy::Delivery;
use crate::report::Outcome;
use crate::transcript::{PartState, Progress};

/// An attempt that was cut, before it is decided what to do about it.
#[derive(Debug)]
pub(super) struct Fallen {
    pub(super) live: Live,
    pub(super) ended: Ended,
    pub(super) rejection: Option<Rejection>,
    /// Its request was adapted for its upstream.
    pub(super) adapted: bool,
}

impl Fallen {
    /// A continuation that we wrote was refused, or what we made of the caller's request: that is not what
    /// ails the reply.
    pub(super) fn is_ours(&self) -> bool {
        decide::is_ours(&self.ended, self.live.by.is_some())
            || self.adapted && decide::is_callers(&self.ended)
    }
}

/// A wait that the clock cannot express lasts this long: a year.
const FAR: Duration = Duration::from_secs(31_536_000);

impl Recovery {
    /// The attempt under way has ended and all that it said is handed out.
    pub(super) fn fall(&mut self) {
        let (Some(end), Some(mut live)) = (self.ended.take(), self.live.take()) else {
            return;
        };
        // What was denied was not sent: nothing is made for it.
        if !matches!(&end, End::Cut(ended) if ended.cut == Cut::Denied) {
            self.keep_running(live.finish.is_some());
        }
        let body = mem::replace(&mut self.body, Body::Awaited);
        live.irrevocable = self.wire_is_irrevocable(&live, &body) || self.relay_is_lost();
        if !live.over {
            self.queue.push_back(Output::Abort(live.id));
        }
        match (end, &live.finish) {
            (End::Complete, Some((reason, _))) => {
                let reason = reason.clone();
                self.complete(&live, reason, live.head_only);
            }
            (End::Cut(ended), Some((reason, _))) if !is_policy(&ended) => {
                let reason = reason.clone();
                self.complete(&live, reason, false);
            }
            (End::Stopped, _) => self.complete(&live, FinishReason::StopSequence, true),
            (End::Complete, None) => {
                let ended = Ended { cut: Cut::Truncated, fault: None, transport: None };
                self.loosen(live, ended, body);
            }
            (End::Cut(ended), _) => self.loosen(live, ended, body),
        }
    }

    /// Tells the caller what will never be complete; then it is time to decide.
    fn loosen(&mut self, live: Live, ended: Ended, body: Body) {
        self.wire_cut();
        self.keep_place(&live, &ended, &body);
        let (ended, rejection) = self.explain(ended, body, &live);
        let replay = self.replay_after(&ended, &live).is_some();
        self.course.held = self.course.held.saturating_sub(live.held());
        // A stream that is said again brings all that is not whole.
        let replay = replay && self.step.kept.is_none();
        let nothing = self.transcript.progress() == Progress::Nothing && !replay;
        let parts = self.transcript.parts();
        let answered = |id: &Arc<str>| {
            self.transcript
                .kept()
                .any(|part| matches!(part.kind(), PartKind::ServerResult { call } if call == id))
        };
        let loose: Vec<u32> = parts
            .iter()
            .zip(0_u32..)
            .filter(|(part, _)| part.state() != PartState::Abandoned)
            .filter(|(part, _)| {
                let open = part.state() == PartState::Open;
                nothing
                    || match part.kind() {
                        PartKind::Reasoning => open || part.signature().is_none() && !replay,
                        PartKind::ToolCall { .. } | PartKind::Refusal => open,
                        PartKind::ServerCall { id, .. } => !answered(id) && !replay,
                        _ => false,
                    }
            })
            .map(|(_, index)| index)
            .collect();
        for part in loose {
            self.emit(Event::Delta(Delta::Abandon { part }));
        }
        self.state = State::Settling(Box::new(Fallen {
            live,
            ended,
            rejection,
            adapted: self.step.adapted,
        }));
    }

    /// The answer comes from its start, of the same model or of somebody else: reasoning that was finished, and
    /// waited for a replay to go on behind it, is no part of that.
    pub(super) fn let_go(&mut self) {
        let parts = self.transcript.parts().iter().zip(0_u32..);
        let kept = parts.filter(|(part, _)| part.state() != PartState::Abandoned);
        let kept: Vec<u32> = kept.map(|(_, index)| index).collect();
        for part in kept {
            self.emit(Event::Delta(Delta::Abandon { part }));
        }
    }

    /// Where the provider's own replay would go on from here.
    fn keep_place(&mut self, live: &Live, ended: &Ended, body: &Body) {
        self.keep_stored(live, body);
        if let Some(kept) = &self.step.kept {
            // What broke otherwise would break again: it is the same bytes.
            let lost = matches!(ended.cut, Cut::Reset | Cut::Truncated | Cut::Stalled { .. });
            let usable = lost && !matches!(body, Body::Other { .. });
            self.step.cursor = usable.then(|| kept.clone());
            return;
        }
        let Body::Stream(wire) = body else { return };
        // What is held back in a seam, or behind a call that is not whole, is behind that place.
        let usable =
            !live.is_ours() && !self.relays() && live.late.is_empty() && ended.cut != Cut::Faulted;
        self.step.cursor = wire.decoder.cursor().filter(|_| usable);
    }

    /// The place of an answer that its provider stores, and that can be fetched when it is finished.
    fn keep_stored(&mut self, live: &Live, body: &Body) {
        let Body::Stream(wire) = body else { return };
        let stored = live.by.is_none()
            && !self.relays()
            && self.upstream().dialect.stores(&self.step.request);
        if let Some(id) = wire.decoder.generation().filter(|_| stored) {
            self.step.kept = Some(Cursor::new(id, "0"));
        }
    }

    /// That replay, unless `ended` says that it is not to be had.
    fn replay_after(&self, ended: &Ended, live: &Live) -> Option<(Resume, Continuation)> {
        let gone = decide::is_ours(ended, live.by.is_some());
        self.replay().filter(|_| !gone)
    }

    /// What a response that is no stream says about the end.
    fn explain(&self, ended: Ended, body: Body, live: &Live) -> (Ended, Option<Rejection>) {
        let Body::Other { head, body } = body else {
            let body = live.fault.clone().unwrap_or_default();
            let said = Rejection { status: StatusCode::OK, headers: HeaderMap::new(), body };
            return (ended, live.fault.is_some().then_some(said));
        };
        let mut fault =
            self.upstream().dialect.classify(head.status, &head.headers, without_mark(&body));
        // That can only be heeded once, and only where something asks for it.
        if fault.class == FaultClass::ReplayRefused && !self.is_kept() {
            fault.class = FaultClass::Invalid;
        }
        // What is not to be had whole is asked for in another way, whatever the reason.
        if live.again {
            fault = Fault::new(FaultClass::Invalid);
        }
        if head.status.is_success() {
            let known = fault.class != FaultClass::NoError;
            let cut = if known { Cut::Faulted } else { Cut::Garbled };
            let ended = Ended { cut, fault: known.then_some(fault), transport: None };
            let (status, headers, body) = (head.status, head.headers, Bytes::from(body));
            return (ended, known.then_some(Rejection { status, headers, body }));
        }
        let cut = Cut::Rejected { status: head.status, retry_after: fault.retry_after };
        let rejection =
            Rejection { status: head.status, headers: head.headers, body: Bytes::from(body) };
        (Ended { cut, fault: Some(fault), transport: None }, Some(rejection))
    }

    /// Whether the request asks that its generation be kept to be replayed by us.
    fn is_kept(&self) -> bool {
        !self.plan.head_only && self.upstream().dialect.unkept(&self.step.request).is_some()
    }

    /// Decides, and does what was decided.
    pub(super) fn settle(&mut self) {
        let State::Settling(fallen) = mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        let Fallen { live, ended, rejection, adapted } = *fallen;
        if ended.cut != Cut::Denied {
            let code = ended.fault.as_ref().and_then(|fault| fault.code.clone());
            let cause = Cause { code, transport: ended.transport };
            self.close(Outcome::Cut(ended.cut), cause, &live);
            self.clocks.last_new.get_or_insert(self.now);
            self.course.fresh_connection =
                matches!(ended.cut, Cut::Stalled { .. } | Cut::Reset | Cut::Unreachable);
            if !decide::costs_nothing(&ended, live.by.is_some(), self.course.stale_used) {
                // A replay that ends is one of an answer that is still being made.
                let attached = self.is_attached(&live);
                let barren = !live.fresh && !decide::is_running(&ended, attached);
                self.course.failures += 1;
                self.course.after_barren = barren;
                self.step.barren =
                    if live.fresh { 0 } else { self.step.barren + u32::from(barren) };
            }
        }
        let todo = decide::decide(&ended, &self.standing(&live, &ended));
        if ended.cut != Cut::Denied {
            let known = Circumstances {
                wrote: live.by.is_some(),
                attached: self.is_attached(&live),
                fresh: live.fresh,
                stale_used: self.course.stale_used,
                on_behalf: self.upstream().on_behalf,
                again: self.is_affordable(&todo),
                blamed: self.is_blamed(&live),
            };
            let verdict = decide::verdict(&ended, known);
            self.tell_ended(&live, Some(decide::error_kind(&ended)), verdict);
        }
        self.tell(&live, &ended);
        // A client of the wire view could not read what another vendor's error says.
        let rejection = rejection.filter(|_| self.wire.is_none() || !live.foreign);
        let fallen = Fallen { live, ended, rejection, adapted };
        if !fallen.is_ours() && fallen.ended.cut != Cut::Denied {
            self.course.ailment = Some((fallen.ended.clone(), fallen.rejection.clone()));
        }
        match todo {
            Move::FinishTools => self.finish_inferred(&fallen, FinishReason::ToolUse),
            Move::FinishLength => self.finish_inferred(&fallen, FinishReason::Length),
            Move::GiveUp { exhausted } => self.give_up(fallen, exhausted),
            Move::NextStep { exhausted } => self.next_step(fallen, exhausted),
            Move::Again(wait) => {
                // A dead reused connection is replaced once, by one of its own.
                self.course.stale_used |= wait == Wait::Free;
                self.course.fresh_connection |= wait == Wait::Free;
                self.again(fallen, wait);
            }
            Move::Down { free } => {
                if free && fallen.live.by == Some(Resume::Cursor) {
                    // Refused: the provider has it no longer.
                    self.running = None;
                }
                let fault = fallen.ended.fault.as_ref().map(|fault| fault.class);
                if fault == Some(FaultClass::ReplayRefused) {
                    self.step.unkeep();
                } else {
                    self.step.refused.extend(fallen.live.by);
                }
                self.again(fallen, if free { Wait::Free } else { Wait::None });
            }
        }
    }

    /// Whether the attempt was a replay by its provider.
    fn is_attached(&self, live: &Live) -> bool {
        self.relays() || live.by == Some(Resume::Cursor)
    }

    /// Whether `todo` is another attempt on this step that the limits of the reply allow.
    fn is_affordable(&self, todo: &Move) -> bool {
        match todo {
            Move::Again(_) | Move::Down { .. } => {
                self.ledger.counted() < self.plan.policy.max_attempts
            }
            _ => false,
        }
    }

    fn standing(&self, live: &Live, ended: &Ended) -> Standing {
        let policy = &self.plan.policy;
        let limit = self.step.outline.max_tokens;
        let spent = self.ledger.reported_output();
        Standing {
            progress: self.transcript.progress(),
            wrote: live.by.is_some(),
            attached: self.is_attached(live),
            adapted: self.step.adapted,
            replay: self.replay_after(ended, live).is_some(),
            resumable: self.is_resumable(),
            has_next: self.has_next_step(),
            barren: self.step.barren,
            barren_max: policy.max_attempts_without_progress,
            retry_after_max: policy.retry_after_max,
            failures: self.course.failures,
            stale_used: self.course.stale_used,
            irrevocable: live.irrevocable,
            at_length: spent.zip(limit).is_some_and(|(spent, limit)| spent >= limit),
        }
    }

    /// The request asks for one choice, so that it can be continued, and the caller wants that.
    pub(super) fn is_resumable(&self) -> bool {
        self.plan.policy.resume && self.step.outline.choices <= 1
    }

    /// Another step could have its turn.
    pub(super) fn has_next_step(&self) -> bool {
        let later = &mut self.plan.chain.iter().zip(0..).skip(self.step.index + 1);
        later.any(|(step, index)| match step.upstream() {
            Some(_) => Current::enter(&self.plan, index, 0).is_ok(),
            None => self.is_own_turn(index),
        })
    }

    /// What operators should hear about the cut.
    fn tell(&mut self, live: &Live, ended: &Ended) {
        let Some(fault) = &ended.fault else { return };
        let upstream = Arc::clone(&live.upstream);
        match (fault.class, live.by) {
            (FaultClass::Auth | FaultClass::Billing, _) => {
                let class = fault.class;
                self.queue.push_back(Output::Notice(Notice::Account { upstream, class }));
            }
            (FaultClass::PrefillRefused, Some(by @ Resume::Prefill)) => {
                let refusal = Refusal { upstream, model: Arc::clone(&live.model), by };
                self.queue.push_back(Output::Notice(Notice::Refused(refusal)));
            }
            (FaultClass::ReplayRefused, _) => {
                let (model, by) = (Arc::clone(&live.model), Resume::Cursor);
                let refusal = Refusal { upstream, model, by };
                self.queue.push_back(Output::Notice(Notice::Refused(refusal)));
            }
            _ => {}
        }
    }

    /// Another attempt on this step, by the best rung that is left.
    fn again(&mut self, fallen: Fallen, wait: Wait) {
        let by = match self.transcript.progress() {
            Progress::Nothing => self.replay(),
            _ => match self.best_rung(&self.step) {
                Some(rung) => Some(rung),
                None => return self.next_step(fallen, false),
            },
        };
        let delay = match wait {
            Wait::None | Wait::Free => Duration::ZERO,
            Wait::For(delay) => delay,
            Wait::Backoff => self.delays.next().unwrap_or_default(),
        };
        let next = Next { by, free: wait == Wait::Free, delay, ..Next::first() };
        let told = match &next.by {
            None => Told::Retry,
            Some((by, _)) => Told::Resume { by: *by },
        };
        self.schedule(fallen, next, told);
    }

    /// The steps that were asked in place of another attempt had no answer: what is done without them.
    pub(super) fn decide_again(&mut self, fallen: Fallen, exhausted: bool) {
        match decide::decide(&fallen.ended, &self.standing(&fallen.live, &fallen.ended)) {
            Move::Again(wait) => self.again(fallen, wait),
            _ => self.next_step(fallen, exhausted),
        }
    }

    /// The first step after this one that can go on.
    fn next_step(&mut self, fallen: Fallen, exhausted: bool) {
        let nothing = self.transcript.progress() == Progress::Nothing;
        let astray = fallen.ended.cut == Cut::Diverged;
        for index in self.step.index + 1..self.plan.chain.len() {
            if self.is_own_turn(index) {
                return self.take_turn(index, Otherwise::NextStep { fallen, exhausted });
            }
            let step = match Current::enter(&self.plan, index, self.course.next_part) {
                Ok(step) => step,
                Err(unfit) => {
                    self.pass_over(index, unfit);
                    continue;
                }
            };
            let by = if nothing { None } else { self.best_rung(&step) };
            let useful = match &by {
                None => nothing,
                Some((by, _)) => !astray || *by != Resume::Align,
            };
            if useful {
                // Nothing is fetched any more of what we had kept there, whatever comes of the next one.
                if self.step.kept.is_some() {
                    self.release_superseded();
                }
                self.step = step;
                let told = Told::Step {
                    upstream: Arc::clone(&self.upstream().name),
                    by: by.as_ref().map(|(by, _)| *by),
                };
                // The first request to another upstream is one like any other, and not one of the retries
                // that its budget is for; and what was denied cost nothing.
                let other = self.upstream().name != fallen.live.upstream;
                let unbudgeted = other || fallen.ended.cut == Cut::Denied;
                let next = Next { by, unbudgeted, ..Next::first() };
                return self.schedule(fallen, next, told);
            }
        }
        self.start_over_or_give_up(fallen, exhausted);
    }

    /// Nothing can continue what was delivered; a caller who lets it be taken back gets it anew.
    fn start_over_or_give_up(&mut self, fallen: Fallen, exhausted: bool) {
        let retractable = self.plan.policy.delivery == Delivery::Retractable
            && self.plan.policy.resume
            && !exhausted
            && self.transcript.progress() == Progress::Resumable
            && (fallen.ended.cut == Cut::Diverged || fallen.is_ours());
        if !retractable {
            return self.give_up(fallen, exhausted);
        }
        let next = Next { anew: true, ..Next::first() };
        self.schedule(fallen, next, Told::Retry);
    }

    /// Puts the next attempt on, if the limits of the whole reply allow it.
    fn schedule(&mut self, fallen: Fallen, next: Next, told: Told) {
        let policy = &self.plan.policy;
        let spent = !next.free && self.ledger.counted() >= policy.max_attempts;
        if spent && self.is_committed() {
            return self.finish_inferred(&fallen, FinishReason::ToolUse);
        }
        if spent {
            return self.without_attempt(fallen);
        }
        let stop = policy.keep_going.as_ref().is_some_and(|hook| !hook.ask(self.ledger.report()));
        if stop && self.is_committed() {
            return self.finish_inferred(&fallen, FinishReason::ToolUse);
        }
        if stop {
            self.interrupted(&fallen, Told::GiveUp, Duration::ZERO);
            return self.fail(ErrorKind::NoProgress);
        }
        self.interrupted(&fallen, told, next.delay);
        // Not before it is certain that there is an attempt to say it anew.
        if next.by.is_none() && !next.anew {
            self.let_go();
        }
        if next.anew {
            self.ledger.rewound();
            self.course.open_text.clear();
            self.emit(Event::Rewind(Position::default()));
        }
        let due = self.now.checked_add(next.delay);
        self.clocks.resume_at = due.or_else(|| self.now.checked_add(FAR));
        self.state = State::Waiting(next);
    }

    pub(super) fn interrupted(&mut self, fallen: &Fallen, next: Told, delay: Duration) {
        if fallen.ended.cut == Cut::Denied {
            return;
        }
        let interruption = Interruption {
            attempt: fallen.live.id,
            upstream: Arc::clone(&fallen.live.upstream),
            cut: fallen.ended.cut,
            transport: fallen.ended.transport,
            next,
            delay,
        };
        self.queue.push_back(Output::Notice(Notice::Interrupted(interruption.clone())));
        self.emit(Event::Interrupted(interruption));
    }
}

fn is_policy(ended: &Ended) -> bool {
    ended.fault.as_ref().is_some_and(|fault| fault.class == FaultClass::Policy)
}
