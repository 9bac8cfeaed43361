//! Clocks that ran when they should have stood still, or the other way round.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde_json::json;
use unbroken::policy::{Policy, Timeouts};
use unbroken::testing::{COMMENT_PING, Exchange};
use unbroken::{ErrorKind, FinishReason};

use crate::support::{Run, run};
use crate::{
    DONE, SAID, block_stop, call_block, chat, cut, gpt, kind, messages, plan, request, stop, text,
    text_block, whole,
};

const TEN_SECONDS: Duration = Duration::from_secs(10);

/// The answer was whole, and the wait for its last bytes lost it to the deadline.
#[test]
fn the_overall_deadline_does_not_fail_an_answer_that_has_finished() {
    let timeouts = Timeouts::new().overall(Duration::from_secs(3));
    let run = run(chat(Policy::new().timeouts(timeouts)), |_, _| {
        Exchange::stream(text("Hello.") + &stop()).stall()
    });
    assert!(run.result.is_ok(), "{:?}", run.result);
    assert_eq!(run.took, Duration::from_secs(3));
}

/// The clock after the finish marker ran from the marker on, and cut off what was still said.
#[test]
fn what_is_said_after_the_finish_marker_is_heard_to_its_end() {
    let words: Vec<String> = (0..10).map(|n| format!("w{n} ")).collect();
    let late: String = words.iter().map(|word| text(word)).collect();
    let body = text("one ") + &stop() + &late + DONE;
    let run = run(chat(Policy::new()), |_, _| {
        Exchange::stream(body.clone()).every(Duration::from_secs(1))
    });
    assert_eq!(run.text(), format!("one {}", words.concat()));
}

/// The no-progress clock was only hidden while the model thought, and had run out when it was seen.
#[test]
fn the_progress_clock_stands_still_while_the_model_thinks_out_of_sight() {
    let mut request = request();
    request["reasoning_effort"] = json!("high");
    let plan = plan(request, vec![gpt("one")], Policy::new());
    let run = run(plan, |_, attempt| match attempt.id.get() {
        1 => cut(SAID),
        2 => Exchange::stream(COMMENT_PING.repeat(36)).every(TEN_SECONDS).reset(),
        _ => whole(&format!("{SAID} The end.")).every(Duration::from_secs(1)),
    });
    assert!(run.took > Duration::from_secs(360), "{:?}", run.took);
    assert_eq!(run.text(), format!("{SAID} The end."));
}

fn ended_by_the_call(run: &Run) {
    let finish = run.transcript.finish().expect("a valid turn");
    assert_eq!((&finish.reason, finish.inferred), (&FinishReason::ToolUse, true));
    assert_eq!(run.transcript.tool_calls().count(), 1);
}

/// A whole call was in hand, and the reply failed for want of progress.
#[test]
fn the_progress_clock_does_not_fail_an_answer_with_a_whole_call() {
    let policy = Policy::new().no_progress_max(Duration::from_secs(60));
    let run = run(messages(policy), |_, attempt| match attempt.id.get() {
        1 => Exchange::stream(text_block(0, SAID)).reset(),
        _ => {
            let said = text_block(0, &format!("{SAID} So"));
            Exchange::stream(said + &block_stop(0) + &call_block(1))
                .pings(COMMENT_PING, TEN_SECONDS)
        }
    });
    ended_by_the_call(&run);
}

/// A whole call was in hand, and the reply failed for its deadline.
#[test]
fn the_overall_deadline_does_not_fail_an_answer_with_a_whole_call() {
    let timeouts = Timeouts::new().overall(Duration::from_secs(30));
    let run = run(messages(Policy::new().timeouts(timeouts)), |_, _| {
        Exchange::stream(call_block(0)).pings(COMMENT_PING, TEN_SECONDS)
    });
    ended_by_the_call(&run);
    assert_eq!(run.took, Duration::from_secs(30));
}

/// The body of a rejection had the time that an answer has.
#[test]
fn the_body_of_a_rejection_is_not_waited_for_long() {
    let run = run(chat(Policy::new()), |_, attempt| match attempt.id.get() {
        1 => Exchange::reply(StatusCode::SERVICE_UNAVAILABLE).with_body("{").stall(),
        _ => whole("Here."),
    });
    assert_eq!(run.text(), "Here.");
    assert!(run.took < TEN_SECONDS, "{:?}", run.took);
}

/// A wait too long for the clock to express was no wait at all.
#[test]
fn a_wait_beyond_the_clock_is_a_long_wait() {
    let policy = Policy::new().retry_after_max(Duration::MAX);
    let run = run(chat(policy), |_, _| {
        Exchange::reply(StatusCode::TOO_MANY_REQUESTS)
            .header(RETRY_AFTER, HeaderValue::from_static("10000000000000000000"))
    });
    assert_eq!((kind(&run), run.requests.len()), (ErrorKind::NoProgress, 1));
}
