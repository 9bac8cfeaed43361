//! What a client reads: one legal response, of frames that went through and deltas that were written.

use serde_json::{Value, json};

use super::super::super::{Dialect, Place, Writer};
use super::super::OpenAiResponses;
use crate::event::{Annotation, Delta, Finish, FinishReason, PartKind, Source, Usage};
use crate::report::Report;
use crate::sse;

fn writer() -> Box<dyn Writer> {
    OpenAiResponses.writer(&json!({ "model": "m", "input": "q" }))
}

fn write(writer: &mut dyn Writer, kind: &PartKind, deltas: &[Delta], out: &mut Vec<u8>) {
    for delta in deltas {
        writer.write(delta, &Place::new(kind.clone(), 0), &Report::default(), out);
    }
}

fn whole(part: u32, kind: &PartKind, text: &str) -> Vec<Delta> {
    vec![
        Delta::Open { part, choice: 0, kind: kind.clone() },
        Delta::Append { part, text: text.into() },
        Delta::Close { part },
    ]
}

fn end(writer: &mut dyn Writer, reason: FinishReason, out: &mut Vec<u8>) {
    let finish = Finish {
        reason,
        inferred: false,
        usage: Usage::default(),
        source: Source::Model,
        ticket: None,
    };
    writer.finish(&finish, true, &Report::default(), out);
}

/// The events, numbered without a gap from `first`.
fn read(out: &[u8], first: u64) -> Vec<Value> {
    let mut parser = sse::Parser::default();
    let mut rest = out;
    let mut events = Vec::new();
    while let Ok(Some(event)) = parser.next_event(&mut rest) {
        let data: Value = serde_json::from_str(event.data).expect("an event is JSON");
        assert_eq!(data["type"], event.event);
        assert_eq!(data["sequence_number"], first + events.len() as u64);
        events.push(data);
    }
    events
}

fn types(events: &[Value]) -> Vec<&str> {
    let types = events.iter().filter_map(|event| event["type"].as_str());
    types.map(|kind| kind.trim_start_matches("response.")).collect()
}

#[test]
fn a_response_of_our_own() {
    let mut writer = writer();
    let mut out = Vec::new();
    let call = PartKind::ToolCall { id: "c".into(), name: "f".into() };
    let search = PartKind::ServerResult { call: "w".into() };
    write(&mut *writer, &PartKind::Reasoning, &whole(0, &PartKind::Reasoning, "hm"), &mut out);
    let item = r#"{"type":"web_search_call","id":"w"}"#;
    write(&mut *writer, &search, &whole(1, &search, item), &mut out);
    let mut text = whole(2, &PartKind::Text, "Hi");
    let annotation = Annotation::Citation(r#"{"url":"u"}"#.into());
    text.insert(2, Delta::Annotate { part: 2, annotation });
    write(&mut *writer, &PartKind::Text, &text, &mut out);
    write(&mut *writer, &call, &whole(3, &call, "{}"), &mut out);
    let custom = PartKind::ToolCall { id: "d".into(), name: "sql".into() };
    write(&mut *writer, &custom, &whole(4, &custom, r#""x""#), &mut out);
    end(&mut *writer, FinishReason::ToolUse, &mut out);
    end(&mut *writer, FinishReason::ToolUse, &mut out);
    let events = read(&out, 0);
    assert_eq!(
        types(&events),
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.annotation.added",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "output_item.added",
            "custom_tool_call_input.delta",
            "custom_tool_call_input.done",
            "output_item.done",
            "completed",
        ]
    );
    let response = &events.last().expect("an end")["response"];
    assert_eq!((&response["status"], &response["model"]), (&json!("completed"), &json!("m")));
    let output = response["output"].as_array().expect("a list");
    let done: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| &event["item"])
        .collect();
    assert_eq!(output.iter().collect::<Vec<_>>(), done);
    let kinds: Vec<&str> = output.iter().filter_map(|item| item["type"].as_str()).collect();
    let names = ["reasoning", "web_search_call", "message", "function_call", "custom_tool_call"];
    assert_eq!(kinds, names);
    let text = &output[2]["content"][0];
    assert_eq!((&text["text"], &text["annotations"]), (&json!("Hi"), &json!([{ "url": "u" }])));
    assert_eq!((&output[3]["arguments"], &output[4]["input"]), (&json!("{}"), &json!("x")));
}

#[test]
fn a_text_goes_on_where_it_was_cut() {
    let mut writer = writer();
    let passed = [
        r#"{"type":"response.created","sequence_number":0,"response":{"id":"r","model":"n","output":[]}}"#,
        r#"{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"type":"message","id":"msg","role":"assistant","phase":"final_answer","content":[]}}"#,
        r#"{"type":"response.content_part.added","sequence_number":2,"output_index":0,"content_index":0,"part":{"type":"output_text","text":""}}"#,
        r#"{"type":"response.output_text.delta","sequence_number":3,"output_index":0,"content_index":0,"delta":"Hel"}"#,
    ];
    let lost = r#"{"type":"response.output_text.delta","output_index":9,"delta":"x"}"#;
    assert!(!writer.passes(&sse::Event::new(passed[3])), "nothing has begun");
    for event in passed {
        assert!(writer.passes(&sse::Event::new(event)), "{event}");
        assert!(writer.has_begun());
    }
    assert!(!writer.passes(&sse::Event::new(lost)), "of no item");
    let mut out = Vec::new();
    let go_on = Delta::Append { part: 0, text: "lo".into() };
    write(&mut *writer, &PartKind::Text, &[go_on], &mut out);
    end(&mut *writer, FinishReason::Length, &mut out);
    let events = read(&out, 4);
    assert_eq!(
        types(&events),
        [
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "incomplete"
        ]
    );
    assert_eq!((&events[0]["item_id"], &events[1]["text"]), (&json!("msg"), &json!("Hello")));
    let response = &events[4]["response"];
    assert_eq!((&response["id"], &response["model"]), (&json!("r"), &json!("n")));
    assert_eq!(response["incomplete_details"], json!({ "reason": "max_output_tokens" }));
    let item = &response["output"][0];
    assert_eq!((&item["phase"], &item["status"]), (&json!("final_answer"), &json!("completed")));
    assert_eq!(item["content"][0]["text"], "Hello");
}

#[test]
fn an_abandoned_thought_does_not_end_the_text() {
    let mut writer = writer();
    let mut out = Vec::new();
    let text = whole(1, &PartKind::Text, "Hi");
    write(&mut *writer, &PartKind::Text, &text[..2], &mut out);
    write(&mut *writer, &PartKind::Reasoning, &[Delta::Abandon { part: 0 }], &mut out);
    let more = Delta::Append { part: 1, text: "!".into() };
    write(&mut *writer, &PartKind::Text, &[more], &mut out);
    end(&mut *writer, FinishReason::Stop, &mut out);
    let events = read(&out, 0);
    assert_eq!(events.iter().filter(|e| e["type"] == "response.output_item.added").count(), 1);
    let response = &events.last().expect("an end")["response"];
    assert_eq!(response["output"][0]["content"][0]["text"], "Hi!");
}
