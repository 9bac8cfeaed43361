//! Bodies of any bytes.
//!
//! In: a script of bodies, each a list of things to say. A byte says which: a frame of an answer, in order
//! and as it is; one that is changed (3 bytes); bytes as they are (a length, then they); the end of the body, and
//! how (1 byte). Checked: the laws of every run; that what the client gets ends between two events;
//! and that, read as an upstream of its format would be, it says what the transcript says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use http::{HeaderMap, StatusCode};
use unbroken::engine::{Input, Output, Plan, Recovery};
use unbroken::sse::Parser;
use unbroken::testing::{Answer, Deltas};
use unbroken::{AttemptId, Part, PartKind, Transcript, TransportErrorKind};

use super::Asked;
use crate::script::{ANTHROPIC, CHAT, Script};
use crate::support::wires::Wire;
use crate::support::{is_broken_off, kept};

pub(super) fn run(asked: &Asked, script: &mut Script<'_>) {
    let mut frames: Vec<String> = frames(asked.wire);
    let in_order = frames.len();
    frames.extend(more(asked.wire).iter().map(|frame| (*frame).to_owned()));
    let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
    let mut bodies = Vec::new();
    while bodies.len() < BODIES_MAX && !script.0.is_empty() {
        bodies.push(body(script, &frames, in_order));
    }
    if let Some(played) = play(asked.wired(), bodies) {
        check(asked, &played);
    }
}

/// What an upstream sends to one request.
struct Body {
    bytes: Vec<u8>,
    /// Bytes of a chunk; 0 for all in one.
    pieces: usize,
    end: End,
}

#[derive(Clone)]
enum End {
    Clean,
    Broken(TransportErrorKind),
    Silent,
}

impl Body {
    fn inputs(self, id: AttemptId) -> VecDeque<Input> {
        let head = Input::Head { id, status: StatusCode::OK, headers: HeaderMap::new() };
        let mut inputs = VecDeque::from([head]);
        let pieces = if self.pieces == 0 { usize::MAX } else { self.pieces };
        let chunk = |bytes: &[u8]| Input::Chunk { id, bytes: bytes.to_vec().into() };
        inputs.extend(self.bytes.chunks(pieces).map(chunk));
        match self.end {
            End::Clean => inputs.push_back(Input::End { id, error: None }),
            End::Broken(error) => inputs.push_back(Input::End { id, error: Some(error) }),
            End::Silent => {}
        }
        inputs
    }
}

/// What came of it.
struct Played {
    result: Result<(), unbroken::Error>,
    transcript: Transcript,
    /// What the client got.
    bytes: Vec<u8>,
}

/// One request after another gets these; what follows them is refused. Nothing, if the chain's vendors have no
/// translation between them.
fn play(plan: Plan, bodies: Vec<Body>) -> Option<Played> {
    let mut now = Instant::now();
    let mut engine = Recovery::new(plan, now).ok()?;
    let (mut bodies, mut inputs) = (bodies.into_iter(), VecDeque::new());
    let mut bytes = Vec::new();
    for _ in 0..STEPS_MAX {
        match engine.poll_output() {
            Output::Open(attempt) => {
                let id = attempt.id;
                let refused = Input::End { id, error: Some(TransportErrorKind::Connect) };
                let body = bodies.next().map(|body| body.inputs(id));
                inputs = body.unwrap_or_else(|| VecDeque::from([refused]));
            }
            Output::Abort(_) => inputs.clear(),
            Output::Wire(more) => bytes.extend_from_slice(&more),
            Output::Done(result) => {
                let transcript = engine.transcript().clone();
                return Some(Played { result, transcript, bytes });
            }
            Output::Wait { until, .. } => {
                let input = inputs.pop_front().unwrap_or_else(|| {
                    now = now.max(until.expect("it waits for nothing"));
                    Input::Tick
                });
                engine.handle_input(now, input);
            }
            Output::Event(_) | Output::Notice(_) | Output::Release(_) => {}
            Output::Ask(_) | Output::Withdraw | Output::Put(_) => {}
        }
    }
    panic!("it never comes to an end");
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

fn body(script: &mut Script<'_>, frames: &[&str], in_order: usize) -> Body {
    let (mut bytes, mut next, mut end) = (Vec::new(), 0, End::Clean);
    while let Some(what) = script.byte() {
        match what {
            0..=127 => {
                if next < in_order {
                    bytes.extend(Script(&[next as u8]).frame(frames));
                }
                next += 1;
            }
            128..=215 => bytes.extend(script.frame(frames)),
            216..=231 => {
                let count = script.number();
                bytes.extend(script.bytes(count));
            }
            // One is left out.
            232..=239 => next += 1,
            _ => {
                let broken = End::Broken(TransportErrorKind::Body);
                end = script.one_of(&[End::Clean, broken, End::Silent]);
                break;
            }
        }
    }
    Body { bytes, pieces: script.number(), end }
}

fn check(asked: &Asked, played: &Played) {
    let bytes = &played.bytes[..];
    let story = || format!("{:?}\n{}", played.result, String::from_utf8_lossy(bytes));
    if bytes.is_empty() {
        assert!(played.result.is_err(), "an end that nobody sees");
        return;
    }
    assert!(ends_between_events(bytes), "half an event\n{}", story());
    let body = Body { bytes: bytes.to_vec(), pieces: 0, end: End::Clean };
    let read = play(plan_again(asked), vec![body]).expect("it was asked before");
    // After a whole call an error is an end that is inferred.
    let proved = read.transcript.finish().is_some_and(|finish| !finish.inferred);
    let ended = read.result.is_ok() && (proved || played.result.is_ok());
    assert_eq!(ended, played.result.is_ok(), "the end, read as {:?}\n{}", read.result, story());
    let (mut seen, mut told) = (said(&read.transcript), said(&played.transcript));
    if !ended {
        let chat = asked.wire == Wire::OpenAiChat;
        if chat {
            seen.1 = calls_at_the_end(plan_again(asked), bytes, &played.transcript);
        }
        // What was broken off is told at the end, which does not come.
        seen.1.retain(|(name, _)| !name.ends_with(" (cut)"));
        told.1.retain(|(name, _)| !name.ends_with(" (cut)"));
        if chat {
            without_unproved(&mut seen.1, &told.1);
        }
    }
    assert_eq!(seen, told, "the content\n{}", story());
}

/// The calls of a stream of Chat's that failed. That format does not say where a call ends, but by what comes
/// behind it: here, in place of the failure, the end.
fn calls_at_the_end(plan: Plan, bytes: &[u8], told: &Transcript) -> Vec<(String, String)> {
    let last = bytes.windows(7).rposition(|at| at == b"\ndata: ").map_or(0, |at| at + 1);
    let mut bytes = bytes[..last].to_vec();
    for choice in told.parts().iter().map(Part::choice).collect::<BTreeSet<_>>() {
        let end = format!("{{\"index\":{choice},\"delta\":{{}},\"finish_reason\":\"tool_calls\"}}");
        bytes.extend(format!("data: {{\"choices\":[{end}]}}\n\n").into_bytes());
    }
    let body = Body { bytes, pieces: 0, end: End::Clean };
    let read = play(plan, vec![body]).expect("it was asked before");
    said(&read.transcript).1
}

/// The last call of a stream of Chat's that failed may be all there, and not be known to be whole: `told` lacks it. Not
/// the last of `seen`, where one has no name.
fn without_unproved(seen: &mut Vec<(String, String)>, told: &[(String, String)]) {
    let others = |at: usize| seen.iter().take(at).chain(seen.iter().skip(at + 1));
    if let Some(at) = (0..seen.len()).find(|at| others(*at).eq(told)) {
        seen.remove(at);
    }
}

/// A plan for one that reads what the client got.
fn plan_again(asked: &Asked) -> Plan {
    let mut plan = asked.plan();
    plan.chain = plan.chain.iter().take(1).cloned().collect();
    plan.policy = asked.policy.clone().max_attempts(1).into();
    plan
}

/// Whether no event is torn. The blank line behind the last one may be missing, as servers forget it.
fn ends_between_events(bytes: &[u8]) -> bool {
    let mut parser = Parser::default();
    let mut rest = bytes;
    while let Ok(Some(_)) = parser.next_event(&mut rest) {}
    let mut end: &[u8] = b"\n\n";
    let whole = match parser.next_event(&mut end) {
        Ok(Some(last)) => {
            last.data == "[DONE]" || serde_json::from_str::<serde_json::Value>(last.data).is_ok()
        }
        _ => true,
    };
    whole
}

/// All the text of each choice, which is an answer of its own, and the calls: not every format can say which
/// of the two came first.
fn said(transcript: &Transcript) -> (BTreeMap<u32, String>, Vec<(String, String)>) {
    let mut texts: BTreeMap<u32, String> = BTreeMap::new();
    for part in transcript.kept().filter(|part| *part.kind() == PartKind::Text) {
        texts.entry(part.choice()).or_default().push_str(part.text());
    }
    let mut calls = kept(transcript);
    calls.retain(|(name, said)| name.starts_with("call") && !is_broken_off(name, said));
    // Chat may name a call late: one that it never names comes last.
    calls.sort_by_key(|(name, _)| name.strip_suffix(" (cut)").unwrap_or(name) == "call ");
    (texts, calls)
}

const BODIES_MAX: usize = 4;

/// Outputs and inputs of a run.
const STEPS_MAX: usize = 100_000;
