//! Fields that have words on the other side, and those that have none.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{between, legal_anthropic_id};

fn translated(from: &str, to: &str, request: &Value) -> Result<Value, String> {
    let translate = between(from, to).expect("a translation");
    translate(request, "api.example").map_err(|error| error.field.to_string())
}

fn with(base: Value, field: &str, value: Value) -> Value {
    let mut request = base;
    request[field] = value;
    request
}

fn messages() -> Value {
    json!({
        "model": "m", "max_tokens": 9, "system": "S", "stop_sequences": ["X"], "temperature": 0.5,
        "metadata": {"user_id": "u"},
        "tools": [{"name": "t", "description": "d", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "a"},
                {"type": "image", "source": {"type": "url", "url": "https://i.example/a.png"}},
                {"type": "image", "source":
                    {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "b"},
                {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {"k": 1}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "r"},
                {"type": "text", "text": "c"},
            ]},
        ],
    })
}

#[test]
fn there_and_back() {
    let chat = translated("anthropic", "openai-chat", &messages()).expect("all has words");
    let roles: Vec<&str> =
        chat["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "user"]);
    assert_eq!(translated("openai-chat", "anthropic", &chat), Ok(messages()));
}

#[test]
fn what_has_no_words_is_named() {
    for (field, value, named) in [
        ("top_k", json!(5), "top_k"),
        ("thinking", json!({"type": "enabled", "budget_tokens": 1024}), "thinking"),
        ("tools", json!([{"type": "web_search_20250305", "name": "w"}]), "tools.0.type"),
        ("metadata", json!({"other": 1}), "metadata.other"),
    ] {
        let request = with(messages(), field, value);
        assert_eq!(translated("anthropic", "openai-chat", &request), Err(named.to_owned()));
    }
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "a"}]});
    for (field, value, named) in [
        ("n", json!(2), Err("n")),
        ("n", json!(1), Ok(())),
        ("logprobs", json!(true), Err("logprobs")),
        ("response_format", json!({"type": "json_object"}), Err("response_format")),
        ("temperature", json!(1.5), Err("temperature")),
        ("made_up", Value::Null, Ok(())),
        ("made_up", json!(1), Err("made_up")),
    ] {
        let request = with(chat.clone(), field, value);
        let said = translated("openai-chat", "anthropic", &request).map(drop);
        assert_eq!(said, named.map_err(str::to_owned), "{field}");
    }
}

#[test]
fn arguments_are_not_repaired() {
    let call =
        json!({"id": "a", "type": "function", "function": {"name": "t", "arguments": "{\"k"}});
    let request = json!({"model": "m", "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "r"},
    ]});
    let named = "messages.1.tool_calls.0.function.arguments";
    assert_eq!(translated("openai-chat", "anthropic", &request), Err(named.to_owned()));
}

#[test]
fn ids_are_made_legal_and_stay_apart() {
    assert_eq!(legal_anthropic_id("toolu_1"), "toolu_1");
    let (one, two) = (legal_anthropic_id("functions.t:0"), legal_anthropic_id("functions_t:0"));
    assert_ne!(one, two);
    assert_eq!(one, legal_anthropic_id("functions.t:0"));
}

/// Requests of the common subset, written as the translation writes them.
fn requests() -> impl Strategy<Value = Value> {
    let word = || "[a-zé€ ]{0,6}[a-z\u{10348}]";
    let image = prop_oneof![
        Just(json!({"type": "image", "source": {"type": "url", "url": "https://i.example/a"}})),
        Just(json!({"type": "image", "source":
            {"type": "base64", "media_type": "image/png", "data": "AAAA"}})),
    ];
    let text = || word().prop_map(|text| json!({"type": "text", "text": text}));
    let said = prop_oneof![
        word().prop_map(Value::from),
        (text(), image.clone()).prop_map(|(text, image)| json!([text, image])),
        vec(image, 1..3).prop_map(Value::from),
    ];
    let input = btree_map("[a-z]{1,3}", word(), 0..3).prop_map(|input| json!(input));
    // A call, its result, what the user says beside it.
    let exchange = (vec((input, word()), 1..3), option::of(text()), option::of(text())).prop_map(
        |(calls, before, after)| {
            let id = |nth: usize| format!("toolu_{nth}");
            let uses = calls.iter().enumerate().map(|(nth, (input, _))| {
                json!({"type": "tool_use", "id": id(nth), "name": "t", "input": input})
            });
            let results = calls.iter().enumerate().map(|(nth, (_, result))| {
                json!({"type": "tool_result", "tool_use_id": id(nth), "content": result})
            });
            let assistant: Vec<Value> = before.into_iter().chain(uses).collect();
            let user: Vec<Value> = results.chain(after).collect();
            vec![
                json!({"role": "assistant", "content": assistant}),
                json!({"role": "user", "content": user}),
            ]
        },
    );
    let turn = (word(), said.clone()).prop_map(|(answer, said)| {
        vec![
            json!({"role": "assistant", "content": answer}),
            json!({"role": "user", "content": said}),
        ]
    });
    let later = vec(prop_oneof![turn, exchange], 0..4);
    let head = (1_u32..9000, option::of(word()), option::of(0_u8..=10), any::<bool>());
    (head, said, later).prop_map(|((limit, system, warmth, tools), said, later)| {
        let first = json!({"role": "user", "content": said});
        let messages: Vec<Value> = [first].into_iter().chain(later.into_iter().flatten()).collect();
        let mut request = json!({"model": "m", "max_tokens": limit, "messages": messages});
        if let Some(system) = system {
            request["system"] = Value::from(system);
        }
        if let Some(warmth) = warmth {
            request["temperature"] = json!(f64::from(warmth) / 10.0);
        }
        if tools {
            request["tools"] = json!([{"name": "t", "input_schema": {"type": "object"}}]);
        }
        request
    })
}

proptest! {
    #[test]
    fn the_common_subset_comes_back_as_it_was(request in requests()) {
        let chat = translated("anthropic", "openai-chat", &request).expect("all has words");
        prop_assert_eq!(translated("openai-chat", "anthropic", &chat), Ok(request));
    }
}
