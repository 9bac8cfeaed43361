//! What real streams do, a line each.

use serde_json::json;

use super::super::super::{Cursor, Decoder, Dialect, trace};
use super::super::OpenAiResponses;

fn decoder() -> Box<dyn Decoder> {
    let known = OpenAiResponses.capabilities("", "");
    OpenAiResponses.decoder(&OpenAiResponses.outline(&json!({})), &known)
}

fn decode(events: &[&str]) -> String {
    trace::of(decoder(), events)
}

/// An event of the family, with its other fields.
fn event(kind: &str, fields: &str) -> String {
    format!(r#"{{"type":"response.{kind}"{}{fields}}}"#, if fields.is_empty() { "" } else { "," })
}

fn decode_all(events: &[String]) -> String {
    decode(&events.iter().map(String::as_str).collect::<Vec<_>>())
}

fn added(index: u64, item: &str) -> String {
    event("output_item.added", &format!(r#""output_index":{index},"item":{item}"#))
}

fn done(index: u64, item: &str) -> String {
    event("output_item.done", &format!(r#""output_index":{index},"item":{item}"#))
}

fn text(kind: &str, fields: &str) -> String {
    event(kind, &format!(r#""output_index":0,"content_index":0,{fields}"#))
}

fn completed(response: &str) -> String {
    event("completed", &format!(r#""response":{{"status":"completed"{response}}}"#))
}

const MESSAGE: &str = r#"{"type":"message","id":"msg","role":"assistant","content":[]}"#;

#[test]
fn text_and_its_end() {
    let created = event("created", r#""response":{"id":"r","model":"m"}"#);
    let usage = r#","usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":2},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":3}}"#;
    let events = [
        created,
        event("in_progress", r#""response":{"id":"r","model":"m"}"#),
        added(0, MESSAGE),
        text("content_part.added", r#""part":{"type":"output_text","text":""}"#),
        text("output_text.delta", r#""delta":"He""#),
        text("output_text.delta", r#""delta":"llo""#),
        text("output_text.annotation.added", r#""annotation":{"url":"u"}"#),
        text("output_text.done", r#""text":"Hello""#),
        text(
            "content_part.done",
            r#""part":{"type":"output_text","text":"Hello","annotations":[{"url":"u"},{"url":"v"}]}"#,
        ),
        done(0, r#"{"type":"message","content":[{"type":"output_text","text":"Hello"}]}"#),
        completed(usage),
    ];
    assert_eq!(
        decode_all(&events),
        r#"start(r,m) . . 0=text 0+He 0+llo 0~cite({"url":"u"}) . 0~cite({"url":"v"}) 0/ . usage(9,5,2,0,3) finish(Stop) end"#
    );
    // An event that names itself only in the line before it, and `[DONE]` at the end.
    let delta = r#"response.output_text.delta|{"delta":"Hi"}"#;
    let end = completed("");
    assert_eq!(decode(&[delta, &end, "[DONE]"]), "0=text 0+Hi 0/ finish(Stop) end end");
    // Nothing but the terminal event proves anything.
    assert_eq!(decode(&[delta, "[DONE]"]), "0=text 0+Hi end");
}

#[test]
fn what_came_whole_is_said_once() {
    let part = r#""part":{"type":"output_text","text":"Hi"}"#;
    let item = r#"{"type":"message","content":[{"type":"output_text","text":"Hi"},{"type":"refusal","refusal":"No"}]}"#;
    for events in [
        vec![text("output_text.done", r#""text":"Hi""#), text("content_part.done", part)],
        vec![text("content_part.done", part)],
        vec![
            text("content_part.added", r#""part":{"type":"output_text","text":""}"#),
            text("content_part.done", part),
        ],
    ] {
        assert!(decode_all(&events).starts_with("0=text 0+Hi"), "{events:?}");
        let events = [events, vec![done(0, item)]].concat();
        let all = decode_all(&events);
        assert_eq!(all.matches("+Hi").count(), 1, "{all}");
        assert_eq!(all.matches("1=refusal 1+No 1/").count(), 1, "{all}");
    }
    assert_eq!(decode_all(&[done(0, item)]), "0=text 0+Hi 0/ 1=refusal 1+No 1/");
    // All of it in the last event.
    let output = format!(r#","output":[{item}]"#);
    assert_eq!(
        decode_all(&[completed(&output)]),
        "0=text 0+Hi 0/ 1=refusal 1+No 1/ finish(Stop) end"
    );
    let streamed = [text("output_text.delta", r#""delta":"Hi""#), completed(&output)];
    assert_eq!(decode_all(&streamed), "0=text 0+Hi 0/ finish(Stop) end");
}

#[test]
fn calls_of_the_callers() {
    let call = r#"{"type":"function_call","id":"fc","call_id":"c","name":"f","arguments":""}"#;
    let whole = r#"{"type":"function_call","id":"fc","call_id":"c","name":"f","arguments":"{}","status":"completed"}"#;
    let piece = |text: &str| {
        event("function_call_arguments.delta", &format!(r#""output_index":0,"delta":"{text}""#))
    };
    let all = event("function_call_arguments.done", r#""output_index":0,"arguments":"{}""#);
    let end = completed("");
    for events in [
        vec![added(0, call), piece("{}"), all.clone(), done(0, whole)],
        vec![added(0, call), all, done(0, whole)],
        vec![added(0, call), done(0, whole)],
        vec![done(0, whole)],
        vec![added(0, call), piece("{}")],
    ] {
        let events = [events, vec![end.clone()]].concat();
        let said = decode_all(&events).replace(" . ", " ");
        assert_eq!(said, "0=call(c,f) 0+{} 0/ finish(ToolUse) end", "{events:?}");
    }
    // The token limit in the middle of it, and input for a call that never began.
    let short = whole.replace("completed", "incomplete");
    let limit =
        event("incomplete", r#""response":{"incomplete_details":{"reason":"max_output_tokens"}}"#);
    assert_eq!(
        decode_all(&[added(0, call), piece("{"), done(0, &short), limit]),
        "0=call(c,f) 0+{ . finish(Length) end"
    );
    assert_eq!(decode_all(&[piece("{")]), "ERR");
    // Free text is a JSON string.
    let custom = r#"{"type":"custom_tool_call","call_id":"c","name":"sql","input":""}"#;
    let whole = r#"{"type":"custom_tool_call","call_id":"c","name":"sql","input":"a\"b"}"#;
    let piece = |text: &str| {
        event("custom_tool_call_input.delta", &format!(r#""output_index":0,"delta":"{text}""#))
    };
    assert_eq!(
        decode_all(&[added(0, custom), piece("a"), piece(r#"\"b"#), done(0, whole), end.clone()]),
        r#"0=call(c,sql) 0+"a 0+\"b 0+" 0/ finish(ToolUse) end"#
    );
    assert_eq!(decode_all(&[done(0, whole)]), r#"0=call(c,sql) 0+"a\"b 0+" 0/"#);
    // Tools of the API's own that run at the caller's.
    let shell = r#"{"type":"local_shell_call","id":"l","call_id":"c","action":{}}"#;
    assert_eq!(
        decode_all(&[added(0, shell), done(0, shell), end]),
        format!("0=call(c,local_shell_call) 0+{shell} 0/ finish(ToolUse) end")
    );
}

/// A client reads what it is when it is done.
#[test]
fn an_item_ends_as_what_it_began() {
    let items = [
        "message",
        "reasoning",
        "function_call",
        "custom_tool_call",
        "web_search_call",
        "apply_patch_call",
    ];
    let item = |kind| format!(r#"{{"type":"{kind}","name":"f","arguments":"{{}}"}}"#);
    for began in items {
        for ended in items {
            let trace = decode_all(&[added(0, &item(began)), done(0, &item(ended))]);
            assert_eq!(trace.ends_with("ERR"), began != ended, "{began}, {ended}: {trace}");
            // What cannot be read is no end of what began.
            let twice = [added(0, &item(began)), done(0, &item(ended)), done(0, &item(ended))];
            let trace = decode_all(&twice);
            assert_eq!(
                trace.matches("ERR").count() == 2,
                began != ended,
                "{began}, {ended}: {trace}"
            );
        }
    }
}

/// A call that the provider turns out to have run itself is none of the caller's.
#[test]
fn who_runs_a_call_is_known_where_it_begins() {
    let shell = |environment: &str| {
        let environment = format!(r#""environment":{{"type":"{environment}"}}"#);
        format!(r#"{{"type":"shell_call","call_id":"c",{environment}}}"#)
    };
    let environments = ["container_auto", "local"];
    for (began, ended) in environments.into_iter().zip(environments.into_iter().rev()) {
        let trace = decode_all(&[added(0, &shell(began)), done(0, &shell(ended))]);
        assert!(trace.ends_with("ERR"), "{trace}");
    }
}

/// Of a message that came whole, and in pieces.
#[test]
fn content_that_cannot_be_read_is_no_content() {
    for content in [
        r#"[{"type":"output_text","text":7}]"#,
        r#"[{"type":"output_text","text":"Hello \ud83d"}]"#,
        r#"[{"type":"refusal","refusal":{}}]"#,
        r#"{"type":"output_text","text":"Hello"}"#,
    ] {
        let item = format!(r#"{{"type":"message","content":{content}}}"#);
        let response = format!(r#","output":[{item}]"#);
        for events in [vec![done(0, &item)], vec![completed(&response)]] {
            let trace = decode_all(&events);
            assert!(trace.starts_with("ERR"), "{content}: {trace}");
        }
    }
    let unlisted = completed(r#","output":{}"#);
    assert!(decode_all(&[unlisted]).starts_with("ERR"));
    let part = text("content_part.done", r#""part":{"type":"output_text","text":7}"#);
    assert!(decode_all(&[part]).starts_with("ERR"));
    // What is no text or refusal is nothing that we read.
    let item =
        r#"{"type":"message","content":[{"type":"image","text":7},{"type":"text","text":"Hi"}]}"#;
    assert!(decode_all(&[done(0, item)]).contains("+Hi"));
    assert_eq!(decode_all(&[completed(r#","output":null"#)]), "finish(Stop) end");
}

#[test]
fn items_of_the_providers() {
    for (item, kind) in [
        (r#"{"type":"web_search_call","id":"w"}"#, "result(w)"),
        (r#"{"type":"code_interpreter_call","id":"x","outputs":[]}"#, "result(x)"),
        (r#"{"type":"mcp_list_tools","id":"x"}"#, "opaque(mcp_list_tools)"),
        (r#"{"type":"compaction","id":"x"}"#, "opaque(compaction)"),
        (
            r#"{"type":"shell_call","call_id":"c","environment":{"type":"container_auto"}}"#,
            "server(c,shell_call)",
        ),
        (r#"{"type":"shell_call_output","call_id":"c"}"#, "result(c)"),
        (
            r#"{"type":"shell_call","call_id":"c","environment":{"type":"local"}}"#,
            "call(c,shell_call)",
        ),
    ] {
        let events = [added(0, item), event("web_search_call.searching", ""), done(0, item)];
        assert_eq!(decode_all(&events), format!("0={kind} . 0+{item} 0/"));
    }
}

#[test]
fn thoughts() {
    let begun = r#"{"type":"reasoning","id":"rs","summary":[]}"#;
    let summary = |text: &str| {
        event("reasoning_summary_text.delta", &format!(r#""output_index":0,"delta":"{text}""#))
    };
    let sealed = r#"{"type":"reasoning","id":"rs","summary":[],"encrypted_content":"e"}"#;
    // Shown, and to be sent back; shown; hidden, and to be sent back; hidden.
    assert_eq!(
        decode_all(&[added(0, begun), summary("a"), summary("b"), done(0, sealed)]),
        format!("0=reasoning 0+a 0+b 0~sig({sealed}) 0/")
    );
    assert_eq!(decode_all(&[added(0, begun), summary("a"), done(0, begun)]), "0=reasoning 0+a 0/");
    assert_eq!(
        decode_all(&[added(0, begun), done(0, sealed)]),
        format!("0=reasoning 0/ 1=redacted 1+{sealed} 1/")
    );
    assert_eq!(decode_all(&[added(0, begun), done(0, begun)]), "0=reasoning 0/");
    let whole = r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"s"}],"content":[{"type":"reasoning_text","text":"t"}]}"#;
    assert_eq!(decode_all(&[done(0, whole)]), format!("0=reasoning 0+st 0~sig({whole}) 0/"));
}

#[test]
fn ends_and_errors() {
    let incomplete = |reason: &str| {
        event(
            "incomplete",
            &format!(r#""response":{{"incomplete_details":{{"reason":{reason}}}}}"#),
        )
    };
    let failed = |error: &str| {
        event("failed", &format!(r#""response":{{"status":"failed","error":{error}}}"#))
    };
    for (data, said) in [
        (incomplete(r#""content_filter""#), "finish(ContentFilter) end"),
        (incomplete(r#""other""#), r#"finish(Other("other")) end"#),
        (incomplete("null"), "finish(Unstated) end"),
        (failed(r#"{"code":"server_error"}"#), "fault(Transient,server_error)"),
        (failed(r#"{"code":"invalid_prompt"}"#), "fault(Policy,invalid_prompt)"),
        (failed(r#"{"code":"rate_limit_exceeded"}"#), "fault(RateLimited,rate_limit_exceeded)"),
        (failed("null"), "fault(Unrecognised,failed)"),
        (
            r#"{"type":"error","code":"server_error","message":"m","sequence_number":3}"#.into(),
            "fault(Transient,server_error)",
        ),
        (
            r#"{"type":"error","error":{"code":"insufficient_quota"}}"#.into(),
            "fault(Billing,insufficient_quota)",
        ),
        (r#"error|{"message":"overloaded"}"#.into(), "fault(Overloaded,-)"),
        ("error|overloaded".into(), "fault(Overloaded,-)"),
        (r#"{"error":{"type":"server_error"}}"#.into(), "fault(Transient,server_error)"),
        (r#"{"type":"keepalive"}"#.into(), "."),
        (r#"{"type":"response.new.thing","delta":{"x":1}}"#.into(), "."),
        ("keepalive|now".into(), "."),
        ("rubbish".into(), "ERR"),
        ("response.new.thing|rubbish".into(), "ERR"),
        (r#"{"type":"response.output_text.delta","delta":7}"#.into(), "ERR"),
        (r#"{"type":"response.output_item.done"}"#.into(), "ERR"),
    ] {
        assert_eq!(decode(&[&data]), said, "{data}");
    }
    // What follows an error proves nothing.
    let fault = r#"{"type":"error","code":"server_error"}"#;
    assert_eq!(decode(&[fault, &completed("")]), "fault(Transient,server_error) end");
}

/// The place after each event.
fn places(mut decoder: Box<dyn Decoder>, events: &[String]) -> Vec<String> {
    let mut places = Vec::new();
    for event in events {
        let event = crate::sse::Event::new(event);
        decoder.decode(&event, &mut |_| {}).expect("it can be read");
        places.push(decoder.cursor().map_or("-".into(), |cursor| cursor.after.to_string()));
    }
    places
}

fn numbered(events: &[String], from: u64) -> Vec<String> {
    let number = |(number, event): (u64, &String)| {
        event.replacen('{', &format!(r#"{{"sequence_number":{number},"#), 1)
    };
    (from..).zip(events).map(number).collect()
}

#[test]
fn the_place_of_a_replay_is_before_what_is_not_whole() {
    let call = r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#;
    let events = [
        event("created", r#""response":{"id":"r"}"#),
        added(0, MESSAGE),
        text("output_text.delta", r#""delta":"a""#),
        done(0, r#"{"type":"message"}"#),
        added(1, call),
        event("function_call_arguments.delta", r#""output_index":1,"delta":"{}""#),
        done(1, call),
        completed(""),
    ];
    let numbered = numbered(&events, 0);
    assert_eq!(places(decoder(), &numbered), ["0", "1", "2", "3", "3", "3", "6", "-"]);
    // Text while a call is open: no place is right for both.
    let muddled =
        [&numbered[..5], &[numbered[2].replace(r#"_number":2"#, r#"_number":5"#)]].concat();
    assert_eq!(places(decoder(), &muddled).last().map(String::as_str), Some("-"));
    // Without numbers there is none.
    assert_eq!(places(decoder(), &events[..3]), ["-", "-", "-"]);
}

#[test]
fn a_replay_goes_on_in_the_middle() {
    let attached = || {
        let mut decoder = decoder();
        decoder.attach(&Cursor::new("r", "2"));
        decoder
    };
    let events = numbered(
        &[
            text("output_text.delta", r#""delta":"a""#),
            text("output_text.delta", r#""delta":"b""#),
            text("output_text.done", r#""text":"ab""#),
            done(0, r#"{"type":"message","content":[{"type":"output_text","text":"ab"}]}"#),
            completed(
                r#","output":[{"type":"message","content":[{"type":"output_text","text":"ab"}]}]"#,
            ),
        ],
        2,
    );
    let all: Vec<&str> = events.iter().map(String::as_str).collect();
    // What was read before, should it come, is not read again.
    assert_eq!(trace::of(attached(), &all), ". 0=text 0+b . 0/ finish(Stop) end");
    // Right after the last piece: nothing is said twice.
    assert_eq!(trace::of(attached(), &all[2..]), ". . finish(Stop) end");
    assert_eq!(attached().cursor(), Some(Cursor::new("r", "2")));
    assert_eq!(places(attached(), &events[1..2]), ["3"]);
}
