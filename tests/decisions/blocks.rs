//! Blocks that are more than text: what of them goes on in another attempt, and what only its own attempt may say.

use std::sync::Arc;

use unbroken::engine::Notice;
use unbroken::{Annotation, Delta, PartKind, PartState};

use super::parts::{
    claude_one, closes, delta, ends, of, opened, opens, parts, says, search, structured, text,
    thought, told,
};
use super::*;

/// The first step's request, which another vendor is asked in its own format.
fn two_vendors() -> Plan {
    plan(vec![claude("one", "claude-sonnet-4-6"), gpt("two").model("gpt-4o")])
}

fn chat(deltas: &[Value], reason: &str) -> Exchange {
    let frame = |delta: &Value, reason: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        format!("data: {}\n\n", json!({"choices": [choice]}))
    };
    let mut body: String = deltas.iter().map(|delta| frame(delta, None)).collect();
    body += &frame(&json!({}), Some(reason));
    Exchange::stream(body + "data: [DONE]\n\n")
}

pub(super) fn citation(index: usize) -> String {
    let citation = json!({"type": "web_search_result_location", "url": "https://a.example"});
    delta(index, json!({"type": "citations_delta", "citation": citation}))
}

fn annotations(run: &Run) -> usize {
    run.transcript.parts().iter().map(|part| part.annotations().len()).sum()
}

/// A history of the caller's vendor names each call; a server that names none leaves it to whoever reads.
#[test]
fn a_call_of_another_vendor_that_has_no_id_is_given_one() {
    for (id, given) in [(None, false), (Some("call_7"), true)] {
        let function = json!({"name": "look", "arguments": "{}"});
        let mut call = json!({"index": 0, "type": "function", "function": function});
        if let Some(id) = id {
            call["id"] = json!(id);
        }
        let run = run(two_vendors(), |_, attempt| match &*attempt.upstream {
            "one" => status(503),
            _ => chat(&[json!({"tool_calls": [call]})], "tool_calls"),
        });
        let [part] = run.transcript.parts() else { panic!("{}", run.trace()) };
        let PartKind::ToolCall { id, .. } = part.kind() else { panic!("{}", run.trace()) };
        assert!(!id.is_empty());
        assert_eq!(&**id == "call_7", given, "{id}");
    }
    // Each one of its own.
    let function = json!({"name": "look", "arguments": "{}"});
    let calls =
        [0, 1].map(|index| json!({"index": index, "type": "function", "function": function}));
    let run = run(two_vendors(), |_, attempt| match &*attempt.upstream {
        "one" => status(503),
        _ => chat(&[json!({"tool_calls": calls})], "tool_calls"),
    });
    let [one, two] = run.transcript.parts() else { panic!("{}", run.trace()) };
    assert_ne!(one.kind(), two.kind());
}

/// What its own vendor notes of a text stays with it where the text was said in one go.
#[test]
fn citations_and_signatures_of_text_are_kept_where_they_can_only_mean_this_text() {
    let cited = |words: &str| opens(0, json!({"type": "text", "text": ""})) + &citation(0) + words;
    let says_text = |words: &str| delta(0, json!({"type": "text_delta", "text": words}));
    let whole = cited(&says_text(TEXT)) + &closes(0) + &ends("end_turn");
    let run = told(claude_one(), [Exchange::stream(whole)]);
    assert_eq!((annotations(&run), run.text().as_str()), (1, TEXT));

    // Before the text of a continuation has been joined it is not known what is cited.
    let noted = plan(vec![claude("one", "claude-sonnet-4-6")]);
    let first = says(&[text(0, &TEXT[..40])]).reset();
    let rest = cited(&says_text(&TEXT[10..])) + &closes(0) + &ends("end_turn");
    let run = told(noted.clone(), [first.clone(), Exchange::stream(rest)]);
    assert_eq!((annotations(&run), run.text().as_str()), (0, TEXT), "{}", run.trace());

    // Behind it, it is.
    let rest = text(0, &TEXT[10..]) + &citation(0) + &closes(0) + &ends("end_turn");
    let run = told(noted, [first, Exchange::stream(rest)]);
    assert_eq!((annotations(&run), run.text().as_str()), (1, TEXT), "{}", run.trace());
}

/// Google signs the text itself.
#[test]
fn a_signature_of_text_covers_the_attempt_that_gave_it() {
    let wire = Wire::Gemini;
    let frame = |words: &str, signed: bool, last: bool| {
        let mut part = json!({"text": words});
        if signed {
            part["thoughtSignature"] = json!("c2ln");
        }
        let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": [part]}});
        if last {
            candidate["finishReason"] = json!("STOP");
        }
        format!("data: {}\n\n", json!({"candidates": [candidate]}))
    };
    let run = told(one(wire), [Exchange::stream(frame(TEXT, true, true))]);
    let signatures = |run: &Run| {
        let parts = run.transcript.parts().iter().flat_map(|part| part.annotations());
        parts.filter(|note| matches!(note, Annotation::Signature(_))).count()
    };
    assert_eq!((signatures(&run), run.text().as_str()), (1, TEXT), "{}", run.trace());

    let first = Exchange::stream(frame(&TEXT[..40], false, false)).reset();
    let rest = frame(&TEXT[40..], false, false) + &frame("", true, true);
    let run = told(one(wire), [first, Exchange::stream(rest)]);
    assert_eq!((signatures(&run), run.text().as_str()), (0, TEXT), "{}", run.trace());
}

/// Its own vendor alone can read it, and only in the turn that it was made for.
#[test]
fn redacted_reasoning_belongs_to_the_attempt_that_began_the_answer() {
    let redacted = || opens(0, json!({"type": "redacted_thinking", "data": "c2Vj"})) + &closes(0);
    let is_redacted = |run: &Run| {
        run.transcript
            .parts()
            .iter()
            .filter(|part| *part.kind() == PartKind::RedactedReasoning)
            .count()
    };
    let whole = redacted() + &text(1, TEXT) + &closes(1) + &ends("end_turn");
    let run = told(claude_one(), [Exchange::stream(whole.clone())]);
    assert_eq!(is_redacted(&run), 1);
    // A continuation thinks of our question.
    let noted = plan(vec![claude("one", "claude-sonnet-4-6")]);
    let first = says(&[text(0, &TEXT[..40])]).reset();
    let rest = redacted() + &text(1, &TEXT[10..]) + &closes(1) + &ends("end_turn");
    let run = told(noted, [first, Exchange::stream(rest)]);
    assert_eq!((is_redacted(&run), run.text().as_str()), (0, TEXT), "{}", run.trace());
    // The answer said again brings it again.
    let first = says(&[redacted(), text(1, &TEXT[..40])]).reset();
    let run = told(structured(), [first, Exchange::stream(whole)]);
    assert_eq!((is_redacted(&run), run.text().as_str()), (1, TEXT), "{}", run.trace());
    assert_eq!(opened(&run), 2, "{}", run.trace());
}

/// What the provider's tools do before the first word does not come between the texts.
#[test]
fn a_search_before_the_text_of_a_continuation_leaves_its_seam_open() {
    let noted = plan(vec![claude("one", "claude-sonnet-4-6")]);
    let first = says(&[text(0, &TEXT[..40])]).reset();
    let rest = [search(0, "srv_1"), text(2, &TEXT[10..]), closes(2), ends("end_turn")];
    let run = told(noted.clone(), [first.clone(), says(&rest)]);
    assert_eq!((run.text().as_str(), run.report.unverified_seams()), (TEXT, 0), "{}", run.trace());
    assert_eq!(opened(&run), 4, "{}", run.trace());
    // Where there is no word, nothing is to be joined.
    let run = told(noted.clone(), [first.clone(), says(&[search(0, "srv_1"), ends("end_turn")])]);
    assert_eq!((run.result.is_ok(), run.text().as_str()), (true, &TEXT[..40]), "{}", run.trace());
    // Behind words, and behind a call of the caller's, the texts are joined before the next block comes.
    let at = |run: &Run, find: fn(&Event) -> bool| run.events.iter().position(find).unwrap();
    let joined = |run: &Run| at(run, |event| matches!(event, Event::Resumed(_)));
    let next = |run: &Run| {
        at(run, |event| match event {
            Event::Delta(Delta::Open { kind, .. }) => *kind != PartKind::Text,
            _ => false,
        })
    };
    let words = text(0, &TEXT[10..40]) + &closes(0) + &search(1, "srv_1") + &ends("end_turn");
    let call = opens(0, json!({"type": "tool_use", "id": "t", "name": "look", "input": {}}));
    for rest in [words, call + &closes(0) + &ends("tool_use")] {
        let run = told(noted.clone(), [first.clone(), Exchange::stream(rest)]);
        assert!(run.result.is_ok() && joined(&run) < next(&run), "{}", run.trace());
    }
}

/// A model that begins again does not think the same again.
#[test]
fn redacted_reasoning_is_nothing_that_a_repetition_has_to_bring_again() {
    let redacted = || opens(0, json!({"type": "redacted_thinking", "data": "c2Vj"})) + &closes(0);
    let call = json!({"type": "tool_use", "id": "t", "name": "look", "input": {}});
    let call = opens(2, call) + &closes(2) + &ends("tool_use");
    let noted = plan(vec![claude("one", "claude-sonnet-4-6")]);
    let first = says(&[redacted(), text(1, &TEXT[..40])]).reset();
    let rest = [text(0, TEXT), closes(0), call];
    let run = told(noted, [first.clone(), says(&rest)]);
    assert_eq!((run.result.is_ok(), run.text().as_str()), (true, TEXT), "{}", run.trace());
    // Nor does one that is asked the same again.
    let block = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}});
    let rest = [text(0, TEXT), closes(0), opens(1, block), closes(1), ends("end_turn")];
    let run = told(structured(), [first, says(&rest)]);
    assert_eq!((run.result.is_ok(), run.text().as_str()), (true, TEXT), "{}", run.trace());
}

/// Text that is held since it may be the beginning of a stop sequence goes out with what was noted on it.
#[test]
fn a_citation_of_text_that_is_held_to_the_end_is_kept() {
    let mut noted = plan(vec![claude("one", "claude-sonnet-4-6")]);
    let stop = format!("{}z.", &TEXT[36..40]);
    Arc::make_mut(&mut noted.request)["stop_sequences"] = json!([stop]);
    let first = says(&[text(0, &TEXT[..40])]).reset();
    let last = delta(0, json!({"type": "text_delta", "text": "z"})) + &citation(0);
    let rest = text(0, &TEXT[10..40]) + &last + &ends("end_turn");
    let run = told(noted.clone(), [first.clone(), Exchange::stream(rest)]);
    let said = TEXT[..40].to_owned() + "z";
    assert_eq!((annotations(&run), run.text()), (1, said.clone()), "{}", run.trace());
    // A thought that is open as well is another block.
    let rest = text(0, &TEXT[10..40]) + &last + &thought(1, "Hm.") + &ends("end_turn");
    let run = told(noted, [first, Exchange::stream(rest)]);
    assert_eq!((annotations(&run), run.text()), (1, said), "{}", run.trace());
}

/// A search is no other search, and another tool of the server's is none.
#[test]
fn a_block_of_another_name_is_another_answer() {
    let other = |kind: &str, name: &str| {
        let block = json!({"type": kind, "id": "srv_2", "name": name, "input": {}});
        opens(0, block) + &closes(0)
    };
    let whole = |block: String| {
        let result =
            json!({"type": "web_search_tool_result", "tool_use_id": "srv_2", "content": []});
        let result = opens(1, result) + &closes(1);
        Exchange::stream(block + &result + &text(2, TEXT) + &closes(2) + &ends("end_turn"))
    };
    let first = || says(&[search(0, "srv_1"), text(2, &TEXT[..30])]).reset();
    let run = told(structured(), [first(), whole(other("server_tool_use", "code_execution"))]);
    assert_eq!(kind(&run), ErrorKind::Diverged, "{}", run.trace());
    let run = told(structured(), [first(), whole(other("server_tool_use", "web_search"))]);
    assert_eq!((run.result.is_ok(), run.text().as_str()), (true, TEXT));
}

/// A caller shows a block as done when it is done, and not when the answer is.
#[test]
fn a_text_is_closed_where_its_provider_closes_it() {
    let run = told(
        claude_one(),
        [says(&[text(0, "One."), closes(0), thought(1, "Hm."), closes(1), ends("end_turn")])],
    );
    let at = |find: fn(&Event) -> bool| run.events.iter().position(find).unwrap();
    let close = at(|event| matches!(event, Event::Delta(Delta::Close { part: 0 })));
    let next = at(|event| matches!(event, Event::Delta(Delta::Open { part: 1, .. })));
    assert!(close < next, "{}", run.trace());
    assert_eq!(parts(&run)[0], of("text", PartState::Closed));
    // Nothing comes behind it.
    let mut plan = claude_one();
    plan.policy = Policy::new().max_attempts(1).into();
    let last = told(plan, [says(&[text(0, "One."), closes(0)]).stall()]);
    let close = |event: &Event| matches!(event, Event::Delta(Delta::Close { part: 0 }));
    assert!(last.events.iter().any(close), "{}", last.trace());
}

/// Names are kept as well as what is said.
#[test]
fn the_names_of_calls_count_as_what_is_kept() {
    for name in [10, 10_000] {
        let function = json!({"name": "n".repeat(name), "arguments": "{}"});
        let call = json!({"index": 0, "type": "function", "function": function});
        let mut plan = one(Wire::OpenAiChat);
        plan.policy = Policy::new().answer_max(5_000).max_attempts(1).into();
        let run = told(plan, [chat(&[json!({"tool_calls": [call]})], "tool_calls")]);
        assert_eq!(run.result.is_ok(), name == 10, "{:?}", run.result);
    }
}

/// A frame that cannot be read is left out only where what follows it brings nothing but the same again.
#[test]
fn a_frame_that_cannot_be_read_is_a_cut_as_long_as_something_new_comes() {
    let garbled =
        || "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\n\n".to_owned();
    let skipped = |run: &Run| {
        run.notices.iter().filter(|notice| matches!(notice, Notice::Skipped { .. })).count()
    };
    let noted = plan(vec![claude("one", "claude-sonnet-4-6")]);
    let first = says(&[text(0, &TEXT[..40]), garbled()]);
    let second = says(&[text(0, &TEXT[10..60]), garbled()]);
    let third = says(&[text(0, &TEXT[30..]), closes(0), ends("end_turn")]);
    let run = told(noted, [first, second, third]);
    assert_eq!((skipped(&run), run.text().as_str()), (0, TEXT), "{}", run.trace());
    // What is being matched has no gaps.
    let first = says(&[text(0, &TEXT[..40]), garbled()]);
    let again = says(&[text(0, &TEXT[..20]), garbled()]);
    let third = says(&[text(0, TEXT), closes(0), ends("end_turn")]);
    let run = told(structured(), [first, again, third]);
    assert_eq!((skipped(&run), run.text().as_str()), (0, TEXT), "{}", run.trace());
    // A continuation that does not say the answer again brings no blocks again either.
    let noted = plan(vec![claude("one", "claude-sonnet-4-6")]);
    let first = says(&[search(0, "srv_1"), text(2, &TEXT[..40]), garbled()]);
    let rest = says(&[garbled(), text(0, &TEXT[10..]), closes(0), ends("end_turn")]);
    let run = told(noted, [first, rest]);
    assert_eq!((skipped(&run), run.text().as_str()), (1, TEXT), "{}", run.trace());
}

/// What was begun and is not whole is no part of the answer that another attempt goes on with.
#[test]
fn what_will_never_be_whole_is_given_up_before_the_answer_goes_on() {
    use PartState::{Abandoned, Closed};
    let noted = plan(vec![claude("one", "claude-sonnet-4-6")]);
    let first = [text(0, &TEXT[..40]), closes(0), thought(1, "Hm.")];
    let rest = text(0, &TEXT[10..]) + &closes(0) + &ends("end_turn");
    let run = told(noted, [says(&first).reset(), Exchange::stream(rest)]);
    let expected = [of("text", Closed), of("reasoning", Abandoned), of("text", Closed)];
    assert_eq!((run.text().as_str(), parts(&run)), (TEXT, expected.to_vec()), "{}", run.trace());
    // Nor is a thought that nothing came of, where the reply ends with it.
    let mut plan = claude_one();
    plan.policy = Policy::new().max_attempts(1).into();
    let run = told(plan, [says(&[thought(0, "Hm."), closes(0)]).reset()]);
    assert_eq!(parts(&run), [of("reasoning", Abandoned)]);
}
