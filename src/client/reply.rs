//! The driver: does what the engine says, and decides nothing.
//!
//! In: engine outputs. Out: one item a poll. Two rules are its own: bytes are read before a timer is
//! believed, and the clock is believed, not the timer's wake-up.

mod leave;

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::FusedStream;
use serde_json::Value;

use super::alarm::Alarm;
use super::asking::{self, Asking};
use super::clock::Clock;
use super::gate::Permit;
use super::transport::{BoxBody, BoxOpen, TransportError, Unread};
use super::{Client, Shared, release};
use crate::dialect::Dialect;
use crate::engine::{Attempt, Input, Notice, Output, Over, Plan, Recovery};
use crate::error::{Error, ErrorKind};
use crate::event::{AttemptId, Delta, Event, PartKind, Text};
use crate::observe::{Observation, ReplyId};
use crate::report::{Outcome, Report};
use crate::transcript::Transcript;

/// One answer, over however many connections it takes.
///
/// A fused stream of [`Event`]s. It ends after exactly one of [`Event::Finished`] or an `Err` that
/// carries everything received so far. Nothing is sent before it is polled first.
///
/// # Cancel safety
/// Polling may stop at any time and go on later; nothing is lost. Dropping it closes the connection to
/// the upstream at once, so that the provider stops generating; an answer that it would go on making all
/// the same is canceled there ([`Policy::release`](crate::policy::Policy::release)).
///
/// # Panics
/// If polled outside a tokio runtime with time enabled, as tokio's own timers do.
pub struct Reply {
    shared: Arc<Shared>,
    id: ReplyId,
    state: State,
    dialect: Arc<dyn Dialect>,
    canceled: bool,
}

enum State {
    Planned(Box<Plan>),
    Running(Box<Running>),
    /// It could not begin.
    Unplanned {
        transcript: Transcript,
        report: Report,
    },
}

impl State {
    /// The kind of the error that was handed out already.
    const fn failed(&self) -> Option<ErrorKind> {
        match self {
            Self::Planned(_) => None,
            Self::Running(running) => running.failed,
            Self::Unplanned { .. } => Some(ErrorKind::InvalidRequest),
        }
    }
}

struct Running {
    engine: Recovery,
    exchange: Exchange,
    asking: Asking,
    /// The leave that the attempt under way has, or what is left of the last one's.
    permit: Option<Permit>,
    /// The last response head that was a success, where somebody wants it.
    head: Option<http::response::Parts>,
    keeps_head: bool,
    head_only: bool,
    alarm: Alarm,
    /// The last error of the HTTP stack, which explains an error of the reply.
    cause: Option<TransportError>,
    done: bool,
    /// Observers know that it is over.
    told: bool,
    /// Why it ended, if an error was handed out.
    failed: Option<ErrorKind>,
}

/// What a poll of a reply gives.
pub(super) enum Item {
    Event(Event),
    /// Bytes for a client of the first step's dialect.
    Wire(Bytes),
}

/// The HTTP exchange under way.
enum Exchange {
    None,
    Opening(AttemptId, BoxOpen),
    Body(AttemptId, BoxBody),
}

impl Reply {
    pub(super) fn new(client: &Client, plan: Plan) -> Self {
        Self {
            shared: Arc::clone(&client.shared),
            id: ReplyId::new(client.shared.replies.fetch_add(1, Ordering::Relaxed) + 1),
            state: State::Planned(Box::new(plan)),
            dialect: Arc::clone(&client.chain.dialect),
            canceled: false,
        }
    }

    /// Sends `body`, of which the request was read, in place of what that would be written as: to every
    /// upstream that gets the caller's request unchanged, so one with `stream: true` and its model.
    /// A parsed JSON text cannot be written again digit for digit and space for space. Call it before
    /// the reply is polled; later it does nothing.
    #[must_use]
    pub fn written(mut self, body: impl Into<Option<Bytes>>) -> Self {
        if let State::Planned(plan) = &mut self.state {
            plan.written = body.into();
        }
        self
    }

    /// All that has been delivered so far.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        match &self.state {
            State::Planned(_) => &NOTHING.0,
            State::Running(running) => running.engine.transcript(),
            State::Unplanned { transcript, .. } => transcript,
        }
    }

    /// Its number, as observers are told it.
    #[must_use]
    pub const fn id(&self) -> ReplyId {
        self.id
    }

    /// All that has been tried so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        match &self.state {
            State::Planned(_) => &NOTHING.1,
            State::Running(running) => running.engine.report(),
            State::Unplanned { report, .. } => report,
        }
    }

    /// The assistant turn so far, in the shape that the provider of the first step accepts in a
    /// history: of a whole answer, or of what there is of one that failed or that nobody waits for.
    #[must_use]
    pub fn as_message(&self) -> Value {
        self.dialect.message(self.transcript())
    }

    /// The visible text only, of choice 0, as it comes.
    ///
    /// Meant for append-only delivery: a [`Rewind`](Event::Rewind) does not show in it.
    #[must_use]
    pub const fn text(self) -> TextStream {
        TextStream { reply: self }
    }

    /// Waits for the end of the answer.
    ///
    /// # Errors
    /// Why it has no complete end, with everything that was delivered.
    ///
    /// # Cancel safety
    /// Dropping the future drops the reply, as does every call that takes it by value.
    pub async fn finish(mut self) -> Result<Answer, Error> {
        while let Some(item) = poll_fn(|cx| Pin::new(&mut self).poll_next(cx)).await {
            item?;
        }
        // The error itself went to whoever polled before; that there was one must not be lost.
        if let Some(kind) = self.state.failed() {
            return Err(Error::new(kind, self.transcript().clone(), self.report().clone()));
        }
        Ok(Answer {
            transcript: self.transcript().clone(),
            report: self.report().clone(),
            dialect: Arc::clone(&self.dialect),
        })
    }

    /// The response that is handed on with its body, if it is one.
    pub(super) fn take_response(&mut self) -> Option<http::Response<BoxBody>> {
        let State::Running(running) = &mut self.state else {
            return None;
        };
        match mem::replace(&mut running.exchange, Exchange::None) {
            Exchange::Body(_, body) => Some(http::Response::from_parts(running.head.take()?, body)),
            Exchange::None | Exchange::Opening(..) => None,
        }
    }

    fn begin(&mut self, plan: Plan) -> Result<(), Error> {
        let mut plan = plan;
        let now = self.shared.clock.now();
        plan.refused = self.shared.gate.refusals(now);
        let head_only = plan.head_only;
        let keeps_head = head_only || plan.wire.is_some();
        match Recovery::new(plan, now) {
            Ok(mut engine) => {
                if self.canceled {
                    engine.handle_input(now, Input::Cancel);
                }
                self.state = State::Running(Box::new(Running {
                    engine,
                    exchange: Exchange::None,
                    asking: Asking::default(),
                    permit: None,
                    head: None,
                    keeps_head,
                    head_only,
                    alarm: Alarm::default(),
                    cause: None,
                    done: false,
                    told: false,
                    failed: None,
                }));
                Ok(())
            }
            Err(error) => {
                self.state =
                    State::Unplanned { transcript: Transcript::new(), report: Report::default() };
                let over = Over::new(Err(error.kind()), Report::default());
                self.shared.hear(self.id, &Notice::Over(Box::new(over)));
                Err(error)
            }
        }
    }
}

impl Reply {
    pub(super) fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Item, Error>>> {
        if let State::Planned(_) = &self.state {
            let gone =
                State::Unplanned { transcript: Transcript::new(), report: Report::default() };
            if let State::Planned(plan) = mem::replace(&mut self.state, gone) {
                if let Err(error) = self.begin(*plan) {
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        match &mut self.state {
            State::Running(running) => running.poll_next(&self.shared, self.id, cx),
            State::Planned(_) | State::Unplanned { .. } => Poll::Ready(None),
        }
    }

    /// What it is to do, as long as it has not begun.
    pub(super) fn plan_mut(&mut self) -> Option<&mut Plan> {
        match &mut self.state {
            State::Planned(plan) => Some(plan),
            State::Running(_) | State::Unplanned { .. } => None,
        }
    }

    /// The last response head that was a success, where somebody wants it.
    pub(super) fn head(&self) -> Option<&http::response::Parts> {
        match &self.state {
            State::Running(running) => running.head.as_ref(),
            State::Planned(_) | State::Unplanned { .. } => None,
        }
    }

    /// Ends it as soon as may be.
    pub(super) fn cancel(&mut self) {
        self.canceled = true;
        if let State::Running(running) = &mut self.state {
            running.engine.handle_input(self.shared.clock.now(), Input::Cancel);
        }
    }

    /// Whether the client of its wire view has all of it.
    pub(super) fn is_told(&self) -> bool {
        match &self.state {
            State::Running(running) if running.done => running.failed.is_none(),
            State::Running(running) => running.engine.is_told(),
            State::Planned(_) | State::Unplanned { .. } => false,
        }
    }

    /// Closes the connection; nothing more comes.
    pub(super) fn abandon(&mut self) {
        if let State::Running(running) = &mut self.state {
            running.exchange = Exchange::None;
            running.asking.end();
            running.permit = None;
            running.done = true;
        }
    }
}

impl Stream for Reply {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match ready!(this.poll_item(cx)) {
                Some(Ok(Item::Event(event))) => return Poll::Ready(Some(Ok(event))),
                // A reply that is polled for events has no client of another kind.
                Some(Ok(Item::Wire(_))) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl FusedStream for Reply {
    fn is_terminated(&self) -> bool {
        match &self.state {
            State::Planned(_) => false,
            State::Running(running) => running.done,
            State::Unplanned { .. } => true,
        }
    }
}

impl Running {
    fn poll_next(
        &mut self,
        shared: &Arc<Shared>,
        reply: ReplyId,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Item, Error>>> {
        // Only for a trial is there a clock to be read.
        if let Some(permit) = self.permit.as_mut().filter(|permit| permit.is_trial()) {
            permit.alive(shared.clock.now());
        }
        while !self.done {
            match self.engine.poll_output() {
                Output::Event(event) => return self.hand_out(Item::Event(event)),
                Output::Wire(bytes) => return self.hand_out(Item::Wire(bytes)),
                Output::Open(attempt) => self.open(shared, reply, *attempt),
                Output::Abort(_) => self.exchange = Exchange::None,
                Output::Release(released) => release::send(shared, reply, *released),
                Output::Ask(question) => {
                    // No upstream is kept from others while somebody else is asked.
                    self.permit = None;
                    self.asking.begin(*question);
                }
                Output::Withdraw => self.asking.end(),
                Output::Put(put) => asking::put(*put),
                Output::Notice(notice) => self.hear(shared, reply, &notice),
                Output::Done(result) => {
                    self.done = true;
                    let canceled = result.as_ref().is_err_and(Error::is_canceled);
                    if let Some(mut permit) = self.permit.take().filter(|_| !canceled) {
                        let change = permit.unretried(shared.clock.now());
                        change.iter().for_each(|notice| shared.hear(reply, notice));
                    }
                    // What the engine has left open of a success is the caller's.
                    if result.is_err() {
                        self.exchange = Exchange::None;
                    }
                    let error = result.err().map(|error| self.explain(error));
                    self.failed = error.as_ref().map(Error::kind);
                    return Poll::Ready(error.map(Err));
                }
                Output::Wait { until, .. } => {
                    let input = match self.poll_exchange(cx) {
                        Poll::Ready(input) => input,
                        Poll::Pending => {
                            let connected = !matches!(self.exchange, Exchange::None);
                            let listening = connected || self.asking.is_under_way();
                            ready!(self.alarm.poll(&shared.clock, until, listening, cx));
                            Input::Tick
                        }
                    };
                    self.engine.handle_input(shared.clock.now(), input);
                }
            }
        }
        Poll::Ready(None)
    }

    fn hand_out(&mut self, item: Item) -> Poll<Option<Result<Item, Error>>> {
        self.alarm.unattended();
        Poll::Ready(Some(Ok(item)))
    }

    fn open(&mut self, shared: &Shared, reply: ReplyId, attempt: Attempt) {
        let now = shared.clock.now();
        let held = self.permit.take();
        self.permit = shared.gate.admit(&attempt, held, now, |notice| shared.hear(reply, notice));
        if self.permit.is_none() {
            return self.engine.handle_input(now, Input::Denied { id: attempt.id });
        }
        self.engine.handle_input(now, Input::Sent { id: attempt.id });
        let mut request = attempt.request;
        if self.head_only {
            request.extensions_mut().insert(Unread);
        }
        let opening = shared.transport.open(request, attempt.connection);
        self.exchange = Exchange::Opening(attempt.id, opening);
    }

    fn hear(&mut self, shared: &Shared, reply: ReplyId, notice: &Notice) {
        // Before an observer may panic: the drop would tell it once more.
        self.told |= matches!(notice, Notice::Over(_));
        shared.hear(reply, notice);
        if let (Notice::Answering { .. }, Some(permit)) = (notice, &self.permit) {
            permit.answering();
        }
        if let Notice::Ended { verdict, report, .. } = notice {
            if report.outcome != Outcome::Finished {
                self.head = None;
            }
            let permit = self.permit.as_mut();
            let change = permit.and_then(|permit| permit.settle(*verdict, shared.clock.now()));
            change.iter().for_each(|notice| shared.hear(reply, notice));
        }
    }

    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        let input = match &mut self.exchange {
            Exchange::None => return self.asking.poll(cx),
            Exchange::Opening(id, opening) => {
                let id = *id;
                match ready!(opening.as_mut().poll(cx)) {
                    Ok(response) => {
                        let (head, body) = response.into_parts();
                        self.exchange = Exchange::Body(id, body);
                        if self.keeps_head && head.status.is_success() {
                            self.head = Some(head.clone());
                        }
                        let (status, mut headers) = (head.status, head.headers);
                        Clock::stamp(&mut headers);
                        return Poll::Ready(Input::Head { id, status, headers });
                    }
                    Err(error) => self.failed(id, error),
                }
            }
            Exchange::Body(id, body) => {
                let id = *id;
                match ready!(body.as_mut().poll_next(cx)) {
                    Some(Ok(bytes)) => return Poll::Ready(Input::Chunk { id, bytes }),
                    Some(Err(error)) => self.failed(id, error),
                    None => Input::End { id, error: None },
                }
            }
        };
        self.exchange = Exchange::None;
        Poll::Ready(input)
    }

    fn failed(&mut self, id: AttemptId, error: TransportError) -> Input {
        let kind = error.kind();
        self.cause = Some(error);
        Input::End { id, error: Some(kind) }
    }

    fn explain(&mut self, error: Error) -> Error {
        use crate::event::Cut;
        match (error.cut(), self.cause.take()) {
            (Some(Cut::Unreachable | Cut::Reset), Some(cause)) => error.caused_by(cause),
            _ => error,
        }
    }
}

impl Shared {
    pub(super) fn hear(&self, reply: ReplyId, notice: &Notice) {
        if let Notice::Refused(refusal) = notice {
            self.gate.learn(refusal.clone(), self.clock.now());
        }
        if self.observers.is_empty() {
            return;
        }
        let observation = Observation::new(reply, self.clock.now(), notice);
        self.observers.iter().for_each(|observer| observer.observe(&observation));
    }
}

/// The visible text of a [`Reply`], as it comes.
pub struct TextStream {
    reply: Reply,
}

impl TextStream {
    /// The reply, to ask for its transcript and report.
    #[must_use]
    pub const fn reply(&self) -> &Reply {
        &self.reply
    }
}

impl Stream for TextStream {
    type Item = Result<Text, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(Pin::new(&mut self.reply).poll_next(cx)) {
                Some(Ok(Event::Delta(Delta::Append { part, text }))) => {
                    let part = self.reply.transcript().parts().get(part as usize);
                    let visible = |part: &crate::transcript::Part| {
                        *part.kind() == PartKind::Text && part.choice() == 0
                    };
                    if part.is_some_and(visible) {
                        return Poll::Ready(Some(Ok(text)));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl FusedStream for TextStream {
    fn is_terminated(&self) -> bool {
        self.reply.is_terminated()
    }
}

/// A complete answer.
#[derive(Clone)]
#[non_exhaustive]
pub struct Answer {
    /// What was said: exactly what was delivered.
    pub transcript: Transcript,
    /// What it took.
    pub report: Report,
    dialect: Arc<dyn Dialect>,
}

impl Answer {
    /// The visible text.
    #[must_use]
    pub fn text(&self) -> String {
        self.transcript.text()
    }

    /// The assistant turn as the provider of the first step accepts it in a history.
    #[must_use]
    pub fn as_message(&self) -> Value {
        self.dialect.message(&self.transcript)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("transcript", &self.transcript)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("transcript", self.transcript())
            .field("attempts", &self.report().attempts.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TextStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TextStream").field(&self.reply).finish()
    }
}

/// What has been delivered and tried before the first poll.
static NOTHING: (Transcript, Report) = (Transcript::new(), Report { attempts: Vec::new() });
