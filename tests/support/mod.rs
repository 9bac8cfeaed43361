//! The engine in virtual time: no runtime, no sleep, no socket.
//!
//! A run plays the exchanges of an upstream against one `Recovery`, checks the laws that every run
//! must keep (`recovery.md` 9), and hands back all that happened.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may")]

pub(crate) mod client;
pub(crate) mod subjects;
pub(crate) mod wires;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use serde_json::Value;
use unbroken::engine::{Attempt, Given, Input, Notice, Output, Plan, Put, Recovery};
use unbroken::testing::{End, Exchange, Step, Steps};
use unbroken::{Delta, Error, Event, PartKind, PartState, Report, Transcript, TransportErrorKind};

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) events: Vec<Event>,
    pub(crate) transcript: Transcript,
    pub(crate) report: Report,
    pub(crate) notices: Vec<Notice>,
    /// What was sent beside the attempts, to end generations.
    pub(crate) released: Vec<unbroken::engine::Released>,
    /// What was put into caches.
    pub(crate) puts: Vec<Put>,
    pub(crate) result: Result<(), Error>,
    /// The body of every request that was sent.
    pub(crate) requests: Vec<Value>,
    /// What a client of the provider's format got, if the plan has one.
    pub(crate) wire: Option<Vec<u8>>,
    /// What happened when, for `trace`.
    log: Vec<(Duration, Entry)>,
    pub(crate) took: Duration,
}

#[derive(Debug)]
enum Entry {
    Open(u32, Option<unbroken::Resume>),
    Abort(u32),
    Event(usize),
    Woke(Option<unbroken::Timer>),
}

/// A question under way.
type Asking = Option<(usize, Pin<Box<dyn Future<Output = Option<Given>> + Send>>)>;

/// What is ready at once, or never.
pub(crate) fn poll_once<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// An exchange under way.
struct Wire {
    attempt: unbroken::AttemptId,
    steps: Steps,
    /// When the next step is due.
    due: Instant,
    step: Option<Step>,
}

/// More steps than any honest run takes.
const STEPS_MAX: usize = 3_000_000;

/// Outputs in a row that any honest input leads to, beside the deltas that its bytes hold.
const DRAIN_MAX: usize = 100_000;

/// Plays `respond` against the plan until the reply is over.
pub(crate) fn run(plan: Plan, respond: impl FnMut(&Value, &Attempt) -> Exchange) -> Run {
    run_gated(plan, respond, |_| true)
}

/// The same with a gate, which says what may be sent.
pub(crate) fn run_gated(
    plan: Plan,
    mut respond: impl FnMut(&Value, &Attempt) -> Exchange,
    mut allows: impl FnMut(&Attempt) -> bool,
) -> Run {
    #[expect(clippy::disallowed_methods, reason = "an instant to start from; time is virtual")]
    let start = Instant::now();
    let attempts_max = plan.policy.max_attempts;
    let first = plan.chain.iter().find_map(|step| match step {
        unbroken::Step::Upstream(upstream) => Some(upstream.dialect().name()),
        _ => None,
    });
    let client = first.filter(|_| plan.wire.is_some());
    // The strict client reads one choice, and nothing to compare it with is read of a replay that is passed on.
    let strict = plan.request.get("n").is_none() && !plan.replay;
    let mut now = start;
    let mut engine = match Recovery::new(plan, now) {
        Ok(engine) => engine,
        Err(error) => return refused(error),
    };
    let mut run = Run {
        events: Vec::new(),
        notices: Vec::new(),
        released: Vec::new(),
        puts: Vec::new(),
        transcript: Transcript::new(),
        report: Report::default(),
        result: Ok(()),
        requests: Vec::new(),
        wire: client.map(|_| Vec::new()),
        log: Vec::new(),
        took: Duration::ZERO,
    };
    let mut wire: Option<Wire> = None;
    let mut asking: Asking = None;
    let mut drained = 0;
    for _ in 0..STEPS_MAX {
        drained += 1;
        assert!(drained < DRAIN_MAX, "law Drain: the engine does not come to rest");
        match engine.poll_output() {
            Output::Open(attempt) if !allows(&attempt) => {
                engine.handle_input(now, Input::Denied { id: attempt.id });
            }
            Output::Open(attempt) => {
                // A replay is fetched without a body.
                let body = attempt.request.body();
                let request = if attempt.request.method() == http::Method::GET {
                    assert!(body.is_empty(), "a fetch has no body");
                    Value::Null
                } else {
                    serde_json::from_slice(body).expect("a request is JSON")
                };
                let mut steps = respond(&request, &attempt).steps();
                run.log(now - start, Entry::Open(attempt.id.get(), attempt.by));
                run.requests.push(request);
                let step = steps.next();
                wire = Some(Wire { attempt: attempt.id, steps, due: now, step });
            }
            Output::Abort(id) => {
                run.log(now - start, Entry::Abort(id.get()));
                wire = None;
            }
            Output::Event(event) => {
                run.log(now - start, Entry::Event(run.events.len()));
                run.transcript.apply(&event);
                // Every delta in short answers; at every other event in long ones, which would cost
                // quadratic time otherwise.
                if run.events.len() < 64 || !matches!(event, Event::Delta(_)) {
                    assert_eq!(&run.transcript, engine.transcript(), "law Fold");
                }
                run.events.push(event);
            }
            Output::Wire(bytes) => {
                run.wire.as_mut().expect("only if the plan has a client").extend_from_slice(&bytes);
            }
            Output::Notice(notice) => run.notices.push(notice),
            Output::Release(released) => run.released.push(*released),
            Output::Ask(question) => {
                assert!(wire.is_none(), "nobody else is asked meanwhile");
                asking = Some((question.step, Box::pin(question.ask())));
            }
            Output::Withdraw => asking = None,
            Output::Put(put) => {
                run.puts.push((*put).clone());
                assert!(poll_once(Box::pin(put.put()).as_mut()).is_ready(), "a quick cache");
            }
            Output::Done(result) => {
                run.report = engine.report().clone();
                run.result = result;
                run.took = now - start;
                assert!(
                    matches!(engine.poll_output(), Output::Wait { until: None, .. }),
                    "law Terminal: nothing follows the end"
                );
                run.check(attempts_max);
                if let Some(dialect) = client.filter(|_| strict) {
                    run.check_wire(dialect);
                }
                return run;
            }
            Output::Wait { until, timer } => {
                drained = 0;
                if let Some((step, answer)) = &mut asking {
                    if let Poll::Ready(given) = poll_once(answer.as_mut()) {
                        engine.handle_input(now, Input::Answered { step: *step, given });
                        asking = None;
                        continue;
                    }
                }
                now = advance(&mut engine, &mut wire, now, until);
                run.log(now - start, Entry::Woke(timer));
            }
        }
    }
    panic!("law Drain: the run does not end\n{}", run.tail());
}

fn refused(error: Error) -> Run {
    Run {
        events: Vec::new(),
        notices: Vec::new(),
        released: Vec::new(),
        puts: Vec::new(),
        transcript: Transcript::new(),
        report: Report::default(),
        result: Err(error),
        requests: Vec::new(),
        wire: None,
        log: Vec::new(),
        took: Duration::ZERO,
    }
}

/// Feeds the next thing that happens: a step of the exchange, or time. Bytes come before timers.
fn advance(
    engine: &mut Recovery,
    wire: &mut Option<Wire>,
    now: Instant,
    until: Option<Instant>,
) -> Instant {
    let Some(open) = wire else {
        let at = until.expect("law Drain: it waits for nothing").max(now);
        engine.handle_input(at, Input::Tick);
        return at;
    };
    let id = open.attempt;
    match open.step.take() {
        Some(Step::Wait(wait)) => {
            open.due += wait;
            open.step = open.steps.next();
            if let Some(at) = until.filter(|at| *at < open.due) {
                engine.handle_input(at.max(now), Input::Tick);
                return at.max(now);
            }
            now
        }
        Some(step) if open.due > now && until.is_some_and(|at| at < open.due) => {
            open.step = Some(step);
            let at = until.unwrap_or(now).max(now);
            engine.handle_input(at, Input::Tick);
            at
        }
        Some(step) => {
            let at = open.due.max(now);
            let input = match step {
                Step::Head => {
                    let exchange = open.steps.exchange();
                    let (status, headers) = (exchange.status(), exchange.headers().clone());
                    Input::Head { id, status, headers }
                }
                Step::Piece { bytes, .. } => Input::Chunk { id, bytes },
                Step::End(end) => match ended(&end, open.steps.exchange().has_head()) {
                    Some(error) => Input::End { id, error },
                    None => {
                        open.step = None;
                        let at = until.expect("law Drain: silence without a timer").max(now);
                        engine.handle_input(at, Input::Tick);
                        return at;
                    }
                },
                Step::Wait(_) => unreachable!("taken above"),
            };
            open.step = open.steps.next();
            if matches!(input, Input::End { .. }) {
                *wire = None;
            }
            engine.handle_input(at, input);
            at
        }
        None => {
            let at = until.expect("law Drain: silence without a timer").max(now);
            engine.handle_input(at, Input::Tick);
            at
        }
    }
}

/// How an end looks to the engine; `None`: silence.
fn ended(end: &End, head: bool) -> Option<Option<TransportErrorKind>> {
    let broken = if head { TransportErrorKind::Body } else { TransportErrorKind::Reset };
    match end {
        End::Stall | End::Pings { .. } => None,
        End::Clean if head => Some(None),
        End::Refused if !head => Some(Some(TransportErrorKind::Connect)),
        End::Stale if !head => Some(Some(TransportErrorKind::Stale)),
        End::Broken => Some(Some(TransportErrorKind::Protocol)),
        End::StreamReset(_) => Some(Some(TransportErrorKind::StreamReset)),
        End::GoAway(_) => Some(Some(TransportErrorKind::GoAway)),
        _ => Some(Some(broken)),
    }
}

impl Run {
    pub(crate) fn text(&self) -> String {
        self.transcript.text()
    }

    /// What outlasts: text, whole calls with their arguments, signed reasoning, blocks.
    pub(crate) fn kept(&self) -> Vec<(String, String)> {
        kept(&self.transcript)
    }

    fn log(&mut self, at: Duration, entry: Entry) {
        self.log.push((at, entry));
    }

    /// One line for every output and input: the same seed gives the same trace.
    pub(crate) fn trace(&self) -> String {
        let line = |(at, entry): &(Duration, Entry)| {
            let entry = match entry {
                Entry::Event(index) => {
                    serde_json::to_string(&self.events[*index]).expect("an event is JSON")
                }
                other => format!("{other:?}"),
            };
            format!("{:>9.3}s {entry}\n", at.as_secs_f64())
        };
        self.log.iter().map(line).collect()
    }

    fn tail(&self) -> String {
        let from = self.log.len().saturating_sub(60);
        self.trace().lines().skip(from).map(|line| format!("{line}\n")).collect()
    }

    /// The laws that hold for every run.
    fn check(&self, attempts_max: u32) {
        let finished = self.events.iter().filter(|e| matches!(e, Event::Finished(_))).count();
        assert_eq!(finished, usize::from(self.result.is_ok()), "law Terminal\n{}", self.tail());
        if finished == 1 {
            assert!(matches!(self.events.last(), Some(Event::Finished(_))), "law Terminal");
        }
        let counted = self.report.attempts.iter().filter(|attempt| !attempt.free).count();
        assert!(counted <= attempts_max as usize, "law Spend: {counted} attempts");
        assert_eq!(self.requests.len(), self.report.attempts.len(), "law Spend");
        let (billed, reported) = (self.report.billed(), self.report.usage());
        let lost = self.report.lost_output_tokens();
        let again = self.report.rebilled_input_tokens();
        let told = billed.input_tokens >= reported.input_tokens
            && billed.output_tokens >= reported.output_tokens;
        let within = lost <= billed.output_tokens && again <= billed.input_tokens;
        assert!(told && within, "law Spend: {:?}", self.report);
        let ended = self.notices.iter().filter(|n| matches!(n, Notice::Ended { .. })).count();
        assert_eq!(ended, self.requests.len(), "every attempt that was sent is told to be over");
        self.check_parts();
        if let Err(error) = &self.result {
            assert_eq!(error.transcript(), &self.transcript, "an error carries what came");
        }
    }

    /// What a client reads is one legal stream, and says what the transcript says.
    fn check_wire(&self, dialect: &str) {
        let bytes = self.wire.as_deref().unwrap_or_default();
        let seen = match dialect {
            "anthropic" => client::anthropic(bytes),
            "openai-responses" => client::responses::read(bytes),
            "gemini" => client::gemini::read(bytes),
            "gemini-interactions" => client::interactions::read(bytes),
            _ => client::openai_chat(bytes),
        };
        let story = || {
            format!(
                "{}
{}",
                self.tail(),
                String::from_utf8_lossy(bytes)
            )
        };
        assert_eq!(seen.terminal, self.result.is_ok(), "the end\n{}", story());
        // An answer that fails before anything went out has a status to say so.
        let failed = self.result.is_err() && !bytes.is_empty();
        assert_eq!(seen.error, failed, "the error\n{}", story());
        let lasting = |kept: Vec<(String, String)>| -> Vec<(String, String)> {
            let mut lasting: Vec<(String, String)> = Vec::new();
            for (name, content) in kept {
                let name = name.trim_end_matches(" (cut)").to_owned();
                match lasting.last_mut() {
                    _ if !name.starts_with("call") && name != "text" => {}
                    Some((last, text)) if name == "text" && last == "text" => {
                        text.push_str(&content)
                    }
                    _ => lasting.push((name, content)),
                }
            }
            lasting
        };
        assert_eq!(lasting(seen.kept), lasting(self.kept()), "the content\n{}", story());
    }

    /// Parts open once, in order, with content; what is closed stays closed; no call comes twice.
    fn check_parts(&self) {
        let mut open = BTreeSet::new();
        let mut next = 0;
        let mut calls = BTreeSet::new();
        for event in &self.events {
            if let Event::Rewind(to) = event {
                open.retain(|part| *part < to.parts);
            }
            let Event::Delta(delta) = event else { continue };
            match delta {
                Delta::Open { part, .. } => {
                    assert_eq!(*part, next, "parts are numbered in order");
                    next += 1;
                    open.insert(*part);
                }
                Delta::Append { part, text } => {
                    assert!(open.contains(part), "text for a part that is not open");
                    assert!(!text.is_empty(), "an append without content");
                }
                Delta::Annotate { part, .. } => assert!(open.contains(part)),
                Delta::Close { part } | Delta::Truncate { part } => {
                    let kind = self.transcript.parts()[*part as usize].kind();
                    if let PartKind::ToolCall { id, .. } = kind {
                        assert!(calls.insert(id.clone()) || id.is_empty(), "law Once: {id}");
                    }
                    assert!(open.remove(part), "a part is closed once\n{}", self.tail());
                }
                Delta::Abandon { part } => {
                    open.remove(part);
                }
                _ => {}
            }
        }
        if self.result.is_ok() {
            assert!(open.is_empty(), "parts left open: {open:?}\n{}", self.tail());
        }
    }
}

/// What of a transcript outlasts; adjacent texts are one.
pub(crate) fn kept(transcript: &Transcript) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for part in transcript.kept() {
        let name = match part.kind() {
            PartKind::Text => "text".to_owned(),
            PartKind::Reasoning => "reasoning".to_owned(),
            PartKind::ToolCall { name, .. } => format!("call {name}"),
            PartKind::ServerCall { name, .. } => format!("server call {name}"),
            other => format!("{other:?}"),
        };
        let name = if part.state() == PartState::Truncated { name + " (cut)" } else { name };
        match all.last_mut() {
            Some((last, text)) if name == "text" && last == "text" => text.push_str(part.text()),
            _ => all.push((name, part.text().to_owned())),
        }
    }
    all
}

/// SplitMix64: small and seedable.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
