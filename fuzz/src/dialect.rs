//! The decoders of the dialects, and the engine on top of them.
//!
//! In: a stream, either as it is or written as a script of events that are changed. Checked: what a
//! decoder says is well-formed, says something of every event, and is the same each time; nothing is
//! finished after a fault; and what the engine makes of the stream does not depend on its chunks.

use std::collections::BTreeSet;
use std::time::Instant;

use arbitrary::Arbitrary;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use unbroken::dialect::{Anthropic, Dialect, Gemini, GeminiInteractions, OpenAiChat, Signal};
use unbroken::engine::{Input as Fed, Output, Plan, Recovery};
use unbroken::policy::{Policy, ToolDelivery};
use unbroken::{Upstream, sse};

use crate::script::{ANTHROPIC, CHAT, Script};

/// A seed begins with three characters: how the rest is read, and two lengths of chunks.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    /// From the lowest bit: the rest is a script of three bytes an event; its events are of Chat
    /// Completions; two bits for further choices; `[DONE]` is proof; tool calls come live.
    setup: u8,
    /// Lengths of the chunks, in turn.
    lengths: [u8; 2],
    /// The stream, or its script.
    rest: &'a [u8],
}

/// Panics if a decoder or the engine is wrong about `input`.
pub fn run(input: Input<'_>) {
    let setup = input.setup;
    let body = match setup & 1 {
        0 => input.rest.to_vec(),
        _ => stream(input.rest, setup & 2 != 0),
    };
    for dialect in [&Anthropic as &dyn Dialect, &OpenAiChat, &Gemini, &GeminiInteractions] {
        let said = decode(dialect, &body, setup);
        assert_eq!(decode(dialect, &body, setup), said, "not the same twice");
    }
    let chunks = cut(&body, input.lengths);
    let singles: Vec<&[u8]> = body.chunks(1).collect();
    let live = setup & 32 != 0;
    for chat in [false, true] {
        let whole = play(chat, live, &[&body]);
        assert_eq!(play(chat, live, &chunks), whole, "chunks matter");
        assert_eq!(play(chat, live, &singles), whole, "single bytes matter");
    }
}

fn stream(script: &[u8], chat: bool) -> Vec<u8> {
    let frames = if chat { CHAT } else { ANTHROPIC };
    let mut script = Script(script);
    let mut body = Vec::new();
    while !script.0.is_empty() {
        body.extend(script.frame(frames));
    }
    body
}

/// What the decoder says of each event, in words.
fn decode(dialect: &dyn Dialect, body: &[u8], setup: u8) -> Vec<String> {
    let mut outline = dialect.outline(&Value::Null);
    outline.choices = 1 + u32::from(setup >> 2 & 3);
    let mut capabilities = dialect.capabilities("", "");
    capabilities.done_is_proof = setup & 16 != 0;
    let mut decoder = dialect.decoder(&outline, &capabilities);
    let mut check = Check::default();
    let mut parser = sse::Parser::default();
    let mut rest = body;
    while let Ok(Some(event)) = parser.next_event(&mut rest) {
        let before = check.said.len();
        if decoder.decode(&event, &mut |signal| check.hear(&signal)).is_err() {
            check.said.push("unreadable".to_owned());
        }
        assert!(
            check.said.len() > before,
            "an event said nothing at all: {} {}",
            event.event,
            event.data
        );
    }
    decoder.stray(&String::from_utf8_lossy(body), &mut |signal| check.hear(&signal));
    decoder.end(&mut |signal| check.hear(&signal));
    check.said
}

#[derive(Default)]
struct Check {
    said: Vec<String>,
    open: BTreeSet<u32>,
    faulted: bool,
}

impl Check {
    fn hear(&mut self, signal: &Signal<'_>) {
        match signal {
            Signal::Open { slot, .. } => {
                assert!(self.open.insert(*slot), "slot {slot} is open already");
            }
            Signal::Append { slot, .. } | Signal::Annotate { slot, .. } => {
                assert!(self.open.contains(slot), "slot {slot} is not open");
            }
            Signal::Close { slot } => {
                assert!(self.open.remove(slot), "slot {slot} is closed, not open");
            }
            Signal::Finish { .. } => assert!(!self.faulted, "finished after a fault"),
            Signal::Fault(_) => self.faulted = true,
            Signal::Alive | Signal::Started { .. } | Signal::Usage(_) | Signal::Terminal => {}
        }
        self.said.push(format!("{signal:?}"));
    }
}

/// What the engine delivers of a body, as JSON, and how it ends.
fn play(chat: bool, live: bool, chunks: &[&[u8]]) -> Vec<String> {
    let uri = Uri::from_static("http://recorded/");
    let upstream = match chat {
        false => Upstream::new("recorded", Anthropic, uri),
        true => Upstream::new("recorded", OpenAiChat, uri),
    };
    let request =
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "-"}]});
    let mut plan = Plan::new(request, vec![upstream]);
    let tools = if live { ToolDelivery::Live } else { ToolDelivery::Whole };
    plan.policy = Policy::new().max_attempts(1).tools(tools).into();
    let now = Instant::now();
    let mut engine = Recovery::new(plan, now).expect("the request can be streamed");
    let mut said = Vec::new();
    let mut attempt = None;
    let mut chunks = chunks.iter();
    loop {
        match engine.poll_output() {
            Output::Open(open) => {
                let (id, status) = (open.id, StatusCode::OK);
                attempt = Some(id);
                let headers = HeaderMap::new();
                engine.handle_input(now, Fed::Head { id, status, headers });
            }
            Output::Event(event) => said.push(serde_json::to_string(&event).unwrap()),
            Output::Done(result) => {
                let end = result
                    .map_err(|error| (error.kind(), error.cut(), error.code().map(str::to_owned)));
                said.push(format!("{end:?}"));
                return said;
            }
            Output::Wait { .. } => {
                let id = attempt.expect("it waits for its attempt");
                let input = match chunks.next() {
                    Some(chunk) => Fed::Chunk { id, bytes: Bytes::copy_from_slice(chunk) },
                    None => Fed::End { id, error: None },
                };
                engine.handle_input(now, input);
            }
            Output::Ask(_) | Output::Withdraw | Output::Put(_) => {}
            Output::Abort(_) | Output::Release(_) | Output::Notice(_) | Output::Wire(_) => {}
        }
    }
}

fn cut(stream: &[u8], lengths: [u8; 2]) -> Vec<&[u8]> {
    // Two empty chunks in turn would never come to an end.
    let lengths = if lengths == [0, 0] { [0, 1] } else { lengths };
    let mut rest = stream;
    let mut chunks = Vec::new();
    for length in lengths.into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(usize::from(length).min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}
