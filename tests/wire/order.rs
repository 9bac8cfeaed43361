//! Frames that come where none of their kind may: what a client gets of them is what the transcript has.
//! The strict client of every run has looked at each of these streams as well.

use serde_json::json;
use unbroken::testing::{Answer, Deltas, Exchange};

use super::found::{block, call, delta, end, frames, plan, play, says, start, stop, text};
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
        for body in [mixed.clone(), mixed[..mixed.len() - frames(&[last.clone()]).len()].into()] {
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
