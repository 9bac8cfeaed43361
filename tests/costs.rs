//! What an answer costs: reported, estimated, lost, billed again; a rule a test, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use http::StatusCode;
use serde_json::{Value, json};
use support::wires::Wire;
use support::{Run, run};
use unbroken::dialect::{Declared, Prefill};
use unbroken::engine::Plan;
use unbroken::policy::{Delivery, Policy};
use unbroken::testing::{Answer, Behaviour, Deltas, End, Exchange, Fault, Model};
use unbroken::{Event, Outcome, Usage};

/// Four bytes a delta, and a delta a token.
const TEXT: &str = "One answer over however many connections it takes, and nobody sees the seam in it, \
                    but somebody pays for every request that was made for it, and wants to be told.";

const QUESTION: &str = "What does it cost to continue an answer that was cut in its middle?";

fn model(wire: Wire) -> Model {
    wire.says(Answer::new().text(TEXT).usage(1000, 40), Deltas::Chars(4))
}

/// One upstream that goes on by a note, or by whatever is declared.
fn plan(wire: Wire, declared: Declared) -> Plan {
    let upstream = wire.at("one", "https://api.example", wire.usual()).model(wire.usual());
    let mut request = wire.asks(wire.usual(), QUESTION);
    if wire == Wire::OpenAiChat {
        request["stream_options"] = json!({"include_usage": true});
    }
    Plan::new(request, vec![upstream.declare(declared)])
}

fn noted(wire: Wire) -> Plan {
    plan(wire, Declared::new().prefill(Prefill::None))
}

/// Plays these exchanges, then the model.
fn play(plan: Plan, model: &Model, first: impl IntoIterator<Item = Exchange>) -> Run {
    let mut first = first.into_iter();
    run(plan, |request, _| first.next().unwrap_or_else(|| model.respond(request)))
}

/// The whole answer, cut in its middle.
fn half(model: &Model) -> Exchange {
    let whole = model.whole();
    let at = whole.body().len() / 2;
    whole.fault(Fault::reset_at(at))
}

/// Whether the provider says in its first frame what the input was.
fn reports_first(wire: Wire) -> bool {
    matches!(wire, Wire::Anthropic | Wire::Gemini)
}

#[test]
fn an_uncut_answer_costs_what_was_reported() {
    for wire in Wire::ALL {
        let report = play(noted(wire), &model(wire), []).report;
        let billed = report.billed();
        assert_eq!((billed.input_tokens, billed.output_tokens), (1000, 40), "{wire:?}");
        assert_eq!((billed, report.is_estimated()), (report.usage(), false), "{wire:?}");
        assert_eq!((report.rebilled_input_tokens(), report.lost_output_tokens()), (0, 0));
        assert_eq!(report.context_tokens(), Some(1040), "{wire:?}");
    }
}

/// Servers forget the blank line behind their last event, and their last word.
#[test]
fn what_a_last_event_without_its_blank_line_reports_is_billed() {
    let wire = Wire::OpenAiChat;
    let whole = model(wire).respond(&noted(wire).request);
    let body = String::from_utf8(whole.body().to_vec()).unwrap();
    let body = body.strip_suffix("\n\ndata: [DONE]\n\n").unwrap();
    assert!(body.contains("\"completion_tokens\":40"), "{body}");
    let run = play(noted(wire), &model(wire), [Exchange::stream(body.to_owned() + "\n")]);
    let billed = run.report.billed();
    assert_eq!((billed.input_tokens, billed.output_tokens), (1000, 40));
    assert_eq!((run.text().as_str(), run.report.is_estimated()), (TEXT, false));
}

#[test]
fn what_was_cut_and_what_goes_on_are_billed_both() {
    for wire in Wire::ALL {
        let run = play(noted(wire), &model(wire), [half(&model(wire))]);
        assert_eq!(run.text(), TEXT);
        let report = &run.report;
        let [first, second] = &report.attempts[..] else { panic!("{wire:?}: {report:?}") };
        assert_eq!((first.is_estimated(), second.is_estimated()), (true, false), "{wire:?}");
        let (input, estimate) = (first.billed().input_tokens, first.estimated_input_tokens);
        if reports_first(wire) {
            assert_eq!((input, estimate), (1000, 0), "{wire:?}");
        } else {
            assert_eq!((input, first.usage), (estimate, None), "{wire:?}");
            // No pair of equal letters is in the question, but for "tt" and the like.
            let least = QUESTION.len() as u64 / 8;
            assert!((least - 1..=least).contains(&estimate), "{wire:?}: {estimate}");
        }
        // Half of 42 deltas, at eight bytes a token or as told.
        let output = first.output_tokens();
        assert!((5..=25).contains(&output), "{wire:?}: {output}");
        let sum = first.billed().plus(second.billed());
        assert_eq!((report.billed(), report.is_estimated()), (sum, true));
        // The partial answer is in the second input, so that only the second counts for the window.
        let last = second.usage.unwrap();
        assert_eq!(report.rebilled_input_tokens(), last.input_tokens, "{wire:?}");
        let window = last.input_tokens + last.output_tokens;
        assert_eq!(report.context_tokens(), Some(window), "{wire:?}");
        // All that the first brought was delivered; the second said the anchor again.
        assert_eq!((first.lost, first.lost_output_tokens()), (0, 0), "{wire:?}");
        assert_eq!(second.lost, second.discarded, "{wire:?}");
        assert_eq!(report.lost_output_tokens(), second.lost as u64 / 8, "{wire:?}");
    }
}

#[test]
fn what_brought_nothing_is_not_known_to_be_billed() {
    for wire in Wire::ALL {
        let busy = Exchange::reply(StatusCode::SERVICE_UNAVAILABLE);
        let first = [busy, Exchange::headless(End::Reset)];
        let report = play(noted(wire), &model(wire), first).report;
        assert_eq!(report.attempts.len(), 3);
        assert_eq!(report.attempts[0].billed(), Usage::default());
        assert_eq!(report.billed(), report.attempts[2].billed(), "{wire:?}");
        assert_eq!((report.is_estimated(), report.rebilled_input_tokens()), (false, 0));
    }
}

#[test]
fn an_answer_that_nobody_completed_fills_no_window() {
    for wire in Wire::ALL {
        let mut plan = noted(wire);
        plan.policy = Policy::new().without_resume().into();
        let run = play(plan, &model(wire), [half(&model(wire))]);
        let report = run.result.unwrap_err().report().clone();
        assert_eq!(report.context_tokens(), None, "{wire:?}");
        assert!(report.is_estimated() && report.billed().output_tokens > 0, "{wire:?}");
    }
}

/// A model that says all of it again is paid for it again.
#[test]
fn what_is_said_again_is_lost() {
    for wire in Wire::ALL {
        let mut plan = noted(wire);
        plan.policy = Policy::new().without_notes().into();
        let run = play(plan, &model(wire), [half(&model(wire))]);
        assert_eq!(run.text(), TEXT);
        let [first, second] = &run.report.attempts[..] else { panic!("{wire:?}") };
        assert_eq!((second.lost, second.discarded), (first.delivered, first.delivered));
        let lost = first.delivered as u64 / 8;
        assert_eq!((run.report.lost_output_tokens(), lost > 5), (lost, true), "{wire:?}");
    }
}

/// A server that sends a prefill back did not have it made.
#[test]
fn an_echo_costs_nothing() {
    let wire = Wire::OpenAiChat;
    let declared = Declared::new().prefill(Prefill::Prefix);
    let model = model(wire).on_prefill(Behaviour::Echo);
    let run = play(plan(wire, declared), &model, [half(&model)]);
    assert_eq!(run.text(), TEXT);
    let [first, second] = &run.report.attempts[..] else { panic!() };
    assert_eq!((second.discarded > 0, second.lost), (true, 0));
    assert_eq!(second.estimated_output_tokens, second.delivered as u64 / 8);
    assert_eq!((first.lost, run.report.lost_output_tokens()), (0, 0));
}

#[test]
fn what_is_taken_back_is_lost() {
    for wire in Wire::ALL {
        let mut plan = noted(wire);
        let policy = Policy::new().without_notes().delivery(Delivery::Retractable);
        plan.policy = policy.into();
        let other = wire.says(Answer::new().text("Another one."), Deltas::Chars(4));
        let mut exchanges = vec![half(&model(wire)), other.whole()].into_iter();
        let run = run(plan, |request, _| {
            exchanges.next().unwrap_or_else(|| model(wire).respond(request))
        });
        assert!(run.events.iter().any(|event| matches!(event, Event::Rewind(_))), "{wire:?}");
        assert_eq!(run.text(), TEXT);
        let [first, second, last] = &run.report.attempts[..] else { panic!("{wire:?}") };
        assert_eq!(first.lost, first.delivered, "{wire:?}");
        assert_eq!(second.lost, second.delivered + second.discarded, "{wire:?}");
        assert_eq!(last.lost, 0, "{wire:?}");
    }
}

/// What a server only sent back was not made, also where all of it is taken back.
#[test]
fn an_echo_that_is_taken_back_is_not_lost() {
    let wire = Wire::OpenAiChat;
    let mut plan = plan(wire, Declared::new().prefill(Prefill::Prefix));
    plan.policy = Policy::new().without_notes().delivery(Delivery::Retractable).into();
    let model = model(wire).on_prefill(Behaviour::Echo);
    let other = wire.says(Answer::new().text("Another one."), Deltas::Chars(4));
    let mut count = 0;
    let run = run(plan, |request, _| {
        count += 1;
        let answer = model.respond(request);
        let most = answer.body().len() * 3 / 4;
        match count {
            1 => half(&model),
            2 => answer.fault(Fault::reset_at(most)),
            3 => Exchange::reply(StatusCode::BAD_REQUEST),
            4 => other.whole(),
            _ => answer,
        }
    });
    assert!(run.events.iter().any(|event| matches!(event, Event::Rewind(_))), "{}", run.trace());
    let [first, second, ..] = &run.report.attempts[..] else { panic!() };
    assert!(first.delivered > 0 && second.delivered > 0 && second.discarded > 0);
    assert_eq!((first.lost, second.lost), (first.delivered, second.delivered));
}

/// Reasoning that was shown and is not kept, because the text did not come.
#[test]
fn reasoning_before_a_cut_is_lost() {
    let thought = "Let me think about that for a while, as long as it takes.";
    for wire in [Wire::Anthropic, Wire::OpenAiChat] {
        let think = match wire {
            Wire::Anthropic => {
                let start = json!({"type": "message_start", "message": {"id": "1", "model": "m",
                    "usage": {"input_tokens": 70, "output_tokens": 1}}});
                let block = json!({"type": "content_block_start", "index": 0,
                    "content_block": {"type": "thinking", "thinking": ""}});
                let delta = json!({"type": "content_block_delta", "index": 0,
                    "delta": {"type": "thinking_delta", "thinking": thought}});
                events(&[start, block, delta])
            }
            _ => events(&[json!({"choices": [{"index": 0,
                "delta": {"reasoning_content": thought}}]})]),
        };
        let run = play(noted(wire), &model(wire), [Exchange::stream(think).reset()]);
        assert_eq!(run.text(), TEXT);
        let [first, second] = &run.report.attempts[..] else { panic!("{wire:?}") };
        assert_eq!((first.delivered, first.lost), (thought.len(), thought.len()), "{wire:?}");
        assert_eq!(first.lost_output_tokens(), thought.len() as u64 / 8, "{wire:?}");
        // The request was repeated: its input is billed again.
        assert_eq!(run.report.rebilled_input_tokens(), second.billed().input_tokens);
        assert_eq!(second.billed().input_tokens, 1000, "{wire:?}");
    }
}

/// Tokens that were reported and are no byte of what came.
#[test]
fn reasoning_that_nobody_saw_is_lost() {
    let wire = Wire::Gemini;
    let frame = |text: &str, thoughts: u64| {
        json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}],
            "usageMetadata": {"promptTokenCount": 90, "thoughtsTokenCount": thoughts}})
    };
    let body = events(&[frame("", 500), frame(&TEXT[..20], 2000)]);
    let run = play(noted(wire), &model(wire), [Exchange::stream(body).reset()]);
    assert_eq!(run.text(), TEXT);
    let first = &run.report.attempts[0];
    assert_eq!((first.billed().output_tokens, first.lost_output_tokens()), (2000, 1980));
    assert_eq!(run.report.lost_output_tokens(), 1980 + run.report.attempts[1].lost as u64 / 8);
}

/// The provider had not ended its answer, and so not told what it cost.
#[test]
fn what_a_stop_sequence_across_the_seam_ends_is_estimated() {
    let wire = Wire::Anthropic;
    let mut plan = plan(wire, Declared::new().prefill(Prefill::Trailing));
    let mut request = (*plan.request).clone();
    request["stop_sequences"] = json!(["TheEnd"]);
    plan.request = request.into();
    let says = |text: String| {
        let start = json!({"type": "message_start", "message": {"id": "1", "model": "m",
            "usage": {"input_tokens": 70, "output_tokens": 1}}});
        let block = json!({"type": "content_block_start", "index": 0,
            "content_block": {"type": "text", "text": ""}});
        let delta = json!({"type": "content_block_delta", "index": 0,
            "delta": {"type": "text_delta", "text": text}});
        Exchange::stream(events(&[start, block, delta]))
    };
    let exchanges = [says(format!("{TEXT} The")).reset(), says(format!("End {TEXT}"))];
    let run = play(plan, &model(wire), exchanges);
    assert!(run.result.is_ok() && run.transcript.finish().unwrap().inferred);
    let second = &run.report.attempts[1];
    assert_eq!((second.outcome, second.is_estimated()), (Outcome::Finished, true));
    assert!(second.output_tokens() > 10, "{second:?}");
    assert_eq!(run.report.context_tokens(), None);
}

/// What a cache saved, and what it cost to fill it, of all attempts.
#[test]
fn cached_input_is_summed_apart() {
    let wire = Wire::Anthropic;
    let start = |read: u64, written: u64| {
        json!({"type": "message_start", "message": {"id": "1", "model": "m", "usage": {
            "input_tokens": 10, "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written, "output_tokens": 1}}})
    };
    let block = json!({"type": "content_block_start", "index": 0,
        "content_block": {"type": "text", "text": ""}});
    let says = |text: &str| {
        json!({"type": "content_block_delta", "index": 0,
            "delta": {"type": "text_delta", "text": text}})
    };
    let end = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 30}});
    let first = events(&[start(0, 2000), block.clone(), says(&TEXT[..80])]);
    let rest = [start(2000, 40), block, says(&TEXT[40..]), end, json!({"type": "message_stop"})];
    let exchanges = [Exchange::stream(first).reset(), Exchange::stream(events(&rest))];
    let run = play(noted(wire), &model(wire), exchanges);
    let billed = run.report.billed();
    assert_eq!(run.text(), TEXT);
    assert_eq!(billed.input_tokens, 2010 + 2050);
    assert_eq!((billed.cached_input_tokens, billed.cache_write_tokens), (2000, 2040));
    assert_eq!(billed.output_tokens, 10 + 30);
    assert_eq!(run.report.rebilled_input_tokens(), 2050);
    assert_eq!(run.report.context_tokens(), Some(2050 + 30));
}

/// The hook hears of costs before each attempt.
#[test]
fn the_hook_can_stop_at_a_cost() {
    for wire in Wire::ALL {
        let mut plan = noted(wire);
        let policy = Policy::new().keep_going(|report| report.billed().output_tokens < 5);
        plan.policy = policy.into();
        let run = play(plan, &model(wire), [half(&model(wire))]);
        assert!(run.result.is_err(), "{wire:?}");
        assert_eq!(run.report.attempts.len(), 1);
    }
}

/// Only what is text for certain counts as input, and no run of blanks.
#[test]
fn a_lower_bound_of_the_input_stays_one() {
    let image = "iVBORw0KGgo".repeat(10_000);
    let url = format!("data:image/png;base64,{image}");
    let words = "abcdefgh".repeat(10);
    let chat = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let input = |content: Value| json!({"input": [{"role": "user", "content": content}]});
    let parts = |parts: Value| json!({"contents": [{"role": "user", "parts": parts}]});
    let said = json!({"type": "text", "text": words});
    for (wire, request, bytes) in [
        (Wire::OpenAiChat, chat(json!(words)), 80),
        (
            Wire::OpenAiChat,
            chat(json!([said, {"type": "image_url", "image_url": {"url": url}}])),
            80,
        ),
        (
            Wire::OpenAiChat,
            chat(json!([{"type": "input_audio", "input_audio": {"data": image}}])),
            0,
        ),
        (
            Wire::Anthropic,
            json!({"system": words, "messages": [
                {"role": "user", "content": [said, {"type": "image", "source": {"type": "base64", "data": image}}]},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": words, "signature": image}]},
            ]}),
            160,
        ),
        (Wire::OpenAiResponses, json!({"instructions": words, "input": words}), 160),
        (
            Wire::OpenAiResponses,
            input(json!([said, {"type": "input_image", "image_url": url}])),
            80,
        ),
        (
            Wire::OpenAiResponses,
            json!({"input": [{"type": "reasoning", "summary": [said],
            "encrypted_content": image, "content": [said]}]}),
            0,
        ),
        (Wire::Gemini, parts(json!([{"text": words}, {"inlineData": {"data": image}}])), 80),
        (Wire::Gemini, parts(json!([{"text": words, "thought": true}])), 0),
        (Wire::Gemini, json!({"systemInstruction": {"parts": [{"text": words}]}}), 80),
        (Wire::GeminiInteractions, json!({"system_instruction": words, "input": words}), 160),
        (Wire::GeminiInteractions, json!({"input": [said, {"type": "image", "data": image}]}), 80),
        // A run of one letter may be one token.
        (Wire::OpenAiChat, chat(json!(" ".repeat(4000))), 1),
        // The provider may leave out what it likes.
        (Wire::OpenAiResponses, json!({"input": words, "truncation": "auto"}), 0),
        (Wire::OpenAiResponses, json!({"input": words, "truncation": "disabled"}), 80),
        (Wire::Anthropic, json!({"messages": [said], "context_management": {"edits": []}}), 0),
    ] {
        assert_eq!(wire.dialect().reads(&request), bytes, "{wire:?}");
    }
}

/// An end without counts: what was said of the output in the first event is a placeholder.
#[test]
fn a_placeholder_is_no_last_word() {
    let start = json!({"type": "message_start", "message": {"id": "1", "model": "m",
        "usage": {"input_tokens": 70, "output_tokens": 1}}});
    let block = json!({"type": "content_block_start", "index": 0,
        "content_block": {"type": "text", "text": ""}});
    let delta = json!({"type": "content_block_delta", "index": 0,
        "delta": {"type": "text_delta", "text": TEXT}});
    let end = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}});
    let body = events(&[start, block, delta, end, json!({"type": "message_stop"})]);
    let wire = Wire::Anthropic;
    let run = play(noted(wire), &model(wire), [Exchange::stream(body)]);
    assert!(run.result.is_ok());
    let report = run.report;
    assert_eq!(report.billed().output_tokens, TEXT.len() as u64 / 8, "{report:?}");
    assert!(report.is_estimated());
    assert_eq!(report.context_tokens(), None);
}

/// Events of a stream, named as Anthropic names them.
fn events(all: &[Value]) -> String {
    let named = |event: &Value| match event.get("type").and_then(Value::as_str) {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    all.iter().map(named).collect()
}
