//! One bucket for each minute of the last hour.
//!
//! In: what happened, and when. Out: the buckets of a window. The ring has a fixed number of places: what
//! is older than it has no place, and what comes too late is not counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sketches_ddsketch::{Config, DDSketch};

use super::snapshot::ReplyCounts;

/// The buckets, by the minute since the first thing that happened.
#[derive(Debug)]
pub(in crate::observe) struct Minutes {
    /// When minute 0 began.
    start: Option<Instant>,
    /// Oldest first, none older than [`MINUTES`] before the last; minutes in which nothing happened are left
    /// out.
    buckets: Vec<(u64, Minute)>,
}

/// What happened in one minute, or in several of them.
#[derive(Clone, Debug, Default)]
pub(in crate::observe) struct Minute {
    pub(in crate::observe) replies: ReplyCounts,
    pub(in crate::observe) sources: Tally,
    pub(in crate::observe) reply_errors: Tally,
    pub(in crate::observe) attempt_errors: Tally,
    pub(in crate::observe) seams: Tally,
    pub(in crate::observe) account_refusals: u64,
    pub(in crate::observe) first_delta: Waits,
    pub(in crate::observe) time_lost: Waits,
}

/// How often each of a few fixed words came.
#[derive(Clone, Debug, Default)]
pub(in crate::observe) struct Tally(pub(super) BTreeMap<&'static str, u64>);

/// Waits in seconds, as percentiles that are right to one part in a hundred.
#[derive(Clone, Default)]
pub(in crate::observe) struct Waits(Option<DDSketch>);

impl Minutes {
    pub(super) const fn new() -> Self {
        Self { start: None, buckets: Vec::new() }
    }

    /// The bucket for what happens at `at`; none where that is over an hour before the last.
    pub(super) fn at(&mut self, at: Instant) -> Option<&mut Minute> {
        let number = minute(*self.start.get_or_insert(at), at);
        if self.buckets.last().is_some_and(|(last, _)| number + MINUTES <= *last) {
            return None;
        }
        let place = self.buckets.partition_point(|(known, _)| *known < number);
        if self.buckets.get(place).is_none_or(|(known, _)| *known != number) {
            self.buckets.insert(place, (number, Minute::default()));
            let last = self.buckets.last().map_or(number, |(last, _)| *last);
            self.buckets.retain(|(known, _)| known + MINUTES > last);
        }
        let bucket = self.buckets.iter_mut().find(|(known, _)| *known == number);
        bucket.map(|(_, minute)| minute)
    }

    /// The buckets of the last `window` before `now`, oldest first, each with how many minutes it lies
    /// before the one of `now`.
    pub(in crate::observe) fn within(
        &self,
        now: Instant,
        window: Duration,
    ) -> impl Iterator<Item = (u64, &Minute)> {
        let this = minute(self.start.unwrap_or(now), now);
        let many = whole_minutes(window);
        let recent = move |(number, _): &&(u64, Minute)| *number + many > this;
        let buckets = self.buckets.iter().filter(recent);
        buckets.map(move |(number, minute)| (this.saturating_sub(*number), minute))
    }
}

impl Minute {
    /// Adds what happened in another.
    pub(super) fn merge(&mut self, other: &Self) {
        self.replies.merge(other.replies);
        self.sources.merge(&other.sources);
        self.reply_errors.merge(&other.reply_errors);
        self.attempt_errors.merge(&other.attempt_errors);
        self.seams.merge(&other.seams);
        self.account_refusals += other.account_refusals;
        self.first_delta.merge(&other.first_delta);
        self.time_lost.merge(&other.time_lost);
    }
}

impl Tally {
    pub(super) fn add(&mut self, word: &'static str) {
        *self.0.entry(word).or_default() += 1;
    }

    fn merge(&mut self, other: &Self) {
        for (word, count) in &other.0 {
            *self.0.entry(word).or_default() += count;
        }
    }

    pub(in crate::observe) fn of(&self, word: &str) -> u64 {
        self.0.get(word).copied().unwrap_or_default()
    }

    pub(in crate::observe) fn sum(&self) -> u64 {
        self.0.values().sum()
    }
}

impl Waits {
    pub(super) fn add(&mut self, seconds: f64) {
        let sketch = || DDSketch::new(Config::new(PRECISION, BINS_MAX, SHORTEST));
        self.0.get_or_insert_with(sketch).add(seconds);
    }

    pub(in crate::observe) fn merge(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            // They are all made in one place, so what they are made by is equal.
            (Some(all), Some(more)) => drop(all.merge(more)),
            (all @ None, Some(more)) => *all = Some(more.clone()),
            (_, None) => {}
        }
    }

    pub(in crate::observe) fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |sketch| sketch.count() as u64)
    }

    /// In seconds.
    pub(in crate::observe) fn quantile(&self, q: f64) -> Option<f64> {
        self.0.as_ref()?.quantile(q).ok().flatten()
    }
}

impl std::fmt::Debug for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Waits({})", self.count())
    }
}

/// The number of the minute that `at` is in; what happened before the first thing is told with it.
fn minute(start: Instant, at: Instant) -> u64 {
    at.saturating_duration_since(start).as_secs() / 60
}

/// `window` as it is kept.
pub(in crate::observe) fn whole(window: Duration) -> Duration {
    Duration::from_secs(60 * whole_minutes(window))
}

fn whole_minutes(window: Duration) -> u64 {
    window.min(WINDOW_MAX).as_secs().div_ceil(60).max(1)
}

/// Buckets that are kept, one for each minute. The longest window that an alert has by default.
const MINUTES: u64 = 60;

pub(super) const WINDOW_MAX: Duration = Duration::from_secs(60 * MINUTES);

/// The longest share that a percentile is off by.
const PRECISION: f64 = 0.01;

/// A millisecond and less are the same, and a sketch that spans from there to an hour needs no more bins.
const SHORTEST: f64 = 0.001;
const BINS_MAX: u32 = 1024;

/// The percentile that alerts look at.
pub(in crate::observe) const P95: f64 = 0.95;
