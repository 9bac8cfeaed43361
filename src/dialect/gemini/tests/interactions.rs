//! The Interactions API, a line each.

use serde_json::{Value, json};

use super::super::super::{Continuation, Cursor, Decoder, Dialect, Rewrite, Wording, trace};
use super::super::GeminiInteractions;
use crate::event::{Annotation, PartKind, Resume};
use crate::sse;
use crate::transcript::Transcript;

fn read(events: &[&str]) -> String {
    let outline = GeminiInteractions.outline(&Value::Null);
    let known = GeminiInteractions.capabilities("", "");
    trace::of_whole(GeminiInteractions.decoder(&outline, &known), events, "", true)
}

fn start(index: u32, step: &str) -> String {
    format!(r#"{{"event_type":"step.start","index":{index},"step":{step}}}"#)
}

fn delta(index: u32, delta: &str) -> String {
    format!(r#"{{"event_type":"step.delta","index":{index},"delta":{delta}}}"#)
}

fn stop(index: u32) -> String {
    format!(r#"{{"event_type":"step.stop","index":{index}}}"#)
}

fn completed(status: &str) -> String {
    format!(r#"{{"event_type":"interaction.completed","interaction":{{"status":"{status}"}}}}"#)
}

#[test]
fn steps() {
    for (events, said) in [
        (
            vec![
                start(0, r#"{"type":"model_output"}"#),
                delta(0, r#"{"type":"text","text":"a"}"#),
                stop(0),
            ],
            "0=text 0+a 0/",
        ),
        (
            vec![
                start(0, r#"{"type":"thought"}"#),
                delta(0, r#"{"type":"thought_summary","content":{"type":"text","text":"hm"}}"#),
                delta(0, r#"{"type":"thought_signature","signature":""}"#),
                delta(0, r#"{"type":"thought_signature","signature":"S"}"#),
                stop(0),
            ],
            "0=reasoning 0+hm . 0~sig(S) 0/",
        ),
        (
            vec![
                start(0, r#"{"type":"function_call","id":"i","name":"f","arguments":{}}"#),
                delta(0, r#"{"type":"arguments_delta","arguments":"{\"k\""}"#),
                delta(0, r#"{"type":"arguments_delta","arguments":":1}"}"#),
                stop(0),
                completed("completed"),
            ],
            r#"0=call(i,f) 0+{"k" 0+:1} 0/ finish(ToolUse)"#,
        ),
        (
            vec![
                start(0, r#"{"type":"function_call","id":"i","name":"f","arguments":{"k":1}}"#),
                stop(0),
            ],
            r#"0=call(i,f) 0+{"k":1} 0/"#,
        ),
        (
            vec![
                start(0, r#"{"type":"google_search_call","id":"i"}"#),
                delta(0, r#"{"type":"google_search_call","arguments":{"queries":["q"]}}"#),
                stop(0),
            ],
            r#"0=server(i,google_search_call) . 0+{"type":"google_search_call","id":"i","arguments":{"queries":["q"]}} 0/"#,
        ),
        (vec![delta(3, r#"{"type":"text","text":"a"}"#)], "ERR"),
        (vec![start(0, r#"{"type":"thought"}"#).replace("step", "content")], "0=reasoning"),
    ] {
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        assert_eq!(read(&events), said, "{events:?}");
    }
}

#[test]
fn ends() {
    for (status, said) in [
        ("completed", "finish(Stop)"),
        ("requires_action", "finish(ToolUse)"),
        ("incomplete", "finish(Length)"),
        ("in_progress", "."),
        ("failed", "fault(Transient,failed)"),
        ("budget_exceeded", "finish(Other(\"budget_exceeded\"))"),
    ] {
        assert_eq!(read(&[&completed(status)]), said, "{status}");
    }
    assert_eq!(read(&["done|[DONE]"]), "end");
    let error = r#"{"event_type":"error","error":{"code":503,"status":"UNAVAILABLE"}}"#;
    assert_eq!(read(&[error, &completed("completed")]), "fault(Overloaded,UNAVAILABLE) .");
}

/// Where a replay would go on, after each of the events.
fn places(decoder: &mut dyn Decoder, events: &[String]) -> Vec<String> {
    let place = |event: &String| {
        _ = decoder.decode(&sse::Event::new(event), &mut |_| {});
        decoder.cursor().map_or("-".into(), |cursor| cursor.after.to_string())
    };
    events.iter().map(place).collect()
}

fn decoder() -> Box<dyn Decoder> {
    let outline = GeminiInteractions.outline(&Value::Null);
    GeminiInteractions.decoder(&outline, &GeminiInteractions.capabilities("", ""))
}

fn numbered(events: &[String]) -> Vec<String> {
    let number = |(number, event): (usize, &String)| {
        event.replacen('{', &format!(r#"{{"event_id":"e{number}","#), 1)
    };
    events.iter().enumerate().map(number).collect()
}

fn created() -> String {
    r#"{"event_type":"interaction.created","interaction":{"id":"x"}}"#.to_owned()
}

#[test]
fn the_place_of_a_replay_is_before_what_is_not_whole() {
    let events = [
        created(),
        start(0, r#"{"type":"thought"}"#),
        delta(0, r#"{"type":"thought_signature","signature":"S"}"#),
        stop(0),
        start(1, r#"{"type":"model_output"}"#),
        delta(1, r#"{"type":"text","text":"a"}"#),
        start(2, r#"{"type":"google_search_call","id":"i"}"#),
        delta(1, r#"{"type":"text","text":"b"}"#),
        stop(2),
        stop(1),
        completed("completed"),
    ];
    let places = |events: &[String]| self::places(&mut *decoder(), events).join(" ");
    assert_eq!(places(&numbered(&events)), "e0 e0 e0 e3 e4 e5 e5 - e8 e9 -");
    // Events without ids offer nothing, and one among others that has none is behind the place.
    assert_eq!(places(&events), "- - - - - - - - - - -");
    let mut some = numbered(&events[..6]);
    some[5] = events[5].clone();
    assert_eq!(places(&some), "e0 e0 e0 e3 e4 -");
    // What cannot be read would have to come again.
    let broken = r#"{"event_type":"step.delta","index":9,"event_id":"e1"}"#.to_owned();
    assert_eq!(places(&[numbered(&events).remove(0), broken]), "e0 e0");
}

#[test]
fn a_replay_goes_on_in_the_middle() {
    let attached = || {
        let mut decoder = decoder();
        decoder.attach(&Cursor::new("x", "e2"));
        decoder
    };
    let all = numbered(&[
        created(),
        start(0, r#"{"type":"model_output"}"#),
        delta(0, r#"{"type":"text","text":"a"}"#),
        delta(0, r#"{"type":"text","text":"b"}"#),
        stop(0),
        completed("completed"),
    ]);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let rest = "0=text 0+b 0/ finish(Stop)";
    assert_eq!(trace::of(attached(), &all[3..]), rest);
    // One that begins at the beginning all the same is not heard before the place.
    assert_eq!(trace::of(attached(), &all), format!(". . . {rest}"));
    assert_eq!(trace::of(attached(), &all[4..]), ". finish(Stop)");
    assert_eq!(attached().cursor(), Some(Cursor::new("x", "e2")));
    // Nor is one in which the place does not come.
    let others: Vec<String> = all.iter().map(|event| event.replace("\"e", "\"f")).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    assert_eq!(trace::of(attached(), &others), ". . . . . .");
}

#[test]
fn an_agent_is_its_model() {
    let outline = GeminiInteractions.outline(&json!({ "agent": "deep-research" }));
    assert_eq!(&*outline.model, "deep-research");
}

fn step(kind: &str, text: &str) -> Value {
    json!({ "type": kind, "content": [{ "type": "text", "text": text }] })
}

fn rewritten(request: &Value, transcript: &Transcript, by: Resume) -> Option<Continuation> {
    let known = GeminiInteractions.capabilities("", "");
    let wording = Wording::default().with_instruct("on from {anchor}").with_quote("had {partial}");
    let cursor = Cursor::new("v1_x", "a/b+c==");
    let context =
        Rewrite { cursor: Some(&cursor), spent: Some(30), ..Rewrite::new(&known, &wording) };
    GeminiInteractions.rewrite(request, transcript, by, &context).ok()
}

#[test]
fn what_was_said_goes_behind_an_input_of_any_form() {
    let mut said = trace::transcript(&[(PartKind::Reasoning, "hm"), (PartKind::Text, "One two ")]);
    trace::annotate(&mut said, 0, Annotation::Signature("S".into()));
    let thought = json!({ "type": "thought", "signature": "S", "summary": [{ "type": "text", "text": "hm" }] });
    let (answer, note) = (step("model_output", "One two"), step("user_input", "on from One two"));
    let picture = json!({ "type": "image", "data": "x", "mime_type": "image/png" });
    let added = [thought.clone(), answer, note.clone()];
    for (input, asked) in [
        (json!("q"), vec![step("user_input", "q")]),
        (picture.clone(), vec![json!({ "type": "user_input", "content": [picture] })]),
        (json!([picture]), vec![json!({ "type": "user_input", "content": [picture] })]),
        (json!([step("user_input", "q")]), vec![step("user_input", "q")]),
        (json!([]), vec![]),
    ] {
        let request = json!({ "input": input, "generation_config": { "max_output_tokens": 1000 } });
        let next = rewritten(&request, &said, Resume::Instruct).expect("it can").request;
        assert_eq!(next["input"], json!([&asked[..], &added[..]].concat()), "{input}");
        assert_eq!(next["generation_config"]["max_output_tokens"], 970);
        let next = rewritten(&request, &said, Resume::Quote).expect("it can").request;
        let quoted = [step("user_input", "had One two")];
        assert_eq!(next["input"], json!([&asked[..], &quoted[..]].concat()), "{input}");
    }
    // Turns, as the API had them before.
    let input = json!([{ "role": "user", "content": "q" }]);
    let next =
        rewritten(&json!({ "input": input }), &said, Resume::Instruct).expect("it can").request;
    let turn =
        json!({ "role": "model", "content": [thought, { "type": "text", "text": "One two" }] });
    let note = json!({ "role": "user", "content": note["content"] });
    assert_eq!(next["input"], json!([input[0], turn, note]));
}

#[test]
fn a_replay_is_fetched_by_the_id_of_the_last_event() {
    let said = trace::transcript(&[(PartKind::Text, "One")]);
    let request = json!({ "input": "q" });
    let replay = rewritten(&request, &said, Resume::Cursor).expect("it can").replay;
    let upstream = "https://g.example/v1beta/interactions".parse().expect("an address");
    let address = replay.expect("a replay").address(&upstream).to_string();
    let query = "stream=true&last_event_id=a%2Fb%2Bc%3D%3D";
    assert_eq!(address, format!("https://g.example/v1beta/interactions/v1_x?{query}"));
}

#[test]
fn rungs() {
    let (text, search) = (PartKind::Text, PartKind::ServerResult { call: "i".into() });
    let call = PartKind::ToolCall { id: "c".into(), name: "f".into() };
    let said = |parts: &[(PartKind, &str)]| trace::transcript(parts);
    let words = || said(&[(text.clone(), "One")]);
    for (request, said, rungs) in [
        (json!({}), words(), "Cursor Instruct Quote Align"),
        (json!({ "store": false }), words(), "Instruct Quote Align"),
        (json!({ "background": true }), said(&[(call, "{}")]), "Cursor"),
        (
            json!({}),
            said(&[(search, r#"{"type":"x"}"#), (text.clone(), "One")]),
            "Cursor Instruct Align",
        ),
        (json!({ "agent": "deep-research" }), words(), "Cursor Align"),
        (json!({ "response_format": { "type": "text" } }), words(), "Cursor Instruct Quote Align"),
        (
            json!({ "response_format": { "type": "text", "mime_type": "application/json" } }),
            words(),
            "Cursor Align",
        ),
        (json!({ "response_format": [{ "type": "image" }] }), words(), "Cursor Align"),
        (json!({ "response_modalities": ["text", "audio"] }), words(), "Cursor Align"),
    ] {
        let known = GeminiInteractions.capabilities("", "");
        let ours = GeminiInteractions.resumes(&request, &said, &known);
        let ours: Vec<String> = ours.iter().map(|by| format!("{by:?}")).collect();
        assert_eq!(ours.join(" "), rungs, "{request}");
    }
}

#[test]
fn a_turn_is_a_list_of_steps() {
    let call = PartKind::ToolCall { id: "c".into(), name: "f".into() };
    let search = PartKind::ServerCall { id: "s".into(), name: "google_search_call".into() };
    let mut said = trace::transcript(&[
        (PartKind::Reasoning, "hm"),
        (PartKind::Text, "One"),
        (search, r#"{"type":"google_search_call","id":"s"}"#),
        (PartKind::Text, "two"),
        (call, ""),
        (PartKind::Reasoning, "unsigned"),
    ]);
    trace::annotate(&mut said, 4, Annotation::Signature("S".into()));
    let steps = json!([
        step("model_output", "One"),
        { "type": "google_search_call", "id": "s" },
        step("model_output", "two"),
        { "type": "function_call", "id": "c", "name": "f", "arguments": {}, "signature": "S" },
    ]);
    assert_eq!(GeminiInteractions.message(&said), steps);
}
