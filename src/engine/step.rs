//! The steps of a chain, and the answers of those that are no upstream.
//!
//! In: the caller's request, where nothing has been delivered. Out: one text, whole, and who it is
//! of. No request is sent for it; what has to be asked for is in `ask`. Law kept: *Terminal*.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::ask::Otherwise;
use super::open::Next;
use super::plan::Upstream;
use super::settle::Fallen;
use super::{Cached, CachedAnswer, HandOff, Notice, Output, Recovery, State, Ticket};
use crate::event::{
    Delta, Event, Finish, FinishReason, Head, Next as Told, PartKind, Source, Text,
};
use crate::transcript::Progress;

/// One entry of a chain.
///
/// The turn of a step that is no upstream comes only while nothing has been delivered, and it costs no
/// attempt. A cache that does not have the answer, and a hand-off that nobody takes in, are passed over; nothing
/// comes after the others.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "a chain has a few steps, and nearly all are upstreams"
)]
pub enum Step {
    /// A provider is asked.
    Upstream(Upstream),
    /// An answer from before, if there is one.
    Cached(Cached),
    /// An answer that was prepared.
    Canned(Canned),
    /// A person takes over: a text that says so, and an end that a program can tell.
    HandOff(HandOff),
}

impl Step {
    pub(crate) const fn upstream(&self) -> Option<&Upstream> {
        match self {
            Self::Upstream(upstream) => Some(upstream),
            Self::Cached(_) | Self::Canned(_) | Self::HandOff(_) => None,
        }
    }

    /// What it is called where it is no upstream.
    pub(super) const fn own_name(&self) -> Option<&'static str> {
        match self {
            Self::Upstream(_) => None,
            Self::Cached(_) => Some(CACHED),
            Self::Canned(_) => Some(CANNED),
            Self::HandOff(_) => Some(HAND_OFF),
        }
    }

    /// Its answer, where it is at hand.
    pub(super) fn answer(&self, request: &Value) -> Option<Own> {
        match self {
            Self::Upstream(_) | Self::Cached(_) => None,
            Self::Canned(Canned(words)) => {
                Some(Own::new(CANNED, Source::Canned, words.of(request)))
            }
            Self::HandOff(HandOff { words, queue: None }) => {
                Some(Own::new(HAND_OFF, Source::HandOff, words.of(request)))
            }
            Self::HandOff(_) => None,
        }
    }
}

impl From<Upstream> for Step {
    fn from(upstream: Upstream) -> Self {
        Self::Upstream(upstream)
    }
}

impl From<Cached> for Step {
    fn from(cached: Cached) -> Self {
        Self::Cached(cached)
    }
}

impl From<Canned> for Step {
    fn from(canned: Canned) -> Self {
        Self::Canned(canned)
    }
}

impl From<HandOff> for Step {
    fn from(hand_off: HandOff) -> Self {
        Self::HandOff(hand_off)
    }
}

/// A step that answers by itself, without a request; the answer's end says [`Source::Canned`].
#[derive(Clone, Debug)]
pub struct Canned(Words);

impl Canned {
    /// Always the same text.
    #[must_use]
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self(Words::text(text.into()))
    }

    /// What `answer` makes of the caller's request, which has to be quick: it is called while a reply
    /// is polled.
    #[must_use]
    pub fn by(answer: impl Fn(&Value) -> String + Send + Sync + 'static) -> Self {
        Self(Words::by(answer))
    }
}

/// A text as a function of the request.
#[derive(Clone)]
pub(super) struct Words(Arc<dyn Fn(&Value) -> String + Send + Sync>);

impl Words {
    pub(super) fn text(text: Arc<str>) -> Self {
        Self(Arc::new(move |_| text.to_string()))
    }

    pub(super) fn by(answer: impl Fn(&Value) -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    fn of(&self, request: &Value) -> Text {
        Text::from((self.0)(request))
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// An answer that no upstream gave.
#[derive(Debug)]
pub(super) struct Own {
    name: &'static str,
    source: Source,
    text: Text,
    /// Who wrote it, where that was a model.
    model: Option<Arc<str>>,
    reason: FinishReason,
    ticket: Option<Arc<str>>,
}

impl Own {
    const fn new(name: &'static str, source: Source, text: Text) -> Self {
        Self { name, source, text, model: None, reason: FinishReason::Stop, ticket: None }
    }

    /// None where nothing was kept that could be said.
    pub(super) fn cached(answer: CachedAnswer) -> Option<Self> {
        let CachedAnswer { text, model, stop_sequence, .. } = answer;
        let reason = if stop_sequence { FinishReason::StopSequence } else { FinishReason::Stop };
        let own = Self::new(CACHED, Source::Cached, Text::from(&*text));
        (!text.is_empty()).then_some(Self { model, reason, ..own })
    }

    pub(super) fn handed_off(step: &HandOff, ticket: Ticket, request: &Value) -> Self {
        let Ticket { id, text } = ticket;
        let text = text.map_or_else(|| step.words.of(request), |text| Text::from(&*text));
        Self { ticket: Some(id), ..Self::new(HAND_OFF, Source::HandOff, text) }
    }
}

const CACHED: &str = "cached";
const CANNED: &str = "canned";
const HAND_OFF: &str = "hand-off";

impl Recovery {
    /// The first step that has something to say or to send: its own answer if it has one, else an attempt.
    pub(super) fn begin(&mut self) {
        self.queue.push_back(Output::Notice(Notice::Began {
            dialect: self.plan.dialect().map_or("", |dialect| dialect.name()),
            upstream: Arc::clone(&self.upstream().name),
            model: Arc::clone(&self.step.outline.model),
        }));
        self.begin_here();
    }

    /// The next turn of those who come before the first request.
    pub(super) fn begin_here(&mut self) {
        match (0..=self.step.index).find(|index| self.is_own_turn(*index)) {
            Some(index) => self.take_turn(index, Otherwise::Begin),
            None => self.open(Next::first()),
        }
    }

    /// Whether a step that is no upstream would be of use: it cannot go on with what others began, and
    /// makes no response head.
    pub(super) fn takes_own_answers(&self) -> bool {
        !self.plan.head_only && !self.relays() && self.transcript.progress() == Progress::Nothing
    }

    /// Says `own`, in place of trying again what has fallen.
    pub(super) fn answer_instead(&mut self, fallen: Option<&Fallen>, own: Own) {
        if let Some(fallen) = fallen {
            let told = Told::Step { upstream: Arc::from(own.name), by: None };
            self.interrupted(fallen, told, Duration::ZERO);
        }
        self.say(own);
    }

    fn say(&mut self, own: Own) {
        self.let_go();
        self.wire_speaks(own.name);
        if !mem::replace(&mut self.course.started, true) {
            self.emit(Event::Started(Head {
                attempt: None,
                upstream: Arc::from(own.name),
                id: None,
                model: own.model,
            }));
        }
        if !own.text.is_empty() {
            let part = self.open_part(0, PartKind::Text);
            self.emit(Event::Delta(Delta::Append { part, text: own.text }));
            self.close_open_text(0);
        }
        self.end(Finish {
            reason: own.reason,
            inferred: false,
            usage: self.report().usage(),
            source: own.source,
            ticket: own.ticket,
        });
    }

    pub(super) fn end(&mut self, finish: Finish) {
        self.tell_over(Ok(finish.clone()));
        self.emit(Event::Finished(finish));
        self.release_unfinished();
        self.queue.push_back(Output::Done(Ok(())));
        self.state = State::Done;
    }
}
