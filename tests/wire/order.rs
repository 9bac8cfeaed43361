//! Frames that come where none of their kind may: what a client gets of them is what the transcript has.
//! The strict client of every run has looked at each of these streams as well.

use serde_json::json;
use unbroken::testing::{Answer, Deltas, Exchange};

use super::found::{block, call, chunk, delta, end, frames, plan, play, says, start, stop, text};
use super::support::client;
use super::support::subjects::Wire;
use super::{bytes, text_of};

/// An answer of Anthropic's is complete by its reason to stop, whatever happens after it.
#[test]
fn what_follows_the_reason_to_stop_is_no_part_of_a_message() {
    let [conclusion, last] = end("end_turn");
    let said = [start(), text(0), says(0, "Hello there my friend."), stop(0), conclusion];
    let mut other = start();
    other["message"]["id"] = json!("msg_2");
    let input = delta(1, "input_json_delta", "partial_json", "{\"a\":1}");
    let thinking = block(1, json!({"type": "thinking", "thinking": "", "signature": ""}));
    for more in [
        vec![start()],
        vec![other.clone()],
        vec![other, text(0), says(0, "And another one."), stop(0)],
        vec![call(1)],
        vec![call(1), input.clone()],
        vec![call(1), input, stop(1)],
        vec![text(1), says(1, "And more."), stop(1)],
        vec![says(0, "And more.")],
        vec![end("max_tokens")[0].clone()],
        vec![thinking, delta(1, "thinking_delta", "thinking", "Hm.")],
    ] {
        let whole = frames(&[&said[..], std::slice::from_ref(&last)].concat());
        let mixed = frames(&[&said[..], &more, std::slice::from_ref(&last)].concat());
        let ending = frames(std::slice::from_ref(&last)).len();
        for body in [mixed.clone(), mixed[..mixed.len() - ending].into()] {
            let run = play(plan(Wire::Anthropic, json!({})), &[Exchange::stream(body)]);
            assert!(run.result.is_ok());
            assert_eq!(run.kept(), [("text".to_owned(), "Hello there my friend.".to_owned())]);
            assert_eq!(text_of(&run), whole);
        }
    }
}

/// The vendor's own clients fail on a second start.
#[test]
fn a_message_begins_once_for_the_client() {
    let mut other = start();
    other["message"]["id"] = json!("msg_2");
    for again in [start(), other] {
        let said = [start(), text(0), says(0, "Hello there "), stop(0), again];
        let rest = [text(0), says(0, "my friend."), stop(0)];
        let body = frames(&[&said[..], &rest, &end("end_turn")].concat());
        let run = play(plan(Wire::Anthropic, json!({})), &[Exchange::stream(body)]);
        assert!(run.result.is_ok());
        assert_eq!(run.text(), "Hello there my friend.");
    }
}

/// Whatever a provider says behind its last word, no client takes it for a part of the answer.
#[test]
fn what_follows_the_last_word_does_not_go_through() {
    for wire in [Wire::Anthropic, Wire::OpenAiChat, Wire::OpenAiResponses, Wire::GeminiInteractions]
    {
        let answer = Answer::new().text("Hello there my friend.");
        let whole = wire.says(answer, Deltas::Chars(9)).whole().body();
        let twice = [&whole[..], &whole[..]].concat();
        let garbled = [&whole[..], b"data: {\"type\":7\n\n"].concat();
        for body in [twice, garbled] {
            let run = play(plan(wire, json!({})), &[Exchange::stream(body)]);
            assert!(run.result.is_ok());
            assert_eq!(run.text(), "Hello there my friend.");
            assert_eq!(String::from_utf8_lossy(bytes(&run)), String::from_utf8_lossy(&whole));
        }
    }
}

/// It would be said twice: the item is done with all its text once more.
#[test]
fn an_item_that_is_announced_again_is_said_once() {
    let answer = Answer::new().text("Hello there my friend.");
    let whole = Wire::OpenAiResponses.says(answer, Deltas::Chars(9)).whole().body();
    let whole = String::from_utf8(whole.to_vec()).unwrap();
    let events: Vec<&str> = whole.split_inclusive("\n\n").collect();
    let place = |kind: &str| events.iter().position(|event| event.contains(kind)).unwrap();
    let added = events[place("response.output_item.added")];
    let mut again = events.clone();
    again.insert(place("response.output_text.done"), added);
    let run = play(plan(Wire::OpenAiResponses, json!({})), &[Exchange::stream(again.concat())]);
    assert!(run.result.is_ok());
    assert_eq!(run.text().matches("Hello").count(), 1, "{}", run.text());
    assert_eq!(text_of(&run).matches("response.output_item.added").count(), 2);
}

/// The provider never said that the call is whole: written anew it would be, for whoever reads it.
#[test]
fn a_call_that_nobody_closed_is_not_written_as_a_whole_one() {
    for reason in ["max_tokens", "tool_use"] {
        let said = [start(), text(0), says(0, "Hello there my friend, "), call(1)];
        let input = delta(1, "input_json_delta", "partial_json", "{\"a\":1}");
        let dead = frames(&said[..3]);
        let whole =
            frames(&[&said[..2], &[says(0, "how are you?"), stop(0), call(1), input]].concat());
        let whole = whole + &frames(&end(reason));
        let all = [Exchange::stream(dead).reset(), Exchange::stream(whole)];
        let run = play(plan(Wire::Anthropic, json!({})), &all);
        assert!(run.result.is_ok());
        assert!(run.kept().iter().any(|(name, _)| name == "call x (cut)"), "{:?}", run.kept());
        assert!(!text_of(&run).contains("tool_use\",\"id"), "{}", text_of(&run));
    }
}

/// What counts up is taken over from frames that say any number.
#[test]
fn the_last_of_all_numbers_is_a_number() {
    let number = u64::MAX;
    let say = |fields: serde_json::Value| format!("data: {fields}\n\n");
    let response = json!({"id": "resp_1", "object": "response", "created_at": 1, "model": "m",
        "status": "in_progress", "output": []});
    let begun =
        json!({"type": "response.created", "sequence_number": number, "response": response});
    let dead = say(begun)
        + &say(json!({"type": "response.output_item.added", "sequence_number": number,
            "output_index": number, "item": {"type": "message", "id": "msg_1", "content": []}}))
        + &say(json!({"type": "response.output_text.delta", "sequence_number": number,
            "output_index": number, "content_index": 0, "delta": "Hello "}));
    // Not for the strict client: of such numbers there is no next one.
    let plan = plan(Wire::OpenAiResponses, json!({"n": 1}));
    let whole = Wire::OpenAiResponses.says(Answer::new().text("Hello there."), Deltas::Chars(9));
    let run = play(plan, &[Exchange::stream(dead).reset(), whole.whole()]);
    assert_eq!(run.result.as_ref().err().map(|error| error.kind()), None);
}

/// The item has all its text once more, in a list in which the place of a piece is none.
#[test]
fn a_text_in_a_place_that_its_item_does_not_have_is_said_once() {
    let answer = Answer::new().text("Hello there my friend.");
    let whole = Wire::OpenAiResponses.says(answer, Deltas::Chars(9)).whole().body();
    let whole = String::from_utf8(whole.to_vec()).unwrap();
    for place in ["1", "7", "18446744073709551615"] {
        let astray = whole.replace("\"content_index\":0", &format!("\"content_index\":{place}"));
        let run = play(plan(Wire::OpenAiResponses, json!({"n": 1})), &[Exchange::stream(astray)]);
        assert!(run.result.is_ok());
        assert_eq!(run.text(), "Hello there my friend.");
    }
}

/// A call of which nobody knows that it is whole, behind the end of an answer.
#[test]
fn a_call_that_begins_behind_the_end_and_is_never_whole_does_not_go_through() {
    let function = json!({"name": "look", "arguments": ""});
    let begun = json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]});
    let piece = json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\""}}]});
    let hello = chunk(json!({"role": "assistant", "content": "Hello."}), json!(null));
    let whole = hello + &chunk(json!({}), json!("stop"));
    for body in [
        whole.clone() + &chunk(begun.clone(), json!(null)),
        whole.clone() + chunk(begun.clone(), json!(null)).trim_end() + "\n",
        whole + &chunk(begun, json!(null)) + &chunk(piece, json!(null)) + "data: [DONE]\n\n",
    ] {
        let run = play(plan(Wire::OpenAiChat, json!({"n": 1})), &[Exchange::stream(body)]);
        assert!(run.result.is_ok());
        assert_eq!(run.kept(), [("text".to_owned(), "Hello.".to_owned())]);
        assert!(!text_of(&run).contains("call_1"), "{}", text_of(&run));
    }
}

/// A server that forgets the last blank line is passed on as it is; what its last event says is said.
#[test]
fn the_last_event_of_a_complete_answer_is_read_where_it_is_passed_on() {
    let hello = chunk(json!({"role": "assistant", "content": "Hello."}), json!("stop"));
    let more = chunk(json!({"content": " And more."}), json!(null));
    let garbled = "data: {\"choices\":[{\"delta\":{\"content\":7}}]}\n\n";
    let error = "data: {\"error\":{\"type\":\"server_error\",\"message\":\"too late\"}}\n\n";
    for (last, said) in
        [(more.as_str(), "Hello. And more."), (garbled, "Hello."), (error, "Hello.")]
    {
        let body = hello.clone() + last.trim_end() + "\n";
        let run = play(plan(Wire::OpenAiChat, json!({"n": 1})), &[Exchange::stream(body)]);
        assert!(run.result.is_ok());
        assert_eq!(run.text(), said);
        assert_eq!(text_of(&run).contains("And more."), said.contains("And more."));
        assert!(!text_of(&run).contains("\"content\":7"), "{}", text_of(&run));
        assert!(!text_of(&run).contains("too late"), "{}", text_of(&run));
    }
    // Nothing of an answer follows its marker.
    let body = hello + "data: [DONE]\n\ndata: {}\n";
    let run = play(plan(Wire::OpenAiChat, json!({"n": 1})), &[Exchange::stream(body)]);
    assert!(text_of(&run).trim_end().ends_with("data: [DONE]"), "{}", text_of(&run));
}

/// What the upstream forgot is said behind its last event, and no part of that.
#[test]
fn what_is_added_to_a_last_event_without_its_blank_line_is_an_event_of_its_own() {
    let whole = Wire::Anthropic.says(Answer::new().text("Hello."), Deltas::Chars(9)).whole().body();
    let whole = String::from_utf8(whole.to_vec()).unwrap();
    let (body, _) = whole.split_once("event: message_stop").unwrap();
    let body = format!("{body}event: ping\ndata: {{\"type\":\"ping\"}}\n");
    let run = play(plan(Wire::Anthropic, json!({})), &[Exchange::stream(body)]);
    assert!(run.result.is_ok() && client::anthropic(bytes(&run)).terminal, "{}", text_of(&run));
    assert!(text_of(&run).contains("{\"type\":\"ping\"}\n\n"), "{}", text_of(&run));
}
