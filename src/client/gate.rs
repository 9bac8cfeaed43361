//! What the replies of a client share: the retry budget, and the rungs that upstreams refuse.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::Refusal;
use crate::policy::Budget;

/// How long a refusal is believed: models and servers change, but not every minute.
const REFUSAL_TTL: Duration = Duration::from_secs(3600);

/// Refusals that are remembered; the oldest go first.
const REFUSALS_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Gate {
    budget: Mutex<Budget>,
    refusals: Mutex<Vec<(Refusal, Instant)>>,
}

impl Gate {
    pub(super) const fn new(budget: Budget) -> Self {
        Self { budget: Mutex::new(budget), refusals: Mutex::new(Vec::new()) }
    }

    /// A reply begins.
    pub(super) fn enter(&self, now: Instant) {
        lock(&self.budget).deposit(now);
    }

    /// Whether one more retry is allowed.
    pub(super) fn withdraw(&self, now: Instant) -> bool {
        lock(&self.budget).withdraw(now)
    }

    pub(super) fn learn(&self, refusal: Refusal, now: Instant) {
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

/// A panic elsewhere leaves these values whole: each call changes them in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
