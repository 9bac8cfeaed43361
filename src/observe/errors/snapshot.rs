//! What an hour, or a part of it, was like.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::breakers::Told;
use super::State;
use super::minutes::{Minute, P95, Waits, whole};
use crate::error::ErrorKind;
use crate::event::{Join, as_millis, as_millis_if_any};
use crate::policy::BreakerState;

/// What a window was like. Durations are whole milliseconds in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ErrorSnapshot {
    /// The window, in whole minutes; the last one is under way.
    #[serde(serialize_with = "as_millis")]
    pub window: Duration,
    /// Replies that ended.
    pub replies: ReplyCounts,
    /// The share of [`failed`](ReplyCounts::failed) replies among those and the finished ones, from 0 to 1;
    /// none where there are neither.
    pub error_rate: Option<f64>,
    /// Finished replies by who gave the answer ([`Source::as_str`](crate::Source::as_str)).
    pub sources: BTreeMap<&'static str, u64>,
    /// Replies that ended in an error, by kind ([`ErrorKind::as_str`](crate::ErrorKind::as_str)); canceled
    /// ones are not among them.
    pub reply_errors: BTreeMap<&'static str, u64>,
    /// Attempts that ended in an error, by kind, whatever came of their reply; attempts of a reply that was
    /// dropped are not among them.
    pub attempt_errors: BTreeMap<&'static str, u64>,
    /// Attempts that were told to come back later (429).
    pub rate_limits: u64,
    /// Refusals of the account or its credentials.
    pub account_refusals: u64,
    /// Continuations by how they were joined ([`Join::as_str`](crate::Join::as_str)).
    pub seams: BTreeMap<&'static str, u64>,
    /// The share of seams that nothing verifies, from 0 to 1; none without a seam.
    pub unverified_seams: Option<f64>,
    /// From the first poll of a reply to the first content of its answer.
    pub time_to_first_delta: Percentiles,
    /// From a cut to the first byte of the next attempt, summed over a reply that had any.
    pub time_lost: Percentiles,
    /// The breakers that are not closed, as far as was told.
    pub breakers: Vec<BreakerAt>,
    /// The minutes in which something happened, oldest first.
    pub minutes: Vec<MinuteCounts>,
}

/// Replies by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReplyCounts {
    /// With an answer.
    pub finished: u64,
    /// Without a whole one, through the library, the network or the upstream.
    pub failed: u64,
    /// Without a whole one, and [the caller](crate::Origin::Caller) has to change something: the request, the
    /// account, a limit.
    pub refused: u64,
    /// Canceled or dropped by the caller.
    pub canceled: u64,
}

/// What half, 95 and 99 of a hundred did not exceed, to one part in a hundred; none where there was nothing
/// to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// The median.
    #[serde(serialize_with = "as_millis_if_any")]
    pub p50: Option<Duration>,
    /// The 95th percentile.
    #[serde(serialize_with = "as_millis_if_any")]
    pub p95: Option<Duration>,
    /// The 99th percentile.
    #[serde(serialize_with = "as_millis_if_any")]
    pub p99: Option<Duration>,
}

/// A breaker that lets through less than everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BreakerAt {
    /// The upstream.
    pub upstream: Arc<str>,
    /// The model as asked for.
    pub model: Arc<str>,
    /// What it lets through.
    pub state: BreakerState,
}

/// One minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MinuteCounts {
    /// Minutes before the one under way.
    pub ago: u64,
    /// Replies that ended.
    pub replies: ReplyCounts,
    /// Attempts that ended in an error.
    pub attempt_errors: u64,
    /// Of these, the ones that were told to come back later (429).
    pub rate_limits: u64,
}

impl ErrorSnapshot {
    pub(super) fn of(state: &State, now: Instant, window: Duration) -> Self {
        let mut all = Minute::default();
        let mut minutes = Vec::new();
        for (ago, minute) in state.minutes.within(now, window) {
            all.merge(minute);
            minutes.push(MinuteCounts::of(ago, minute));
        }
        let breaker = |((upstream, model), told): (&(Arc<str>, Arc<str>), Told)| BreakerAt {
            upstream: Arc::clone(upstream),
            model: Arc::clone(model),
            state: told.state,
        };
        Self {
            window: whole(window),
            replies: all.replies,
            error_rate: share(all.replies.failed, all.replies.counted()),
            rate_limits: all.attempt_errors.of(ErrorKind::RateLimited.as_str()),
            account_refusals: all.account_refusals,
            unverified_seams: share(all.seams.of(Join::Unverified.as_str()), all.seams.sum()),
            time_to_first_delta: Percentiles::of(&all.first_delta),
            time_lost: Percentiles::of(&all.time_lost),
            sources: all.sources.0,
            reply_errors: all.reply_errors.0,
            attempt_errors: all.attempt_errors.0,
            seams: all.seams.0,
            breakers: state.breakers.iter().map(breaker).collect(),
            minutes,
        }
    }
}

impl ReplyCounts {
    /// Those that the error rate is a share of.
    #[must_use]
    pub const fn counted(self) -> u64 {
        self.finished + self.failed
    }

    pub(super) const fn merge(&mut self, other: Self) {
        self.finished += other.finished;
        self.failed += other.failed;
        self.refused += other.refused;
        self.canceled += other.canceled;
    }
}

impl Percentiles {
    fn of(waits: &Waits) -> Self {
        let at = |q| Duration::try_from_secs_f64(waits.quantile(q)?).ok();
        Self { count: waits.count(), p50: at(0.5), p95: at(P95), p99: at(0.99) }
    }
}

impl MinuteCounts {
    fn of(ago: u64, minute: &Minute) -> Self {
        Self {
            ago,
            replies: minute.replies,
            attempt_errors: minute.attempt_errors.sum(),
            rate_limits: minute.attempt_errors.of(ErrorKind::RateLimited.as_str()),
        }
    }
}

/// `part` of `all`.
#[expect(clippy::cast_precision_loss, reason = "a share of more than 2^52 is as good")]
pub(in crate::observe) fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}
