//! The breaker in virtual time: a table of stories, and what holds for every story.
#![expect(clippy::disallowed_methods, reason = "an instant to start from; no time passes")]

use proptest::prelude::*;

use super::*;

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

    /// `+` asked and let through, `-` asked and refused, `s`, `f`, `b`, `a`: the first permit that is out
    /// succeeded, failed, had a setback, was abandoned; `c`, `x`: it was continued, and that was let
    /// through or refused; `S`, `F`, `B`, `A`, `C`, `X`: the last one; `l`: the first one is alive;
    /// `u`: it had a setback, and no retry followed; `.`: the last one's answer begins.
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
                'u' => {
                    let permit = self.permits.remove(0);
                    self.breaker.on_setback(permit, now);
                    self.breaker.on_unretried(permit, now);
                }
                'l' => self.breaker.on_alive(self.permits[0], now),
                '.' => self.breaker.on_answering(*self.permits.last().expect("it is asked")),
                _ => {
                    let at = if act.is_lowercase() { 0 } else { self.permits.len() - 1 };
                    let permit = self.permits.remove(at);
                    match act.to_ascii_lowercase() {
                        's' => self.breaker.on_success(permit, now),
                        'f' => self.breaker.on_failure(permit, now),
                        'b' => self.breaker.on_setback(permit, now),
                        'c' => {
                            self.breaker.on_continued(permit, now);
                            let again = self.breaker.try_continue(permit, now);
                            self.permits.insert(at, again.expect("let through"));
                        }
                        'x' => {
                            self.breaker.on_continued(permit, now);
                            self.breaker.try_continue(permit, now).expect_err("refused");
                        }
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

/// The same, for acts by the hundred.
type ManyActs = Vec<(u64, String, BreakerState)>;

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
        ("a trial without an end holds its place for a minute",
            &[(0, "+f+f+f+f+f", Open), (60, "+", HalfOpen), (119, "-", HalfOpen), (120, "+-", HalfOpen)]),
        ("and gives back no place that is not its own",
            &[(0, "+f+f+f+f+f", Open), (60, "+", HalfOpen), (120, "+a-", HalfOpen)]),
        ("requests of before it opened count for nothing",
            &[(0, "++++++++ffffffff", Open), (60, "+", HalfOpen)]),
        ("nor do they in a trial",
            &[(0, "++++++++fffff", Open), (60, "+-fs-", HalfOpen), (60, "aS", HalfOpen)]),
        ("it starts from nothing when it has closed",
            &[(0, "+f+f+f+f+f", Open), (60, "+s+s+f+f+f+f", Closed), (60, "+f", Open)]),
        ("setbacks are no failures in a row", &[(0, "+b+b+b+b+b+f+f+f+f", Closed), (0, "+f", Open)]),
        ("nor does what is continued interrupt a row", &[(0, "+f+f+f+f+ca+f", Open)]),
        ("they are where no retry follows", &[(0, "+u+u+b+u+u", Closed), (0, "+u", Open)]),
        ("a setback of before it opened is none", &[(0, "++f+f+f+f+f", Open), (60, "u+", HalfOpen)]),
        ("a setback fails a trial", &[(0, "+f+f+f+f+f", Open), (60, "+b-", Open)]),
        ("a trial that is alive keeps its place for another minute",
            &[(0, "+f+f+f+f+f", Open), (60, "+-", HalfOpen), (119, "l-", HalfOpen), (178, "-", HalfOpen),
              (179, "+", HalfOpen)]),
        ("a trial that is continued keeps its place for another minute",
            &[(0, "+f+f+f+f+f", Open), (60, "+-", HalfOpen), (119, "c-", HalfOpen), (178, "-c-", HalfOpen),
              (179, "s+-s", Closed)]),
        ("unless its time had passed and another one took it",
            &[(0, "+f+f+f+f+f", Open), (60, "+", HalfOpen), (120, "+-x-", HalfOpen)]),
        ("what was let through before it opened is not continued",
            &[(0, "++f+f+f+f+fx", Open), (60, "+-", HalfOpen)]),
    ];
    for (name, acts) in rows {
        let mut story = Story::new(BreakerPolicy::new());
        for (second, acts, state) in *acts {
            assert_eq!(story.play(*second, acts), *state, "{name}: {acts} at {second} s");
        }
    }
}

/// At a rate of 0.8 of at least 20 calls in 60 seconds.
#[test]
fn stories_of_the_rate() {
    use BreakerState::{Closed, HalfOpen, Open};
    #[rustfmt::skip]
    let rows: &[(&str, ManyActs)] = &[
        ("a lucky answer now and then does not hide an upstream that fails",
            vec![(0, "+f+f+f+f+s".repeat(3) + "+f+f+f+s", Closed), (0, "+f".into(), Open)]),
        ("nineteen calls are too few", vec![(0, "+b".repeat(19), Closed), (0, "+b".into(), Open)]),
        ("a share of less than 0.8 still serves", vec![(0, "+b+b+b+s".repeat(200), Closed)]),
        ("what dies once in every answer and is healed still serves", vec![(0, "+cs".repeat(200), Closed)]),
        ("what dies without end does not", vec![(0, "+".to_owned() + &"c".repeat(19), Closed), (0, "x".into(), Open)]),
        ("what is abandoned is no call", vec![(0, "+a".repeat(40) + &"+b".repeat(19), Closed)]),
        ("answers under way that are not cut are calls that did not fail",
            vec![(0, "+.".repeat(25), Closed), (600, "c".repeat(95), Closed), (600, "x".into(), Open)]),
        ("what is dropped in its middle is no call any more",
            vec![(0, "+.".repeat(25), Closed), (1, "a".repeat(25) + &"+b".repeat(19), Closed), (1, "+b".into(), Open)]),
        ("and what says nothing is none yet",
            vec![(0, "+".repeat(25), Closed), (1, "+B".repeat(19), Closed), (1, "+B".into(), Open)]),
        ("an answer of before it opened is none of those after it closed",
            vec![(0, "+.".repeat(9) + &"+F".repeat(5), Open), (60, "+S+S".into(), Closed),
                 (60, "+B".repeat(19), Closed), (60, "+B".into(), Open)]),
        ("a success opens nothing: the next failure does",
            vec![(0, "+b".repeat(19) + "+s", Closed), (0, "+b".into(), Open)]),
        ("calls of a window ago are forgotten",
            vec![(0, "+b".repeat(19), Closed), (60, "+b".repeat(19), Closed), (61, "+b".into(), Open)]),
        ("and calls of a twelfth less are not",
            vec![(0, "+b".repeat(19), Closed), (59, "+b".into(), Open)]),
        ("good calls of a window ago do not make up for bad ones of now",
            vec![(0, "+s".repeat(1000), Closed), (61, "+b".repeat(19), Closed), (62, "+b".into(), Open)]),
        ("it starts from nothing when it has closed",
            vec![(0, "+b".repeat(20), Open), (60, "+s".into(), HalfOpen), (60, "+s".into(), Closed),
                 (60, "+b".repeat(19), Closed), (60, "+b".into(), Open)]),
    ];
    for (name, acts) in rows {
        let mut story = Story::new(BreakerPolicy::new());
        for (second, acts, state) in acts {
            assert_eq!(story.play(*second, acts), *state, "{name}: {acts} at {second} s");
        }
    }
}

#[test]
fn several_trials_at_a_time() {
    use BreakerState::{Closed, HalfOpen, Open};
    let open = |trials, successes| {
        let policy = BreakerPolicy::new().trials(trials).successes(successes);
        let mut story = Story::new(policy);
        story.play(0, "+f+f+f+f+f");
        story
    };
    let mut story = open(3, 2);
    assert_eq!(story.play(60, "+++-"), HalfOpen);
    assert_eq!(story.breaker.trials(story.at(60)), 3);
    assert_eq!(story.play(61, "a+-"), HalfOpen, "each gives its own place back");
    assert_eq!(story.play(62, "ss"), Closed);
    let mut story = open(3, 2);
    assert_eq!(story.play(60, "+++sf-"), Open, "one that fails is enough");
    assert_eq!(story.play(61, "f-"), Open, "the others count for nothing then");
    assert_eq!(story.play(119, "-"), Open);
    assert_eq!(story.play(120, "+++-"), HalfOpen);
    let mut story = open(2, 2);
    story.play(60, "+");
    story.play(90, "+-");
    let again = story.breaker.try_acquire(story.at(91)).expect_err("both are out");
    assert_eq!(again, story.at(120), "when the first one has had its time");
    assert_eq!(story.play(120, "+-"), HalfOpen);
    let mut story = open(0, 1);
    assert_eq!(story.play(60, "+-"), HalfOpen, "0 counts as 1");
}

#[test]
fn its_numbers_are_there_to_be_seen() {
    let mut story = Story::new(BreakerPolicy::new());
    let seen = |story: &Story, second| {
        let (breaker, now) = (&story.breaker, story.at(second));
        let calls = breaker.calls(now);
        let left = breaker.remaining(now).map(|left| left.as_secs());
        (breaker.failures(), (calls.failed, calls.all), left, breaker.trials(now))
    };
    assert_eq!(seen(&story, 0), (0, (0, 0), None, 0));
    assert_eq!(story.breaker.calls(story.at(0)).rate(), None);
    story.play(0, "+s+b+f+f");
    assert_eq!(seen(&story, 0), (2, (3, 4), None, 0));
    assert_eq!(story.breaker.calls(story.at(0)).rate(), Some(0.75));
    story.play(5, "+f+f+f");
    assert_eq!(seen(&story, 5), (0, (6, 7), Some(60), 0), "what opened it");
    assert_eq!(seen(&story, 64), (0, (3, 3), Some(1), 0));
    assert_eq!(seen(&story, 65), (0, (0, 0), None, 0));
    story.play(65, "+");
    assert_eq!(seen(&story, 65), (0, (0, 0), None, 1));
    assert_eq!(seen(&story, 125), (0, (0, 0), None, 0), "it has had its time");
}

#[test]
fn its_numbers_can_be_set() {
    let policy = BreakerPolicy::new().failures(1).open(Duration::from_secs(5)).successes(1);
    let mut story = Story::new(policy);
    assert_eq!(story.play(0, "+f-"), BreakerState::Open);
    assert_eq!(story.play(5, "+s"), BreakerState::Closed);
    assert_eq!(BreakerPolicy::new().successes(0).successes, 1);
    let policy = BreakerPolicy::new().failures(u32::MAX).rate(0.07).minimum(100);
    let mut story = Story::new(policy.window(Duration::from_secs(12)));
    assert_eq!(story.play(0, &("+s".repeat(93) + &"+f".repeat(6))), BreakerState::Closed);
    assert_eq!(story.play(11, "+f"), BreakerState::Open, "7 of 100 are 0.07");
    assert_eq!(BreakerPolicy::new().rate(7.0).rate, 1.0);
    assert_eq!(BreakerPolicy::new().rate(-7.0).rate, 0.0);
}

#[test]
fn the_rate_can_be_turned_off() {
    let off = BreakerPolicy::new().failures(u32::MAX).minimum(0);
    for off in [off.rate(0.0), off.rate(f64::NAN), off.window(Duration::ZERO)] {
        let mut story = Story::new(off);
        assert_eq!(story.play(0, &"+f".repeat(1000)), BreakerState::Closed, "{off:?}");
    }
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

/// What a breaker is meant to do, with all outcomes in a list.
struct Naive {
    policy: BreakerPolicy,
    state: NaiveState,
    /// When the first outcome was recorded since it closed last.
    start: Option<Instant>,
    /// When, and whether it failed.
    outcomes: Vec<(Instant, bool)>,
    /// The names of those whose answer has begun while it was closed.
    answering: Vec<usize>,
    /// How often it has changed its state.
    age: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum NaiveState {
    Closed(u32),
    Open(Instant),
    /// Successes, and of each trial its name and its end.
    HalfOpen(u32, Vec<(usize, Instant)>),
}

impl Naive {
    fn turn(&mut self, state: NaiveState) {
        if matches!(state, NaiveState::Closed(_)) {
            self.outcomes.clear();
            self.start = None;
        }
        self.state = state;
        self.answering.clear();
        self.age += 1;
    }

    /// `name`: a new one for what is let through.
    fn ask(&mut self, name: usize, now: Instant) -> Result<(), Instant> {
        let open = self.policy.open;
        if let NaiveState::Open(until) = self.state {
            if now < until {
                return Err(until);
            }
            self.turn(NaiveState::HalfOpen(0, Vec::new()));
        }
        if let NaiveState::HalfOpen(_, trials) = &mut self.state {
            trials.retain(|(_, end)| now < *end);
            if trials.len() >= usize::from(self.policy.trials) {
                return Err(trials.iter().map(|(_, end)| *end).min().unwrap());
            }
            trials.push((name, now + open.max(BREAKER_TRIAL)));
        }
        Ok(())
    }

    /// All, and the ones that failed.
    fn calls(&self, now: Instant) -> (u32, u32) {
        let twelfth = self.policy.window.as_nanos() / 12;
        let start = self.start.unwrap_or(now);
        let number = |at: Instant| at.duration_since(start).as_nanos() / twelfth;
        let young = self.outcomes.iter().filter(|(at, _)| number(now) - number(*at) < 12);
        let all = young.clone().count() + self.answering.len();
        (all as u32, young.filter(|(_, failed)| *failed).count() as u32)
    }

    fn record(&mut self, now: Instant, failed: bool) {
        self.start.get_or_insert(now);
        self.outcomes.push((now, failed));
    }

    fn falls_silent(&mut self, name: usize) {
        self.answering.retain(|of| *of != name);
    }

    fn give_back(&mut self, name: usize) {
        if let NaiveState::HalfOpen(_, trials) = &mut self.state {
            trials.retain(|(of, _)| *of != name);
        }
    }

    fn succeed(&mut self, name: usize, now: Instant) {
        self.give_back(name);
        match &mut self.state {
            NaiveState::Closed(row) => {
                *row = 0;
                self.record(now, false);
            }
            NaiveState::Open(_) => {}
            NaiveState::HalfOpen(successes, _) => {
                *successes += 1;
                if *successes == self.policy.successes {
                    self.turn(NaiveState::Closed(0));
                }
            }
        }
    }

    fn fail(&mut self, now: Instant, in_a_row: u32) {
        let until = now + self.policy.open;
        match &mut self.state {
            NaiveState::Closed(row) => {
                *row += in_a_row;
                let row = *row;
                self.record(now, true);
                let (all, failed) = self.calls(now);
                let rate = f64::from(failed) / f64::from(all) >= self.policy.rate;
                if row >= self.policy.failures || all >= self.policy.minimum && rate {
                    self.turn(NaiveState::Open(until));
                }
            }
            NaiveState::Open(_) => {}
            NaiveState::HalfOpen(..) => self.turn(NaiveState::Open(until)),
        }
    }

    fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            NaiveState::Closed(_) => BreakerState::Closed,
            NaiveState::Open(until) if now < until => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// Milliseconds.
    Pass(u64),
    Ask,
    Succeed(usize),
    Fail(usize),
    SetBack(usize),
    Continue(usize),
    Abandon(usize),
    Answer(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        2 => (0_u64..4000).prop_map(Act::Pass),
        1 => (0_u64..70_000).prop_map(Act::Pass),
        12 => Just(Act::Ask),
        3 => (0_usize..4).prop_map(Act::Succeed),
        4 => (0_usize..4).prop_map(Act::Fail),
        6 => (0_usize..4).prop_map(Act::SetBack),
        3 => (0_usize..4).prop_map(Act::Continue),
        2 => (0_usize..4).prop_map(Act::Abandon),
        4 => (0_usize..4).prop_map(Act::Answer),
    ];
    proptest::collection::vec(act, 0..300)
}

fn policies() -> impl Strategy<Value = BreakerPolicy> {
    let numbers = (2_u32..30, 0.3_f64..1.0, 1_u32..12, 1_u8..4, 1_u32..4);
    numbers.prop_map(|(failures, rate, minimum, trials, successes)| {
        let policy = BreakerPolicy::new().failures(failures).rate(rate).minimum(minimum);
        policy.trials(trials).successes(successes).window(Duration::from_secs(48))
    })
}

proptest! {
    /// Whatever happens, it says what the list says; closed lets everything through, open nothing,
    /// half-open a few trials; and a refusal says truly when to ask again.
    #[test]
    fn it_does_what_a_list_of_all_outcomes_says(policy in policies(), acts in acts()) {
        let mut breaker = Breaker::new(policy);
        let mut now = Instant::now();
        let state = NaiveState::Closed(0);
        let (outcomes, answering) = (Vec::new(), Vec::new());
        let mut naive = Naive { policy, state, start: None, outcomes, answering, age: 0 };
        // What is out: the permit, its name, and how old the breaker was.
        let mut out: Vec<(Permit, usize, usize)> = Vec::new();
        for (name, act) in acts.into_iter().enumerate() {
            let before = naive.state(now);
            match act {
                Act::Pass(millis) => now += Duration::from_millis(millis),
                Act::Ask => {
                    let (asked, expected) = (breaker.try_acquire(now), naive.ask(name, now));
                    prop_assert_eq!(asked.map(|_| ()), expected);
                    match asked {
                        Ok(permit) => {
                            prop_assert_ne!(before, BreakerState::Open);
                            out.push((permit, name, naive.age));
                        }
                        Err(again) => {
                            prop_assert_ne!(before, BreakerState::Closed);
                            prop_assert!(breaker.clone().try_acquire(again).is_ok());
                        }
                    }
                }
                Act::Succeed(at) if at < out.len() => {
                    let (permit, name, age) = out.remove(at);
                    breaker.on_success(permit, now);
                    naive.falls_silent(name);
                    if age == naive.age {
                        naive.succeed(name, now);
                    }
                }
                Act::Fail(at) | Act::SetBack(at) if at < out.len() => {
                    let (permit, name, age) = out.remove(at);
                    naive.falls_silent(name);
                    let full = matches!(act, Act::Fail(_));
                    match full {
                        true => breaker.on_failure(permit, now),
                        false => breaker.on_setback(permit, now),
                    }
                    if age == naive.age {
                        naive.fail(now, u32::from(full));
                    }
                }
                Act::Continue(at) if at < out.len() => {
                    let (permit, old, age) = out.remove(at);
                    naive.falls_silent(old);
                    breaker.on_continued(permit, now);
                    if age == naive.age && matches!(naive.state, NaiveState::Closed(_)) {
                        naive.fail(now, 0);
                    }
                    let asked = breaker.try_continue(permit, now);
                    let end = now + policy.open.max(BREAKER_TRIAL);
                    let kept = match &mut naive.state {
                        NaiveState::HalfOpen(_, trials) => trials.iter_mut().find(|(of, _)| *of == old),
                        _ => None,
                    };
                    let (name, expected) = match kept {
                        Some(kept) => {
                            kept.1 = end;
                            (old, Ok(()))
                        }
                        None => (name, naive.ask(name, now)),
                    };
                    prop_assert_eq!(asked.map(|_| ()), expected);
                    out.extend(asked.ok().map(|permit| (permit, name, naive.age)));
                }
                Act::Abandon(at) if at < out.len() => {
                    let (permit, name, age) = out.remove(at);
                    breaker.on_abandoned(permit);
                    naive.falls_silent(name);
                    if age == naive.age {
                        naive.give_back(name);
                    }
                }
                Act::Answer(at) if at < out.len() => {
                    let (permit, name, age) = out[at];
                    breaker.on_answering(permit);
                    let counts = matches!(naive.state, NaiveState::Closed(_)) && age == naive.age;
                    if counts && !naive.answering.contains(&name) {
                        naive.answering.push(name);
                    }
                }
                _ => {}
            }
            prop_assert_eq!(breaker.state(now), naive.state(now));
            let calls = breaker.calls(now);
            prop_assert_eq!((calls.all, calls.failed), naive.calls(now));
            prop_assert!(breaker.trials(now) <= usize::from(policy.trials));
        }
        for (permit, ..) in out {
            breaker.on_abandoned(permit);
        }
        prop_assert_eq!(breaker.trials(now), 0, "no permit is lost");
        prop_assert!(breaker.answering.is_empty(), "nor is one that counts");
    }
}
