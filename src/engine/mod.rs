//! The recovery state machine: every decision, and no clock, runtime, random source or socket.
//!
//! In: [`Input`]s, each with the time at which it happened. Out: [`Output`]s. It must never touch
//! the world; a *driver* does what the outputs say. Laws kept: *Terminal*, *Drain*, *Time*,
//! *Bound*, *Spend*, *Once*, *Truth*.
//!
//! ```text
//!            Open/Denied            Head 2xx            finish marker
//!   Idle ──▶ Opening ───────────▶ Streaming ───────────▶ Closing ──▶ Done(Ok)
//!               │  ▲                  │                     (any cut here is benign)
//!           cut │  │ Backoff          │ cut
//!               ▼  │                  ▼
//!             Waiting ◀─────────── decide ──▶ Done(Err)
//!                                     │ a step that is no upstream
//!                                     ▼
//!             the next step ◀────── Asking ──▶ Done(Ok)
//! ```
//!
//! # How it is driven
//!
//! One input, then drain: after [`Recovery::new`] and after every [`Recovery::handle_input`] call
//! [`Recovery::poll_output`] until it says [`Output::Wait`] or [`Output::Done`]. The time never runs
//! backwards. [`Input::Sent`] may be said while draining, when a request goes out. Inputs that carry
//! the number of an attempt that is over, or of a step that is not asked any more, are ignored, so a
//! driver may race.
//!
//! It works when it is polled: an input only puts bytes in place, and each poll reads as much as gives
//! one output. So what [`Recovery::transcript`] holds is at every moment what was handed out.

mod adapt;
mod ask;
mod asked;
mod attempt;
mod cache;
mod decide;
mod deliver;
mod finish;
mod hand_off;
mod io;
mod ledger;
mod listen;
mod notice;
mod open;
mod plan;
mod read;
mod relay;
mod release;
mod settle;
mod step;
mod timers;
mod wire;

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;

pub use ask::{Given, Question};
pub use asked::Asked;
pub use attempt::Attempt;
pub use cache::{Cache, Cached, CachedAnswer, Put};
pub use hand_off::{HandOff, HandedOff, Ticket};
pub use io::{Input, Output};
pub use notice::{Answered, Notice, Over, Verdict};
#[cfg(feature = "proxy")]
pub(crate) use plan::key_of;
pub use plan::{IDEMPOTENCY_KEY, Plan, Refusal, Upstream};
pub use release::Released;
pub use step::{Canned, Step};
pub use wire::{WireOptions, WireReasoning};

use attempt::{Body, Head, Live, Wire, collect, is_other};
use decide::Ended;
use ledger::Ledger;
use relay::Relay;
use timers::Clocks;
use wire::Wire as ClientWire;

use crate::dialect::{Capabilities, Cursor, Outline};
use crate::error::{Error, Rejection};
use crate::event::{AttemptId, Cut, FinishReason, Resume, Timer, TransportErrorKind};
use crate::policy::{Delays, ERROR_BODY_MAX};
use crate::report::Report;
use crate::sse;
use crate::transcript::{Progress, Transcript};

/// One reply: the sans-IO core.
///
/// See the [module](self) for how it is driven.
pub struct Recovery {
    plan: Plan,
    now: Instant,
    transcript: Transcript,
    ledger: Ledger,
    queue: VecDeque<Output>,
    state: State,
    clocks: Clocks,
    delays: Delays,
    step: Current,
    live: Option<Live>,
    body: Body,
    ended: Option<End>,
    course: Course,
    /// What ends the generation of an attempt that was cut, as long as that one may still be replayed.
    running: Option<Box<Released>>,
    wire: Option<ClientWire>,
    /// The replay of somebody else's answer.
    relay: Option<Relay>,
}

/// The step of the chain that is in use: the last one that was an upstream.
#[derive(Debug)]
struct Current {
    index: usize,
    upstream: Upstream,
    /// Where its requests go.
    address: Uri,
    /// Parts before this one were said by earlier steps.
    first_part: u32,
    /// The caller's request as this upstream gets it.
    request: Arc<Value>,
    /// It is not the caller's own: it was adapted.
    adapted: bool,
    /// The upstream is of another dialect than the caller.
    foreign: bool,
    outline: Outline,
    capabilities: Capabilities,
    /// Rungs that are of no use here.
    refused: Vec<Resume>,
    /// Attempts in a row that brought nothing new.
    barren: u32,
    /// Where the provider's own replay of the caller's request would go on.
    cursor: Option<Cursor>,
    /// Where it would begin, of a generation that the provider keeps from its first byte.
    kept: Option<Cursor>,
}

/// What has happened so far that later decisions depend on.
#[derive(Debug, Default)]
struct Course {
    next_part: u32,
    /// The text part of each choice that is open.
    open_text: Vec<(u32, u32)>,
    started: bool,
    /// Content has been handed out.
    spoken: bool,
    /// Attempts in a row that were cut since something new came.
    failures: u32,
    /// The last attempt that was cut brought nothing new.
    after_barren: bool,
    stale_used: bool,
    /// The (upstream, model)s that have failed this reply in a way that counts.
    blamed: Vec<(Arc<str>, Arc<str>)>,
    /// How the last attempt ended that was not refused for the way we asked: what ails the reply.
    ailment: Option<(Ended, Option<Rejection>)>,
    fresh_connection: bool,
    /// Steps that were passed over, and the fields that they had no words for.
    passed_over: Vec<(usize, Arc<str>)>,
    /// Steps before this one that are no upstream have had their turn.
    asked: usize,
    /// Bytes that are held for the caller: what was delivered and what waits for its block's end.
    held: usize,
}

#[derive(Debug)]
enum State {
    Idle,
    /// An attempt is under way.
    Attempting,
    /// An attempt has ended; its loose ends are being handed out before it is decided upon.
    Settling(Box<settle::Fallen>),
    Waiting(open::Next),
    /// A step that is no upstream is asked for its answer.
    Asking(Box<ask::Asking>),
    Done,
}

/// How the attempt under way ended, to be settled once all that came before is handed out.
#[derive(Debug)]
enum End {
    /// The answer is complete.
    Complete,
    /// A stop sequence began in an earlier attempt and ended in this one.
    Stopped,
    Cut(Ended),
}

impl Recovery {
    /// A reply that is to follow `plan`. Nothing is sent before the first
    /// [`poll_output`](Self::poll_output).
    ///
    /// # Errors
    /// The request cannot be streamed, or no step of the chain is an upstream that it can be said to.
    pub fn new(plan: Plan, now: Instant) -> Result<Self, Error> {
        let (step, unfit) = Current::first(&plan)?;
        let delays = plan.policy.backoff.delays(plan.seed);
        let wire = Self::wire_of(&plan, now);
        let numbering = step.upstream.dialect.numbering().filter(|_| plan.replay);
        let relay = numbering.map(|numbering| Relay::new(numbering, &step.address));
        let mut new = Self {
            now,
            transcript: Transcript::new(),
            ledger: Ledger::new(now),
            queue: VecDeque::new(),
            state: State::Idle,
            clocks: Clocks { started: now, last_new: None, resume_at: None },
            delays,
            step,
            live: None,
            body: Body::Awaited,
            ended: None,
            course: Course::default(),
            running: None,
            wire,
            relay,
            plan,
        };
        for (index, unfit) in unfit {
            new.pass_over(index, unfit);
        }
        Ok(new)
    }

    /// Takes in what happened at `now`.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let reasons = timers::reasons(&self.step.outline, &self.step.capabilities);
        // Before a request is sent, nobody but the caller takes time.
        let unsent = matches!(input, Input::Sent { id } if self.is_live(id));
        if let Some(at) = self.clocks.last_new.filter(|_| unsent || self.is_paused(reasons)) {
            let passed = now.saturating_duration_since(self.now);
            self.clocks.last_new = at.checked_add(passed);
        }
        self.now = self.now.max(now);
        match input {
            Input::Sent { .. } if unsent => self.on_sent(),
            Input::Head { id, status, headers } if self.is_live(id) => {
                self.on_head(status, headers)
            }
            Input::Chunk { id, bytes } if self.is_live(id) => self.on_chunk(bytes),
            Input::End { id, error } if self.is_live(id) => self.on_end(error),
            Input::Denied { id } if self.is_live(id) => self.on_denied(id),
            Input::Sent { .. }
            | Input::Head { .. }
            | Input::Chunk { .. }
            | Input::End { .. }
            | Input::Denied { .. } => {}
            Input::Answered { step, given } => self.on_answered(step, given),
            Input::Tick => self.on_tick(),
            Input::Cancel => self.cancel(),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Output {
        loop {
            if let Some(output) = self.queue.pop_front() {
                if let Output::Event(event) = &output {
                    self.transcript.apply(event);
                }
                return output;
            }
            if !self.advance() {
                let next = self.next_deadline();
                return Output::Wait { until: next.map(|(at, _)| at), timer: next.map(|(_, t)| t) };
            }
        }
    }

    /// All that was handed out.
    #[must_use]
    pub const fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// All that was tried.
    #[must_use]
    pub const fn report(&self) -> &Report {
        self.ledger.report()
    }

    /// Whether a client of the wire view has been handed all of the answer, its terminal marker with it.
    #[must_use]
    pub fn is_told(&self) -> bool {
        match self.queue.front() {
            None => self.wire.is_some() && self.is_past(),
            Some(output) => matches!(output, Output::Done(Ok(()))),
        }
    }

    /// One step of work; `false` when only an input or time can help. The queue is empty here, so
    /// the transcript holds all that happened.
    fn advance(&mut self) -> bool {
        match &self.state {
            State::Done => false,
            State::Idle => {
                self.begin();
                true
            }
            State::Settling(_) => {
                self.settle();
                true
            }
            State::Waiting(_) => {
                let due = self.clocks.resume_at.is_none_or(|at| at <= self.now);
                let deadline = self.clocks.deadline(&self.plan.policy.timeouts);
                if due && deadline.is_some_and(|(at, _)| at <= self.now) {
                    // A slow caller may have used up the time of the reply, and no clock was asked since.
                    self.on_timer(Timer::Overall);
                } else if due {
                    self.open_waiting();
                }
                due
            }
            State::Asking(asking) => {
                let answered = asking.is_answered();
                if answered {
                    self.heed();
                }
                answered
            }
            State::Attempting if self.ended.is_some() => {
                self.fall();
                true
            }
            State::Attempting => self.read(),
        }
    }

    fn is_live(&self, id: AttemptId) -> bool {
        self.ended.is_none() && self.live.as_ref().is_some_and(|live| live.id == id)
    }

    /// Whether time that passes does not speak against the upstreams. Whoever is asked in their place has a
    /// clock of his own.
    fn is_paused(&self, reasons: bool) -> bool {
        matches!(self.state, State::Asking(_)) || timers::is_paused(self.live.as_ref(), reasons)
    }

    fn next_deadline(&self) -> Option<(Instant, Timer)> {
        if matches!(self.state, State::Done) {
            return None;
        }
        let reasons = timers::reasons(&self.step.outline, &self.step.capabilities);
        let pings = self.step.capabilities.pings;
        let live = self.live.as_ref();
        let paused = self.clocks.last_new.is_some() && self.is_paused(reasons);
        let own = self.clocks.next(live, &self.plan.policy, reasons, pings, paused);
        timers::earlier(own, timers::earlier(self.asking_deadline(), self.wire_deadline()))
    }

    fn on_sent(&mut self) {
        if let Some(live) = &mut self.live {
            (live.opened, live.last_byte, live.last_said) = (self.now, self.now, self.now);
        }
        self.ledger.sent(self.now);
    }

    fn on_head(&mut self, status: StatusCode, headers: HeaderMap) {
        let in_one_piece = self.relays() && self.wire_is_unused() && relay::is_json(&headers);
        if let Some(live) = self.live.as_mut().filter(|_| status.is_success()) {
            live.head_only |= in_one_piece;
        }
        if let Some(live) = self.live.as_mut().filter(|live| live.head_only && status.is_success())
        {
            // The rest of the exchange is the caller's.
            live.over = true;
            live.finish = Some((FinishReason::Unstated, self.now));
            self.ended = Some(End::Complete);
            return;
        }
        let head = Head { status, headers };
        if let Some(live) = self.live.as_mut().filter(|_| !status.is_success()) {
            live.refused = Some(self.now);
        }
        self.body = if status.is_success() {
            Body::Unknown { head: Box::new(head), start: Vec::new() }
        } else {
            Body::Other { head: Box::new(head), body: Vec::new() }
        };
    }

    fn on_chunk(&mut self, bytes: Bytes) {
        let Some(live) = &mut self.live else { return };
        if bytes.is_empty() {
            return;
        }
        if !live.first_byte {
            live.first_byte = true;
            live.last_said = self.now;
            self.ledger.first_byte(self.now);
        }
        live.last_byte = self.now;
        let again = live.again;
        let mut bytes = bytes;
        if let Body::Unknown { head, start } = &mut self.body {
            // A stream may begin with blanks, and so may a JSON error.
            if !start.is_empty() {
                start.extend_from_slice(&bytes);
                bytes = Bytes::from(mem::take(start));
            }
            match is_other(&bytes) {
                Some(true) => self.body = Body::Other { head: head.clone(), body: Vec::new() },
                None => return start.extend_from_slice(&bytes),
                Some(false) => self.body = self.stream(),
            }
        }
        match &mut self.body {
            Body::Stream(wire) => wire.chunk = bytes,
            Body::Other { body, .. } => {
                // A whole answer, or only why there is none.
                let max = if again { self.plan.policy.event_max } else { ERROR_BODY_MAX };
                collect(body, &bytes, max);
            }
            Body::Awaited | Body::Unknown { .. } => {}
        }
    }

    fn stream(&self) -> Body {
        let (outline, capabilities) = (&self.step.outline, &self.step.capabilities);
        let event_max = self.plan.policy.event_max;
        let limits = sse::Limits::new().max_line(event_max).max_event(event_max);
        let limits = limits.max_stray(crate::policy::ERROR_BODY_MAX);
        let mut decoder = self.upstream().dialect.decoder(outline, capabilities);
        let replays = self.live.as_ref().is_some_and(|live| live.by == Some(Resume::Cursor));
        if let Some(cursor) = self.step.cursor.as_ref().filter(|_| replays) {
            decoder.attach(cursor);
        }
        Body::Stream(Box::new(Wire {
            parser: sse::Parser::new(limits),
            decoder,
            chunk: Bytes::new(),
        }))
    }

    fn on_end(&mut self, error: Option<TransportErrorKind>) {
        if error.is_none() {
            self.wire_ended();
            self.read_end();
            self.read_whole();
        }
        let cut = match error {
            None => Cut::Truncated,
            Some(
                TransportErrorKind::Connect | TransportErrorKind::Tls | TransportErrorKind::Request,
            ) => Cut::Unreachable,
            Some(_) => Cut::Reset,
        };
        if let Some(live) = &mut self.live {
            live.over = true;
        }
        self.cut(Ended { cut, fault: None, transport: error });
    }

    fn on_denied(&mut self, id: AttemptId) {
        self.ledger.strike(id);
        if let Some(live) = &mut self.live {
            live.over = true;
        }
        let upstream = Arc::clone(&self.upstream().name);
        let model = Arc::clone(&self.step.outline.model);
        let notice = Notice::Denied { attempt: id, upstream, model };
        self.queue.push_back(Output::Notice(notice));
        self.ended = Some(End::Cut(Ended { cut: Cut::Denied, fault: None, transport: None }));
    }

    fn on_tick(&mut self) {
        if let Some((_, timer)) = self.next_deadline().filter(|(at, _)| *at <= self.now) {
            self.on_timer(timer);
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            // `advance` sees for itself that the wait is over.
            Timer::Backoff => {}
            Timer::KeepAlive => self.wire_keep_alive(),
            Timer::Cache | Timer::HandOff => self.on_silence(),
            Timer::Closing => self.ended = Some(End::Complete),
            Timer::Overall if self.is_finished() => {
                self.ended = Some(End::Complete);
            }
            // The calls are in hand: a valid turn, and no reason to lose it.
            Timer::Progress | Timer::Overall if self.live.is_some() && self.is_committed() => {
                self.cut(Ended { cut: Cut::Stalled { timer }, fault: None, transport: None });
            }
            Timer::FirstEvent | Timer::Idle | Timer::Delta => {
                self.cut(Ended { cut: Cut::Stalled { timer }, fault: None, transport: None });
            }
            Timer::Progress | Timer::Overall if self.is_committed() => self.finish_with_calls(),
            Timer::Progress => self.fail(crate::error::ErrorKind::NoProgress),
            Timer::Overall => self.fail(crate::error::ErrorKind::Deadline),
        }
    }

    /// Whether the attempt under way has read the end of the answer.
    fn is_finished(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.finish.is_some())
    }

    fn is_committed(&self) -> bool {
        self.transcript.progress() == Progress::Committed && self.is_resumable()
    }

    fn cancel(&mut self) {
        if self.is_finished() {
            self.ended.get_or_insert(End::Complete);
        } else if !matches!(self.state, State::Done) {
            self.queue.retain(|output| matches!(output, Output::Release(_)));
            self.fail(crate::error::ErrorKind::Canceled);
        }
    }

    /// The attempt under way ended without its finish marker.
    fn cut(&mut self, ended: Ended) {
        if self.ended.is_none() {
            self.ended = Some(End::Cut(ended));
        }
    }

    const fn upstream(&self) -> &Upstream {
        &self.step.upstream
    }
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery")
            .field("plan", &self.plan)
            .field("transcript", &self.transcript)
            .field("attempts", &self.report().attempts.len())
            .finish_non_exhaustive()
    }
}
