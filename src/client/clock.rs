//! What time it is, the machine's sleep included.
//!
//! The only file that reads a clock. A monotonic clock may stand still while the machine sleeps,
//! and a connection does not survive that: so it is compared with the wall clock.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::header::DATE;
use http::{HeaderMap, HeaderValue};

/// A wall clock that gains more than this on the monotonic one means sleep; smaller differences are
/// the wall clock being set right.
const SLEEP_MIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Clock(Mutex<Reading>);

#[derive(Debug)]
struct Reading {
    steady: Instant,
    wall: SystemTime,
    slept: Duration,
}

impl Clock {
    pub(super) fn new() -> Self {
        let (steady, wall) = read();
        Self(Mutex::new(Reading { steady, wall, slept: Duration::ZERO }))
    }

    pub(super) fn now(&self) -> Instant {
        let (steady, wall) = read();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).advance(steady, wall)
    }

    /// Dates the answer of a server that does not say when it answered: a date to wait
    /// for counts from there.
    pub(super) fn stamp(headers: &mut HeaderMap) {
        let now = || HeaderValue::try_from(httpdate::fmt_http_date(read().1)).ok();
        if let Some(now) = (!headers.contains_key(DATE)).then(now).flatten() {
            headers.insert(DATE, now);
        }
    }
}

impl Reading {
    /// The time at these readings of the two clocks.
    fn advance(&mut self, steady: Instant, wall: SystemTime) -> Instant {
        let steady_gain = steady.saturating_duration_since(self.steady);
        let wall_gain = wall.duration_since(self.wall).unwrap_or_default();
        if let Some(slept) = wall_gain.checked_sub(steady_gain).filter(|gap| *gap > SLEEP_MIN) {
            self.slept += slept;
        }
        self.steady = self.steady.max(steady);
        self.wall = wall;
        self.steady.checked_add(self.slept).unwrap_or(self.steady)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where time enters")]
fn read() -> (Instant, SystemTime) {
    (tokio::time::Instant::now().into_std(), SystemTime::now())
}

/// A number that differs between processes: the keys of the standard library's hasher.
pub(super) fn entropy() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_counts_and_a_corrected_wall_clock_does_not() {
        let (steady, wall) = read();
        let mut reading = Reading { steady, wall, slept: Duration::ZERO };
        let second = Duration::from_secs(1);
        assert_eq!(reading.advance(steady + second, wall + second), steady + second);
        // Set forward by 5 s, then back by an hour: no sleep.
        assert_eq!(reading.advance(steady + second * 2, wall + second * 7), steady + second * 2);
        assert_eq!(reading.advance(steady + second * 3, wall - second * 3600), steady + second * 3);
        // An hour of sleep in which the steady clock stood still.
        let woken = reading.advance(steady + second * 4, wall + second);
        assert_eq!(woken, steady + second * 4 + second * 3600);
    }
}
