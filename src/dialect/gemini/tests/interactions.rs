//! The Interactions API, a line each.

use serde_json::{Value, json};

use super::super::super::{Dialect, trace};
use super::super::GeminiInteractions;
use crate::sse;

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
            r#"0=opaque(google_search_call) . 0+{"type":"google_search_call","id":"i","arguments":{"queries":["q"]}} 0/"#,
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

#[test]
fn the_id_of_the_last_event_is_kept() {
    let outline = GeminiInteractions.outline(&json!({ "agent": "deep-research" }));
    assert_eq!(&*outline.model, "deep-research");
    let known = GeminiInteractions.capabilities("", "");
    let mut decoder = GeminiInteractions.decoder(&outline, &known);
    assert_eq!(decoder.event_id(), None);
    for (data, id) in [
        (r#"{"event_type":"interaction.created","interaction":{"id":"x"},"event_id":"e1"}"#, "e1"),
        (r#"{"event_type":"interaction.status_update","status":"in_progress"}"#, "e1"),
        (r#"{"event_type":"step.delta","index":9,"event_id":"e2"}"#, "e1"),
    ] {
        _ = decoder.decode(&sse::Event::new(data), &mut |_| {});
        assert_eq!(decoder.event_id(), Some(id), "{data}");
    }
}
