//! A key for each attempt, where the upstream asks for it: in virtual time, in every wire format.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::json;
use support::run;
use support::subjects::{Scenario, Wire};
use unbroken::engine::{IDEMPOTENCY_KEY, Plan};
use unbroken::testing::{Answer, Deltas, End, Exchange, Fault, Model};
use unbroken::{Resume, Upstream};

fn model(wire: Wire) -> Model {
    wire.says(Answer::new().text("One answer over however many connections."), Deltas::Chars(3))
}

fn upstream(wire: Wire, name: &str) -> Upstream {
    wire.at(name, "https://api.example", wire.usual()).model(wire.usual())
}

fn keyed(wire: Wire, name: &str) -> Upstream {
    upstream(wire, name).idempotency_header(IDEMPOTENCY_KEY)
}

/// The method of each attempt and what it has in `name`; all but the last are cut or turned away.
fn sent(wire: Wire, plan: Plan, name: &HeaderName) -> Vec<(Method, Option<String>)> {
    let mut sent = Vec::new();
    run(plan, |request, attempt| {
        let headers = &attempt.request.headers();
        assert!(headers.get_all(name).iter().count() <= 1);
        let value = headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        sent.push((attempt.request.method().clone(), value));
        match attempt.id.get() {
            1 => Exchange::reply(StatusCode::TOO_MANY_REQUESTS),
            // What it was before it broke, after the retry.
            2 | 3 => {
                let whole = model(wire).respond(request);
                let at = whole.body().len() * 3 / 4;
                whole.fault(Fault::Cut { at, end: End::Reset })
            }
            4 => Exchange::reply(StatusCode::UNAUTHORIZED),
            _ => model(wire).respond(request),
        }
    });
    sent
}

fn keys(wire: Wire, chain: Vec<Upstream>, seed: u64) -> Vec<Option<String>> {
    let mut plan = Plan::new(wire.request(), chain);
    plan.seed = seed;
    sent(wire, plan, &IDEMPOTENCY_KEY).into_iter().map(|(_, key)| key).collect()
}

#[test]
fn it_is_off_by_default() {
    for wire in Wire::ALL {
        let keys = keys(wire, vec![upstream(wire, "one"), upstream(wire, "two")], 1);
        assert!(keys.len() >= 4 && keys.iter().all(Option::is_none), "{wire:?}: {keys:?}");
    }
}

#[test]
fn every_attempt_has_a_key_of_its_own() {
    for wire in Wire::ALL {
        let chain = || vec![keyed(wire, "one"), keyed(wire, "two")];
        let first = keys(wire, chain(), 1);
        assert!(first.len() >= 4, "{wire:?}: {first:?}");
        let all = [first.clone(), keys(wire, chain(), 2)].concat();
        for (at, key) in all.iter().enumerate() {
            let key = key.as_ref().unwrap();
            assert!(key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
            assert!(!all[at + 1..].contains(&Some(key.clone())), "{wire:?}: {all:?}");
        }
        // The engine has no dice.
        assert_eq!(first, keys(wire, chain(), 1));
    }
}

#[test]
fn only_upstreams_that_ask_for_it_get_one() {
    let wire = Wire::Anthropic;
    let keys = keys(wire, vec![keyed(wire, "one"), upstream(wire, "two")], 1);
    assert!(keys.first().unwrap().is_some() && keys.last().unwrap().is_none(), "{keys:?}");
}

#[test]
fn the_header_may_have_another_name() {
    let (wire, name) = (Wire::OpenAiChat, HeaderName::from_static("x-request-key"));
    let plan =
        || Plan::new(wire.request(), [upstream(wire, "one").idempotency_header(name.clone())]);
    assert!(sent(wire, plan(), &name).iter().all(|(_, key)| key.is_some()));
    assert!(sent(wire, plan(), &IDEMPOTENCY_KEY).iter().all(|(_, key)| key.is_none()));
}

/// One key for all attempts would have a continuation answered with what was cut.
#[test]
fn it_takes_the_place_of_a_header_that_all_attempts_share() {
    for wire in Wire::ALL {
        let fixed = |upstream: Upstream| {
            upstream.header(IDEMPOTENCY_KEY, HeaderValue::from_static("fixed"))
        };
        let kept = keys(wire, vec![fixed(upstream(wire, "one"))], 1);
        assert!(kept.iter().all(|key| key.as_deref() == Some("fixed")), "{wire:?}: {kept:?}");
        let replaced = keys(wire, vec![fixed(keyed(wire, "one"))], 1);
        let is_own = |key: &Option<String>| key.as_ref().is_some_and(|key| key != "fixed");
        assert!(replaced.iter().all(is_own), "{wire:?}: {replaced:?}");
    }
}

#[test]
fn what_fetches_a_kept_answer_has_none() {
    for wire in Wire::ALL.into_iter().filter(|wire| wire.runs(Scenario::Cursor)) {
        let mut request = wire.request();
        request["background"] = json!(true);
        let fixed = HeaderValue::from_static("fixed");
        let upstream = keyed(wire, "one").header(IDEMPOTENCY_KEY, fixed);
        let mut methods = Vec::new();
        run(Plan::new(request, [upstream]), |request, attempt| {
            let headers = attempt.request.headers();
            let posts = attempt.request.method() == Method::POST;
            assert_eq!(headers.contains_key(IDEMPOTENCY_KEY), posts, "{wire:?}");
            methods.push((attempt.by, posts));
            if !posts {
                return Exchange::reply(StatusCode::NOT_FOUND);
            }
            let whole = model(wire).respond(request);
            let at = whole.body().len() * 3 / 4;
            if attempt.by.is_none() {
                whole.fault(Fault::Cut { at, end: End::Reset })
            } else {
                whole
            }
        });
        assert!(methods.contains(&(Some(Resume::Cursor), false)), "{wire:?}: {methods:?}");
    }
}

#[test]
fn requests_that_are_not_streamed_have_one_too() {
    for wire in Wire::ALL {
        let mut plan = Plan::new(wire.request(), [keyed(wire, "one")]);
        plan.head_only = true;
        let mut keys = Vec::new();
        run(plan, |_, attempt| {
            keys.push(attempt.request.headers().get(IDEMPOTENCY_KEY).cloned());
            let status = if attempt.id.get() < 3 { 503 } else { 200 };
            Exchange::reply(StatusCode::from_u16(status).unwrap())
        });
        assert!(keys.len() == 3 && keys.iter().all(Option::is_some), "{wire:?}: {keys:?}");
        assert!(keys[0] != keys[1] && keys[1] != keys[2]);
    }
}
