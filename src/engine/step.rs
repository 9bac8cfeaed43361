//! The steps of a chain, and the answers of those that are no upstream.
//!
//! In: the caller's request, where nothing has been delivered. Out: one text, whole, and who it is
//! of. No request is sent for it. Law kept: *Terminal*.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::open::Next;
use super::plan::Upstream;
use super::settle::Fallen;
use super::{Notice, Output, Recovery, State};
use crate::event::{
    Delta, Event, Finish, FinishReason, Head, Next as Told, PartKind, Source, Text,
};
use crate::transcript::Progress;

/// One entry of a chain.
///
/// A step that is no upstream has its answer at hand. Its turn comes only while nothing has been
/// delivered, and it costs no attempt; nothing comes after it.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "a chain has a few steps, and nearly all are upstreams"
)]
pub enum Step {
    /// A provider is asked.
    Upstream(Upstream),
    /// An answer that was prepared, or one from a cache.
    Canned(Canned),
    /// A person takes over: a text that says so, and an end that a program can tell.
    HandOff(HandOff),
}

impl Step {
    pub(crate) const fn upstream(&self) -> Option<&Upstream> {
        match self {
            Self::Upstream(upstream) => Some(upstream),
            Self::Canned(_) | Self::HandOff(_) => None,
        }
    }

    fn answer(&self, request: &Value) -> Option<Own> {
        let (name, source, words) = match self {
            Self::Upstream(_) => return None,
            Self::Canned(Canned(words)) => ("canned", Source::Canned, words),
            Self::HandOff(HandOff(words)) => ("hand-off", Source::HandOff, words),
        };
        Some(Own { name: Arc::from(name), source, text: Text::from((words.0)(request)) })
    }
}

impl From<Upstream> for Step {
    fn from(upstream: Upstream) -> Self {
        Self::Upstream(upstream)
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
        Self(Words(Arc::new(answer)))
    }
}

/// A step that says that a person takes over; the answer's end says [`Source::HandOff`].
#[derive(Clone, Debug)]
pub struct HandOff(Words);

impl HandOff {
    /// Always the same text.
    #[must_use]
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self(Words::text(text.into()))
    }

    /// What `answer` makes of the caller's request, which has to be quick: it is called while a reply
    /// is polled.
    #[must_use]
    pub fn by(answer: impl Fn(&Value) -> String + Send + Sync + 'static) -> Self {
        Self(Words(Arc::new(answer)))
    }
}

/// A text as a function of the request.
#[derive(Clone)]
struct Words(Arc<dyn Fn(&Value) -> String + Send + Sync>);

impl Words {
    fn text(text: Arc<str>) -> Self {
        Self(Arc::new(move |_| text.to_string()))
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
    name: Arc<str>,
    source: Source,
    text: Text,
}

impl Recovery {
    /// The first step that has something to say or to send: its own answer if it has one, else an attempt.
    pub(super) fn begin(&mut self) {
        self.queue.push_back(Output::Notice(Notice::Began {
            dialect: self.plan.dialect().map_or("", |dialect| dialect.name()),
            upstream: Arc::clone(&self.upstream().name),
            model: Arc::clone(&self.step.outline.model),
        }));
        match (0..=self.step.index).find_map(|index| self.own_answer(index)) {
            Some(own) => self.say(own),
            None => self.open(Next::first()),
        }
    }

    /// Whether a step that is no upstream would be of use: it cannot go on with what others began, and
    /// makes no response head.
    pub(super) fn takes_own_answers(&self) -> bool {
        !self.plan.head_only && !self.relays() && self.transcript.progress() == Progress::Nothing
    }

    /// What step `index` says by itself.
    pub(super) fn own_answer(&self, index: usize) -> Option<Own> {
        let step = self.plan.chain.get(index).filter(|_| self.takes_own_answers())?;
        step.answer(&self.plan.request)
    }

    /// What the next step that is no upstream says: it costs no attempt, so it is there when these are
    /// used up.
    pub(super) fn next_own_answer(&self) -> Option<Own> {
        (self.step.index + 1..self.plan.chain.len()).find_map(|index| self.own_answer(index))
    }

    pub(super) fn answer_instead(&mut self, fallen: &Fallen, own: Own) {
        let told = Told::Step { upstream: Arc::clone(&own.name), by: None };
        self.interrupted(fallen, told, Duration::ZERO);
        self.say(own);
    }

    fn say(&mut self, own: Own) {
        self.wire_speaks(&own.name);
        if !mem::replace(&mut self.course.started, true) {
            self.emit(Event::Started(Head {
                attempt: None,
                upstream: own.name,
                id: None,
                model: None,
            }));
        }
        if !own.text.is_empty() {
            let part = self.open_part(0, PartKind::Text);
            self.emit(Event::Delta(Delta::Append { part, text: own.text }));
            self.close_open_text(0);
        }
        self.end(Finish {
            reason: FinishReason::Stop,
            inferred: false,
            usage: self.report().usage(),
            source: own.source,
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
