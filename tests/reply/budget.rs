//! The retry budget: whom it stops, and whom it never does.

use std::time::Duration;

use http::StatusCode;
use unbroken::ErrorKind;
use unbroken::policy::{BreakerPolicy, Budget, Policy};
use unbroken::testing::{End, Exchange, Fault, Memory, Script};

use super::sockets::{Heard, Wire, hear};
use super::{TEXT, ask, builder, flaky, length, model, one, quick};

#[tokio::test(start_paused = true)]
async fn clones_share_the_retry_budget() {
    let memory = Memory::new(Script::new().forever(|_| Exchange::reply(StatusCode::BAD_GATEWAY)));
    let client = builder(&memory).budget(Budget::new(1, 0, 0.0)).build().unwrap();
    let first = hear(ask(&client)).await;
    // What ails it is what the upstream said, not that nobody may ask it again.
    assert_eq!(first.error().kind(), ErrorKind::Upstream, "{}", first.story());
    assert_eq!(first.error().rejection().map(|said| said.status), Some(StatusCode::BAD_GATEWAY));
    assert!(first.error().is_exhausted());
    assert_eq!((first.report.attempts.len(), memory.requests().len()), (2, 2));
    let second = hear(ask(&client.clone())).await;
    assert_eq!(second.error().kind(), ErrorKind::Upstream, "{}", second.story());
    assert_eq!((second.report.attempts.len(), memory.requests().len()), (1, 3));
}

/// What one upstream uses up is not missing at another one, nor is the way there a retry.
#[tokio::test(start_paused = true)]
async fn each_upstream_has_a_budget_of_its_own() {
    let memory = Memory::new(Script::new().forever(|request| match request.path() {
        "/v1/messages" => Exchange::reply(StatusCode::BAD_GATEWAY),
        _ => Exchange::headless(End::Reset),
    }));
    let client = builder(&memory).budget(Budget::new(1, 0, 0.0)).build().unwrap();
    let two = || Wire::Anthropic.upstream("two", "http://two.test/two");
    let both = client.with_chain([one(), two()]).unwrap();
    let heard = hear(ask(&both)).await;
    let who = |heard: &Heard| -> Vec<String> {
        heard.report.attempts.iter().map(|a| a.upstream.to_string()).collect()
    };
    assert_eq!(who(&heard), ["one", "one", "two", "two"]);
    let heard = hear(ask(&both)).await;
    assert_eq!(who(&heard), ["one", "two"]);
}

/// Recoveries are not what the budget stops.
#[tokio::test(start_paused = true)]
async fn attempts_after_progress_cost_no_budget() {
    let half = length() / 2;
    let memory = flaky((0..4).map(|_| Fault::reset_at(half)));
    let client = builder(&memory).budget(Budget::new(0, 0, 0.0)).build().unwrap();
    let heard = hear(ask(&client)).await;
    assert_eq!(heard.text(), TEXT, "{}", heard.story());
    assert!(memory.requests().len() > 1);
}

#[tokio::test(start_paused = true)]
async fn a_denied_retry_goes_to_the_next_step_for_nothing() {
    let memory = Memory::new(Script::new().forever(|request| match request.path() {
        "/v1/messages" => Exchange::reply(StatusCode::BAD_GATEWAY),
        _ => model().respond(&request.json()),
    }));
    let client = builder(&memory)
        .step(Wire::Anthropic.upstream("two", "http://two.test/two"))
        .budget(Budget::new(0, 0, 0.0))
        .build()
        .unwrap();
    let heard = hear(ask(&client)).await;
    assert_eq!(heard.text(), TEXT, "{}", heard.story());
    let who: Vec<_> = heard.report.attempts.iter().map(|a| (&*a.upstream, a.free)).collect();
    assert_eq!(who, [("one", false), ("two", false)]);
}

/// An upstream that fails, and no breaker.
fn down() -> (Memory, Policy) {
    let memory = Memory::new(Script::new().forever(|_| Exchange::reply(StatusCode::BAD_GATEWAY)));
    (memory, quick().breaker(BreakerPolicy::new().failures(0)))
}

#[tokio::test(start_paused = true)]
async fn a_second_brings_one_retry() {
    let (memory, policy) = down();
    let client = builder(&memory).policy(policy).budget(Budget::new(1, 1, 0.0)).build().unwrap();
    for (wait, attempts) in [(0, 2), (500, 1), (500, 2), (5000, 2)] {
        tokio::time::advance(Duration::from_millis(wait)).await;
        assert_eq!(hear(ask(&client)).await.report.attempts.len(), attempts, "after {wait} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn five_replies_bring_one_retry() {
    let (memory, policy) = down();
    let client = builder(&memory).policy(policy).budget(Budget::new(1, 0, 0.2)).build().unwrap();
    for (nth, attempts) in [2, 1, 1, 1, 1, 2, 1].into_iter().enumerate() {
        assert_eq!(hear(ask(&client)).await.report.attempts.len(), attempts, "reply {nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_dead_is_replaced_for_nothing() {
    let memory = Memory::new(
        Script::new()
            .exchange(Exchange::headless(End::Stale))
            .forever(|r| model().respond(&r.json())),
    );
    let client = builder(&memory).budget(Budget::new(0, 0, 0.0)).build().unwrap();
    let heard = hear(ask(&client)).await;
    assert_eq!(heard.text(), TEXT, "{}", heard.story());
}

/// The breaker is asked first.
#[tokio::test(start_paused = true)]
async fn what_the_breaker_refuses_draws_on_no_budget() {
    let (memory, policy) = down();
    // Two calls that fail open it, so the second retry is refused.
    let policy = policy.breaker(BreakerPolicy::new().minimum(2));
    let client = builder(&memory).policy(policy).budget(Budget::new(2, 0, 0.0)).build().unwrap();
    assert_eq!(hear(ask(&client)).await.report.attempts.len(), 2);
    // One retry is left, for another model at the same upstream.
    let other = client.with_chain([one().model("another")]).unwrap();
    assert_eq!(hear(ask(&other)).await.report.attempts.len(), 2);
    let third = client.with_chain([one().model("a third")]).unwrap();
    assert_eq!(hear(ask(&third)).await.report.attempts.len(), 1);
}
