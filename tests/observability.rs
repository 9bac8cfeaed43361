//! What operators see of replies: numbers, spans, and rules that name both rightly.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "observability/exported.rs"]
mod exported;
#[path = "observability/rules.rs"]
mod rules;
#[path = "observability/spans.rs"]
mod spans;

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use unbroken::dialect::Anthropic;
use unbroken::observe::Observer;
use unbroken::policy::{Backoff, BreakerPolicy, Policy};
use unbroken::testing::{Exchange, Fault, Flaky, Memory, Model, Script};
use unbroken::{Client, Upstream};

const TEXT: &str = "It was a bright cold day in April, and the clocks were striking thirteen.";

fn model() -> Model {
    Model::anthropic(TEXT)
}

/// Breaks in the middle of the first answer.
fn broken() -> Memory {
    let half = model().whole().body().len() / 2;
    Memory::new(Flaky::new(model(), [Fault::reset_at(half)]))
}

fn rejecting(status: StatusCode) -> Memory {
    Memory::new(Script::new().forever(move |_| Exchange::reply(status)))
}

/// A client with a breaker that opens after `failures`.
fn guarded(memory: Memory, observer: impl Observer, failures: u32) -> Client {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(2));
    let breaker = BreakerPolicy::new().failures(failures);
    let policy = Policy::new().backoff(backoff).max_attempts(3).breaker(breaker);
    let address = "http://one.test/v1/messages".parse().unwrap();
    let upstream = Upstream::new("one", Anthropic, address);
    let client = Client::builder().step(upstream).transport(memory).policy(policy).seed(1);
    client.observer(observer).build().unwrap()
}

fn client(memory: Memory, observer: impl Observer) -> Client {
    guarded(memory, observer, 5)
}

/// One whose breaker opens at the first failure.
fn fragile(memory: Memory, observer: impl Observer) -> Client {
    guarded(memory, observer, 1)
}

fn request() -> Value {
    let ask = json!([{ "role": "user", "content": "a secret question" }]);
    json!({ "model": "claude-haiku-4-5", "max_tokens": 1024, "messages": ask })
}
