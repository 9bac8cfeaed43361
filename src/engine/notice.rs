//! Facts for operators: out of band, never text.

use std::sync::Arc;

use crate::dialect::FaultClass;
use crate::error::ErrorKind;
use crate::event::{AttemptId, Finish, FinishReason, Interruption, Resume, Resumption};
use crate::policy::BreakerState;
use crate::report::{AttemptReport, Report};

use super::plan::Refusal;

/// A fact for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A reply begins. Comes once, before anything is sent for it; not for a request that no step can be
    /// asked, whose reply is over at once.
    Began {
        /// The dialect in which the caller asks.
        dialect: &'static str,
        /// The first upstream that the request can be said to.
        upstream: Arc<str>,
        /// The model as asked for there.
        model: Arc<str>,
    },
    /// The first content of the answer is handed out. Comes at most once, whichever attempt or step it is of.
    FirstDelta {
        /// The attempt; none where no upstream was asked for it.
        attempt: Option<AttemptId>,
    },
    /// A request goes out.
    Opened {
        /// Its number.
        attempt: AttemptId,
        /// The upstream.
        upstream: Arc<str>,
        /// The model as asked for.
        model: Arc<str>,
        /// The rung; none for the caller's own request.
        by: Option<Resume>,
    },
    /// The first text, reasoning or tool arguments of an attempt are read: its upstream serves. What it says need
    /// not be new.
    Answering {
        /// The attempt.
        attempt: AttemptId,
    },
    /// A tool call is coming in and will be delivered when it is whole.
    Progress {
        /// The attempt.
        attempt: AttemptId,
        /// Bytes of its arguments so far.
        bytes: usize,
    },
    /// An attempt was cut.
    Interrupted(Interruption),
    /// A continuation was joined.
    Resumed(Resumption),
    /// The upstream refused a rung by a text that says it always will: worth remembering for this
    /// (upstream, model).
    Refused(Refusal),
    /// The upstream refused the account or its credentials. Needs a person.
    Account {
        /// The upstream.
        upstream: Arc<str>,
        /// What it refused.
        class: FaultClass,
    },
    /// A frame could not be read and was skipped, as a last resort; never in the wire view, whose client
    /// could not be told.
    Skipped {
        /// The attempt.
        attempt: AttemptId,
    },
    /// A finish reason that this version does not know; taken as an end.
    UnknownFinish {
        /// The attempt.
        attempt: AttemptId,
        /// The provider's word.
        reason: FinishReason,
    },
    /// A step is passed over, because its dialect has no words for a field of the caller's request. Comes once
    /// for each, when its turn would have come.
    Untranslated {
        /// The upstream.
        upstream: Arc<str>,
        /// The path of the field, as the caller has it.
        field: Arc<str>,
    },
    /// A step was asked for its answer: a cache, or whoever calls a person. Comes when that is over, unless
    /// the reply was over before.
    Asked {
        /// `cached` or `hand-off`.
        step: Arc<str>,
        /// What came of it.
        answered: Answered,
    },
    /// An attempt was not allowed, and not sent.
    Denied {
        /// The attempt.
        attempt: AttemptId,
        /// The upstream.
        upstream: Arc<str>,
        /// The model as asked for.
        model: Arc<str>,
    },
    /// An attempt that was sent is over. Comes once for each, unless the whole reply is dropped.
    Ended {
        /// The attempt.
        attempt: AttemptId,
        /// The upstream.
        upstream: Arc<str>,
        /// The model as asked for.
        model: Arc<str>,
        /// How it ended, as an error of the reply would name it; none where it was not cut.
        error: Option<ErrorKind>,
        /// What that says about the upstream.
        verdict: Verdict,
        /// What it took.
        report: Box<AttemptReport>,
    },
    /// A reply is over. Comes once for each that was polled, before its last item is handed out. Of one
    /// that is dropped before its end, the client tells that it is canceled; one whose wire view has handed
    /// out the terminal marker is complete.
    Over(Box<Over>),
    /// The provider was told to end a generation that nobody fetches any more. Told by the client, which
    /// sends that, not by the engine.
    Released {
        /// The upstream.
        upstream: Arc<str>,
        /// The model as asked for.
        model: Arc<str>,
        /// It answered with a success.
        confirmed: bool,
    },
    /// The breaker of an (upstream, model) lets through more or less than before. Told by the client,
    /// which has the breakers, not by the engine; and when somebody asks or an attempt ends: that an open
    /// one is half open by the passing of time is told with its first trial.
    Breaker {
        /// The upstream.
        upstream: Arc<str>,
        /// The model as asked for.
        model: Arc<str>,
        /// What it lets through now.
        state: BreakerState,
    },
}

/// What came of asking a step that is no upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Answered {
    /// It has the answer.
    Yes,
    /// It has none.
    No,
    /// It did not say in time.
    Silent,
}

/// How a reply ended, and what it took.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Over {
    /// The end of the answer, or what failed.
    pub result: Result<Finish, ErrorKind>,
    /// All that was tried.
    pub report: Report,
}

impl Over {
    pub(crate) const fn new(result: Result<Finish, ErrorKind>, report: Report) -> Self {
        Self { result, report }
    }
}

/// What the end of an attempt says about its upstream: what a breaker counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It answers: the end of the answer came.
    Success,
    /// It answers, but its first content took longer than
    /// [`BreakerPolicy::slow`](crate::policy::BreakerPolicy::slow): counts as a failure.
    Slow,
    /// It does not. At most once for a reply and an (upstream, model), this and
    /// [`Slow`](Self::Slow) together.
    Failure,
    /// It did not, and is asked again: what a retry heals is no failure. Counts towards the rate of failures alone,
    /// and fails a trial. If the retry is not sent after all, and the reply is not canceled, it was a failure.
    Retried,
    /// It did not, which counts towards the rate of failures alone, and fails a trial: the reply has
    /// counted a failure already; or something new had come before it died, and it is not asked to go on.
    Setback,
    /// It died after something new had come, and is asked to go on: counts towards the rate of failures
    /// alone. A trial goes on with the attempt that continues.
    Continued,
    /// Nothing: the request, the account or the caller is at fault, or nobody waited for its end. A trial
    /// goes on if the reply does at this upstream, and else gives its place back.
    Uncounted,
}
