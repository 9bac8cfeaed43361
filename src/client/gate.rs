//! What the replies of a client share: breakers, the retry budget, and the rungs that upstreams
//! refuse.
//!
//! In: an attempt that is to be sent, and how it ended. Out: whether it may be. It must never decide
//! what counts as a failure: the engine says that. Law kept: *Spend*.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::{Attempt, Notice, Refusal, Verdict};
use crate::policy::{self, Breaker, BreakerPolicy, BreakerState, Budget};

/// How long a refusal is believed: models and servers change, but not every minute.
const REFUSAL_TTL: Duration = Duration::from_secs(3600);

/// Refusals that are remembered; the oldest go first.
const REFUSALS_MAX: usize = 256;

/// Budgets that are kept; the ones used longest ago go first. As many as there are upstreams.
const BUDGETS_MAX: usize = 256;

/// Breakers that are kept; closed ones that were not used for the longest go first. A proxy may be
/// asked for any model name.
const BREAKERS_MAX: usize = 256;

/// Longest name of a model, in bytes, that is kept after its request: whoever asks may make one up.
const MODEL_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Gate {
    policy: BreakerPolicy,
    /// A full budget, for an upstream that is new.
    budget: Budget,
    /// The budget of each upstream: one that is down must not use up the retries of the others. The one
    /// used last comes last.
    budgets: Mutex<Vec<(Arc<str>, Budget)>>,
    refusals: Mutex<Vec<(Refusal, Instant)>>,
    /// The one used last comes last.
    breakers: Mutex<Vec<Guarded>>,
}

/// What a breaker lets through, of one upstream and model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerReport {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The model as asked for; empty where requests name none.
    pub model: Arc<str>,
    /// What it lets through.
    pub state: BreakerState,
}

/// Leave to send one attempt. Dropping it gives a trial back uncounted.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    key: Key,
    /// None where no breaker was asked, or its word did not count.
    permit: Option<policy::Permit>,
}

/// What a breaker is for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    upstream: Arc<str>,
    /// As asked for.
    model: Arc<str>,
}

#[derive(Debug)]
struct Guarded {
    key: Key,
    breaker: Breaker,
    /// The state that observers know of.
    told: BreakerState,
}

impl Gate {
    pub(super) const fn new(budget: Budget, policy: BreakerPolicy) -> Self {
        Self {
            policy,
            budget,
            budgets: Mutex::new(Vec::new()),
            refusals: Mutex::new(Vec::new()),
            breakers: Mutex::new(Vec::new()),
        }
    }

    /// Whether `attempt` may be sent: the breaker is asked first, so that what it refuses draws on no
    /// budget.
    pub(super) fn admit(
        self: &Arc<Self>,
        attempt: &Attempt,
        now: Instant,
        tell: impl FnOnce(&Notice),
    ) -> Option<Permit> {
        let key =
            Key { upstream: Arc::clone(&attempt.upstream), model: Arc::clone(&attempt.model) };
        let permit = if self.policy.failures == 0 || key.model.len() > MODEL_MAX {
            None
        } else {
            let (permit, notice) = self.act(&key, now, |breaker| breaker.try_acquire(now));
            if let Some(notice) = notice {
                tell(&notice);
            }
            if permit.is_err() && !attempt.exempt {
                return None;
            }
            permit.ok()
        };
        let permit = Permit { gate: Arc::clone(self), key, permit };
        self.affords(attempt, now).then_some(permit)
    }

    /// Whether the upstream's budget allows `attempt`. One that asks it anew adds to the budget.
    fn affords(&self, attempt: &Attempt, now: Instant) -> bool {
        let mut budgets = lock(&self.budgets);
        let known = budgets.iter().position(|(upstream, _)| *upstream == attempt.upstream);
        let (upstream, mut budget) = match known {
            Some(at) => budgets.remove(at),
            None => (Arc::clone(&attempt.upstream), self.budget.clone()),
        };
        let affords = !attempt.budgeted || budget.withdraw(now);
        if !attempt.budgeted && attempt.by.is_none() {
            budget.deposit(now);
        }
        if budgets.len() >= BUDGETS_MAX {
            budgets.remove(0);
        }
        budgets.push((upstream, budget));
        affords
    }

    pub(super) fn breakers(&self, now: Instant) -> Vec<BreakerReport> {
        let breakers = lock(&self.breakers);
        let report = |guarded: &Guarded| BreakerReport {
            upstream: Arc::clone(&guarded.key.upstream),
            model: Arc::clone(&guarded.key.model),
            state: guarded.breaker.state(now),
        };
        breakers.iter().map(report).collect()
    }

    /// Lets `act` at a breaker, and says so if it lets through more or less than before.
    fn act<T>(
        &self,
        key: &Key,
        now: Instant,
        act: impl FnOnce(&mut Breaker) -> T,
    ) -> (T, Option<Notice>) {
        let mut breakers = lock(&self.breakers);
        let mut guarded = match breakers.iter().position(|guarded| guarded.key == *key) {
            Some(at) => breakers.remove(at),
            None => Guarded {
                key: key.clone(),
                breaker: Breaker::new(self.policy),
                told: BreakerState::Closed,
            },
        };
        let result = act(&mut guarded.breaker);
        let state = guarded.breaker.state(now);
        let changed = mem::replace(&mut guarded.told, state) != state;
        let Key { upstream, model } = key.clone();
        let notice = changed.then_some(Notice::Breaker { upstream, model, state });
        if breakers.len() >= BREAKERS_MAX {
            let closed = |guarded: &Guarded| guarded.told == BreakerState::Closed;
            let oldest = breakers.iter().position(closed).unwrap_or(0);
            breakers.remove(oldest);
        }
        breakers.push(guarded);
        (result, notice)
    }

    pub(super) fn learn(&self, refusal: Refusal, now: Instant) {
        if refusal.model.len() > MODEL_MAX {
            return;
        }
        let mut refusals = lock(&self.refusals);
        refusals.retain(|(known, _)| *known != refusal);
        if refusals.len() >= REFUSALS_MAX {
            refusals.remove(0);
        }
        refusals.push((refusal, now));
    }

    pub(super) fn refusals(&self, now: Instant) -> Vec<Refusal> {
        let mut refusals = lock(&self.refusals);
        refusals.retain(|(_, at)| now.saturating_duration_since(*at) < REFUSAL_TTL);
        refusals.iter().map(|(refusal, _)| refusal.clone()).collect()
    }
}

impl Permit {
    /// The attempt is over; what that changes is for observers.
    pub(super) fn settle(mut self, verdict: Verdict, now: Instant) -> Option<Notice> {
        let permit = self.permit?;
        let (gate, key) = (&self.gate, &self.key);
        let ((), notice) = match verdict {
            Verdict::Success => gate.act(key, now, |breaker| breaker.on_success(permit)),
            Verdict::Failure => gate.act(key, now, |breaker| breaker.on_failure(permit, now)),
            Verdict::Retried => gate.act(key, now, |breaker| breaker.on_retried(permit, now)),
            Verdict::Uncounted => return None,
        };
        self.permit = None;
        notice
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(permit) = self.permit else { return };
        let mut breakers = lock(&self.gate.breakers);
        if let Some(guarded) = breakers.iter_mut().find(|guarded| guarded.key == self.key) {
            guarded.breaker.on_abandoned(permit);
        }
    }
}

/// A panic elsewhere leaves these values whole: each call changes them in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
