//! The retry budget that all replies of a client share, one for each upstream: it stops storms, not
//! recoveries.

use std::time::{Duration, Instant};

/// Retries that a full budget holds.
pub const BUDGET_CAPACITY: u32 = 10;

/// Retries that come back every second.
pub const BUDGET_PER_SECOND: u32 = 1;

/// Retries that every new call brings, so that a busy client may retry more than an idle one.
pub const BUDGET_PER_CALL: f64 = 0.2;

/// Counted in thousandths of a retry, so that fractions add up exactly.
const WHOLE: u64 = 1000;

/// A token bucket of retries. Only attempts that follow an attempt without progress draw on it.
#[derive(Clone, Debug)]
pub struct Budget {
    level: u64,
    capacity: u64,
    per_second: u64,
    per_call: u64,
    since: Option<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(BUDGET_CAPACITY, BUDGET_PER_SECOND, BUDGET_PER_CALL)
    }
}

impl Budget {
    /// A full budget of `capacity` retries that gains `per_second` retries a second and `per_call`
    /// (0 to 1; what lies outside is brought inside) with every call.
    #[must_use]
    pub fn new(capacity: u32, per_second: u32, per_call: f64) -> Self {
        let capacity = u64::from(capacity) * WHOLE;
        Self {
            level: capacity,
            capacity,
            per_second: u64::from(per_second) * WHOLE,
            per_call: (per_call.clamp(0.0, 1.0) * WHOLE as f64) as u64,
            since: None,
        }
    }

    /// A new call began.
    pub fn deposit(&mut self, now: Instant) {
        self.refill(now);
        self.level = self.level.saturating_add(self.per_call).min(self.capacity);
    }

    /// Takes one retry, if there is one.
    pub fn withdraw(&mut self, now: Instant) -> bool {
        self.refill(now);
        let left = self.level.checked_sub(WHOLE);
        self.level = left.unwrap_or(self.level);
        left.is_some()
    }

    fn refill(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let gained = passed.saturating_mul(self.per_second) / 1000;
        if gained > 0 {
            // Not `now`: the part of a millisecond that is over would be lost with every call.
            self.since = since.checked_add(Duration::from_millis(passed)).or(Some(now));
            self.level = self.level.saturating_add(gained).min(self.capacity);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant to start from; no time passes")]
mod tests {
    use super::*;

    fn drain(budget: &mut Budget, now: Instant) -> u32 {
        (0..1000).map_while(|_| budget.withdraw(now).then_some(())).count() as u32
    }

    #[test]
    fn holds_ten_and_gains_one_a_second_up_to_ten() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        assert_eq!(drain(&mut budget, start), 10);
        assert_eq!(drain(&mut budget, start + Duration::from_millis(999)), 0);
        assert_eq!(drain(&mut budget, start + Duration::from_millis(1999)), 1);
        assert_eq!(drain(&mut budget, start + Duration::from_secs(3600)), 10);
    }

    #[test]
    fn five_calls_bring_one() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        drain(&mut budget, now);
        for _ in 0..5 {
            assert!(!budget.withdraw(now));
            budget.deposit(now);
        }
        assert_eq!(drain(&mut budget, now), 1);
    }

    /// However often it is looked at.
    #[test]
    fn a_busy_client_gains_as_much_a_second_as_an_idle_one() {
        let (mut budget, start) = (Budget::new(10, 1, 0.0), Instant::now());
        drain(&mut budget, start);
        for call in 1..=2000 {
            budget.deposit(start + Duration::from_micros(1999) * call);
        }
        assert_eq!(drain(&mut budget, start + Duration::from_secs(4)), 4);
    }

    #[test]
    fn what_is_set_too_high_or_too_low_is_brought_inside() {
        let now = Instant::now();
        for (per_call, retries) in [(7.0, 1), (-7.0, 0), (f64::NAN, 0)] {
            let mut budget = Budget::new(3, 0, per_call);
            drain(&mut budget, now);
            budget.deposit(now);
            assert_eq!(drain(&mut budget, now), retries, "{per_call}");
        }
    }

    #[test]
    fn time_that_stands_still_or_runs_back_gains_nothing() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        let later = start + Duration::from_secs(5);
        drain(&mut budget, later);
        assert!(!budget.withdraw(start));
        assert!(!budget.withdraw(later));
    }
}
