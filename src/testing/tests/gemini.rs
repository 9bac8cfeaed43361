//! The models behind Gemini's two APIs.

use serde_json::{Value, json};

use super::super::{Answer, Behaviour, Deltas, Fault, Model};

const TEXT: &str = "The sky's \"blue\"\n\n for a reason: größer λ scatters less — 🙂👍🏽 done.";

fn answer() -> Answer {
    Answer::new()
        .reasoning("hm", "sig")
        .text("Hi ü")
        .server_tool("s1", "google_search", json!({"queries": ["x"]}), json!({"hits": []}))
        .tool_call("c1", "roll", &json!({"sides": 6}))
        .usage(9, 12)
}

fn frames(body: &[u8]) -> Vec<Value> {
    let body = std::str::from_utf8(body).expect("bodies are UTF-8");
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let data = data.filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).expect("every frame is JSON")).collect()
}

/// The visible text of a body of either API.
fn said(body: &[u8]) -> String {
    let frames = frames(body);
    let texts = frames.iter().filter_map(|frame| {
        let part = &frame["candidates"][0]["content"]["parts"][0];
        let visible = part["thought"].is_null();
        part["text"].as_str().filter(|_| visible).or(frame["delta"]["text"].as_str())
    });
    texts.collect()
}

#[test]
fn a_response_comes_as_the_api_sends_it() {
    let body = Model::gemini(answer()).deltas(Deltas::Chars(2)).whole().body();
    let text = String::from_utf8(body.to_vec()).expect("UTF-8");
    assert!(text.split_inclusive("\r\n\r\n").all(|frame| frame.starts_with("data: {")), "{text}");
    assert!(!text.contains("[DONE]") && text.ends_with("}\r\n\r\n"));
    let frames = frames(&body);
    let part = |at: usize| &frames[at]["candidates"][0]["content"]["parts"][0];
    assert_eq!(part(0), &json!({"text": "hm", "thought": true}));
    assert_eq!(part(1), &json!({"text": "Hi"}));
    assert_eq!(part(3)["toolCall"]["id"], "s1");
    assert_eq!(part(4)["toolResponse"]["response"], json!({"hits": []}));
    let call = json!({"id": "c1", "name": "roll", "args": {"sides": 6}});
    assert_eq!(part(5), &json!({"functionCall": call, "thoughtSignature": "sig"}));
    assert_eq!(frames.len(), 6);
    let reasons: Vec<&Value> = frames.iter().map(|f| &f["candidates"][0]["finishReason"]).collect();
    assert!(reasons[..5].iter().all(|reason| reason.is_null()) && reasons[5] == "STOP");
    let counts: Vec<u64> = frames
        .iter()
        .map(|frame| frame["usageMetadata"]["candidatesTokenCount"].as_u64().expect("a count"))
        .collect();
    assert!(counts.is_sorted() && counts[5] == 11, "{counts:?}");
    assert_eq!(frames[5]["usageMetadata"]["thoughtsTokenCount"], 1);
    // Without a call the signature comes last, and any other word for the end with it.
    let spoken = Answer::new().reasoning("hm", "sig").text("Hi").finish("MAX_TOKENS");
    let last = self::frames(&Model::gemini(spoken).whole().body()).pop().expect("a frame");
    let last = &last["candidates"][0];
    assert_eq!(last["content"]["parts"][0], json!({"text": "", "thoughtSignature": "sig"}));
    assert_eq!(last["finishReason"], "MAX_TOKENS");
}

#[test]
fn an_interaction_comes_as_the_api_sends_it() {
    let model = Model::gemini_interactions(answer()).deltas(Deltas::Chars(2));
    let request = json!({"model": "m", "input": "?"});
    let body = model.respond(&request).body();
    let text = String::from_utf8(body.to_vec()).expect("UTF-8");
    assert!(text.ends_with("event: done\ndata: [DONE]\n\n") && !text.contains("event_id"));
    let frames = self::frames(&body);
    let kinds: Vec<&str> = frames.iter().filter_map(|f| f["step"]["type"].as_str()).collect();
    let steps = ["thought", "model_output", "google_search_call", "google_search_result"];
    assert_eq!(kinds, [&steps[..], &["function_call"]].concat());
    let last = &frames.last().expect("an end")["interaction"];
    assert_eq!((&last["status"], &last["model"]), (&json!("requires_action"), &json!("m")));
    assert_eq!(last["usage"]["total_output_tokens"], 11);
    // In the background each event has an id.
    let request = json!({"model": "m", "input": "?", "background": true});
    let numbered = self::frames(&model.respond(&request).body());
    let ids: Vec<&Value> = numbered.iter().map(|frame| &frame["event_id"]).collect();
    assert_eq!((ids[0], ids[1]), (&json!("evt_0"), &json!("evt_1")));
    assert!(ids.iter().all(|id| id.is_string()));
}

#[test]
fn both_go_on_where_they_are_asked_to() {
    let (gemini, steps) = (Model::gemini(TEXT), Model::gemini_interactions(TEXT));
    let words = |role: &str, text: &str| json!({"role": role, "parts": [{"text": text}]});
    let step =
        |kind: &str, text: &str| json!({"type": kind, "content": [{"type": "text", "text": text}]});
    for (at, _) in TEXT.char_indices().skip(1) {
        let sent = TEXT[..at].trim_end();
        let rest = &TEXT[sent.len()..];
        let turns = json!({"contents": [words("user", "?"), words("model", sent)]});
        assert_eq!(said(&gemini.respond(&turns).body()), rest, "cut at {at}");
        let note = format!("Begin with <<{sent}>>.");
        let turns = [words("user", "?"), words("model", sent), words("user", &note)];
        assert_eq!(said(&gemini.respond(&json!({"contents": turns})).body()), TEXT);
        let thought = json!({"type": "thought", "signature": "s"});
        let input = [
            step("user_input", "?"),
            thought,
            step("model_output", sent),
            step("user_input", &note),
        ];
        assert_eq!(said(&steps.respond(&json!({"input": input})).body()), TEXT);
        let quoted = format!("It broke off after:\n\n\"{sent}\"\n\nGo on.");
        for input in [
            json!([step("user_input", "?"), step("user_input", &quoted)]),
            json!([{"role": "user", "content": "?"}, {"role": "user", "content": quoted}]),
        ] {
            let text = said(&steps.respond(&json!({"input": input})).body());
            assert!(text.ends_with(rest), "cut at {at}: {text}");
        }
    }
    for input in [json!("?"), json!({"type": "text", "text": "?"}), json!([])] {
        assert_eq!(said(&steps.respond(&json!({"input": input})).body()), TEXT);
    }
}

#[test]
fn what_ran_at_the_server_is_not_run_again() {
    let answer = Answer::new()
        .text("Let me look. ")
        .server_tool("s1", "google_search", json!({}), json!({}))
        .text("Found it.");
    let response =
        json!({"toolResponse": {"toolType": "google_search", "response": {}, "id": "s1"}});
    let parts = json!([{"text": "Let me look. "}, response, {"text": "Found"}]);
    let request = json!({"contents": [{"role": "model", "parts": parts}]});
    assert_eq!(said(&Model::gemini(answer.clone()).respond(&request).body()), " it.");
    let text =
        |kind: &str, text: &str| json!({"type": kind, "content": [{"type": "text", "text": text}]});
    let input = json!([
        text("user_input", "?"),
        text("model_output", "Let me look. "),
        {"type": "google_search_result", "call_id": "s1"},
        text("user_input", "Please go on."),
    ]);
    let model = Model::gemini_interactions(answer).on_note(Behaviour::NoAnchor);
    assert_eq!(said(&model.respond(&json!({"input": input})).body()), "Found it.");
}

#[test]
fn gemini_refuses_what_the_api_refuses() {
    let turn = |parts: Value| json!({"contents": [{"role": "model", "parts": parts}]});
    let half = turn(json!([{"text": "The sky's"}]));
    let mut streamed = half.clone();
    streamed["stream"] = json!(true);
    for (seed, request, words) in [
        (0, &half, "Requests ending with a model turn are not supported."),
        (1, &half, "unless the last part is a function response."),
        (0, &streamed, "Unknown name \"stream\": Cannot find field."),
        (0, &turn(json!([])), "contents[0].parts: contents.parts must not be empty."),
    ] {
        let model = Model::gemini(TEXT).on_prefill(Behaviour::RefusePrefill).seed(seed);
        let exchange = model.respond(request);
        assert_eq!(exchange.status(), 400);
        let body: Value = serde_json::from_slice(&exchange.body()).expect("JSON");
        assert_eq!(body["error"]["status"], "INVALID_ARGUMENT");
        let message = body["error"]["message"].as_str().expect("words");
        assert!(message.ends_with(words), "{message}");
    }
}

/// Its lines end in CRLF.
#[test]
fn faults_know_where_its_frames_end() {
    let model = Model::gemini("One two three.").deltas(Deltas::Chars(4));
    let whole = model.whole().body();
    let first = memchr::memmem::find(&whole, b"\r\n\r\n").expect("a frame") + 4;
    let garbled = model.whole().fault(Fault::Garble { at: first - 1 }).body();
    let rest = &whole[first..];
    assert!(garbled.ends_with(rest), "the next frame is whole");
    let head = &garbled[..garbled.len() - rest.len()];
    assert!(head.ends_with(b"\r\n\r\n") && head.len() < first - 4);
    let frame = super::super::gemini_error(503, "UNAVAILABLE", "busy");
    let fault =
        Fault::Insert { at: first + 9, frame: frame.clone(), end: super::super::End::Clean };
    let inserted = model.whole().fault(fault).body();
    assert_eq!(inserted, [&whole[..first], &frame[..]].concat());
}
