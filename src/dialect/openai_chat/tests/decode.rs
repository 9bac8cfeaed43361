//! What real streams do, a line each.

use serde_json::{Value, json};

use super::super::super::{Capabilities, Dialect, Echo, Prefill, trace};
use super::super::OpenAiChat;

fn known(prefill: Prefill, echo: Echo) -> Capabilities {
    Capabilities { prefill, echo, ..OpenAiChat.capabilities("", "") }
}

/// Decodes as `choices` were asked for; `[DONE]` is proof if `done`.
fn decode_as(choices: u32, done_is_proof: bool, events: &[&str]) -> String {
    let outline = OpenAiChat.outline(&json!({ "n": choices }));
    let known = Capabilities { done_is_proof, ..known(Prefill::None, Echo::Unknown) };
    trace::of(OpenAiChat.decoder(&outline, &known), events)
}

fn decode(events: &[&str]) -> String {
    decode_as(1, false, events)
}

/// Decodes the deltas of choice 0.
fn deltas(deltas: &[&str]) -> String {
    let chunk = |delta: &&str| {
        format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#)
    };
    let chunks: Vec<String> = deltas.iter().map(chunk).collect();
    decode(&chunks.iter().map(String::as_str).collect::<Vec<_>>())
}

fn finish(reason: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
}

fn call(call: &str) -> String {
    format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{call}]}}}}]}}"#)
}

const HI: &str = r#"{"id":"i","model":"m","choices":[{"index":0,"delta":{"content":"Hi"}}]}"#;

#[test]
fn text_and_its_end() {
    let stop = finish("stop");
    assert_eq!(decode(&[HI, &stop, "[DONE]"]), "start(i,m) 0=text 0+Hi 0/ finish(Stop) end");
    // Text in the finish chunk, the finish twice, text after it.
    let both = HI.replace(r#""Hi"}"#, r#""Hi"},"finish_reason":"stop""#);
    assert_eq!(
        decode(&[&both, &stop, HI, "[DONE]"]),
        "start(i,m) 0=text 0+Hi 0/ finish(Stop) . 1=text 1+Hi 1/ end"
    );
    // `[DONE]` is no proof, unless the server is declared to end so.
    assert_eq!(decode(&[HI, "[DONE]"]), "start(i,m) 0=text 0+Hi end");
    assert_eq!(
        decode_as(1, true, &[HI, "[DONE]"]),
        "start(i,m) 0=text 0+Hi 0/ finish(Unstated) end"
    );
    assert_eq!(decode_as(1, true, &[&stop, "[DONE]"]), "finish(Stop) end");
    assert_eq!(decode_as(1, true, &[r#"{"error":"x"}"#, "[DONE]"]), "fault(Unrecognised,-) end");
    assert_eq!(decode_as(1, true, &[&finish("abort"), "[DONE]"]), "fault(Transient,abort) end");
}

#[test]
fn nothing_is_proved_after_an_error() {
    let stop = finish("stop");
    let events = [r#"{"error":{"type":"server_error"}}"#, &stop, "[DONE]"];
    assert_eq!(decode(&events), "fault(Transient,server_error) . end");
    assert_eq!(decode_as(1, true, &events), "fault(Transient,server_error) . end");
}

#[test]
fn every_reason() {
    for (word, signal) in [
        ("stop", "finish(Stop)"),
        ("eos", "finish(Stop)"),
        ("length", "finish(Length)"),
        ("tool_calls", "finish(ToolUse)"),
        ("function_call", "finish(ToolUse)"),
        ("content_filter", "finish(ContentFilter)"),
        ("stop_sequence", "finish(StopSequence)"),
        ("model_length", "finish(ContextWindow)"),
        ("brand_new", "finish(Other(\"brand_new\"))"),
        ("", "."),
        ("abort", "fault(Transient,abort)"),
        ("error", "fault(Transient,error)"),
        ("network_error", "fault(Transient,network_error)"),
        ("insufficient_system_resource", "fault(Transient,insufficient_system_resource)"),
    ] {
        assert_eq!(decode(&[&finish(word)]), signal, "{word}");
    }
}

#[test]
fn kinds_of_content() {
    for (events, signals) in [
        (&[r#"{"content":"a\nb"}"#][..], "0=text 0+a\nb"),
        (&[r#"{"content":null}"#, r#"{"content":""}"#, "{}", "[]"], ". . . ."),
        (&[r#"{"refusal":"No"}"#, r#"{"refusal":""}"#], "0=refusal 0+No ."),
        (
            &[r#"{"reasoning_content":"hm"}"#, r#"{"content":"a"}"#, r#"{"content":"b"}"#],
            "0=reasoning 0+hm 0/ 1=text 1+a 1+b",
        ),
        (&[r#"{"reasoning":"hm"}"#, r#"{"reasoning":"m"}"#], "0=reasoning 0+hm 0+m"),
        (&[r#"{"reasoning":"hm","reasoning_content":"hm"}"#], "0=reasoning 0+hm"),
        (&[r#"{"reasoning":"hm","reasoning_content":""}"#], "0=reasoning 0+hm"),
        (&[r#"{"reasoning":{"x":1},"content":"a"}"#], "0=text 0+a"),
        (&[r#"{"reasoning":"hm","content":"a"}"#], "0=reasoning 0+hm 0/ 1=text 1+a"),
        (
            &[
                r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"}]}"#,
            ],
            "0=reasoning 0+hm 0/ 1=text 1+a",
        ),
        (&[r#"{"content":[{"type":"thinking","thinking":"hm"}]}"#], "0=reasoning 0+hm"),
        (&[r#"{"content":[{"type":"reference","reference_ids":[1]}]}"#], "."),
        (&[r#"{"content":5}"#], "ERR"),
        (&[r#"{"content":{"text":"a"}}"#], "ERR"),
        (&[r#"{"content":[5]}"#], "ERR"),
        (&[r#"{"content":"\ud83d\ude00"}"#], "0=text 0+😀"),
    ] {
        assert_eq!(deltas(events), signals, "{events:?}");
    }
}

#[test]
fn tool_calls_are_joined() {
    let begin =
        call(r#"{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}"#);
    let next = begin.replace(r#""index":0,"id":"a""#, r#""index":1,"id":"b""#);
    let piece = |index: &str, text: &str| {
        let text = Value::from(text);
        call(&format!(
            r#"{{"index":{index},"id":null,"function":{{"name":null,"arguments":{text}}}}}"#
        ))
    };
    let (open, close) = (piece("0", "{\"k\""), piece("0", ":1}"));
    let (used, cut) = (finish("tool_calls"), finish("length"));
    for (events, signals) in [
        // A call is whole when the next begins, or with the finish.
        (
            vec![&begin, &open, &close, &next, &used],
            "0=call(a,f) 0+{\"k\" 0+:1} 0/ 1=call(b,f) 1/ finish(ToolUse)",
        ),
        // All announced first, arguments later: nothing is whole before it has them.
        (vec![&begin, &next, &open, &close], "0=call(a,f) 1=call(b,f) 0+{\"k\" 0+:1} 0/"),
        // The token limit leaves open what is not whole.
        (vec![&begin, &open, &cut], "0=call(a,f) 0+{\"k\" finish(Length)"),
        (vec![&begin, &cut], "0=call(a,f) finish(Length)"),
        (vec![&begin, &open, &close, &cut], "0=call(a,f) 0+{\"k\" 0+:1} 0/ finish(Length)"),
        // A natural finish closes what it finds.
        (vec![&begin, &open, &used], "0=call(a,f) 0+{\"k\" 0/ finish(ToolUse)"),
        // What comes after the finish is closed once it is whole.
        (vec![&used, &begin, &open, &close], "finish(ToolUse) 0=call(a,f) 0+{\"k\" 0+:1} 0/"),
    ] {
        let events: Vec<&str> = events.into_iter().map(String::as_str).collect();
        assert_eq!(decode(&events), signals, "{events:?}");
    }
}

#[test]
fn tool_calls_of_real_servers() {
    for (calls, signals) in [
        // The id in every piece; an empty one; null arguments; arguments as an object.
        (
            &[
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}"#,
                r#"{"index":0,"id":"a","function":{"name":"","arguments":"}"}}"#,
            ][..],
            "0=call(a,f) 0+{ 0+}",
        ),
        (
            &[
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":null}}"#,
                r#"{"index":0,"id":"","function":{"arguments":"{}"}}"#,
            ],
            "0=call(a,f) 0+{}",
        ),
        (
            &[r#"{"index":0,"id":"a","function":{"name":"f","arguments":{"k": 1}}}"#],
            r#"0=call(a,f) 0+{"k": 1}"#,
        ),
        // The name later; no id at all; no index.
        (
            &[
                r#"{"index":0,"id":"a","function":{"arguments":"{"}}"#,
                r#"{"index":0,"function":{"name":"f","arguments":"}"}}"#,
            ],
            ". 0=call(a,f) 0+{ 0+}",
        ),
        (&[r#"{"index":0,"function":{"name":"f","arguments":"{}"}}"#], "0=call(,f) 0+{}"),
        (
            &[
                r#"{"id":"a","function":{"name":"f","arguments":"{"}}"#,
                r#"{"function":{"arguments":"}"}}"#,
                r#"{"id":"b","function":{"name":"g","arguments":"{}"}}"#,
            ],
            "0=call(a,f) 0+{ 0+} 0/ 1=call(b,g) 1+{}",
        ),
        // A new id under an index in use; the same without ids.
        (
            &[
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#,
                r#"{"index":0,"id":"b","function":{"name":"g","arguments":"{}"}}"#,
            ],
            "0=call(a,f) 0+{} 0/ 1=call(b,g) 1+{}",
        ),
        (
            &[
                r#"{"index":0,"function":{"name":"f","arguments":"{}"}}"#,
                r#"{"index":0,"function":{"name":"g","arguments":"{}"}}"#,
            ],
            "0=call(,f) 0+{} 0/ 1=call(,g) 1+{}",
        ),
        // Braces within strings close nothing.
        (
            &[
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{\"k\":\"}\\\"}"}}"#,
                r#"{"index":1,"id":"b","function":{"name":"g","arguments":""}}"#,
            ],
            r#"0=call(a,f) 0+{"k":"}\"} 1=call(b,g)"#,
        ),
        (&[r#"{"index":0,"id":"a","function":{"name":"f","arguments":5}}"#], "ERR"),
        (&[r#"{"index":0,"id":"a","function":null}"#, r#"{"index":0}"#], ". ."),
    ] {
        let chunks: Vec<String> = calls.iter().map(|piece| call(piece)).collect();
        let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
        assert_eq!(decode(&chunks), signals, "{calls:?}");
    }
    // The deprecated form; text before a call is over, text after it is another part.
    let (name, arguments) =
        (r#"{"function_call":{"name":"f"}}"#, r#"{"function_call":{"arguments":"{}"}}"#);
    assert_eq!(deltas(&[name, arguments]), ". 0=call(,f) 0+{}");
    assert_eq!(
        deltas(&[r#"{"content":"a"}"#, name, arguments, r#"{"content":"b"}"#]),
        "0=text 0+a 0/ 1=call(,f) 1+{} 2=text 2+b"
    );
}

#[test]
fn arguments_may_be_cut_anywhere() {
    let arguments = r#"{"k":"}\\\"{","l":[{}]}"#;
    for cut in 1..arguments.len() {
        let piece = |text: &str| {
            let text = Value::from(text);
            call(&format!(r#"{{"index":0,"id":"a","function":{{"name":"f","arguments":{text}}}}}"#))
        };
        let (head, tail) = arguments.split_at(cut);
        let next = call(r#"{"index":1,"id":"b","function":{"name":"g"}}"#);
        assert_eq!(
            decode(&[&piece(head), &piece(tail), &next]),
            format!("0=call(a,f) 0+{head} 0+{tail} 0/ 1=call(b,g)"),
            "{cut}"
        );
        // Not whole: the next call does not close it.
        assert_eq!(
            decode(&[&piece(head), &next]),
            format!("0=call(a,f) 0+{head} 1=call(b,g)"),
            "{cut}"
        );
    }
}

/// The engine may pass over a chunk as a last resort: nothing before it is forgotten.
#[test]
fn a_chunk_that_cannot_be_read_leaves_what_is_open() {
    let begin = call(r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{\"n\":"}}"#);
    let bad = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":7}}]}}]}"#;
    let rest = call(r#"{"index":0,"function":{"arguments":"1}"}}"#);
    assert_eq!(
        decode(&[&begin, bad, &rest, &finish("tool_calls")]),
        "0=call(a,f) 0+{\"n\": ERR 0+1} 0/ finish(ToolUse)"
    );
}

/// What is kept back is bounded: calls without a name, and choices.
#[test]
fn no_more_calls_and_choices_than_anybody_asks_for() {
    let mut decoder =
        OpenAiChat.decoder(&OpenAiChat.outline(&json!({})), &known(Prefill::None, Echo::Unknown));
    let mut read = |chunk: String| {
        let event = crate::sse::Event::new(&chunk);
        decoder.decode(&event, &mut |_| {}).is_ok()
    };
    let nameless = |id| call(&format!(r#"{{"id":"{id}","function":{{"arguments":"{{"}}}}"#));
    let calls = (0..5000).filter(|id| read(nameless(*id))).count();
    let choice =
        |index| format!(r#"{{"choices":[{{"index":{index},"delta":{{"content":"x"}}}}]}}"#);
    let choices = (1..5000).filter(|index| read(choice(*index))).count();
    assert_eq!((calls, choices), (1024, 1023));
}

#[test]
fn several_choices() {
    let one = HI.replace(r#""index":0"#, r#""index":1"#);
    let (stop, length) = (finish("stop"), finish("length").replace(r#""index":0"#, r#""index":1"#));
    assert_eq!(
        decode_as(2, false, &[HI, &one, &stop, &length]),
        "start(i,m) 0=text 0+Hi 1=text@1 1+Hi 0/ 1/ finish(Stop)"
    );
    // One that was asked for and never came, or never finished.
    assert_eq!(decode_as(2, false, &[HI, &stop, "[DONE]"]), "start(i,m) 0=text 0+Hi 0/ end");
    assert_eq!(
        decode_as(1, false, &[HI, &one, &stop, "[DONE]"]),
        "start(i,m) 0=text 0+Hi 1=text@1 1+Hi 0/ end"
    );
    // A first one may still come, until the end is told.
    let second = finish("stop").replace(r#""index":0"#, r#""index":1"#);
    assert_eq!(
        decode_as(1, false, &[&one, &second, HI, &stop]),
        "start(i,m) 0=text@1 0+Hi 0/ 1=text 1+Hi 1/ finish(Stop)"
    );
    assert_eq!(
        decode_as(1, false, &[&one, &second, "[DONE]"]),
        "start(i,m) 0=text@1 0+Hi 0/ finish(Stop) end"
    );
    let both =
        r#"{"choices":[{"index":0,"finish_reason":"stop"},{"index":1,"finish_reason":"abort"}]}"#;
    assert_eq!(decode_as(2, false, &[both]), "fault(Transient,abort)");
}

#[test]
fn chunks_of_real_servers() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    for (event, signals) in [
        // Perplexity and Writer: `message` beside `delta` is not said twice.
        (
            r#"{"choices":[{"message":{"content":"Hi there"},"delta":{"content":"Hi"}}]}"#,
            "0=text 0+Hi",
        ),
        (
            r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}"#,
            "0=text 0+Hi 0/ finish(Stop)",
        ),
        (r#"{"choices":[{"index":0,"finish_reason":null}]}"#, "."),
        (r#"{"choices":null}"#, "."),
        (r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}],"id":"","model":""}"#, "."),
        (
            r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2.0,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":4}}}"#,
            "usage(1,2,3,0,4)",
        ),
        (
            r#"{"usage":{"prompt_tokens":1,"prompt_cache_hit_tokens":5,"prompt_tokens_details":null}}"#,
            "usage(1,0,5,0,0)",
        ),
        (
            r#"{"choices":[],"x_groq":{"id":"r","usage":{"completion_tokens":7}}}"#,
            "usage(0,7,0,0,0)",
        ),
        (r#"{"usage":"none","x_groq":5}"#, "."),
        (r#"{"id":5,"model":{},"choices":[]}"#, "."),
        ("ping|2026-11-01", "."),
        ("ping|{}", "."),
        ("ping|", "."),
        ("completion.chunk|{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}", "0=text 0+a"),
        (deep.as_str(), "."),
        ("{", "ERR"),
        ("[]", "ERR"),
        ("null", "ERR"),
        ("data", "ERR"),
        (r#"{"choices":"x"}"#, "ERR"),
        (r#"{"choices":[{"delta":"Hi"}]}"#, "ERR"),
        (r#"{"choices":[{"delta":{"tool_calls":"x"}}]}"#, "ERR"),
    ] {
        assert_eq!(decode(&[event]), signals, "{}", event.get(..90).unwrap_or(event));
    }
    // Usage in every chunk, the finish in the last; usage comes before the finish.
    let (one, two) = (
        HI.replacen('{', r#"{"usage":{"completion_tokens":1},"#, 1),
        finish("stop").replacen('{', r#"{"usage":{"completion_tokens":2},"#, 1),
    );
    assert_eq!(
        decode(&[&one, &one, &two]),
        "start(i,m) 0=text 0+Hi usage(0,1,0,0,0) 0+Hi 0/ usage(0,2,0,0,0) finish(Stop)"
    );
}

#[test]
fn errors_before_content() {
    for (event, signals) in [
        (
            r#"{"error":{"message":"x","type":"server_error","code":null}}"#,
            "fault(Transient,server_error)",
        ),
        (
            r#"{"choices":[{"index":0,"delta":{"content":"no"},"finish_reason":"error"}],"error":{"code":"server_error","message":"x"}}"#,
            "fault(Transient,server_error)",
        ),
        (r#"{"choices":[{"delta":{"content":"no"},"error":{"code":502}}]}"#, "fault(Transient,-)"),
        (r#"{"error":{"code":"502"}}"#, "fault(Transient,-)"),
        (r#"{"error":"internal"}"#, "fault(Unrecognised,-)"),
        (
            r#"{"object":"error","message":"x","type":"BadRequestError","code":400}"#,
            "fault(Invalid,BadRequestError)",
        ),
        (r#"{"error":{"code":"content_filter"}}"#, "fault(Policy,content_filter)"),
        ("error|upstream is overloaded", "fault(Overloaded,-)"),
        ("error|{}", "fault(Unrecognised,-)"),
        (r#"{"error":null,"choices":[{"delta":{"content":"yes"}}]}"#, "0=text 0+yes"),
        (r#"{"error":{ },"choices":[{"delta":{"content":"yes"}}]}"#, "0=text 0+yes"),
        (r#"{"error":"","choices":[{"delta":{"content":"yes"}}]}"#, "0=text 0+yes"),
        (r#"{"error":false,"choices":[{"delta":{"content":"yes"}}]}"#, "0=text 0+yes"),
    ] {
        assert_eq!(decode(&[event]), signals, "{event}");
    }
}

#[test]
fn ten_megabytes_of_arguments_pass() {
    let long = "x".repeat(10_000_000);
    let named = call(&format!(r#"{{"id":"a","function":{{"name":"f","arguments":"{long}"}}}}"#));
    assert_eq!(decode(&[&named]).len(), "0=call(a,f) 0+".len() + long.len());
    // What must be kept back until a name comes has a limit.
    let unnamed = named.replace(r#""name":"f","#, "");
    assert_eq!(decode(&[&unnamed]), "ERR");
}
