//! Request shapes for every rung, and turns for a history.

use serde_json::{Value, json};

use super::super::super::{Cursor, Dialect, InvalidRequest, Rewrite, Unresumable, Wording, trace};
use super::super::OpenAiResponses;
use crate::error::ErrorKind;
use crate::event::{Annotation, PartKind, Resume};
use crate::seam::Expect;
use crate::transcript::Transcript;

#[test]
fn what_a_request_says() {
    let outline = OpenAiResponses.outline(&json!({
        "model": "m", "max_output_tokens": 7, "reasoning": { "effort": "low" }, "stop": "x",
    }));
    assert_eq!((&*outline.model, outline.choices, outline.max_tokens), ("m", 1, Some(7)));
    assert_eq!((outline.reasoning, outline.stops.len()), (true, 0));
    for request in [
        json!({}),
        json!({ "reasoning": { "effort": "none" } }),
        json!({ "reasoning": { "summary": "auto" } }),
    ] {
        assert!(!OpenAiResponses.outline(&request).reasoning, "{request}");
    }
    for (request, wrong) in [
        (json!([]), Some(InvalidRequest::NotAnObject)),
        (json!({}), Some(InvalidRequest::Missing("input"))),
        (json!({ "input": 7 }), Some(InvalidRequest::WrongType("input"))),
        (json!({ "input": "q", "stream": false }), Some(InvalidRequest::NotStreaming)),
        (json!({ "input": "q", "model": 7 }), Some(InvalidRequest::WrongType("model"))),
        (json!({ "input": "q" }), None),
        (json!({ "input": [], "model": "m", "stream": true }), None),
        (json!({ "prompt": { "id": "p" } }), None),
        (json!({ "previous_response_id": "r" }), None),
    ] {
        assert_eq!(OpenAiResponses.check(&request).err(), wrong, "{request}");
    }
}

fn said(text: &str) -> Transcript {
    trace::transcript(&[(PartKind::Text, text)])
}

#[test]
fn rungs() {
    use Resume::{Align, Cursor, Instruct, Quote};
    let known = OpenAiResponses.capabilities("api.openai.com", "gpt-4o");
    for (request, rungs) in [
        (json!({}), vec![Instruct, Quote, Align]),
        (json!({ "text": { "format": { "type": "text" } } }), vec![Instruct, Quote, Align]),
        (json!({ "text": { "format": { "type": "json_schema" } } }), vec![Align]),
        (json!({ "conversation": "conv_1" }), vec![Align]),
        (json!({ "background": true }), vec![Cursor, Instruct, Quote, Align]),
        (json!({ "background": false }), vec![Instruct, Quote, Align]),
    ] {
        assert_eq!(OpenAiResponses.resumes(&request, &said("Hi"), &known), rungs, "{request}");
    }
    let call = PartKind::ToolCall { id: "c".into(), name: "f".into() };
    let called = trace::transcript(&[(call, "{}")]);
    assert_eq!(OpenAiResponses.resumes(&json!({}), &called, &known), []);
    assert_eq!(OpenAiResponses.resumes(&json!({ "background": true }), &called, &known), [Cursor]);
}

fn rewritten(request: &Value, transcript: &Transcript, by: Resume) -> (Value, Expect) {
    let known = OpenAiResponses.capabilities("", "");
    let wording = Wording::default().with_instruct("I:{anchor}").with_quote("Q:{partial}");
    let context = Rewrite { spent: Some(3), ..Rewrite::new(&known, &wording) };
    let next = OpenAiResponses.rewrite(request, transcript, by, &context);
    let next = next.expect("the rung is there");
    assert_eq!(next.replay, None);
    (next.request, next.expect)
}

#[test]
fn notes_are_appended_as_items() {
    let turn =
        json!({ "role": "assistant", "content": [{ "type": "output_text", "text": "Hi you" }] });
    let (asked, note) = (
        json!({ "role": "user", "content": "q" }),
        json!({ "role": "user", "content": "I:Hi you" }),
    );
    for (input, items) in [
        (json!("q"), json!([asked, turn, note])),
        (json!([asked]), json!([asked, turn, note])),
        (Value::Null, json!([turn, note])),
    ] {
        let request = json!({ "model": "m", "input": input, "max_output_tokens": 100 });
        let (next, expect) = rewritten(&request, &said("Hi you \n"), Resume::Instruct);
        assert_eq!(next, json!({ "model": "m", "input": items, "max_output_tokens": 97 }));
        assert_eq!(expect, Expect::Anchor { sent: 6, anchor: "Hi you".into() });
    }
    let request = json!({ "input": "q", "max_output_tokens": 17 });
    let (next, _) = rewritten(&request, &said("Hi"), Resume::Quote);
    let quoted = json!({ "role": "user", "content": "Q:Hi" });
    assert_eq!(next, json!({ "input": [asked, quoted], "max_output_tokens": 16 }));
    assert_eq!(rewritten(&request, &said("Hi"), Resume::Align).0, request);
}

#[test]
fn a_replay_needs_a_place_that_is_a_word() {
    let (known, wording) = (OpenAiResponses.capabilities("", ""), Wording::default());
    let request = json!({ "input": "q", "background": true });
    let rewrite = |cursor: Option<&Cursor>| {
        let context = Rewrite { cursor, ..Rewrite::new(&known, &wording) };
        OpenAiResponses.rewrite(&request, &said("Hi \n"), Resume::Cursor, &context)
    };
    let next = rewrite(Some(&Cursor::new("resp_1", "7"))).expect("a place");
    let address =
        next.replay.expect("a replay").address(&"https://a/v1/responses".parse().unwrap());
    assert_eq!(address, "https://a/v1/responses/resp_1?stream=true&starting_after=7");
    assert_eq!(next.expect, Expect::Rest);
    assert_eq!(rewrite(None), Err(Unresumable));
    assert_eq!(rewrite(Some(&Cursor::new("../files", "7"))), Err(Unresumable));
}

#[test]
fn a_turn_is_a_list_of_items() {
    let sealed = r#"{"type":"reasoning","id":"rs","summary":[],"encrypted_content":"e"}"#;
    let search = r#"{"type":"web_search_call","id":"ws","status":"completed","action":{}}"#;
    let run = r#"{"type":"code_interpreter_call","id":"ci","code":"1"}"#;
    let shell = r#"{"type":"local_shell_call","id":"l","call_id":"c3","action":{}}"#;
    let call = |id: &str, name: &str| PartKind::ToolCall { id: id.into(), name: name.into() };
    let mut transcript = trace::transcript(&[
        (PartKind::Reasoning, "hm"),
        (PartKind::Reasoning, "unsigned"),
        (PartKind::ServerResult { call: "ws".into() }, search),
        (PartKind::ServerResult { call: "ci".into() }, run),
        (PartKind::Text, "a"),
        (PartKind::Refusal, "b"),
        (call("c1", "f"), r#"{"x":1}"#),
        (call("c2", "sql"), r#""SELECT""#),
        (call("c3", "local_shell_call"), shell),
        (PartKind::RedactedReasoning, sealed),
    ]);
    trace::annotate(&mut transcript, 0, Annotation::Signature(sealed.into()));
    trace::annotate(&mut transcript, 4, Annotation::Citation(r#"{"url":"u"}"#.into()));
    assert_eq!(
        OpenAiResponses.message(&transcript),
        json!([
            { "type": "reasoning", "summary": [], "encrypted_content": "e" },
            { "type": "web_search_call", "action": {} },
            { "type": "code_interpreter_call", "id": "ci", "code": "1" },
            { "role": "assistant", "content": [
                { "type": "output_text", "text": "a", "annotations": [{ "url": "u" }] },
                { "type": "refusal", "refusal": "b" },
            ] },
            { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"x\":1}" },
            { "type": "custom_tool_call", "call_id": "c2", "name": "sql", "input": "SELECT" },
            { "type": "local_shell_call", "id": "l", "call_id": "c3", "action": {} },
        ])
    );
}

#[test]
fn failures() {
    let body = OpenAiResponses.failure(ErrorKind::RateLimited, Some("c"), "m");
    let error = json!({ "message": "m", "type": "rate_limit_error", "param": null, "code": "c" });
    assert_eq!(body, json!({ "error": error }));
    let frame = String::from_utf8(OpenAiResponses.failure_frame(&body).to_vec()).unwrap();
    let data = frame.strip_prefix("event: error\ndata: ").expect("its type");
    let data: Value = serde_json::from_str(data.trim()).unwrap();
    assert_eq!(
        data,
        json!({ "type": "error", "code": "c", "message": "m", "param": null, "error": error })
    );
    for (said, error) in [
        (
            r#"{"type":"error","code":"c","message":"m"}"#,
            Some(json!({ "message": "m", "param": null, "code": "c" })),
        ),
        (r#"{"type":"error","error":{"code":"c"}}"#, Some(json!({ "code": "c" }))),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"c"}}}"#,
            Some(json!({ "code": "c" })),
        ),
        (r#"{"type":"response.completed","response":{"error":null}}"#, None),
        ("x", None),
    ] {
        let found = OpenAiResponses.failure_in(said.as_bytes());
        assert_eq!(found, error.map(|error| json!({ "error": error })), "{said}");
    }
}
