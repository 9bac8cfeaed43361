//! Who listens to notices.
//!
//! In: [`Notice`]s, each with its reply and its time. Out: whatever the listener makes of them: spans
//! (`Tracing`), numbers (`Metrics`), rates and percentiles ([`ErrorMetrics`]), alerts ([`Alerts`]). It must
//! never slow a reply down, and never tell keys, bodies or generated text.

mod alert;
mod breakers;
mod errors;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(test)]
mod scene;
#[cfg(feature = "tracing")]
mod tracing;
mod underway;

use std::sync::Arc;
use std::time::Instant;

use crate::engine::Notice;

pub use self::alert::{Alert, AlertRule, AlertState, Alerts, Measure};
pub use self::errors::{
    BreakerAt, ErrorMetrics, ErrorSnapshot, MinuteCounts, Percentiles, ReplyCounts,
};
#[cfg(feature = "metrics")]
pub use self::metrics::Metrics;
#[cfg(feature = "proxy")]
pub(crate) use self::metrics::{BREAKER, level};
#[cfg(feature = "tracing")]
pub use self::tracing::Tracing;

/// Number of a reply, counted from 1 among all replies of a client, of its clones and of clients that were
/// made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(u64);

impl ReplyId {
    /// The number, as one; a client counts by itself.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, counted from 1.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// One fact, of one reply, at one time.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Observation<'a> {
    /// The reply that it is about.
    pub reply: ReplyId,
    /// When it was told, by the clock of the client.
    pub at: Instant,
    /// The fact.
    pub notice: &'a Notice,
}

impl<'a> Observation<'a> {
    /// Puts a fact together, for tests of an observer.
    #[must_use]
    pub const fn new(reply: ReplyId, at: Instant, notice: &'a Notice) -> Self {
        Self { reply, at, notice }
    }
}

/// Listens to what the replies of a client tell operators.
///
/// It is called while a reply is polled, from whatever thread that happens on: be quick, and never block.
pub trait Observer: Send + Sync + 'static {
    /// Takes in one fact.
    fn observe(&self, observation: &Observation<'_>);
}

impl<F: Fn(&Observation<'_>) + Send + Sync + 'static> Observer for F {
    fn observe(&self, observation: &Observation<'_>) {
        self(observation);
    }
}

/// A listener that its owner keeps a hand on, to ask it later what it has heard.
impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, observation: &Observation<'_>) {
        (**self).observe(observation);
    }
}
