//! What a delta costs, when it leaves, and what is held for an answer that is under way: counted, not timed.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "support/continuations.rs"]
mod continuations;
#[path = "support/spoken.rs"]
mod spoken;
#[path = "support/wires.rs"]
mod wires;

use std::collections::VecDeque;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use continuations::{CASES, Case, answer};
use futures_util::Stream;
use http::{HeaderMap, Request, Response, StatusCode};
use spoken::{Spoken, pieces};
use tokio::runtime::{Builder, Runtime};
use unbroken::client::{Connection, Transport, TransportError};
use unbroken::engine::{Input, Output, Plan, Recovery};
use unbroken::policy::Policy;
use unbroken::seam::{Seam, Verdict};
use unbroken::{AttemptId, Client, Delta, Event, Reply, Transcript};
use wires::Wire;

/// Allocations in which a transcript of some kilobytes grows, and some once-only ones.
const GROWTH: u64 = 24;

/// Deltas before it is counted: buffers have grown and the shape of a frame is known.
const WARM: usize = 8;

#[test]
fn a_delta_of_plain_text_is_delivered_without_an_allocation() {
    for wire in Wire::ALL {
        let spoken = Spoken::new(wire, pieces(1000, false));
        let cost = engine_cost(wire, &spoken);
        assert!(cost.count_total <= GROWTH, "{wire:?}: {cost:?}");
        let cost = reply_cost(wire, &spoken);
        assert!(cost.count_total <= GROWTH, "{wire:?}: {cost:?}");
    }
}

#[test]
fn a_delta_of_escaped_text_is_delivered_with_one_allocation() {
    for wire in Wire::ALL {
        let spoken = Spoken::new(wire, std::iter::repeat_n("\"a\"\n\t\\\u{8}", 1000));
        let cost = engine_cost(wire, &spoken);
        assert!(cost.count_total <= spoken.deltas as u64 + GROWTH, "{wire:?}: {cost:?}");
        let cost = reply_cost(wire, &spoken);
        assert!(cost.count_total <= spoken.deltas as u64 + GROWTH, "{wire:?}: {cost:?}");
    }
}

#[test]
fn a_delta_that_chunks_cut_is_delivered_with_one_allocation() {
    for wire in Wire::ALL {
        let spoken = Spoken::new(wire, pieces(1000, false));
        let mut engine = Driven::new(wire, Policy::new());
        let chunks = spoken.chunks(50);
        let cost = measure(|| chunks.iter().for_each(|chunk| engine.feed(chunk.clone())));
        assert_eq!(engine.recovery.transcript().text(), spoken.text);
        assert!(cost.count_total <= spoken.deltas as u64 + 2 * GROWTH, "{wire:?}: {cost:?}");
    }
}

#[test]
fn a_delta_leaves_in_the_poll_in_which_its_bytes_came() {
    for wire in Wire::ALL {
        for end in ["\n", "\r\n", "\r"] {
            let spoken = Spoken::new(wire, pieces(40, true));
            let events = spoken.events.iter().map(|event| {
                let event = std::str::from_utf8(event).unwrap();
                Bytes::from(event.replace('\n', end))
            });
            let events: Vec<Bytes> = events.collect();
            let mut open = Open::new(wire);
            events[..spoken.first].iter().for_each(|event| open.come(event.clone()));
            open.drain();
            for (number, event) in events[spoken.first..][..spoken.deltas].iter().enumerate() {
                let was = open.text().len();
                // The parser must not wait for the LF of a CR LF: nobody knows that one comes.
                let (event, late) = match end {
                    "\r\n" => (event.slice(..event.len() - 1), event.slice(event.len() - 1..)),
                    _ => (event.clone(), Bytes::new()),
                };
                open.come(event);
                match open.poll() {
                    Some(Event::Delta(Delta::Append { .. })) => {}
                    // The first delta opens its part, and who answers may be told with it; an item a poll.
                    Some(_) if number == 0 => open.drain(),
                    other => panic!("{wire:?}, {end:?}, delta {number}: {other:?}"),
                }
                assert!(open.text().len() > was, "{wire:?}, {end:?}, delta {number}");
                open.come(late);
                assert_eq!(open.poll(), None);
            }
            assert_eq!(open.text(), spoken.text);
        }
    }
}

/// Bytes that an open reply may hold beside its transcript.
const HELD_MAX: i64 = 16 * 1024;

#[test]
fn an_open_reply_holds_little_beside_its_transcript() {
    for wire in Wire::ALL {
        for (deltas, escaped) in [(1, false), (100, true), (10_000, true)] {
            let spoken = Spoken::new(wire, pieces(deltas, escaped));
            let events = &spoken.events[..spoken.first + deltas];
            let mut open = Open::new(wire);
            let mut told = Vec::with_capacity(2 * events.len() + 8);
            let held = measure(|| {
                open.begin();
                for event in events {
                    // A buffer of its own, as from a socket, which must not be kept.
                    open.come(Bytes::copy_from_slice(event));
                    while let Some(event) = open.poll() {
                        // What the caller keeps is his.
                        if !matches!(event, Event::Delta(Delta::Append { .. })) {
                            allocation_counter::opt_out(|| told.push(event));
                        }
                    }
                }
            });
            let mut transcript = Transcript::new();
            let said = measure(|| {
                told.iter().for_each(|event| transcript.apply(event));
                for piece in pieces(deltas, escaped) {
                    let append = Delta::Append { part: 0, text: piece.into() };
                    transcript.apply(&Event::Delta(append));
                }
            });
            assert_eq!(open.text(), transcript.text());
            let beside = held.bytes_current - said.bytes_current;
            println!("{wire:?}, {deltas} deltas: {beside} bytes");
            assert!(beside < HELD_MAX, "{wire:?}, {deltas} deltas: {beside} bytes");
        }
    }
}

/// As much as a wire of 64 MB brings, doubled from 1 MB on.
const SIZES: [usize; 7] = [1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20, 32 << 20, 64 << 20];

/// Most bytes that may be held for `said` bytes of text at any moment: it doubles its room when that is
/// full, and then has the old one as well.
fn room(said: usize) -> u64 {
    3 * said as u64 + 64 * 1024
}

#[test]
fn twice_the_deltas_cost_twice_as_much() {
    for wire in Wire::ALL {
        let piece = "word ".repeat(800);
        let spoken = Spoken::new(wire, [piece.as_str()]);
        let frame = &spoken.events[spoken.first];
        let mut steps = Vec::new();
        for size in SIZES {
            let deltas = size / frame.len();
            let mut engine = Driven::new(wire, Policy::new().answer_max(usize::MAX));
            let cost = measure(|| {
                spoken.events[..spoken.first].iter().for_each(|event| engine.feed(event.clone()));
                (0..deltas).for_each(|_| engine.feed(frame.clone()));
            });
            assert_eq!(engine.recovery.transcript().text_len(), deltas * piece.len());
            // Its text, which grows by doubling, and nothing for a delta.
            assert!(cost.count_total < 64 + GROWTH, "{wire:?}, {size}: {cost:?}");
            assert!(cost.bytes_max < room(deltas * piece.len()), "{wire:?}, {size}: {cost:?}");
            assert!(cost.bytes_total < 2 * room(deltas * piece.len()), "{wire:?}: {cost:?}");
            steps.push(engine.steps - 2 * deltas);
        }
        assert!(steps.iter().all(|beside| *beside < 32), "{wire:?}: {steps:?}");
    }
}

#[test]
fn a_delta_of_twice_the_size_costs_twice_as_much() {
    let wire = Wire::Anthropic;
    for size in SIZES {
        let piece = "word ".repeat(size / 5);
        let spoken = Spoken::new(wire, [piece.as_str()]);
        let body = spoken.body();
        let policy = Policy::new().answer_max(usize::MAX).event_max(usize::MAX);
        let mut engine = Driven::new(wire, policy);
        let mut chunks = 0;
        let cost = measure(|| {
            for at in (0..body.len()).step_by(16 * 1024) {
                chunks += 1;
                engine.feed(body.slice(at..body.len().min(at + 16 * 1024)));
            }
        });
        assert_eq!(engine.recovery.transcript().text_len(), piece.len());
        assert!(cost.count_total < 128, "{size}: {cost:?}");
        // The event as it comes in, what is delivered of it, and what is kept.
        assert!(cost.bytes_max < 2 * room(size), "{size}: {cost:?}");
        assert!(cost.bytes_total < 3 * room(size), "{size}: {cost:?}");
        assert!(engine.steps < 2 * chunks + 64, "{} steps, {chunks} chunks", engine.steps);
    }
}

/// Nothing of a long answer is copied or folded to join a continuation to it.
#[test]
fn a_long_answer_is_joined_as_a_short_one() {
    for Case { name, expect, pieces } in CASES {
        let costs = [10_000, 100_000, 1_000_000].map(|size| {
            let said = answer(size);
            let (mut expected, mut verdict) = (None, None);
            let asked = measure(|| expected = Some(expect(&said)));
            let (expected, pieces) = (expected.unwrap(), pieces(&said));
            let mut seam = None;
            let made = measure(|| seam = Some(Seam::new(said, expected)));
            let joined = measure(|| {
                verdict = pieces.iter().find_map(|piece| match seam.as_mut()?.push(piece) {
                    Verdict::Hold => None,
                    verdict => Some(verdict),
                });
            });
            let again = seam.as_ref().is_some_and(Seam::swallowing);
            assert!(again || matches!(verdict, Some(Verdict::Resolved { .. })), "{name}: {seam:?}");
            println!("{name}, {size}: {} bytes, {verdict:?}", joined.bytes_total);
            asked.bytes_total.max(made.bytes_total).max(joined.bytes_total)
        });
        assert!(costs.iter().all(|bytes| *bytes < 16 * 1024), "{name}: {costs:?}");
    }
}

/// What the deltas of `spoken` cost in the engine, but for the first ones.
fn engine_cost(wire: Wire, spoken: &Spoken) -> AllocationInfo {
    let mut engine = Driven::new(wire, Policy::new());
    let (before, deltas) =
        spoken.events[..spoken.first + spoken.deltas].split_at(spoken.first + WARM);
    before.iter().for_each(|event| engine.feed(event.clone()));
    let cost = measure(|| deltas.iter().for_each(|event| engine.feed(event.clone())));
    assert_eq!(engine.recovery.transcript().text(), spoken.text);
    cost
}

/// The same through a reply, which is polled until it waits after each.
fn reply_cost(wire: Wire, spoken: &Spoken) -> AllocationInfo {
    let mut open = Open::new(wire);
    let (before, deltas) =
        spoken.events[..spoken.first + spoken.deltas].split_at(spoken.first + WARM);
    for event in before {
        open.come(event.clone());
        open.drain();
    }
    let cost = measure(|| {
        for event in deltas {
            open.come(event.clone());
            open.drain();
        }
    });
    assert_eq!(open.text(), spoken.text);
    cost
}

/// An engine whose upstream is answering.
struct Driven {
    recovery: Recovery,
    attempt: AttemptId,
    now: Instant,
    /// Outputs so far.
    steps: usize,
}

impl Driven {
    fn new(wire: Wire, policy: Policy) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an instant to start from; time is virtual")]
        let now = Instant::now();
        let mut plan = Plan::new(wire.request(), vec![wire.upstream("one", BASE)]);
        plan.policy = Arc::new(policy);
        let mut recovery = Recovery::new(plan, now).unwrap();
        let attempt = loop {
            if let Output::Open(attempt) = recovery.poll_output() {
                break attempt.id;
            }
        };
        let (status, headers) = (StatusCode::OK, HeaderMap::new());
        recovery.handle_input(now, Input::Head { id: attempt, status, headers });
        Self { recovery, attempt, now, steps: 0 }
    }

    /// Bytes come; all that they lead to is handed out.
    fn feed(&mut self, bytes: Bytes) {
        self.recovery.handle_input(self.now, Input::Chunk { id: self.attempt, bytes });
        loop {
            self.steps += 1;
            match self.recovery.poll_output() {
                Output::Wait { .. } => break,
                Output::Done(result) => {
                    result.unwrap();
                    break;
                }
                _ => {}
            }
        }
    }
}

const BASE: &str = "https://api.example";

/// What has come and is not read.
type Line = Arc<Mutex<VecDeque<Bytes>>>;

/// A transport whose body brings what is put on the line, and then is pending.
#[derive(Debug)]
struct Fed(Line);

struct FedBody(Line);

impl Transport for Fed {
    type Body = FedBody;

    fn open(
        &self,
        _: Request<Bytes>,
        _: Connection,
    ) -> impl Future<Output = Result<Response<FedBody>, TransportError>> + Send + 'static {
        ready(Ok(Response::new(FedBody(Arc::clone(&self.0)))))
    }
}

impl Stream for FedBody {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .lock()
            .unwrap()
            .pop_front()
            .map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(bytes))))
    }
}

/// A reply in the middle of its answer. No time passes.
struct Open {
    runtime: Runtime,
    line: Line,
    client: Client,
    wire: Wire,
    reply: Option<Reply>,
}

impl Open {
    fn new(wire: Wire) -> Self {
        let line = Line::new(Mutex::new(VecDeque::with_capacity(64)));
        let client = Client::builder().step(wire.upstream("one", BASE));
        let client = client.transport(Fed(Arc::clone(&line))).build().unwrap();
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        Self { runtime, line, client, wire, reply: None }
    }

    fn begin(&mut self) -> &mut Reply {
        self.reply.get_or_insert_with(|| self.client.stream(self.wire.request()))
    }

    fn come(&self, bytes: Bytes) {
        self.line.lock().unwrap().push_back(bytes);
    }

    /// What one poll gives.
    fn poll(&mut self) -> Option<Event> {
        self.begin();
        let _time = self.runtime.enter();
        let reply = Pin::new(self.reply.as_mut().unwrap());
        match reply.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(item) => Some(item.expect("more of the answer").unwrap()),
            Poll::Pending => None,
        }
    }

    fn drain(&mut self) {
        while self.poll().is_some() {}
    }

    fn text(&self) -> String {
        self.reply.as_ref().map_or_else(String::new, |reply| reply.transcript().text())
    }
}
