//! Defects that were there once, each with the test that would have told: found by review and by
//! fuzzing, played in virtual time.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

#[path = "regressions/attempts.rs"]
mod attempts;
#[path = "regressions/clocks.rs"]
mod clocks;
#[path = "regressions/counts.rs"]
mod counts;
#[path = "regressions/reading.rs"]
mod reading;

use http::StatusCode;
use serde_json::{Value, json};
use support::Run;
use unbroken::dialect::{Anthropic, OpenAiChat};
use unbroken::engine::Plan;
use unbroken::policy::Policy;
use unbroken::testing::Exchange;
use unbroken::{ErrorKind, Upstream};

/// Long enough for a seam to be sure of it.
const SAID: &str = "The quick brown fox jumps over the lazy dog and then goes home to its wife \
                    and twelve children.";

/// Chat Completions at a host that nothing is known of.
fn gpt(name: &str) -> Upstream {
    let uri = format!("https://{name}.example/v1/chat/completions");
    Upstream::new(name, OpenAiChat, uri.parse().unwrap())
}

/// Anthropic messages at a host that nothing is known of.
fn claude(name: &str) -> Upstream {
    let uri = format!("https://{name}.example/v1/messages");
    Upstream::new(name, Anthropic, uri.parse().unwrap())
}

fn request() -> Value {
    json!({"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": "Go."}]})
}

/// A request that can only be asked again as it is: aligned replay.
fn structured() -> Value {
    let mut request = request();
    request["response_format"] = json!({"type": "json_object"});
    request
}

fn plan(request: Value, chain: Vec<Upstream>, policy: Policy) -> Plan {
    let mut plan = Plan::new(request, chain);
    plan.policy = policy.into();
    plan
}

/// One Chat Completions upstream with the usual request.
fn chat(policy: Policy) -> Plan {
    plan(request(), vec![gpt("one")], policy)
}

/// One Anthropic upstream with the usual request.
fn messages(policy: Policy) -> Plan {
    plan(request(), vec![claude("one")], policy)
}

/// A Chat Completions frame with `delta`.
fn delta(delta: Value) -> String {
    let chunk = json!({"id": "c", "choices": [{"index": 0, "delta": delta}]});
    format!("data: {chunk}\n\n")
}

fn text(text: &str) -> String {
    delta(json!({"content": text}))
}

/// [`delta`] with the output tokens so far.
fn spent(delta: Value, tokens: u64) -> String {
    let usage = json!({"prompt_tokens": 1, "completion_tokens": tokens});
    let choice = json!({"index": 0, "delta": delta});
    format!("data: {}\n\n", json!({"id": "c", "choices": [choice], "usage": usage}))
}

fn stop() -> String {
    let choice = json!({"index": 0, "delta": {}, "finish_reason": "stop"});
    format!("data: {}\n\n", json!({"id": "c", "choices": [choice]}))
}

const DONE: &str = "data: [DONE]\n\n";

/// `said`, and the whole end of an answer.
fn whole(said: &str) -> Exchange {
    Exchange::stream(text(said) + &stop() + DONE)
}

/// `said`, and a connection reset.
fn cut(said: &str) -> Exchange {
    Exchange::stream(text(said)).reset()
}

fn rejection(status: u16, error: Value) -> Exchange {
    let status = StatusCode::from_u16(status).unwrap();
    Exchange::json(status, &json!({"error": error}))
}

/// An Anthropic event.
fn event(event: Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}

/// An Anthropic block from its beginning; [`block_stop`] ends it.
fn block(index: usize, block: Value, deltas: &[Value]) -> String {
    let start = json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |delta: &Value| {
        event(json!({"type": "content_block_delta", "index": index, "delta": delta}))
    };
    event(start) + &deltas.iter().map(delta).collect::<String>()
}

fn block_stop(index: usize) -> String {
    event(json!({"type": "content_block_stop", "index": index}))
}

/// The end of an Anthropic answer that took so many output tokens.
fn message_stop(tokens: u64) -> String {
    let delta = json!({"stop_reason": "end_turn"});
    event(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": tokens}}))
        + &event(json!({"type": "message_stop"}))
}

/// A text block that is not closed.
fn text_block(index: usize, text: &str) -> String {
    let delta = json!({"type": "text_delta", "text": text});
    block(index, json!({"type": "text", "text": ""}), &[delta])
}

/// A whole tool call.
fn call_block(index: usize) -> String {
    let start = json!({"type": "tool_use", "id": format!("t{index}"), "name": "f", "input": {}});
    let delta = json!({"type": "input_json_delta", "partial_json": "{\"a\":1}"});
    block(index, start, &[delta]) + &block_stop(index)
}

fn kind(run: &Run) -> ErrorKind {
    run.result.as_ref().expect_err("an error").kind()
}
