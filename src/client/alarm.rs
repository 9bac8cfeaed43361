//! The timer that wakes a reply.
//!
//! In: a deadline, and the clock. Out: whether it has passed. The clock is believed, not the timer's
//! wake-up; and a deadline that nobody waited for is believed only after another look at the body.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::clock::Clock;

/// The timer that wakes a reply.
#[derive(Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    /// The deadline that somebody is waiting for.
    awaited: Option<Instant>,
    /// A deadline that passed unobserved, and is believed only after another look at the body.
    doubted: Option<Instant>,
}

impl Alarm {
    /// Ready when the clock has passed `until`; `listening`: an upstream may still be heard.
    pub(super) fn poll(
        &mut self,
        clock: &Clock,
        until: Option<Instant>,
        listening: bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(until) = until else {
            return Poll::Pending;
        };
        loop {
            let now = clock.now();
            let left = until.saturating_duration_since(now);
            let late = self.awaited != Some(until) || now.saturating_duration_since(until) > LATE;
            let wait = if !left.is_zero() {
                self.awaited = Some(until);
                left.min(SLICE)
            } else if listening && late && self.doubted != Some(until) {
                self.doubted = Some(until);
                GRACE
            } else if self.doubted == Some(until) && self.is_armed(cx) {
                return Poll::Pending;
            } else {
                self.sleep = None;
                return Poll::Ready(());
            };
            self.arm(wait);
            if self.is_armed(cx) {
                return Poll::Pending;
            }
        }
    }

    /// Nobody waits any more: whoever has an item may take his time before he polls again.
    pub(super) const fn unattended(&mut self) {
        self.awaited = None;
    }

    fn arm(&mut self, wait: Duration) {
        let at = tokio::time::Instant::now() + wait;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }

    /// Whether the timer is still running; then the task is woken when it is not.
    fn is_armed(&mut self, cx: &mut Context<'_>) -> bool {
        self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_pending())
    }
}

/// Longest sleep before the clock is looked at again: a timer may stand still while the machine sleeps.
const SLICE: Duration = Duration::from_secs(10);

/// A deadline that nobody waited for when it passed, or that passed longer ago than this: the caller
/// did not poll, or the machine slept. The upstream may have spoken meanwhile, and gets a moment to be
/// heard.
const LATE: Duration = Duration::from_secs(1);

/// That moment.
const GRACE: Duration = Duration::from_millis(250);
