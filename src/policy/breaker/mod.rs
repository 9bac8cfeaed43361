//! A circuit breaker: it keeps requests away from an upstream that fails again and again.
//!
//! In: when somebody wants to ask, and how it went. Out: a [`Permit`], or when to ask again. It must
//! never read a clock, and it does not know what an attempt is: what counts as a failure is said by
//! whoever calls it.
//!
//! ```text
//!         `failures` in a row, or `rate` of
//!       at least `minimum` calls in a `window`        `open` has passed
//!   Closed ──────────────────────────────────▶ Open ───────────────────▶ HalfOpen
//!     ▲                                         ▲      a trial failed       │
//!     │                                         └───────────────────────────┤
//!     └─────────────────────────────────────────────────────────────────────┘
//!                      `successes` trials, at most `trials` at a time
//! ```

mod rules;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;

use window::Window;

pub use rules::{
    BREAKER_FAILURES, BREAKER_MINIMUM, BREAKER_OPEN, BREAKER_RATE, BREAKER_SUCCESSES,
    BREAKER_TRIAL, BREAKER_TRIALS, BREAKER_WINDOW, BreakerPolicy,
};
pub use window::Calls;

/// What a [`Breaker`] lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing.
    Open,
    /// Trials: [`BreakerPolicy::trials`] at a time.
    HalfOpen,
}

/// Leave to send one request. What became of it is to be told once: [`Breaker::on_success`],
/// [`Breaker::on_failure`], [`Breaker::on_setback`] or [`Breaker::on_abandoned`]. Where another request is
/// to go on in its place, that is [`Breaker::on_continued`] if it failed, and then
/// [`Breaker::try_continue`], or else [`Breaker::on_abandoned`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit(u64);

/// A circuit breaker, as a value: time is an argument, and its memory grows with the calls under way alone.
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
/// breaker.on_success(trial, later);
/// assert_eq!(breaker.state(later), BreakerState::Closed);
/// ```
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: State,
    /// What became of the calls while it was closed last.
    window: Window,
    /// The permits that it gave since, to those whose answer has begun and has no end yet.
    answering: BTreeSet<u64>,
    /// The number of the next permit.
    next: u64,
    /// The first permit that was given in this state.
    since: u64,
}

#[derive(Clone, Debug)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        successes: u32,
        /// At most as many as the policy allows.
        trials: Vec<Trial>,
    },
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
        let window = Window::new(policy.window);
        let state = State::Closed { failures: 0 };
        Self { policy, state, window, answering: BTreeSet::new(), next: 0, since: 0 }
    }

    /// Asks for leave to send one request.
    ///
    /// # Errors
    /// Not now; the time is when to ask again.
    pub fn try_acquire(&mut self, now: Instant) -> Result<Permit, Instant> {
        match &mut self.state {
            State::Closed { .. } => return Ok(self.grant()),
            State::Open { until } if now < *until => return Err(*until),
            State::Open { .. } => {
                self.turn(State::HalfOpen { successes: 0, trials: Vec::new() });
            }
            State::HalfOpen { trials, .. } => {
                trials.retain(|trial| now < trial.until);
                let first = trials.iter().map(|trial| trial.until).min();
                if let Some(first) = first.filter(|_| trials.len() >= self.policy.trials.into()) {
                    return Err(first);
                }
            }
        }
        let (permit, until) = (self.grant(), self.place_until(now));
        if let State::HalfOpen { trials, .. } = &mut self.state {
            trials.push(Trial { permit, until });
        }
        Ok(permit)
    }

    /// Asks for leave to send the request that goes on in the place of the one of `permit`: a trial that
    /// nobody has taken the place of keeps it.
    ///
    /// # Errors
    /// Not now; the time is when to ask again.
    pub fn try_continue(&mut self, permit: Permit, now: Instant) -> Result<Permit, Instant> {
        if self.renew(permit, now) {
            return Ok(permit);
        }
        self.try_acquire(now)
    }

    /// The request of `permit` is still under way: a trial that nobody has taken the place of keeps it, however
    /// long its answer is. A place that is not renewed is free after [`BREAKER_TRIAL`], or the open
    /// time where that is longer.
    pub fn on_alive(&mut self, permit: Permit, now: Instant) {
        self.renew(permit, now);
    }

    /// The answer to the request has begun: the upstream serves, and until its end this is one of the
    /// [calls](Self::calls) that did not fail. Without it, the first to end of many long answers that began
    /// together would be the ones that were cut, and they would be all that the rate knows of.
    pub fn on_answering(&mut self, permit: Permit) {
        if matches!(self.state, State::Closed { .. }) && !self.is_past(permit) {
            self.answering.insert(permit.0);
        }
    }

    /// Whether the request of `permit` is a trial that has a place.
    #[must_use]
    pub fn is_trial(&self, permit: Permit) -> bool {
        match &self.state {
            State::HalfOpen { trials, .. } => trials.iter().any(|trial| trial.permit == permit),
            State::Closed { .. } | State::Open { .. } => false,
        }
    }

    /// The request was answered to its end.
    pub fn on_success(&mut self, permit: Permit, now: Instant) {
        if self.is_past(permit) {
            return;
        }
        self.on_abandoned(permit);
        let closes = match &mut self.state {
            State::Closed { failures } => {
                *failures = 0;
                self.window.record(now, false);
                false
            }
            State::Open { .. } => false,
            State::HalfOpen { successes, .. } => {
                *successes += 1;
                *successes >= self.policy.successes
            }
        };
        if closes {
            self.window = Window::new(self.policy.window);
            self.turn(State::Closed { failures: 0 });
        }
    }

    /// The request failed in a way that is the upstream's fault.
    pub fn on_failure(&mut self, permit: Permit, now: Instant) {
        self.failed(permit, now, 1);
    }

    /// The request failed so, and that counts towards the rate of failures alone, and not as one in a
    /// row. It fails a trial.
    pub fn on_setback(&mut self, permit: Permit, now: Instant) {
        self.failed(permit, now, 0);
    }

    /// The request had a setback, and the retry that was to heal it is not sent: it was a failure in a row after
    /// all. The rate has it already.
    pub fn on_unretried(&mut self, permit: Permit, now: Instant) {
        if self.is_past(permit) || self.policy.failures == 0 {
            return;
        }
        let State::Closed { failures } = &mut self.state else { return };
        *failures = failures.saturating_add(1);
        if *failures >= self.policy.failures {
            let until = self.after(now);
            self.turn(State::Open { until });
        }
    }

    /// The request failed so, and another one goes on with what had come of it: it counts towards the
    /// rate of failures alone, and a trial keeps its place.
    pub fn on_continued(&mut self, permit: Permit, now: Instant) {
        if matches!(self.state, State::Closed { .. }) {
            self.failed(permit, now, 0);
        }
    }

    /// Nobody will know how the request went, or it says nothing about the upstream: a trial gives its
    /// place back.
    pub fn on_abandoned(&mut self, permit: Permit) {
        self.answering.remove(&permit.0);
        if let State::HalfOpen { trials, .. } = &mut self.state {
            trials.retain(|trial| trial.permit != permit);
        }
    }

    /// What it lets through at `now`. An open one whose time has passed is half open, though nobody has
    /// asked yet.
    #[must_use]
    pub fn state(&self, now: Instant) -> BreakerState {
        match &self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until } if now < *until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Failures in a row so far; none unless it is closed.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        match self.state {
            State::Closed { failures } => failures,
            State::Open { .. } | State::HalfOpen { .. } => 0,
        }
    }

    /// The calls that ended in the window that ends at `now`, and those whose answer is under way. What is
    /// let through by a breaker that is not closed is not among them.
    #[must_use]
    pub fn calls(&self, now: Instant) -> Calls {
        let answering = u32::try_from(self.answering.len()).unwrap_or(u32::MAX);
        let ended = self.window.calls(now);
        Calls { all: ended.all.saturating_add(answering), ..ended }
    }

    /// How long it is still open; none if it is not.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        match &self.state {
            State::Open { until } => {
                Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
            }
            State::Closed { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// Trials that have a place at `now`.
    #[must_use]
    pub fn trials(&self, now: Instant) -> usize {
        match &self.state {
            State::HalfOpen { trials, .. } => {
                trials.iter().filter(|trial| now < trial.until).count()
            }
            State::Closed { .. } | State::Open { .. } => 0,
        }
    }

    fn failed(&mut self, permit: Permit, now: Instant, in_a_row: u32) {
        if self.is_past(permit) || self.policy.failures == 0 {
            return;
        }
        self.answering.remove(&permit.0);
        let opens = match &mut self.state {
            State::Closed { failures } => {
                *failures = failures.saturating_add(in_a_row);
                self.window.record(now, true);
                *failures >= self.policy.failures || self.policy.is_over(self.calls(now))
            }
            State::Open { .. } => false,
            State::HalfOpen { .. } => true,
        };
        if opens {
            let until = self.after(now);
            self.turn(State::Open { until });
        }
    }

    /// Whether it was given before the last change.
    const fn is_past(&self, permit: Permit) -> bool {
        permit.0 < self.since
    }

    const fn grant(&mut self) -> Permit {
        let permit = Permit(self.next);
        self.next += 1;
        permit
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.answering.clear();
        self.since = self.next;
    }

    fn renew(&mut self, permit: Permit, now: Instant) -> bool {
        let until = self.place_until(now);
        let State::HalfOpen { trials, .. } = &mut self.state else { return false };
        let trial = trials.iter_mut().find(|trial| trial.permit == permit);
        trial.map(|trial| trial.until = until).is_some()
    }

    /// When a trial that is heard of now, and never again, has had its place.
    fn place_until(&self, now: Instant) -> Instant {
        let open = self.after(now);
        now.checked_add(BREAKER_TRIAL).map_or(open, |least| open.max(least))
    }

    /// The end of an open time that begins now, or a far one where the clock cannot express it.
    fn after(&self, now: Instant) -> Instant {
        now.checked_add(self.policy.open).or_else(|| now.checked_add(FAR)).unwrap_or(now)
    }
}

/// An open time that the clock cannot express lasts this long.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
