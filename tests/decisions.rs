//! What a whole reply does about each kind of cut, in virtual time: waits, limits, steps, ends. What is not
//! about frames of one format is decided in every format.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "decisions/asked.rs"]
mod asked;
#[path = "decisions/blocks.rs"]
mod blocks;
#[path = "decisions/clocks.rs"]
mod clocks;
#[path = "decisions/hook.rs"]
mod hook;
#[path = "decisions/kept.rs"]
mod kept;
#[path = "decisions/next.rs"]
mod next;
#[path = "decisions/parts.rs"]
mod parts;
#[path = "decisions/sent.rs"]
mod sent;
#[path = "decisions/steps.rs"]
mod steps;
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use support::wires::Wire;
use support::{Run, run};
use unbroken::dialect::{Declared, OpenAiChat, Prefill};
use unbroken::engine::Plan;
use unbroken::policy::{Delivery, Policy};
use unbroken::testing::{Answer, Deltas, End, Exchange, Fault, Flaky, Model};
use unbroken::{Cut, Delta, ErrorKind, Event, FinishReason, Next, Origin, Resume, Timer, Upstream};

const TEXT: &str =
    "One answer over however many connections it takes, and nobody sees the seam in it.";

fn claude(name: &str, model: &str) -> Upstream {
    Wire::Anthropic.at(name, "https://api.anthropic.com", model).model(model)
}

fn gpt(name: &str) -> Upstream {
    let uri = "https://api.openai.com/v1/chat/completions".parse().unwrap();
    Upstream::new(name, OpenAiChat, uri)
}

fn request(wire: Wire) -> Value {
    wire.request()
}

fn plan(chain: Vec<Upstream>) -> Plan {
    Plan::new(request(Wire::Anthropic), chain)
}

/// An upstream with the usual model, or with another one that goes on in the same way.
fn upstream(wire: Wire, name: &str, another: bool) -> Upstream {
    let model = match wire {
        Wire::Anthropic if another => "claude-sonnet-4-5",
        Wire::OpenAiChat if another => "another-model",
        Wire::OpenAiResponses if another => "gpt-4.1",
        Wire::Gemini | Wire::GeminiInteractions if another => "gemini-3.1-pro",
        _ => wire.usual(),
    };
    let host = if wire == Wire::Anthropic { "api.anthropic.com" } else { "api.example" };
    wire.at(name, &format!("https://{host}"), model).model(model)
}

fn one(wire: Wire) -> Plan {
    Plan::new(request(wire), vec![upstream(wire, "one", false)])
}

fn two(wire: Wire) -> Plan {
    Plan::new(request(wire), vec![upstream(wire, "one", false), upstream(wire, "two", true)])
}

fn model(wire: Wire) -> Model {
    wire.says(Answer::new().text(TEXT), Deltas::Random { max: 8 })
}

/// Each upstream answers by its own list of exchanges, then by the model.
fn play(wire: Wire, plan: Plan, first: Vec<Exchange>, second: Vec<Exchange>) -> Run {
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    run(plan, |request, attempt| {
        let list = if &*attempt.upstream == "one" { &mut first } else { &mut second };
        list.next().unwrap_or_else(|| model(wire).respond(request))
    })
}

fn status(status: u16) -> Exchange {
    Exchange::reply(StatusCode::from_u16(status).unwrap())
}

fn error(wire: Wire, status: u16, kind: &str, message: &str) -> Exchange {
    wire.rejects(status, kind, message)
}

/// The answer, cut after about `share` hundredths of its body.
fn cut(wire: Wire, share: usize) -> Exchange {
    let whole = model(wire).whole();
    let at = whole.body().len() * share / 100;
    whole.fault(Fault::reset_at(at))
}

fn kind(run: &Run) -> ErrorKind {
    run.result.as_ref().expect_err("an error").kind()
}

fn upstreams(run: &Run) -> Vec<&str> {
    run.report.attempts.iter().map(|attempt| &*attempt.upstream).collect()
}

fn interruptions(run: &Run) -> Vec<(Cut, Next, u64)> {
    let interrupted = run.events.iter().filter_map(|event| match event {
        Event::Interrupted(cut) => Some((cut.cut, cut.next.clone(), cut.delay.as_millis() as u64)),
        _ => None,
    });
    interrupted.collect()
}

#[test]
fn retry_after_is_waited_for_to_the_second() {
    for wire in Wire::ALL {
        let busy = status(429).header(RETRY_AFTER, HeaderValue::from_static("7"));
        let run = play(wire, one(wire), vec![busy], vec![]);
        assert_eq!(run.text(), TEXT);
        assert_eq!(run.report.attempts[1].delay, Duration::from_secs(7));
        assert_eq!(run.report.attempts[1].opened, Duration::from_secs(7));
    }
}

#[test]
fn a_longer_retry_after_than_a_minute_gives_the_step_up() {
    for wire in Wire::ALL {
        let busy = || status(429).header(RETRY_AFTER, HeaderValue::from_static("61"));
        let run = play(wire, two(wire), vec![busy()], vec![]);
        assert_eq!((run.text().as_str(), upstreams(&run)), (TEXT, vec!["one", "two"]));
        let run = play(wire, one(wire), vec![busy()], vec![]);
        assert_eq!((kind(&run), run.requests.len()), (ErrorKind::RateLimited, 1));
    }
}

#[test]
fn busy_three_times_ends_the_step_and_says_so() {
    for wire in Wire::ALL {
        for (code, expected) in [
            (429, ErrorKind::RateLimited),
            (500, ErrorKind::Upstream),
            (503, ErrorKind::Overloaded),
            (529, ErrorKind::Overloaded),
            (408, ErrorKind::Upstream),
            (425, ErrorKind::Upstream),
        ] {
            let run = play(wire, one(wire), vec![status(code); 9], vec![]);
            let error = run.result.as_ref().expect_err("busy");
            assert_eq!((error.kind(), run.requests.len()), (expected, 3), "{code}");
            assert!(error.is_exhausted(), "{code}");
            let run = play(wire, two(wire), vec![status(code); 9], vec![]);
            assert_eq!(upstreams(&run), ["one", "one", "one", "two"], "{code}");
        }
    }
}

#[test]
fn the_callers_own_fault_is_told_at_once_with_the_providers_response() {
    for wire in Wire::ALL {
        let refused = || error(wire, 400, "invalid_request_error", "max_tokens: too large");
        let run = play(wire, two(wire), vec![refused()], vec![]);
        let error = run.result.as_ref().expect_err("the caller's fault");
        assert_eq!((error.kind(), error.origin()), (ErrorKind::InvalidRequest, Origin::Caller));
        assert_eq!(run.requests.len(), 1);
        let rejection = error.rejection().expect("the response");
        assert_eq!(rejection.status, 400);
        assert!(String::from_utf8_lossy(&rejection.body).contains("max_tokens: too large"));
    }
}

#[test]
fn what_another_step_can_answer_goes_there_without_a_retry() {
    for wire in Wire::ALL {
        for exchange in [
            error(
                wire,
                400,
                "invalid_request_error",
                "prompt is too long: 210000 tokens > 200000 maximum",
            ),
            error(wire, 404, "not_found_error", "model: claude-nothing"),
            error(wire, 401, "authentication_error", "invalid x-api-key"),
            error(wire, 402, "billing_error", "Your credit balance is too low"),
            error(wire, 403, "permission_error", "not allowed"),
        ] {
            let run = play(wire, two(wire), vec![exchange.clone()], vec![]);
            assert_eq!(upstreams(&run), ["one", "two"], "{exchange:?}");
            assert_eq!(run.text(), TEXT);
            let run = play(wire, one(wire), vec![exchange.clone()], vec![]);
            assert_eq!((run.result.is_err(), run.requests.len()), (true, 1), "{exchange:?}");
        }
    }
}

#[test]
fn a_policy_refusal_never_goes_anywhere_else() {
    for wire in Wire::ALL {
        let frame = wire.error("content_policy_violation");
        let whole = model(wire).whole();
        let at = whole.body().len() / 2;
        let run = play(
            wire,
            two(wire),
            vec![whole.fault(Fault::Insert { at, frame, end: End::Clean })],
            vec![],
        );
        assert_eq!((kind(&run), run.requests.len()), (ErrorKind::Policy, 1));
        assert!(TEXT.starts_with(&run.text()) && !run.text().is_empty());
        // It is the caller's to read what the provider said.
        let said = run.result.as_ref().unwrap_err().fault_body().expect("the error event");
        assert!(memchr::memmem::find(&wire.error("content_policy_violation"), said).is_some());
    }
}

#[test]
fn the_first_reconnect_goes_out_at_once_and_later_ones_back_off() {
    for wire in Wire::ALL {
        let reset = || Exchange::headless(End::Reset);
        let run = play(wire, one(wire), vec![reset(), reset()], vec![]);
        let delays: Vec<u64> = interruptions(&run).iter().map(|(.., delay)| *delay).collect();
        assert_eq!(delays.len(), 2);
        assert_eq!(delays[0], 0);
        assert!((1..=500).contains(&delays[1]), "{delays:?}");
    }
}

#[test]
fn two_attempts_that_get_stuck_are_enough_where_another_step_can_go_on() {
    for wire in Wire::ALL {
        let stuck = || Exchange::headless(End::Reset);
        let run = play(wire, two(wire), vec![cut(wire, 60), stuck(), stuck()], vec![]);
        assert_eq!(run.text(), TEXT);
        assert_eq!(upstreams(&run), ["one", "one", "one", "two"]);
        let run = play(wire, one(wire), vec![cut(wire, 60), stuck(), stuck(), stuck()], vec![]);
        assert_eq!((kind(&run), run.requests.len()), (ErrorKind::Reset, 4));
        assert!(TEXT.starts_with(&run.text()) && !run.text().is_empty());
    }
}

#[test]
fn a_reply_has_twenty_attempts_in_all() {
    let wire = Wire::Anthropic;
    // Every attempt brings one more delta, so only the number of all attempts ends it.
    let text: String = (0..400).map(|n| format!("{n} words later, ")).collect();
    let model = Model::anthropic(Answer::new().text(text)).deltas(Deltas::Chars(8));
    let run = run(one(wire), |request, _| {
        let whole = model.respond(request);
        let body = whole.body();
        let delta = memchr::memmem::find(&body, b"text_delta").unwrap();
        let end = delta + memchr::memmem::find(&body[delta..], b"\n\n").unwrap() + 2;
        whole.fault(Fault::reset_at(end))
    });
    assert_eq!((kind(&run), run.requests.len()), (ErrorKind::Reset, 20));
    assert!(run.result.unwrap_err().is_exhausted());
}

#[test]
fn five_minutes_without_anything_new_end_a_reply() {
    for wire in Wire::ALL {
        let mut plan = one(wire);
        let policy = Policy::new().max_attempts_without_progress(100).max_attempts(1000);
        plan.policy = policy.into();
        let run = play(
            wire,
            plan,
            std::iter::once(cut(wire, 50)).chain(vec![status(503); 900]).collect(),
            vec![],
        );
        assert_eq!(kind(&run), ErrorKind::NoProgress);
        assert_eq!(run.took, Duration::from_secs(300));
    }
}

#[test]
fn the_overall_deadline_and_the_callers_hook_end_a_reply_with_what_came() {
    for wire in Wire::ALL {
        let mut plan = one(wire);
        let timeouts = unbroken::policy::Timeouts::new().overall(Duration::from_secs(30));
        plan.policy = Policy::new().timeouts(timeouts).into();
        let whole = model(wire).whole();
        let half = whole.body().len() / 2;
        let stalled = whole.fault(Fault::stall_at(half));
        let run = play(wire, plan, vec![stalled], vec![]);
        assert_eq!((kind(&run), run.took), (ErrorKind::Deadline, Duration::from_secs(30)));
        assert!(!run.text().is_empty());

        let mut plan = one(wire);
        plan.policy = Policy::new().keep_going(|report| report.attempts.len() < 2).into();
        let run = play(wire, plan, vec![cut(wire, 30), cut(wire, 30), cut(wire, 30)], vec![]);
        assert_eq!((kind(&run), run.requests.len()), (ErrorKind::NoProgress, 2));
    }
}

#[test]
fn several_choices_are_streamed_and_never_resumed() {
    let wire = Wire::Anthropic;
    let chunk = |choice: u32, text: &str| {
        let delta = json!({"index": choice, "delta": {"content": text}, "finish_reason": null});
        format!("data: {}\n\n", json!({"id": "c", "choices": [delta]}))
    };
    let mut plan = plan(vec![gpt("one")]);
    plan.request =
        json!({"model": "gpt-4o", "n": 2, "messages": [{"role": "user", "content": "x"}]}).into();
    let body = chunk(0, "a") + &chunk(1, "b");
    let run = play(wire, plan.clone(), vec![Exchange::stream(body)], vec![]);
    assert_eq!((kind(&run), run.requests.len()), (ErrorKind::Truncated, 1));
    assert_eq!(run.text(), "a");

    let end = |choice: u32| {
        let end = json!({"index": choice, "delta": {}, "finish_reason": "stop"});
        format!("data: {}\n\n", json!({"id": "c", "choices": [end]}))
    };
    let half = chunk(0, "a") + &chunk(1, "b") + &end(0) + "data: [DONE]\n\n";
    assert_eq!(
        kind(&play(wire, plan.clone(), vec![Exchange::stream(half)], vec![])),
        ErrorKind::Truncated
    );
    let whole = chunk(0, "a") + &chunk(1, "b") + &end(0) + &end(1) + "data: [DONE]\n\n";
    let nothing = Exchange::headless(End::Reset);
    let run = play(wire, plan, vec![nothing, Exchange::stream(whole)], vec![]);
    assert!(run.result.is_ok(), "retried while nothing was delivered");
}

#[test]
fn a_stop_sequence_across_the_seam_ends_the_answer() {
    let wire = Wire::Anthropic;
    let text = "The list ends here EN";
    let answer = Answer::new().text(format!("{text}D and this is beyond it."));
    let model = Model::anthropic(answer).deltas(Deltas::Chars(1));
    let mut plan = one(wire);
    let mut request = request(wire);
    request["stop_sequences"] = json!(["END"]);
    plan.request = request.into();
    let body = model.whole().body();
    let mut ends = BTreeSet::new();
    for at in 0..body.len() {
        let flaky = Flaky::new(model.clone(), [Fault::reset_at(at)]);
        let run = run(plan.clone(), |request, _| flaky.respond(request));
        if run.transcript.finish().is_some_and(|end| end.reason == FinishReason::StopSequence) {
            ends.insert(run.text());
        }
    }
    // A cut fell between each two of its letters.
    let before = text.strip_suffix('N').unwrap();
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), [before, text]);
}

#[test]
fn reported_usage_at_the_limit_ends_the_answer_as_length() {
    let wire = Wire::Anthropic;
    let upstream = gpt("one").declare(Declared::new().prefill(Prefill::Trailing));
    let mut plan = plan(vec![upstream]);
    plan.request =
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]})
            .into();
    let chunk = |text: &str, tokens: u64| {
        let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": null});
        let usage = json!({"prompt_tokens": 5, "completion_tokens": tokens});
        format!("data: {}\n\n", json!({"id": "c", "choices": [choice], "usage": usage}))
    };
    let body = chunk("all that ", 4) + &chunk("fits", 9);
    let run = play(wire, plan.clone(), vec![Exchange::stream(body)], vec![]);
    let finish = run.transcript.finish().expect("finished");
    assert_eq!((&finish.reason, finish.inferred), (&FinishReason::Length, true));
    assert_eq!(run.requests.len(), 1);
    let body = chunk("all that ", 4) + &chunk("fits", 8);
    let run = play(wire, plan.clone(), vec![Exchange::stream(body)], vec![]);
    assert_eq!(run.requests[1]["max_tokens"], json!(1));
    // An attempt that said nothing has nothing to report.
    let body = chunk("all that ", 4) + &chunk("fits", 9);
    let run = play(wire, plan, vec![status(503), Exchange::stream(body)], vec![]);
    let finish = run.transcript.finish().expect("finished");
    assert_eq!((&finish.reason, run.requests.len()), (&FinishReason::Length, 2));
}

#[test]
fn a_frame_that_cannot_be_read_is_a_cut_first_and_skipped_only_as_a_last_resort() {
    let wire = Wire::Anthropic;
    let whole = model(wire).whole();
    let at = whole.body().len() / 2;
    let first_run = play(wire, one(wire), vec![whole.fault(Fault::Garble { at })], vec![]);
    assert_eq!(first_run.text(), TEXT, "resumed from the last good frame");
    assert_eq!(first_run.report.attempts.iter().map(|a| a.skipped_frames).sum::<u32>(), 0);

    // An upstream whose continuation always begins with a frame that nobody can read.
    let poisoned = |request: &Value| {
        let exchange = model(wire).respond(request);
        let body = exchange.body();
        let first = memchr::memmem::find(&body, b"event: content_block_start").unwrap();
        let poison = b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\n\n";
        exchange.with_body([&body[..first], &poison[..], &body[first..]].concat())
    };
    let mut first = vec![cut(wire, 50)].into_iter();
    let run = run(one(wire), |request, _| first.next().unwrap_or_else(|| poisoned(request)));
    assert_eq!(run.text(), TEXT);
    assert_eq!(run.report.attempts.iter().map(|a| a.skipped_frames).sum::<u32>(), 1);
}

#[test]
fn an_answer_that_may_be_taken_back_begins_again_when_nothing_can_continue_it() {
    let wire = Wire::Anthropic;
    let mut plan = one(wire);
    let mut request = request(wire);
    // Structured output leaves the aligned replay only.
    request["output_config"] = json!({"format": {"type": "json_schema", "schema": {}}});
    plan.request = request.into();
    let other = "An entirely different answer, and complete.";
    let respond = |plan: Plan| {
        let mut attempts = 0;
        run(plan, move |request, _| {
            attempts += 1;
            match attempts {
                1 => cut(wire, 50),
                _ => Model::anthropic(Answer::new().text(other)).respond(request),
            }
        })
    };
    let appended = respond(plan.clone());
    assert_eq!(kind(&appended), ErrorKind::Diverged);
    assert!(TEXT.starts_with(&appended.text()) && !appended.text().is_empty());
    plan.policy = Policy::new().delivery(Delivery::Retractable).into();
    let taken_back = respond(plan);
    assert!(taken_back.result.is_ok(), "{:?}", taken_back.result);
    assert_eq!(taken_back.text(), other);
    assert!(taken_back.events.iter().any(|event| matches!(event, Event::Rewind(_))));
    // What is taken back is not given up part by part.
    let abandon = |event: &Event| matches!(event, Event::Delta(Delta::Abandon { .. }));
    assert!(!taken_back.events.iter().any(abandon), "{}", taken_back.trace());
}

#[test]
fn another_upstream_gets_the_text_and_not_what_only_the_first_can_read() {
    let wire = Wire::Anthropic;
    let answer = Answer::new().reasoning("I should be brief.", "c2lnbmF0dXJl").text(TEXT);
    let model = Model::anthropic(answer);
    let mut plan = two(wire);
    let mut request = request(wire);
    request["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    plan.request = request.into();
    let at = model.whole().body().len() * 3 / 4;
    let run = run(plan, |request, attempt| {
        let exchange = model.respond(request);
        match attempt.id.get() {
            1 => exchange.fault(Fault::reset_at(at)),
            2 => status(401),
            _ => exchange,
        }
    });
    assert_eq!(run.text(), TEXT);
    assert_eq!(upstreams(&run), ["one", "one", "two"]);
    let sent = |request: &Value| request["messages"].to_string();
    assert!(sent(&run.requests[1]).contains("c2lnbmF0dXJl"), "its own signature is sent back");
    assert!(!sent(&run.requests[2]).contains("thinking"), "and to nobody else");
    assert_eq!(run.report.attempts[2].by, Some(Resume::Instruct));
}

#[test]
fn a_cut_after_the_content_is_complete_is_no_cut() {
    let wire = Wire::Anthropic;
    let whole = model(wire).whole();
    let body = whole.body();
    let stop = memchr::memmem::find(&body, b"event: message_stop").unwrap();
    for at in stop..body.len() {
        for end in [End::Reset, End::Clean, End::Stall] {
            let run = play(
                wire,
                one(wire),
                vec![model(wire).whole().fault(Fault::Cut { at, end })],
                vec![],
            );
            assert_eq!((run.text().as_str(), run.requests.len()), (TEXT, 1));
            assert!(run.transcript.finish().is_some_and(|end| !end.inferred));
            assert!(run.took <= Duration::from_secs(5), "{:?}", run.took);
        }
    }
}

#[test]
fn without_notes_no_model_is_asked_in_a_users_voice() {
    let wire = Wire::Anthropic;
    let mut plan = plan(vec![claude("one", "claude-opus-4-7")]);
    plan.policy = Policy::new().without_notes().into();
    let run = play(wire, plan, vec![cut(wire, 50)], vec![]);
    assert_eq!(run.text(), TEXT);
    assert_eq!(run.report.attempts[1].by, Some(Resume::Align));
    assert_eq!(run.requests[0], run.requests[1]);
}

#[test]
fn every_cut_costs_no_more_than_the_policy_of_one_attempt_allows() {
    for wire in Wire::ALL {
        let mut plan = one(wire);
        plan.policy = Policy::new().max_attempts(1).into();
        let run = play(wire, plan, vec![cut(wire, 50)], vec![]);
        assert_eq!((kind(&run), run.requests.len()), (ErrorKind::Reset, 1));
        let mut plan = one(wire);
        plan.policy = Policy::new().without_resume().into();
        let run = play(wire, plan, vec![cut(wire, 50)], vec![]);
        assert_eq!((kind(&run), run.requests.len()), (ErrorKind::Reset, 1));
    }
}

#[test]
fn a_json_error_in_place_of_a_stream_is_an_error_whatever_its_words() {
    for wire in Wire::ALL {
        for body in [
            r#"{"error":{"message":"boom"}}"#,
            r#"{"error":{"message":"boom","type":"weird","code":"E1"}}"#,
            r#"{"error":"boom"}"#,
            r#"{"type":"error","error":{"type":"weird","message":"boom"}}"#,
            "{\n  \"error\": {\n    \"message\": \"boom\"\n  }\n}\n",
        ] {
            for pieces in [1, 7, 10_000] {
                let exchange = || Exchange::stream(body).pieces_of(pieces);
                let run = play(wire, one(wire), vec![exchange()], vec![]);
                let error = run.result.as_ref().expect_err("an error");
                assert_eq!((error.kind(), run.requests.len()), (ErrorKind::Upstream, 1), "{body}");
                assert_eq!(error.cut(), Some(Cut::Faulted), "{body}");
                let run = play(wire, two(wire), vec![exchange()], vec![]);
                assert_eq!(upstreams(&run), ["one", "two"], "{body}");
            }
        }
        for body in ["<!doctype html><title>Sign in</title>", r#"{"object":"list","data":[]}"#] {
            let run = play(wire, one(wire), vec![Exchange::stream(body); 3], vec![]);
            assert_eq!((kind(&run), run.requests.len()), (ErrorKind::Garbled, 3), "{body}");
        }
    }
}

#[test]
fn what_was_taken_back_does_not_count_towards_the_token_limit() {
    let wire = Wire::Anthropic;
    let mut plan = plan(vec![gpt("one")]);
    plan.policy = Policy::new().delivery(Delivery::Retractable).into();
    plan.request =
        json!({"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": "x"}]})
            .into();
    let said = |text: &str, tokens: u64| {
        let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": null});
        let usage = json!({"prompt_tokens": 5, "completion_tokens": tokens});
        let chunk = json!({"id": "c", "choices": [choice], "usage": usage});
        Exchange::stream(format!("data: {chunk}\n\n")).reset()
    };
    let refused = || error(wire, 400, "invalid_request_error", "no");
    let first = vec![said("one", 500), refused(), refused(), refused(), said("two", 600)];
    let run = play(wire, plan, first.into_iter().chain(vec![status(503); 9]).collect(), vec![]);
    assert!(run.events.iter().any(|event| matches!(event, Event::Rewind(_))));
    assert_eq!(kind(&run), ErrorKind::Reset, "not an end by length");
    assert_eq!(run.text(), "two");
}
