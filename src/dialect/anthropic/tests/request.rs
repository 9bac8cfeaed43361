//! Request shapes for every rung, and turns for a history.

use serde_json::{Value, json};

use super::super::super::{
    Capabilities, Dialect, Echo, InvalidRequest, Prefill, Rewrite, Wording, trace,
};
use super::super::Anthropic;
use crate::event::{Annotation, FinishReason, PartKind, Resume};
use crate::seam::Expect;
use crate::transcript::Transcript;

fn known(prefill: Prefill) -> Capabilities {
    Capabilities { prefill, ..Anthropic.capabilities("", "claude-sonnet-4-5") }
}

#[test]
fn requests_that_cannot_be_streamed() {
    for (request, verdict) in [
        (json!({ "messages": [] }), Ok(())),
        (json!({ "messages": [], "stream": true, "model": "m" }), Ok(())),
        (json!([]), Err(InvalidRequest::NotAnObject)),
        (json!({}), Err(InvalidRequest::Missing("messages"))),
        (json!({ "messages": {} }), Err(InvalidRequest::WrongType("messages"))),
        (json!({ "messages": [], "model": 5 }), Err(InvalidRequest::WrongType("model"))),
        (json!({ "messages": [], "stream": 1 }), Err(InvalidRequest::WrongType("stream"))),
        (json!({ "messages": [], "stream": false }), Err(InvalidRequest::NotStreaming)),
    ] {
        assert_eq!(Anthropic.check(&request), verdict, "{request}");
    }
}

#[test]
fn what_a_request_says() {
    let request = json!({
        "model": "c", "max_tokens": 9, "thinking": { "type": "adaptive" }, "stop_sequences": ["x", ""],
    });
    let outline = Anthropic.outline(&request);
    assert_eq!((&*outline.model, outline.choices, outline.max_tokens), ("c", 1, Some(9)));
    assert_eq!((outline.reasoning, outline.stops), (true, vec!["x".into()]));
    let off = Anthropic.outline(&json!({ "thinking": { "type": "disabled" } }));
    assert!(!off.reasoning && off.model.is_empty() && off.max_tokens.is_none());
}

fn said(text: &str) -> Transcript {
    trace::transcript(&[(PartKind::Text, text)])
}

#[test]
fn rungs() {
    use Resume::{Align, Instruct, Prefill as Pre, Quote};
    let request = json!({ "messages": [] });
    let call = PartKind::ToolCall { id: "t".into(), name: "f".into() };
    let all = vec![Pre, Instruct, Quote, Align];
    let (noted, align) = (vec![Instruct, Quote, Align], vec![Align]);
    for (request, transcript, prefill, rungs) in [
        (request.clone(), said("Hi"), Prefill::Trailing, all.clone()),
        (request.clone(), said("Hi"), Prefill::None, noted.clone()),
        (request.clone(), said("Hi"), Prefill::ContinueFinalMessage, noted.clone()),
        (request.clone(), said(" \n"), Prefill::Trailing, align.clone()),
        (request.clone(), Transcript::new(), Prefill::Trailing, align.clone()),
        (
            json!({ "thinking": { "type": "enabled" } }),
            said("Hi"),
            Prefill::Trailing,
            noted.clone(),
        ),
        (json!({ "tool_choice": { "type": "any" } }), said("Hi"), Prefill::Trailing, noted.clone()),
        (json!({ "tool_choice": { "type": "auto" } }), said("Hi"), Prefill::Trailing, all),
        (json!({ "output_format": {} }), said("Hi"), Prefill::Trailing, align.clone()),
        (json!({ "output_config": { "format": {} } }), said("Hi"), Prefill::Trailing, align),
        (
            request.clone(),
            trace::transcript(&[(PartKind::Text, "Hi"), (PartKind::Reasoning, "hm")]),
            Prefill::Trailing,
            noted,
        ),
        (
            request,
            trace::transcript(&[(PartKind::Text, "Hi"), (call, "{}")]),
            Prefill::Trailing,
            vec![],
        ),
    ] {
        assert_eq!(Anthropic.resumes(&request, &transcript, &known(prefill)), rungs, "{request}");
    }
}

fn rewritten(
    request: &Value,
    transcript: &Transcript,
    by: Resume,
    spent: Option<u64>,
) -> (Value, Expect) {
    let (known, wording) = (
        known(Prefill::Trailing),
        Wording::default().with_instruct("I:{anchor}").with_quote("Q:{partial}"),
    );
    let context = Rewrite { spent, ..Rewrite::new(&known, &wording) };
    let next = Anthropic.rewrite(request, transcript, by, &context).expect("the rung is there");
    (next.request, next.expect)
}

#[test]
fn continuations() {
    let request = json!({ "temperature": 1.0, "max_tokens": 1000, "messages": [{ "role": "user", "content": "q" }], "z": [] });
    let with = |turns: Value, max: u64| {
        let mut request = request.clone();
        request["max_tokens"] = json!(max);
        let messages = request["messages"].as_array_mut().expect("a list");
        messages.extend(turns.as_array().expect("a list").clone());
        request
    };
    let turn = json!({ "role": "assistant", "content": [{ "type": "text", "text": "Hi you" }] });
    let anchor = || Expect::Anchor { sent: 6, anchor: "Hi you".into() };
    let hi = said("Hi you \n");
    assert_eq!(
        rewritten(&request, &hi, Resume::Prefill, Some(3)),
        (with(json!([turn]), 997), Expect::Literal { sent: 6, echo: Echo::Never })
    );
    let note = |text: &str| json!({ "role": "user", "content": text });
    assert_eq!(
        rewritten(&request, &hi, Resume::Instruct, Some(3)),
        (with(json!([turn, note("I:Hi you")]), 997), anchor())
    );
    assert_eq!(
        rewritten(&request, &hi, Resume::Quote, Some(3)),
        (with(json!([note("Q:Hi you")]), 997), anchor())
    );
    assert_eq!(rewritten(&request, &hi, Resume::Align, Some(3)), (request.clone(), Expect::Align));
    // Key order is the caller's.
    let (next, _) = rewritten(&request, &hi, Resume::Quote, None);
    let keys: Vec<&String> = next.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["temperature", "max_tokens", "messages", "z"]);
}

#[test]
fn a_callers_own_prefill_is_gone_on_with() {
    for (own, whole) in [
        (json!("A:"), json!([{ "type": "text", "text": "A: b" }])),
        (json!([{ "type": "text", "text": "A:" }]), json!([{ "type": "text", "text": "A: b" }])),
        (
            json!([{ "type": "text", "text": "A:", "citations": [{}] }]),
            json!([{ "type": "text", "text": "A:", "citations": [{}] }, { "type": "text", "text": " b" }]),
        ),
    ] {
        let request = json!({ "messages": [{ "role": "assistant", "content": own }] });
        let (next, expect) = rewritten(&request, &said(" b"), Resume::Prefill, None);
        assert_eq!(next["messages"], json!([{ "role": "assistant", "content": whole }]));
        assert_eq!(expect, Expect::Literal { sent: 2, echo: Echo::Never });
        let (next, _) = rewritten(&request, &said(" b"), Resume::Instruct, None);
        assert_eq!(next["messages"][0]["content"], whole);
        assert_eq!(next["messages"].as_array().map(Vec::len), Some(2));
    }
}

#[test]
fn the_token_limit_is_lowered_and_never_raised() {
    let long = "x".repeat(8_000);
    for (limit, budget, spent, lowered) in [
        (5_000, None, Some(700), 4_300),
        (5_000, None, None, 4_000),
        (1_100, None, None, 256),
        (100, None, None, 100),
        (700, None, Some(700), 1),
        (700, None, Some(9_000), 1),
        (5_000, Some(4_500), Some(700), 4_501),
        (5_000, Some(6_000), Some(700), 5_000),
    ] {
        let mut request = json!({ "messages": [], "max_tokens": limit });
        if let Some(budget) = budget {
            request["thinking"] = json!({ "type": "enabled", "budget_tokens": budget });
        }
        let (next, _) = rewritten(&request, &said(&long), Resume::Instruct, spent);
        assert_eq!(next["max_tokens"], lowered, "{limit} {budget:?} {spent:?}");
    }
    let (next, _) = rewritten(&json!({ "messages": [] }), &said("x"), Resume::Quote, Some(1));
    assert_eq!(next.get("max_tokens"), None);
}

#[test]
fn turns_for_a_history() {
    let call = |id: &str| PartKind::ToolCall { id: id.into(), name: "f".into() };
    let server = || PartKind::ServerCall { id: "s".into(), name: "g".into() };
    let result = || PartKind::ServerResult { call: "s".into() };
    let (asked, answered) =
        (r#"{"type":"server_tool_use","id":"s"}"#, r#"{"type":"x_tool_result","tool_use_id":"s"}"#);
    let text = json!({ "type": "text", "text": "Hi " });
    for (parts, content) in [
        (vec![(PartKind::Text, "Hi ")], json!([text])),
        (vec![(PartKind::Text, "\n\n"), (PartKind::Text, "Hi ")], json!([text])),
        (vec![(PartKind::Reasoning, "unsigned"), (PartKind::Text, "Hi ")], json!([text])),
        (
            vec![
                (call("a"), ""),
                (call("b"), r#"{"k":1}"#),
                (call("c"), r#"{"k"#),
                (call("d"), "[1]"),
            ],
            json!([
                { "type": "tool_use", "id": "a", "name": "f", "input": {} },
                { "type": "tool_use", "id": "b", "name": "f", "input": { "k": 1 } },
            ]),
        ),
        (vec![(server(), asked), (PartKind::Text, "Hi ")], json!([text])),
        (vec![(result(), answered), (PartKind::Text, "Hi ")], json!([text])),
        (
            vec![(server(), asked), (result(), answered)],
            json!([{ "type": "server_tool_use", "id": "s" }, { "type": "x_tool_result", "tool_use_id": "s" }]),
        ),
        (
            vec![
                (PartKind::Text, "Hi "),
                (PartKind::RedactedReasoning, r#"{"type":"redacted_thinking"}"#),
            ],
            json!([text]),
        ),
        (
            vec![
                (PartKind::RedactedReasoning, r#"{"type":"redacted_thinking"}"#),
                (PartKind::Text, "Hi "),
            ],
            json!([{ "type": "redacted_thinking" }, text]),
        ),
    ] {
        let message = Anthropic.message(&trace::transcript(&parts));
        assert_eq!(message, json!({ "role": "assistant", "content": content }), "{parts:?}");
    }
    // A paused turn goes back with its last call open.
    let mut paused = trace::transcript(&[(server(), asked)]);
    trace::finish(&mut paused, FinishReason::Pause);
    let content = json!([{ "type": "server_tool_use", "id": "s" }]);
    assert_eq!(Anthropic.message(&paused)["content"], content);
}

#[test]
fn notes_go_into_the_history() {
    let mut signed = trace::transcript(&[(PartKind::Reasoning, "hm"), (PartKind::Text, "Hi")]);
    trace::annotate(&mut signed, 0, Annotation::Signature("s=".into()));
    trace::annotate(&mut signed, 1, Annotation::Citation(r#"{"n":1}"#.into()));
    let content = json!([
        { "type": "thinking", "thinking": "hm", "signature": "s=" },
        { "type": "text", "text": "Hi", "citations": [{ "n": 1 }] },
    ]);
    assert_eq!(Anthropic.message(&signed)["content"], content);
    let (next, _) = rewritten(&json!({ "messages": [] }), &signed, Resume::Instruct, None);
    assert_eq!(next["messages"][0]["content"], content);
}

#[test]
fn partial_turns_lose_what_cannot_be_sent() {
    let fallback = PartKind::Opaque { name: "fallback".into() };
    let parts =
        [(fallback, r#"{"type":"fallback"}"#), (PartKind::Text, "a\n"), (PartKind::Text, " \n")];
    let (next, expect) =
        rewritten(&json!({ "messages": [] }), &trace::transcript(&parts), Resume::Prefill, None);
    assert_eq!(next["messages"][0]["content"], json!([{ "type": "text", "text": "a" }]));
    assert_eq!(expect, Expect::Literal { sent: 1, echo: Echo::Never });
}
