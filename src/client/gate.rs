//! What the replies of a client share: breakers, the retry budget, and the rungs that upstreams
//! refuse.
//!
//! In: an attempt that is to be sent, and how it ended. Out: whether it may be. It must never decide
//! what counts as a failure: the engine says that. Law kept: *Spend*.

use std::hash::Hash;
use std::mem;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::engine::{Attempt, Notice, Refusal, Verdict};
use crate::policy::{self, Breaker, BreakerPolicy, BreakerState, Budget, Calls};

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

/// How often a breaker is told that a trial is under way; a fraction of what its place lasts without that.
const RENEWAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Gate {
    policy: BreakerPolicy,
    /// A full budget, for an upstream that is new.
    budget: Budget,
    /// The budget of each upstream: one that is down must not use up the retries of the others.
    budgets: Mutex<LruCache<Arc<str>, Budget>>,
    /// When each was learnt last.
    refusals: Mutex<LruCache<Refusal, Instant>>,
    breakers: Mutex<LruCache<Key, Guarded>>,
    /// How many breakers were made.
    made: AtomicU64,
}

/// How the breaker of one upstream and model stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerReport {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The model as asked for; empty where requests name none.
    pub model: Arc<str>,
    /// What it lets through. An open one whose time has passed is half open, though the
    /// [notice](Notice::Breaker) of that comes with the first trial.
    pub state: BreakerState,
    /// Failures in a row; none unless it is closed.
    pub failures: u32,
    /// The calls of its window, and how many failed: of those that it let through while it was closed.
    pub calls: Calls,
    /// How long it is still open; none if it is not.
    pub remaining: Option<Duration>,
    /// Trials that have a place now.
    pub trials: usize,
}

/// Leave to send one attempt. Dropping it gives a trial back uncounted.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    key: Key,
    /// None where no breaker was asked, or its word did not count.
    permit: Option<Leave>,
    /// The attempt failed and was to be tried again: a failure, if it is not.
    owed: bool,
    /// When the breaker last heard that the request is under way, if it is a trial.
    heard: Option<Instant>,
}

/// What a breaker gave.
#[derive(Clone, Copy, Debug)]
struct Leave {
    /// The number of the breaker: one that was forgotten and made again knows nothing of it.
    of: u64,
    permit: policy::Permit,
}

/// What a breaker is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    upstream: Arc<str>,
    /// As asked for.
    model: Arc<str>,
}

#[derive(Debug)]
struct Guarded {
    number: u64,
    breaker: Breaker,
    /// The state that observers know of.
    told: BreakerState,
}

impl Gate {
    pub(super) fn new(budget: Budget, policy: BreakerPolicy) -> Self {
        Self {
            policy,
            budget,
            budgets: Mutex::new(at_most(BUDGETS_MAX)),
            refusals: Mutex::new(at_most(REFUSALS_MAX)),
            breakers: Mutex::new(at_most(BREAKERS_MAX)),
            made: AtomicU64::new(0),
        }
    }

    /// Whether `attempt` may be sent: the breaker is asked first, so that what it refuses draws on no
    /// budget. `held`: what the attempt before it has left, if it is of the same reply. A retry that the budget
    /// refuses makes a failure of what it was to heal.
    pub(super) fn admit(
        self: &Arc<Self>,
        attempt: &Attempt,
        held: Option<Permit>,
        now: Instant,
        tell: impl Fn(&Notice),
    ) -> Option<Permit> {
        let key =
            Key { upstream: Arc::clone(&attempt.upstream), model: Arc::clone(&attempt.model) };
        let mut permit =
            Permit { gate: Arc::clone(self), key, permit: None, owed: false, heard: None };
        if self.policy.failures != 0 && permit.key.model.len() <= MODEL_MAX {
            let held = held.filter(|held| held.key == permit.key);
            permit.owed = held.as_ref().is_some_and(|held| held.owed);
            let held = held.and_then(|mut held| held.permit.take());
            let (leave, is_trial, notice) = self.leave(&permit.key, held, now);
            permit.heard = is_trial.then_some(now);
            let refused = leave.is_err() && !attempt.exempt;
            // Before anybody hears of it: a trial is not lost where an observer panics.
            permit.permit = leave.ok();
            if let Some(notice) = notice {
                tell(&notice);
            }
            if refused {
                return None;
            }
        }
        if self.affords(attempt, now) {
            permit.owed = false;
            return Some(permit);
        }
        permit.unretried(now).iter().for_each(tell);
        None
    }

    /// Whether the upstream's budget allows `attempt`. One that asks it anew adds to the budget.
    fn affords(&self, attempt: &Attempt, now: Instant) -> bool {
        let mut budgets = lock(&self.budgets);
        let upstream = Arc::clone(&attempt.upstream);
        let budget = budgets.get_or_insert_mut(upstream, || self.budget.clone());
        let affords = !attempt.budgeted || budget.withdraw(now);
        if !attempt.budgeted && attempt.by.is_none() {
            budget.deposit(now);
        }
        affords
    }

    pub(super) fn breakers(&self, now: Instant) -> Vec<BreakerReport> {
        let breakers = lock(&self.breakers);
        let report = |(key, guarded): (&Key, &Guarded)| BreakerReport {
            upstream: Arc::clone(&key.upstream),
            model: Arc::clone(&key.model),
            state: guarded.breaker.state(now),
            failures: guarded.breaker.failures(),
            calls: guarded.breaker.calls(now),
            remaining: guarded.breaker.remaining(now),
            trials: guarded.breaker.trials(now),
        };
        breakers.iter().rev().map(report).collect()
    }

    /// Asks the breaker of `key`, which is made if there is none.
    fn leave(
        &self,
        key: &Key,
        held: Option<Leave>,
        now: Instant,
    ) -> (Result<Leave, Instant>, bool, Option<Notice>) {
        let mut breakers = lock(&self.breakers);
        if breakers.len() >= BREAKERS_MAX && !breakers.contains(key) {
            make_room(&mut breakers);
        }
        let guarded = breakers.get_or_insert_mut_ref(key, || Guarded {
            number: self.made.fetch_add(1, Ordering::Relaxed),
            breaker: Breaker::new(self.policy),
            told: BreakerState::Closed,
        });
        let of = guarded.number;
        let held = held.filter(|held| held.of == of);
        let (permit, notice) = guarded.act(key, now, |breaker| match held {
            Some(held) => breaker.try_continue(held.permit, now),
            None => breaker.try_acquire(now),
        });
        let is_trial = permit.is_ok_and(|permit| guarded.breaker.is_trial(permit));
        (permit.map(|permit| Leave { of, permit }), is_trial, notice)
    }

    pub(super) fn learn(&self, refusal: Refusal, now: Instant) {
        if refusal.model.len() > MODEL_MAX {
            return;
        }
        lock(&self.refusals).put(refusal, now);
    }

    pub(super) fn refusals(&self, now: Instant) -> Vec<Refusal> {
        let mut refusals = lock(&self.refusals);
        refusals.retain(|_, at| now.saturating_duration_since(*at) < REFUSAL_TTL);
        refusals.iter().rev().map(|(refusal, _)| refusal.clone()).collect()
    }
}

impl Guarded {
    /// Lets `act` at the breaker, and says so if it lets through more or less than before.
    fn act<T>(
        &mut self,
        key: &Key,
        now: Instant,
        act: impl FnOnce(&mut Breaker) -> T,
    ) -> (T, Option<Notice>) {
        let result = act(&mut self.breaker);
        let state = self.breaker.state(now);
        let changed = mem::replace(&mut self.told, state) != state;
        let Key { upstream, model } = key.clone();
        let notice = changed.then_some(Notice::Breaker { upstream, model, state });
        (result, notice)
    }
}

impl Permit {
    /// Whether the breaker waits to hear of it.
    pub(super) const fn is_trial(&self) -> bool {
        self.heard.is_some()
    }

    /// The request is under way: a trial keeps its place, however long its answer is.
    pub(super) fn alive(&mut self, now: Instant) {
        let (Some(heard), Some(Leave { of, permit })) = (&mut self.heard, self.permit) else {
            return;
        };
        if now.saturating_duration_since(*heard) < RENEWAL {
            return;
        }
        *heard = now;
        self.tell(of, |breaker| breaker.on_alive(permit, now));
    }

    /// The answer has begun.
    pub(super) fn answering(&self) {
        if let Some(Leave { of, permit }) = self.permit {
            self.tell(of, |breaker| breaker.on_answering(permit));
        }
    }

    /// The attempt is over; what that changes is for observers. A trial that has neither succeeded nor
    /// failed keeps its place for the next attempt of its reply; it is given back when this is dropped.
    pub(super) fn settle(&mut self, verdict: Verdict, now: Instant) -> Option<Notice> {
        let leave = self.permit?;
        self.owed = verdict == Verdict::Retried;
        if matches!(verdict, Verdict::Success | Verdict::Slow | Verdict::Failure | Verdict::Setback)
        {
            self.permit = None;
        }
        self.act(leave, now, |breaker, permit| match verdict {
            Verdict::Success => breaker.on_success(permit, now),
            Verdict::Slow | Verdict::Failure => breaker.on_failure(permit, now),
            Verdict::Retried | Verdict::Setback => breaker.on_setback(permit, now),
            Verdict::Continued => breaker.on_continued(permit, now),
            Verdict::Uncounted => {}
        })
    }

    /// Nothing is sent any more for the reply at this upstream: what a retry was to heal was a failure.
    pub(super) fn unretried(&mut self, now: Instant) -> Option<Notice> {
        let owed = mem::take(&mut self.owed);
        let leave = self.permit.filter(|_| owed)?;
        self.act(leave, now, |breaker, permit| breaker.on_unretried(permit, now))
    }

    /// Tells breaker `of`, if it is not forgotten, what changes nothing for others.
    fn tell(&self, of: u64, tell: impl FnOnce(&mut Breaker)) {
        let mut breakers = lock(&self.gate.breakers);
        if let Some(guarded) = breakers.peek_mut(&self.key).filter(|guarded| guarded.number == of) {
            tell(&mut guarded.breaker);
        }
    }

    /// Lets `act` at the breaker that gave `leave`, if it is not forgotten.
    fn act(
        &self,
        leave: Leave,
        now: Instant,
        act: impl FnOnce(&mut Breaker, policy::Permit),
    ) -> Option<Notice> {
        let Leave { of, permit } = leave;
        let mut breakers = lock(&self.gate.breakers);
        let guarded = breakers.get_mut(&self.key).filter(|guarded| guarded.number == of)?;
        guarded.act(&self.key, now, |breaker| act(breaker, permit)).1
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(Leave { of, permit }) = self.permit else { return };
        self.tell(of, |breaker| breaker.on_abandoned(permit));
    }
}

/// One breaker goes: the closed one that was not used for the longest, if there is one.
fn make_room(breakers: &mut LruCache<Key, Guarded>) {
    let closed = |(_, guarded): &(&Key, &Guarded)| guarded.told == BreakerState::Closed;
    match breakers.iter().rev().find(closed).map(|(key, _)| key.clone()) {
        Some(key) => drop(breakers.pop(&key)),
        None => drop(breakers.pop_lru()),
    }
}

fn at_most<K: Hash + Eq, V>(max: usize) -> LruCache<K, V> {
    LruCache::sparse(NonZeroUsize::new(max).unwrap_or(NonZeroUsize::MIN))
}

/// A panic elsewhere leaves these values whole: each call changes them in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
