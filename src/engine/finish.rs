//! The end of a reply: complete, inferred, or an error that carries everything.
//!
//! In: why it ends. Out: the last deltas and the end itself. Law kept: *Terminal*.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::Live;
use super::decide;
use super::ledger::Cause;
use super::notice::{Over, Verdict};
use super::settle::Fallen;
use super::{Notice, Output, Recovery, State};
use crate::error::{Error, ErrorKind};
use crate::event::{
    Cut, Delta, Event, Finish, FinishReason, Next as Told, PartKind, Resume, Source,
};
use crate::report::Outcome;
use crate::transcript::PartState;

impl Recovery {
    pub(super) fn finish_inferred(&mut self, fallen: &Fallen, reason: FinishReason) {
        self.interrupted(fallen, Told::Finish, Duration::ZERO);
        self.close_parts(true);
        self.finish(reason, true);
    }

    /// No attempt is under way, and none will be: the calls in hand are a whole turn.
    pub(super) fn finish_with_calls(&mut self) {
        self.close_parts(true);
        self.finish(FinishReason::ToolUse, true);
    }

    /// The answer is complete.
    pub(super) fn complete(&mut self, live: &Live, reason: FinishReason, inferred: bool) {
        self.close_parts(live.is_beside());
        self.close(Outcome::Finished, Cause::default(), live);
        let verdict = decide::verdict_of_end(self.is_slow(live), self.is_blamed(live));
        self.tell_ended(live, None, verdict);
        // A replay that goes on behind the calls does not know of them.
        let called = self.transcript.tool_calls().next().is_some();
        let replayed = live.by == Some(Resume::Cursor) && reason == FinishReason::Stop;
        let reason = if called && replayed { FinishReason::ToolUse } else { reason };
        self.finish(reason, inferred);
    }

    /// Closes the account of the attempt.
    pub(super) fn close(&mut self, outcome: Outcome, cause: Cause, live: &Live) {
        let replayed = live.by == Some(Resume::Cursor) || self.relays();
        // Where nothing came back, nobody knows whether the request was read.
        let unknown = live.came > 0 && !replayed && self.ledger.lacks_input();
        let read = if unknown { self.upstream().dialect.reads(&self.step.request) } else { 0 };
        self.ledger.close(self.now, outcome, cause, live, read);
    }

    pub(super) fn close_parts(&mut self, continued: bool) {
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
            let delta = if unfit { Delta::Abandon { part } } else { Delta::Close { part } };
            self.emit(Event::Delta(delta));
        }
    }

    pub(super) fn finish(&mut self, reason: FinishReason, inferred: bool) {
        let report = self.ledger.report();
        let usage = report.usage();
        // What a skipped frame said is missing, whatever the provider's own marker says.
        let inferred = inferred || report.skipped_frames() > 0;
        // Before the end is told: who has heard it may poll no more.
        if !inferred {
            self.put(&reason);
        }
        self.end(Finish { reason, inferred, usage, source: Source::Model, ticket: None });
    }

    /// Whether the reply has counted a failure of the attempt's upstream and model: one that tries again
    /// and again is still one caller's experience.
    pub(super) fn is_blamed(&self, live: &Live) -> bool {
        let mut blamed = self.course.blamed.iter();
        blamed.any(|(upstream, model)| *upstream == live.upstream && *model == live.model)
    }

    /// Whether its first content came too late.
    fn is_slow(&self, live: &Live) -> bool {
        let waited = live.first_content.map(|at| at.saturating_duration_since(live.opened));
        let longest = self.plan.policy.breaker.slow.filter(|_| !live.head_only);
        waited.zip(longest).is_some_and(|(waited, longest)| waited > longest)
    }

    /// Tells whoever watches over upstreams that an attempt that was sent is over.
    pub(super) fn tell_ended(&mut self, live: &Live, error: Option<ErrorKind>, verdict: Verdict) {
        let (upstream, model) = (Arc::clone(&live.upstream), Arc::clone(&live.model));
        if verdict == Verdict::Failure {
            self.course.blamed.push((Arc::clone(&upstream), Arc::clone(&model)));
        }
        let Some(report) = self.ledger.entry(live.id) else { return };
        let (attempt, report) = (live.id, Box::new(report.clone()));
        let notice = Notice::Ended { attempt, upstream, model, error, verdict, report };
        self.queue.push_back(Output::Notice(notice));
    }

    pub(super) fn give_up(&mut self, fallen: Fallen, exhausted: bool) {
        self.interrupted(&fallen, Told::GiveUp, Duration::ZERO);
        // What we refused, and what refused us for the way we asked, is not what ails the reply.
        let denied = fallen.ended.cut == Cut::Denied;
        let beside = denied || fallen.is_ours();
        let own = (fallen.ended, fallen.rejection);
        let ailment = self.course.ailment.take().filter(|_| beside);
        let exhausted = exhausted || denied && ailment.is_some();
        let (ended, rejection) = ailment.unwrap_or(own);
        let kind = decide::error_kind(&ended);
        let retryable = decide::is_retryable(&ended);
        let code = ended.fault.and_then(|fault| fault.code);
        let error = Error::new(kind, self.transcript.clone(), self.ledger.report().clone());
        let error = error.cut_by(ended.cut, exhausted).because(ended.transport, retryable);
        let mut error = error.said(code, rejection);
        if let Some((_, field)) = self.course.passed_over.last() {
            error = error.passed_over(Arc::clone(field));
        }
        self.done(error);
    }

    /// The reply ends for a reason of its own, whatever the attempt under way does.
    pub(super) fn fail(&mut self, kind: ErrorKind) {
        if let Some(live) = self.live.take() {
            self.keep_running(live.finish.is_some());
            if !live.over {
                self.queue.push_back(Output::Abort(live.id));
            }
            self.close(Outcome::Canceled, Cause::default(), &live);
            self.tell_ended(&live, None, Verdict::Uncounted);
        }
        self.ended = None;
        self.stop_asking();
        let mut error = Error::new(kind, self.transcript.clone(), self.ledger.report().clone());
        if let Some(cut) = self.ledger.last_cut() {
            error = error.cut_by(cut, false);
        }
        self.done(error);
    }

    /// Tells whoever watches that the reply is over, before its caller hears of it and polls no more.
    pub(super) fn tell_over(&mut self, result: Result<Finish, ErrorKind>) {
        let over = Over::new(result, self.ledger.report().clone());
        self.queue.push_back(Output::Notice(Notice::Over(Box::new(over))));
    }

    pub(super) fn done(&mut self, error: Error) {
        self.wire_failed(&error);
        self.release_unfinished();
        self.tell_over(Err(error.kind()));
        self.queue.push_back(Output::Done(Err(error)));
        self.state = State::Done;
    }
}
