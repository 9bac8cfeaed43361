//! Each rule fires once, holds, and resolves once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::scene::{Scene, end, lost};
use super::*;
use crate::error::ErrorKind;
use crate::event::Join;
use crate::policy::BreakerState;

type Told = Arc<Mutex<Vec<(String, AlertState)>>>;

/// A scene that is watched by `rules`, and what is told.
fn watched(rules: Vec<AlertRule>) -> (Scene<Alerts>, Told) {
    let told = Told::default();
    let sink = Arc::clone(&told);
    let alerts = Alerts::new(rules).on_alert(move |alert| {
        sink.lock().expect("no test panics here").push((alert.rule.to_string(), alert.state));
    });
    (Scene::new(alerts), told)
}

/// A scene that is watched by the default rule of that name.
fn by_default(name: &str) -> (Scene<Alerts>, Told) {
    let rule = AlertRule::defaults().into_iter().find(|rule| *rule.name == *name);
    watched(vec![rule.expect("there is such a rule")])
}

/// How often it fired and resolved, in order.
fn states(told: &Told) -> Vec<AlertState> {
    told.lock().expect("no test panics here").iter().map(|(_, state)| *state).collect()
}

const FIRED: &[AlertState] = &[AlertState::Fired];
const BOTH: &[AlertState] = &[AlertState::Fired, AlertState::Resolved];

#[test]
fn an_error_rate_above_a_tenth() {
    let (mut scene, told) = by_default("error-rate");
    scene.finish(16);
    scene.fail(3, ErrorKind::Overloaded);
    assert!(states(&told).is_empty(), "19 replies are too few");
    // What the caller did wrong, or called off, adds nothing.
    scene.fail(50, ErrorKind::InvalidRequest);
    scene.fail(50, ErrorKind::Canceled);
    assert!(states(&told).is_empty());
    scene.finish(1);
    assert_eq!(states(&told), FIRED, "3 of 20");
    scene.fail(5, ErrorKind::Overloaded);
    assert_eq!(states(&told), FIRED, "it holds");
    scene.finish(75);
    assert_eq!(states(&told), FIRED, "8 of 100 would not fire, and do not resolve");
    scene.finish(60);
    assert_eq!(states(&told), BOTH, "8 of 160");
    scene.finish(100);
    assert_eq!(states(&told), BOTH);
}

#[test]
fn more_than_50_rate_limits_in_an_hour() {
    let (mut scene, told) = by_default("rate-limits");
    scene.begin();
    for _ in 0..50 {
        scene.attempts_fail(1, ErrorKind::RateLimited);
        scene.pass(30);
    }
    scene.attempts_fail(100, ErrorKind::Overloaded);
    assert!(states(&told).is_empty());
    scene.attempts_fail(1, ErrorKind::RateLimited);
    assert_eq!(states(&told), FIRED);
    // Two went in each of the first 25 minutes, and one in the last.
    scene.pass(46 * 60);
    assert!(scene.observer.check(scene.now).is_empty(), "25 is where it resolves, and 27 are left");
    scene.pass(60);
    let resolved = scene.observer.check(scene.now);
    assert_eq!(resolved.len(), 1);
    assert_eq!((resolved[0].state, resolved[0].value), (AlertState::Resolved, Some(25.0)));
    assert_eq!(states(&told), BOTH);
    assert!(scene.observer.check(scene.now).is_empty());
}

#[test]
fn a_breaker_that_opens() {
    let (mut scene, told) = by_default("breaker-open");
    scene.begin();
    scene.breaker("a", BreakerState::Open);
    assert_eq!(states(&told), FIRED);
    assert_eq!(scene.observer.holding(), ["breaker-open".into()]);
    scene.breaker("b", BreakerState::Open);
    scene.breaker("a", BreakerState::HalfOpen);
    scene.breaker("a", BreakerState::Open);
    scene.breaker("a", BreakerState::Closed);
    scene.breaker("b", BreakerState::HalfOpen);
    assert_eq!(states(&told), FIRED, "half open is not closed");
    scene.breaker("b", BreakerState::Closed);
    assert_eq!(states(&told), BOTH);
    assert!(scene.observer.holding().is_empty());
}

/// Nobody asks for that model any more, so nobody will tell that it is well.
#[test]
fn a_breaker_of_which_nothing_is_heard_resolves() {
    let (mut scene, told) = by_default("breaker-open");
    scene.begin();
    scene.breaker("a", BreakerState::Open);
    scene.pass(3599);
    assert!(scene.observer.check(scene.now).is_empty());
    scene.pass(1);
    assert_eq!(scene.observer.check(scene.now).len(), 1);
    assert_eq!(states(&told), BOTH);
}

/// As any other measure's.
#[test]
fn the_window_of_a_breaker_is_from_a_minute_to_an_hour() {
    for (asked, kept) in [(0, 60), (61, 120), (7200, 3600)] {
        let rule = AlertRule::new("open", Measure::BreakersOpen, 0.0);
        let (mut scene, told) = watched(vec![rule.window(Duration::from_secs(asked))]);
        scene.breaker("a", BreakerState::Open);
        assert_eq!(states(&told), FIRED, "{asked}");
        scene.pass(kept - 1);
        assert_eq!(scene.observer.check(scene.now), [], "{asked}");
        scene.pass(1);
        assert_eq!(scene.observer.check(scene.now).len(), 1, "{asked}");
    }
}

#[test]
fn too_many_seams_that_nothing_verifies() {
    let (mut scene, told) = by_default("unverified-seams");
    scene.begin();
    scene.join(9, Join::Unverified);
    assert!(states(&told).is_empty(), "9 are too few");
    scene.join(1, Join::Overlap);
    assert_eq!(states(&told), FIRED);
    scene.join(50, Join::Anchor);
    assert_eq!(states(&told), FIRED, "9 of 60 lie between");
    scene.join(30, Join::Literal);
    assert_eq!(states(&told), BOTH, "9 of 90");
}

#[test]
fn a_first_delta_that_is_long_in_coming() {
    let (mut scene, told) = watched(vec![
        AlertRule::new("slow", Measure::TimeToFirstDelta, 4.0).at_least(3).resolve_below(2.0),
    ]);
    scene.answer_after(5);
    scene.answer_after(5);
    assert!(states(&told).is_empty(), "two are too few");
    scene.answer_after(5);
    assert_eq!(states(&told), FIRED);
    scene.pass(540);
    (0..5).for_each(|_| scene.answer_after(3));
    assert_eq!(states(&told), FIRED, "the slow ones are in the window yet");
    scene.pass(120);
    scene.answer_after(3);
    assert_eq!(states(&told), FIRED, "3 s lie between");
    scene.pass(600);
    scene.answer_after(1);
    assert_eq!(states(&told), BOTH);
}

#[test]
fn recovery_that_takes_long() {
    let (mut scene, told) = by_default("slow-recovery");
    for _ in 0..19 {
        scene.begin();
        scene.over(Ok(end()), lost(70));
    }
    scene.finish(20);
    assert!(states(&told).is_empty(), "a reply without a cut is no sample");
    scene.begin();
    scene.over(Ok(end()), lost(70));
    assert_eq!(states(&told), FIRED);
    scene.pass(599);
    assert!(scene.observer.check(scene.now).is_empty());
    scene.pass(1);
    let alert = scene.observer.check(scene.now).pop().expect("nothing is left in the window");
    assert_eq!((alert.state, alert.value, alert.at), (AlertState::Resolved, None, scene.now));
    assert_eq!(states(&told), BOTH);
}

#[test]
fn an_account_that_is_refused() {
    let (mut scene, told) = by_default("account-refused");
    scene.begin();
    scene.refuse_account();
    scene.refuse_account();
    assert_eq!(states(&told), FIRED);
    scene.pass(10 * 60);
    assert_eq!(scene.observer.check(scene.now).len(), 1);
    assert_eq!(states(&told), BOTH);
    scene.refuse_account();
    assert_eq!(states(&told).len(), 3, "and again");
}

/// What goes up and down around one of the thresholds is told once.
#[test]
fn a_rate_that_moves_around_its_threshold_does_not_flap() {
    let (mut scene, told) = by_default("error-rate");
    scene.finish(90);
    scene.fail(10, ErrorKind::Upstream);
    assert!(states(&told).is_empty(), "a tenth is not above it");
    for _ in 0..20 {
        scene.fail(1, ErrorKind::Upstream);
        scene.finish(12);
    }
    assert_eq!(states(&told), FIRED);
}

#[test]
fn the_window_slides_out_under_a_rule_that_holds() {
    let (mut scene, told) = by_default("error-rate");
    scene.fail(20, ErrorKind::Stalled);
    scene.pass(9 * 60);
    assert!(scene.observer.check(scene.now).is_empty());
    scene.finish(1);
    assert_eq!(states(&told), FIRED, "20 of 21");
    scene.pass(60);
    assert_eq!(scene.observer.check(scene.now).len(), 1, "0 of 1");
    assert_eq!(states(&told), BOTH);
}

/// What two threads tell comes in either order, also where a minute ends in between.
#[test]
fn time_that_goes_back_fires_nothing_again() {
    let (mut scene, told) = by_default("error-rate");
    scene.fail(20, ErrorKind::Stalled);
    scene.pass(600);
    let late = scene.now;
    assert_eq!(scene.observer.check(late).len(), 1);
    assert_eq!(states(&told), BOTH);
    scene.now -= Duration::from_millis(1);
    scene.finish(1);
    assert_eq!(states(&told), BOTH);
    scene.fail(20, ErrorKind::Stalled);
    assert_eq!(states(&told).len(), 3);
    assert_eq!(scene.observer.check(scene.now), []);
}

#[test]
fn alerts_come_in_the_order_of_the_rules() {
    let (mut scene, told) = watched(AlertRule::defaults());
    scene.refuse_account();
    scene.breaker("a", BreakerState::Open);
    scene.fail(20, ErrorKind::Upstream);
    let names = |told: &Told| -> Vec<String> {
        told.lock().expect("no test panics here").drain(..).map(|(name, _)| name).collect()
    };
    assert_eq!(names(&told), ["account-refused", "breaker-open", "error-rate"], "as they come");
    let holding: Vec<Arc<str>> = scene.observer.holding();
    assert_eq!(holding, ["error-rate", "breaker-open", "account-refused"].map(Arc::from));
    scene.pass(3600);
    let resolved: Vec<Arc<str>> =
        scene.observer.check(scene.now).into_iter().map(|alert| alert.rule).collect();
    assert_eq!(resolved, holding);
    assert_eq!(names(&told).len(), 3, "whoever is told hears of these too");
}

/// Whoever is told may look around.
#[test]
fn the_one_who_is_told_may_ask() {
    let alerts: Arc<std::sync::OnceLock<Arc<Alerts>>> = Arc::default();
    let held = Arc::new(Mutex::new(Vec::new()));
    let (asks, sink) = (Arc::clone(&alerts), Arc::clone(&held));
    let rule = AlertRule::new("account", Measure::AccountRefusals, 0.0);
    let own = Arc::new(Alerts::new([rule]).on_alert(move |alert| {
        let alerts = asks.get().expect("it is set below");
        let refusals = alerts.errors().snapshot(alert.at).account_refusals;
        sink.lock().expect("no test panics here").push((alerts.holding(), refusals));
    }));
    alerts.set(Arc::clone(&own)).expect("it is set once");
    Scene::new(own).refuse_account();
    assert_eq!(*held.lock().expect("no test panics here"), [(vec!["account".into()], 1)]);
}

#[test]
fn a_threshold_to_resolve_at_that_is_too_high_is_the_other_one() {
    let rule = AlertRule::new("x", Measure::RateLimits, 5.0).resolve_below(100.0);
    assert!(rule.resolves(Some(5.0)) && !rule.resolves(Some(6.0)));
}

#[test]
fn rules_are_values_that_can_be_written_down() {
    let rules = AlertRule::defaults();
    let json = serde_json::to_string(&rules).expect("they are plain values");
    assert!(json.contains(r#""measure":"error_rate","window":600000"#), "{json}");
    let read: Vec<AlertRule> = serde_json::from_str(&json).expect("they were just written");
    assert_eq!(read, rules);
}
