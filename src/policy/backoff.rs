//! How long to wait between attempts: exponential, with full jitter, from a seed.

use std::time::Duration;

/// Upper bound of the first wait; the vendors' SDKs start the same.
pub const BACKOFF_INITIAL: Duration = Duration::from_millis(500);

/// Upper bound of any wait; the vendors' SDKs stop the same.
pub const BACKOFF_MAX: Duration = Duration::from_secs(8);

/// Waits of `initial` × 2ⁿ up to `max`, each drawn evenly between nothing and that ("full
/// jitter": it spreads clients that failed together best, see the AWS Architecture Blog,
/// "Exponential Backoff And Jitter", 2015).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// Upper bound of the first wait.
    pub initial: Duration,
    /// Upper bound of any wait, unless the first one's is higher.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: BACKOFF_INITIAL, max: BACKOFF_MAX }
    }
}

impl Backoff {
    /// Waits from `initial` up to `max`. Zero for both: no wait at all.
    #[must_use]
    pub const fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max }
    }

    /// Upper bound of any wait: the maximum, but no less than the initial one.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.max.max(self.initial)
    }

    /// The waits in order, without end; the same for the same seed.
    ///
    /// ```
    /// use unbroken::policy::Backoff;
    ///
    /// let waits: Vec<_> = Backoff::default().delays(7).take(3).collect();
    /// assert_eq!(waits, Backoff::default().delays(7).take(3).collect::<Vec<_>>());
    /// assert!(waits[2].as_millis() <= 2000);
    /// ```
    #[must_use]
    pub const fn delays(self, seed: u64) -> Delays {
        Delays { backoff: self, state: seed, nth: 0 }
    }
}

/// The waits of a [`Backoff`].
#[derive(Clone, Debug)]
pub struct Delays {
    backoff: Backoff,
    state: u64,
    nth: u32,
}

impl Delays {
    /// Starts over from the initial wait; what is drawn next still differs.
    pub(crate) const fn reset(&mut self) {
        self.nth = 0;
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, and good enough to spread waits.
    const fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let factor = 1_u32.checked_shl(self.nth).unwrap_or(u32::MAX);
        let bound = self.backoff.initial.saturating_mul(factor).min(self.backoff.longest());
        self.nth = self.nth.saturating_add(1);
        let share = (self.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        Some(bound.mul_f64(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_is_below_its_bound_and_the_bound_doubles_up_to_the_maximum() {
        for seed in 0..200 {
            for (nth, wait) in Backoff::default().delays(seed).take(12).enumerate() {
                let bound = BACKOFF_INITIAL * 2_u32.pow(nth as u32);
                assert!(wait <= bound.min(BACKOFF_MAX), "seed {seed}, wait {nth}: {wait:?}");
            }
        }
    }

    #[test]
    fn the_jitter_is_full() {
        let firsts = (0..1000).map(|seed| Backoff::default().delays(seed).next().unwrap());
        let (mut low, mut high) = (0, 0);
        for wait in firsts {
            low += u32::from(wait < BACKOFF_INITIAL / 4);
            high += u32::from(wait > BACKOFF_INITIAL * 3 / 4);
        }
        assert!((200..300).contains(&low), "{low} of 1000 in the lowest quarter");
        assert!((200..300).contains(&high), "{high} of 1000 in the highest quarter");
    }

    /// A maximum that was not thought of does not undo the initial wait.
    #[test]
    fn the_maximum_is_no_less_than_the_initial_wait() {
        let initial = Duration::from_secs(20);
        let longest = Backoff::new(initial, BACKOFF_MAX).delays(1).take(200).max().unwrap();
        assert!(longest > BACKOFF_MAX && longest <= initial, "{longest:?}");
    }

    #[test]
    fn very_many_waits_do_not_overflow() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::MAX);
        assert_eq!(backoff.delays(1).take(200).count(), 200);
    }
}
