//! Who is told that something is wrong, and that it is over.
//!
//! In: notices, and the time. Out: an [`Alert`] when a rule fires, and another one when it resolves. It must
//! never read a clock: where nothing is told, its owner asks it now and then.

mod rule;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

pub use self::rule::{AlertRule, Measure};
use super::errors::ErrorMetrics;
use super::{Observation, Observer};

/// Watches the replies of a client, and says once when a rule fires, and once when it resolves.
///
/// It keeps an [`ErrorMetrics`] of its own, [`errors`](Self::errors). A rule is looked at whenever something is
/// told that may change what it measures. Time passes also where nothing is told: call
/// [`check`](Self::check) now and then (every ten seconds, say), or a rule resolves only when something comes.
///
/// ```
/// use std::sync::Arc;
/// use unbroken::observe::{AlertRule, Alerts, Measure};
///
/// let mut rules = AlertRule::defaults();
/// rules.push(AlertRule::new("slow", Measure::TimeToFirstDelta, 5.0).resolve_below(2.0));
/// let alerts = Alerts::new(rules).on_alert(|alert| eprintln!("{}: {:?}", alert.rule, alert.state));
/// let alerts = Arc::new(alerts);
/// // Client::builder().observer(Arc::clone(&alerts)) …
/// assert!(alerts.check(std::time::Instant::now()).is_empty());
/// ```
pub struct Alerts {
    errors: ErrorMetrics,
    watched: Mutex<Watch>,
    told: Option<Box<Tell>>,
}

/// Whoever is told.
type Tell = dyn Fn(&Alert) + Send + Sync;

/// A rule fired, or resolved.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Alert {
    /// The name of the rule.
    pub rule: Arc<str>,
    /// Which of the two.
    pub state: AlertState,
    /// What was measured; none where nothing is left in the window, which resolves a rule.
    pub value: Option<f64>,
    /// When.
    pub at: Instant,
}

/// What a rule has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertState {
    /// It holds from now on.
    Fired,
    /// It holds no longer.
    Resolved,
}

/// The rules, and when they were looked at last.
#[derive(Debug)]
struct Watch {
    rules: Vec<Watched>,
    last: Option<Instant>,
}

#[derive(Debug)]
struct Watched {
    rule: AlertRule,
    holds: bool,
}

impl Alerts {
    /// Watches for `rules`; see [`AlertRule::defaults`].
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = AlertRule>) -> Self {
        let rules = rules.into_iter().map(|rule| Watched { rule, holds: false }).collect();
        let watched = Mutex::new(Watch { rules, last: None });
        Self { errors: ErrorMetrics::new(), watched, told: None }
    }

    /// Sets who is told of every alert, in place of whoever was before; nobody by default.
    ///
    /// It is called while a reply is polled, or while [`check`](Self::check) runs: be quick, and never
    /// block. Two alerts of one rule may come on two threads, and then in either order: [`Alert::at`] says
    /// which is the later.
    #[must_use]
    pub fn on_alert(mut self, tell: impl Fn(&Alert) + Send + Sync + 'static) -> Self {
        self.told = Some(Box::new(tell));
        self
    }

    /// Looks at every rule as of `now`: what fires or resolves, in the order of the rules. Whoever is told
    /// of alerts is told of these too. A time before the last look counts as the last one's.
    pub fn check(&self, now: Instant) -> Vec<Alert> {
        self.look(now, |_| true)
    }

    /// The names of the rules that hold.
    #[must_use]
    pub fn holding(&self) -> Vec<Arc<str>> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let holding = watched.rules.iter().filter(|watched| watched.holds);
        holding.map(|watched| Arc::clone(&watched.rule.name)).collect()
    }

    /// What the rules are about.
    #[must_use]
    pub const fn errors(&self) -> &ErrorMetrics {
        &self.errors
    }

    fn look(&self, now: Instant, concerns: impl Fn(Measure) -> bool) -> Vec<Alert> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // What two threads tell comes in either order, and a minute that is over does not come back.
        let now = watched.last.map_or(now, |last| now.max(last));
        watched.last = Some(now);
        let concerned = watched.rules.iter_mut();
        let concerned = concerned.filter(|watched| concerns(watched.rule.measure));
        let alerts: Vec<Alert> =
            concerned.filter_map(|watched| watched.look(&self.errors, now)).collect();
        // Whoever is told may ask what holds.
        drop(watched);
        if let Some(tell) = &self.told {
            alerts.iter().for_each(tell);
        }
        alerts
    }
}

impl Watched {
    fn look(&mut self, errors: &ErrorMetrics, now: Instant) -> Option<Alert> {
        let rule = &self.rule;
        let (value, samples) = errors.with(|state| rule.measured(state, now));
        let state = if self.holds {
            rule.resolves(value).then_some(AlertState::Resolved)
        } else {
            rule.fires(value, samples).then_some(AlertState::Fired)
        }?;
        self.holds = !self.holds;
        Some(Alert { rule: Arc::clone(&rule.name), state, value, at: now })
    }
}

impl Observer for Alerts {
    fn observe(&self, observation: &Observation<'_>) {
        self.errors.observe(observation);
        self.look(observation.at, |measure| measure.is_moved_by(observation.notice));
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts").field("holding", &self.holding()).finish_non_exhaustive()
    }
}
