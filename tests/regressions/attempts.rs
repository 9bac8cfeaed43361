//! Attempts that were made, counted or paid for wrongly.

use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use unbroken::dialect::{Declared, Prefill};
use unbroken::engine::{Input, Output, Plan, Recovery, Refusal};
use unbroken::policy::{Delivery, Policy, ToolDelivery};
use unbroken::testing::{End, Exchange, Fault, Model};
use unbroken::{ErrorKind, Event, Resume};

use crate::support::{Run, run};
use crate::{
    SAID, block, block_stop, chat, claude, cut, delta, gpt, kind, messages, plan, rejection,
    request, text, whole,
};

/// One upstream that is said to take a prefill.
fn prefilled() -> Plan {
    let upstream = gpt("one").declare(Declared::new().prefill(Prefill::Trailing));
    plan(request(), vec![upstream], Policy::new())
}

fn ladder(run: &Run) -> Vec<Option<Resume>> {
    let attempts = run.report.attempts.iter();
    attempts.map(|attempt| attempt.by).collect()
}

fn rewound(run: &Run) -> bool {
    let rewind = |event: &Event| matches!(event, Event::Rewind(_));
    run.events.iter().any(rewind)
}

/// Every continuation that met a dead idle connection was replaced for nothing, without an end.
#[test]
fn a_dead_idle_connection_is_replaced_for_nothing_once_in_continuations_too() {
    let stale = || Exchange::headless(End::Stale);
    let always = run(chat(Policy::new()), |_, attempt| match attempt.id.get() {
        1 => cut(SAID),
        _ => stale(),
    });
    let now_and_then = run(chat(Policy::new()), |_, attempt| match attempt.id.get() % 2 {
        1 => Exchange::stream(text(SAID)),
        _ => stale(),
    });
    for run in [always, now_and_then] {
        let free = run.report.attempts.iter().filter(|attempt| attempt.free);
        assert_eq!((run.result.is_err(), free.count()), (true, 1));
    }
}

/// Rungs that were refused counted as attempts without progress, and none was left for the good one.
#[test]
fn refused_rungs_do_not_use_up_the_attempts_without_progress() {
    let run = run(prefilled(), |_, attempt| match attempt.id.get() {
        1 => cut(SAID),
        2 | 3 => rejection(400, json!({"message": "nope"})),
        4 => Exchange::stream("").reset(),
        _ => whole(&format!("{SAID} The end.")),
    });
    assert_eq!(run.text(), format!("{SAID} The end."));
}

/// The caller was told of the refusal of a request that was not the caller's.
#[test]
fn the_refusal_of_a_continuation_is_not_the_error_of_the_reply() {
    for refusal in [
        json!({"message": "nope"}),
        json!({
            "message": "This model's maximum context length is 8192 tokens",
            "code": "context_length_exceeded",
        }),
    ] {
        let run = run(chat(Policy::new()), |_, attempt| match attempt.id.get() {
            1 => cut(SAID),
            _ => rejection(400, refusal.clone()),
        });
        assert_eq!(kind(&run), ErrorKind::Reset, "{refusal}");
        assert!(run.result.unwrap_err().rejection().is_none(), "{refusal}");
    }
}

/// A crash that talked of prefill was taken for a refusal, and the rung was given up for it.
#[test]
fn a_server_error_about_prefill_is_no_refusal_of_it() {
    let message = "This model does not support assistant message prefill.";
    let run = run(prefilled(), |_, attempt| match attempt.id.get() {
        1 => cut(SAID),
        2 => rejection(500, json!({"message": message})),
        _ => whole(" The end."),
    });
    let by = Some(Resume::Prefill);
    assert_eq!(ladder(&run), [None, by, by]);
    assert_eq!(run.text(), format!("{SAID} The end."));
}

/// What was delivered was taken back for an account that can ask for nothing else either.
#[test]
fn a_refused_account_takes_nothing_back() {
    let policy = Policy::new().delivery(Delivery::Retractable);
    let run = run(chat(policy), |_, attempt| match attempt.id.get() {
        1 => cut(SAID),
        _ => rejection(401, json!({"message": "bad key"})),
    });
    assert_eq!(kind(&run), ErrorKind::Authentication);
    assert_eq!((run.text().as_str(), rewound(&run)), (SAID, false));
}

/// What was delivered was taken back with no attempt left to say it anew.
#[test]
fn nothing_is_taken_back_without_an_attempt_to_begin_again() {
    let policy = Policy::new().delivery(Delivery::Retractable).max_attempts(2);
    let mut plan = plan(request(), vec![claude("one")], policy);
    let better = [Resume::Prefill, Resume::Instruct, Resume::Quote];
    plan.refused = better.map(|rung| Refusal::new("one", "m", rung)).into();
    let first = Model::anthropic("The sky is blue because short waves scatter more.");
    let other = Model::anthropic("Because of the light.");
    let half = first.whole().body().len() / 2;
    let run = run(plan, |request, attempt| match attempt.id.get() {
        1 => first.respond(request).fault(Fault::reset_at(half)),
        _ => other.respond(request),
    });
    assert_eq!(ladder(&run), [None, Some(Resume::Align)]);
    assert!(run.result.is_err());
    assert_eq!((run.text().is_empty(), rewound(&run)), (false, false));
}

/// Pieces of a call that was never whole counted as progress where they were delivered live.
#[test]
fn pieces_of_a_call_are_no_progress() {
    let function = json!({"name": "f", "arguments": "{\"a\":"});
    let call = delta(json!({"tool_calls": [{"index": 0, "id": "c", "function": function}]}));
    let requests = [ToolDelivery::Whole, ToolDelivery::Live].map(|tools| {
        let run =
            run(chat(Policy::new().tools(tools)), |_, _| Exchange::stream(call.clone()).reset());
        run.requests.len()
    });
    assert_eq!(requests, [3, 3]);
}

/// A server's call whose result never came counted as progress.
#[test]
fn a_server_call_without_its_result_is_no_progress() {
    let call = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}});
    let run = run(messages(Policy::new()), |_, _| {
        Exchange::stream(block(0, call.clone(), &[]) + &block_stop(0)).reset()
    });
    assert_eq!((kind(&run), run.requests.len()), (ErrorKind::Reset, 3));
}

/// `x-should-retry: true` was not heeded where the status alone speaks against a retry.
#[test]
fn a_provider_that_asks_for_a_retry_of_a_403_gets_one() {
    let asks = HeaderName::from_static("x-should-retry");
    let run = run(chat(Policy::new()), |_, attempt| match attempt.id.get() {
        1 => Exchange::reply(StatusCode::FORBIDDEN)
            .header(asks.clone(), HeaderValue::from_static("true")),
        _ => whole("Here."),
    });
    assert_eq!((run.text().as_str(), run.requests.len()), ("Here.", 2));
}

/// What replaced a denied attempt was free, and one request more went out than allowed.
#[test]
fn what_replaces_a_denied_attempt_is_counted() {
    let policy = Policy::new().max_attempts(2);
    let plan = plan(request(), vec![gpt("one"), gpt("two")], policy);
    assert_eq!(tried(plan, 2), ["one", "one", "two"]);
}

/// Who was tried where every answer is empty and attempt number `denied` is not allowed.
fn tried(plan: Plan, denied: u32) -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "an instant to start from; time is virtual")]
    let mut now = Instant::now();
    let mut engine = Recovery::new(plan, now).unwrap();
    let mut tried = Vec::new();
    while tried.len() < 10 {
        match engine.poll_output() {
            Output::Open(attempt) => {
                let id = attempt.id;
                tried.push(attempt.upstream.to_string());
                if id.get() == denied {
                    engine.handle_input(now, Input::Denied { id });
                    continue;
                }
                let (status, headers) = (StatusCode::OK, HeaderMap::new());
                let head = Input::Head { id, status, headers };
                engine.handle_input(now, head);
                engine.handle_input(now, Input::End { id, error: None });
            }
            Output::Wait { until, .. } => {
                now = until.expect("a wait for something").max(now);
                engine.handle_input(now, Input::Tick);
            }
            Output::Done(_) => break,
            _ => {}
        }
    }
    tried
}
