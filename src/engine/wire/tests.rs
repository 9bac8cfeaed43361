//! What is written anew goes out when nothing before it can be taken back any more: delta by delta.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::tail::Tail;
use super::{Wire, WireOptions, WireReasoning};
use crate::dialect::{Anthropic, Dialect};
use crate::event::{Annotation, Delta, Event, PartKind, Resume, Text};
use crate::policy::ToolDelivery;
use crate::report::Report;
use crate::sse;

/// A client of the Anthropic dialect, where frames do not go through any more.
fn anew() -> Wire {
    anew_with(WireReasoning::Whole)
}

fn anew_with(reasoning: WireReasoning) -> Wire {
    let dialect: Arc<dyn Dialect> = Arc::new(Anthropic);
    let writer = dialect.writer(&Arc::new(json!({"model": "m"})));
    #[expect(clippy::disallowed_methods, reason = "an instant to start from")]
    let mut wire = Wire::new(writer, dialect, reasoning, Instant::now());
    wire.attempt("anthropic", Some(Resume::Cursor));
    wire
}

/// What each of `deltas` lets out.
fn told(wire: &mut Wire, deltas: &[Delta]) -> Vec<String> {
    let tell = |delta: &Delta| {
        let mut out = Vec::new();
        wire.tell(&Event::Delta(delta.clone()), &Report::default(), &mut out);
        String::from_utf8(out).unwrap()
    };
    deltas.iter().map(tell).collect()
}

/// A letter for each: `.` lets nothing out, `o` something.
fn goes(wire: &mut Wire, deltas: &[Delta]) -> String {
    told(wire, deltas).iter().map(|out| if out.is_empty() { '.' } else { 'o' }).collect()
}

fn opens(part: u32, kind: PartKind) -> Delta {
    Delta::Open { part, choice: 0, kind }
}

fn says(part: u32, text: &str) -> Delta {
    Delta::Append { part, text: Text::from(text.to_owned()) }
}

const fn closes(part: u32) -> Delta {
    Delta::Close { part }
}

fn signs(part: u32) -> Delta {
    Delta::Annotate { part, annotation: Annotation::Signature("c2ln".into()) }
}

fn call(id: &str) -> PartKind {
    PartKind::ToolCall { id: id.into(), name: "look".into() }
}

fn search(id: &str) -> PartKind {
    PartKind::ServerCall { id: id.into(), name: "web_search".into() }
}

fn found(id: &str) -> PartKind {
    PartKind::ServerResult { call: id.into() }
}

#[test]
fn a_thought_goes_out_when_it_is_signed_and_something_lasting_follows() {
    let mut wire = anew();
    let thought = [opens(0, PartKind::Reasoning), says(0, "Hm."), signs(0), closes(0)];
    assert_eq!(goes(&mut wire, &thought), "....");
    let text = told(&mut wire, &[opens(1, PartKind::Text), says(1, "So.")]);
    assert!(text[0].is_empty() && text[1].contains("Hm.") && text[1].contains("So."), "{text:?}");
}

#[test]
fn a_thought_that_nobody_signed_never_goes_out() {
    let mut wire = anew();
    let thought = [opens(0, PartKind::Reasoning), says(0, "Hm."), closes(0)];
    assert_eq!(goes(&mut wire, &thought), "...");
    assert!(wire.said.is_empty() && wire.unsettled.is_empty());
    // Nor does what becomes of it later.
    assert_eq!(goes(&mut wire, &[Delta::Abandon { part: 0 }]), ".");
    assert!(wire.said.is_empty() && !wire.begun);
    let text = told(&mut wire, &[opens(1, PartKind::Text), says(1, "So.")]).concat();
    assert!(text.contains("So.") && !text.contains("Hm."), "{text}");
}

/// It is out, so it is ended, when what came behind it goes out.
#[test]
fn a_thought_that_was_shown_as_it_came_is_ended_where_it_is_given_up() {
    let mut wire = anew_with(WireReasoning::Live);
    assert_eq!(goes(&mut wire, &[opens(0, PartKind::Reasoning), says(0, "Hm.")]), "oo");
    let deltas = [opens(1, call("a")), says(1, "{}"), Delta::Abandon { part: 0 }];
    assert_eq!((goes(&mut wire, &deltas).as_str(), wire.said.as_slice()), ("...", &deltas[..]));
    let out = told(&mut wire, &[closes(1)]).concat();
    assert_eq!(out.matches("event: content_block_stop").count(), 2, "{out}");
}

#[test]
fn text_waits_for_a_thought_that_is_open_before_it() {
    let mut wire = anew();
    let deltas = [opens(0, PartKind::Reasoning), says(0, "Hm."), opens(1, PartKind::Text)];
    assert_eq!(goes(&mut wire, &deltas), "...");
    assert_eq!(goes(&mut wire, &[says(1, "So."), signs(0), closes(0), says(1, " Yes.")]), "...o");
}

#[test]
fn a_search_waits_for_what_it_finds() {
    let mut wire = anew();
    let deltas = [opens(0, search("s1")), says(0, "{}"), closes(0), opens(1, PartKind::Text)];
    assert_eq!(goes(&mut wire, &deltas), "....");
    assert_eq!(goes(&mut wire, &[says(1, "Text."), closes(1)]), "..");
    assert_eq!(goes(&mut wire, &[opens(2, found("s2")), says(2, "[]"), closes(2)]), "...");
    let result = told(&mut wire, &[opens(3, found("s1")), says(3, "[]"), closes(3)]);
    assert!(result[..2].concat().is_empty() && result[2].contains("Text."), "{result:?}");
    // What could not be taken back any more is settled by it as well.
    let mut wire = anew();
    let thought = [opens(0, PartKind::Reasoning), says(0, "Hm."), signs(0), closes(0)];
    assert_eq!(goes(&mut wire, &thought), "....");
    assert_eq!(goes(&mut wire, &[opens(1, search("s")), says(1, "{}"), closes(1)]), "...");
    assert_eq!(goes(&mut wire, &[opens(2, found("s")), says(2, "[]"), closes(2)]), "..o");
}

#[test]
fn a_refusal_goes_out_when_it_is_whole() {
    let mut wire = anew();
    let deltas = [opens(0, PartKind::Refusal), says(0, "No."), closes(0)];
    assert_eq!(goes(&mut wire, &deltas), "..o");
    let mut wire = anew();
    let thought = [opens(0, PartKind::Reasoning), says(0, "Hm."), signs(0), closes(0)];
    assert_eq!(goes(&mut wire, &thought), "....");
    assert_eq!(goes(&mut wire, &[opens(1, PartKind::Refusal), says(1, "No."), closes(1)]), "..o");
}

#[test]
fn a_call_goes_out_when_it_is_whole_or_can_never_be_run() {
    let mut wire = anew();
    assert_eq!(goes(&mut wire, &[opens(0, call("a")), says(0, "{}"), closes(0)]), "..o");
    // Pieces of another call make it no whole one.
    let deltas = [opens(1, call("b")), says(1, "{\"a\":"), opens(2, call("c")), says(2, "1}")];
    assert_eq!(goes(&mut wire, &deltas), "....");
    let cut = told(&mut wire, &[Delta::Truncate { part: 1 }, Delta::Truncate { part: 2 }]);
    assert!(cut[0].is_empty() && cut[1].contains("\"b\"") && cut[1].contains("\"c\""), "{cut:?}");
    // A whole one that nobody may run would be run.
    let deltas = [opens(3, call("d")), says(3, "{}"), Delta::Truncate { part: 3 }];
    assert_eq!(goes(&mut wire, &deltas), "...");
    assert!(wire.said.is_empty() && wire.unsettled.is_empty());
}

/// A finished thought goes with the call that it led to.
#[test]
fn a_call_settles_the_thought_before_it() {
    let mut wire = anew();
    let thought = [opens(0, PartKind::Reasoning), says(0, "Hm."), signs(0), closes(0)];
    assert_eq!(goes(&mut wire, &thought), "....");
    assert_eq!(goes(&mut wire, &[opens(1, call("a")), says(1, "{}"), closes(1)]), "..o");
}

/// A client that waits is shown the beginning, if it is one; and that there is life, if there is nothing.
#[test]
fn a_beginning_that_waits_goes_out_with_a_sign_of_life() {
    let mut wire = anew();
    wire.attempt("anthropic", None);
    let alive = |wire: &mut Wire, holding| {
        let mut out = Vec::new();
        wire.keep_alive(holding, &Report::default(), &mut out);
        String::from_utf8(out).unwrap()
    };
    assert!(!alive(&mut wire, false).contains("message_start"));
    let data = r#"{"type":"message_start","message":{"id":"m","content":[],"usage":{}}}"#;
    let event = sse::Event { event: "message_start", ..sse::Event::new(data) };
    let raw = format!("event: message_start\ndata: {data}\n\n");
    let out = wire.frame(raw.into(), &event, Some(false), &Report::default());
    assert!(out.is_empty(), "up to its first word another attempt can take its place");
    assert!(!alive(&mut wire, true).contains("message_start"), "a call is being made");
    assert!(alive(&mut wire, false).contains(data));
    assert!(!alive(&mut wire, false).contains(data), "once");
}

/// Comments go out when they are whole, wherever no event waits.
#[test]
fn a_comment_goes_out_with_its_line() {
    for end in ["\n", "\r"] {
        let mut wire = anew();
        wire.attempt("anthropic", None);
        wire.begun = true;
        let mut piece = |raw: &str, between| {
            wire.piece(raw.as_bytes(), between, Some(false), &Report::default())
        };
        assert_eq!(piece(": he", true), "");
        assert_eq!(piece(&format!("re{end}"), true), format!(": here{end}"));
        assert_eq!(piece(&format!("data: {{}}{end}"), false), "");
    }
}

#[test]
fn options_are_set_one_by_one() {
    let live = WireOptions::new().tools(ToolDelivery::Live).reasoning(WireReasoning::Whole);
    assert_eq!((live.tools, live.reasoning), (ToolDelivery::Live, WireReasoning::Whole));
}

#[test]
fn how_a_stream_ends() {
    for (bytes, tail) in [
        ("", Tail::Clean),
        ("data: {}\n\n", Tail::Clean),
        ("data: {\n\n", Tail::Clean),
        (": a comment\n", Tail::Clean),
        ("data: {}\n", Tail::Unended),
        ("data: [DONE]\n", Tail::Unended),
        ("data: [DONE]", Tail::Unended),
        ("data: {\"a\":\n", Tail::Torn),
        ("data: [DON", Tail::Torn),
        ("event: done\n", Tail::Torn),
    ] {
        assert_eq!(Tail::of(bytes.as_bytes()), tail, "{bytes:?}");
    }
}
