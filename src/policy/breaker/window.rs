//! What became of the calls of the last while, in a few buckets: their number does not grow with the
//! calls.

use std::time::{Duration, Instant};

use serde::Serialize;

/// Parts of a window. It forgets one at a time, so what it counts is that much younger than it says, at
/// most.
const BUCKETS: usize = 12;

/// Calls, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct Calls {
    /// All that ended in the window, and those under way whose answer has begun.
    pub all: u32,
    /// Those that failed.
    pub failed: u32,
}

impl Calls {
    /// The share that failed, 0 to 1; none where nobody called.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.all > 0).then(|| f64::from(self.failed) / f64::from(self.all))
    }

    fn count(&mut self, more: Self) {
        self.all = self.all.saturating_add(more.all);
        self.failed = self.failed.saturating_add(more.failed);
    }
}

/// The calls of the last while.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// How long a bucket is filled.
    width: Duration,
    /// When the first one began.
    start: Option<Instant>,
    /// The number of the one that is filled now.
    at: u64,
    /// Bucket `n` stands at `n % BUCKETS`.
    buckets: [Calls; BUCKETS],
}

impl Window {
    pub(super) const fn new(length: Duration) -> Self {
        let width = match length.checked_div(BUCKETS as u32) {
            Some(width) => width,
            None => length,
        };
        Self { width, start: None, at: 0, buckets: [Calls { all: 0, failed: 0 }; BUCKETS] }
    }

    /// One call, at `now`.
    pub(super) fn record(&mut self, now: Instant, failed: bool) {
        self.start.get_or_insert(now);
        let at = self.bucket_at(now);
        // What was counted in a bucket of the last round is over; time does not run back.
        for old in (self.at + 1..=at).take(BUCKETS) {
            self.buckets[place(old)] = Calls::default();
        }
        self.at = self.at.max(at);
        let call = Calls { all: 1, failed: u32::from(failed) };
        self.buckets[place(self.at)].count(call);
    }

    /// What it holds at `now`.
    pub(super) fn calls(&self, now: Instant) -> Calls {
        let forgotten = self.bucket_at(now).saturating_sub(self.at);
        let kept = (BUCKETS as u64).saturating_sub(forgotten);
        let mut calls = Calls::default();
        for bucket in (0..=self.at).rev().take(kept as usize) {
            calls.count(self.buckets[place(bucket)]);
        }
        calls
    }

    fn bucket_at(&self, now: Instant) -> u64 {
        let passed =
            self.start.map_or(Duration::ZERO, |start| now.saturating_duration_since(start));
        let number = passed.as_nanos() / self.width.as_nanos().max(1);
        u64::try_from(number).unwrap_or(u64::MAX)
    }
}

const fn place(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}
