use serde_json::{Value, json};

use super::super::fault::{End, Fault};
use super::{Answer, Behaviour, Deltas, Flaky, Model};

/// What a body says: its visible text, tool arguments in brackets, the finish reason last.
fn said(body: &[u8]) -> String {
    let body = std::str::from_utf8(body).expect("bodies are UTF-8");
    assert!(body.ends_with("\n\n"));
    let mut out = String::new();
    for data in body.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if data == "[DONE]" {
            continue;
        }
        let event: Value = serde_json::from_str(data).expect("every frame is JSON");
        let word = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        let text = word("/delta/text").or(word("/choices/0/delta/content"));
        out.push_str(text.unwrap_or_default());
        let arguments = word("/delta/partial_json")
            .or(word("/choices/0/delta/tool_calls/0/function/arguments"))
            .filter(|arguments| !arguments.is_empty());
        out.extend(arguments.map(|arguments| format!("[{arguments}]")));
        let finish = word("/delta/stop_reason").or(word("/choices/0/finish_reason"));
        out.extend(finish.map(|finish| format!("|{finish}")));
    }
    out.replace("][", "")
}

fn prefill(text: &str) -> Value {
    json!({"messages": [
        {"role": "user", "content": "why?"},
        {"role": "assistant", "content": text},
    ]})
}

fn note(text: &str, note: &str) -> Value {
    let mut request = prefill(text);
    let messages = request["messages"].as_array_mut().expect("a list");
    messages.push(json!({"role": "user", "content": note}));
    request
}

fn both(answer: &Answer) -> [Model; 2] {
    [Model::anthropic(answer.clone()), Model::openai_chat(answer.clone())]
}

const TEXT: &str = "The sky's \"blue\"\n\n for a reason: größer λ scatters less — 🙂👍🏽 done.";

#[test]
fn whole_answers_have_the_shape_of_their_dialect() {
    let answer = Answer::new()
        .reasoning("hm", "sig")
        .text("Hi ü")
        .server_tool("srv_1", "web_search", json!({"query": "x"}), json!([]))
        .tool_call("call_1", "roll", &json!({"sides": 6}))
        .usage(9, 12);
    let request = json!({"model": "m-1", "stream_options": {"include_usage": true}});

    let body = Model::anthropic(answer.clone()).respond(&request).body();
    let body = String::from_utf8(body.to_vec()).expect("UTF-8");
    let mut kinds: Vec<&str> =
        body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    kinds.dedup();
    let block = ["content_block_start", "content_block_delta", "content_block_stop"];
    let mut expected = vec!["message_start", block[0], "ping", block[1], block[2]];
    expected.extend(block);
    expected.extend(block);
    expected.extend([block[0], block[2]]);
    expected.extend(block);
    expected.extend(["message_delta", "message_stop"]);
    assert_eq!(kinds, expected);
    assert!(body.contains(r#""type":"web_search_tool_result","tool_use_id":"srv_1","content":[]"#));
    assert!(body.contains(r#""type":"signature_delta","signature":"sig""#));
    assert!(body.contains(r#""usage":{"output_tokens":12}"#));
    assert!(body.contains(" }\n"), "some events are padded");
    let spoken = said(body.as_bytes());
    assert_eq!(spoken, "Hi ü[{\"query\":\"x\"}{\"sides\":6}]|tool_use");

    let body = Model::openai_chat(answer).respond(&request).body();
    let body = String::from_utf8(body.to_vec()).expect("UTF-8");
    assert_eq!(said(body.as_bytes()), "Hi ü[{\"sides\":6}]|tool_calls");
    assert!(body.contains(r#""reasoning_content":"#));
    assert!(body.contains(r#""choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12"#));
    assert!(body.ends_with("data: [DONE]\n\n"));
    assert!(!body.contains("event:"));
    let without = Model::openai_chat("Hi").respond(&Value::Null).body();
    assert!(!String::from_utf8_lossy(&without).contains("usage"));
}

#[test]
fn the_same_request_gets_the_same_bytes_and_a_seed_other_ones() {
    for model in both(&TEXT.into()) {
        assert_eq!(model.whole(), model.whole());
        assert_ne!(model.whole(), model.clone().seed(1).whole());
        assert_ne!(model.whole().body(), model.respond(&prefill("The")).body());
    }
}

#[test]
fn a_prefill_goes_on_literally_from_every_character() {
    for model in both(&TEXT.into()) {
        for (at, _) in TEXT.char_indices().skip(1) {
            let sent = TEXT[..at].trim_end();
            let spoken = said(&model.respond(&prefill(sent)).body());
            let (text, finish) = spoken.rsplit_once('|').expect("it finishes");
            assert_eq!(format!("{sent}{text}"), TEXT, "cut at {at}");
            assert!(["end_turn", "stop"].contains(&finish));
        }
        assert_eq!(said(&model.respond(&prefill(TEXT)).body()).find('|'), Some(0));
    }
}

#[test]
fn a_note_is_answered_with_its_anchor_from_every_character() {
    for model in both(&TEXT.into()) {
        for (at, _) in TEXT.char_indices().skip(1) {
            let sent = TEXT[..at].trim_end();
            let starts: Vec<usize> = sent.char_indices().rev().map(|(at, _)| at).collect();
            let anchor = &sent[starts[starts.len().min(12) - 1]..];
            let asked = note(sent, &format!("Dropped. Begin with exactly <<{anchor}>> please."));
            let spoken = said(&model.respond(&asked).body());
            let (text, _) = spoken.rsplit_once('|').expect("it finishes");
            assert_eq!(text, format!("{anchor}{}", &TEXT[sent.len()..]), "cut at {at}");
        }
    }
}

#[test]
fn a_note_alone_is_recognised_by_the_text_that_it_quotes() {
    let model = Model::openai_chat(TEXT);
    for (at, _) in TEXT.char_indices().skip(1) {
        let sent = TEXT[..at].trim_end();
        let text = format!("It broke off after:\n\n\"{sent}\"\n\nBegin with the last words.");
        let asked = json!({"messages": [
            {"role": "user", "content": "why?"},
            {"role": "user", "content": [{"type": "text", "text": text}]},
        ]});
        let spoken = said(&model.respond(&asked).body());
        let (text, _) = spoken.rsplit_once('|').expect("it finishes");
        let rest = &TEXT[sent.len()..];
        assert!(text.ends_with(rest), "cut at {at}: {text}");
        assert!(sent.ends_with(&text[..text.len() - rest.len()]), "cut at {at}: {text}");
    }
    // One user turn that has the question and the note.
    let note = "Why?\n\nIt broke off after \"The sky's\".";
    let asked = json!({"messages": [{"role": "user", "content": note}]});
    let spoken = said(&model.respond(&asked).body());
    assert_eq!(spoken, format!("{TEXT}|stop"), "all that was quoted is the anchor");
    let spoken = said(&model.clone().behaviour(Behaviour::NoAnchor).respond(&asked).body());
    assert_eq!(spoken, format!("{}|stop", &TEXT["The sky's".len()..]));
    // One user turn, and nothing but a coincidence.
    let asked = json!({"messages": [{"role": "user", "content": "\"The\"?"}]});
    let model = model.behaviour(Behaviour::NoAnchor);
    assert!(said(&model.respond(&asked).body()).starts_with(TEXT));
}

#[test]
fn each_behaviour_in_its_own_words() {
    use Behaviour as B;
    let sent = "The sky's \"blue\"";
    let anchor = "sky's \"blue\"";
    let rest = &TEXT[sent.len()..];
    let preface = "Sure, continuing from where I left off:\n\n";
    let table = [
        (B::Exact, format!("{anchor}{rest}")),
        (B::Echo, TEXT.to_owned()),
        (B::Anchor, format!("{anchor}{rest}")),
        (B::AnchorFolded, format!("sky’s “blue”{rest}")),
        (B::AnchorHalf, format!("\"blue\"{rest}")),
        (B::Preface, format!("{preface}{anchor}{rest}")),
        (B::PrefaceOnly, format!("{preface}{rest}")),
        (B::Restart, TEXT.to_owned()),
        (B::Refence, format!("{anchor}{rest}")),
        (B::RefenceOnly, rest.to_owned()),
        (B::DropSpace, rest.trim_start().to_owned()),
        (B::NoAnchor, rest.to_owned()),
        (B::RefusePrefill, format!("{anchor}{rest}")),
    ];
    for (behaviour, expected) in table {
        let model = Model::anthropic(TEXT).on_note(behaviour);
        let spoken = said(&model.respond(&note(sent, &format!("at «{anchor}» go"))).body());
        assert_eq!(spoken, format!("{expected}|end_turn"), "{behaviour:?}");
        // The other way to ask is not affected.
        let spoken = said(&model.respond(&prefill(sent)).body());
        assert_eq!(spoken, format!("{rest}|end_turn"), "{behaviour:?}");
    }
    let model = Model::anthropic(TEXT).behaviour(B::RestartDifferent { agree: 5 });
    let spoken = said(&model.respond(&prefill(sent)).body());
    assert!(spoken.starts_with("The sOn second"));
}

#[test]
fn a_fence_is_opened_again_only_inside_one() {
    let text = "Look:\n```rust\nfn main() {}\n```\nThat is all of it.";
    let model = Model::openai_chat(text).behaviour(Behaviour::RefenceOnly);
    let inside = said(&model.respond(&prefill("Look:\n```rust\nfn main")).body());
    assert_eq!(inside, "```rust\n() {}\n```\nThat is all of it.|stop");
    let after = said(&model.respond(&prefill("Look:\n```rust\nfn main() {}\n```\nThat")).body());
    assert_eq!(after, " is all of it.|stop");
}

#[test]
fn parts_before_the_place_are_not_repeated_and_those_after_come() {
    let answer = Answer::new()
        .reasoning("hm", "sig")
        .text("Let me look. ")
        .server_tool("srv_1", "web_search", json!({"query": "x"}), json!([]))
        .text("Found it.")
        .tool_call("call_1", "roll", &json!({}));
    let model = Model::anthropic(answer);
    let turn = |content: Value| json!({"messages": [{"role": "assistant", "content": content}]});
    let text = |text: &str| json!({"type": "text", "text": text});
    let result = json!({"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []});
    let spoken = |content: Value| said(&model.respond(&turn(content)).body());

    let first = spoken(json!([text("Let me")]));
    assert_eq!(first, " look. [{\"query\":\"x\"}]Found it.[{}]|tool_use");
    assert_eq!(spoken(json!([result])), "Found it.[{}]|tool_use");
    let later = spoken(json!([text("Let me look. "), result, text("Found")]));
    assert_eq!(later, " it.[{}]|tool_use");
    let all = spoken(json!([text("Let me look. "), result, text("Found it.")]));
    assert_eq!(all, "[{}]|tool_use");
    let other = spoken(json!([text("Let us")]));
    assert!(other.starts_with("Let me look."), "not its own text: {other}");
}

#[test]
fn requests_that_the_api_would_refuse_are_refused() {
    let model = Model::anthropic(TEXT).on_prefill(Behaviour::RefusePrefill);
    let words = |request: &Value| {
        let exchange = model.respond(request);
        assert_eq!(exchange.status(), 400);
        let body: Value = serde_json::from_slice(&exchange.body()).expect("JSON");
        assert_eq!(body["error"]["type"], "invalid_request_error");
        body["error"]["message"].as_str().expect("words").to_owned()
    };
    assert!(words(&prefill("The sky")).starts_with("This model does not support assistant"));
    assert!(words(&prefill("The ")).contains("trailing whitespace"));
    let turn = |content: Value| json!({"messages": [{"role": "assistant", "content": content}]});
    assert!(words(&turn(json!([{"type": "text", "text": ""}]))).contains("must be non-empty"));
    assert!(words(&turn(json!([{"type": "thinking", "thinking": "x"}]))).contains("final block"));
    let chat = Model::openai_chat(TEXT).on_prefill(Behaviour::RefusePrefill);
    assert_eq!(chat.respond(&prefill("The sky")).status(), 400);
}

#[test]
fn texts_are_split_as_told() {
    let pieces = |deltas: Deltas| deltas.split("aébcd", &mut super::Rng::new(3)).join("|");
    assert_eq!(pieces(Deltas::Chars(2)), "aé|bc|d");
    assert_eq!(pieces(Deltas::Chars(0)), "a|é|b|c|d");
    assert_eq!(pieces(Deltas::At(vec![1, 1, 4, 9])), "a|ébc|d");
    assert_eq!(pieces(Deltas::At(Vec::new())), "aébcd");
    assert_eq!(pieces(Deltas::Random { max: 3 }).replace('|', ""), "aébcd");
}

#[test]
fn a_flaky_model_breaks_in_turn_and_then_answers_whole() {
    let model = Model::anthropic(TEXT).on_prefill(Behaviour::RefusePrefill);
    let flaky = Flaky::new(model.clone(), [Fault::reset_at(7), Fault::end_at(9)]);
    let first = flaky.respond(&Value::Null);
    assert_eq!((first.body().len(), first.end()), (7, &End::Reset));
    assert_eq!(flaky.respond(&prefill("The")).status(), 400);
    let second = flaky.respond(&Value::Null);
    assert_eq!((second.body().len(), second.end()), (9, &End::Clean));
    assert_eq!(flaky.respond(&Value::Null), model.whole());
    assert_eq!(flaky.answered(), 3);
}
