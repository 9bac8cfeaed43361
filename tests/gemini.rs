//! Gemini through the whole engine: what proves an end, what is asked after a cut, what a client of the
//! provider's own format gets.

#[path = "gemini/run.rs"]
mod run;

use http::Uri;
use run::{Body, Run, frame, signed, text};
use serde_json::{Value, json};
use unbroken::dialect::Gemini;
use unbroken::engine::Plan;
use unbroken::policy::Policy;
use unbroken::{
    Client, ConfigError, Cut, ErrorKind, FinishReason, Join, Resume, Upstream, WireOptions,
};

fn upstream(model: &str) -> Upstream {
    let address = format!("https://g.example/v1beta/models/{model}:streamGenerateContent?alt=sse");
    Upstream::new("gemini", Gemini, address.parse().expect("an address"))
}

fn request() -> Value {
    json!({
        "contents": [{ "role": "user", "parts": [{ "text": "q" }] }],
        "generationConfig": { "maxOutputTokens": 1000 },
    })
}

fn plan(model: &str) -> Plan {
    let mut plan = Plan::new(request(), vec![upstream(model)]);
    plan.policy = Policy::new().max_attempts(4).into();
    plan
}

const CONTINUES: &str = "gemini-2.5-flash";
const REFUSES: &str = "gemini-3.6-flash";

#[test]
fn an_end_is_a_reason_and_a_clean_end() {
    // The reason comes early, and text after it.
    let early = [text("One ", "STOP"), text("two.", "")];
    let run = Run::of(plan(CONTINUES), vec![Body::whole(&early)]);
    assert_eq!((run.text(), run.attempts()), ("One two.".into(), 1));
    let finish = run.transcript.finish().expect("an end");
    assert_eq!((&finish.reason, finish.inferred), (&FinishReason::Stop, false));

    // The reason alone is none: what follows it may be lost.
    let rest = Body::whole(&[text("two.", "STOP")]);
    let run = Run::of(plan(CONTINUES), vec![Body::reset(&early[..1]), rest.clone()]);
    assert_eq!((run.text(), run.attempts()), ("One two.".into(), 2));
    // Nor is a clean end, or one inside an event.
    for cut in [Body::whole(&[text("One ", "")]), Body::torn(&early)] {
        let run = Run::of(plan(CONTINUES), vec![cut, rest.clone()]);
        assert_eq!((run.text(), run.attempts()), ("One two.".into(), 2));
    }
}

#[test]
fn a_bare_error_between_the_events_is_heard() {
    let error =
        "{\n  \"error\": {\n    \"code\": 503,\n    \"status\": \"UNAVAILABLE\"\n  }\n}\n\n";
    for error in [error, error.trim_end()] {
        let cut = Body::raw(format!("{}{error}", text("One ", "STOP")));
        let mut plan = plan(CONTINUES);
        plan.policy = Policy::new().max_attempts(1).into();
        let run = Run::of(plan, vec![cut]);
        let failed = run.result.expect_err("no end");
        assert_eq!((failed.cut(), failed.kind()), (Some(Cut::Faulted), ErrorKind::Overloaded));
        assert_eq!(failed.code(), Some("UNAVAILABLE"));
    }
}

#[test]
fn a_blocked_prompt_is_not_asked_again() {
    let blocked = Body::raw("data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n".into());
    let run = Run::of(plan(CONTINUES), vec![blocked]);
    let failed = run.result.expect_err("no end");
    assert_eq!((failed.kind(), failed.code()), (ErrorKind::Policy, Some("SAFETY")));
    assert_eq!(run.requests.len(), 1);
}

#[test]
fn a_cut_answer_is_gone_on_with_by_a_model_turn() {
    let cut = Body::reset(&[text("One two ", "")]);
    let rest = Body::whole(&[text("three.", "STOP")]);
    let run = Run::of(plan(CONTINUES), vec![cut, rest]);
    assert_eq!(run.text(), "One two three.");
    let (uri, asked) = &run.requests[1];
    assert_eq!(uri.path(), format!("/v1beta/models/{CONTINUES}:streamGenerateContent"));
    let turns = json!([
        { "role": "user", "parts": [{ "text": "q" }] },
        { "role": "model", "parts": [{ "text": "One two" }] },
    ]);
    assert_eq!(asked["contents"], turns);
    assert!(asked.get("stream").is_none() && asked.get("model").is_none(), "{asked}");
    assert!(asked["generationConfig"]["maxOutputTokens"].as_u64() < Some(1000));
}

#[test]
fn where_that_is_refused_a_note_asks() {
    let cut = Body::reset(&[text("One two three four ", "")]);
    let rest = Body::whole(&[text("One two three four five.", "STOP")]);
    let run = Run::of(plan(REFUSES), vec![cut, rest]);
    assert_eq!(run.text(), "One two three four five.");
    let asked = run.requests[1].1["contents"].as_array().expect("turns").clone();
    let roles: Vec<&str> = asked.iter().filter_map(|turn| turn["role"].as_str()).collect();
    assert_eq!(roles, ["user", "model", "user"]);
    assert_eq!(run.joins(), [Join::Anchor]);

    // A model that the table knows wrongly says so, and is not asked so again.
    let cut = Body::reset(&[text("One two three four ", "")]);
    let refusal = json!({ "error": {
        "code": 400, "message": "Requests ending with a model turn are not supported.",
        "status": "INVALID_ARGUMENT",
    } });
    let rest = Body::whole(&[text("One two three four five.", "STOP")]);
    let bodies = vec![cut, Body::rejected(400, &refusal), rest];
    let run = Run::of(plan(CONTINUES), bodies);
    assert_eq!(run.text(), "One two three four five.");
    assert_eq!(run.refused, [Resume::Prefill]);
}

#[test]
fn signatures_outlast_the_way_to_the_history() {
    let call =
        frame(r#"{"functionCall":{"name":"f","args":{"k":1}},"thoughtSignature":"S"}"#, "STOP");
    let body = Body::whole(&[text("Hi", ""), signed("T"), call]);
    let run = Run::of(plan(CONTINUES), vec![body]);
    let finish = run.transcript.finish().expect("an end");
    assert_eq!(finish.reason, FinishReason::ToolUse);
    let parts = json!([
        { "text": "Hi", "thoughtSignature": "T" },
        { "functionCall": { "name": "f", "args": { "k": 1 } }, "thoughtSignature": "S" },
    ]);
    let turn = unbroken::dialect::Dialect::message(&Gemini, &run.transcript);
    assert_eq!(turn, json!({ "role": "model", "parts": parts }));
    // What another attempt said of the same text is not what was signed.
    let cut = Body::reset(&[text("Hi ", "")]);
    let run = Run::of(plan(CONTINUES), vec![cut, Body::whole(&[text("you", "STOP"), signed("T")])]);
    let turn = unbroken::dialect::Dialect::message(&Gemini, &run.transcript);
    assert_eq!(turn, json!({ "role": "model", "parts": [{ "text": "Hi you" }] }));
}

#[test]
fn a_client_sees_one_stream_of_responses() {
    let first = text("One two ", "");
    let cut = Body::reset(&[first.clone(), "data: {\"candidates\":[{\"cont".into()]);
    let rest = Body::whole(&[text("three.", ""), signed("T"), text("", "STOP")]);
    let mut plan = plan(CONTINUES);
    plan.wire = Some(WireOptions::new());
    let run = Run::of(plan, vec![cut, rest]);
    assert!(run.wire.starts_with(&first), "the first frame came as it was");
    // The official Python client reads a comment as JSON, and fails.
    assert!(
        run.wire.lines().all(|line| line.is_empty() || line.starts_with("data: ")),
        "{}",
        run.wire
    );
    let again = Run::of(self::plan(CONTINUES), vec![Body::raw(run.wire.clone())]);
    assert_eq!((again.text(), again.attempts()), ("One two three.".into(), 1));
    assert_eq!(run.wire.matches("finishReason").count(), 1);
    assert!(run.wire.contains("usageMetadata") && !run.wire.contains("[DONE]"), "{}", run.wire);
    let ids = run.wire.matches(r#""responseId":"r1""#).count();
    assert_eq!(ids, run.wire.matches("data: ").count(), "{}", run.wire);
}

/// A bare error that is healed is not the client's to hear.
#[test]
fn a_healed_error_is_not_passed_on() {
    let error =
        "{\n  \"error\": {\n    \"code\": 503,\n    \"status\": \"UNAVAILABLE\"\n  }\n}\n\n";
    let cut = Body::raw(format!("{}{error}", text("One two ", "")));
    let mut plan = plan(CONTINUES);
    plan.wire = Some(WireOptions::new());
    let run = Run::of(plan, vec![cut, Body::whole(&[text("three.", "STOP")])]);
    assert!(!run.wire.contains("error"), "{}", run.wire);
    assert_eq!(run.text(), "One two three.");
}

#[test]
fn a_model_of_the_upstreams_own_goes_into_the_address() {
    let mut plan = plan(REFUSES);
    plan.chain = vec![upstream(REFUSES).model(CONTINUES).into()].into();
    let cut = Body::reset(&[text("One ", "")]);
    let run = Run::of(plan, vec![cut, Body::whole(&[text("two.", "STOP")])]);
    assert_eq!(run.text(), "One two.");
    for (uri, asked) in &run.requests {
        assert_eq!(uri.path(), format!("/v1beta/models/{CONTINUES}:streamGenerateContent"));
        assert!(asked.get("model").is_none());
    }
    assert_eq!(&*run.models[0], CONTINUES);
    let address: Uri = "https://g.example/gateway".parse().expect("an address");
    let lost = Upstream::new("gemini", Gemini, address).model(CONTINUES);
    let refused = Client::builder().step(lost).build();
    assert_eq!(refused.err(), Some(ConfigError::ModelInAddress));
}
