//! Steps that have to be asked: caches, and hand-offs that somebody takes in.

use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use unbroken::engine::{Answered, Given, Input, Notice, Output, Recovery};
use unbroken::policy::{CACHE, HAND_OFF, Timeouts};
use unbroken::{
    Asked, Cache, Cached, CachedAnswer, Canned, HandOff, HandedOff, Source, Step, Ticket,
};

use super::support::{poll_once, run_gated};
use super::*;

const BEFORE: &str = "What was said before.";

/// A cache that has one answer, none, or nothing to say; it notes who was asked, and how often somebody stopped
/// waiting.
#[derive(Clone, Default)]
pub(super) struct Kept {
    name: &'static str,
    pub(super) has: Option<CachedAnswer>,
    silent: bool,
    asked: Log,
    /// What was put there.
    pub(super) kept: Log,
}

pub(super) type Log = Arc<Mutex<Vec<&'static str>>>;

impl Kept {
    pub(super) fn has(log: &Log, name: &'static str) -> Self {
        let has = CachedAnswer::new(BEFORE).model("its-model").upstream("one");
        Self { has: Some(has), ..Self::misses(log, name) }
    }

    pub(super) fn misses(log: &Log, name: &'static str) -> Self {
        Self { name, asked: Arc::clone(log), ..Self::default() }
    }

    fn is_silent(log: &Log, name: &'static str) -> Self {
        Self { silent: true, ..Self::misses(log, name) }
    }
}

impl Cache for Kept {
    fn get(&self, asked: &Asked) -> impl Future<Output = Option<CachedAnswer>> + Send + 'static {
        assert!(!asked.key().is_empty());
        self.asked.lock().unwrap().push(self.name);
        let answer: Pin<Box<dyn Future<Output = Option<CachedAnswer>> + Send>> = if self.silent {
            Box::pin(waits_for_ever(Arc::clone(&self.asked)))
        } else {
            Box::pin(ready(self.has.clone()))
        };
        answer
    }

    fn put(&self, _: &Asked, _: CachedAnswer) -> impl Future<Output = ()> + Send + 'static {
        self.kept.lock().unwrap().push(self.name);
        ready(())
    }
}

/// Notes when nobody waits for it any more.
fn waits_for_ever<T>(log: Log) -> impl Future<Output = T> + Send + 'static {
    struct Gone(Log);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("let go");
        }
    }
    let gone = Gone(log);
    async move {
        let _gone = gone;
        pending().await
    }
}

/// A hand-off that the queue takes in as case 17, or does not.
fn queue(log: &Log, takes: bool) -> HandOff {
    let log = Arc::clone(log);
    HandOff::text("A person will write to you.").enqueue(move |_| {
        log.lock().unwrap().push("queue");
        ready(if takes { Ok(Ticket::new("case-17")) } else { Err("down") })
    })
}

pub(super) fn chain(wire: Wire, steps: impl IntoIterator<Item = Step>) -> Plan {
    let mut plan = one(wire);
    plan.chain = plan.chain.iter().cloned().chain(steps).collect();
    plan
}

fn before(wire: Wire, step: impl Into<Step>) -> Plan {
    let mut plan = one(wire);
    plan.chain = [step.into()].into_iter().chain(plan.chain.iter().cloned()).collect();
    plan
}

fn end(run: &Run) -> (Source, Option<&str>) {
    let finish = run.transcript.finish().expect("a finish");
    (finish.source, finish.ticket.as_deref())
}

fn answers(run: &Run) -> Vec<(&str, Answered)> {
    let asked = run.notices.iter().filter_map(|notice| match notice {
        Notice::Asked { step, answered } => Some((&**step, *answered)),
        _ => None,
    });
    asked.collect()
}

fn said(log: &Log) -> Vec<&'static str> {
    std::mem::take(&mut log.lock().unwrap())
}

fn to(step: &str) -> Next {
    Next::Step { upstream: step.into(), by: None }
}

#[test]
fn an_answer_from_before_where_there_is_no_new_one() {
    for wire in Wire::ALL {
        let log = Log::default();
        let plan = || chain(wire, [Cached::new(Kept::has(&log, "cache")).into()]);
        let run = play(wire, plan(), vec![status(401)], vec![]);
        assert_eq!((run.text().as_str(), end(&run)), (BEFORE, (Source::Cached, None)));
        let head = run.transcript.head().expect("a head");
        assert_eq!((&*head.upstream, head.model.as_deref()), ("cached", Some("its-model")));
        assert_eq!((head.attempt, run.requests.len()), (None, 1));
        let (.., next, delay) = interruptions(&run).pop().unwrap();
        assert_eq!((next, delay), (to("cached"), 0));
        assert_eq!(answers(&run), [("cached", Answered::Yes)]);
        assert_eq!(run.took, Duration::ZERO);
        // What was not allowed was not interrupted either.
        let run = run_gated(plan(), |_, _| status(503), |_| false);
        assert_eq!((run.text().as_str(), run.requests.len()), (BEFORE, 0));
        assert_eq!(interruptions(&run), []);
    }
}

#[test]
fn a_cache_in_front_saves_the_request() {
    for wire in Wire::ALL {
        let log = Log::default();
        let run = play(wire, before(wire, Cached::new(Kept::has(&log, "cache"))), vec![], vec![]);
        assert_eq!((run.text().as_str(), run.requests.len()), (BEFORE, 0));
        assert_eq!((interruptions(&run), run.puts.len()), (vec![], 0), "never put back");
        let misses = before(wire, Cached::new(Kept::misses(&log, "cache")));
        let run = play(wire, misses, vec![], vec![]);
        assert_eq!((run.text().as_str(), run.requests.len()), (TEXT, 1));
        assert_eq!(end(&run), (Source::Model, None));
        assert_eq!((interruptions(&run), run.took), (vec![], Duration::ZERO));
        let put = run.puts.first().expect("a whole answer is kept");
        assert_eq!((&*put.answer.text, put.answer.upstream.as_deref()), (TEXT, Some("one")));
        assert_eq!(put.answer.model.as_deref(), Some(&*run.report.attempts[0].model));
        assert!(!put.answer.stop_sequence);
        assert_eq!(*put.asked.request, request(wire), "what the caller asked");
        assert_eq!(&*put.asked.model, wire.usual());
        let shown = format!("{put:?}");
        assert!(
            !shown.contains(TEXT) && shown.contains(&format!("bytes: {}", TEXT.len())),
            "{shown}"
        );
    }
}

#[test]
fn a_cache_that_is_silent_does_not_have_it() {
    for wire in Wire::ALL {
        let log = Log::default();
        let run =
            play(wire, before(wire, Cached::new(Kept::is_silent(&log, "cache"))), vec![], vec![]);
        assert_eq!((run.text().as_str(), run.took), (TEXT, CACHE));
        assert_eq!(answers(&run), [("cached", Answered::Silent)]);
        assert_eq!(said(&log), ["cache", "let go"]);
    }
}

#[test]
fn steps_are_asked_in_their_order_and_no_further_than_the_first_that_answers() {
    for wire in Wire::ALL {
        let log = Log::default();
        let cached = |kept: Kept| Step::from(Cached::new(kept));
        let misses = || cached(Kept::misses(&log, "first"));
        let has = || cached(Kept::has(&log, "second"));
        let silent = || cached(Kept::is_silent(&log, "silent"));
        let canned = || Step::from(Canned::text("Later."));
        let down = || Step::from(queue(&log, false));
        let up = || Step::from(queue(&log, true));
        let person = (Source::HandOff, Some("case-17"));
        type Row = (Vec<Step>, &'static [&'static str], (Source, Option<&'static str>), Duration);
        let rows: [Row; 6] = [
            (
                vec![misses(), has(), up()],
                &["first", "second"],
                (Source::Cached, None),
                Duration::ZERO,
            ),
            (vec![has(), misses()], &["second"], (Source::Cached, None), Duration::ZERO),
            (
                vec![misses(), down(), canned()],
                &["first", "queue"],
                (Source::Canned, None),
                Duration::ZERO,
            ),
            (vec![silent(), up(), canned()], &["silent", "let go", "queue"], person, CACHE),
            (vec![up(), has()], &["queue"], person, Duration::ZERO),
            (vec![canned(), has(), up()], &[], (Source::Canned, None), Duration::ZERO),
        ];
        for (steps, expected, who, took) in rows {
            let run = play(wire, chain(wire, steps.clone()), vec![status(401)], vec![]);
            assert_eq!((said(&log), end(&run), run.took), (expected.to_vec(), who, took));
            let told: Vec<Next> =
                interruptions(&run).into_iter().map(|(_, next, _)| next).collect();
            let name = match who.0 {
                Source::Cached => "cached",
                Source::Canned => "canned",
                _ => "hand-off",
            };
            assert_eq!(told, [to(name)], "one cut is told once, with what followed");
            // The same before the first request, and when no attempt is left.
            let mut first = one(wire);
            first.chain = steps.iter().cloned().chain(first.chain.iter().cloned()).collect();
            let run = play(wire, first, vec![], vec![]);
            assert_eq!((said(&log), end(&run)), (expected.to_vec(), who));
            assert_eq!((run.requests.len(), interruptions(&run)), (0, vec![]));
            let mut spent = chain(wire, steps);
            spent.policy = Policy::new().max_attempts(1).into();
            let run = play(wire, spent, vec![status(503); 9], vec![]);
            assert_eq!((said(&log), end(&run)), (expected.to_vec(), who));
            assert_eq!(run.requests.len(), 1);
        }
    }
}

#[test]
fn an_upstream_behind_a_cache_that_has_nothing() {
    for wire in Wire::ALL {
        let log = Log::default();
        for kept in [Kept::misses(&log, "cache"), Kept::is_silent(&log, "cache")] {
            let mut plan = two(wire);
            let mut steps: Vec<Step> = plan.chain.iter().cloned().collect();
            steps.insert(1, Cached::new(kept).into());
            plan.chain = steps.into();
            let run = play(wire, plan, vec![status(401)], vec![]);
            assert_eq!((run.text().as_str(), upstreams(&run)), (TEXT, vec!["one", "two"]));
            let (cut, next, _) = interruptions(&run).pop().unwrap();
            assert!(matches!(cut, Cut::Rejected { .. }));
            assert_eq!(next, to("two"));
        }
    }
}

/// A silent upstream is left for the cache at once; where that has nothing, it is as if there was none.
#[test]
fn a_cache_that_has_nothing_takes_no_attempt_away() {
    for wire in Wire::ALL {
        let log = Log::default();
        let silence = || vec![Exchange::headless(End::Stall)];
        let has = || chain(wire, [Cached::new(Kept::has(&log, "cache")).into()]);
        let misses = || chain(wire, [Cached::new(Kept::misses(&log, "cache")).into()]);
        let run = play(wire, has(), silence(), vec![]);
        assert_eq!((run.text().as_str(), run.requests.len()), (BEFORE, 1));
        let run = play(wire, misses(), silence(), vec![]);
        assert_eq!((run.text().as_str(), run.requests.len()), (TEXT, 2));
        assert_eq!(interruptions(&run).pop().map(|(_, next, _)| next), Some(Next::Retry));
        assert_eq!(said(&log), ["cache", "cache"]);
        // Asked once, however often it is silent, and before it gives up.
        let run = play(wire, misses(), vec![Exchange::headless(End::Stall); 9], vec![]);
        assert_eq!((run.result.is_err(), said(&log)), (true, vec!["cache"]));
        let busy = |plan: Plan| {
            let mut exempt = Vec::new();
            let run = run_gated(
                plan,
                |_, _| status(503),
                |attempt| {
                    exempt.push(attempt.exempt);
                    true
                },
            );
            (run.text(), exempt)
        };
        assert_eq!(busy(has()), (BEFORE.to_owned(), vec![false; 3]), "there is somewhere to go");
    }
}

#[test]
fn what_fails_without_an_answer_fails_as_before() {
    for wire in Wire::ALL {
        let log = Log::default();
        let steps = || [Cached::new(Kept::misses(&log, "cache")).into(), queue(&log, false).into()];
        let run = play(wire, chain(wire, steps()), vec![status(503); 9], vec![]);
        let error = run.result.as_ref().expect_err("nobody answers");
        assert_eq!((error.kind(), error.is_exhausted()), (ErrorKind::Overloaded, true));
        assert_eq!(error.rejection().map(|said| said.status.as_u16()), Some(503));
        assert_eq!(run.requests.len(), 3);
        assert_eq!(said(&log), ["cache", "queue"]);
        let (.., next, _) = interruptions(&run).pop().unwrap();
        assert_eq!(next, Next::GiveUp);
        let expected = [("cached", Answered::No), ("hand-off", Answered::No)];
        assert_eq!(answers(&run), expected);
    }
}

#[test]
fn a_queue_learns_what_it_needs_and_its_ticket_reaches_the_caller() {
    for wire in Wire::ALL {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let hand_off = |saying: bool| {
            let seen = Arc::clone(&seen);
            HandOff::text("A person will write to you.").enqueue(move |case: HandedOff| {
                seen.lock().unwrap().push(case);
                let ticket = Ticket::new("case-17");
                ready(Ok::<_, std::fmt::Error>(if saying {
                    ticket.saying("A person will write to you (case 17).")
                } else {
                    ticket
                }))
            })
        };
        let run = play(wire, chain(wire, [hand_off(false).into()]), vec![status(503); 3], vec![]);
        assert_eq!(run.text(), "A person will write to you.");
        assert_eq!(end(&run), (Source::HandOff, Some("case-17")));
        let run = play(wire, chain(wire, [hand_off(true).into()]), vec![status(401)], vec![]);
        assert_eq!(run.text(), "A person will write to you (case 17).");
        let last = serde_json::to_value(run.events.last().unwrap()).unwrap();
        assert_eq!((&last["source"], &last["ticket"]), (&json!("hand_off"), &json!("case-17")));
        play(wire, before(wire, hand_off(false)), vec![], vec![]);
        run_gated(chain(wire, [hand_off(false).into()]), |_, _| status(503), |a| a.id.get() == 1);

        let seen = seen.lock().unwrap();
        let errors: Vec<Option<ErrorKind>> = seen.iter().map(|case| case.error).collect();
        let overloaded = Some(ErrorKind::Overloaded);
        // The last one was denied a retry, which is not what ails it.
        assert_eq!(errors, [overloaded, Some(ErrorKind::Authentication), None, overloaded]);
        let tried: Vec<usize> = seen.iter().map(|case| case.report.attempts.len()).collect();
        assert_eq!(tried, [3, 1, 0, 1]);
        assert!(seen[0].report.attempts.iter().all(|attempt| &*attempt.upstream == "one"));
        assert_eq!(*seen[0].asked.request, request(wire));
        assert_eq!(&*seen[0].asked.dialect, wire.dialect().name());
        assert!(!format!("{seen:?}").contains("content"), "no request in sight");
    }
}

/// A person who was not called is not promised.
#[test]
fn nobody_takes_over_before_somebody_has_said_so() {
    for wire in Wire::ALL {
        let log = Log::default();
        let log_of_hook = Arc::clone(&log);
        let silent = HandOff::text("A person will write to you.")
            .enqueue(move |_| waits_for_ever::<Result<Ticket, ()>>(Arc::clone(&log_of_hook)));
        let steps = [silent.into(), Canned::text("Later.").into()];
        let run = play(wire, chain(wire, steps), vec![status(401)], vec![]);
        assert_eq!((run.text().as_str(), end(&run)), ("Later.", (Source::Canned, None)));
        assert_eq!((run.took, said(&log)), (HAND_OFF, vec!["let go"]));
        assert_eq!(answers(&run), [("hand-off", Answered::Silent)]);
    }
}

/// What such a request asks, only its provider knows.
#[test]
fn a_conversation_that_the_provider_keeps_is_neither_looked_up_nor_kept() {
    let wire = Wire::OpenAiResponses;
    let log = Log::default();
    let mut plan = before(wire, Cached::new(Kept::has(&log, "cache")));
    let mut asked = request(wire);
    asked["conversation"] = json!("conv_1");
    plan.request = asked.into();
    let run = play(wire, plan, vec![], vec![]);
    assert_eq!((run.text().as_str(), said(&log), run.puts.len()), (TEXT, vec![], 0));
}

/// An answer that others began is not theirs to go on with.
#[test]
fn with_text_delivered_nobody_of_them_is_asked() {
    for wire in Wire::ALL {
        let log = Log::default();
        let steps = [Cached::new(Kept::has(&log, "cache")).into(), queue(&log, true).into()];
        let cuts = vec![cut(wire, 50)].into_iter().chain(vec![status(401); 9]).collect();
        let run = play(wire, chain(wire, steps), cuts, vec![]);
        assert_eq!(kind(&run), ErrorKind::Authentication);
        assert!(TEXT.starts_with(&run.text()) && !run.text().is_empty());
        assert_eq!((said(&log), run.puts.len()), (vec![], 0));
    }
}

#[test]
fn who_is_at_fault_is_not_answered_from_before_and_heads_are_not_made_of_texts() {
    for wire in Wire::ALL {
        let log = Log::default();
        let steps = || [Cached::new(Kept::has(&log, "cache")).into(), queue(&log, true).into()];
        let refused = error(wire, 400, "invalid_request_error", "max_tokens: too large");
        let run = play(wire, chain(wire, steps()), vec![refused], vec![]);
        assert_eq!((kind(&run), said(&log)), (ErrorKind::InvalidRequest, vec![]));
        for place in [0, 1] {
            let mut plan = one(wire);
            let mut all: Vec<Step> = plan.chain.iter().cloned().collect();
            all.splice(place..place, steps());
            plan.chain = all.into();
            plan.head_only = true;
            let run = play(wire, plan, vec![status(401)], vec![]);
            assert_eq!((kind(&run), said(&log)), (ErrorKind::Authentication, vec![]));
        }
    }
}

#[test]
fn the_overall_deadline_holds_while_somebody_is_asked() {
    for wire in Wire::ALL {
        let log = Log::default();
        let mut plan = chain(wire, [Cached::new(Kept::is_silent(&log, "cache")).into()]);
        let overall = Duration::from_secs(1);
        plan.policy = Policy::new().timeouts(Timeouts::new().overall(overall)).into();
        let run = play(wire, plan, vec![status(401)], vec![]);
        assert_eq!((kind(&run), run.took), (ErrorKind::Deadline, overall));
        assert_eq!(said(&log), ["cache", "let go"]);
        let (.., next, _) = interruptions(&run).pop().unwrap();
        assert_eq!(next, Next::GiveUp, "the cut is told all the same");
    }
}

/// The upstreams bring nothing new, and so it is somebody else who is asked.
#[test]
fn who_is_asked_is_given_time_however_long_nothing_new_has_come() {
    for wire in Wire::ALL {
        let log = Log::default();
        let steps = || [Kept::is_silent(&log, "cache"), Kept::has(&log, "next")].map(Cached::new);
        let mut plan = chain(wire, steps().map(Step::from));
        plan.policy = Policy::new().no_progress_max(Duration::from_secs(1)).into();
        let run = play(wire, plan, vec![status(401)], vec![]);
        assert_eq!((run.text().as_str(), run.took), (BEFORE, CACHE));
        assert_eq!(said(&log), ["cache", "let go", "next"]);
    }
}

/// Up to the question of the first step.
fn asking(log: &Log) -> (Recovery, std::time::Instant) {
    #[expect(clippy::disallowed_methods, reason = "an instant to start from; time is virtual")]
    let now = std::time::Instant::now();
    let wire = Wire::Anthropic;
    let mut plan = before(wire, Cached::new(Kept::misses(log, "cache")));
    plan.policy = Policy::new().answer_max(1000).into();
    let mut engine = Recovery::new(plan, now).unwrap();
    loop {
        match engine.poll_output() {
            Output::Ask(question) => {
                assert_eq!((question.step, format!("{question:?}").contains("Kept")), (0, false));
                let none = poll_once(Box::pin(question.ask()).as_mut());
                assert!(none == std::task::Poll::Ready(None));
                let Output::Wait { until, timer } = engine.poll_output() else {
                    panic!("it waits for the answer");
                };
                assert_eq!((until, timer), (Some(now + CACHE), Some(Timer::Cache)));
                return (engine, now);
            }
            Output::Notice(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn canceled_while_somebody_is_asked() {
    let (mut engine, now) = asking(&Log::default());
    engine.handle_input(now, Input::Cancel);
    assert!(matches!(engine.poll_output(), Output::Withdraw));
    let error = loop {
        match engine.poll_output() {
            Output::Notice(_) => {}
            Output::Done(result) => break result.expect_err("canceled"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(error.kind(), ErrorKind::Canceled);
    let late = Some(Given::Answer(CachedAnswer::new(BEFORE)));
    engine.handle_input(now, Input::Answered { step: 0, given: late });
    assert!(matches!(engine.poll_output(), Output::Wait { until: None, .. }), "law Terminal");
}

#[test]
fn only_the_step_that_was_asked_answers_and_only_what_it_can() {
    let answer = || Some(Given::Answer(CachedAnswer::new(BEFORE)));
    let ticket = || Some(Given::Ticket(Ticket::new("case-17")));
    let empty = || Some(Given::Answer(CachedAnswer::new("")));
    let too_long = || Some(Given::Answer(CachedAnswer::new("x".repeat(1001))));
    for (step, given, expected) in [
        (0, answer(), "cached"),
        (1, answer(), "waits"),
        (0, ticket(), "one"),
        (0, empty(), "one"),
        (0, too_long(), "one"),
        (0, None, "one"),
    ] {
        let (mut engine, now) = asking(&Log::default());
        engine.handle_input(now, Input::Answered { step, given });
        // Too late for a second word.
        engine.handle_input(now, Input::Answered { step, given: answer() });
        let found = loop {
            match engine.poll_output() {
                Output::Open(attempt) => break attempt.upstream.to_string(),
                Output::Event(Event::Started(head)) => break head.upstream.to_string(),
                Output::Wait { .. } => break "waits".to_owned(),
                _ => {}
            }
        };
        assert_eq!(found, expected);
    }
}
