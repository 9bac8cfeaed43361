//! The breaker in virtual time: a table of stories, and what holds for every story.
#![expect(clippy::disallowed_methods, reason = "an instant to start from; no time passes")]

use proptest::prelude::*;

use super::*;

const OPEN: Duration = BREAKER_OPEN;

/// A breaker, the permits that are out, and the time as whole seconds.
struct Story {
    breaker: Breaker,
    start: Instant,
    permits: Vec<Permit>,
}

impl Story {
    fn new(policy: BreakerPolicy) -> Self {
        Self { breaker: Breaker::new(policy), start: Instant::now(), permits: Vec::new() }
    }

    fn at(&self, second: u64) -> Instant {
        self.start + Duration::from_secs(second)
    }

    /// `+` asked and let through, `-` asked and refused, `s`, `f`, `a`: the first permit that is out
    /// succeeded, failed, was abandoned; `S`, `F`, `A`: the last one.
    fn play(&mut self, second: u64, acts: &str) -> BreakerState {
        let now = self.at(second);
        for act in acts.chars() {
            match act {
                '+' => {
                    let permit = self.breaker.try_acquire(now).expect("let through");
                    self.permits.push(permit);
                }
                '-' => {
                    let again = self.breaker.try_acquire(now).expect_err("refused");
                    assert!(again > now, "there is nothing to wait for");
                }
                _ => {
                    let at = if act.is_lowercase() { 0 } else { self.permits.len() - 1 };
                    let permit = self.permits.remove(at);
                    match act.to_ascii_lowercase() {
                        's' => self.breaker.on_success(permit),
                        'f' => self.breaker.on_failure(permit, now),
                        _ => self.breaker.on_abandoned(permit),
                    }
                }
            }
        }
        self.breaker.state(now)
    }
}

/// At which second, what is done, and the state then.
type Acts = &'static [(u64, &'static str, BreakerState)];

#[test]
fn stories() {
    use BreakerState::{Closed, HalfOpen, Open};
    #[rustfmt::skip]
    let rows: &[(&str, Acts)] = &[
        ("four failures are none", &[(0, "+f+f+f+f", Closed)]),
        ("five in a row open it", &[(0, "+f+f+f+f+f--", Open), (59, "-", Open)]),
        ("a success between starts the count over", &[(0, "+f+f+f+f+s+f+f+f+f", Closed)]),
        ("what is abandoned changes nothing", &[(0, "+f+f+f+f+a+f", Open)]),
        ("one trial at a time", &[(0, "+f+f+f+f+f", Open), (60, "+--", HalfOpen)]),
        ("two successes close it",
            &[(0, "+f+f+f+f+f", Open), (60, "+s", HalfOpen), (61, "+s", Closed), (61, "+++", Closed)]),
        ("a trial that fails opens it again, for as long",
            &[(0, "+f+f+f+f+f", Open), (60, "+s+f-", Open), (119, "-", Open), (120, "+", HalfOpen)]),
        ("a trial given back lets the next one go",
            &[(0, "+f+f+f+f+f", Open), (60, "+-a+-", HalfOpen)]),
        ("a trial without an end holds its place for as long as the breaker is open",
            &[(0, "+f+f+f+f+f", Open), (60, "+", HalfOpen), (119, "-", HalfOpen), (120, "+-", HalfOpen)]),
        ("and gives back no place that is not its own",
            &[(0, "+f+f+f+f+f", Open), (60, "+", HalfOpen), (120, "+a-", HalfOpen)]),
        ("requests of before it opened count for nothing",
            &[(0, "++++++++ffffffff", Open), (60, "+", HalfOpen)]),
        ("nor do they in a trial",
            &[(0, "++++++++fffff", Open), (60, "+-fs-", HalfOpen), (60, "aS", HalfOpen)]),
        ("it starts from nothing when it has closed",
            &[(0, "+f+f+f+f+f", Open), (60, "+s+s+f+f+f+f", Closed), (60, "+f", Open)]),
    ];
    for (name, acts) in rows {
        let mut story = Story::new(BreakerPolicy::new());
        for (second, acts, state) in *acts {
            assert_eq!(story.play(*second, acts), *state, "{name}: {acts} at {second} s");
        }
    }
}

#[test]
fn its_numbers_can_be_set() {
    let policy = BreakerPolicy::new().failures(1).open(Duration::from_secs(5)).successes(1);
    let mut story = Story::new(policy);
    assert_eq!(story.play(0, "+f-"), BreakerState::Open);
    assert_eq!(story.play(5, "+s"), BreakerState::Closed);
    assert_eq!(BreakerPolicy::new().successes(0).successes, 1);
}

#[test]
fn without_failures_it_is_off() {
    let mut story = Story::new(BreakerPolicy::new().failures(0));
    assert_eq!(story.play(0, &"+f".repeat(1000)), BreakerState::Closed);
}

#[test]
fn an_endless_open_time_does_not_overflow() {
    let mut story = Story::new(BreakerPolicy::new().failures(1).open(Duration::MAX));
    assert_eq!(story.play(0, "+f-"), BreakerState::Open);
    assert_eq!(story.play(3600, "-"), BreakerState::Open);
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Pass(u64),
    Ask,
    Succeed(usize),
    Fail(usize),
    Abandon(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        2 => (0_u64..40).prop_map(Act::Pass),
        6 => Just(Act::Ask),
        2 => (0_usize..4).prop_map(Act::Succeed),
        4 => (0_usize..4).prop_map(Act::Fail),
        1 => (0_usize..4).prop_map(Act::Abandon),
    ];
    proptest::collection::vec(act, 0..200)
}

proptest! {
    /// Whatever happens: closed lets everything through, open nothing, half-open one trial in each
    /// open time; and a refusal says truly when to ask again.
    #[test]
    fn it_lets_through_what_its_state_says(acts in acts()) {
        let mut breaker = Breaker::new(BreakerPolicy::new());
        let mut now = Instant::now();
        let mut out: Vec<(Permit, Instant, bool)> = Vec::new();
        for act in acts {
            let before = breaker.state(now);
            match act {
                Act::Pass(seconds) => now += Duration::from_secs(seconds),
                Act::Ask => match breaker.try_acquire(now) {
                    Ok(permit) => {
                        prop_assert_ne!(before, BreakerState::Open);
                        let trial = before == BreakerState::HalfOpen;
                        let since = breaker.since;
                        let young = out.iter().filter(|(permit, at, trial)| {
                            *trial && permit.0 >= since && now < *at + OPEN
                        });
                        prop_assert!(!trial || young.count() == 0, "two trials at once");
                        out.push((permit, now, trial));
                    }
                    Err(again) => {
                        prop_assert_ne!(before, BreakerState::Closed);
                        prop_assert!(again > now && again <= now + OPEN);
                        prop_assert!(breaker.clone().try_acquire(again).is_ok());
                    }
                },
                Act::Succeed(at) if at < out.len() => {
                    let (permit, ..) = out.remove(at);
                    breaker.on_success(permit);
                    let (open, was_open) = (breaker.state(now), before);
                    prop_assert_eq!(open == BreakerState::Open, was_open == BreakerState::Open);
                }
                Act::Fail(at) if at < out.len() => {
                    let (permit, ..) = out.remove(at);
                    breaker.on_failure(permit, now);
                    prop_assert!(before == BreakerState::Closed || breaker.state(now) != BreakerState::Closed);
                }
                Act::Abandon(at) if at < out.len() => {
                    let (permit, ..) = out.remove(at);
                    breaker.on_abandoned(permit);
                    prop_assert_eq!(breaker.state(now), before);
                }
                _ => {}
            }
        }
    }
}
