//! A generation that its provider keeps, cut, and fetched again from where it was: in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::cell::Cell;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use support::subjects::{Scenario, Wire, comparable, subjects};
use support::{Rng, Run, kept, run};
use unbroken::engine::{Attempt, Plan};
use unbroken::policy::{Policy, Timeouts};
use unbroken::testing::{Answer, Deltas, End, Exchange, Fault, Model};
use unbroken::{
    Cut, ErrorKind, Event, FinishReason, Join, Next, Resume, WireOptions, WireReasoning,
};

/// The formats whose providers replay what they say.
fn wires() -> impl Iterator<Item = Wire> {
    Wire::ALL.into_iter().filter(|wire| wire.runs(Scenario::Cursor))
}

fn plan(wire: Wire) -> Plan {
    let mut plan = wire.plan(Resume::Instruct, false);
    let mut request = (*plan.request).clone();
    request["background"] = json!(true);
    plan.request = request.into();
    plan.refused.clear();
    plan
}

/// The whole answer to that plan's request.
fn whole(wire: Wire, model: &Model) -> Exchange {
    model.respond(&plan(wire).request)
}

/// Each event of a body, as it stands there.
fn events(body: &[u8]) -> Vec<String> {
    let body = String::from_utf8(body.to_vec()).unwrap();
    body.split_inclusive("\n\n").map(str::to_owned).collect()
}

/// The number that a fetch asks to go on after.
fn after(wire: Wire, attempt: &Attempt) -> Option<usize> {
    let (above, id, cursor) = match wire {
        Wire::OpenAiResponses => ("/v1/responses", "resp_", "starting_after="),
        _ => ("/v1beta/interactions", "v1_", "last_event_id=evt_"),
    };
    let uri = attempt.request.uri();
    if attempt.request.method() != Method::GET {
        assert_eq!((uri.path(), uri.query()), (above, None));
        return None;
    }
    assert!(!attempt.request.headers().contains_key("content-type"));
    let (path, query) = (uri.path(), uri.query().unwrap());
    assert!(path.starts_with(&format!("{above}/{id}")), "{path}");
    let number = query.strip_prefix("stream=true&").and_then(|query| query.strip_prefix(cursor));
    Some(number.unwrap_or_else(|| panic!("{query}")).parse().unwrap())
}

/// What a fetch brings of the same generation.
fn rest(wire: Wire, model: &Model, after: usize) -> Exchange {
    Exchange::stream(events(&whole(wire, model).body())[after + 1..].concat())
}

fn words(wire: Wire) -> Model {
    let answer = Answer::new().text("Eins, zwei, drei, vier, fünf, sechs, sieben.");
    wire.says(answer, Deltas::Chars(4))
}

/// The first exchange is cut after `events` events.
fn cut_after(wire: Wire, model: &Model, count: usize, end: End) -> Exchange {
    let whole = whole(wire, model);
    let at = events(&whole.body())[..count].concat().len();
    whole.fault(Fault::Cut { at, end })
}

fn rungs(run: &Run) -> Vec<Option<Resume>> {
    run.report.attempts.iter().map(|attempt| attempt.by).collect()
}

#[test]
fn cut_everywhere_a_replay_brings_the_rest_and_nothing_twice() {
    std::thread::scope(|threads| {
        for wire in wires() {
            threads.spawn(move || cut_everywhere(wire));
        }
    });
}

fn cut_everywhere(wire: Wire) {
    let ways = [None, Some(WireReasoning::Live), Some(WireReasoning::Whole)];
    for subject in subjects() {
        let model = wire.model(&subject.answer);
        let whole = run(plan(wire), |_, _| self::whole(wire, &model));
        for at in 0..=self::whole(wire, &model).body().len() {
            let end = [End::Reset, End::Clean, End::Close][at / 3 % 3].clone();
            let mut plan = plan(wire);
            plan.wire = ways[at % 7 % 3].map(|reasoning| WireOptions::new().reasoning(reasoning));
            let cut = run(plan, |_, attempt| match after(wire, attempt) {
                None if attempt.id.get() == 1 => {
                    self::whole(wire, &model).fault(Fault::Cut { at, end: end.clone() })
                }
                None => self::whole(wire, &model),
                Some(after) => rest(wire, &model, after),
            });
            let context = || format!("{}, byte {at}\n{}", subject.name, cut.trace());
            assert!(cut.result.is_ok(), "{:?}: {}", cut.result, context());
            assert!(!cut.transcript.finish().unwrap().inferred, "{}", context());
            assert_eq!(kept(&cut.transcript), kept(&whole.transcript), "{}", context());
            assert_eq!(comparable(cut.kept()), comparable(whole.kept()));
            // One generation is billed once.
            let usage = cut.transcript.finish().unwrap().usage;
            let spent = cut.report.attempts.iter().map(|a| a.output_tokens()).sum::<u64>();
            if cut
                .report
                .attempts
                .iter()
                .all(|attempt| attempt.by.is_some() || attempt.id.get() == 1)
            {
                assert_eq!(usage, whole.transcript.finish().unwrap().usage, "{}", context());
                assert_eq!(spent, usage.output_tokens, "{}", context());
                assert_eq!(cut.report.billed(), usage, "{}", context());
                let again = (cut.report.rebilled_input_tokens(), cut.report.lost_output_tokens());
                assert_eq!(again, (0, 0), "{}", context());
                let window = usage.input_tokens + usage.output_tokens;
                assert_eq!(cut.report.context_tokens(), Some(window), "{}", context());
            }
        }
    }
}

#[test]
fn it_goes_on_at_the_very_event() {
    for wire in wires() {
        let model = words(wire);
        let asked = Cell::new(None);
        let run = run(plan(wire), |_, attempt| match after(wire, attempt) {
            None => cut_after(wire, &model, 7, End::Reset),
            Some(after) => {
                asked.set(Some(after));
                rest(wire, &model, after)
            }
        });
        assert_eq!((run.text(), asked.get()), (model.answer().whole_text(), Some(6)));
        assert_eq!(rungs(&run), [None, Some(Resume::Cursor)]);
        let resumed = run.events.iter().find_map(|event| match event {
            Event::Resumed(seam) => Some((seam.by, seam.join, seam.trimmed)),
            _ => None,
        });
        assert_eq!(resumed, Some((Resume::Cursor, Join::Literal, 0)));
    }
}

/// The request was read once, for the generation; to fetch that costs nothing, however often.
#[test]
fn a_replay_that_is_cut_has_cost_no_input() {
    for wire in wires() {
        let model = words(wire);
        let mut plan = plan(wire);
        plan.policy = Policy::new().max_attempts(2).into();
        let run = run(plan, |_, attempt| match after(wire, attempt) {
            None => cut_after(wire, &model, 7, End::Reset),
            Some(after) => {
                let rest = events(&rest(wire, &model, after).body());
                Exchange::stream(rest[..3].concat()).reset()
            }
        });
        assert_eq!(rungs(&run), [None, Some(Resume::Cursor)]);
        let inputs = run.report.attempts.iter().map(|attempt| attempt.estimated_input_tokens);
        let inputs: Vec<_> = inputs.collect();
        assert!(inputs[0] > 0 && inputs[1] == 0, "{wire:?}: {:?}", run.report);
    }
}

#[test]
fn a_replay_that_ends_is_attached_again_with_patience() {
    for wire in wires() {
        let model = words(wire);
        let total = events(&self::whole(wire, &model).body()).len();
        let mut replays = 0;
        let run = run(plan(wire), |_, attempt| match after(wire, attempt) {
            None => cut_after(wire, &model, 6, End::Clean),
            Some(after) => {
                replays += 1;
                let all = rest(wire, &model, after);
                let body = events(&all.body());
                // Nothing new for a while; then a little; then all of it.
                let have = match replays {
                    1..=6 => 0,
                    7 => 2,
                    _ => body.len(),
                };
                assert!(after < total);
                Exchange::stream(body[..have].concat())
            }
        });
        assert_eq!(run.text(), model.answer().whole_text());
        assert_eq!(run.requests.len(), 1 + 8);
        let delays: Vec<Duration> = run.report.attempts.iter().map(|a| a.delay).collect();
        assert_eq!(delays[1], Duration::ZERO);
        assert!(delays[2..].iter().all(|delay| *delay <= Duration::from_secs(8)));
        assert!(delays[2..7].iter().any(|delay| *delay > Duration::ZERO), "{delays:?}");
    }
}

#[test]
fn a_replay_without_an_end_has_its_limits() {
    for wire in wires() {
        let model = words(wire);
        let run = run(plan(wire), |_, attempt| match after(wire, attempt) {
            None => cut_after(wire, &model, 6, End::Clean),
            Some(_) => Exchange::stream(""),
        });
        let error = run.result.as_ref().expect_err("it never ends");
        assert!(matches!(error.kind(), ErrorKind::Truncated | ErrorKind::NoProgress), "{error:?}");
        assert!(run.requests.len() <= 20);
        // One that comes after a call ends with the call.
        let answer = Answer::new().tool_call("c", "f", &json!({})).text("And then?");
        let model = wire.says(answer, Deltas::Chars(8));
        let run = support::run(plan(wire), |_, attempt| match after(wire, attempt) {
            None => cut_after(wire, &model, 8, End::Clean),
            Some(_) => Exchange::stream(""),
        });
        assert!(run.result.is_ok() && run.transcript.finish().unwrap().inferred);
        assert_eq!(run.transcript.tool_calls().count(), 1);
    }
}

#[test]
fn what_is_not_kept_any_more_is_asked_for_by_a_note() {
    for wire in wires() {
        for status in [StatusCode::NOT_FOUND, StatusCode::GONE, StatusCode::BAD_REQUEST] {
            let model = words(wire);
            let run = run(plan(wire), |request, attempt| match after(wire, attempt) {
                None if attempt.id.get() == 1 => cut_after(wire, &model, 8, End::Reset),
                None => model.respond(request),
                Some(_) => Exchange::json(
                    status,
                    &json!({ "error": {
                        "message": "Response with id 'resp_1' not found.",
                        "type": "invalid_request_error",
                    }}),
                ),
            });
            assert_eq!(run.text(), model.answer().whole_text(), "{status}");
            assert_eq!(rungs(&run), [None, Some(Resume::Cursor), Some(Resume::Instruct)]);
            assert!(run.report.attempts[2].free, "what was refused costs nothing");
            let items = run.requests[2]["input"].as_array().map(Vec::len);
            assert_eq!(items, Some(3));
        }
    }
}

#[test]
fn a_response_that_failed_is_not_replayed() {
    for wire in wires() {
        let model = words(wire);
        let frame = match wire {
            Wire::OpenAiResponses => {
                "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":8,\
             \"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\"}}}\n\n"
            }
            _ => {
                "event: interaction.status_update\ndata: {\"event_type\":\"interaction.status_update\",\
             \"event_id\":\"evt_8\",\"status\":\"failed\"}\n\n"
            }
        };
        let run = run(plan(wire), |request, attempt| match after(wire, attempt) {
            None if attempt.id.get() == 1 => {
                let whole = self::whole(wire, &model);
                let at = events(&whole.body())[..8].concat().len();
                whole.fault(Fault::Insert { at, frame: frame.into(), end: End::Clean })
            }
            None => model.respond(request),
            Some(_) => panic!("it has failed"),
        });
        assert_eq!(run.text(), model.answer().whole_text());
        assert_eq!(rungs(&run), [None, Some(Resume::Instruct)]);
        let first = run.events.iter().find_map(|event| match event {
            Event::Interrupted(cut) => Some((cut.cut, cut.next.clone())),
            _ => None,
        });
        assert_eq!(first, Some((Cut::Faulted, Next::Resume { by: Resume::Instruct })));
    }
}

#[test]
fn a_foreground_response_is_never_fetched() {
    for wire in wires() {
        let model = words(wire);
        let mut plan = plan(wire);
        let mut request: Value = (*plan.request).clone();
        request["background"] = json!(false);
        plan.request = request.into();
        plan.policy = Policy::new().into();
        let run = run(plan, |request, attempt| {
            assert_eq!(after(wire, attempt), None);
            if attempt.id.get() == 1 {
                let whole = model.respond(request);
                let at = events(&whole.body())[..8].concat().len();
                whole.fault(Fault::reset_at(at))
            } else {
                model.respond(request)
            }
        });
        assert_eq!(run.text(), model.answer().whole_text());
        assert_eq!(rungs(&run), [None, Some(Resume::Instruct)]);
    }
}

/// A server that takes no notice of the place begins at the beginning: nothing is said twice.
#[test]
fn a_replay_from_the_beginning_is_heard_from_the_place_on() {
    for wire in wires() {
        let model = words(wire);
        let run = run(plan(wire), |_, attempt| match after(wire, attempt) {
            None => cut_after(wire, &model, 7, End::Reset),
            Some(_) => whole(wire, &model),
        });
        assert_eq!(run.text(), model.answer().whole_text(), "{wire:?}");
        assert_eq!(rungs(&run), [None, Some(Resume::Cursor)]);
    }
}

/// Replays that are cut and garbled in their turn, at random: the answer is the whole one, and one
/// generation is asked for unless it got nowhere.
#[test]
fn replays_that_break_in_their_turn_bring_the_whole_answer() {
    for wire in wires() {
        for seed in 0..500 {
            let mut rng = Rng::new(seed);
            let all = subjects();
            let subject = &all[rng.below(all.len())];
            let model = wire.model(&subject.answer);
            let expected = run(plan(wire), |_, _| whole(wire, &model));
            let mut plan = plan(wire);
            let patience = Duration::from_secs(1_000_000);
            let policy = Policy::new().max_attempts_without_progress(20);
            plan.policy = policy.no_progress_max(patience).into();
            let way = [None, Some(WireReasoning::Live), Some(WireReasoning::Whole)][rng.below(3)];
            plan.wire = way.map(|reasoning| WireOptions::new().reasoning(reasoning));
            let mut left = 1 + rng.below(6);
            let run = run(plan, |_, attempt| {
                let exchange = match after(wire, attempt) {
                    None => whole(wire, &model),
                    Some(after) => rest(wire, &model, after),
                };
                if left == 0 {
                    return exchange;
                }
                left -= 1;
                let at = rng.below(exchange.body().len() + 1);
                let end = [End::Reset, End::Clean, End::Close, End::Stall][rng.below(4)].clone();
                match rng.below(6) {
                    0 => exchange.fault(Fault::Garble { at }),
                    1 => Exchange::reply(StatusCode::SERVICE_UNAVAILABLE),
                    _ => exchange.fault(Fault::Cut { at, end }),
                }
            });
            let story = || format!("{wire:?}, seed {seed}, {}\n{}", subject.name, run.trace());
            assert!(run.result.is_ok(), "{:?} {}", run.result, story());
            let skipped = run.report.attempts.iter().any(|attempt| attempt.skipped_frames > 0);
            if !skipped {
                assert_eq!(kept(&run.transcript), kept(&expected.transcript), "{}", story());
            }
            assert!(!run.transcript.finish().unwrap().inferred || skipped, "{}", story());
        }
    }
}

/// While a replay is waited for, no attempt is under way that a clock could cut.
#[test]
fn a_clock_that_runs_out_before_a_replay_does_not_lose_a_whole_call() {
    let wait = Duration::from_secs(30);
    let clocks = [
        (Policy::new().timeouts(Timeouts::new().overall(wait)), ErrorKind::Deadline),
        (Policy::new().no_progress_max(wait), ErrorKind::NoProgress),
    ];
    for (wire, (policy, failed)) in wires().flat_map(|wire| clocks.clone().map(|on| (wire, on))) {
        let answer = Answer::new().tool_call("c", "read", &json!({"path": "/a"})).text("I look.");
        let model = wire.says(answer, Deltas::Chars(4));
        let mut ends = [0, 0];
        for count in 1..events(&whole(wire, &model).body()).len() - 1 {
            let mut plan = plan(wire);
            plan.policy = policy.clone().into();
            let run = run(plan, |_, attempt| match after(wire, attempt) {
                None => cut_after(wire, &model, count, End::Reset),
                Some(_) => Exchange::reply(StatusCode::SERVICE_UNAVAILABLE)
                    .header(RETRY_AFTER, HeaderValue::from_static("60")),
            });
            let calls = run.transcript.tool_calls().count();
            ends[calls] += 1;
            assert_eq!(run.took, wait, "{wire:?}, {count}\n{}", run.trace());
            match (calls, &run.result, run.transcript.finish()) {
                (1, Ok(()), Some(end)) => {
                    assert_eq!((&end.reason, end.inferred), (&FinishReason::ToolUse, true));
                }
                (0, Err(error), None) => assert_eq!(error.kind(), failed),
                other => panic!("{other:?}, {count}\n{}", run.trace()),
            }
        }
        assert!(ends[0] > 0 && ends[1] > 0, "{wire:?}: {ends:?}");
    }
}

/// What a replay reports when it fails is of the whole generation, of which others delivered the most.
#[test]
fn what_earlier_attempts_delivered_is_not_lost_with_a_replay() {
    let wire = Wire::OpenAiResponses;
    let model = words(wire);
    let failed = json!({"type": "response.failed", "sequence_number": 90, "response": {
        "id": "resp_1", "status": "failed", "usage": {"input_tokens": 9, "output_tokens": 11},
        "error": {"code": "server_error", "message": "No."}}});
    let failed = format!("event: response.failed\ndata: {failed}\n\n");
    let run = run(plan(wire), |request, attempt| match attempt.by {
        None => cut_after(wire, &model, 12, End::Reset),
        Some(Resume::Cursor) => Exchange::stream(failed.clone()),
        Some(_) => model.respond(request),
    });
    let attempts = &run.report.attempts;
    assert_eq!(rungs(&run)[..2], [None, Some(Resume::Cursor)], "{}", run.trace());
    assert!(attempts[0].delivered > 11, "{attempts:?}");
    assert_eq!((attempts[1].delivered, attempts[1].output_tokens()), (0, 11));
    assert_eq!(attempts[1].lost_output_tokens(), 0, "{attempts:?}");
}

/// Where the replay is refused, what the attempt before it could not deliver does not come again.
#[test]
fn what_no_replay_brought_again_is_lost() {
    for wire in wires() {
        let arguments = json!({"path": "/somewhere/far/away/in/a/folder/of/its/own"});
        let answer = Answer::new().text("I look.").tool_call("c", "read", &arguments);
        let model = wire.says(answer, Deltas::Chars(8));
        let mut lost = 0;
        for count in 1..events(&whole(wire, &model).body()).len() {
            let run = run(plan(wire), |request, attempt| match after(wire, attempt) {
                None if attempt.id.get() == 1 => cut_after(wire, &model, count, End::Reset),
                None => model.respond(request),
                Some(_) => Exchange::json(StatusCode::GONE, &json!({})),
            });
            let first = &run.report.attempts[0];
            assert_eq!(first.lost, first.discarded, "{wire:?}, {count}\n{}", run.trace());
            let output = (first.delivered + first.discarded) as u64 / 8;
            assert!(first.output_tokens() >= output, "{first:?}");
            lost += first.lost;
            // The second replay brings it.
            let run = support::run(plan(wire), |_, attempt| match after(wire, attempt) {
                None => cut_after(wire, &model, count, End::Reset),
                Some(_) if attempt.id.get() == 2 => Exchange::headless(End::Reset),
                Some(after) => rest(wire, &model, after),
            });
            if rungs(&run).len() == 3 {
                assert_eq!(run.report.attempts[0].lost, 0, "{wire:?}, {count}\n{}", run.trace());
            }
        }
        assert!(lost > 0, "{wire:?}");
    }
}

/// Reasoning that was finished waits for the replay, and goes when that is refused.
#[test]
fn reasoning_that_waited_for_a_replay_is_lost_by_the_attempt_that_brought_it() {
    for wire in wires() {
        let answer =
            Answer::new().reasoning("I think, and take my time for it.", "sig").text("Yes.");
        let model = wire.says(answer, Deltas::Chars(8));
        for count in 1..events(&whole(wire, &model).body()).len() {
            let run = run(plan(wire), |request, attempt| match after(wire, attempt) {
                None if attempt.id.get() == 1 => cut_after(wire, &model, count, End::Reset),
                None => model.respond(request),
                Some(_) => Exchange::json(StatusCode::GONE, &json!({})),
            });
            if let [first, second, third] = &run.report.attempts[..] {
                let anew = third.by.is_none();
                let lost = (first.delivered * usize::from(anew), 0);
                assert_eq!((first.lost, second.lost), lost, "{wire:?}, {count}\n{}", run.trace());
            }
        }
    }
}
