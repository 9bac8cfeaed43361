//! How hard to try, as values.
//!
//! In: numbers. Out: delays, deadlines, permissions; time is always an argument. Nothing here
//! knows what an attempt is. Law kept: *Spend* — every retry draws on something that runs out.

mod backoff;
mod breaker;
mod budget;
mod timeouts;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use backoff::{BACKOFF_INITIAL, BACKOFF_MAX, Backoff, Delays};
pub use breaker::{
    BREAKER_FAILURES, BREAKER_MINIMUM, BREAKER_OPEN, BREAKER_RATE, BREAKER_SUCCESSES,
    BREAKER_TRIAL, BREAKER_TRIALS, BREAKER_WINDOW, Breaker, BreakerPolicy, BreakerState, Calls,
    Permit,
};
pub use budget::{BUDGET_CAPACITY, BUDGET_PER_CALL, BUDGET_PER_SECOND, Budget};
pub use timeouts::{
    CLOSING, CONNECT, DELTA, DELTA_HIDDEN, FIRST_EVENT, FIRST_EVENT_SLOW, HEAD, IDLE, IDLE_SILENT,
    Timeouts, WIRE_KEEP_ALIVE,
};

use crate::report::Report;

/// Attempts of one reply in all. Generous: a long answer behind a bad line may need many, and
/// attempts that bring nothing are stopped earlier by the other limits.
pub const MAX_ATTEMPTS: u32 = 20;

/// Attempts of one step that bring nothing new, in a row: one and two retries, as the vendors'
/// SDKs have it.
pub const MAX_ATTEMPTS_WITHOUT_PROGRESS: u32 = 3;

/// Attempts in a row that die without getting past the delivered text before another step, if
/// there is one, gets its turn.
pub const STUCK_ATTEMPTS: u32 = 2;

/// Longest `retry-after` that is waited for; beyond it the step is given up. The vendors' SDKs
/// use the same.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// After the first cut: how long a reply may get nothing new.
pub const NO_PROGRESS_MAX: Duration = Duration::from_secs(300);

/// Bytes of one answer, tool arguments included, that are kept in memory.
pub const ANSWER_MAX: usize = 256 * 1024 * 1024;

/// Bytes of one event: twice the longest that a vendor's own tests hold legitimate (64 MiB).
pub const EVENT_MAX: usize = 128 * 1024 * 1024;

/// Bytes of a response that is not a stream, or of lines between events, that are read to learn why.
pub const ERROR_BODY_MAX: usize = 64 * 1024;

/// Longest time that a cache may take to say whether it has an answer, and to take one in. One that is slower
/// than a model's first word is no help.
pub const CACHE: Duration = Duration::from_secs(2);

/// Longest time that it may take to call a person. It is the last hope of somebody who has waited for long.
pub const HAND_OFF: Duration = Duration::from_secs(10);

/// Longest time that the request to cancel a generation may take. Nobody waits for it.
#[cfg(feature = "tokio")]
pub const RELEASE: Duration = Duration::from_secs(10);

/// How hard a reply tries, what it delivers when, and where it stops.
///
/// `Default` has the values of the constants of this module.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// The clocks.
    pub timeouts: Timeouts,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// When the breaker of an upstream opens and closes. As the policy of the client has it, whose
    /// replies share the breakers; the policy of a single reply does not change it, but for what is
    /// [slow](BreakerPolicy::slow).
    pub breaker: BreakerPolicy,
    /// Longest `retry-after` that is honoured; a longer one gives the step up.
    pub retry_after_max: Duration,
    /// Attempts in all, at least 1. Attempts that cost nothing (a rung that the provider refused, a
    /// connection that turned out dead before it was used) are not counted.
    pub max_attempts: u32,
    /// Attempts of a step in a row that bring nothing new, at least 1.
    pub max_attempts_without_progress: u32,
    /// After the first cut: how long nothing new may come before the reply gives up.
    pub no_progress_max: Duration,
    /// Whether what was delivered may be taken back.
    pub delivery: Delivery,
    /// When tool calls are delivered.
    pub tools: ToolDelivery,
    /// Whether an answer of which something has been delivered is continued at all. If not, a cut
    /// is an error that carries what came.
    pub resume: bool,
    /// Whether a model may be asked to go on by a note in a user's voice ([`Instruct`], [`Quote`]). If
    /// not, those two rungs are left out.
    ///
    /// [`Instruct`]: crate::Resume::Instruct
    /// [`Quote`]: crate::Resume::Quote
    pub notes: bool,
    /// Whether an answer that its provider goes on making by itself (a background response) is canceled
    /// there when the reply ends without its end: it costs, and nobody waits for it. One that another
    /// attempt takes the place of is always canceled.
    pub release: bool,
    /// Bytes of one answer that are kept.
    pub answer_max: usize,
    /// Bytes of one event of a stream, in all; its largest line included.
    pub event_max: usize,
    /// Asked before every attempt but the first.
    pub keep_going: Option<KeepGoing>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            backoff: Backoff::default(),
            breaker: BreakerPolicy::default(),
            retry_after_max: RETRY_AFTER_MAX,
            max_attempts: MAX_ATTEMPTS,
            max_attempts_without_progress: MAX_ATTEMPTS_WITHOUT_PROGRESS,
            no_progress_max: NO_PROGRESS_MAX,
            delivery: Delivery::AppendOnly,
            tools: ToolDelivery::Whole,
            resume: true,
            notes: true,
            release: true,
            answer_max: ANSWER_MAX,
            event_max: EVENT_MAX,
            keep_going: None,
        }
    }
}

impl Policy {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the clocks.
    #[must_use]
    pub const fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets the waits between attempts.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets when the breaker of an upstream opens and closes; see the manual's chapter on the
    /// [breaker](crate::manual::breaker).
    #[must_use]
    pub const fn breaker(mut self, breaker: BreakerPolicy) -> Self {
        self.breaker = breaker;
        self
    }

    /// Sets the longest `retry-after` that is honoured.
    #[must_use]
    pub const fn retry_after_max(mut self, max: Duration) -> Self {
        self.retry_after_max = max;
        self
    }

    /// Sets the attempts in all; 0 counts as 1. With 1 nothing is ever retried.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Sets the attempts of a step in a row that bring nothing new; 0 counts as 1.
    #[must_use]
    pub fn max_attempts_without_progress(mut self, attempts: u32) -> Self {
        self.max_attempts_without_progress = attempts.max(1);
        self
    }

    /// Sets how long nothing new may come after the first cut. What a model takes to think unseen does not count,
    /// nor what a step takes that is [asked](crate::manual::chain) in its place.
    #[must_use]
    pub const fn no_progress_max(mut self, max: Duration) -> Self {
        self.no_progress_max = max;
        self
    }

    /// Sets whether what was delivered may be taken back.
    #[must_use]
    pub const fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Sets when tool calls are delivered.
    #[must_use]
    pub const fn tools(mut self, tools: ToolDelivery) -> Self {
        self.tools = tools;
        self
    }

    /// Never continues an answer of which something has been delivered.
    #[must_use]
    pub const fn without_resume(mut self) -> Self {
        self.resume = false;
        self
    }

    /// Never asks a model to go on by a note.
    #[must_use]
    pub const fn without_notes(mut self) -> Self {
        self.notes = false;
        self
    }

    /// Leaves alone what a provider goes on making by itself when the reply ends without its end, for
    /// callers who fetch it later.
    #[must_use]
    pub const fn without_release(mut self) -> Self {
        self.release = false;
        self
    }

    /// Sets the bytes of one answer that are kept; an answer that grows past it is cut.
    #[must_use]
    pub const fn answer_max(mut self, bytes: usize) -> Self {
        self.answer_max = bytes;
        self
    }

    /// Sets the bytes of one event of a stream; a longer one cuts the attempt.
    #[must_use]
    pub const fn event_max(mut self, bytes: usize) -> Self {
        self.event_max = bytes;
        self
    }

    /// Asks `hook` before every attempt but the first whether to go on; `false` ends the reply
    /// with an error of kind [`NoProgress`](crate::ErrorKind::NoProgress) that carries what came. Not set,
    /// there is no such limit.
    ///
    /// The report is of all attempts so far, the one that was cut last included, with what each has cost:
    /// as reported, or a lower bound. The hook has to be quick: it is called while a reply is polled.
    ///
    /// ```
    /// use unbroken::AttemptReport;
    /// use unbroken::policy::Policy;
    ///
    /// // No more attempts once 50 000 tokens were generated, however little of them was of use.
    /// let policy = Policy::new().keep_going(|report| {
    ///     let spent: u64 = report.attempts.iter().map(AttemptReport::output_tokens).sum();
    ///     spent < 50_000
    /// });
    /// ```
    #[must_use]
    pub fn keep_going(mut self, hook: impl Fn(&Report) -> bool + Send + Sync + 'static) -> Self {
        self.keep_going = Some(KeepGoing(Arc::new(hook)));
        self
    }
}

/// Whether what was delivered may be taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum Delivery {
    /// Never.
    #[default]
    AppendOnly,
    /// When the answer that comes back is another one, or no way to continue is accepted, it begins
    /// again, after a [`Rewind`](crate::Event::Rewind).
    Retractable,
}

/// When tool calls are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum ToolDelivery {
    /// Each at once, when the provider has closed it: what is delivered can be run.
    #[default]
    Whole,
    /// In fragments as they come, for interfaces that draw them; a cut abandons an open one.
    Live,
}

/// The caller's word on whether to go on; see [`Policy::keep_going`].
#[derive(Clone)]
pub struct KeepGoing(Arc<dyn Fn(&Report) -> bool + Send + Sync>);

impl KeepGoing {
    pub(crate) fn ask(&self, report: &Report) -> bool {
        (self.0)(report)
    }
}

impl fmt::Debug for KeepGoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeepGoing(..)")
    }
}
