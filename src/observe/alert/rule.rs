//! When somebody should be told.
//!
//! In: what the last minutes were like. Out: a number, and whether it is too high. Rules are values: they
//! can be read from a file, and compared with what another system is told to watch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize};

use super::super::errors::{Minute, P95, State, Waits, share, whole};
use crate::engine::Notice;
use crate::error::ErrorKind;
use crate::event::{Join, as_millis};

/// When to fire, and when to resolve.
///
/// It fires when its [`measure`](Self::measure) over the [`window`](Self::window) is higher than
/// [`above`](Self::above), of at least [`at_least`](Self::at_least) samples. From then on it holds, also
/// where the samples become fewer, until the measure is down at [`resolve_below`](Self::resolve_below), or
/// there is nothing left in the window. Between the two thresholds nothing changes, so a measure that moves
/// around one of them does not fire again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AlertRule {
    /// Its name, for whoever is told.
    pub name: Arc<str>,
    /// What is measured.
    pub measure: Measure,
    /// Over how long: whole minutes, the one under way included; at least 1, at most 60. Milliseconds in JSON.
    #[serde(serialize_with = "as_millis", deserialize_with = "from_millis")]
    pub window: Duration,
    /// Samples that the window must have before it fires, so that one failure of two is no rate.
    pub at_least: u64,
    /// It fires above this.
    pub above: f64,
    /// It resolves at or below this; one that is higher than [`above`](Self::above) counts as that.
    pub resolve_below: f64,
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Measure {
    /// The share of replies that failed, from 0 to 1. Samples: replies that finished or failed; what counts
    /// is said at [`ErrorMetrics`](crate::observe::ErrorMetrics).
    ErrorRate,
    /// Attempts that were told to come back later (429). Samples: the same.
    RateLimits,
    /// Breakers, each of an upstream and a model, that are open or half open, and of which something was told
    /// within the window: one that nobody asks any more is no news. Samples: the same.
    BreakersOpen,
    /// The share of seams that nothing verifies, from 0 to 1. Samples: seams.
    UnverifiedSeams,
    /// The 95th percentile of seconds from the first poll of a reply to the first content of its answer.
    /// Samples: replies with any content.
    TimeToFirstDelta,
    /// The 95th percentile of seconds that cuts cost a reply. Samples: replies with a cut that was followed
    /// by an attempt.
    TimeLost,
    /// Refusals of the account or its credentials. Samples: the same.
    AccountRefusals,
}

impl AlertRule {
    /// A rule that fires where `measure` is higher than `above`, over 10 minutes, of any number of samples. It
    /// resolves where that is no longer so.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, measure: Measure, above: f64) -> Self {
        let (window, at_least) = (minutes(10), 1);
        Self { name: name.into(), measure, window, at_least, above, resolve_below: above }
    }

    /// Sets the window, in whole minutes from 1 to 60; 10 by default.
    #[must_use]
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets how many samples the window must have before it fires; 1 by default.
    #[must_use]
    pub const fn at_least(mut self, samples: u64) -> Self {
        self.at_least = samples;
        self
    }

    /// Sets at or below what it resolves; by default it resolves where it would no longer fire.
    #[must_use]
    pub const fn resolve_below(mut self, threshold: f64) -> Self {
        self.resolve_below = threshold;
        self
    }

    /// The rules that make sense everywhere, with their thresholds; they are listed in
    /// [the manual](crate::manual::observability).
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        use Measure as M;
        let hour = minutes(60);
        vec![
            Self::new("error-rate", M::ErrorRate, 0.1).at_least(20).resolve_below(0.05),
            Self::new("rate-limits", M::RateLimits, 50.0).window(hour).resolve_below(25.0),
            Self::new("breaker-open", M::BreakersOpen, 0.0).window(hour),
            Self::new("unverified-seams", M::UnverifiedSeams, 0.2)
                .window(hour)
                .at_least(10)
                .resolve_below(0.1),
            Self::new("slow-first-delta", M::TimeToFirstDelta, 60.0)
                .at_least(20)
                .resolve_below(30.0),
            Self::new("slow-recovery", M::TimeLost, 60.0).at_least(20).resolve_below(30.0),
            Self::new("account-refused", M::AccountRefusals, 0.0),
        ]
    }

    /// What it measures at `now`, and of how many samples. None where there is nothing to measure.
    pub(super) fn measured(&self, state: &State, now: Instant) -> (Option<f64>, u64) {
        let minutes = || state.minutes.within(now, self.window).map(|(_, minute)| minute);
        let sum = |count: fn(&Minute) -> u64| minutes().map(count).sum();
        let p95 = |waits: fn(&Minute) -> &Waits| {
            let mut all = Waits::default();
            minutes().for_each(|minute| all.merge(waits(minute)));
            (all.quantile(P95), all.count())
        };
        match self.measure {
            Measure::ErrorRate => {
                let all = sum(|minute| minute.replies.counted());
                (share(sum(|minute| minute.replies.failed), all), all)
            }
            Measure::RateLimits => {
                counted(sum(|minute| minute.attempt_errors.of(ErrorKind::RateLimited.as_str())))
            }
            Measure::BreakersOpen => {
                let recent = |at| now.saturating_duration_since(at) < whole(self.window);
                let told = state.breakers.iter().filter(|(_, told)| recent(told.at));
                counted(told.count() as u64)
            }
            Measure::UnverifiedSeams => {
                let all = sum(|minute| minute.seams.sum());
                (share(sum(|minute| minute.seams.of(Join::Unverified.as_str())), all), all)
            }
            Measure::TimeToFirstDelta => p95(|minute| &minute.first_delta),
            Measure::TimeLost => p95(|minute| &minute.time_lost),
            Measure::AccountRefusals => counted(sum(|minute| minute.account_refusals)),
        }
    }

    /// Whether it fires, if it does not hold yet.
    pub(super) fn fires(&self, value: Option<f64>, samples: u64) -> bool {
        samples >= self.at_least && value.is_some_and(|value| value > self.above)
    }

    /// Whether it resolves, if it holds.
    pub(super) fn resolves(&self, value: Option<f64>) -> bool {
        value.is_none_or(|value| value <= self.resolve_below.min(self.above))
    }
}

impl Measure {
    /// Whether `notice` may change it; time may change any.
    pub(super) const fn is_moved_by(self, notice: &Notice) -> bool {
        match self {
            Self::ErrorRate | Self::TimeLost => matches!(notice, Notice::Over(_)),
            Self::RateLimits => matches!(notice, Notice::Ended { error: Some(_), .. }),
            Self::BreakersOpen => matches!(notice, Notice::Breaker { .. }),
            Self::UnverifiedSeams => matches!(notice, Notice::Resumed(_)),
            Self::TimeToFirstDelta => matches!(notice, Notice::FirstDelta { .. }),
            Self::AccountRefusals => matches!(notice, Notice::Account { .. }),
        }
    }
}

/// A count is its own number of samples, and there always is one.
#[expect(clippy::cast_precision_loss, reason = "no threshold is near 2^52")]
const fn counted(count: u64) -> (Option<f64>, u64) {
    (Some(count as f64), count)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

fn from_millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}
