//! What is written, and that it reads as what was said.

use serde_json::{Value, json};

use super::super::super::{Dialect, Place, Writer, trace};
use super::super::{Gemini, GeminiInteractions};
use crate::event::{Annotation, Delta, Finish, FinishReason, PartKind, Source, Usage};
use crate::report::Report;
use crate::sse;

/// Writes parts, each with its signature if it has one, and the end.
fn written(
    mut writer: Box<dyn Writer>,
    parts: &[(PartKind, &str, &str)],
    reason: FinishReason,
) -> Vec<u8> {
    let (mut out, report) = (Vec::new(), Report::default());
    for ((kind, text, signature), part) in parts.iter().zip(0..) {
        let place = Place::new(kind.clone(), 0);
        let mut write = |delta| writer.write(&delta, &place, &report, &mut out);
        write(Delta::Open { part, choice: 0, kind: kind.clone() });
        write(Delta::Append { part, text: (*text).into() });
        if !signature.is_empty() {
            let annotation = Annotation::Signature((*signature).into());
            write(Delta::Annotate { part, annotation });
        }
        write(Delta::Close { part });
    }
    let usage = Usage::default();
    let finish = Finish { reason, inferred: false, usage, source: Source::Model, ticket: None };
    writer.finish(&finish, false, &report, &mut out);
    out
}

fn read_again(dialect: &dyn Dialect, stream: &[u8]) -> String {
    let mut parser = sse::Parser::default();
    let (mut rest, mut events) = (stream, Vec::new());
    while let Some(event) = parser.next_event(&mut rest).expect("no limit is near") {
        events.push(event.data.to_owned());
    }
    let decoder = dialect.decoder(&dialect.outline(&Value::Null), &dialect.capabilities("", ""));
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    trace::of_whole(decoder, &events, "", true)
}

#[test]
fn what_is_written_reads_as_it_was_said() {
    let call = || PartKind::ToolCall { id: "i".into(), name: "f".into() };
    let code = PartKind::Opaque { name: "executableCode".into() };
    let parts = [
        (PartKind::Reasoning, "hm", "R"),
        (PartKind::Text, "Hi", "T"),
        (code, r#"{"executableCode":{"code":"1"}}"#, ""),
        (call(), "{\"k\":1}", "F"),
    ];
    let stream = written(Gemini.writer(&Value::Null), &parts, FinishReason::ToolUse);
    assert_eq!(
        read_again(&Gemini, &stream),
        "start(unbroken,-) 0=reasoning 0+hm 0~sig(R) 0/ 1=text 1+Hi 1~sig(T) 1/ \
         2=server(,executableCode) 2+{\"executableCode\":{\"code\":\"1\"}} 2/ \
         3=call(i,f) 3~sig(F) 3+{\"k\":1} 3/ . finish(ToolUse)"
    );
    let parts =
        [(PartKind::Reasoning, "hm", "R"), (PartKind::Text, "Hi", ""), (call(), "{\"k\":1}", "")];
    let writer = GeminiInteractions.writer(&json!({ "model": "m" }));
    let stream = written(writer, &parts, FinishReason::ToolUse);
    assert_eq!(
        read_again(&GeminiInteractions, &stream),
        "start(unbroken,m) 0=reasoning 0+hm 0~sig(R) 0/ 1=text 1+Hi 1/ 2=call(i,f) 2+{\"k\":1} 2/ \
         finish(ToolUse) end"
    );
}

/// python-genai reads every line of a response without `data: ` as JSON. Of an interaction it does not, and
/// there no event may come before the first.
#[test]
fn signs_of_life_are_nothing_to_a_reader() {
    for (dialect, is_comment) in [(&Gemini as &dyn Dialect, false), (&GeminiInteractions, true)] {
        let mut writer = dialect.writer(&Value::Null);
        let mut out = Vec::new();
        writer.remark("seam", &mut out);
        writer.keep_alive(&mut out);
        assert_eq!(out.starts_with(b":"), is_comment, "{}", dialect.name());
        assert_eq!(read_again(dialect, &out), if is_comment { "" } else { "." });
    }
}

#[test]
fn what_went_through_is_not_finished_again() {
    let mut writer = Gemini.writer(&Value::Null);
    let stop =
        r#"{"candidates":[{"finishReason":"MAX_TOKENS"}],"responseId":"i","modelVersion":"m"}"#;
    let (mut out, report) = (Vec::new(), Report::default());
    assert!(writer.passes(&sse::Event::new(stop)));
    let finish = Finish {
        reason: FinishReason::Length,
        inferred: false,
        usage: Usage::default(),
        source: Source::Model,
        ticket: None,
    };
    writer.finish(&finish, true, &report, &mut out);
    assert_eq!(out, b"");
    // Text behind it takes the word back; the identity stays.
    let place = Place::new(PartKind::Text, 0);
    let delta = Delta::Append { part: 0, text: "Hi".into() };
    writer.write(&delta, &place, &report, &mut out);
    writer.finish(&finish, true, &report, &mut out);
    let out = String::from_utf8(out).expect("text");
    assert_eq!(out.matches(r#""modelVersion":"m","responseId":"i""#).count(), 2, "{out}");
    assert_eq!(out.matches("MAX_TOKENS").count(), 1, "{out}");
}

#[test]
fn the_marker_behind_the_end_of_an_interaction_comes_once() {
    let completed = sse::Event::new(r#"{"event_type":"interaction.completed","interaction":{}}"#);
    let marker = sse::Event::new("[DONE]").event("done");
    for (passed, ended, written) in [
        (vec![&completed], false, "event: done\ndata: [DONE]\n\n"),
        // A server that ends in order without it has none.
        (vec![&completed], true, ""),
        (vec![&completed, &marker], false, ""),
    ] {
        let mut writer = GeminiInteractions.writer(&Value::Null);
        assert!(passed.iter().all(|event| writer.passes(event)));
        let finish = Finish {
            reason: FinishReason::Stop,
            inferred: false,
            usage: Usage::default(),
            source: Source::Model,
            ticket: None,
        };
        let mut out = Vec::new();
        writer.finish(&finish, ended, &Report::default(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), written);
    }
}
