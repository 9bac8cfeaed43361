//! When a breaker opens and closes, as numbers.

use std::time::Duration;

use super::Calls;

/// Failures in a row that open a breaker. Each is a reply of its own, so five mean that the upstream
/// fails for everybody, and not that one reply was unlucky.
pub const BREAKER_FAILURES: u32 = 5;

/// Share of the calls in a window that must have failed for a breaker to open. An upstream that dies
/// once in every answer, and whose answers are healed by a continuation, fails half of its calls and
/// still serves; so does one that takes three attempts for each. One that fails altogether is caught by
/// the failures in a row; this is for one that fails so often that a lucky answer now and then, which
/// ends every row, hides it.
pub const BREAKER_RATE: f64 = 0.8;

/// The window. As long as a breaker stays open: what was longer ago says nothing about now.
pub const BREAKER_WINDOW: Duration = Duration::from_secs(60);

/// Calls that a window must hold before their rate counts: a share of fewer is chance.
pub const BREAKER_MINIMUM: u32 = 20;

/// How long a breaker stays open. Outages last minutes; asking once a minute costs nothing and finds
/// their end soon enough.
pub const BREAKER_OPEN: Duration = Duration::from_secs(60);

/// How long a trial that nothing is heard of holds its place, at the least: as long as
/// [`open`](BreakerPolicy::open) where that is more. A reply that is neither polled nor dropped must not keep an
/// upstream out of use.
pub const BREAKER_TRIAL: Duration = Duration::from_secs(60);

/// Trials at a time. One is enough to learn that an upstream still fails, and costs one caller.
pub const BREAKER_TRIALS: u8 = 1;

/// Trials that must succeed before a breaker closes: one may be luck.
pub const BREAKER_SUCCESSES: u32 = 2;

/// When a [`Breaker`](super::Breaker) opens and closes.
///
/// `Default` has the values of the constants of this module.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BreakerPolicy {
    /// Failures in a row that open it; 0 turns the breaker off altogether.
    pub failures: u32,
    /// Share of the calls in a window, 0 to 1, that must have failed for it to open; 0 turns the rate
    /// off.
    pub rate: f64,
    /// How long a call is remembered for the rate, to a twelfth; zero turns the rate off, too.
    pub window: Duration,
    /// Calls that a window must hold before their rate counts.
    pub minimum: u32,
    /// How long it stays open before a trial.
    pub open: Duration,
    /// Trials at a time; at least 1.
    pub trials: u8,
    /// Trials that must succeed before it closes; at least 1.
    pub successes: u32,
    /// Longest wait for the first content of an attempt: one that takes longer counts as a failure,
    /// though it is answered to its end. None: no wait is too long. This one number is of the policy of
    /// the reply, not of the breaker.
    pub slow: Option<Duration>,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: BREAKER_FAILURES,
            rate: BREAKER_RATE,
            window: BREAKER_WINDOW,
            minimum: BREAKER_MINIMUM,
            open: BREAKER_OPEN,
            trials: BREAKER_TRIALS,
            successes: BREAKER_SUCCESSES,
            slow: None,
        }
    }
}

impl BreakerPolicy {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the failures in a row that open it; 5 by default. 0 turns the breaker off altogether: it
    /// never opens, by its rate neither. To have the rate alone, set it to [`u32::MAX`].
    #[must_use]
    pub const fn failures(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    /// Sets the share of the calls in a window that must have failed for it to open; 0.8 by default.
    /// What lies outside of 0 to 1 is brought inside; 0 turns the rate off.
    #[must_use]
    pub const fn rate(mut self, rate: f64) -> Self {
        self.rate = rate.clamp(0.0, 1.0);
        self
    }

    /// Sets how long a call is remembered for the rate; 60 s by default. It is forgotten up to a twelfth
    /// of that earlier. With zero there is no rate.
    #[must_use]
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets the calls that a window must hold before their rate counts; 20 by default, 0 is the same as
    /// 1.
    #[must_use]
    pub const fn minimum(mut self, calls: u32) -> Self {
        self.minimum = calls;
        self
    }

    /// Sets how long it stays open before a trial; 60 s by default. With zero the next request is a
    /// trial at once.
    #[must_use]
    pub const fn open(mut self, wait: Duration) -> Self {
        self.open = wait;
        self
    }

    /// Sets the trials that may be under way at a time; 1 by default, 0 counts as 1.
    #[must_use]
    pub fn trials(mut self, trials: u8) -> Self {
        self.trials = trials.max(1);
        self
    }

    /// Sets the trials that must succeed before it closes; 2 by default, 0 counts as 1.
    #[must_use]
    pub fn successes(mut self, successes: u32) -> Self {
        self.successes = successes.max(1);
        self
    }

    /// Has answers whose first content takes longer than `wait` count as failures, though they come to
    /// their end; off by default.
    ///
    /// The wait is that of an attempt, from its request sent to the first text, reasoning or tool
    /// arguments of it that are read: a caller who is slow to poll makes it longer, and so does a model
    /// that thinks out of sight. An answer without content and a request that is not streamed are never
    /// slow. Unlike the rest, it is taken from the policy of each reply: what is slow depends on what is
    /// asked.
    #[must_use]
    pub const fn slow(mut self, wait: Duration) -> Self {
        self.slow = Some(wait);
        self
    }

    /// Whether too many of `calls` failed.
    pub(super) fn is_over(&self, calls: Calls) -> bool {
        let counts = self.rate > 0.0 && !self.window.is_zero() && calls.all >= self.minimum;
        counts && calls.rate().is_some_and(|rate| rate >= self.rate)
    }
}
