//! What a gate refuses, steps that are no upstream, requests that are not streamed.

use std::future::ready;

use unbroken::dialect::{OpenAiResponses, Untranslatable};
use unbroken::engine::{Notice, Refusal, Verdict};
use unbroken::{Canned, HandOff, Outcome, Source, Step, Ticket, WireOptions};

use super::support::run_gated;
use super::*;

fn with(mut plan: Plan, step: impl Into<Step>) -> Plan {
    plan.chain = plan.chain.iter().cloned().chain([step.into()]).collect();
    plan
}

pub(super) fn verdicts(run: &Run) -> Vec<(&str, Verdict)> {
    let ended = run.notices.iter().filter_map(|notice| match notice {
        Notice::Ended { upstream, verdict, .. } => Some((&**upstream, *verdict)),
        _ => None,
    });
    ended.collect()
}

fn source(run: &Run) -> Source {
    run.transcript.finish().expect("a finish").source
}

fn busy(_: &Value, _: &unbroken::engine::Attempt) -> Exchange {
    status(503)
}

#[test]
fn what_is_denied_goes_to_the_next_step_for_nothing() {
    for wire in Wire::ALL {
        let run = run_gated(
            two(wire),
            |request, _| model(wire).respond(request),
            |a| &*a.upstream != "one",
        );
        assert_eq!((run.text().as_str(), upstreams(&run)), (TEXT, vec!["two"]));
        assert_eq!(interruptions(&run), [], "nothing was interrupted");
        assert_eq!(source(&run), Source::Model);
        let denied = |notice: &&Notice| matches!(notice, Notice::Denied { attempt, .. } if attempt.get() == 1);
        assert_eq!(run.notices.iter().filter(denied).count(), 1);
    }
}

#[test]
fn the_error_is_what_ails_the_reply_and_not_that_it_was_denied() {
    for wire in Wire::ALL {
        let run = run_gated(two(wire), busy, |attempt| attempt.id.get() == 1);
        let error = run.result.as_ref().expect_err("busy, then denied");
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        assert_eq!(error.rejection().map(|said| said.status.as_u16()), Some(503));
        assert!(error.is_exhausted() && !error.is_denied());
        let run = run_gated(two(wire), busy, |_| false);
        let error = run.result.as_ref().expect_err("denied");
        assert_eq!((error.kind(), error.origin()), (ErrorKind::Denied, Origin::Library));
        assert!(error.is_denied() && error.rejection().is_none());
        assert!(error.to_string().contains("breaker"));
    }
}

/// The breaker chooses between steps; it does not take an answer away that nobody else can finish.
#[test]
fn with_text_delivered_the_last_step_is_exempt_from_the_breaker() {
    for wire in Wire::ALL {
        let exempt = |chain: Plan| {
            let mut seen = Vec::new();
            let mut first = vec![cut(wire, 50)].into_iter();
            let run = run_gated(
                chain,
                |request, _| first.next().unwrap_or_else(|| model(wire).respond(request)),
                |attempt| {
                    seen.push((attempt.upstream.to_string(), attempt.exempt));
                    // An open breaker everywhere, from the first cut on.
                    attempt.id.get() == 1 || attempt.exempt
                },
            );
            assert_eq!(run.text(), TEXT);
            seen
        };
        let of = |name: &str, exempt: bool| (name.to_owned(), exempt);
        assert_eq!(exempt(one(wire)), [of("one", false), of("one", true)]);
        assert_eq!(exempt(two(wire)), [of("one", false), of("one", false), of("two", true)]);
        // A canned answer cannot go on with what was said.
        assert_eq!(
            exempt(with(one(wire), Canned::text("no"))),
            [of("one", false), of("one", true)]
        );
    }
}

/// That a reply was let in is no reason to try again at an upstream that fails for everybody: thousands
/// of replies that have nothing yet would all ask it once more.
#[test]
fn with_nothing_delivered_no_attempt_is_exempt() {
    for wire in Wire::ALL {
        let mut seen = Vec::new();
        let run = run_gated(one(wire), busy, |attempt| {
            seen.push(attempt.exempt);
            true
        });
        assert_eq!((seen, run.result.is_err()), (vec![false; 3], true));
        // A retry that is denied ends the reply with what ailed it.
        let run = run_gated(one(wire), busy, |attempt| attempt.id.get() == 1 || attempt.exempt);
        let error = run.result.as_ref().expect_err("busy, then denied");
        assert_eq!((error.kind(), run.requests.len()), (ErrorKind::Overloaded, 1));
        assert!(error.is_exhausted() && !error.is_denied());
    }
}

/// It is abandoned, and begun anew by whoever is asked next.
#[test]
fn reasoning_alone_makes_no_attempt_exempt() {
    let wire = Wire::Anthropic;
    let thinker = Model::anthropic(Answer::new().reasoning("Hm, let me see.", "c2ln").text(TEXT));
    let body = thinker.whole().body();
    let at = memchr::memmem::find(&body, b"signature_delta").unwrap();
    let mut first = vec![thinker.whole().fault(Fault::reset_at(at))].into_iter();
    let mut seen = Vec::new();
    let respond = |request: &Value, _: &unbroken::engine::Attempt| {
        first.next().unwrap_or_else(|| thinker.respond(request))
    };
    let run = run_gated(one(wire), respond, |attempt| {
        seen.push(attempt.exempt);
        true
    });
    assert_eq!((seen, run.text().as_str()), (vec![false, false], TEXT));
}

#[test]
fn one_reply_counts_at_most_one_failure_of_an_upstream_and_only_without_new_content() {
    for wire in Wire::ALL {
        use Verdict::{Continued, Failure, Retried, Setback, Success, Uncounted};
        let run = play(wire, two(wire), vec![status(503); 3], vec![status(503), status(503)]);
        // Not before it is known how the reply fares there.
        let expected = [
            ("one", Retried),
            ("one", Retried),
            ("one", Failure),
            ("two", Retried),
            ("two", Retried),
            ("two", Success),
        ];
        assert_eq!(verdicts(&run), expected);
        let run =
            play(wire, one(wire), vec![cut(wire, 50), Exchange::headless(End::Reset)], vec![]);
        assert_eq!(verdicts(&run), [("one", Continued), ("one", Retried), ("one", Success)]);
        // The last attempt that is allowed goes on with nothing.
        let mut last = one(wire);
        last.policy = Policy::new().max_attempts(1).into();
        let run = play(wire, last, vec![cut(wire, 50)], vec![]);
        assert_eq!(verdicts(&run), [("one", Setback)]);
        let run =
            play(wire, one(wire), vec![error(wire, 400, "invalid_request_error", "no")], vec![]);
        assert_eq!(verdicts(&run), [("one", Uncounted)]);
        // The same upstream with another model is another matter.
        let models =
            plan(vec![claude("one", "claude-haiku-4-5"), claude("one", "claude-sonnet-4-5")]);
        let run = play(wire, models, vec![status(503); 9], vec![]);
        assert_eq!(verdicts(&run).iter().filter(|(_, verdict)| *verdict == Failure).count(), 2);
        // The same one with the same model, named twice, is not.
        let twice = play(
            wire,
            plan(vec![claude("one", "m"), claude("one", "m")]),
            vec![status(503); 9],
            vec![],
        );
        assert_eq!(verdicts(&twice).iter().filter(|(_, verdict)| *verdict == Failure).count(), 1);
    }
}

/// Off unless it is set: an answer that keeps its caller waiting, and comes to its end all the same.
#[test]
fn a_slow_first_word_counts_as_a_failure_where_the_caller_says_so() {
    use Verdict::{Retried, Slow, Success};
    let answer = |wire, delay| model(wire).whole().delay(Duration::from_secs(delay));
    let plan = |wire, slow: Option<u64>| {
        let mut plan = one(wire);
        let mut policy = Policy::new();
        policy.breaker.slow = slow.map(Duration::from_secs);
        plan.policy = policy.into();
        plan
    };
    for wire in Wire::ALL {
        for (slow, delay, expected) in
            [(None, 40, Success), (Some(10), 40, Slow), (Some(10), 10, Success)]
        {
            let run = play(wire, plan(wire, slow), vec![answer(wire, delay)], vec![]);
            assert_eq!((run.text().as_str(), verdicts(&run)), (TEXT, vec![("one", expected)]));
        }
        // The wait is one attempt's, and not of those before it, nor between them.
        let busy = || status(503).delay(Duration::from_secs(9));
        let run = play(wire, plan(wire, Some(10)), vec![busy(), busy(), answer(wire, 9)], vec![]);
        assert_eq!(verdicts(&run), [("one", Retried), ("one", Retried), ("one", Success)]);
        // Pings are no words.
        let late = answer(wire, 0).every(Duration::from_secs(11));
        assert_eq!(
            verdicts(&play(wire, plan(wire, Some(10)), vec![late], vec![])),
            [("one", Slow)]
        );
        // A response that is handed on as it comes is all made before its head.
        let run = play(wire, call(plan(wire, Some(10))), vec![answer(wire, 40)], vec![]);
        assert_eq!(verdicts(&run), [("one", Success)]);
    }
}

#[test]
fn a_reply_that_ends_by_itself_says_nothing_about_its_upstream() {
    for wire in Wire::ALL {
        let mut plan = one(wire);
        let timeouts = unbroken::policy::Timeouts::new().overall(Duration::from_secs(5));
        plan.policy = Policy::new().timeouts(timeouts).into();
        let run = play(wire, plan, vec![Exchange::headless(End::Stall)], vec![]);
        assert_eq!(kind(&run), ErrorKind::Deadline);
        assert_eq!(verdicts(&run), [("one", Verdict::Uncounted)]);
        let canceled = |notice: &Notice| matches!(notice, Notice::Ended { report, .. } if report.outcome == Outcome::Canceled);
        assert!(run.notices.iter().any(canceled));
    }
}

#[test]
fn a_canned_answer_is_the_last_resort_while_nothing_is_delivered() {
    let wire = Wire::Anthropic;
    let canned = || Canned::by(|request| format!("Later. ({})", request["model"]));
    assert_eq!(format!("{:?}", Canned::text("Later.")), "Canned(..)", "no text in sight");
    let run = play(wire, with(two(wire), canned()), vec![status(401)], vec![status(503); 9]);
    assert_eq!(run.text(), "Later. (\"claude-haiku-4-5\")");
    assert_eq!(upstreams(&run), ["one", "two", "two", "two"]);
    let finish = run.transcript.finish().expect("finished");
    assert_eq!((&finish.reason, finish.inferred), (&FinishReason::Stop, false));
    assert_eq!(finish.source, Source::Canned);
    let head = run.transcript.head().expect("a head");
    assert_eq!((&*head.upstream, head.attempt, head.model.as_deref()), ("canned", None, None));
    let (.., next, delay) = interruptions(&run).pop().unwrap();
    assert_eq!((next, delay), (Next::Step { upstream: "canned".into(), by: None }, 0));

    let half = play(
        wire,
        with(one(wire), canned()),
        vec![cut(wire, 50); 1].into_iter().chain(vec![status(503); 9]).collect(),
        vec![],
    );
    assert_eq!(kind(&half), ErrorKind::Overloaded, "what others began it cannot go on with");
    assert!(TEXT.starts_with(&half.text()) && !half.text().is_empty());
}

/// No reason to give a step up sooner: a text of ours is no way on from text of a model's.
#[test]
fn an_answer_at_hand_is_no_other_step_once_text_is_delivered() {
    for wire in Wire::ALL {
        let stuck = || Exchange::headless(End::Reset);
        let run = play(
            wire,
            with(one(wire), Canned::text("no")),
            vec![cut(wire, 60), stuck(), stuck()],
            vec![],
        );
        assert_eq!((run.text().as_str(), run.requests.len()), (TEXT, 4));
    }
}

#[test]
fn a_hand_off_says_so_to_programs() {
    for wire in Wire::ALL {
        let run = play(
            wire,
            with(one(wire), HandOff::text("A person will write to you.")),
            vec![status(503); 9],
            vec![],
        );
        assert_eq!(run.text(), "A person will write to you.");
        assert_eq!(source(&run), Source::HandOff);
        let (.., next, _) = interruptions(&run).pop().unwrap();
        assert_eq!(next, Next::Step { upstream: "hand-off".into(), by: None });
        let last = serde_json::to_value(run.events.last().unwrap()).unwrap();
        assert_eq!(last["source"], json!("hand_off"));
    }
}

#[test]
fn an_answer_at_hand_costs_no_attempt_and_needs_no_permission() {
    for wire in Wire::ALL {
        let mut plan = with(one(wire), Canned::text("Later."));
        plan.policy = Policy::new().max_attempts(1).into();
        let run = play(wire, plan, vec![status(503); 9], vec![]);
        assert_eq!((run.text().as_str(), run.requests.len()), ("Later.", 1));
        let run = run_gated(with(one(wire), Canned::text("Later.")), busy, |_| false);
        assert_eq!((run.text().as_str(), run.requests.len()), ("Later.", 0));
        let run = play(wire, with(one(wire), Canned::text("")), vec![status(401)], vec![]);
        assert!(run.result.is_ok() && run.transcript.parts().is_empty(), "no part without content");
        // First in the chain it is all there is.
        let mut plan = one(wire);
        plan.chain = [Step::from(HandOff::text("Closed today."))]
            .into_iter()
            .chain(plan.chain.iter().cloned())
            .collect();
        let run = play(wire, plan, vec![], vec![]);
        assert_eq!((run.text().as_str(), run.requests.len()), ("Closed today.", 0));
        // And alone it is no chain: nobody says what dialect the request is in.
        let run = play(wire, Plan::new(request(wire), [Canned::text("no")]), vec![], vec![]);
        assert_eq!(kind(&run), ErrorKind::InvalidRequest);
    }
}

#[test]
fn who_is_at_fault_or_refused_gets_no_answer_at_hand() {
    for wire in Wire::ALL {
        let policy = "Output blocked by content filtering policy";
        for refused in [
            error(wire, 400, "invalid_request_error", "max_tokens: too large"),
            error(wire, 400, "invalid_request_error", policy),
        ] {
            let run = play(wire, with(one(wire), Canned::text("no")), vec![refused], vec![]);
            assert!(run.result.is_err() && run.text().is_empty());
        }
    }
}

#[test]
fn abandoned_reasoning_makes_way_for_an_answer_at_hand() {
    let wire = Wire::Anthropic;
    let thinker = Model::anthropic(Answer::new().reasoning("Hm, let me see.", "c2ln").text(TEXT));
    let body = thinker.whole().body();
    let at = memchr::memmem::find(&body, b"signature_delta").unwrap();
    let first = thinker.whole().fault(Fault::reset_at(at));
    let run = play(wire, with(one(wire), Canned::text("Later.")), vec![first, status(401)], vec![]);
    assert_eq!(run.text(), "Later.");
    assert_eq!(run.kept(), [("text".to_owned(), "Later.".to_owned())]);
    assert_eq!(&*run.transcript.head().unwrap().upstream, "one", "who spoke first");
    assert_eq!(source(&run), Source::Canned);
}

/// Also where a step between them had its turn, and those before it are looked at again.
#[test]
fn each_step_that_has_no_words_for_a_request_says_so_once() {
    let unable = |wire, name, field: &'static str| {
        upstream(wire, name, true).adapt(move |_| Err(Untranslatable::new(field)))
    };
    for wire in Wire::ALL {
        let nobody = HandOff::text("no").enqueue(|_| ready(Err::<Ticket, _>("down")));
        let chain: [Step; 5] = [
            upstream(wire, "one", false).into(),
            unable(wire, "two", "top_k").into(),
            nobody.into(),
            unable(wire, "three", "thinking").into(),
            upstream(wire, "four", true).into(),
        ];
        let plan = Plan::new(request(wire), chain);
        let run = play(wire, plan, vec![status(401)], vec![]);
        assert_eq!((run.text().as_str(), upstreams(&run)), (TEXT, vec!["one", "four"]));
        let told = run.notices.iter().filter_map(|notice| match notice {
            Notice::Untranslated { upstream, field } => Some((&**upstream, &**field)),
            _ => None,
        });
        assert_eq!(told.collect::<Vec<_>>(), [("two", "top_k"), ("three", "thinking")]);
    }
}

fn call(mut plan: Plan) -> Plan {
    plan.head_only = true;
    plan
}

#[test]
fn a_request_that_is_not_streamed_is_done_with_a_head_that_is_a_success() {
    let wire = Wire::Anthropic;
    let mut plan = call(two(wire));
    let mut request = request(wire);
    request["stream"] = json!(false);
    plan.request = request.clone().into();
    let answer = || Exchange::json(StatusCode::CREATED, &json!({"error": "whatever it says"}));
    let busy = || status(429).header(RETRY_AFTER, HeaderValue::from_static("7"));
    let run = play(wire, plan, vec![busy(), answer()], vec![]);
    assert_eq!(run.result.as_ref().err().map(|e| e.kind()), None);
    assert_eq!(run.requests, [request.clone(), request], "sent as it is");
    assert_eq!(run.took, Duration::from_secs(7));
    assert_eq!(verdicts(&run), [("one", Verdict::Retried), ("one", Verdict::Success)]);
    let finish = run.transcript.finish().unwrap();
    assert_eq!((&finish.reason, finish.inferred), (&FinishReason::Unstated, true));
}

#[test]
fn a_request_that_is_not_streamed_goes_down_the_chain_and_tells_the_last_rejection() {
    let wire = Wire::Anthropic;
    let mut plan = call(two(wire));
    plan.request = json!({"anything": true}).into();
    let answer = Exchange::json(StatusCode::OK, &json!({}));
    let run = play(wire, plan, vec![status(401)], vec![answer]);
    assert_eq!((run.result.is_ok(), upstreams(&run)), (true, vec!["one", "two"]));
    assert_eq!(run.requests[1], json!({"anything": true, "model": "claude-sonnet-4-5"}));

    let refused = error(wire, 400, "invalid_request_error", "no such thing");
    let run = play(wire, call(two(wire)), vec![refused], vec![]);
    let rejection = run.result.as_ref().unwrap_err().rejection().expect("a rejection");
    assert!(String::from_utf8_lossy(&rejection.body).contains("no such thing"));

    let run = play(wire, call(with(one(wire), Canned::text("no"))), vec![status(503); 9], vec![]);
    assert_eq!((kind(&run), run.requests.len()), (ErrorKind::Overloaded, 3), "passed over");
    let mut plan = call(one(wire));
    plan.request = json!("text").into();
    let run = play(wire, plan, vec![], vec![]);
    assert_eq!(kind(&run), ErrorKind::InvalidRequest);
}

/// All of the answer is made before its head: neither a silence that a stream would not be allowed nor
/// the clock that runs after a cut ends it.
#[test]
fn a_head_may_take_as_long_as_a_whole_answer() {
    for wire in Wire::ALL {
        let slow = || Exchange::json(StatusCode::OK, &json!({})).delay(Duration::from_secs(590));
        for first in [vec![slow()], vec![status(503), slow()]] {
            let run = play(wire, call(one(wire)), first, vec![]);
            assert!(run.result.is_ok(), "{:?}", run.result);
        }
        let dead = || Exchange::headless(End::Stall);
        let run = play(
            wire,
            call(one(wire)),
            vec![dead()],
            vec![Exchange::json(StatusCode::OK, &json!({}))],
        );
        let (first, ..) = interruptions(&run).remove(0);
        assert_eq!(first, Cut::Stalled { timer: Timer::FirstEvent });
        assert_eq!(run.report.attempts[1].opened, Duration::from_secs(600));
    }
}

/// What is passed on is not read, and is delivered all the same.
#[test]
fn a_replay_is_exempt_once_something_of_it_was_passed_on() {
    let wire = Wire::OpenAiResponses;
    let (plan, _) = replayed();
    let mut exchanges =
        vec![Exchange::headless(End::Reset), cut(wire, 60), model(wire).whole()].into_iter();
    let mut seen = Vec::new();
    let run = run_gated(
        plan,
        |_, _| exchanges.next().unwrap(),
        |attempt| {
            seen.push(attempt.exempt);
            true
        },
    );
    assert_eq!((seen, run.result.is_ok()), (vec![false, false, true], true));
    assert_eq!(run.wire.unwrap(), model(wire).whole().body());
}

/// An answer that its provider keeps, to be passed on, and its events.
fn replayed() -> (Plan, Vec<String>) {
    let wire = Wire::OpenAiResponses;
    let kept = "https://api.example/v1/responses/resp_1?stream=true".parse().unwrap();
    let mut plan = Plan::new(json!({}), [Upstream::new("one", OpenAiResponses, kept)]);
    plan.replay = true;
    plan.wire = Some(WireOptions::new());
    let body = String::from_utf8(model(wire).whole().body().to_vec()).unwrap();
    (plan, body.split_inclusive("\n\n").map(str::to_owned).collect())
}

/// It is the client's, who attaches by himself where it ends.
#[test]
fn a_replay_that_breaks_off_again_and_again_goes_on_as_long_as_each_brings_something() {
    let (plan, events) = replayed();
    let few = events.len() / 8;
    let mut exchanges = events.chunks(few).map(|some| Exchange::stream(some.concat()).reset());
    let run = run(plan, |_, _| exchanges.next().unwrap());
    assert!(run.result.is_ok() && run.requests.len() > 5, "{:?}", run.result);
    assert_eq!(run.wire.unwrap(), events.concat().into_bytes());
}

/// A client that has the beginning of a stream has no use for JSON.
#[test]
fn an_answer_in_one_piece_is_no_end_of_a_stream() {
    let (plan, events) = replayed();
    let (first, rest) = events.split_at(3);
    let piece = Exchange::json(StatusCode::OK, &json!({"id": "resp_1", "status": "completed"}));
    // One that has nothing yet gets it as it is.
    let alone = super::run(replayed().0, |_, _| piece.clone());
    assert_eq!((alone.result.is_ok(), alone.requests.len()), (true, 1));
    let first = Exchange::stream(first.concat()).reset();
    let mut exchanges = vec![first, piece, Exchange::stream(rest.concat())].into_iter();
    let run = run(plan, |_, _| exchanges.next().unwrap());
    assert_eq!((run.result.is_ok(), run.requests.len()), (true, 3), "{:?}", run.result);
    assert_eq!(run.wire.unwrap(), events.concat().into_bytes());
}

/// One that has no number is not of the answer that is kept.
#[test]
fn an_error_that_is_no_part_of_what_is_replayed_is_one_of_the_connection() {
    let (plan, events) = replayed();
    let error = "data: {\"error\":{\"type\":\"server_error\",\"message\":\"x\"}}\n\n";
    let (first, rest) = events.split_at(3);
    let first = Exchange::stream(first.concat() + error);
    let mut exchanges = vec![first, Exchange::stream(rest.concat())].into_iter();
    let run = run(plan, |_, _| exchanges.next().unwrap());
    assert_eq!((run.result.is_ok(), run.requests.len()), (true, 2), "{:?}", run.result);
    assert_eq!(run.wire.unwrap(), events.concat().into_bytes());
}

/// Who has something of an answer is let through where nobody else could go on with it.
#[test]
fn a_continuation_is_exempt_where_the_next_step_has_no_way_to_go_on() {
    let wire = Wire::Anthropic;
    for (refuses, exempt) in [(false, false), (true, true)] {
        let mut plan = two(wire);
        if refuses {
            let rungs = [Resume::Prefill, Resume::Instruct, Resume::Quote, Resume::Align];
            let refusal = |by| Refusal::new("two", "claude-sonnet-4-5", by);
            plan.refused = rungs.map(refusal).into();
        }
        let mut seen = Vec::new();
        let mut first = Some(cut(wire, 50));
        let run = run_gated(
            plan,
            |request, _| first.take().unwrap_or_else(|| model(wire).respond(request)),
            |attempt| {
                seen.push(attempt.exempt);
                true
            },
        );
        assert_eq!((seen, run.text().as_str()), (vec![false, exempt], TEXT));
    }
}
