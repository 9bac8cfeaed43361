//! Streams by hand that the wire view once got wrong: one test for each defect that a review found.
//! The strict client of every run has looked at each of them as well.

use std::time::Instant;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use unbroken::dialect::OpenAiChat;
use unbroken::engine::{Input, Output, Plan, Recovery};
use unbroken::policy::{Policy, ToolDelivery};
use unbroken::testing::{End, Exchange};
use unbroken::{Canned, ErrorKind, Resume, Upstream, WireOptions, WireReasoning};

use super::support::subjects::Wire;
use super::support::{Run, client, run};
use super::{bytes, text_of, wired};

/// A plan for a request with these fields besides.
pub(crate) fn plan(wire: Wire, fields: Value) -> Plan {
    let mut plan = wired(wire.plan(Resume::Prefill, false), WireReasoning::Auto);
    let mut request = (*plan.request).clone();
    for (name, value) in fields.as_object().unwrap() {
        request[name] = value.clone();
    }
    plan.request = request.into();
    plan
}

/// One request after another gets these; the last again and again.
pub(crate) fn play(plan: Plan, exchanges: &[Exchange]) -> Run {
    let mut next = exchanges.iter();
    let mut last = None;
    run(plan, move |_, _| {
        last = next.next().or(last);
        last.unwrap().clone()
    })
}

pub(crate) fn frames(events: &[Value]) -> String {
    let frame =
        |data: &Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap());
    events.iter().map(frame).collect()
}

pub(crate) fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
        "content": [], "model": "claude-haiku-4-5", "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": 25, "output_tokens": 1}}})
}

pub(crate) fn block(index: u32, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

pub(crate) fn text(index: u32) -> Value {
    block(index, json!({"type": "text", "text": ""}))
}

pub(crate) fn call(index: u32) -> Value {
    block(index, json!({"type": "tool_use", "id": "t1", "name": "x", "input": {}}))
}

pub(crate) fn delta(index: u32, kind: &str, field: &str, value: &str) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: value}})
}

pub(crate) fn says(index: u32, words: &str) -> Value {
    delta(index, "text_delta", "text", words)
}

pub(crate) fn stop(index: u32) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

pub(crate) fn end(reason: &str) -> [Value; 2] {
    let delta = json!({"stop_reason": reason, "stop_sequence": null});
    [
        json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ]
}

fn thought(index: u32, signature: &str) -> [Value; 4] {
    [
        block(index, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(index, "thinking_delta", "thinking", &format!("As {signature} has it.")),
        delta(index, "signature_delta", "signature", signature),
        stop(index),
    ]
}

pub(crate) fn chunk(delta: Value, finish: Value) -> String {
    let choices = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
    chat("c1", choices)
}

fn chat(id: &str, choices: Value) -> String {
    let chunk = json!({"id": id, "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices});
    format!("data: {chunk}\n\n")
}

fn tools() -> Value {
    json!({"tools": [{"name": "x", "input_schema": {"type": "object"}}],
        "thinking": {"type": "enabled", "budget_tokens": 2000}})
}

/// Whatever is out, be it a sign of life, a failure is told behind it.
#[test]
fn a_failure_behind_a_sign_of_life_is_told() {
    let busy = Exchange::reply(StatusCode::SERVICE_UNAVAILABLE).header(RETRY_AFTER, 20_u16);
    for wire in [Wire::Anthropic, Wire::OpenAiChat] {
        let run = play(plan(wire, json!({})), std::slice::from_ref(&busy));
        assert!(run.result.is_err());
        assert!(text_of(&run).starts_with(": keep-alive\n\n"), "{}", text_of(&run));
    }
}

/// Only an error in the client's own format is passed on as one.
#[test]
fn what_is_no_error_is_not_passed_on_as_one() {
    let hello = json!({"role": "assistant", "content": "Hello there my friend, "});
    let first = chunk(hello, Value::Null);
    for last in [
        chat("c2", json!([{"index": 0, "delta": {"content": "bye"}, "finish_reason": "abort"}])),
        "data: {\"object\":\"error\",\"message\":\"engine died\",\"code\":500}\n\n".to_owned(),
    ] {
        let broken = Exchange::stream(first.clone() + &last);
        let run = play(plan(Wire::OpenAiChat, json!({})), &[broken, Exchange::stream(last)]);
        assert_eq!(run.result.as_ref().unwrap_err().kind(), ErrorKind::Upstream);
        let said = text_of(&run);
        let error: Value =
            serde_json::from_str(said.trim().rsplit("data: ").next().unwrap()).unwrap();
        assert_eq!(error.as_object().unwrap().keys().collect::<Vec<_>>(), ["error"], "{said}");
    }
    let aborted = |words: &[Value]| {
        let [conclusion, _] = end("abort");
        Exchange::stream(frames(&[&[start()], words, &[conclusion]].concat()))
    };
    let words = [text(0), says(0, "I will look it up now."), stop(0)];
    let run = play(plan(Wire::Anthropic, json!({})), &[aborted(&words), aborted(&[])]);
    assert!(run.result.is_err());
}

/// Reasoning that is held stays so until something lasting follows: the attempt may still be replaced.
#[test]
fn reasoning_that_a_cut_takes_back_never_shows() {
    let redacted =
        |data: &str| [block(0, json!({"type": "redacted_thinking", "data": data})), stop(0)];
    let answer = [text(1), says(1, "Yes."), stop(1)];
    for (one, two) in [
        (thought(0, "SIGA").to_vec(), thought(0, "SIGB").to_vec()),
        (redacted("SIGA").to_vec(), redacted("SIGB").to_vec()),
    ] {
        let dead = frames(&[&[start()], &one[..]].concat());
        let whole = frames(&[&[start()], &two[..], &answer, &end("end_turn")].concat());
        let exchanges = [Exchange::stream(dead).reset(), Exchange::stream(whole)];
        let run = play(plan(Wire::Anthropic, tools()), &exchanges);
        assert!(!text_of(&run).contains("SIGA") && text_of(&run).contains("SIGB"));
    }
}

/// No reader waits for the second half of a line end.
#[test]
fn a_line_end_goes_out_whole() {
    #[expect(clippy::disallowed_methods, reason = "an instant to start from; no time passes")]
    let now = Instant::now();
    let mut engine = Recovery::new(plan(Wire::OpenAiChat, json!({})), now).unwrap();
    let mut id = None;
    let mut out = |engine: &mut Recovery| {
        let mut bytes = Vec::new();
        loop {
            match engine.poll_output() {
                Output::Open(attempt) => id = Some(attempt.id),
                Output::Wire(more) => bytes.extend_from_slice(&more),
                Output::Wait { .. } => return (bytes, id.unwrap()),
                _ => {}
            }
        }
    };
    let (_, id) = out(&mut engine);
    let (status, headers) = (StatusCode::OK, HeaderMap::new());
    engine.handle_input(now, Input::Head { id, status, headers });
    for word in ["one", "two"] {
        let frame = chunk(json!({"content": word}), Value::Null).replace('\n', "\r\n");
        engine.handle_input(now, Input::Chunk { id, bytes: frame.clone().into() });
        assert_eq!(out(&mut engine).0, frame.as_bytes());
    }
    // A comment is not kept for the next event either.
    engine.handle_input(now, Input::Chunk { id, bytes: ": PROCESSING\r\n\r\n".into() });
    assert_eq!(out(&mut engine).0, b": PROCESSING\r\n\r\n");
}

#[test]
fn comments_are_bounded() {
    let comment = format!(": {}\n\n", "x".repeat(100_000)).repeat(50);
    let endless = format!(": {}", "x".repeat(5_000_000));
    for body in [comment, endless] {
        let mut plan = plan(Wire::OpenAiChat, json!({}));
        plan.policy = Policy::new().answer_max(1 << 20).event_max(1 << 20).max_attempts(1).into();
        let run = play(plan, &[Exchange::stream(body).pieces_of(10_000)]);
        assert_eq!(run.result.as_ref().unwrap_err().kind(), ErrorKind::OverLimit);
    }
}

/// An answer at hand is nobody's upstream, whatever came before it.
#[test]
fn an_answer_at_hand_names_itself_after_a_dead_start() {
    let mut plan = plan(Wire::Anthropic, json!({}));
    plan.chain = plan.chain.iter().cloned().chain([Canned::text("Later.").into()]).collect();
    let run = play(plan, &[Exchange::stream(frames(&[start()])).reset()]);
    assert!(text_of(&run).contains("\"model\":\"canned\""), "{}", text_of(&run));
    assert!(text_of(&run).contains(": unbroken answer by=canned"));
}

/// The strict client takes no empty text.
#[test]
fn a_block_of_which_nothing_came_does_not_go_out() {
    let use_tool = |index: u32| {
        let input = delta(index, "input_json_delta", "partial_json", "{\"a\":1}");
        [&[call(index), input, stop(index)][..], &end("tool_use")].concat()
    };
    let tool = || Exchange::stream(frames(&[&[start()][..], &use_tool(0)].concat()));
    let said = [start(), text(0), says(0, "I will look it up now."), stop(0), text(1)];
    let citation = json!({"type": "content_block_delta", "index": 1,
        "delta": {"type": "citations_delta", "citation": {"type": "char_location", "cited_text": "x"}}});
    let cited = [&said[..], &[citation]].concat();
    let thinking = [&[start()][..], &thought(0, "SIGA"), &[text(1)]].concat();
    for (events, end) in [
        (said.to_vec(), End::Reset),
        (cited, End::Reset),
        (thinking, End::Reset),
        (vec![start(), text(0)], End::Stall),
    ] {
        let dead = Exchange::stream(frames(&events)).ends(end);
        let run = play(plan(Wire::Anthropic, json!({"tools": [{"name": "x"}]})), &[dead, tool()]);
        assert!(run.result.is_ok());
        assert!(!text_of(&run).contains("cited_text"));
    }
}

/// What waits is not out: a ping must not come before the start that waits.
#[test]
fn a_sign_of_life_comes_before_what_waits() {
    let slow = [&[start()][..], &thought(0, "SIGA"), &[text(1), says(1, "Yes."), stop(1)]].concat();
    let body = frames(&[&slow[..], &end("end_turn")].concat());
    let slow = Exchange::stream(body).every(std::time::Duration::from_millis(4500));
    let run = play(plan(Wire::Anthropic, tools()), &[slow]);
    let said = text_of(&run);
    let before = said.split("event: message_start").next().unwrap();
    assert!(before.starts_with(": keep-alive\n\n") && !before.contains("ping"), "{before}");
}

#[test]
fn every_choice_ends() {
    let choice = |index: u32, delta: Value, finish: Value| {
        chat("c1", json!([{"index": index, "delta": delta, "finish_reason": finish}]))
    };
    let none = Value::Null;
    let dead = choice(0, json!({"role": "assistant", "reasoning_content": "hm"}), none.clone());
    let whole = choice(0, json!({"role": "assistant", "content": "a"}), none.clone())
        + &choice(1, json!({"role": "assistant", "content": "b"}), none)
        + &choice(0, json!({}), json!("stop"))
        + &choice(1, json!({}), json!("length"))
        + "data: [DONE]\n\n";
    let exchanges = [Exchange::stream(dead).reset(), Exchange::stream(whole)];
    let run = play(plan(Wire::OpenAiChat, json!({"n": 2})), &exchanges);
    assert!(run.result.is_ok());
    let said = text_of(&run);
    assert!(said.contains("\"index\":0,\"delta\":{},\"finish_reason\":\"stop\""), "{said}");
    assert!(said.contains("\"index\":1,\"delta\":{},\"finish_reason\":\"length\""), "{said}");
}

#[test]
fn usage_in_every_chunk_is_told_once_more_at_the_end() {
    let count = |id: &str, delta: Value, finish: Value, output: u64| {
        let usage =
            json!({"prompt_tokens": 9, "completion_tokens": output, "total_tokens": 9 + output});
        let chunk = json!({"id": id, "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": usage});
        format!("data: {chunk}\n\n")
    };
    let one = count(
        "c1",
        json!({"role": "assistant", "content": "Hello there my friend, "}),
        Value::Null,
        5,
    );
    let two =
        count("c2", json!({"content": "how are you?"}), json!("stop"), 4) + "data: [DONE]\n\n";
    let fields = json!({"stream_options": {"include_usage": true}});
    let run = play(
        plan(Wire::OpenAiChat, fields),
        &[Exchange::stream(one).reset(), Exchange::stream(two)],
    );
    assert_eq!(client::openai_chat(bytes(&run)).usage["completion_tokens"], 9);
}

#[test]
fn a_byte_order_mark_does_not_come_late() {
    let body = "\u{feff}".to_owned()
        + &frames(&[&[start(), text(0), says(0, "Hi."), stop(0)], &end("end_turn")[..]].concat());
    let late = Exchange::stream(body).delay(std::time::Duration::from_secs(20));
    assert!(play(plan(Wire::Anthropic, json!({})), &[late]).result.is_ok());
}

/// A call that has no name yet is a call, too.
#[test]
fn a_piece_of_a_call_without_an_id_cannot_be_taken_back() {
    let hello =
        chunk(json!({"role": "assistant", "content": "Hello there my friend, "}), Value::Null);
    let call = json!({"tool_calls": [{"index": 0, "function": {"name": "a", "arguments": ""}}]});
    let dead = Exchange::stream(hello + &chunk(call, Value::Null)).reset();
    let mut plan = plan(Wire::OpenAiChat, json!({}));
    plan.policy = Policy::new().tools(ToolDelivery::Live).into();
    plan.wire = Some(WireOptions::new().tools(ToolDelivery::Live));
    let run = play(plan, &[dead]);
    assert_eq!((run.result.is_err(), run.requests.len()), (true, 1));
}

/// A chain whose second step speaks another dialect.
fn chain(fields: Value) -> Plan {
    let mut plan = plan(Wire::Anthropic, fields);
    let uri = "https://api.openai.com/v1/chat/completions".parse().unwrap();
    // As the caller has it: thinking has no words there.
    let messages = json!([{"role": "user", "content": "a"}]);
    let other = Upstream::new("other", OpenAiChat, uri);
    let other = other.adapt(move |_| Ok(json!({"model": "gpt-4o", "messages": messages})));
    plan.chain = plan.chain.iter().cloned().chain([other.into()]).collect();
    plan
}

#[test]
fn calls_of_another_dialect_go_out_one_after_the_other() {
    let call = |index: u32, id: &str, arguments: &str| {
        let function = match id {
            "" => json!({"arguments": arguments}),
            id => json!({"name": id, "arguments": arguments}),
        };
        let id = if id.is_empty() { Value::Null } else { json!(id) };
        chunk(
            json!({"tool_calls": [{"index": index, "id": id, "function": function}]}),
            Value::Null,
        )
    };
    let body = call(0, "a", "")
        + &call(1, "b", "")
        + &call(0, "", "{\"a\"")
        + &call(1, "", "{\"b\"")
        + &call(0, "", ":1}")
        + &call(1, "", ":2}")
        + &chunk(json!({}), json!("tool_calls"))
        + "data: [DONE]\n\n";
    let mut plan = chain(json!({}));
    plan.policy = Policy::new().tools(ToolDelivery::Live).into();
    plan.wire = Some(WireOptions::new().tools(ToolDelivery::Live));
    let refused = Exchange::reply(StatusCode::UNAUTHORIZED);
    let run = play(plan, &[refused, Exchange::stream(body)]);
    let said = |name: &str, input: &str| (format!("call {name}"), input.to_owned());
    let kept = client::anthropic(bytes(&run)).kept;
    assert_eq!(kept, [said("a", "{\"a\":1}"), said("b", "{\"b\":2}")]);
}

/// Nobody has signed it, and the client would send it back.
#[test]
fn reasoning_of_another_dialect_does_not_go_to_a_client_with_tools() {
    let body = chunk(json!({"role": "assistant", "reasoning_content": "hmm"}), Value::Null)
        + &chunk(json!({"content": "Yes."}), Value::Null)
        + &chunk(json!({}), json!("stop"))
        + "data: [DONE]\n\n";
    let refused = Exchange::reply(StatusCode::UNAUTHORIZED);
    let run = play(chain(tools()), &[refused, Exchange::stream(body)]);
    assert_eq!(client::anthropic(bytes(&run)).kept, [("text".to_owned(), "Yes.".to_owned())]);
}

/// What is written of frames that were dropped is still said by who said it.
#[test]
fn an_answer_keeps_its_id() {
    let call = |index: u32, id: &str, arguments: &str| {
        let function = json!({"name": id, "arguments": arguments});
        json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]})
    };
    let first = chunk(call(0, "a", "{}"), Value::Null)
        .replace("{\"tool_calls\"", "{\"role\":\"assistant\",\"tool_calls\"");
    let dead = Exchange::stream(first + &chunk(call(1, "b", ""), Value::Null)).reset();
    let run = play(plan(Wire::OpenAiChat, json!({})), &[dead]);
    assert!(
        text_of(&run).contains("\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1")
    );
}
