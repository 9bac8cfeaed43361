//! What the fuzz targets found, as tests with names.

#[allow(unreachable_pub)]
mod support;

use http::Uri;
use serde_json::json;
use support::{Run, run};
use unbroken::dialect::{Anthropic, OpenAiChat};
use unbroken::engine::{Plan, Refusal};
use unbroken::policy::{Delivery, Policy};
use unbroken::testing::{End, Exchange, Fault, Model};
use unbroken::{ErrorKind, Event, Resume, Upstream};

fn plan(policy: Policy) -> Plan {
    let uri = Uri::from_static("https://api.anthropic.com/v1/messages");
    let request = json!({
        "model": "claude-haiku-4-5",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "Go."}],
    });
    let mut plan = Plan::new(request, vec![Upstream::new("a", Anthropic, uri)]);
    plan.policy = policy.into();
    plan
}

/// A body in pieces of `size` bytes to a plan that tries once.
fn chat_in_pieces(body: &str, size: usize) -> Run {
    let uri = Uri::from_static("https://api.openai.com/v1/chat/completions");
    let request = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Go."}]});
    let mut plan = Plan::new(request, vec![Upstream::new("o", OpenAiChat, uri)]);
    plan.policy = Policy::new().max_attempts(1).into();
    run(plan, |_, _| {
        Exchange::stream(body.to_owned()).pieces_of(size)
    })
}

/// What has been delivered is not taken back when there is no attempt left to say it anew.
#[test]
fn nothing_is_taken_back_without_an_attempt_to_begin_again() {
    let policy = Policy::new()
        .delivery(Delivery::Retractable)
        .max_attempts(2);
    let mut plan = plan(policy);
    let better = [Resume::Prefill, Resume::Instruct, Resume::Quote];
    plan.refused = better
        .map(|rung| Refusal::new("a", "claude-haiku-4-5", rung))
        .into();
    let first = Model::anthropic("The sky is blue because short waves scatter more.");
    let other = Model::anthropic("Because of the light.");
    let length = first.whole().body().len();
    let run = run(plan, |request, attempt| match attempt.id.get() {
        1 => first.respond(request).fault(Fault::Cut {
            at: length / 2,
            end: End::Reset,
        }),
        _ => other.respond(request),
    });
    assert_eq!(run.report.attempts.len(), 2);
    assert!(run.result.is_err());
    assert!(!run.text().is_empty());
    let rewound = |event: &Event| matches!(event, Event::Rewind(_));
    assert!(!run.events.iter().any(rewound));
}

/// A blank before a field's name makes it another field, however the two arrive.
#[test]
fn a_blank_at_the_beginning_is_part_of_its_line() {
    let body =
        " data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\n";
    for size in [1, 2, body.len()] {
        assert_eq!(chat_in_pieces(body, size).text(), "", "{size} bytes");
    }
}

/// A body that is JSON behind a byte order mark is an error, also where the mark comes in pieces.
#[test]
fn a_mark_in_pieces_is_a_mark() {
    let body = "\u{feff}{\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}";
    let whole = chat_in_pieces(body, body.len()).result.unwrap_err();
    for size in [1, 2, 4] {
        let error = chat_in_pieces(body, size).result.unwrap_err();
        assert_eq!(error.cut(), whole.cut(), "{size} bytes");
    }
}

/// Law *Bound*: blocks without content and notes without end are content too.
#[test]
fn nothing_grows_without_end() {
    let start =
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hi"}}"#;
    let empty =
        r#"{"type":"content_block_start","index":7,"content_block":{"type":"text","text":""}}"#;
    let note = r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"cited_text":"x"}}}"#;
    for (name, endless) in [("blocks", empty), ("notes", note)] {
        let mut body = format!("data: {start}\n\n");
        body.push_str(&format!("data: {endless}\n\n").repeat(2000));
        let policy = Policy::new().max_attempts(1).answer_max(20_000);
        let run = run(plan(policy), |_, _| {
            Exchange::stream(body.clone()).ends(End::Stall)
        });
        let error = run.result.expect_err("it does not end");
        assert_eq!(error.kind(), ErrorKind::OverLimit, "{name}");
    }
}
