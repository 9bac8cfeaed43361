//! What real streams do, a line each.

use serde_json::json;

use super::super::super::{Dialect, trace};
use super::super::Gemini;

/// What is said of `events` and, if the stream `ends`, of its end, behind `stray` lines.
fn read(choices: u32, events: &[&str], stray: &str, ends: bool) -> String {
    let outline = Gemini.outline(&json!({ "generationConfig": { "candidateCount": choices } }));
    let decoder = Gemini.decoder(&outline, &Gemini.capabilities("", ""));
    trace::of_whole(decoder, events, stray, ends)
}

fn whole(events: &[&str]) -> String {
    read(1, events, "", true)
}

/// A frame of candidate 0 with these parts and this reason.
fn frame(parts: &str, reason: &str) -> String {
    let reason = match reason {
        "" => String::new(),
        reason => format!(r#","finishReason":"{reason}""#),
    };
    format!(
        r#"{{"candidates":[{{"content":{{"parts":[{parts}],"role":"model"}}{reason},"index":0}}]}}"#
    )
}

/// What is said of parts, each in a frame of its own.
fn parts(parts: &[&str]) -> String {
    let frames: Vec<String> = parts.iter().map(|part| frame(part, "")).collect();
    read(1, &frames.iter().map(String::as_str).collect::<Vec<_>>(), "", false)
}

#[test]
fn an_answer_is_finished_by_a_reason_and_the_end_of_its_stream() {
    let (hi, stop) = (frame(r#"{"text":"Hi"}"#, ""), frame(r#"{"text":""}"#, "STOP"));
    assert_eq!(whole(&[&hi, &stop]), "0=text 0+Hi . 0/ finish(Stop)");
    // Neither is enough alone.
    assert_eq!(read(1, &[&hi, &stop], "", false), "0=text 0+Hi .");
    assert_eq!(whole(&[&hi]), "0=text 0+Hi");
    assert_eq!(whole(&[]), "");
    // Reasons come early, several times, without content; text goes on.
    let early = frame(r#"{"text":"Hi"}"#, "STOP");
    assert_eq!(whole(&[&early, &hi]), "0=text 0+Hi 0+Hi 0/ finish(Stop)");
    let bare = r#"{"candidates":[{"finishReason":"RECITATION","index":0}]}"#;
    assert_eq!(whole(&[&early, bare]), "0=text 0+Hi . 0/ finish(ContentFilter)");
    assert_eq!(whole(&[&hi, "[DONE]"]), "0=text 0+Hi .");
}

#[test]
fn every_reason() {
    for (word, signal) in [
        ("STOP", ". finish(Stop)"),
        ("MAX_TOKENS", ". finish(Length)"),
        ("SAFETY", ". finish(ContentFilter)"),
        ("SPII", ". finish(ContentFilter)"),
        ("IMAGE_SAFETY", ". finish(ContentFilter)"),
        ("LANGUAGE", ". finish(Other(\"LANGUAGE\"))"),
        ("MALFORMED_FUNCTION_CALL", ". finish(Other(\"MALFORMED_FUNCTION_CALL\"))"),
        ("FINISH_REASON_UNSPECIFIED", "."),
        ("error", "fault(Transient,error)"),
    ] {
        assert_eq!(whole(&[&frame("", word)]), signal, "{word}");
    }
}

#[test]
fn nothing_is_proved_after_an_error() {
    let stop = frame(r#"{"text":"Hi"}"#, "STOP");
    for (error, fault) in [
        (
            r#"{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}"#,
            "Overloaded,UNAVAILABLE",
        ),
        (
            r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}"#,
            "RateLimited,RESOURCE_EXHAUSTED",
        ),
        (r#"{"error":{"code":500,"message":"m","status":"INTERNAL"}}"#, "Transient,INTERNAL"),
        (r#"{"error":{"code":499,"message":"m","status":"CANCELLED"}}"#, "Transient,CANCELLED"),
        (r#"[{"error":{"code":503,"status":"UNAVAILABLE"}}]"#, "Overloaded,UNAVAILABLE"),
        (r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#, "Policy,SAFETY"),
    ] {
        let said = format!("fault({fault}) 0=text 0+Hi");
        assert_eq!(whole(&[error, &stop]), said, "{error}");
    }
    let stray = "{\n  \"error\": {\n    \"code\": 499,\n    \"status\": \"CANCELLED\"\n  }\n}\n";
    assert_eq!(read(1, &[&stop], stray, true), "0=text 0+Hi fault(Transient,CANCELLED)");
    // Anything else between the events says nothing.
    assert_eq!(read(1, &[&stop], "retry-hint: 5\n", true), "0=text 0+Hi 0/ finish(Stop)");
    // Feedback about a prompt that was answered all the same.
    let rated = r#"{"promptFeedback":{"safetyRatings":[]}}"#;
    assert_eq!(whole(&[rated, &stop]), ". 0=text 0+Hi 0/ finish(Stop)");
}

#[test]
fn kinds_of_parts() {
    for (given, signals) in [
        (&[r#"{"text":"a\nb"}"#, r#"{"text":""}"#, r#"{"text":"c"}"#][..], "0=text 0+a\nb . 0+c"),
        (&[r#"{"text":"hm","thought":true}"#, r#"{"text":"a"}"#], "0=reasoning 0+hm 0/ 1=text 1+a"),
        // A signature ends what it covers, with or without text of its own.
        (
            &[r#"{"text":"a"}"#, r#"{"text":"","thoughtSignature":"S"}"#, r#"{"text":"b"}"#],
            "0=text 0+a 0~sig(S) 0/ 1=text 1+b",
        ),
        (
            &[r#"{"text":"a"}"#, r#"{"text":"b","thoughtSignature":"S"}"#],
            "0=text 0+a 0/ 1=text 1+b 1~sig(S)",
        ),
        (&[r#"{"text":"hm","thought":true,"thoughtSignature":"S"}"#], "0=reasoning 0+hm 0~sig(S)"),
        // With nothing before it that it could be noted on, it is a part of its own.
        (
            &[r#"{"text":"hm","thought":true}"#, r#"{"text":"","thoughtSignature":"S"}"#],
            r#"0=reasoning 0+hm 0/ 1=opaque(text) 1+{"text":"","thoughtSignature":"S"} 1/"#,
        ),
        (
            &[r#"{"thoughtSignature":"S","executableCode":{"code":"1"}}"#],
            r#"0=server(,executableCode) 0+{"thoughtSignature":"S","executableCode":{"code":"1"}} 0/"#,
        ),
        (
            &[r#"{"inlineData":{"data":"AA=="}}"#],
            r#"0=opaque(inlineData) 0+{"inlineData":{"data":"AA=="}} 0/"#,
        ),
        (
            &[r#"{"toolCall":{"id":"i"}}"#, r#"{"toolResponse":{"id":"i"}}"#],
            r#"0=server(i,toolCall) 0+{"toolCall":{"id":"i"}} 0/ 1=result(i) 1+{"toolResponse":{"id":"i"}} 1/"#,
        ),
        (&[r#"{"brandNew":1}"#], r#"0=opaque(brandNew) 0+{"brandNew":1} 0/"#),
        (&["{}"], "."),
        (&[r#"{"text":5}"#], "ERR"),
        (&["5"], "ERR"),
    ] {
        assert_eq!(parts(given), signals, "{given:?}");
    }
    for empty in [
        "{}",
        r#"{"candidates":null}"#,
        r#"{"candidates":[{"index":0}]}"#,
        r#"{"candidates":[{"content":null}]}"#,
        r#"{"candidates":[{"content":{"role":"model"}}]}"#,
    ] {
        assert_eq!(whole(&[empty]), ".", "{empty}");
    }
}

#[test]
fn calls() {
    let call = |call: &str| format!(r#"{{"functionCall":{call},"thoughtSignature":"S"}}"#);
    for (given, signals) in [
        (call(r#"{"id":"i","name":"f","args":{"k": 1}}"#), r#"0=call(i,f) 0~sig(S) 0+{"k": 1} 0/"#),
        (call(r#"{"name":"f"}"#), "0=call(,f) 0~sig(S) 0+{} 0/"),
        (call(r#"{"name":"f","args":null}"#), "0=call(,f) 0~sig(S) 0+{} 0/"),
        (call(r#"{"args":{}}"#), "ERR"),
        (call("{}"), "."),
    ] {
        assert_eq!(parts(&[&given]), signals, "{given}");
    }
    let stop = frame(r#"{"functionCall":{"name":"f"}}"#, "STOP");
    assert_eq!(whole(&[&stop]), "0=call(,f) 0+{} 0/ finish(ToolUse)");
}

#[test]
fn calls_in_pieces() {
    let piece = |call: &str| format!(r#"{{"functionCall":{call}}}"#);
    let pieces = [
        piece(r#"{"name":"f","args":{"a":1},"willContinue":true}"#),
        piece(
            r#"{"partialArgs":[{"jsonPath":"$.s","stringValue":"x","willContinue":true}],"willContinue":true}"#,
        ),
        piece(
            r#"{"partialArgs":[{"jsonPath":"$.s","stringValue":"y"},{"jsonPath":"$.l[0]","numberValue":1.5}],"willContinue":true}"#,
        ),
        piece(
            r#"{"partialArgs":[{"jsonPath":"$.l[1]","boolValue":true},{"jsonPath":"$.n","nullValue":"NULL_VALUE"}],"willContinue":true}"#,
        ),
        piece("{}"),
    ];
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    let args = r#"{"a":1,"s":"xy","l":[1.5,true],"n":null}"#;
    assert_eq!(parts(&pieces), format!("0=call(,f) . . . 0+{args} 0/"));
    // One that is never ended is not whole, whatever it has of its arguments.
    let frames: Vec<String> = pieces[..3].iter().map(|piece| frame(piece, "STOP")).collect();
    let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
    assert_eq!(whole(&frames), r#"0=call(,f) . . 0+{"a":1,"s":"xy","l":[1.5] finish(ToolUse)"#);
    let other = piece(r#"{"name":"g"}"#);
    assert_eq!(parts(&[pieces[0], &other]), r#"0=call(,f) 0+{"a":1 1=call(,g) 1+{} 1/"#);
    let lost = piece(r#"{"partialArgs":[{"jsonPath":"$.s","stringValue":"x"}]}"#);
    assert_eq!(parts(&[&lost]), "ERR");
}

#[test]
fn who_speaks_and_what_it_costs() {
    let said = whole(&[
        r#"{"responseId":"i","modelVersion":"m","usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":5,"thoughtsTokenCount":2}}"#,
        r#"{"responseId":"i","modelVersion":"m","usageMetadata":{"promptTokenCount":9}}"#,
        r#"{"usageMetadata":{"promptTokenCount":9,"toolUsePromptTokenCount":3,"cachedContentTokenCount":4,"candidatesTokenCount":8,"thoughtsTokenCount":2}}"#,
    ]);
    assert_eq!(said, "start(i,m) usage(9,7,0,0,2) . usage(12,10,4,0,2)");
}

#[test]
fn sources_are_citations_of_the_text() {
    let grounded = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"groundingMetadata":{"x":1},"citationMetadata":{}}]}"#;
    assert_eq!(
        whole(&[grounded]),
        r#"0=text 0+a 0~cite({"citationMetadata":{}}) 0~cite({"groundingMetadata":{"x":1}})"#
    );
}

#[test]
fn candidates_are_choices() {
    let of = |index: u32, reason: &str| {
        frame(r#"{"text":"a"}"#, reason).replace(r#""index":0"#, &format!(r#""index":{index}"#))
    };
    let frames = [of(0, "STOP"), of(1, "MAX_TOKENS")];
    let both = "0=text 0+a 1=text@1 1+a 0/ 1/ finish(Stop)";
    assert_eq!(read(2, &[&frames[0], &frames[1]], "", true), both);
    assert_eq!(read(2, &[&frames[0]], "", true), "0=text 0+a");
    assert_eq!(read(2, &[&frames[0], &of(1, "")], "", true), "0=text 0+a 1=text@1 1+a");
}
