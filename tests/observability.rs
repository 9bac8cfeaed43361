//! What operators see of replies: numbers, spans, and rules that name both rightly.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "observability/exported.rs"]
mod exported;
#[path = "observability/rules.rs"]
mod rules;
#[path = "observability/spans.rs"]
mod spans;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use unbroken::dialect::Anthropic;
use unbroken::observe::{Observation, Observer};
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

/// What an observer panics at is told it once; and a lock that its panic has poisoned does not make the drop of
/// the reply a second panic, which would end the process.
#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a task is what catches a panic")]
async fn an_observer_that_panics_ends_its_reply_and_no_more() {
    for at in ["FirstDelta", "Over"] {
        let told = Arc::new(AtomicUsize::new(0));
        let (count, lock) = (Arc::clone(&told), Mutex::new(()));
        let client = client(broken(), move |observation: &Observation<'_>| {
            let _held = lock.lock().unwrap();
            if format!("{:?}", observation.notice).starts_with(at) {
                count.fetch_add(1, Ordering::Relaxed);
                panic!("as an observer may");
            }
        });
        let reply = client.stream(request());
        assert!(tokio::spawn(reply.finish()).await.unwrap_err().is_panic());
        assert_eq!(told.load(Ordering::Relaxed), 1, "{at}");
    }
}
