//! The wire view: every answer, cut at every byte of its body, is one legal stream of its provider's
//! format, and says what the transcript says. (The run itself checks that, for every run that has a
//! client.)

#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "wire/found.rs"]
mod found;
#[path = "wire/order.rs"]
mod order;
#[path = "wire/rest.rs"]
mod rest;
mod support;

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use support::subjects::{Scenario, Wire, comparable, expected, skipped, subjects};
use support::{Run, client, run};
use unbroken::engine::Plan;
use unbroken::policy::{Policy, ToolDelivery};
use unbroken::testing::{
    Answer, Deltas, End, Exchange, Fault, Flaky, Model, anthropic_error, gemini_error,
};
use unbroken::{
    Asked, Cache, Cached, CachedAnswer, ErrorKind, HandOff, Resume, Step, Ticket, WireOptions,
    WireReasoning,
};

const REASONING: [WireReasoning; 3] =
    [WireReasoning::Auto, WireReasoning::Live, WireReasoning::Whole];

fn wired(mut plan: Plan, reasoning: WireReasoning) -> Plan {
    plan.wire = Some(WireOptions::new().reasoning(reasoning));
    plan
}

fn bytes(run: &Run) -> &[u8] {
    run.wire.as_deref().expect("the plan has a client")
}

#[test]
fn without_a_fault_the_body_goes_through_byte_for_byte() {
    for wire in Wire::ALL {
        for subject in subjects().iter().filter(|subject| wire.resumes(subject, Resume::Instruct)) {
            let model = wire.model(&subject.answer);
            for (pieces, reasoning) in [1, 7, 1000].into_iter().zip(REASONING) {
                let mut body = Vec::new();
                let plan = wired(wire.plan(Resume::Instruct, subject.reasons), reasoning);
                let through = run(plan, |request, _| {
                    let exchange = model.respond(request).pieces_of(pieces);
                    body = exchange.body().to_vec();
                    exchange
                });
                assert!(through.result.is_ok());
                assert_eq!(
                    String::from_utf8_lossy(bytes(&through)),
                    String::from_utf8_lossy(&body),
                    "{wire:?} {}",
                    subject.name
                );
            }
        }
    }
}

/// At every byte, or at each `stride`th.
fn cut_everywhere(wire: Wire, by: Resume, stride: usize) {
    for subject in subjects().iter().filter(|subject| wire.resumes(subject, by)) {
        let model = wire.model(&subject.answer);
        let whole = run(wire.plan(by, subject.reasons), |request, _| model.respond(request));
        let length = model.respond(&wire.plan(by, subject.reasons).request).body().len();
        for at in (0..=length).step_by(stride) {
            let end = [End::Reset, End::Clean, End::Close][at / 3 % 3].clone();
            let flaky = Flaky::new(model.clone(), [Fault::Cut { at, end }]);
            let plan = wired(wire.plan(by, subject.reasons), REASONING[at % 7 % 3]);
            let cut = run(plan, |request, _| flaky.respond(request));
            let context =
                || format!("{wire:?} by {by:?}, {}, byte {at}\n{}", subject.name, cut.trace());
            assert!(cut.result.is_ok(), "{:?}: {}", cut.result, context());
            assert_eq!(comparable(cut.kept()), expected(&whole, &cut), "{}", context());
        }
    }
}

/// By the best rung of each format.
#[test]
fn cut_everywhere_by_prefill_or_instruct() {
    // Side by side: it takes as long as all else here.
    std::thread::scope(|threads| {
        for wire in Wire::ALL {
            let prefills = wire.runs(Scenario::Prefill);
            let by = if prefills { Resume::Prefill } else { Resume::Instruct };
            threads.spawn(move || cut_everywhere(wire, by, 1));
        }
    });
}

/// By one that says more of the answer again.
#[test]
fn cut_everywhere_by_instruct_or_align() {
    for wire in Wire::ALL {
        let rung = if wire == Wire::Anthropic { Resume::Instruct } else { Resume::Align };
        cut_everywhere(wire, rung, 3);
    }
}

/// One request after another gets these exchanges; the last again and again.
fn play(wire: Wire, options: WireOptions, exchanges: &[Exchange]) -> Run {
    let mut plan = wire.plan(Resume::Prefill, false);
    let policy = Policy::new().tools(options.tools);
    plan.policy = policy.into();
    plan.wire = Some(options);
    let mut next = exchanges.iter();
    let mut last = None;
    run(plan, move |_, _| {
        last = next.next().or(last);
        last.expect("an exchange").clone()
    })
}

fn model(wire: Wire) -> Model {
    wire.model(&Answer::new().text("The quick brown fox jumps over the lazy dog."))
        .deltas(Deltas::Chars(5))
}

fn text_of(run: &Run) -> String {
    String::from_utf8(bytes(run).to_vec()).expect("a stream is text")
}

#[test]
fn before_the_first_word_a_failure_leaves_nothing() {
    for wire in Wire::ALL {
        let start = find(&model(wire).whole(), "The q").saturating_sub(60);
        for fault in [Fault::reset_at(start), Fault::end_at(start), Fault::BeforeHead(End::Reset)] {
            let dead = model(wire).whole().fault(fault);
            let run = play(wire, WireOptions::new(), &[dead]);
            assert!(run.result.is_err());
            assert_eq!(text_of(&run), "");
        }
    }
}

/// The beginning of an attempt that got nowhere is not seen: the next one goes through as it comes.
#[test]
fn an_attempt_that_got_nowhere_is_replaced_whole() {
    for wire in Wire::ALL {
        let start = find(&model(wire).whole(), "The q").saturating_sub(60);
        let dead = model(wire).seed(7).whole().fault(Fault::reset_at(start));
        let busy = Exchange::reply(StatusCode::SERVICE_UNAVAILABLE);
        let whole = model(wire).seed(8).whole();
        let run = play(wire, WireOptions::new(), &[busy, dead, whole.clone()]);
        let whole = String::from_utf8(whole.body().to_vec()).unwrap();
        match wire {
            Wire::OpenAiChat | Wire::OpenAiResponses => assert_eq!(text_of(&run), whole),
            // Each frame has a count.
            Wire::Gemini => {
                let seen = client::gemini::read(bytes(&run));
                assert_eq!(seen.kept, client::gemini::read(whole.as_bytes()).kept);
                assert!(!text_of(&run).contains("unbroken"), "its own identity");
            }
            Wire::GeminiInteractions => {
                let seen = client::interactions::read(bytes(&run));
                assert_eq!(seen.kept, client::interactions::read(whole.as_bytes()).kept);
                assert!(text_of(&run).starts_with(&whole[..whole.find("step.stop").unwrap()]));
            }
            // The dead attempt has cost input tokens, which the last count of the stream has to tell.
            Wire::Anthropic => {
                let (start, end) = whole.split_at(whole.find("event: message_delta").unwrap());
                assert!(text_of(&run).starts_with(start));
                assert!(text_of(&run).ends_with(&end[end.find("event: message_stop").unwrap()..]));
                let seen = client::anthropic(bytes(&run));
                assert_eq!(seen.usage["input_tokens"], 50);
                assert_eq!(seen.usage["iterations"].as_array().unwrap().len(), 2);
            }
        }
    }
}

#[test]
fn a_failure_after_the_first_word_is_an_error_in_the_stream_and_no_end() {
    for wire in Wire::ALL {
        let half = find(&model(wire).whole(), "brown");
        let dead = model(wire).whole().fault(Fault::reset_at(half));
        let refused = Exchange::headless(End::Refused);
        let run = play(wire, WireOptions::new(), &[dead, refused]);
        assert_eq!(run.result.as_ref().unwrap_err().kind(), ErrorKind::Unreachable);
        let last = text_of(&run);
        let last = last.trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.contains("error") && last.contains("bytes of the answer"), "{last}");
    }
}

/// The answer is complete: an error behind its end is nobody's business.
#[test]
fn an_error_behind_the_end_is_not_passed_on() {
    for wire in Wire::ALL {
        // There it is an error before the end.
        if matches!(wire, Wire::OpenAiChat | Wire::Gemini) {
            skipped(wire, &"an error behind the end", "the end of the stream is part of the end");
            continue;
        }
        let frame = wire.error("server_error");
        let whole = model(wire).whole();
        let at = whole.body().len();
        let late = whole.clone().fault(Fault::Insert { at, frame, end: End::Clean });
        // Its blank line may be missing.
        let unended = late.clone().cut_at(late.body().trim_ascii_end().len() + 1);
        for late in [late, unended] {
            let run = play(wire, WireOptions::new(), &[late]);
            assert!(run.result.is_ok());
            assert_eq!(
                String::from_utf8_lossy(bytes(&run)),
                String::from_utf8_lossy(&whole.body())
            );
        }
    }
}

/// Where the provider itself said what is wrong, its own words are passed on.
#[test]
fn the_providers_own_error_is_passed_on() {
    for wire in Wire::ALL {
        let frame = match wire {
            Wire::Anthropic => anthropic_error("invalid_request_error", "content filtering policy"),
            Wire::Gemini => gemini_error(400, "INVALID_ARGUMENT", "content filtering policy"),
            _ => wire.error("content_filter"),
        };
        let at = find(&model(wire).whole(), "brown");
        let fault = Fault::Insert { at, frame: frame.clone(), end: End::Clean };
        let run = play(wire, WireOptions::new(), &[model(wire).whole().fault(fault)]);
        assert_eq!(run.result.as_ref().unwrap_err().kind(), ErrorKind::Policy);
        let sent = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let data = text.trim_end().rsplit("data: ").next().unwrap().to_owned();
            serde_json::from_str::<serde_json::Value>(&data).unwrap()
        };
        assert_eq!(sent(bytes(&run))["error"], sent(&frame)["error"]);
    }
}

#[test]
fn silence_is_filled_with_signs_of_life() {
    for wire in Wire::ALL {
        let sign = match wire {
            Wire::Anthropic => "event: ping\ndata: {\"type\":\"ping\"}\n\n",
            // Its clients read no comments.
            Wire::Gemini => "data: {}\n\n",
            _ => ": keep-alive\n\n",
        };
        let half = find(&model(wire).whole(), "brown");
        let silent = model(wire).whole().fault(Fault::stall_at(half));
        let run = play(
            wire,
            WireOptions::new(),
            &[silent, model(wire).whole().delay(Duration::from_secs(50))],
        );
        let stalled = if wire == Wire::Anthropic { 90 } else { 300 };
        let signs = text_of(&run).matches(sign).count();
        assert!(signs >= stalled / 15 + 3 - 1, "{wire:?}: {signs}");
    }
}

/// Nothing was said for long: what has come goes out, so that the client sees that the stream lives.
#[test]
fn a_slow_beginning_is_shown_after_a_while() {
    let whole = model(Wire::Anthropic).whole().every(Duration::from_secs(4));
    let run = play(Wire::Anthropic, WireOptions::new(), std::slice::from_ref(&whole));
    let mut rest = text_of(&run);
    for piece in whole.body().split_inclusive(|byte| *byte == b'\n') {
        let piece = String::from_utf8(piece.to_vec()).unwrap();
        let at = rest.find(&piece).unwrap_or_else(|| panic!("{piece} is missing or too early"));
        rest = rest.split_off(at + piece.len());
    }
}

/// Fragments of a call cannot be taken back: with `Live` an answer that is cut inside a call fails.
#[test]
fn live_calls_go_out_as_they_come_and_a_cut_inside_one_is_the_end() {
    let call = json!({"path": "src/lib.rs", "text": "a longer text"});
    for wire in Wire::ALL {
        if !wire.runs(Scenario::CallInPieces) {
            continue;
        }
        let answer = Answer::new().text("I read.").tool_call("call_1", "read", &call);
        let model = wire.model(&answer).deltas(Deltas::Chars(4));
        let whole = model.whole();
        let piece = match wire {
            Wire::Anthropic => "partial_json",
            Wire::OpenAiChat => "\"arguments\"",
            Wire::OpenAiResponses => "function_call_arguments",
            Wire::Gemini | Wire::GeminiInteractions => "arguments_delta",
        };
        let text = String::from_utf8(whole.body().to_vec()).unwrap();
        let inside = text.match_indices(piece).nth(4).unwrap().0;
        let dead = whole.clone().fault(Fault::reset_at(inside));
        let live = WireOptions::new().tools(ToolDelivery::Live);
        let run = play(wire, live, &[dead.clone(), whole.clone()]);
        assert_eq!(run.requests.len(), 1);
        assert_eq!(run.result.as_ref().unwrap_err().kind(), ErrorKind::Reset);
        assert!(text_of(&run).matches(piece).count() >= 3, "{}", text_of(&run));
        let run = play(wire, WireOptions::new(), &[dead]);
        assert!(!text_of(&run).contains(piece), "{}", text_of(&run));
        let run = play(wire, live, std::slice::from_ref(&whole));
        assert_eq!(bytes(&run), whole.body());
    }
}

#[test]
fn a_continued_message_counts_all_attempts() {
    let wire = Wire::Anthropic;
    let half = find(&model(wire).whole(), "brown");
    let flaky = Flaky::new(model(wire), [Fault::reset_at(half)]);
    let plan = wired(wire.plan(Resume::Prefill, false), WireReasoning::Auto);
    let run = run(plan, |request, _| flaky.respond(request));
    let seen = client::anthropic(bytes(&run));
    let attempts = &run.report.attempts;
    let output: u64 = attempts.iter().map(|attempt| attempt.output_tokens()).sum();
    assert_eq!(seen.usage["output_tokens"], output);
    assert_eq!(seen.usage["input_tokens"], 50);
    let iterations = seen.usage["iterations"].as_array().unwrap();
    assert_eq!(iterations.len(), 2);
    for (iteration, attempt) in iterations.iter().zip(attempts) {
        assert_eq!(iteration["type"], "message");
        assert_eq!(iteration["model"], *attempt.model);
        assert_eq!(iteration["output_tokens"], attempt.output_tokens());
    }
    assert!(
        text_of(&run)
            .contains(": unbroken seam attempt=2 upstream=anthropic by=prefill join=literal")
    );
}

fn find(exchange: &Exchange, needle: &str) -> usize {
    let body = String::from_utf8(exchange.body().to_vec()).unwrap();
    body.find(needle).expect("it is there")
}

#[test]
fn an_answer_at_hand_is_a_legal_stream_and_says_who_speaks() {
    for wire in Wire::ALL {
        let mut plan = wired(wire.plan(Resume::Prefill, false), WireReasoning::Auto);
        let handed = HandOff::text("A colleague will write to you.");
        plan.chain = plan.chain.iter().cloned().chain([handed.into()]).collect();
        let refused = Exchange::reply(StatusCode::UNAUTHORIZED);
        let run = run(plan, |_, _| refused.clone());
        assert!(run.result.is_ok());
        assert_eq!(run.text(), "A colleague will write to you.");
        let named = if wire == Wire::Gemini { "modelVersion" } else { "model" };
        let named = format!("\"{named}\":\"hand-off\"");
        assert!(text_of(&run).contains(&named), "{}", text_of(&run));
        let remark = text_of(&run).contains(": unbroken answer by=hand-off\n");
        assert_eq!(remark, wire != Wire::Gemini, "its clients read no comments");
    }
}

/// Whoever answers in a model's place, and after whatever has gone out before.
#[test]
fn what_is_not_a_models_answer_is_a_legal_stream() {
    use std::future::ready;

    struct Before;
    impl Cache for Before {
        fn get(&self, _: &Asked) -> impl Future<Output = Option<CachedAnswer>> + Send + 'static {
            ready(Some(CachedAnswer::new("What was said before.").model("its-model")))
        }
        fn put(&self, _: &Asked, _: CachedAnswer) -> impl Future<Output = ()> + Send + 'static {
            ready(())
        }
    }
    let queue = || {
        let taken = |_| ready(Ok::<_, std::fmt::Error>(Ticket::new("17").saying("Case 17.")));
        HandOff::text("").enqueue(taken)
    };
    for wire in Wire::ALL {
        let begun = model(wire).whole();
        let blank = |lines: &[u8]| lines.starts_with(b"\n\n") || lines.ends_with(b"\r\n\r\n");
        let start = begun.body().windows(4).position(blank).unwrap() + 4;
        let begun = || model(wire).whole().cut_at(start).reset();
        let refused = || Exchange::reply(StatusCode::UNAUTHORIZED);
        let steps: [(Step, &str, &str); 2] = [
            (Cached::new(Before).into(), "What was said before.", "cached"),
            (queue().into(), "Case 17.", "hand-off"),
        ];
        for (step, text, who) in steps {
            for exchanges in [vec![refused()], vec![begun(), refused()], vec![]] {
                // Its first frame is text.
                if wire == Wire::Gemini && exchanges.len() == 2 {
                    continue;
                }
                let mut plan = wired(wire.plan(Resume::Prefill, false), WireReasoning::Auto);
                let mut chain: Vec<Step> = plan.chain.iter().cloned().collect();
                let place = if exchanges.is_empty() { 0 } else { chain.len() };
                chain.insert(place, step.clone());
                plan.chain = chain.into();
                let mut exchanges = exchanges.into_iter();
                let run = run(plan, |_, _| exchanges.next().expect("no more requests"));
                assert_eq!(run.result.as_ref().err().map(|e| e.kind()), None, "{wire:?}");
                assert_eq!(run.text(), text);
                let named = if wire == Wire::Gemini { "modelVersion" } else { "model" };
                let named = format!("\"{named}\":\"{who}\"");
                assert!(text_of(&run).contains(&named), "{}", text_of(&run));
            }
        }
    }
}

/// What waits for the end of its block is bounded as what is kept.
#[test]
fn frames_that_wait_are_bounded() {
    let call = json!({"text": "x".repeat(2000)});
    let answer = Answer::new().text("I write.").tool_call("call_1", "write", &call);
    let model = Wire::Anthropic.model(&answer).deltas(Deltas::Chars(4));
    for (most, fits) in [(20_000, false), (200_000, true)] {
        let mut plan = wired(Wire::Anthropic.plan(Resume::Prefill, false), WireReasoning::Auto);
        plan.policy = Policy::new().answer_max(most).into();
        let run = run(plan, |request, _| model.respond(request));
        assert_eq!(run.result.is_ok(), fits, "{:?}", run.result);
    }
}
