//! The breakers that let through less than everything, as far as was told.
//!
//! In: changes. Out: which stand how. It must never grow without end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::policy::BreakerState;

/// An upstream and a model.
type Key = (Arc<str>, Arc<str>);

/// The breakers that are not closed.
#[derive(Debug)]
pub(super) struct Breakers(BTreeMap<Key, Told>);

/// What was told of one last, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) state: BreakerState,
    pub(super) at: Instant,
}

impl Breakers {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// One changes to `state`.
    pub(super) fn turn(
        &mut self,
        upstream: &Arc<str>,
        model: &Arc<str>,
        state: BreakerState,
        at: Instant,
    ) {
        let key = (Arc::clone(upstream), Arc::clone(model));
        if state == BreakerState::Closed {
            self.0.remove(&key);
            return;
        }
        self.0.insert(key, Told { state, at });
        if self.0.len() > BREAKERS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, told)| told.at);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.0.remove(&key);
            }
        }
    }

    /// The state of the model of `upstream` that lets through the least.
    #[cfg(feature = "metrics")]
    pub(super) fn worst(&self, upstream: &str) -> BreakerState {
        let own = self.0.iter().filter(|((of, _), _)| **of == *upstream);
        let states: Vec<BreakerState> = own.map(|(_, told)| told.state).collect();
        let worst = [BreakerState::Open, BreakerState::HalfOpen];
        worst.into_iter().find(|state| states.contains(state)).unwrap_or(BreakerState::Closed)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, Told)> {
        self.0.iter().map(|(key, told)| (key, *told))
    }
}

/// Breakers that an observer remembers; the ones that were told of longest ago are forgotten first. As many
/// as a client has.
const BREAKERS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_is_not_closed_is_remembered_and_not_without_end() {
        let mut breakers = Breakers::new();
        #[expect(clippy::disallowed_methods, reason = "any time will do")]
        let start = Instant::now();
        let (upstream, model) = (Arc::from("one"), Arc::from("a"));
        breakers.turn(&upstream, &model, BreakerState::Open, start);
        breakers.turn(&upstream, &model, BreakerState::Closed, start);
        assert_eq!(breakers.iter().count(), 0);
        for seconds in 0..=BREAKERS_MAX as u64 {
            let model = Arc::from(seconds.to_string());
            let at = start + Duration::from_secs(seconds);
            breakers.turn(&upstream, &model, BreakerState::HalfOpen, at);
        }
        assert_eq!(breakers.iter().count(), BREAKERS_MAX);
        assert!(!breakers.iter().any(|((_, model), _)| **model == *"0"), "the oldest");
    }
}
