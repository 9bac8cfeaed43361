//! Which block goes out when, and what becomes of it when its attempt is cut: frame by frame, in the format whose
//! blocks may lie across each other.

use unbroken::policy::{DELTA, DELTA_HIDDEN, ToolDelivery};
use unbroken::{Delta, PartKind, PartState};

use super::*;

fn frame(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}

fn delta(index: usize, delta: Value) -> String {
    frame(&json!({"type": "content_block_delta", "index": index, "delta": delta}))
}

fn opens(index: usize, block: Value) -> String {
    frame(&json!({"type": "content_block_start", "index": index, "content_block": block}))
}

fn closes(index: usize) -> String {
    frame(&json!({"type": "content_block_stop", "index": index}))
}

fn text(index: usize, words: &str) -> String {
    opens(index, json!({"type": "text", "text": ""}))
        + &delta(index, json!({"type": "text_delta", "text": words}))
}

fn thought(index: usize, words: &str) -> String {
    opens(index, json!({"type": "thinking", "thinking": ""}))
        + &delta(index, json!({"type": "thinking_delta", "thinking": words}))
}

/// A call that is not closed.
fn call(index: usize, name: &str, arguments: &str) -> String {
    let id = format!("toolu_{index}");
    opens(index, json!({"type": "tool_use", "id": id, "name": name, "input": {}}))
        + &delta(index, json!({"type": "input_json_delta", "partial_json": arguments}))
}

fn ends(reason: &str) -> String {
    let delta = json!({"stop_reason": reason});
    frame(&json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9}}))
        + &frame(&json!({"type": "message_stop"}))
}

fn says(frames: &[String]) -> Exchange {
    Exchange::stream(frames.concat())
}

/// Every attempt is answered by the next exchange.
fn told(plan: Plan, exchanges: impl IntoIterator<Item = Exchange>) -> Run {
    let mut exchanges = exchanges.into_iter();
    run(plan, |_, _| exchanges.next().expect("no more attempts than that"))
}

fn claude_one() -> Plan {
    one(Wire::Anthropic)
}

/// What was opened, in its order, and where it stands in the end.
fn parts(run: &Run) -> Vec<(String, PartState)> {
    let name = |kind: &PartKind| match kind {
        PartKind::ToolCall { name, .. } => name.to_string(),
        PartKind::Text => "text".to_owned(),
        PartKind::Reasoning => "reasoning".to_owned(),
        other => format!("{other:?}"),
    };
    run.transcript.parts().iter().map(|part| (name(part.kind()), part.state())).collect()
}

fn of(name: &str, state: PartState) -> (String, PartState) {
    (name.to_owned(), state)
}

/// The caller runs them in the order in which the model made them.
#[test]
fn a_call_waits_for_the_calls_before_it_and_for_nothing_else() {
    use PartState::Closed;
    // Closed in the other order.
    let across = [
        call(0, "first", "{\"a\":1}"),
        call(1, "second", "{\"b\":2}"),
        call(2, "third", "{}"),
        closes(2),
        closes(1),
        closes(0),
        ends("tool_use"),
    ];
    let run = told(claude_one(), [says(&across)]);
    assert_eq!(parts(&run), ["first", "second", "third"].map(|name| of(name, Closed)));
    let finish = run.transcript.finish().unwrap();
    assert_eq!((&finish.reason, finish.inferred), (&FinishReason::ToolUse, false));

    // Where one of those before it never comes, it is not handed out either.
    let half = [call(0, "first", "{\"a\""), call(1, "second", "{}"), closes(1)];
    let again = [text(0, TEXT), closes(0), ends("end_turn")];
    let run = told(claude_one(), [says(&half).reset(), says(&again)]);
    assert_eq!(parts(&run), [of("text", Closed)]);

    // Text that is still open does not hold it back.
    let beside = [text(0, "Let me see."), call(1, "first", "{}"), closes(1)];
    let run = told(claude_one(), [says(&beside).reset()]);
    assert_eq!(parts(&run), [of("text", Closed), of("first", Closed)]);
    let finish = run.transcript.finish().unwrap();
    assert_eq!((&finish.reason, finish.inferred), (&FinishReason::ToolUse, true));
}

/// A model may think for long, and write a long call, without a word; it does not fall silent amid its text.
#[test]
fn the_clock_on_words_is_slow_while_a_call_is_written_or_the_model_thinks() {
    let every = Duration::from_secs(15);
    let thinking = || {
        let mut plan = claude_one();
        let mut request = request(Wire::Anthropic);
        request["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
        plan.request = request.into();
        plan
    };
    for (plan, frames, wait) in [
        (claude_one(), vec![text(0, "Let me")], DELTA),
        (claude_one(), vec![thought(0, "Hm.")], DELTA_HIDDEN),
        (claude_one(), vec![call(0, "first", "{")], DELTA_HIDDEN),
        (claude_one(), vec![text(0, "Let me"), call(1, "first", "{")], DELTA_HIDDEN),
        (thinking(), vec![frame(&json!({"type": "ping"}))], DELTA_HIDDEN),
        (thinking(), vec![text(0, "Let me")], DELTA),
    ] {
        let dead = says(&frames).pings(Wire::Anthropic.ping(), every);
        let mut plan = plan;
        plan.policy = Policy::new().max_attempts(1).into();
        let run = told(plan, [dead]);
        let (first, ..) = interruptions(&run).remove(0);
        assert_eq!(first, Cut::Stalled { timer: Timer::Delta }, "{frames:?}");
        assert_eq!(run.took, wait, "{frames:?}");
    }
}

/// What is dropped with its attempt is kept no longer, so it is not counted among what is.
#[test]
fn a_call_that_was_cut_makes_room_for_itself() {
    let arguments = json!({"text": "x".repeat(600)}).to_string();
    let cut_off = || says(&[call(0, "write", &arguments[..500])]).reset();
    // One that waits for another, in the same attempt, is held as well.
    let waits = || {
        says(&[call(0, "read", "{\"a\""), call(1, "write", &arguments[..300]), closes(1)]).reset()
    };
    let whole = || says(&[call(0, "write", &arguments), closes(0), ends("tool_use")]);
    let limited = |bytes| {
        let mut plan = claude_one();
        plan.policy = Policy::new().answer_max(bytes).max_attempts_without_progress(9).into();
        plan
    };
    for first in [cut_off(), waits()] {
        // Each block costs something beside its content.
        let run = told(limited(1500), [first.clone(), first, whole()]);
        assert!(run.result.is_ok(), "{:?}", run.result);
        assert_eq!(run.transcript.tool_calls().map(|call| call.text().len()).sum::<usize>(), 611);
    }
    let run = told(limited(600), [whole()]);
    assert_eq!(kind(&run), ErrorKind::OverLimit);
}

/// What a repetition of the answer brings again was delivered by the attempt that it repeats.
#[test]
fn blocks_that_come_again_with_the_answer_are_delivered_once() {
    let mut plan = claude_one();
    let mut request = request(Wire::Anthropic);
    // Structured output leaves the aligned replay only.
    request["output_config"] = json!({"format": {"type": "json_schema", "schema": {}}});
    plan.request = request.into();
    let search = |id: &str| {
        let call = json!({"type": "server_tool_use", "id": id, "name": "web_search", "input": {}});
        let result = json!({"type": "web_search_tool_result", "tool_use_id": id, "content": []});
        opens(0, call) + &closes(0) + &opens(1, result) + &closes(1)
    };
    let whole = search("srv_2") + &text(2, TEXT) + &closes(2) + &ends("end_turn");
    let first = says(&[search("srv_1"), text(2, &TEXT[..30])]).reset();
    let run = told(plan.clone(), [first.clone(), Exchange::stream(whole)]);
    assert!(run.result.is_ok(), "{:?}", run.result);
    assert_eq!(run.text(), TEXT);
    let opened = |run: &Run| {
        let open = |event: &&Event| matches!(event, Event::Delta(Delta::Open { .. }));
        run.events.iter().filter(open).count()
    };
    assert_eq!(opened(&run), 3, "{}", run.trace());
    // Another block in its place is another answer.
    let other = call(0, "first", "{}") + &closes(0) + &ends("tool_use");
    let run = told(plan, [first, Exchange::stream(other)]);
    assert_eq!((kind(&run), opened(&run)), (ErrorKind::Diverged, 3));
}

/// Fragments went out; what they were part of is asked for again.
#[test]
fn a_call_in_fragments_is_abandoned_with_its_attempt() {
    use PartState::{Abandoned, Closed, Truncated};
    let live = || {
        let mut plan = claude_one();
        plan.policy = Policy::new().tools(ToolDelivery::Live).into();
        plan
    };
    let half = || says(&[call(0, "first", "{\"a\"")]);
    let whole = says(&[call(0, "first", "{\"a\":1}"), closes(0), ends("tool_use")]);
    let run = told(live(), [half().reset(), whole]);
    assert_eq!(parts(&run), [of("first", Abandoned), of("first", Closed)]);
    // Where its provider ended it in its middle, it is there and not to be run.
    for plan in [live(), claude_one()] {
        let ended = says(&[call(0, "first", "{\"a\""), closes(0), ends("max_tokens")]);
        let run = told(plan, [ended]);
        assert_eq!(parts(&run), [of("first", Truncated)]);
        assert_eq!(run.transcript.parts()[0].text(), "{\"a\"");
        assert_eq!(run.transcript.tool_calls().count(), 0);
    }
}

/// It answers our question, in which history will not contain it.
#[test]
fn reasoning_of_a_continuation_is_shown_and_not_kept() {
    use PartState::{Abandoned, Closed};
    let mut plan = plan(vec![claude("one", "claude-sonnet-4-5")]);
    plan.request = json!({
        "model": "claude-sonnet-4-5", "max_tokens": 4096,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "messages": [{"role": "user", "content": "Tell me."}],
    })
    .into();
    let sign = |index| delta(index, json!({"type": "signature_delta", "signature": "c2ln"}));
    let first = [thought(0, "Hm."), sign(0), closes(0), text(1, TEXT)];
    let then = |end: &str| {
        [thought(0, "And now?"), sign(0), end.to_owned(), text(1, &format!("{} Yes.", &TEXT[30..]))]
    };
    for end in [closes(0), String::new()] {
        let rest = then(&end).concat() + &ends("end_turn");
        let run = told(plan.clone(), [says(&first).reset(), Exchange::stream(rest)]);
        assert_eq!(run.text(), format!("{TEXT} Yes."), "{}", run.trace());
        let expected = [of("reasoning", Closed), of("text", Closed), of("reasoning", Abandoned)];
        assert_eq!(parts(&run), expected, "{}", run.trace());
    }
}
