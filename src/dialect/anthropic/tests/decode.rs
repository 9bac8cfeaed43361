//! What real streams do, a line each.

use serde_json::Value;

use super::super::super::{Capabilities, Dialect, Prefill, trace};
use super::super::Anthropic;

fn decode(events: &[&str]) -> String {
    let outline = Anthropic.outline(&Value::Null);
    trace::of(Anthropic.decoder(&outline, &known(Prefill::None)), events)
}

fn known(prefill: Prefill) -> Capabilities {
    Capabilities { prefill, ..Anthropic.capabilities("", "claude-sonnet-4-5") }
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
    assert_eq!(decode(&[r#"{"type":"message_stop"      }"#]), "finish(Unstated) end");
    assert_eq!(decode(&[r#"message_stop|{}"#]), "finish(Unstated) end");
    assert_eq!(decode(&[r#"ping|{"type":"message_stop"}"#]), "finish(Unstated) end");
    // The reason in the message start, as programmatic tool calling sends it.
    let start = r#"{"type":"message_start","message":{"id":"m","model":"c","content":[{"type":"tool_use","id":"x","name":"f","input":{}}],"stop_reason":"tool_use"}}"#;
    assert_eq!(decode(&[start, END]), "start(m,c) finish(ToolUse) end");
    // Text in the block start, text without a block start, text after the block's end.
    assert_eq!(decode(&[&block(r#"{"type":"text","text":"Hi"}"#)]), "0=text 0+Hi");
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
    assert_eq!(decode(&[&end_turn, &end_turn, END, "[DONE]"]), "finish(Stop) . end end");
    assert_eq!(decode(&[r#"{"type":"message_delta","delta":{"stop_reason":null}}"#]), ".");
}

#[test]
fn nothing_is_proved_after_an_error() {
    let (abort, end_turn) = (reason("abort"), reason("end_turn"));
    let error = r#"{"type":"error","error":{"type":"api_error"}}"#;
    assert_eq!(decode(&[&abort, END]), "fault(Transient,abort) end");
    assert_eq!(decode(&[error, &end_turn, END]), "fault(Transient,api_error) . end");
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
    assert_eq!(decode(&[CALL, &nothing, STOP1, &used]), "0=call(t,f) . . 0/ finish(ToolUse)");
    assert_eq!(decode(&[CALL, STOP1, TEXT]), "0=call(t,f) . 0/ 1=text");
    assert_eq!(decode(&[CALL, STOP1, &cut]), "0=call(t,f) . finish(Length)");
    assert_eq!(decode(&[CALL, STOP1, END]), "0=call(t,f) . 0/ finish(Unstated) end");
    // Input in the block start counts if no other comes.
    let whole = CALL.replace(r#""input":{}"#, r#""input":{"k":2}"#);
    assert_eq!(decode(&[&whole, STOP1]), "0=call(t,f) 0+{\"k\":2} 0/");
    assert_eq!(decode(&[&whole, &a, &b, STOP1]), "0=call(t,f) 0+{\"a\" 0+:1} 0/");
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
    assert_eq!(decode(&[&thinking, &hm, &signature, STOP0]), "0=reasoning 0+Hm 0~sig(s=) 0/");
    assert_eq!(decode(&[&thinking, &omitted, &signature, STOP0]), "0=reasoning . 0~sig(s=) 0/");
    let signed = block(r#"{"type":"thinking","thinking":"Hm","signature":"s="}"#);
    assert_eq!(decode(&[&signed, STOP0]), "0=reasoning 0+Hm 0~sig(s=) 0/");
    let cited = delta(r#"{"type":"citations_delta","citation":{"type":"x", "n":1}}"#);
    assert_eq!(decode(&[TEXT, &cited]), r#"0=text 0~cite({"type":"x", "n":1})"#);
    let cited = block(r#"{"type":"text","text":"a","citations":[{"n":1},{"n":2}]}"#);
    assert_eq!(decode(&[&cited]), r#"0=text 0+a 0~cite({"n":1}) 0~cite({"n":2})"#);
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
    assert_eq!(decode(&[&block(result), STOP0]), format!("0=result(t) 0+{result} 0/"));
    let redacted = r#"{"type":"redacted_thinking","data":"xx"}"#;
    assert_eq!(decode(&[&block(redacted), STOP0]), format!("0=redacted 0+{redacted} 0/"));
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
        decode(&[&first, TEXT, &first, &text(r#""x""#), &second, TEXT, &text(r#""y""#), STOP0]),
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
    // A signature that is none, on a block that is open.
    let unsigned = delta(r#"{"type":"signature_delta","signature":true}"#);
    assert_eq!(decode(&[TEXT, &unsigned]), "0=text .");
    let deep = format!(r#"{{"type":"x","a":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    for (event, signals) in [
        (r#"{"type": "ping"}"#, "."),
        (r#"ping|"#, "."),
        ("keepalive|now", "."),
        (r#"{"type":"brand_new","x":1}"#, "."),
        (r#"{"type":"content_block_stop","index":7}"#, "."),
        (deep.as_str(), "."),
        ("[DONE]", "end"),
        (r#"{"type":"content_block_delta","index":0,"delta":{"type":"brand_new_delta"}}"#, "."),
        (
            r#"error|{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#,
            "fault(Overloaded,overloaded_error)",
        ),
        (
            r#"{"type":"error","error":{"details":null,"type":"api_error"}}"#,
            "fault(Transient,api_error)",
        ),
        (r#"{"error":{"type":"invalid_request_error"}}"#, "fault(Invalid,invalid_request_error)"),
        (r#"{"type":"error","message":"Overloaded"}"#, "fault(Overloaded,-)"),
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
        (r#"{"type":"content_block_delta","index":0,"delta":"Hi"}"#, "ERR"),
        (r#"{"type":"content_block_delta","index":0}"#, "ERR"),
        (r#"{"type":"content_block_start","index":0}"#, "ERR"),
        ("content_block_delta|garbage", "ERR"),
    ] {
        assert_eq!(decode(&[event]), signals, "{}", event.get(..90).unwrap_or(event));
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
