//! The driver of a run: one engine, the exchanges of its upstreams, and a clock that never waits.
//!
//! In: a plan, and the world around it. Out: a [`Run`], or a panic that names the law that was broken. Laws
//! kept here: *Fold*, *Terminal*, *Drain*, *Once* (nothing is asked for once a call is out), and that
//! an exchange is closed before another one begins.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use unbroken::engine::{Attempt, Given, Input, Output, Plan, Recovery};
use unbroken::testing::{End, Exchange, Step, Steps};
use unbroken::{AttemptId, Event, Progress, Report, Resume, Transcript, TransportErrorKind};

use super::{Entry, Run};

/// What a run is played in: the upstreams, the gate before them, and the caller.
pub(crate) trait World {
    /// What is answered to this attempt, whose request has this body (null where it is fetched without one).
    fn respond(&mut self, request: &Value, attempt: &Attempt) -> Exchange;

    /// Whether this attempt may be sent.
    fn allows(&mut self, _attempt: &Attempt) -> bool {
        true
    }

    /// Whether the caller cancels now, after so many inputs.
    fn cancels(&self, _inputs: usize) -> bool {
        false
    }

    /// How long the caller has the last item in hand before the next request can go out.
    fn tardiness(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether inputs come as well that mean nothing: ticks that are not due, and what is left of
    /// attempts and questions that are over.
    fn strays(&self) -> bool {
        false
    }
}

/// Upstreams and a gate as functions.
struct Functions<R, A> {
    respond: R,
    allows: A,
}

impl<R, A> World for Functions<R, A>
where
    R: FnMut(&Value, &Attempt) -> Exchange,
    A: FnMut(&Attempt) -> bool,
{
    fn respond(&mut self, request: &Value, attempt: &Attempt) -> Exchange {
        (self.respond)(request, attempt)
    }

    fn allows(&mut self, attempt: &Attempt) -> bool {
        (self.allows)(attempt)
    }
}

/// Plays `respond` against the plan until the reply is over.
pub(crate) fn run(plan: Plan, respond: impl FnMut(&Value, &Attempt) -> Exchange) -> Run {
    run_gated(plan, respond, |_| true)
}

/// The same with a gate, which says what may be sent.
pub(crate) fn run_gated(
    plan: Plan,
    respond: impl FnMut(&Value, &Attempt) -> Exchange,
    allows: impl FnMut(&Attempt) -> bool,
) -> Run {
    run_in(plan, &mut Functions { respond, allows })
}

/// Plays the plan in `world` until the reply is over.
pub(crate) fn run_in(plan: Plan, world: &mut impl World) -> Run {
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
    // What is only passed on is the driver's to close.
    let ours = !plan.head_only && !plan.replay;
    let engine = match Recovery::new(plan, start) {
        Ok(engine) => engine,
        Err(error) => return refused(error),
    };
    let mut course = Course {
        engine,
        start,
        now: start,
        wire: None,
        asking: None,
        ours,
        inputs: 0,
        still: 0,
        over: Vec::new(),
        run: Run { wire: client.map(|_| Vec::new()), ..empty(Ok(())) },
    };
    let mut drained = 0;
    for _ in 0..STEPS_MAX {
        drained += 1;
        assert!(drained < DRAIN_MAX, "law Drain: the engine does not come to rest");
        match course.engine.poll_output() {
            Output::Done(result) => {
                let run = course.done(result);
                run.check(attempts_max);
                if let Some(dialect) = client.filter(|_| strict) {
                    run.check_wire(dialect);
                }
                return run;
            }
            Output::Wait { until, timer } => {
                drained = 0;
                course.wait(until, world);
                course.run.log(course.now - start, Entry::Woke(timer));
            }
            output => course.heed(output, world),
        }
    }
    panic!("law Drain: the run does not end\n{}", course.run.tail());
}

fn refused(error: unbroken::Error) -> Run {
    empty(Err(error))
}

fn empty(result: Result<(), unbroken::Error>) -> Run {
    Run {
        events: Vec::new(),
        notices: Vec::new(),
        released: Vec::new(),
        puts: Vec::new(),
        transcript: Transcript::new(),
        report: Report::default(),
        result,
        requests: Vec::new(),
        fed: Vec::new(),
        wire: None,
        log: Vec::new(),
        took: Duration::ZERO,
    }
}

/// A run under way.
struct Course {
    engine: Recovery,
    start: Instant,
    now: Instant,
    wire: Option<Wire>,
    asking: Asking,
    /// Exchanges are the engine's to close.
    ours: bool,
    /// Inputs so far.
    inputs: usize,
    /// Wake-ups in a row by a clock that did not move.
    still: usize,
    /// Attempts that are over.
    over: Vec<AttemptId>,
    run: Run,
}

/// A question under way.
type Asking = Option<(usize, Pin<Box<dyn Future<Output = Option<Given>> + Send>>)>;

/// An exchange under way.
struct Wire {
    attempt: AttemptId,
    steps: Steps,
    /// When the next step is due.
    due: Instant,
    step: Option<Step>,
}

impl Course {
    /// Does what the engine says.
    fn heed(&mut self, output: Output, world: &mut impl World) {
        let at = self.now - self.start;
        let run = &mut self.run;
        match output {
            Output::Open(attempt) if !world.allows(&attempt) => {
                self.engine.handle_input(self.now, Input::Denied { id: attempt.id });
            }
            Output::Open(attempt) => self.open(&attempt, world),
            Output::Abort(id) => {
                run.log(at, Entry::Abort(id.get()));
                let open = self.wire.take().map(|wire| wire.attempt);
                assert_eq!(open, Some(id), "law Spend: only what is open is closed");
                self.over.push(id);
            }
            Output::Event(event) => {
                run.log(at, Entry::Event(run.events.len()));
                run.transcript.apply(&event);
                // Every delta in short answers; at every other event in long ones, which would cost
                // quadratic time otherwise.
                if run.events.len() < 64 || !matches!(event, Event::Delta(_)) {
                    assert_eq!(&run.transcript, self.engine.transcript(), "law Fold");
                }
                run.events.push(event);
            }
            Output::Wire(bytes) => {
                run.wire.as_mut().expect("only if the plan has a client").extend_from_slice(&bytes);
            }
            Output::Notice(notice) => run.notices.push(notice),
            Output::Release(released) => run.released.push(*released),
            Output::Ask(question) => {
                assert!(self.wire.is_none(), "nobody else is asked meanwhile");
                self.asking = Some((question.step, Box::pin(question.ask())));
            }
            Output::Withdraw => self.asking = None,
            Output::Put(put) => {
                run.puts.push((*put).clone());
                assert!(poll_once(Box::pin(put.put()).as_mut()).is_ready(), "a quick cache");
            }
            Output::Done(_) | Output::Wait { .. } => unreachable!("taken before"),
        }
    }

    fn open(&mut self, attempt: &Attempt, world: &mut impl World) {
        assert!(self.wire.is_none(), "law Spend: one exchange at a time");
        // Whoever has run a call must not be asked to run it again.
        let committed = self.engine.transcript().progress() == Progress::Committed;
        let replay = attempt.by == Some(Resume::Cursor);
        assert!(!committed || replay, "law Once: asked again after a call\n{}", self.run.tail());
        // A replay is fetched without a body.
        let body = attempt.request.body();
        let request = if attempt.request.method() == http::Method::GET {
            assert!(body.is_empty(), "a fetch has no body");
            Value::Null
        } else {
            serde_json::from_slice(body).expect("a request is JSON")
        };
        let tardiness = world.tardiness();
        if !tardiness.is_zero() {
            self.now += tardiness;
            self.engine.handle_input(self.now, Input::Sent { id: attempt.id });
        }
        let mut steps = world.respond(&request, attempt).steps();
        self.run.log(self.now - self.start, Entry::Open(attempt.id.get(), attempt.by));
        self.run.requests.push(request);
        self.run.fed.push(0);
        let step = steps.next();
        self.wire = Some(Wire { attempt: attempt.id, steps, due: self.now, step });
    }

    /// Feeds the next thing that happens.
    fn wait(&mut self, until: Option<Instant>, world: &mut impl World) {
        self.inputs += 1;
        if world.cancels(self.inputs) {
            return self.engine.handle_input(self.now, Input::Cancel);
        }
        if world.strays() {
            self.stray(until);
        }
        if let Some((step, answer)) = &mut self.asking {
            if let Poll::Ready(given) = poll_once(answer.as_mut()) {
                self.engine.handle_input(self.now, Input::Answered { step: *step, given });
                self.asking = None;
                return;
            }
        }
        if self.advance(until) {
            self.still = 0;
        } else {
            let before = self.now;
            self.now = until.expect("law Drain: silence without a timer").max(before);
            self.engine.handle_input(self.now, Input::Tick);
            self.still = if self.now == before { self.still + 1 } else { 0 };
            assert!(self.still < STILL_MAX, "law Drain: woken in vain\n{}", self.run.tail());
        }
    }

    /// Says what means nothing.
    fn stray(&mut self, until: Option<Instant>) {
        if until.is_some_and(|until| until > self.now) {
            self.engine.handle_input(self.now, Input::Tick);
        }
        self.engine.handle_input(self.now, Input::Answered { step: usize::MAX, given: None });
        let Some(id) = self.over.last().copied() else { return };
        let bytes = Bytes::from_static(b"data: {\"error\":{}}\n\n");
        for input in [
            Input::Sent { id },
            Input::Head { id, status: StatusCode::OK, headers: HeaderMap::new() },
            Input::Chunk { id, bytes },
            Input::Denied { id },
            Input::End { id, error: None },
        ] {
            self.engine.handle_input(self.now, input);
        }
    }

    /// Takes the next step of the exchange; `false` where the clock runs out before it. Bytes come before timers.
    fn advance(&mut self, until: Option<Instant>) -> bool {
        let Some(open) = &mut self.wire else { return false };
        let id = open.attempt;
        let step = match open.step.take() {
            Some(Step::Wait(wait)) => {
                open.due += wait;
                open.step = open.steps.next();
                return until.is_none_or(|at| at >= open.due);
            }
            None => return false,
            Some(step) if open.due > self.now && until.is_some_and(|at| at < open.due) => {
                open.step = Some(step);
                return false;
            }
            Some(step) => step,
        };
        let exchange = open.steps.exchange();
        let input = match step {
            Step::Head => {
                let (status, headers) = (exchange.status(), exchange.headers().clone());
                Input::Head { id, status, headers }
            }
            Step::Piece { bytes, .. } => {
                *self.run.fed.last_mut().expect("an exchange is open") += bytes.len();
                Input::Chunk { id, bytes }
            }
            Step::End(end) => match ended(&end, exchange.has_head()) {
                Some(error) => Input::End { id, error },
                None => return false,
            },
            Step::Wait(_) => unreachable!("taken above"),
        };
        self.now = open.due.max(self.now);
        open.step = open.steps.next();
        if matches!(input, Input::End { .. }) {
            self.wire = None;
            self.over.push(id);
        }
        self.engine.handle_input(self.now, input);
        true
    }

    fn done(mut self, result: Result<(), unbroken::Error>) -> Run {
        assert!(
            matches!(self.engine.poll_output(), Output::Wait { until: None, .. }),
            "law Terminal: nothing follows the end"
        );
        // Nor does anything that comes too late.
        self.stray(None);
        self.engine.handle_input(self.now, Input::Cancel);
        assert!(
            matches!(self.engine.poll_output(), Output::Wait { until: None, .. }),
            "law Terminal: the end is the end"
        );
        assert!(!self.ours || self.wire.is_none(), "law Spend: no exchange is left open");
        self.run.report = self.engine.report().clone();
        self.run.result = result;
        self.run.took = self.now - self.start;
        self.run
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

/// What is ready at once, or never.
pub(crate) fn poll_once<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// More steps than any honest run takes.
const STEPS_MAX: usize = 3_000_000;

/// Outputs in a row that any honest input leads to, beside the deltas that its bytes hold.
const DRAIN_MAX: usize = 100_000;

/// Wake-ups in a row for clocks that ran out at the same moment.
const STILL_MAX: usize = 100;
