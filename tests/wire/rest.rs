//! What a client is told where an upstream breaks off at an awkward place.

use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use unbroken::ErrorKind;
use unbroken::engine::{Input, Output, Recovery};
use unbroken::policy::{Policy, Timeouts};
use unbroken::testing::Exchange;

use super::found::{self, chunk, plan, play};
use super::support::client;
use super::support::subjects::Wire;
use super::{bytes, text_of};

fn say(delta: Value) -> String {
    chunk(delta, Value::Null)
}

fn words(words: &str) -> String {
    say(json!({"content": words}))
}

/// The first chunk.
fn hello(words: &str) -> String {
    say(json!({"role": "assistant", "content": words}))
}

fn stop() -> String {
    chunk(json!({}), json!("stop"))
}

const DONE: &str = "data: [DONE]\n\n";

/// Usage was asked for and fell into the gap: it is estimated.
#[test]
fn usage_is_told_where_the_upstream_could_not() {
    let fields = json!({"stream_options": {"include_usage": true}});
    for (name, body, reset, told) in [
        ("behind the finish", hello("Hello there my friend") + &stop(), true, true),
        ("an end in order", hello("Hello there my friend") + &stop() + DONE, false, false),
    ] {
        let only = Exchange::stream(body);
        let only = if reset { only.reset() } else { only };
        let run = play(plan(Wire::OpenAiChat, fields.clone()), &[only]);
        assert!(run.result.is_ok(), "{name}");
        let usage = client::openai_chat(bytes(&run)).usage;
        assert_eq!(usage["completion_tokens"].as_u64().is_some_and(|it| it > 0), told, "{name}");
    }
}

/// A refusal is not continued but said again, so it goes out when it is whole.
#[test]
fn a_refusal_is_told_once() {
    let half = say(json!({"role": "assistant", "refusal": "I cannot "}));
    let whole = half.clone() + &say(json!({"refusal": "help with that."})) + &stop() + DONE;
    let all = [Exchange::stream(half).reset(), Exchange::stream(whole)];
    let run = play(plan(Wire::OpenAiChat, json!({})), &all);
    let said = text_of(&run);
    assert!(run.result.is_ok(), "{said}");
    assert_eq!(said.matches("I cannot").count(), 1, "{said}");
    assert_eq!(said.matches("help with that.").count(), 1, "{said}");
}

/// The provider's own words for why it rejected the continuation.
#[test]
fn a_rejection_behind_text_is_told_in_the_providers_words() {
    let error = json!({"error": {"message": "gone", "type": "odd_error", "code": "odd"}});
    let gone = Exchange::json(http::StatusCode::UNAUTHORIZED, &error);
    let all = [Exchange::stream(hello("Hello there my friend, ")).reset(), gone];
    let run = play(plan(Wire::OpenAiChat, json!({})), &all);
    assert_eq!(run.result.as_ref().unwrap_err().kind(), ErrorKind::Authentication);
    let said = text_of(&run);
    assert!(said.trim().ends_with(&format!("data: {error}")), "{said}");
    let plain = "data: {\"error\":\"engine died\"}\n\n".to_owned();
    let all =
        [Exchange::stream(hello("Hello there my friend, ") + &plain), Exchange::stream(plain)];
    let run = play(plan(Wire::OpenAiChat, json!({})), &all);
    assert!(text_of(&run).contains("{\"error\":\"engine died\"}"), "{}", text_of(&run));
}

/// An upstream goes on with a block that another one has closed for the client, whose frame was lost.
#[test]
fn reasoning_that_goes_on_behind_text_has_a_block_of_its_own() {
    let block = json!({"type": "thinking", "thinking": "", "signature": ""});
    let message = json!({"id": "msg_1", "model": "m", "content": [], "usage": {}});
    let says = |index, kind: &str, field: &str, words: &str| json!({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: words}});
    let frames = [
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        says(0, "thinking_delta", "thinking", "Hm. "),
        says(1, "text_delta", "text", "Hello there my friend"),
        says(0, "thinking_delta", "thinking", "So?"),
        says(0, "signature_delta", "signature", "c2ln"),
        says(1, "text_delta", "text", ", how are you?"),
    ];
    let frame =
        |data: &Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap());
    let body: String = frames.iter().map(frame).collect();
    let gone = Exchange::json(http::StatusCode::UNAUTHORIZED, &json!({}));
    let run = play(plan(Wire::Anthropic, json!({})), &[Exchange::stream(body).reset(), gone]);
    let said = client::anthropic(bytes(&run)).kept;
    let said: Vec<&str> = said.iter().map(|(_, content)| &**content).collect();
    assert_eq!(said, ["Hm. ", "Hello there my friend", "So?", ", how are you?"]);
}

/// A client would take the answer for whole.
#[test]
fn a_gap_is_no_end_in_order() {
    let rubbish = "data: {\"choices\":[{\"delta\":{\"content\":7}}]}\n\n";
    let first = hello("Hello there my friend, ") + rubbish + &words("bye.") + &stop() + DONE;
    let next = rubbish.to_owned() + &words("bye.") + &stop() + DONE;
    let run =
        play(plan(Wire::OpenAiChat, json!({})), &[Exchange::stream(first), Exchange::stream(next)]);
    let error = run.result.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Garbled, "{}", text_of(&run));
    assert_eq!(run.report.skipped_frames(), 0);
}

/// Servers that cut by UTF-16 units send both halves; a text cannot hold one. No client of ours can
/// read the frames either, so this one has none.
#[test]
fn half_a_pair_is_no_cut() {
    let play = |body: String| {
        let mut plan = plan(Wire::OpenAiChat, json!({}));
        plan.wire = None;
        play(plan, &[Exchange::stream(body)])
    };
    let split = r#"data: {"id":"c1","choices":[{"index":0,"delta":{"content":"\ud83c"}}]}"#;
    let rest = split.replace("d83c", "df89");
    let run = play(hello("Hi ") + &format!("{split}\n\n{rest}\n\n") + &stop() + DONE);
    assert_eq!((run.transcript.text(), run.requests.len()), ("Hi \u{fffd}\u{fffd}".to_owned(), 1));
    // The arguments of a call are nobody's to change.
    let function = json!({"name": "f", "arguments": "{\"a\":\"X\"}"});
    let call =
        json!({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": function}]});
    let call = say(call).replace('X', "\\ud83c");
    let run = play(call + &chunk(json!({}), json!("tool_calls")) + DONE);
    let calls = run.transcript.tool_calls().count();
    assert_eq!((run.report.skipped_frames() > 0, calls), (true, 0));
}

/// The model's room was used up behind the name of a call: with no arguments it would read as a call that
/// needs none.
#[test]
fn a_call_that_was_broken_off_before_its_arguments_is_not_told() {
    for (arguments, told) in [("", false), ("{\"pa", true)] {
        let function = json!({"name": "look", "arguments": arguments});
        let call = json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]});
        let rest = words("I look. ") + &say(call) + &chunk(json!({}), json!("length")) + DONE;
        let all =
            [Exchange::stream(hello("Hello there my friend, ")).reset(), Exchange::stream(rest)];
        let run = play(plan(Wire::OpenAiChat, json!({})), &all);
        let said = text_of(&run);
        assert!(run.result.is_ok(), "{said}");
        assert!(run.kept().iter().any(|(name, _)| name == "call look (cut)"), "{:?}", run.kept());
        assert_eq!(said.contains("call_1"), told, "{said}");
        assert!(said.contains("\"length\""), "{said}");
    }
}

/// Whoever serves it may close the connection then, and not before.
#[test]
fn a_client_has_all_of_it_with_the_last_word() {
    let mut id = None;
    let mut drain = |engine: &mut Recovery| {
        loop {
            match engine.poll_output() {
                Output::Open(attempt) => id = Some(attempt.id),
                Output::Wait { .. } | Output::Done(_) => return id.unwrap(),
                _ => {}
            }
        }
    };
    #[expect(clippy::disallowed_methods, reason = "an instant to start from; no time passes")]
    let now = Instant::now();
    let mut engine = Recovery::new(plan(Wire::OpenAiChat, json!({})), now).unwrap();
    let id = drain(&mut engine);
    engine.handle_input(now, Input::Head { id, status: StatusCode::OK, headers: HeaderMap::new() });
    for (frame, told) in [(hello("Hi"), false), (stop(), false), (DONE.to_owned(), true)] {
        engine.handle_input(now, Input::Chunk { id, bytes: frame.into() });
        drain(&mut engine);
        assert_eq!(engine.is_told(), told);
    }
}

/// A call that has no name yet is none, and a sign of life is no reason to show it.
#[test]
fn a_call_without_a_name_waits_beyond_a_sign_of_life() {
    let function = json!({"arguments": "{\"path\":"});
    let nameless = say(json!({"tool_calls": [{"index": 0, "function": function}]}));
    let first = Exchange::stream(hello("I look. ") + &nameless).stall();
    let rest = Exchange::stream(words("Found.") + &stop() + DONE);
    let run = play(plan(Wire::OpenAiChat, json!({})), &[first, rest]);
    let said = text_of(&run);
    assert!(run.result.is_ok() && said.contains(": keep-alive"), "{said}");
    assert!(!said.contains("tool_calls"), "{said}");
}

/// The caller's patience ends with a search under way, of which nothing was found.
#[test]
fn what_may_yet_be_taken_back_is_not_written_before_the_last_word() {
    let said = [found::start(), found::text(0), found::says(0, "Hello there my friend")];
    let search =
        json!({"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}});
    let searches = [found::start(), found::block(0, search), found::stop(0)];
    let first = Exchange::stream(found::frames(&said)).reset();
    let rest = Exchange::stream(found::frames(&searches)).stall();
    let mut plan = plan(Wire::Anthropic, json!({}));
    let overall = Timeouts::new().overall(Duration::from_secs(20));
    plan.policy = Policy::new().timeouts(overall).into();
    let run = play(plan, &[first, rest]);
    assert_eq!(run.result.as_ref().unwrap_err().kind(), ErrorKind::Deadline);
    let said = text_of(&run);
    assert!(said.contains("Hello there my friend") && !said.contains("srv_1"), "{said}");
}

/// A continuation thinks of our question, and another vendor for another history.
#[test]
fn what_a_continuation_thinks_is_not_shown() {
    let first = Exchange::stream(hello("Hello there my friend, ")).reset();
    let thinks = say(json!({"reasoning_content": "What now?"}));
    let rest = Exchange::stream(thinks + &words("bye.") + &stop() + DONE);
    let run = play(plan(Wire::OpenAiChat, json!({})), &[first, rest]);
    let said = text_of(&run);
    assert!(run.result.is_ok() && said.contains("bye.") && !said.contains("What now?"), "{said}");
}
