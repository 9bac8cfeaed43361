//! Which clock runs out next.
//!
//! In: when things happened. Out: a deadline and its name. It reads no clock.

use std::time::{Duration, Instant};

use crate::dialect::{Capabilities, Outline};
use crate::event::Timer;
use crate::policy::{self, Policy, Timeouts};

use super::attempt::Live;

/// When things happened.
#[derive(Debug)]
pub(super) struct Clocks {
    pub(super) started: Instant,
    /// The first cut of the reply, and the last time that something new came after it.
    pub(super) last_new: Option<Instant>,
    /// The end of a wait.
    pub(super) resume_at: Option<Instant>,
}

impl Clocks {
    /// The next deadline, if any clock is running. `paused`: that of progress is not.
    pub(super) fn next(
        &self,
        live: Option<&Live>,
        policy: &Policy,
        reasons: bool,
        pings: bool,
        paused: bool,
    ) -> Option<(Instant, Timer)> {
        let timeouts = &policy.timeouts;
        let overall = self.deadline(timeouts);
        let own = match live {
            None => self.resume_at.map(|at| (at, Timer::Backoff)),
            Some(live) => attempt_clock(live, policy, reasons || !pings, pings),
        };
        let delta = live.filter(|live| live.first_byte && live.finish.is_none()).and_then(|live| {
            let wait = delta_wait(timeouts.delta, live.is_quiet(reasons));
            after(live.last_said, wait, Timer::Delta)
        });
        let progress = self.last_new.filter(|_| !paused);
        let progress = progress.and_then(|at| after(at, policy.no_progress_max, Timer::Progress));
        earlier(earlier(overall, own), earlier(delta, progress))
    }

    /// When the reply must be over.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<(Instant, Timer)> {
        timeouts.overall.and_then(|wait| after(self.started, wait, Timer::Overall))
    }
}

pub(super) fn is_paused(live: Option<&Live>, reasons: bool) -> bool {
    live.is_some_and(|live| {
        live.finish.is_some()
            // The whole answer is made before its head comes.
            || live.head_only && live.refused.is_none()
            || live.first_byte && (live.is_quiet(reasons) || live.is_swallowing())
    })
}

fn attempt_clock(
    live: &Live,
    policy: &Policy,
    slow: bool,
    pings: bool,
) -> Option<(Instant, Timer)> {
    let timeouts = &policy.timeouts;
    if let Some(at) = live.refused {
        // The status has said it; the body only adds why.
        after(at, policy::CLOSING, Timer::Closing)
    } else if let Some((_, at)) = &live.finish {
        after((*at).max(live.last_said), policy::CLOSING, Timer::Closing)
    } else if live.first_byte {
        let default = if pings { policy::IDLE } else { policy::IDLE_SILENT };
        after(live.last_byte, timeouts.idle.unwrap_or(default), Timer::Idle)
    } else if live.head_only {
        after(live.opened, policy::HEAD, Timer::FirstEvent)
    } else {
        let default = if slow { policy::FIRST_EVENT_SLOW } else { policy::FIRST_EVENT };
        after(live.opened, timeouts.first_event.unwrap_or(default), Timer::FirstEvent)
    }
}

/// The deadline that comes first.
pub(super) fn earlier(
    one: Option<(Instant, Timer)>,
    other: Option<(Instant, Timer)>,
) -> Option<(Instant, Timer)> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// `None`: so far away that the clock cannot express it, which is never.
fn after(at: Instant, wait: Duration, timer: Timer) -> Option<(Instant, Timer)> {
    at.checked_add(wait).map(|at| (at, timer))
}

fn delta_wait(wait: Option<Duration>, quiet: bool) -> Duration {
    let wait = wait.unwrap_or(policy::DELTA);
    if quiet { wait.max(policy::DELTA_HIDDEN) } else { wait }
}

/// Whether the model reasons: because the request says so or because it always does.
pub(super) const fn reasons(outline: &Outline, capabilities: &Capabilities) -> bool {
    outline.reasoning || capabilities.reasoning
}
