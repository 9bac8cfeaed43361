//! The retry budget: whom it stops, and whom it never does.

use http::StatusCode;
use unbroken::ErrorKind;
use unbroken::policy::Budget;
use unbroken::testing::{End, Exchange, Fault, Memory, Script};

use super::sockets::{Heard, Wire, hear};
use super::{TEXT, ask, builder, flaky, length, model, one};

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
