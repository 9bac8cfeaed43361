//! How often replies fail, and how long callers wait, over the last hour.
//!
//! In: notices. Out: counts, a rate and percentiles of any window of it. It must never grow without end,
//! and never read a clock: the time is an argument.

mod minutes;
mod snapshot;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use self::snapshot::{BreakerAt, ErrorSnapshot, MinuteCounts, Percentiles, ReplyCounts};

pub(super) use self::minutes::{Minute, P95, Waits, whole};
use self::minutes::{Minutes, WINDOW_MAX};
pub(super) use self::snapshot::share;
use super::breakers::Breakers;
use super::underway::Underway;
use super::{Observation, Observer};
use crate::engine::{Notice, Over};
use crate::error::{ErrorKind, Origin};

/// Error counts and rates, and percentiles of what callers wait for, over the last 60 minutes.
///
/// It keeps one bucket for each minute, whatever comes: a window is a number of minutes, of which the last one
/// is the one under way. Minutes are counted from the first notice.
///
/// # What counts as an error
///
/// The error rate is the share of replies that failed among those that ended. A reply that finished
/// counts as no error, however often it was cut on its way, and also where the chain's own words took the
/// place of an answer: [`ErrorSnapshot::sources`] tells those apart. One that failed counts if its error is
/// not of [the caller's](Origin::Caller) making; one that is counts as nothing, as does one that he canceled
/// or dropped.
///
/// Give each client its own: two of them number their replies alike.
///
/// ```
/// use std::sync::Arc;
/// use unbroken::observe::ErrorMetrics;
///
/// let errors = Arc::new(ErrorMetrics::new());
/// // Client::builder().observer(Arc::clone(&errors)) …
/// let snapshot = errors.snapshot(std::time::Instant::now());
/// assert_eq!(snapshot.error_rate, None);
/// ```
#[derive(Debug)]
pub struct ErrorMetrics(Mutex<State>);

/// What is known.
#[derive(Debug)]
pub(super) struct State {
    pub(super) minutes: Minutes,
    pub(super) breakers: Breakers,
    /// When each reply began, until its first content came.
    began: Underway<Option<Instant>>,
}

impl ErrorMetrics {
    /// One that has heard nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(State {
            minutes: Minutes::new(),
            breakers: Breakers::new(),
            began: Underway::new(),
        }))
    }

    /// The last 60 minutes, as of `now`.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> ErrorSnapshot {
        self.within(now, WINDOW_MAX)
    }

    /// The last `window` before `now`, in whole minutes: at least 1, at most 60.
    #[must_use]
    pub fn within(&self, now: Instant, window: Duration) -> ErrorSnapshot {
        self.with(|state| ErrorSnapshot::of(state, now, window))
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for ErrorMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for ErrorMetrics {
    fn observe(&self, observation: &Observation<'_>) {
        // Comes often, and says nothing of interest here.
        if !matches!(observation.notice, Notice::Progress { .. }) {
            self.with(|state| state.hear(observation));
        }
    }
}

impl State {
    fn hear(&mut self, observation: &Observation<'_>) {
        let at = observation.at;
        match observation.notice {
            Notice::Began { .. } => {
                self.began.begin(observation.reply, Some(at));
            }
            Notice::FirstDelta { .. } => {
                if let Some(wait) = self.began.waited(observation.reply, at) {
                    self.note(at, |minute| minute.first_delta.add(wait.as_secs_f64()));
                }
            }
            Notice::Resumed(resumption) => {
                self.note(at, |minute| minute.seams.add(resumption.join.as_str()));
            }
            Notice::Ended { error: Some(kind), .. } => {
                self.note(at, |minute| minute.attempt_errors.add(kind.as_str()));
            }
            Notice::Account { .. } => self.note(at, |minute| minute.account_refusals += 1),
            Notice::Breaker { upstream, model, state } => {
                self.breakers.turn(upstream, model, *state, at);
            }
            Notice::Over(over) => {
                self.began.end(observation.reply);
                self.note(at, |minute| minute.over(over));
            }
            _ => {}
        }
    }

    fn note(&mut self, at: Instant, note: impl FnOnce(&mut Minute)) {
        if let Some(minute) = self.minutes.at(at) {
            note(minute);
        }
    }
}

impl Minute {
    fn over(&mut self, over: &Over) {
        match &over.result {
            Ok(finish) => {
                self.replies.finished += 1;
                self.sources.add(finish.source.as_str());
            }
            Err(ErrorKind::Canceled) => self.replies.canceled += 1,
            Err(kind) => {
                self.reply_errors.add(kind.as_str());
                match kind.origin() {
                    Origin::Caller => self.replies.refused += 1,
                    Origin::Library | Origin::Network | Origin::Upstream => {
                        self.replies.failed += 1
                    }
                }
            }
        }
        if let Some(lost) = over.report.time_lost() {
            self.time_lost.add(lost.as_secs_f64());
        }
    }
}
