//! Bodies of any bytes.
//!
//! In: a script of bodies, each a list of things to say. A byte says which: a frame of an answer, in order
//! and as it is; one that is changed (3 bytes); bytes as they are (a length, then they); the end of the body, and
//! how (1 byte). Checked: the laws of every run; that what the client gets ends between two events;
//! and that, read as an upstream of its format would be, it says what the transcript says.

use std::sync::Arc;

use unbroken::policy::Policy;
use unbroken::sse::{Parser, Tail};
use unbroken::testing::{Answer, Deltas, End, Exchange};

use super::Asked;
use crate::script::{ANTHROPIC, CHAT, Script};
use crate::support::wires::Wire;
use crate::support::{Run, run as play};

pub(super) fn run(asked: &Asked, script: &mut Script<'_>) {
    let mut frames: Vec<String> = frames(asked.wire);
    let in_order = frames.len();
    frames.extend(more(asked.wire).iter().map(|frame| (*frame).to_owned()));
    let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
    let mut bodies = Vec::new();
    while bodies.len() < BODIES_MAX && !script.0.is_empty() {
        bodies.push(exchange(script, &frames, in_order));
    }
    let mut bodies = bodies.into_iter();
    let mut plan = asked.wired();
    // Not for the strict client: what an upstream itself gets wrong goes through as it is.
    Arc::make_mut(&mut plan.request)["n"] = 1.into();
    let run = play(plan, |_, _| bodies.next().unwrap_or_else(Exchange::refused));
    check(asked, &run);
}

/// What an upstream of the format says in a full answer, in order.
fn frames(wire: Wire) -> Vec<String> {
    let arguments = serde_json::json!({"path": "a", "n": [1, 2]});
    let mut answer =
        Answer::new().reasoning("Hm. 短く。", "c2ln").text("Hello wörld, how are you?\n\n");
    answer = answer.tool_call("call_1", "look", &arguments).finish("tool_use");
    let body = wire.says(answer, Deltas::Chars(9)).whole().body();
    let mut parser = Parser::default();
    let mut rest: &[u8] = &body;
    let mut frames = Vec::new();
    while let Ok(Some(event)) = parser.next_event(&mut rest) {
        frames.push(match event.event {
            "message" => event.data.to_owned(),
            name => format!("{name}|{}", event.data),
        });
    }
    frames
}

/// What else is known of it.
fn more(wire: Wire) -> &'static [&'static str] {
    match wire {
        Wire::Anthropic => ANTHROPIC,
        Wire::OpenAiChat => CHAT,
        _ => &[],
    }
}

fn exchange(script: &mut Script<'_>, frames: &[&str], in_order: usize) -> Exchange {
    let (mut body, mut next, mut end) = (Vec::new(), 0, End::Clean);
    while let Some(what) = script.byte() {
        match what {
            0..=127 => {
                if next < in_order {
                    body.extend(Script(&[next as u8]).frame(frames));
                }
                next += 1;
            }
            128..=215 => body.extend(script.frame(frames)),
            216..=231 => {
                let count = script.number();
                body.extend(script.bytes(count));
            }
            // One is left out.
            232..=239 => next += 1,
            _ => {
                end = script.one_of(&[End::Clean, End::Reset, End::Stall, End::Close]);
                break;
            }
        }
    }
    let pieces = script.number();
    let exchange = Exchange::stream(body).ends(end);
    if pieces == 0 { exchange } else { exchange.pieces_of(pieces) }
}

fn check(asked: &Asked, run: &Run) {
    let bytes = run.wire.as_deref().unwrap_or_default();
    let story = || format!("{}\n{}", run.trace(), String::from_utf8_lossy(bytes));
    if bytes.is_empty() {
        assert!(run.result.is_err(), "an end that nobody sees\n{}", story());
        return;
    }
    assert!(ends_between_events(bytes), "half an event\n{}", story());
    let mut plan = asked.plan();
    plan.chain = plan.chain.iter().take(1).cloned().collect();
    plan.policy = Policy::new().tools(asked.options.tools).max_attempts(1).into();
    let read = play(plan, |_, _| Exchange::stream(bytes.to_vec()));
    assert_eq!(
        read.result.is_ok(),
        run.result.is_ok(),
        "the end: {:?} {:?}\n{}",
        read.result,
        run.result,
        story()
    );
    assert_eq!(said(&read), said(run), "the content\n{}", story());
}

fn ends_between_events(bytes: &[u8]) -> bool {
    let mut parser = Parser::default();
    let mut rest = bytes;
    while let Ok(Some(_)) = parser.next_event(&mut rest) {}
    parser.finish() == Tail::Clean
}

/// Text and calls, which no client shall see otherwise; adjacent texts are one.
fn said(run: &Run) -> Vec<(String, String)> {
    let mut said: Vec<(String, String)> = Vec::new();
    for (name, content) in run.kept() {
        match said.last_mut() {
            _ if !name.starts_with("call") && name != "text" => {}
            Some((last, text)) if name == "text" && last == "text" => text.push_str(&content),
            _ => said.push((name, content)),
        }
    }
    said
}

const BODIES_MAX: usize = 4;
