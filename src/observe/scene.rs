//! Notices for tests of observers, in virtual time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Observation, Observer, ReplyId};
use crate::dialect::FaultClass;
use crate::engine::{Notice, Over, Verdict};
use crate::error::ErrorKind;
use crate::event::{AttemptId, Cut, Finish, FinishReason, Join, Resume, Resumption, Source, Usage};
use crate::policy::BreakerState;
use crate::report::{AttemptReport, Outcome, Report};

/// Tells an observer of replies, one after the other.
pub(super) struct Scene<O> {
    pub(super) observer: O,
    pub(super) now: Instant,
    replies: u64,
}

impl<O: Observer> Scene<O> {
    pub(super) fn new(observer: O) -> Self {
        #[expect(clippy::disallowed_methods, reason = "any time will do")]
        let now = Instant::now();
        Self { observer, now, replies: 0 }
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    pub(super) fn tell(&self, notice: &Notice) {
        self.observer.observe(&Observation::new(ReplyId::new(self.replies), self.now, notice));
    }

    pub(super) fn begin(&mut self) {
        self.replies += 1;
        self.tell(&Notice::Began { dialect: "anthropic", upstream: one(), model: model() });
    }

    /// Replies that finish.
    pub(super) fn finish(&mut self, count: u64) {
        for _ in 0..count {
            self.begin();
            self.over(Ok(end()), Report::default());
        }
    }

    /// Replies that fail.
    pub(super) fn fail(&mut self, count: u64, kind: ErrorKind) {
        for _ in 0..count {
            self.begin();
            self.over(Err(kind), Report::default());
        }
    }

    pub(super) fn over(&self, result: Result<Finish, ErrorKind>, report: Report) {
        self.tell(&Notice::Over(Box::new(Over::new(result, report))));
    }

    /// A reply whose first content comes after `seconds`.
    pub(super) fn answer_after(&mut self, seconds: u64) {
        self.begin();
        self.pass(seconds);
        self.tell(&Notice::FirstDelta { attempt: None });
        self.over(Ok(end()), Report::default());
    }

    /// Attempts that end in an error.
    pub(super) fn attempts_fail(&self, count: u64, kind: ErrorKind) {
        for _ in 0..count {
            self.tell(&Notice::Ended {
                attempt: AttemptId(1),
                upstream: one(),
                model: model(),
                error: Some(kind),
                verdict: Verdict::Failure,
                report: Box::new(attempt(1, Outcome::Cut(Cut::Faulted))),
            });
        }
    }

    pub(super) fn join(&self, count: u64, join: Join) {
        let (attempt, upstream, by) = (AttemptId(2), one(), Resume::Instruct);
        let resumption = Resumption { attempt, upstream, by, join, trimmed: 0 };
        (0..count).for_each(|_| self.tell(&Notice::Resumed(resumption.clone())));
    }

    pub(super) fn breaker(&self, model: &str, state: BreakerState) {
        self.tell(&Notice::Breaker { upstream: one(), model: model.into(), state });
    }

    pub(super) fn refuse_account(&self) {
        self.tell(&Notice::Account { upstream: one(), class: FaultClass::Billing });
    }
}

pub(super) fn one() -> Arc<str> {
    "one".into()
}

fn model() -> Arc<str> {
    "claude-haiku-4-5".into()
}

pub(super) fn end() -> Finish {
    let usage = Usage::default();
    Finish {
        reason: FinishReason::Stop,
        inferred: false,
        usage,
        source: Source::Model,
        ticket: None,
    }
}

pub(super) fn attempt(number: u32, outcome: Outcome) -> AttemptReport {
    AttemptReport {
        id: AttemptId(number),
        upstream: one(),
        model: model(),
        by: None,
        free: false,
        delay: Duration::ZERO,
        opened: Duration::ZERO,
        first_byte: None,
        ended: None,
        outcome,
        code: None,
        transport: None,
        delivered: 0,
        discarded: 0,
        lost: 0,
        complete: false,
        join: None,
        skipped_frames: 0,
        usage: None,
        estimated_input_tokens: 0,
        estimated_output_tokens: 0,
    }
}

/// A cut that cost `seconds`.
pub(super) fn lost(seconds: u64) -> Report {
    let mut cut = attempt(1, Outcome::Cut(Cut::Reset));
    cut.ended = Some(Duration::from_secs(10));
    let mut next = attempt(2, Outcome::Finished);
    next.first_byte = Some(Duration::from_secs(10 + seconds));
    Report { attempts: vec![cut, next] }
}
