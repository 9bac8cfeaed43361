//! Addresses, outlines, request shapes for every rung, and turns for a history.

use http::Uri;
use serde_json::{Value, json};

use super::super::super::{Capabilities, Dialect, InvalidRequest, Rewrite, Wording, trace};
use super::super::Gemini;
use crate::event::{Annotation, Echo, PartKind, Resume};
use crate::seam::Expect;
use crate::transcript::Transcript;

fn known(continues: bool) -> Capabilities {
    Gemini.capabilities("", if continues { "gemini-2.5-flash" } else { "gemini-3.6-flash" })
}

#[test]
fn addresses() {
    let base = "https://h.example/v1beta/models/";
    for (address, model, goes_to) in [
        ("m:streamGenerateContent?alt=sse", None, Some("m:streamGenerateContent?alt=sse")),
        ("m:streamGenerateContent", None, Some("m:streamGenerateContent?alt=sse")),
        ("m:streamGenerateContent?key=k", None, Some("m:streamGenerateContent?key=k&alt=sse")),
        ("m:streamGenerateContent?alt=json", None, Some("m:streamGenerateContent?alt=json")),
        ("m:generateContent", Some("n"), Some("n:generateContent")),
        ("m:streamGenerateContent", Some("models/n"), Some("n:streamGenerateContent?alt=sse")),
        ("gateway", None, Some("gateway")),
        ("gateway", Some("n"), None),
    ] {
        let uri: Uri = format!("{base}{address}").parse().expect("an address");
        let there = Gemini.address(&uri, model, true).map(|uri| uri.to_string());
        assert_eq!(there, goes_to.map(|rest| format!("{base}{rest}")), "{address} {model:?}");
    }
    let whole = format!("{base}m:streamGenerateContent?key=k").parse().expect("an address");
    assert_eq!(Gemini.address(&whole, None, false), Some(whole), "an array is asked for");
    let vertex = "https://h.example/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:streamGenerateContent";
    let model = Gemini.model_in(&vertex.parse().expect("an address"));
    assert_eq!(model.as_deref(), Some("gemini-2.5-pro"));
    assert_eq!(Gemini.model_in(&"http://h.example/gateway".parse().expect("an address")), None);
}

#[test]
fn nothing_is_added_to_a_request() {
    assert_eq!(Gemini.fields(Some("m"), true), []);
    for (request, checked) in [
        (json!({ "contents": [] }), Ok(())),
        (json!({ "contents": "x" }), Err(InvalidRequest::WrongType("contents"))),
        (json!({ "messages": [] }), Err(InvalidRequest::Missing("contents"))),
        (json!([]), Err(InvalidRequest::NotAnObject)),
    ] {
        assert_eq!(Gemini.check(&request), checked, "{request}");
    }
}

#[test]
fn what_a_request_says() {
    let outline = Gemini.outline(&json!({ "generationConfig": {
        "candidateCount": 3, "stopSequences": ["a", "b"], "maxOutputTokens": 7,
    } }));
    assert_eq!((outline.choices, outline.max_tokens, outline.stops.len()), (3, Some(7), 2));
    let outline = Gemini.outline(&json!({ "generation_config": { "max_output_tokens": 7 } }));
    assert_eq!((outline.choices, outline.max_tokens, outline.reasoning), (1, Some(7), false));
    for (thinking, reasoning) in [
        (json!({ "includeThoughts": true }), true),
        (json!({ "thinkingBudget": 512 }), true),
        (json!({ "thinkingBudget": -1 }), true),
        (json!({ "thinkingBudget": 0, "includeThoughts": true }), false),
        (json!({ "thinkingLevel": "low" }), true),
        (json!({ "includeThoughts": false }), false),
        (json!(null), false),
    ] {
        let request = json!({ "generationConfig": { "thinkingConfig": thinking } });
        assert_eq!(Gemini.outline(&request).reasoning, reasoning, "{request}");
    }
}

fn said(text: &str) -> Transcript {
    trace::transcript(&[(PartKind::Text, text)])
}

#[test]
fn rungs() {
    use Resume::{Align, Instruct, Prefill, Quote};
    let (all, noted) = (vec![Prefill, Instruct, Quote, Align], vec![Instruct, Quote, Align]);
    for (config, rungs) in [
        (json!({}), all.clone()),
        (json!({ "responseMimeType": "text/plain", "responseModalities": ["TEXT"] }), all),
        (json!({ "thinkingConfig": { "thinkingLevel": "high" } }), noted.clone()),
        (json!({ "responseMimeType": "application/json" }), vec![Align]),
        (json!({ "response_mime_type": "application/json" }), vec![Align]),
        (json!({ "responseSchema": {} }), vec![Align]),
        (json!({ "responseJsonSchema": {} }), vec![Align]),
        (json!({ "responseModalities": ["TEXT", "IMAGE"] }), vec![Align]),
        (json!({ "candidateCount": 2 }), vec![]),
    ] {
        let request = json!({ "contents": [], "generationConfig": config });
        assert_eq!(Gemini.resumes(&request, &said("Hi"), &known(true)), rungs, "{request}");
    }
    let forced = json!({ "toolConfig": { "functionCallingConfig": { "mode": "ANY" } } });
    assert_eq!(Gemini.resumes(&forced, &said("Hi"), &known(true)), noted);
    assert_eq!(Gemini.resumes(&json!({}), &said("Hi"), &known(false)), noted);
    assert_eq!(Gemini.resumes(&json!({}), &said("\n"), &known(true)), [Align]);
}

fn rewritten(request: &Value, transcript: &Transcript, by: Resume) -> (Value, Expect) {
    let wording = Wording::default().with_instruct("I:{anchor}").with_quote("Q:{partial}");
    let known = known(true);
    let context = Rewrite { spent: Some(3), ..Rewrite::new(&known, &wording) };
    let next = Gemini.rewrite(request, transcript, by, &context).expect("the rung is there");
    (next.request, next.expect)
}

#[test]
fn turns_are_appended_and_the_limit_is_lowered() {
    let user = |text: &str| json!({ "role": "user", "parts": [{ "text": text }] });
    let model = |text: &str| json!({ "role": "model", "parts": [{ "text": text }] });
    let request = json!({
        "contents": [user("q")], "generationConfig": { "temperature": 1, "maxOutputTokens": 10 },
    });
    for (by, contents, limit) in [
        (Resume::Prefill, json!([user("q"), model("Hi you")]), 7),
        (Resume::Instruct, json!([user("q"), model("Hi you"), user("I:Hi you")]), 7),
        (Resume::Quote, json!([user("q"), user("Q:Hi you")]), 7),
        (Resume::Align, json!([user("q")]), 10),
    ] {
        let (next, expect) = rewritten(&request, &said("Hi you \n"), by);
        let config = json!({ "temperature": 1, "maxOutputTokens": limit });
        assert_eq!(next, json!({ "contents": contents, "generationConfig": config }), "{by:?}");
        let expected = match by {
            Resume::Prefill => Expect::Literal { sent: 6, echo: Echo::Never },
            Resume::Align => Expect::Align,
            _ => Expect::Anchor { sent: 6, anchor: "Hi you".into() },
        };
        assert_eq!(expect, expected);
    }
    // The caller's own beginning is gone on with; the budget of thoughts lies within the limit.
    let own = json!({ "contents": [user("q"), model("A:")] });
    assert_eq!(rewritten(&own, &said(" b"), Resume::Prefill).0["contents"][1], model("A: b"));
    let thinking = json!({ "contents": [], "generation_config": {
        "max_output_tokens": 100, "thinking_config": { "thinking_budget": 98 } } });
    let next = rewritten(&thinking, &said("Hi"), Resume::Quote).0;
    assert_eq!(next["generation_config"]["max_output_tokens"], 99);
}

#[test]
fn signatures_are_put_back_on_their_parts() {
    let call = PartKind::ToolCall { id: "i".into(), name: "f".into() };
    let unnamed = PartKind::ToolCall { id: "".into(), name: "g".into() };
    let code = r#"{"executableCode":{"code":"1"},"thoughtSignature":"C"}"#;
    let mut transcript = trace::transcript(&[
        (PartKind::Reasoning, "unsigned"),
        (PartKind::Reasoning, "signed"),
        (PartKind::Text, "Hi "),
        (PartKind::Opaque { name: "executableCode".into() }, code),
        (PartKind::Opaque { name: "container".into() }, r#"{"type":"container"}"#),
        (call, "{\"k\":1}"),
        (unnamed, ""),
    ]);
    for (part, signature) in [(1, "R"), (2, "T"), (5, "F")] {
        trace::annotate(&mut transcript, part, Annotation::Signature(signature.into()));
    }
    trace::annotate(&mut transcript, 2, Annotation::Citation("{}".into()));
    let parts = json!([
        { "text": "signed", "thought": true, "thoughtSignature": "R" },
        { "text": "Hi ", "thoughtSignature": "T" },
        { "executableCode": { "code": "1" }, "thoughtSignature": "C" },
        { "functionCall": { "id": "i", "name": "f", "args": { "k": 1 } }, "thoughtSignature": "F" },
        { "functionCall": { "name": "g", "args": {} } },
    ]);
    assert_eq!(Gemini.message(&transcript), json!({ "role": "model", "parts": parts }));
}
