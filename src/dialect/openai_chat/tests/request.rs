//! Request shapes for every rung, and turns for a history.

use serde_json::{Value, json};

use super::super::super::{
    Capabilities, Dialect, Echo, Prefill, Rewrite, Unresumable, Wording, trace,
};
use super::super::OpenAiChat;
use crate::event::{PartKind, Resume};
use crate::seam::Expect;
use crate::transcript::Transcript;

fn known(prefill: Prefill, echo: Echo) -> Capabilities {
    Capabilities { prefill, echo, ..OpenAiChat.capabilities("", "") }
}

#[test]
fn what_a_request_says() {
    let outline = OpenAiChat.outline(&json!({
        "model": "m", "n": 3, "stop": "x", "max_tokens": 5, "max_completion_tokens": 7,
    }));
    assert_eq!((&*outline.model, outline.choices, outline.max_tokens), ("m", 3, Some(7)));
    assert_eq!((outline.reasoning, outline.stops), (false, vec!["x".into()]));
    let outline = OpenAiChat.outline(&json!({ "n": 0, "stop": ["a", null, "b"], "max_tokens": 5 }));
    assert_eq!((outline.choices, outline.max_tokens), (1, Some(5)));
    assert_eq!(outline.stops, vec!["a".into(), "b".into()]);
    for (request, reasoning) in [
        (json!({ "reasoning_effort": "low" }), true),
        (json!({ "reasoning_effort": "none" }), false),
        (json!({ "reasoning": { "effort": "high" } }), true),
        (json!({ "reasoning": { "max_tokens": 5 } }), true),
        (json!({ "reasoning": { "enabled": false, "effort": "high" } }), false),
        (json!({ "reasoning": { "exclude": true } }), false),
        (json!({ "thinking": { "type": "enabled" } }), true),
        (json!({ "thinking": { "type": "disabled" } }), false),
        (json!({ "enable_thinking": true }), true),
        (json!({ "chat_template_kwargs": { "enable_thinking": true } }), true),
        (json!({ "chat_template_kwargs": { "enable_thinking": false } }), false),
    ] {
        assert_eq!(OpenAiChat.outline(&request).reasoning, reasoning, "{request}");
    }
}

fn said(text: &str) -> Transcript {
    trace::transcript(&[(PartKind::Text, text)])
}

#[test]
fn rungs() {
    use Resume::{Align, Instruct, Prefill as Pre, Quote};
    let (all, noted) = (vec![Pre, Instruct, Quote, Align], vec![Instruct, Quote, Align]);
    for (request, rungs) in [
        (json!({}), all.clone()),
        (
            json!({ "n": 1, "response_format": { "type": "text" }, "tool_choice": "auto" }),
            all.clone(),
        ),
        (
            json!({ "tool_choice": { "type": "allowed_tools", "allowed_tools": { "mode": "auto" } } }),
            all,
        ),
        (json!({ "reasoning_effort": "low" }), noted.clone()),
        (json!({ "tool_choice": "required" }), noted.clone()),
        (json!({ "tool_choice": { "type": "function" } }), noted.clone()),
        (json!({ "function_call": { "name": "f" } }), noted),
        (json!({ "response_format": { "type": "json_schema" } }), vec![Align]),
        (json!({ "response_format": { "type": "json_object" } }), vec![Align]),
        (json!({ "guided_json": {} }), vec![Align]),
        (json!({ "continue_final_message": true }), vec![Pre, Align]),
        (json!({ "messages": [{ "role": "assistant", "prefix": true }] }), vec![Pre, Align]),
        (json!({ "n": 2 }), vec![]),
    ] {
        let known = known(Prefill::Trailing, Echo::Never);
        assert_eq!(OpenAiChat.resumes(&request, &said("Hi"), &known), rungs, "{request}");
    }
    let reasons = Capabilities { reasoning: true, ..known(Prefill::Prefix, Echo::Never) };
    assert_eq!(OpenAiChat.resumes(&json!({}), &said("Hi"), &reasons), [Instruct, Quote, Align]);
    assert_eq!(OpenAiChat.resumes(&json!({}), &said("\n"), &reasons), [Align]);
}

fn rewritten(request: &Value, text: &str, by: Resume, known: &Capabilities) -> (Value, Expect) {
    let wording = Wording::default().with_instruct("I:{anchor}").with_quote("Q:{partial}");
    let context = Rewrite { spent: Some(3), ..Rewrite::new(known, &wording) };
    let next = OpenAiChat.rewrite(request, &said(text), by, &context).expect("the rung is there");
    (next.request, next.expect)
}

#[test]
fn every_flag_of_a_prefill() {
    for (prefill, message_flag, flags) in [
        (Prefill::Trailing, None, json!({})),
        (Prefill::Prefix, Some("prefix"), json!({})),
        (Prefill::Partial, Some("partial"), json!({})),
        (
            Prefill::ContinueFinalMessage,
            None,
            json!({ "continue_final_message": true, "add_generation_prompt": false }),
        ),
    ] {
        let request = json!({ "max_tokens": 10, "max_completion_tokens": 20, "messages": [{ "role": "user", "content": "q" }] });
        let known = known(prefill, Echo::Unknown);
        let (next, expect) = rewritten(&request, "Hi you \n", Resume::Prefill, &known);
        let mut turn = json!({ "role": "assistant", "content": "Hi you" });
        if let Some(flag) = message_flag {
            turn[flag] = json!(true);
        }
        let mut whole = json!({ "max_tokens": 7, "max_completion_tokens": 17, "messages": [{ "role": "user", "content": "q" }, turn] });
        let flags = flags.as_object().expect("an object").clone();
        whole.as_object_mut().expect("an object").extend(flags);
        assert_eq!(next, whole, "{prefill:?}");
        assert_eq!(expect, Expect::Literal { sent: 6, echo: Echo::Unknown });
    }
    let (known, wording) = (known(Prefill::None, Echo::Unknown), Wording::default());
    for by in [Resume::Prefill, Resume::Cursor] {
        let refused = OpenAiChat.rewrite(
            &json!({ "messages": [] }),
            &said("Hi"),
            by,
            &Rewrite::new(&known, &wording),
        );
        assert_eq!(refused, Err(Unresumable), "{by:?}");
    }
}

#[test]
fn notes() {
    let request = json!({ "messages": [{ "role": "user", "content": "q" }], "stream": true });
    let known = known(Prefill::None, Echo::Unknown);
    let turns = |by| rewritten(&request, "Hi you\n", by, &known).0["messages"].clone();
    let user = |text: &str| json!({ "role": "user", "content": text });
    let partial = json!({ "role": "assistant", "content": "Hi you" });
    assert_eq!(turns(Resume::Instruct), json!([user("q"), partial, user("I:Hi you")]));
    assert_eq!(turns(Resume::Quote), json!([user("q"), user("Q:Hi you")]));
    assert_eq!(rewritten(&request, "Hi", Resume::Align, &known), (request.clone(), Expect::Align));
    let anchor = rewritten(&request, "Hi you\n", Resume::Instruct, &known).1;
    assert_eq!(anchor, Expect::Anchor { sent: 6, anchor: "Hi you".into() });
}

#[test]
fn a_callers_own_prefill_is_gone_on_with() {
    for (own, said, echo, whole) in [
        (json!("A:"), " b", Echo::Never, json!("A: b")),
        (json!("A:"), "A: b", Echo::Never, json!("A:A: b")),
        // The server repeated it, so it is part of the answer.
        (json!("A:"), "A: b", Echo::Always, json!("A: b")),
        (json!(null), "b", Echo::Never, json!("b")),
        (
            json!([{ "type": "text", "text": "A:" }]),
            "b",
            Echo::Never,
            json!([{ "type": "text", "text": "A:" }, { "type": "text", "text": "b" }]),
        ),
    ] {
        let request = json!({ "messages": [{ "role": "assistant", "content": own }] });
        let (next, expect) =
            rewritten(&request, said, Resume::Prefill, &known(Prefill::Prefix, echo));
        assert_eq!(
            next["messages"],
            json!([{ "role": "assistant", "content": whole, "prefix": true }])
        );
        assert_eq!(expect, Expect::Literal { sent: said.len(), echo });
    }
}

#[test]
fn turns_for_a_history() {
    let call = |id: &str| PartKind::ToolCall { id: id.into(), name: "f".into() };
    let opaque = PartKind::Opaque { name: "redacted_thinking".into() };
    for (parts, message) in [
        (vec![], json!({ "role": "assistant", "content": null })),
        (
            vec![
                (PartKind::Reasoning, "hm"),
                (PartKind::Text, "a"),
                (opaque, "{}"),
                (PartKind::Text, "b "),
            ],
            json!({ "role": "assistant", "content": "ab " }),
        ),
        (
            vec![(PartKind::Refusal, "No")],
            json!({ "role": "assistant", "content": null, "refusal": "No" }),
        ),
        (
            vec![(call("a"), ""), (call("b"), "{\"k\":1}")],
            json!({ "role": "assistant", "content": null, "tool_calls": [
                { "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" } },
                { "id": "b", "type": "function", "function": { "name": "f", "arguments": "{\"k\":1}" } },
            ] }),
        ),
    ] {
        assert_eq!(OpenAiChat.message(&trace::transcript(&parts)), message);
    }
}
