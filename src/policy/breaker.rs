//! A circuit breaker: it keeps requests away from an upstream that fails again and again.
//!
//! In: when somebody wants to ask, and how it went. Out: a [`Permit`], or when to ask again. It must
//! never read a clock, and it does not know what an attempt is: what counts as a failure is said by
//! whoever calls it.
//!
//! ```text
//!            `failures` in a row                   `open` has passed
//!   Closed ──────────────────────▶ Open ──────────────────────────────▶ HalfOpen
//!     ▲                             ▲            a trial failed            │
//!     │                             └──────────────────────────────────────┤
//!     └────────────────────────────────────────────────────────────────────┘
//!                          `successes` trials, one at a time
//! ```

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use serde::Serialize;

/// Failures in a row that open a breaker. Each is a reply of its own, so five mean that the upstream
/// fails for everybody, and not that one reply was unlucky.
pub const BREAKER_FAILURES: u32 = 5;

/// How long a breaker stays open. Outages last minutes; asking once a minute costs nothing and finds
/// their end soon enough.
pub const BREAKER_OPEN: Duration = Duration::from_secs(60);

/// Trials that must succeed before a breaker closes: one may be luck.
pub const BREAKER_SUCCESSES: u32 = 2;

/// When a [`Breaker`] opens and closes.
///
/// `Default` has the values of the constants of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerPolicy {
    /// Failures in a row that open it; 0 turns the breaker off.
    pub failures: u32,
    /// How long it stays open before a trial; also how long a trial holds its place without an end.
    pub open: Duration,
    /// Trials that must succeed before it closes, one after the other; at least 1.
    pub successes: u32,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: BREAKER_FAILURES, open: BREAKER_OPEN, successes: BREAKER_SUCCESSES }
    }
}

impl BreakerPolicy {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the failures in a row that open it; 5 by default. 0 turns the breaker off: it never opens.
    #[must_use]
    pub const fn failures(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    /// Sets how long it stays open before a trial; 60 s by default. With zero the next request is a
    /// trial at once.
    #[must_use]
    pub const fn open(mut self, wait: Duration) -> Self {
        self.open = wait;
        self
    }

    /// Sets the trials that must succeed before it closes; 2 by default, 0 counts as 1.
    #[must_use]
    pub fn successes(mut self, successes: u32) -> Self {
        self.successes = successes.max(1);
        self
    }
}

/// What a [`Breaker`] lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing.
    Open,
    /// One trial at a time.
    HalfOpen,
}

/// Leave to send one request. What became of it is to be told once: [`Breaker::on_success`],
/// [`Breaker::on_failure`] or [`Breaker::on_abandoned`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit(u64);

/// A circuit breaker, as a value: time is an argument.
///
/// What is told of a permit that was given before the breaker last changed its state counts for
/// nothing: an old request says nothing about the upstream of today.
///
/// ```
/// use std::time::{Duration, Instant};
/// use unbroken::policy::{Breaker, BreakerPolicy, BreakerState};
///
/// # let now = Instant::now();
/// let mut breaker = Breaker::new(BreakerPolicy::new().failures(1).successes(1));
/// let permit = breaker.try_acquire(now).expect("it is closed");
/// breaker.on_failure(permit, now);
/// assert_eq!(breaker.try_acquire(now), Err(now + Duration::from_secs(60)));
///
/// let later = now + Duration::from_secs(60);
/// let trial = breaker.try_acquire(later).expect("one trial");
/// breaker.on_success(trial);
/// assert_eq!(breaker.state(later), BreakerState::Closed);
/// ```
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: State,
    /// The number of the next permit.
    next: u64,
    /// The first permit that was given in this state.
    since: u64,
}

#[derive(Clone, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { successes: u32, trial: Option<Trial> },
}

/// A trial that has no end yet.
#[derive(Clone, Debug)]
struct Trial {
    permit: Permit,
    /// When it has had its time, and another one may go.
    until: Instant,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub const fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: State::Closed { failures: 0 }, next: 0, since: 0 }
    }

    /// Asks for leave to send one request.
    ///
    /// # Errors
    /// Not now; the time is when to ask again.
    pub fn try_acquire(&mut self, now: Instant) -> Result<Permit, Instant> {
        match &self.state {
            State::Closed { .. } => return Ok(self.grant()),
            State::Open { until } if now < *until => return Err(*until),
            State::HalfOpen { trial: Some(trial), .. } if now < trial.until => {
                return Err(trial.until);
            }
            State::Open { .. } => self.turn(State::HalfOpen { successes: 0, trial: None }),
            State::HalfOpen { .. } => {}
        }
        let permit = self.grant();
        let until = self.after(now);
        if let State::HalfOpen { trial, .. } = &mut self.state {
            *trial = Some(Trial { permit, until });
        }
        Ok(permit)
    }

    /// The request was answered to its end.
    pub fn on_success(&mut self, permit: Permit) {
        if permit.0 < self.since {
            return;
        }
        self.on_abandoned(permit);
        let closes = match &mut self.state {
            State::Closed { failures } => {
                *failures = 0;
                false
            }
            State::Open { .. } => false,
            State::HalfOpen { successes, .. } => {
                *successes += 1;
                *successes >= self.policy.successes
            }
        };
        if closes {
            self.turn(State::Closed { failures: 0 });
        }
    }

    /// The request failed in a way that is the upstream's fault.
    pub fn on_failure(&mut self, permit: Permit, now: Instant) {
        if permit.0 < self.since || self.policy.failures == 0 {
            return;
        }
        let opens = match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                *failures >= self.policy.failures
            }
            State::Open { .. } => false,
            State::HalfOpen { .. } => true,
        };
        if opens {
            let until = self.after(now);
            self.turn(State::Open { until });
        }
    }

    /// The request failed, and is tried again: that ends a trial, and counts for nothing else yet.
    pub fn on_retried(&mut self, permit: Permit, now: Instant) {
        match self.state {
            State::HalfOpen { .. } => self.on_failure(permit, now),
            State::Closed { .. } | State::Open { .. } => {}
        }
    }

    /// Nobody will know how the request went, or it says nothing about the upstream: a trial gives its
    /// place back.
    pub fn on_abandoned(&mut self, permit: Permit) {
        if let State::HalfOpen { trial, .. } = &mut self.state {
            if trial.as_ref().is_some_and(|trial| trial.permit == permit) {
                *trial = None;
            }
        }
    }

    /// What it lets through at `now`.
    #[must_use]
    pub fn state(&self, now: Instant) -> BreakerState {
        match &self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until } if now < *until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    const fn grant(&mut self) -> Permit {
        let permit = Permit(self.next);
        self.next += 1;
        permit
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.since = self.next;
    }

    /// The end of an open time that begins now, or a far one where the clock cannot express it.
    fn after(&self, now: Instant) -> Instant {
        now.checked_add(self.policy.open).or_else(|| now.checked_add(FAR)).unwrap_or(now)
    }
}

/// An open time that the clock cannot express lasts this long.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
