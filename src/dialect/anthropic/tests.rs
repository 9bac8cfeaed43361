//! Decoding quirks and request shapes, a line each.

use serde_json::{Value, json};

use super::super::{Capabilities, Dialect, Echo, InvalidRequest, Prefill, Rewrite, Wording, trace};
use super::Anthropic;
use crate::event::{Annotation, FinishReason, PartKind, Resume};
use crate::seam::Expect;
use crate::transcript::Transcript;

fn decode(events: &[&str]) -> String {
    let outline = Anthropic.outline(&Value::Null);
    trace::of(Anthropic.decoder(&outline, &known(Prefill::None)), events)
}

fn known(prefill: Prefill) -> Capabilities {
    Capabilities {
        prefill,
        ..Anthropic.capabilities("", "claude-sonnet-4-5")
    }
}

const TEXT: &str =
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const CALL: &str = r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#;
const STOP0: &str = r#"{"type":"content_block_stop","index":0}"#;
const STOP1: &str = r#"{"type":"content_block_stop","index":1}"#;
const END: &str = r#"{"type":"message_stop"}"#;

fn text(text: &str) -> String {
    format!(
        r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":{text}}}}}"#
    )
}

fn block(block: &str) -> String {
    format!(r#"{{"type":"content_block_start","index":0,"content_block":{block}}}"#)
}

fn delta(delta: &str) -> String {
    format!(r#"{{"type":"content_block_delta","index":0,"delta":{delta}}}"#)
}

fn input(json: &str) -> String {
    let json = Value::from(json);
    format!(
        r#"{{"type":"content_block_delta","index":1,"delta":{{"type":"input_json_delta","partial_json":{json}}}}}"#
    )
}

fn reason(reason: &str) -> String {
    format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}}}}"#)
}

#[test]
fn text_and_its_end() {
    let (hi, escaped) = (text(r#""Hi""#), text(r#""a\nb""#));
    let end_turn = reason("end_turn");
    assert_eq!(
        decode(&[TEXT, &hi, &escaped, STOP0, &end_turn, END]),
        "0=text 0+Hi 0+a\nb 0/ finish(Stop) end"
    );
    // Padding before the last brace; an event line instead of the type; both, and they differ.
    assert_eq!(
        decode(&[r#"{"type":"message_stop"      }"#]),
        "finish(Unstated) end"
    );
    assert_eq!(decode(&[r#"message_stop|{}"#]), "finish(Unstated) end");
    assert_eq!(
        decode(&[r#"ping|{"type":"message_stop"}"#]),
        "finish(Unstated) end"
    );
    // The reason in the message start, as programmatic tool calling sends it.
    let start = r#"{"type":"message_start","message":{"id":"m","model":"c","content":[{"type":"tool_use","id":"x","name":"f","input":{}}],"stop_reason":"tool_use"}}"#;
    assert_eq!(decode(&[start, END]), "start(m,c) finish(ToolUse) end");
    // Text in the block start, text without a block start, text after the block's end.
    assert_eq!(
        decode(&[&block(r#"{"type":"text","text":"Hi"}"#)]),
        "0=text 0+Hi"
    );
    assert_eq!(decode(&[&hi, &hi]), "0=text 0+Hi 0+Hi");
    assert_eq!(decode(&[TEXT, STOP0, &hi]), "0=text 0/ 1=text 1+Hi");
    // Emptiness is life, no more.
    assert_eq!(decode(&[TEXT, &text(r#""""#), &text("null")]), "0=text . .");
}

#[test]
fn every_reason_once() {
    for (word, signal) in [
        ("end_turn", "finish(Stop)"),
        ("max_tokens", "finish(Length)"),
        ("stop_sequence", "finish(StopSequence)"),
        ("tool_use", "finish(ToolUse)"),
        ("pause_turn", "finish(Pause)"),
        ("refusal", "finish(Refusal)"),
        ("model_context_window_exceeded", "finish(ContextWindow)"),
        ("compaction", "finish(Other(\"compaction\"))"),
        ("abort", "fault(Transient,abort)"),
        ("error", "fault(Transient,error)"),
    ] {
        assert_eq!(decode(&[&reason(word)]), signal, "{word}");
    }
    let end_turn = reason("end_turn");
    assert_eq!(
        decode(&[&end_turn, &end_turn, END, "[DONE]"]),
        "finish(Stop) . end end"
    );
    assert_eq!(
        decode(&[r#"{"type":"message_delta","delta":{"stop_reason":null}}"#]),
        "."
    );
}

#[test]
fn tool_calls() {
    let (a, b, nothing) = (input(r#"{"a""#), input(":1}"), input(""));
    let (used, cut) = (reason("tool_use"), reason("max_tokens"));
    assert_eq!(
        decode(&[CALL, &nothing, &a, &b, STOP1, &used]),
        "0=call(t,f) . 0+{\"a\" 0+:1} 0/ finish(ToolUse)"
    );
    // No input at all is an empty one, but only if no limit stood in the way.
    assert_eq!(
        decode(&[CALL, &nothing, STOP1, &used]),
        "0=call(t,f) . . 0/ finish(ToolUse)"
    );
    assert_eq!(decode(&[CALL, STOP1, TEXT]), "0=call(t,f) . 0/ 1=text");
    assert_eq!(decode(&[CALL, STOP1, &cut]), "0=call(t,f) . finish(Length)");
    assert_eq!(
        decode(&[CALL, STOP1, END]),
        "0=call(t,f) . 0/ finish(Unstated) end"
    );
    // Input in the block start counts if no other comes.
    let whole = CALL.replace(r#""input":{}"#, r#""input":{"k":2}"#);
    assert_eq!(decode(&[&whole, STOP1]), "0=call(t,f) 0+{\"k\":2} 0/");
    assert_eq!(
        decode(&[&whole, &a, &b, STOP1]),
        "0=call(t,f) 0+{\"a\" 0+:1} 0/"
    );
    // Input for what is no call, or for nothing.
    assert_eq!(decode(&[&a]), "ERR");
    assert_eq!(decode(&[&TEXT.replace('0', "1"), &a]), "0=text ERR");
}

#[test]
fn reasoning_and_notes() {
    let thinking = block(r#"{"type":"thinking","thinking":"","signature":""}"#);
    let hm = delta(r#"{"type":"thinking_delta","thinking":"Hm"}"#);
    let omitted = delta(r#"{"type":"thinking_delta","thinking":"","estimated_tokens":50}"#);
    let signature = delta(r#"{"type":"signature_delta","signature":"s="}"#);
    assert_eq!(
        decode(&[&thinking, &hm, &signature, STOP0]),
        "0=reasoning 0+Hm 0~sig(s=) 0/"
    );
    assert_eq!(
        decode(&[&thinking, &omitted, &signature, STOP0]),
        "0=reasoning . 0~sig(s=) 0/"
    );
    let signed = block(r#"{"type":"thinking","thinking":"Hm","signature":"s="}"#);
    assert_eq!(decode(&[&signed, STOP0]), "0=reasoning 0+Hm 0~sig(s=) 0/");
    let cited = delta(r#"{"type":"citations_delta","citation":{"type":"x", "n":1}}"#);
    assert_eq!(
        decode(&[TEXT, &cited]),
        r#"0=text 0~cite({"type":"x", "n":1})"#
    );
    let cited = block(r#"{"type":"text","text":"a","citations":[{"n":1},{"n":2}]}"#);
    assert_eq!(
        decode(&[&cited]),
        r#"0=text 0+a 0~cite({"n":1}) 0~cite({"n":2})"#
    );
}

#[test]
fn blocks_that_are_handed_on_whole() {
    let server = CALL.replace("tool_use", "server_tool_use");
    assert_eq!(
        decode(&[&server, &input(r#"{"q""#), &input(":1}"), STOP1]),
        r#"0=server(t,f) . . 0+{"type":"server_tool_use","id":"t","name":"f","input":{"q":1}} 0/"#
    );
    let mcp = CALL.replace("tool_use", "mcp_tool_use");
    assert_eq!(
        decode(&[&mcp, STOP1]),
        r#"0=server(t,f) 0+{"type":"mcp_tool_use","id":"t","name":"f","input":{}} 0/"#
    );
    let result = r#"{"type":"web_search_tool_result","tool_use_id":"t","content":[ {"a":1} ]}"#;
    assert_eq!(
        decode(&[&block(result), STOP0]),
        format!("0=result(t) 0+{result} 0/")
    );
    let redacted = r#"{"type":"redacted_thinking","data":"xx"}"#;
    assert_eq!(
        decode(&[&block(redacted), STOP0]),
        format!("0=opaque(redacted_thinking) 0+{redacted} 0/")
    );
    let compaction = block(r#"{"type":"compaction","content":null}"#);
    let more = delta(r#"{"type":"compaction_delta","content":"Sum","encrypted":"e"}"#);
    let rest = delta(r#"{"type":"compaction_delta","content":"med"}"#);
    assert_eq!(
        decode(&[&compaction, &more, &rest, STOP0]),
        r#"0=opaque(compaction) . . 0+{"type":"compaction","content":"Summed","encrypted":"e"} 0/"#
    );
    let new = block(r#"{"type":"brand_new","n":[[1]]}"#);
    assert_eq!(
        decode(&[&new, &text(r#""t""#), STOP0]),
        r#"0=opaque(brand_new) . 0+{"type":"brand_new","n":[[1]],"text":"t"} 0/"#
    );
    // Input that the token limit cut stays out of the block.
    assert_eq!(
        decode(&[&server, &input(r#"{"q"#), STOP1]),
        r#"0=server(t,f) . 0+{"type":"server_tool_use","id":"t","name":"f","input":{}} 0/"#
    );
}

#[test]
fn messages_and_usage() {
    let start = |id: &str| {
        format!(
            r#"{{"type":"message_start","message":{{"id":"{id}","model":"c","usage":{{"input_tokens":2,"cache_read_input_tokens":3,"cache_creation_input_tokens":5,"output_tokens":1}}}}}}"#
        )
    };
    let usage = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9,"input_tokens":null,"output_tokens_details":{"thinking_tokens":4}}}"#;
    let (first, second) = (start("a"), start("b"));
    assert_eq!(
        decode(&[&first, usage]),
        "start(a,c) usage(10,1,3,5,0) usage(10,9,3,5,4) finish(Stop)"
    );
    // Twice the same message, then another: its blocks are others, and open ones stay open.
    assert_eq!(
        decode(&[
            &first,
            TEXT,
            &first,
            &text(r#""x""#),
            &second,
            TEXT,
            &text(r#""y""#),
            STOP0
        ]),
        "start(a,c) usage(10,1,3,5,0) 0=text start(a,c) usage(10,1,3,5,0) 0+x \
         start(b,c) usage(20,2,6,10,0) 1=text 1+y 1/"
    );
    assert_eq!(
        decode(&[r#"{"type":"message_start","message":{"id":7,"usage":"none"}}"#]),
        "start(-,-)"
    );
}

#[test]
fn life_errors_and_rubbish() {
    let deep = format!(
        r#"{{"type":"x","a":{}{}}}"#,
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    for (event, signals) in [
        (r#"{"type": "ping"}"#, "."),
        (r#"ping|"#, "."),
        ("keepalive|now", "."),
        (r#"{"type":"brand_new","x":1}"#, "."),
        (r#"{"type":"content_block_stop","index":7}"#, "."),
        (deep.as_str(), "."),
        ("[DONE]", "end"),
        (
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"brand_new_delta"}}"#,
            ".",
        ),
        (
            r#"error|{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#,
            "fault(Overloaded,overloaded_error)",
        ),
        (
            r#"{"type":"error","error":{"details":null,"type":"api_error"}}"#,
            "fault(Transient,api_error)",
        ),
        (
            r#"{"error":{"type":"invalid_request_error"}}"#,
            "fault(Invalid,invalid_request_error)",
        ),
        (
            r#"{"type":"error","message":"Overloaded"}"#,
            "fault(Overloaded,-)",
        ),
        ("error|Overloaded", "fault(Overloaded,-)"),
        ("error|", "fault(Unrecognised,-)"),
        (r#"{"type":"ping","error":null}"#, "."),
        ("{", "ERR"),
        ("[]", "ERR"),
        ("null", "ERR"),
        (
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":5}}"#,
            "ERR",
        ),
        (
            r#"{"type":"content_block_delta","index":0,"delta":"Hi"}"#,
            "ERR",
        ),
        (r#"{"type":"content_block_delta","index":0}"#, "ERR"),
        (r#"{"type":"content_block_start","index":0}"#, "ERR"),
        ("content_block_delta|garbage", "ERR"),
    ] {
        assert_eq!(
            decode(&[event]),
            signals,
            "{}",
            event.get(..90).unwrap_or(event)
        );
    }
}

#[test]
fn ten_megabytes_of_input_pass() {
    let long = input(&"x".repeat(10_000_000));
    let said = decode(&[CALL, &long, STOP1]);
    assert_eq!(said.len(), "0=call(t,f) 0+ 0/".len() + 10_000_000);
    // What must be kept back has a limit.
    let server = CALL.replace("tool_use", "server_tool_use");
    assert_eq!(decode(&[&server, &long, &long]), "0=server(t,f) . ERR");
}

#[test]
fn requests_that_cannot_be_streamed() {
    for (request, verdict) in [
        (json!({ "messages": [] }), Ok(())),
        (
            json!({ "messages": [], "stream": true, "model": "m" }),
            Ok(()),
        ),
        (json!([]), Err(InvalidRequest::NotAnObject)),
        (json!({}), Err(InvalidRequest::Missing("messages"))),
        (
            json!({ "messages": {} }),
            Err(InvalidRequest::WrongType("messages")),
        ),
        (
            json!({ "messages": [], "model": 5 }),
            Err(InvalidRequest::WrongType("model")),
        ),
        (
            json!({ "messages": [], "stream": 1 }),
            Err(InvalidRequest::WrongType("stream")),
        ),
        (
            json!({ "messages": [], "stream": false }),
            Err(InvalidRequest::NotStreaming),
        ),
    ] {
        assert_eq!(Anthropic.check(&request), verdict, "{request}");
    }
}

#[test]
fn what_a_request_says() {
    let request = json!({
        "model": "c", "max_tokens": 9, "thinking": { "type": "adaptive" }, "stop_sequences": ["x", ""],
    });
    let outline = Anthropic.outline(&request);
    assert_eq!(
        (&*outline.model, outline.choices, outline.max_tokens),
        ("c", 1, Some(9))
    );
    assert_eq!((outline.reasoning, outline.stops), (true, vec!["x".into()]));
    let off = Anthropic.outline(&json!({ "thinking": { "type": "disabled" } }));
    assert!(!off.reasoning && off.model.is_empty() && off.max_tokens.is_none());
}

fn said(text: &str) -> Transcript {
    trace::transcript(&[(PartKind::Text, text)])
}

#[test]
fn rungs() {
    use Resume::{Align, Instruct, Prefill as Pre, Quote};
    let request = json!({ "messages": [] });
    let call = PartKind::ToolCall {
        id: "t".into(),
        name: "f".into(),
    };
    let all = vec![Pre, Instruct, Quote, Align];
    let (noted, align) = (vec![Instruct, Quote, Align], vec![Align]);
    for (request, transcript, prefill, rungs) in [
        (request.clone(), said("Hi"), Prefill::Trailing, all.clone()),
        (request.clone(), said("Hi"), Prefill::None, noted.clone()),
        (
            request.clone(),
            said("Hi"),
            Prefill::ContinueFinalMessage,
            noted.clone(),
        ),
        (
            request.clone(),
            said(" \n"),
            Prefill::Trailing,
            align.clone(),
        ),
        (
            request.clone(),
            Transcript::new(),
            Prefill::Trailing,
            align.clone(),
        ),
        (
            json!({ "thinking": { "type": "enabled" } }),
            said("Hi"),
            Prefill::Trailing,
            noted.clone(),
        ),
        (
            json!({ "tool_choice": { "type": "any" } }),
            said("Hi"),
            Prefill::Trailing,
            noted.clone(),
        ),
        (
            json!({ "tool_choice": { "type": "auto" } }),
            said("Hi"),
            Prefill::Trailing,
            all,
        ),
        (
            json!({ "output_format": {} }),
            said("Hi"),
            Prefill::Trailing,
            align.clone(),
        ),
        (
            json!({ "output_config": { "format": {} } }),
            said("Hi"),
            Prefill::Trailing,
            align,
        ),
        (
            request.clone(),
            trace::transcript(&[(PartKind::Text, "Hi"), (PartKind::Reasoning, "hm")]),
            Prefill::Trailing,
            noted,
        ),
        (
            request,
            trace::transcript(&[(PartKind::Text, "Hi"), (call, "{}")]),
            Prefill::Trailing,
            vec![],
        ),
    ] {
        assert_eq!(
            Anthropic.resumes(&request, &transcript, &known(prefill)),
            rungs,
            "{request}"
        );
    }
}

fn rewritten(
    request: &Value,
    transcript: &Transcript,
    by: Resume,
    spent: Option<u64>,
) -> (Value, Expect) {
    let (known, wording) = (
        known(Prefill::Trailing),
        Wording::default()
            .with_instruct("I:{anchor}")
            .with_quote("Q:{partial}"),
    );
    let context = Rewrite {
        spent,
        ..Rewrite::new(&known, &wording)
    };
    let next = Anthropic
        .rewrite(request, transcript, by, &context)
        .expect("the rung is there");
    (next.request, next.expect)
}

#[test]
fn continuations() {
    let request = json!({ "temperature": 1.0, "max_tokens": 1000, "messages": [{ "role": "user", "content": "q" }], "z": [] });
    let with = |turns: Value, max: u64| {
        let mut request = request.clone();
        request["max_tokens"] = json!(max);
        let messages = request["messages"].as_array_mut().expect("a list");
        messages.extend(turns.as_array().expect("a list").clone());
        request
    };
    let turn = json!({ "role": "assistant", "content": [{ "type": "text", "text": "Hi you" }] });
    let anchor = || Expect::Anchor {
        sent: 6,
        anchor: "Hi you".into(),
    };
    let hi = said("Hi you \n");
    assert_eq!(
        rewritten(&request, &hi, Resume::Prefill, Some(3)),
        (
            with(json!([turn]), 997),
            Expect::Literal {
                sent: 6,
                echo: Echo::Never
            }
        )
    );
    let note = |text: &str| json!({ "role": "user", "content": text });
    assert_eq!(
        rewritten(&request, &hi, Resume::Instruct, Some(3)),
        (with(json!([turn, note("I:Hi you")]), 997), anchor())
    );
    assert_eq!(
        rewritten(&request, &hi, Resume::Quote, Some(3)),
        (with(json!([note("Q:Hi you")]), 997), anchor())
    );
    assert_eq!(
        rewritten(&request, &hi, Resume::Align, Some(3)),
        (request.clone(), Expect::Align)
    );
    // Key order is the caller's.
    let (next, _) = rewritten(&request, &hi, Resume::Quote, None);
    let keys: Vec<&String> = next.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["temperature", "max_tokens", "messages", "z"]);
}

#[test]
fn a_callers_own_prefill_is_gone_on_with() {
    for (own, whole) in [
        (json!("A:"), json!([{ "type": "text", "text": "A: b" }])),
        (
            json!([{ "type": "text", "text": "A:" }]),
            json!([{ "type": "text", "text": "A: b" }]),
        ),
        (
            json!([{ "type": "text", "text": "A:", "citations": [{}] }]),
            json!([{ "type": "text", "text": "A:", "citations": [{}] }, { "type": "text", "text": " b" }]),
        ),
    ] {
        let request = json!({ "messages": [{ "role": "assistant", "content": own }] });
        let (next, expect) = rewritten(&request, &said(" b"), Resume::Prefill, None);
        assert_eq!(
            next["messages"],
            json!([{ "role": "assistant", "content": whole }])
        );
        assert_eq!(
            expect,
            Expect::Literal {
                sent: 2,
                echo: Echo::Never
            }
        );
        let (next, _) = rewritten(&request, &said(" b"), Resume::Instruct, None);
        assert_eq!(next["messages"][0]["content"], whole);
        assert_eq!(next["messages"].as_array().map(Vec::len), Some(2));
    }
}

#[test]
fn the_token_limit_is_lowered_and_never_raised() {
    let long = "x".repeat(8_000);
    for (limit, budget, spent, lowered) in [
        (5_000, None, Some(700), 4_300),
        (5_000, None, None, 4_000),
        (1_100, None, None, 256),
        (100, None, None, 100),
        (700, None, Some(700), 1),
        (700, None, Some(9_000), 1),
        (5_000, Some(4_500), Some(700), 4_501),
        (5_000, Some(6_000), Some(700), 5_000),
    ] {
        let mut request = json!({ "messages": [], "max_tokens": limit });
        if let Some(budget) = budget {
            request["thinking"] = json!({ "type": "enabled", "budget_tokens": budget });
        }
        let (next, _) = rewritten(&request, &said(&long), Resume::Instruct, spent);
        assert_eq!(next["max_tokens"], lowered, "{limit} {budget:?} {spent:?}");
    }
    let (next, _) = rewritten(
        &json!({ "messages": [] }),
        &said("x"),
        Resume::Quote,
        Some(1),
    );
    assert_eq!(next.get("max_tokens"), None);
}

#[test]
fn turns_for_a_history() {
    let call = |id: &str| PartKind::ToolCall {
        id: id.into(),
        name: "f".into(),
    };
    let server = || PartKind::ServerCall {
        id: "s".into(),
        name: "g".into(),
    };
    let result = || PartKind::ServerResult { call: "s".into() };
    let opaque = |name: &str| PartKind::Opaque { name: name.into() };
    let (asked, answered) = (
        r#"{"type":"server_tool_use","id":"s"}"#,
        r#"{"type":"x_tool_result","tool_use_id":"s"}"#,
    );
    let text = json!({ "type": "text", "text": "Hi " });
    for (parts, content) in [
        (vec![(PartKind::Text, "Hi ")], json!([text])),
        (
            vec![(PartKind::Text, "\n\n"), (PartKind::Text, "Hi ")],
            json!([text]),
        ),
        (
            vec![(PartKind::Reasoning, "unsigned"), (PartKind::Text, "Hi ")],
            json!([text]),
        ),
        (
            vec![
                (call("a"), ""),
                (call("b"), r#"{"k":1}"#),
                (call("c"), r#"{"k"#),
                (call("d"), "[1]"),
            ],
            json!([
                { "type": "tool_use", "id": "a", "name": "f", "input": {} },
                { "type": "tool_use", "id": "b", "name": "f", "input": { "k": 1 } },
            ]),
        ),
        (
            vec![(server(), asked), (PartKind::Text, "Hi ")],
            json!([text]),
        ),
        (
            vec![(result(), answered), (PartKind::Text, "Hi ")],
            json!([text]),
        ),
        (
            vec![(server(), asked), (result(), answered)],
            json!([{ "type": "server_tool_use", "id": "s" }, { "type": "x_tool_result", "tool_use_id": "s" }]),
        ),
        (
            vec![
                (PartKind::Text, "Hi "),
                (
                    opaque("redacted_thinking"),
                    r#"{"type":"redacted_thinking"}"#,
                ),
            ],
            json!([text]),
        ),
        (
            vec![
                (
                    opaque("redacted_thinking"),
                    r#"{"type":"redacted_thinking"}"#,
                ),
                (PartKind::Text, "Hi "),
            ],
            json!([{ "type": "redacted_thinking" }, text]),
        ),
    ] {
        let message = Anthropic.message(&trace::transcript(&parts));
        assert_eq!(
            message,
            json!({ "role": "assistant", "content": content }),
            "{parts:?}"
        );
    }
    // A paused turn goes back with its last call open.
    let mut paused = trace::transcript(&[(server(), asked)]);
    trace::finish(&mut paused, FinishReason::Pause);
    let content = json!([{ "type": "server_tool_use", "id": "s" }]);
    assert_eq!(Anthropic.message(&paused)["content"], content);
}

#[test]
fn notes_go_into_the_history() {
    let mut signed = trace::transcript(&[(PartKind::Reasoning, "hm"), (PartKind::Text, "Hi")]);
    trace::annotate(&mut signed, 0, Annotation::Signature("s=".into()));
    trace::annotate(&mut signed, 1, Annotation::Citation(r#"{"n":1}"#.into()));
    let content = json!([
        { "type": "thinking", "thinking": "hm", "signature": "s=" },
        { "type": "text", "text": "Hi", "citations": [{ "n": 1 }] },
    ]);
    assert_eq!(Anthropic.message(&signed)["content"], content);
    let (next, _) = rewritten(&json!({ "messages": [] }), &signed, Resume::Instruct, None);
    assert_eq!(next["messages"][0]["content"], content);
}

#[test]
fn partial_turns_lose_what_cannot_be_sent() {
    let fallback = PartKind::Opaque {
        name: "fallback".into(),
    };
    let parts = [
        (fallback, r#"{"type":"fallback"}"#),
        (PartKind::Text, "a\n"),
        (PartKind::Text, " \n"),
    ];
    let (next, expect) = rewritten(
        &json!({ "messages": [] }),
        &trace::transcript(&parts),
        Resume::Prefill,
        None,
    );
    assert_eq!(
        next["messages"][0]["content"],
        json!([{ "type": "text", "text": "a" }])
    );
    assert_eq!(
        expect,
        Expect::Literal {
            sent: 1,
            echo: Echo::Never
        }
    );
}
