//! From the end of an attempt to what comes next.
//!
//! In: how the attempt under way ended. Out: the loose ends, told to the caller; then the next
//! attempt, or the end of the reply. What is to be done is decided in `decide`; here it is done. Laws
//! kept: *Terminal*, *Spend*, *Truth*.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

use super::attempt::{Body, Live};
use super::decide::{self, Ended, Move, Standing, Wait};
use super::ledger::Entry;
use super::{Attempt, End, Notice, Output, Plan, Recovery, Refusal, State, Step};
use crate::dialect::{Continuation, FaultClass, InvalidRequest, Rewrite};
use crate::error::{Error, ErrorKind, Rejection};
use crate::event::{
    Connection, Cut, Delta, Event, Finish, FinishReason, Interruption, PartKind, Position, Resume,
};
use crate::policy::Delivery;
use crate::report::{Outcome, Report};
use crate::seam::{Seam, Straddle};
use crate::transcript::{PartState, Progress, Transcript};

/// An attempt that was cut, before it is decided what to do about it.
#[derive(Debug)]
pub(super) struct Fallen {
    live: Live,
    ended: Ended,
    rejection: Option<Rejection>,
}

/// The attempt to be opened next.
#[derive(Debug)]
pub(super) struct Next {
    by: Option<(Resume, Continuation)>,
    free: bool,
    delay: Duration,
}

impl Next {
    pub(super) const fn first() -> Self {
        Self {
            by: None,
            free: false,
            delay: Duration::ZERO,
        }
    }
}

impl Step {
    /// The state of step `index` before its first attempt.
    pub(super) fn enter(plan: &Plan, index: usize) -> Result<Self, Error> {
        let invalid = |cause: InvalidRequest| {
            let error = Error::new(
                ErrorKind::InvalidRequest,
                Transcript::new(),
                Report::default(),
            );
            error.caused_by(cause)
        };
        let Some(upstream) = plan.chain.get(index) else {
            let error = Error::new(
                ErrorKind::InvalidRequest,
                Transcript::new(),
                Report::default(),
            );
            return Err(error.caused_by(crate::error::ConfigError::NoStep));
        };
        upstream.dialect.check(&plan.request).map_err(invalid)?;
        let request = upstream.prepare(&plan.request);
        let outline = upstream.dialect.outline(&request);
        let capabilities = upstream.capabilities(&outline);
        let here = |refusal: &&Refusal| {
            refusal.upstream == upstream.name && refusal.model == outline.model
        };
        let refused = plan
            .refused
            .iter()
            .filter(here)
            .map(|refusal| refusal.by)
            .collect();
        Ok(Self {
            index,
            request: Arc::new(request),
            outline,
            capabilities,
            refused,
            barren: 0,
        })
    }
}

impl Recovery {
    /// Sends the next attempt.
    pub(super) fn open(&mut self, next: Next) {
        let upstream = self.upstream().clone();
        let model = Arc::clone(&self.step.outline.model);
        let (by, request, seam, straddle) = match next.by {
            None => (None, Arc::clone(&self.step.request), None, None),
            Some((by, continuation)) => {
                let said = self.transcript.text();
                let straddle = match by {
                    Resume::Prefill | Resume::Instruct | Resume::Quote => {
                        Straddle::new(&said, &self.step.outline.stops)
                    }
                    Resume::Align | Resume::Cursor => None,
                };
                let seam = Seam::new(&said, continuation.expect);
                (
                    Some(by),
                    Arc::new(continuation.request),
                    Some(seam),
                    straddle,
                )
            }
        };
        let entry = Entry {
            upstream: Arc::clone(&upstream.name),
            model: Arc::clone(&model),
            by,
            free: next.free,
            delay: next.delay,
        };
        let id = self.ledger.open(self.now, entry);
        let fresh = mem::take(&mut self.course.fresh_connection);
        let body = serde_json::to_vec(&*request).unwrap_or_default();
        let mut http = http::Request::new(Bytes::from(body));
        *http.method_mut() = Method::POST;
        *http.uri_mut() = upstream.uri.clone();
        *http.headers_mut() = upstream.headers.clone();
        self.queue.push_back(Output::Notice(Notice::Opened {
            attempt: id,
            upstream: Arc::clone(&upstream.name),
            model: Arc::clone(&model),
            by,
        }));
        self.queue.push_back(Output::Open(Box::new(Attempt {
            id,
            upstream: Arc::clone(&upstream.name),
            model: Arc::clone(&model),
            by,
            request: http,
            connection: if fresh {
                Connection::Fresh
            } else {
                Connection::Any
            },
            budgeted: self.course.after_barren && !next.free,
        })));
        self.body = Body::Awaited;
        self.live = Some(Live {
            id,
            upstream: upstream.name,
            model,
            by,
            opened: self.now,
            first_byte: false,
            last_byte: self.now,
            last_said: self.now,
            seam,
            straddle,
            slots: std::collections::BTreeMap::new(),
            join: None,
            repeats: if by.is_some() {
                self.repeatable()
            } else {
                Vec::new()
            },
            late: Vec::new(),
            finish: None,
            usage: None,
            over: false,
            came: 0,
            delivered: 0,
            fresh: false,
        });
        self.state = State::Attempting;
    }

    /// What a repetition of the answer would bring again beside its text, the first one last.
    fn repeatable(&self) -> Vec<PartKind> {
        let whole = |kind: &PartKind| {
            !matches!(
                kind,
                PartKind::Text | PartKind::Reasoning | PartKind::Refusal
            )
        };
        let mut kinds: Vec<PartKind> = self
            .transcript
            .kept()
            .map(|part| part.kind().clone())
            .filter(whole)
            .collect();
        kinds.reverse();
        kinds
    }

    pub(super) fn open_waiting(&mut self) {
        if let State::Waiting(next) = mem::replace(&mut self.state, State::Idle) {
            self.clocks.resume_at = None;
            self.open(next);
        }
    }

    /// The attempt under way has ended and all that it said is handed out.
    pub(super) fn fall(&mut self) {
        let (Some(end), Some(live)) = (self.ended.take(), self.live.take()) else {
            return;
        };
        let body = mem::replace(&mut self.body, Body::Awaited);
        if !live.over {
            self.queue.push_back(Output::Abort(live.id));
        }
        match (end, &live.finish) {
            (End::Complete, Some((reason, _))) => {
                let reason = reason.clone();
                self.complete(&live, reason, false);
            }
            (End::Cut(ended), Some((reason, _))) if !is_policy(&ended) => {
                let reason = reason.clone();
                self.complete(&live, reason, false);
            }
            (End::Stopped, _) => self.complete(&live, FinishReason::StopSequence, true),
            (End::Complete, None) => {
                let ended = Ended {
                    cut: Cut::Truncated,
                    fault: None,
                    transport: None,
                };
                self.loosen(live, ended, body);
            }
            (End::Cut(ended), _) => self.loosen(live, ended, body),
        }
    }

    /// Tells the caller what will never be complete; then it is time to decide.
    fn loosen(&mut self, live: Live, ended: Ended, body: Body) {
        let (ended, rejection) = self.explain(ended, body);
        let nothing = self.transcript.progress() == Progress::Nothing;
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
                        PartKind::Reasoning => open || part.signature().is_none(),
                        PartKind::ToolCall { .. } | PartKind::Refusal => open,
                        PartKind::ServerCall { id, .. } => !answered(id),
                        _ => false,
                    }
            })
            .map(|(_, index)| index)
            .collect();
        for part in loose {
            self.course.open_text.retain(|(_, text)| *text != part);
            self.emit(Event::Delta(Delta::Abandon { part }));
        }
        self.state = State::Settling(Box::new(Fallen {
            live,
            ended,
            rejection,
        }));
    }

    /// What a response that is no stream says about the end.
    fn explain(&self, ended: Ended, body: Body) -> (Ended, Option<Rejection>) {
        let Body::Other { head, body } = body else {
            return (ended, None);
        };
        let fault = self
            .upstream()
            .dialect
            .classify(head.status, &head.headers, &body);
        if head.status.is_success() {
            let known = fault.class != FaultClass::Unrecognised;
            let cut = if known { Cut::Faulted } else { Cut::Garbled };
            return (
                Ended {
                    cut,
                    fault: known.then_some(fault),
                    transport: None,
                },
                None,
            );
        }
        let cut = Cut::Rejected {
            status: head.status,
            retry_after: fault.retry_after,
        };
        let rejection = Rejection {
            status: head.status,
            headers: head.headers,
            body: Bytes::from(body),
        };
        (
            Ended {
                cut,
                fault: Some(fault),
                transport: None,
            },
            Some(rejection),
        )
    }

    /// Decides, and does what was decided.
    pub(super) fn settle(&mut self) {
        let State::Settling(fallen) = mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        let Fallen {
            live,
            ended,
            rejection,
        } = *fallen;
        let code = ended.fault.as_ref().and_then(|fault| fault.code.clone());
        if ended.cut != Cut::Denied {
            let outcome = Outcome::Cut(ended.cut);
            self.ledger
                .close(self.now, outcome, code, live.came, live.delivered);
            self.course.failures += 1;
            self.course.after_barren = !live.fresh;
            self.step.barren = if live.fresh { 0 } else { self.step.barren + 1 };
            self.clocks.last_new.get_or_insert(self.now);
        }
        self.course.fresh_connection = matches!(
            ended.cut,
            Cut::Stalled { .. } | Cut::Reset | Cut::Unreachable
        );
        self.tell(&live, &ended);
        let todo = decide::decide(&ended, &self.standing(&live));
        let fallen = Fallen {
            live,
            ended,
            rejection,
        };
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
                self.step.refused.extend(fallen.live.by);
                self.again(fallen, if free { Wait::Free } else { Wait::None });
            }
        }
    }

    fn standing(&self, live: &Live) -> Standing {
        let policy = &self.plan.policy;
        let limit = self.step.outline.max_tokens;
        let spent = self.ledger.reported_output();
        Standing {
            progress: self.transcript.progress(),
            wrote: live.by.is_some(),
            resumable: policy.resume && self.step.outline.choices <= 1,
            has_next: self.has_next_step(),
            barren: self.step.barren,
            barren_max: policy.max_attempts_without_progress,
            retry_after_max: policy.retry_after_max,
            failures: self.course.failures,
            stale_used: self.course.stale_used,
            at_length: spent
                .zip(limit)
                .is_some_and(|(spent, limit)| spent >= limit),
        }
    }

    pub(super) fn has_next_step(&self) -> bool {
        self.step.index + 1 < self.plan.chain.len()
    }

    /// What operators should hear about the cut.
    fn tell(&mut self, live: &Live, ended: &Ended) {
        let Some(fault) = &ended.fault else { return };
        let upstream = Arc::clone(&live.upstream);
        match (fault.class, live.by) {
            (FaultClass::Auth | FaultClass::Billing, _) => {
                let class = fault.class;
                self.queue
                    .push_back(Output::Notice(Notice::Account { upstream, class }));
            }
            (FaultClass::PrefillRefused, Some(by)) => {
                let refusal = Refusal {
                    upstream,
                    model: Arc::clone(&live.model),
                    by,
                };
                self.queue
                    .push_back(Output::Notice(Notice::Refused(refusal)));
            }
            _ => {}
        }
    }

    /// Another attempt on this step, by the best rung that is left.
    fn again(&mut self, fallen: Fallen, wait: Wait) {
        let by = match self.transcript.progress() {
            Progress::Nothing => None,
            _ => match self.best_rung() {
                Some(rung) => Some(rung),
                None => return self.next_step(fallen, false),
            },
        };
        let delay = match wait {
            Wait::None | Wait::Free => Duration::ZERO,
            Wait::For(delay) => delay,
            Wait::Backoff => self.delays.next().unwrap_or_default(),
        };
        let next = Next {
            by,
            free: wait == Wait::Free,
            delay,
        };
        let told = match &next.by {
            None => crate::event::Next::Retry,
            Some((by, _)) => crate::event::Next::Resume { by: *by },
        };
        self.schedule(fallen, next, told);
    }

    /// The first step after this one that can go on.
    fn next_step(&mut self, fallen: Fallen, exhausted: bool) {
        let nothing = self.transcript.progress() == Progress::Nothing;
        let astray = fallen.ended.cut == Cut::Diverged;
        for index in self.step.index + 1..self.plan.chain.len() {
            let Ok(step) = Step::enter(&self.plan, index) else {
                continue;
            };
            let before = mem::replace(&mut self.step, step);
            let by = if nothing { None } else { self.best_rung() };
            let useful = match &by {
                None => nothing,
                Some((by, _)) => !astray || *by != Resume::Align,
            };
            if useful {
                let told = crate::event::Next::Step {
                    upstream: Arc::clone(&self.upstream().name),
                    by: by.as_ref().map(|(by, _)| *by),
                };
                let free = fallen.ended.cut == Cut::Denied;
                let next = Next {
                    by,
                    free,
                    delay: Duration::ZERO,
                };
                return self.schedule(fallen, next, told);
            }
            self.step = before;
        }
        self.start_over_or_give_up(fallen, exhausted);
    }

    /// Nothing can continue what was delivered; a caller who lets it be taken back gets it anew.
    fn start_over_or_give_up(&mut self, fallen: Fallen, exhausted: bool) {
        let retractable = self.plan.policy.delivery == Delivery::Retractable
            && self.plan.policy.resume
            && !exhausted
            && self.transcript.progress() == Progress::Resumable
            && matches!(
                fallen.ended.cut,
                Cut::Diverged | Cut::Rejected { .. } | Cut::Truncated
            );
        if !retractable {
            return self.give_up(fallen, exhausted);
        }
        self.course.open_text.clear();
        self.emit(Event::Rewind(Position::default()));
        let next = Next {
            by: None,
            free: false,
            delay: Duration::ZERO,
        };
        self.schedule(fallen, next, crate::event::Next::Retry);
    }

    fn best_rung(&self) -> Option<(Resume, Continuation)> {
        let step = &self.step;
        let dialect = &self.upstream().dialect;
        let context = Rewrite {
            capabilities: &step.capabilities,
            wording: &self.plan.wording,
            spent: self.ledger.reported_output(),
        };
        dialect
            .resumes(&step.request, &self.transcript, &step.capabilities)
            .into_iter()
            .filter(|by| !step.refused.contains(by))
            .find_map(|by| {
                let rewritten = dialect.rewrite(&step.request, &self.transcript, by, &context);
                rewritten.ok().map(|continuation| (by, continuation))
            })
    }

    /// Puts the next attempt on, if the limits of the whole reply allow it.
    fn schedule(&mut self, fallen: Fallen, next: Next, told: crate::event::Next) {
        let policy = &self.plan.policy;
        if !next.free && self.ledger.counted() >= policy.max_attempts {
            return self.give_up(fallen, true);
        }
        let stop = policy
            .keep_going
            .as_ref()
            .is_some_and(|hook| !hook.ask(self.ledger.report()));
        if stop {
            self.interrupted(&fallen, crate::event::Next::GiveUp, Duration::ZERO);
            return self.fail(ErrorKind::NoProgress);
        }
        self.interrupted(&fallen, told, next.delay);
        self.clocks.resume_at = self.now.checked_add(next.delay);
        self.state = State::Waiting(next);
    }

    fn interrupted(&mut self, fallen: &Fallen, next: crate::event::Next, delay: Duration) {
        if fallen.ended.cut == Cut::Denied {
            return;
        }
        let interruption = Interruption {
            attempt: fallen.live.id,
            upstream: Arc::clone(&fallen.live.upstream),
            cut: fallen.ended.cut,
            next,
            delay,
        };
        self.queue
            .push_back(Output::Notice(Notice::Interrupted(interruption.clone())));
        self.emit(Event::Interrupted(interruption));
    }

    fn finish_inferred(&mut self, fallen: &Fallen, reason: FinishReason) {
        self.interrupted(fallen, crate::event::Next::Finish, Duration::ZERO);
        self.close_parts(true);
        self.finish(reason, true);
    }

    /// The answer is complete.
    fn complete(&mut self, live: &Live, reason: FinishReason, inferred: bool) {
        self.ledger
            .close(self.now, Outcome::Finished, None, live.came, live.delivered);
        self.close_parts(live.by.is_some());
        self.finish(reason, inferred);
    }

    fn close_parts(&mut self, continued: bool) {
        let open = |part: &crate::transcript::Part| part.state() == PartState::Open;
        let parts: Vec<(u32, bool)> = self
            .transcript
            .parts()
            .iter()
            .zip(0_u32..)
            .filter(|(part, _)| open(part))
            .map(|(part, index)| {
                let unfit = match part.kind() {
                    PartKind::Reasoning => continued,
                    kind => matches!(kind, PartKind::ToolCall { .. }),
                };
                (index, unfit)
            })
            .collect();
        for (part, unfit) in parts {
            let delta = if unfit {
                Delta::Abandon { part }
            } else {
                Delta::Close { part }
            };
            self.emit(Event::Delta(delta));
        }
    }

    fn finish(&mut self, reason: FinishReason, inferred: bool) {
        let usage = self.ledger.report().usage();
        self.emit(Event::Finished(Finish {
            reason,
            inferred,
            usage,
        }));
        self.queue.push_back(Output::Done(Ok(())));
        self.state = State::Done;
    }

    fn give_up(&mut self, fallen: Fallen, exhausted: bool) {
        self.interrupted(&fallen, crate::event::Next::GiveUp, Duration::ZERO);
        let Fallen {
            ended, rejection, ..
        } = fallen;
        let kind = decide::error_kind(&ended);
        let code = ended.fault.and_then(|fault| fault.code);
        let error = Error::new(kind, self.transcript.clone(), self.ledger.report().clone());
        self.done(error.cut_by(ended.cut, exhausted).said(code, rejection));
    }

    /// The reply ends for a reason of its own, whatever the attempt under way does.
    pub(super) fn fail(&mut self, kind: ErrorKind) {
        if let Some(live) = self.live.take() {
            if !live.over {
                self.queue.push_back(Output::Abort(live.id));
            }
            self.ledger
                .close(self.now, Outcome::Canceled, None, live.came, live.delivered);
        }
        self.ended = None;
        let mut error = Error::new(kind, self.transcript.clone(), self.ledger.report().clone());
        if let Some(cut) = self.ledger.last_cut() {
            error = error.cut_by(cut, false);
        }
        self.done(error);
    }

    fn done(&mut self, error: Error) {
        self.queue.push_back(Output::Done(Err(error)));
        self.state = State::Done;
    }
}

fn is_policy(ended: &Ended) -> bool {
    ended
        .fault
        .as_ref()
        .is_some_and(|fault| fault.class == FaultClass::Policy)
}
