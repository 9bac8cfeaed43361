//! What counts, in which minute, and for how long.

use std::collections::BTreeMap;

use super::super::scene::{Scene, end, lost};
use super::*;
use crate::event::{Join, Source};
use crate::policy::BreakerState;
use crate::report::Report;

fn scene() -> Scene<ErrorMetrics> {
    Scene::new(ErrorMetrics::new())
}

fn seen(scene: &Scene<ErrorMetrics>) -> ErrorSnapshot {
    scene.observer.snapshot(scene.now)
}

fn near(found: Option<Duration>, seconds: f64) {
    let found = found.expect("something was measured").as_secs_f64();
    assert!((found - seconds).abs() <= 0.011 * seconds, "{found} is not {seconds}");
}

#[test]
fn nothing_is_no_rate() {
    let snapshot = seen(&scene());
    assert_eq!(snapshot.replies, ReplyCounts::default());
    assert_eq!((snapshot.error_rate, snapshot.unverified_seams), (None, None));
    assert_eq!((snapshot.time_to_first_delta.count, snapshot.time_to_first_delta.p50), (0, None));
    assert_eq!(snapshot.window, Duration::from_secs(3600));
}

/// The rate is of replies that ended by themselves, and the caller's own errors are none.
#[test]
fn what_counts_as_an_error() {
    let mut scene = scene();
    scene.finish(6);
    scene.fail(2, ErrorKind::Overloaded);
    scene.fail(1, ErrorKind::Reset);
    scene.fail(1, ErrorKind::NoProgress);
    scene.fail(3, ErrorKind::ContextLength);
    scene.fail(1, ErrorKind::Authentication);
    scene.fail(5, ErrorKind::Canceled);
    let snapshot = seen(&scene);
    let counts = snapshot.replies;
    let counts = [counts.finished, counts.failed, counts.refused, counts.canceled];
    assert_eq!(counts, [6, 4, 4, 5]);
    assert_eq!(snapshot.error_rate, Some(0.4));
    let kinds = BTreeMap::from([
        ("authentication", 1),
        ("context_length", 3),
        ("no_progress", 1),
        ("overloaded", 2),
        ("reset", 1),
    ]);
    assert_eq!(snapshot.reply_errors, kinds);
    assert!(snapshot.attempt_errors.is_empty());
}

/// A reply that finishes after two attempts that were turned away has no error; the attempts have.
#[test]
fn errors_of_attempts_are_told_from_those_of_replies() {
    let mut scene = scene();
    scene.begin();
    scene.attempts_fail(2, ErrorKind::RateLimited);
    scene.attempts_fail(1, ErrorKind::Stalled);
    scene.over(Ok(end()), Report::default());
    let snapshot = seen(&scene);
    assert_eq!(snapshot.attempt_errors, BTreeMap::from([("rate_limited", 2), ("stalled", 1)]));
    assert_eq!((snapshot.rate_limits, snapshot.error_rate), (2, Some(0.0)));
    assert!(snapshot.reply_errors.is_empty());
}

#[test]
fn an_answer_that_no_model_gave_is_no_error_but_told_apart() {
    let mut scene = scene();
    scene.finish(1);
    scene.begin();
    let mut finish = end();
    finish.source = Source::HandOff;
    scene.over(Ok(finish), Report::default());
    let snapshot = seen(&scene);
    assert_eq!(snapshot.sources, BTreeMap::from([("hand-off", 1), ("model", 1)]));
    assert_eq!(snapshot.error_rate, Some(0.0));
}

#[test]
fn the_window_slides_by_the_minute() {
    let mut scene = scene();
    scene.fail(1, ErrorKind::Upstream);
    scene.pass(59);
    scene.fail(1, ErrorKind::Upstream);
    scene.pass(61);
    scene.finish(2);
    let failed = |scene: &Scene<ErrorMetrics>, minutes: u64| {
        let window = Duration::from_secs(60 * minutes);
        scene.observer.within(scene.now, window).replies.failed
    };
    assert_eq!([1, 2, 3].map(|minutes| failed(&scene, minutes)), [0, 0, 2]);
    let ago: Vec<u64> = seen(&scene).minutes.iter().map(|minute| minute.ago).collect();
    assert_eq!(ago, [2, 0], "a minute without anything is left out");
    scene.pass(57 * 60);
    assert_eq!(seen(&scene).replies.failed, 2, "the 60th minute");
    scene.pass(60);
    assert_eq!((seen(&scene).replies.failed, seen(&scene).replies.finished), (0, 2));
    scene.pass(3600);
    assert_eq!(seen(&scene).minutes, []);
}

/// Windows are rounded up to whole minutes, and bounded.
#[test]
fn windows_that_are_too_short_or_too_long() {
    let scene = scene();
    for (asked, kept) in [(0, 60), (1, 60), (60, 60), (61, 120), (u64::MAX, 3600)] {
        let snapshot = scene.observer.within(scene.now, Duration::from_secs(asked));
        assert_eq!(snapshot.window, Duration::from_secs(kept), "{asked}");
    }
}

#[test]
fn memory_is_an_hour_whatever_comes() {
    let mut scene = scene();
    for _ in 0..200 {
        scene.fail(1, ErrorKind::Stalled);
        scene.pass(60);
    }
    assert_eq!(seen(&scene).minutes.len(), 59, "and the minute under way, in which nothing was");
    assert_eq!(seen(&scene).reply_errors, BTreeMap::from([("stalled", 59)]));
    // What two threads tell comes in either order; what is too old has no place.
    let late = scene.now;
    scene.now -= Duration::from_secs(90);
    scene.fail(1, ErrorKind::Reset);
    scene.now -= Duration::from_secs(3600);
    scene.fail(1, ErrorKind::Policy);
    scene.now = late;
    assert_eq!(seen(&scene).reply_errors, BTreeMap::from([("reset", 1), ("stalled", 59)]));
}

#[test]
fn waits_are_percentiles() {
    let mut scene = scene();
    for seconds in 1..=100 {
        scene.begin();
        let began = scene.now;
        scene.now += Duration::from_millis(100 * seconds);
        scene.tell(&Notice::FirstDelta { attempt: None });
        // Only the first content counts.
        scene.tell(&Notice::FirstDelta { attempt: None });
        scene.now = began;
        scene.over(Ok(end()), lost(seconds));
    }
    let snapshot = seen(&scene);
    let waits = snapshot.time_to_first_delta;
    assert_eq!(waits.count, 100);
    near(waits.p50, 5.0);
    near(waits.p95, 9.5);
    near(waits.p99, 9.9);
    assert_eq!(snapshot.time_lost.count, 100);
    near(snapshot.time_lost.p95, 95.0);
}

#[test]
fn a_cut_that_nothing_followed_lost_no_time() {
    let mut scene = scene();
    scene.begin();
    let mut report = lost(3);
    report.attempts.pop();
    scene.over(Err(ErrorKind::Reset), report);
    assert_eq!(seen(&scene).time_lost.count, 0);
}

#[test]
fn seams_breakers_and_refusals() {
    let mut scene = scene();
    scene.begin();
    scene.join(3, Join::Literal);
    scene.join(1, Join::Unverified);
    scene.breaker("a", BreakerState::Open);
    scene.breaker("b", BreakerState::Open);
    scene.breaker("b", BreakerState::HalfOpen);
    scene.breaker("a", BreakerState::Closed);
    scene.refuse_account();
    let snapshot = seen(&scene);
    assert_eq!(snapshot.seams, BTreeMap::from([("literal", 3), ("unverified", 1)]));
    assert_eq!(snapshot.unverified_seams, Some(0.25));
    let breakers: Vec<_> = snapshot.breakers.iter().map(|at| (&*at.model, at.state)).collect();
    assert_eq!(breakers, [("b", BreakerState::HalfOpen)]);
    assert_eq!(snapshot.account_refusals, 1);
}

#[test]
fn a_snapshot_is_json() {
    let mut scene = scene();
    scene.answer_after(2);
    scene.fail(1, ErrorKind::Stalled);
    let json = serde_json::to_value(seen(&scene)).expect("it is plain values");
    assert_eq!(json["window"], 3_600_000);
    assert_eq!(json["error_rate"], 0.5);
    assert_eq!(json["reply_errors"]["stalled"], 1);
    assert_eq!(json["time_to_first_delta"]["count"], 1);
    assert_eq!(json["time_lost"]["p95"], serde_json::Value::Null);
    assert_eq!(json["minutes"][0]["replies"]["finished"], 1);
}
