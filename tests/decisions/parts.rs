//! Which block goes out when, and what becomes of it when its attempt is cut: frame by frame, in the format whose
//! blocks may lie across each other.

use unbroken::engine::Notice;
use unbroken::policy::{DELTA, DELTA_HIDDEN, ToolDelivery};
use unbroken::{Delta, PartKind, PartState};

use super::*;

fn frame(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}

pub(super) fn delta(index: usize, delta: Value) -> String {
    frame(&json!({"type": "content_block_delta", "index": index, "delta": delta}))
}

pub(super) fn opens(index: usize, block: Value) -> String {
    frame(&json!({"type": "content_block_start", "index": index, "content_block": block}))
}

pub(super) fn closes(index: usize) -> String {
    frame(&json!({"type": "content_block_stop", "index": index}))
}

pub(super) fn text(index: usize, words: &str) -> String {
    opens(index, json!({"type": "text", "text": ""}))
        + &delta(index, json!({"type": "text_delta", "text": words}))
}

pub(super) fn thought(index: usize, words: &str) -> String {
    opens(index, json!({"type": "thinking", "thinking": ""}))
        + &delta(index, json!({"type": "thinking_delta", "thinking": words}))
}

/// A call that is not closed.
pub(super) fn call(index: usize, name: &str, arguments: &str) -> String {
    let id = format!("toolu_{name}");
    opens(index, json!({"type": "tool_use", "id": id, "name": name, "input": {}}))
        + &delta(index, json!({"type": "input_json_delta", "partial_json": arguments}))
}

/// A search that the provider has made, with what it found.
pub(super) fn search(index: usize, id: &str) -> String {
    let call = json!({"type": "server_tool_use", "id": id, "name": "web_search", "input": {}});
    let result = json!({"type": "web_search_tool_result", "tool_use_id": id, "content": []});
    opens(index, call) + &closes(index) + &opens(index + 1, result) + &closes(index + 1)
}

pub(super) fn ends(reason: &str) -> String {
    let delta = json!({"stop_reason": reason});
    frame(&json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9}}))
        + &frame(&json!({"type": "message_stop"}))
}

pub(super) fn says(frames: &[String]) -> Exchange {
    Exchange::stream(frames.concat())
}

/// Every attempt is answered by the next exchange.
pub(super) fn told(plan: Plan, exchanges: impl IntoIterator<Item = Exchange>) -> Run {
    let mut exchanges = exchanges.into_iter();
    run(plan, |_, _| exchanges.next().expect("no more attempts than that"))
}

pub(super) fn claude_one() -> Plan {
    one(Wire::Anthropic)
}

/// What was opened, in its order, and where it stands in the end.
pub(super) fn parts(run: &Run) -> Vec<(String, PartState)> {
    let name = |kind: &PartKind| match kind {
        PartKind::ToolCall { name, .. } => name.to_string(),
        PartKind::Text => "text".to_owned(),
        PartKind::Reasoning => "reasoning".to_owned(),
        other => format!("{other:?}"),
    };
    run.transcript.parts().iter().map(|part| (name(part.kind()), part.state())).collect()
}

/// How many parts were opened.
pub(super) fn opened(run: &Run) -> usize {
    let open = |event: &&Event| matches!(event, Event::Delta(Delta::Open { .. }));
    run.events.iter().filter(open).count()
}

pub(super) fn of(name: &str, state: PartState) -> (String, PartState) {
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

/// Structured output leaves the aligned replay only.
pub(super) fn structured() -> Plan {
    let mut plan = claude_one();
    let mut request = request(Wire::Anthropic);
    request["output_config"] = json!({"format": {"type": "json_schema", "schema": {}}});
    plan.request = request.into();
    plan
}

/// What a repetition of the answer brings again was delivered by the attempt that it repeats.
#[test]
fn blocks_that_come_again_with_the_answer_are_delivered_once() {
    let plan = structured();
    let whole = search(0, "srv_2") + &text(2, TEXT) + &closes(2) + &ends("end_turn");
    let first = says(&[search(0, "srv_1"), text(2, &TEXT[..30])]).reset();
    let run = told(plan.clone(), [first.clone(), Exchange::stream(whole)]);
    assert!(run.result.is_ok(), "{:?}", run.result);
    assert_eq!(run.text(), TEXT);
    assert_eq!(opened(&run), 3, "{}", run.trace());
    // Another block in its place is another answer.
    let other = call(0, "first", "{}") + &closes(0) + &ends("tool_use");
    let run = told(plan, [first, Exchange::stream(other)]);
    assert_eq!((kind(&run), opened(&run)), (ErrorKind::Diverged, 3));
}

/// Also where all of the text has come again before them.
#[test]
fn blocks_behind_the_text_that_comes_again_are_delivered_once() {
    let aligned = structured();
    let noted = plan(vec![claude("one", "claude-sonnet-4-6")]);
    let begins = |id| text(0, TEXT) + &closes(0) + &search(1, id);
    for (plan, by) in [(aligned, Resume::Align), (noted, Resume::Instruct)] {
        let again = begins("srv_2") + &text(3, " More.") + &closes(3) + &ends("end_turn");
        let exchanges = [Exchange::stream(begins("srv_1")).reset(), Exchange::stream(again)];
        let run = told(plan, exchanges);
        assert_eq!(run.report.attempts[1].by, Some(by));
        assert_eq!(run.text(), format!("{TEXT} More."), "{}", run.trace());
        assert_eq!(opened(&run), 4, "{}", run.trace());
    }
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

/// A model may make a call and say that it has ended its turn; whoever counts on the reason is told what it said.
#[test]
fn the_reason_is_the_providers_own_whatever_was_called() {
    for (reason, finish) in [("end_turn", FinishReason::Stop), ("tool_use", FinishReason::ToolUse)]
    {
        let run = told(claude_one(), [says(&[call(0, "first", "{}"), closes(0), ends(reason)])]);
        assert_eq!(run.transcript.finish().unwrap().reason, finish);
    }
}

/// Nothing is what a call without arguments is given; of one that was ended in its middle it is only what came.
#[test]
fn a_call_without_arguments_is_given_none() {
    for (reason, arguments, state) in
        [("tool_use", "{}", PartState::Closed), ("max_tokens", "", PartState::Truncated)]
    {
        let start = opens(0, json!({"type": "tool_use", "id": "t", "name": "now", "input": {}}));
        let end = if reason == "tool_use" { closes(0) } else { String::new() };
        let run = told(claude_one(), [says(&[start, end, ends(reason)])]);
        assert_eq!(parts(&run), [of("now", state)]);
        assert_eq!(run.transcript.parts()[0].text(), arguments);
    }
}

/// The order of the parts is that of what was said: what goes on behind another part is a part of its own.
#[test]
fn text_that_goes_on_behind_a_call_is_another_part() {
    use PartState::Closed;
    let on = delta(0, json!({"type": "text_delta", "text": " Now."}));
    let frames =
        [text(0, "I look."), call(1, "first", "{}"), closes(1), on, closes(0), ends("tool_use")];
    let run = told(claude_one(), [says(&frames)]);
    assert_eq!(parts(&run), ["text", "first", "text"].map(|name| of(name, Closed)));
    assert_eq!(run.text(), "I look. Now.");
    // Who answers is told before the first part, also where the provider does not introduce itself.
    let Some(Event::Started(head)) = run.events.first() else { panic!("{}", run.trace()) };
    assert_eq!((&*head.upstream, head.attempt.is_some()), ("one", true));
}

#[test]
fn the_first_words_are_told_once() {
    for wire in Wire::ALL {
        let run = play(wire, one(wire), vec![cut(wire, 50)], vec![]);
        let first = |notice: &&Notice| matches!(notice, Notice::FirstDelta { .. });
        assert_eq!(run.notices.iter().filter(first).count(), 1);
    }
}

/// Half a character that was cut in two by its provider is replaced in text; what a tool would be run with is not
/// changed.
#[test]
fn half_a_pair_is_replaced_in_text_and_garbles_a_call() {
    let half = |frames: String| frames.replace("HALF", "\\ud83d");
    let said = half(text(0, "Well HALF.")) + &closes(0) + &ends("end_turn");
    let run = told(claude_one(), [Exchange::stream(said)]);
    assert_eq!((run.text().as_str(), run.requests.len()), ("Well \u{fffd}.", 1));

    let called = half(call(0, "first", "{\"a\":\"HALF\"}")) + &closes(0) + &ends("tool_use");
    let whole = call(0, "first", "{}") + &closes(0) + &ends("tool_use");
    let run = told(claude_one(), [called, whole].map(Exchange::stream));
    assert_eq!(interruptions(&run), [(Cut::Garbled, Next::Retry, 0)]);
    assert_eq!(run.transcript.tool_calls().map(|call| call.text()).collect::<Vec<_>>(), ["{}"]);
}

/// Twice as long with each failure, and from the beginning once something new has come.
#[test]
fn something_new_makes_the_next_wait_short_again() {
    let wire = Wire::Anthropic;
    let mut longest = 0;
    for seed in 0..60 {
        let mut plan = one(wire);
        plan.seed = seed;
        let exchanges = vec![status(503), status(503), cut(wire, 50), status(503)];
        let run = play(wire, plan, exchanges, vec![]);
        let delays: Vec<u64> = interruptions(&run).iter().map(|(.., delay)| *delay).collect();
        let [_, second, at_once, after] = delays[..] else { panic!("{delays:?}") };
        assert!(at_once == 0 && after <= 500, "{delays:?}");
        longest = longest.max(second);
    }
    assert!(longest > 500, "the second wait is longer");
}

/// Google puts the error that ends a stream behind its events as it is.
#[test]
fn an_error_between_the_events_is_one() {
    let wire = Wire::Gemini;
    let mut plan = one(wire);
    plan.policy = Policy::new().max_attempts(1).into();
    let error = json!({"error": {"code": 503, "message": "boom", "status": "UNAVAILABLE"}});
    let run = told(plan, [Exchange::stream(format!(": ping\n\n{error}\n"))]);
    let told = run.result.as_ref().expect_err("an error");
    assert_eq!(told.cut(), Some(Cut::Faulted));
    assert!(String::from_utf8_lossy(told.fault_body().unwrap()).contains("boom"));
}

#[test]
fn an_answer_is_over_with_its_providers_last_word() {
    for wire in Wire::ALL.into_iter().filter(|wire| *wire != Wire::Gemini) {
        let run = play(wire, one(wire), vec![model(wire).whole().stall()], vec![]);
        assert_eq!((run.text().as_str(), run.took), (TEXT, Duration::ZERO), "{wire:?}");
    }
}

/// A refusal by policy counts wherever it comes; nothing else takes an answer away that is complete.
#[test]
fn a_fault_behind_the_finish_marker_is_none_but_for_a_policys() {
    let marker = |reason: &str| {
        let delta = json!({"stop_reason": reason});
        frame(&json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9}}))
    };
    let said = || text(0, TEXT) + &closes(0) + &marker("end_turn");
    for (code, whole) in [("overloaded_error", true), ("content_policy_violation", false)] {
        let fault = String::from_utf8(Wire::Anthropic.error(code).to_vec()).unwrap();
        let run = told(claude_one(), [Exchange::stream(said() + &fault)]);
        assert_eq!((run.text().as_str(), run.result.is_ok()), (TEXT, whole), "{code}");
        // Its blank line may be missing.
        let run = told(claude_one(), [Exchange::stream(said() + fault.trim_end() + "\n")]);
        assert_eq!((run.text().as_str(), run.result.is_ok()), (TEXT, whole), "{code}");
        let error = run.result.err();
        let words = error.as_ref().and_then(|error| error.fault_body()).map_or(&[][..], |it| it);
        assert_eq!(String::from_utf8_lossy(words).contains(code), !whole);
    }
}

/// It was begun, and its provider ended the answer without an end of it.
#[test]
fn a_call_whose_place_another_takes_was_left_unfinished() {
    let run = told(
        claude_one(),
        [says(&[call(0, "first", "{"), call(0, "second", "{}"), closes(0), ends("tool_use")])],
    );
    let expected = [of("first", PartState::Truncated), of("second", PartState::Closed)];
    assert_eq!(parts(&run), expected);
}
