//! Steps that have to be asked for their answer: a cache, and whoever calls a person.
//!
//! In: the turn of such a step, and what came of it. Out: the question, then the answer or the next step. It
//! holds no future: a driver waits for the answer. Laws kept: *Terminal*, *Truth*.

use std::fmt;
use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::{BoxFuture, Cached};
use super::hand_off::{HandedOff, Queue, Ticket};
use super::settle::Fallen;
use super::step::Own;
use super::{Answered, Asked, CachedAnswer, Notice, Output, Recovery, State, Step, decide};
use crate::error::ErrorKind;
use crate::event::{Next as Told, Timer};
use crate::policy;

/// A step is asked for its answer.
///
/// `Debug` shows the number of the step, and nothing of what is asked.
pub struct Question {
    /// The step, by its place in the chain.
    pub step: usize,
    hook: Hook,
}

enum Hook {
    Cache(Cached, Asked),
    Queue(Queue, HandedOff),
}

impl Question {
    /// Asks. What comes of it goes back as [`Input::Answered`](super::Input::Answered); a driver that
    /// cannot wait says that there is no answer.
    pub fn ask(self) -> impl Future<Output = Option<Given>> + Send + 'static {
        let answer: BoxFuture<Option<Given>> = match self.hook {
            Hook::Cache(cache, asked) => {
                let answer = cache.ask(&asked);
                Box::pin(async move { answer.await.map(Given::Answer) })
            }
            Hook::Queue(queue, case) => {
                let ticket = queue.ask(case);
                Box::pin(async move { ticket.await.map(Given::Ticket) })
            }
        };
        answer
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("step", &self.step).finish_non_exhaustive()
    }
}

/// What a step that was asked gave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Given {
    /// A cache has the answer.
    Answer(CachedAnswer),
    /// A person was called.
    Ticket(Ticket),
}

/// The step whose answer is awaited.
#[derive(Debug)]
pub(super) struct Asking {
    index: usize,
    until: Option<Instant>,
    timer: Timer,
    otherwise: Otherwise,
    answered: Option<(Answered, Option<Given>)>,
}

impl Asking {
    pub(super) const fn is_answered(&self) -> bool {
        self.answered.is_some()
    }
}

/// What comes where a step has no answer.
#[derive(Debug)]
pub(super) enum Otherwise {
    /// The steps after it, nothing having been tried.
    Begin,
    /// The steps after it.
    NextStep { fallen: Fallen, exhausted: bool },
    /// Those after it that need no attempt.
    NoAttempt { fallen: Fallen },
}

impl Otherwise {
    const fn fallen(&self) -> Option<&Fallen> {
        match self {
            Self::Begin => None,
            Self::NextStep { fallen, .. } | Self::NoAttempt { fallen } => Some(fallen),
        }
    }
}

impl Recovery {
    /// It is the turn of step `index`, which is no upstream.
    pub(super) fn take_turn(&mut self, index: usize, otherwise: Otherwise) {
        let Some(step) = self.plan.chain.get(index).cloned() else { return };
        self.course.asked = index + 1;
        if let Some(own) = step.answer(&self.plan.request) {
            return self.answer_instead(otherwise.fallen(), own);
        }
        let (hook, wait, timer) = match step {
            Step::Cached(cache) => {
                (Hook::Cache(cache, self.plan.asked()), policy::CACHE, Timer::Cache)
            }
            Step::HandOff(hand_off) => match hand_off.queue {
                Some(queue) => {
                    let case = self.case(otherwise.fallen());
                    (Hook::Queue(queue, case), policy::HAND_OFF, Timer::HandOff)
                }
                None => return self.pass_on(otherwise),
            },
            Step::Upstream(_) | Step::Canned(_) => return self.pass_on(otherwise),
        };
        self.queue.push_back(Output::Ask(Box::new(Question { step: index, hook })));
        let until = self.now.checked_add(wait);
        let asking = Asking { index, until, timer, otherwise, answered: None };
        self.state = State::Asking(Box::new(asking));
    }

    /// Whether step `index` is no upstream, and may have its turn. It has one at most.
    pub(super) fn is_own_turn(&self, index: usize) -> bool {
        let own = self.plan.chain.get(index).is_some_and(|step| match step {
            Step::Upstream(_) => false,
            Step::Cached(_) => self.plan.says_all(),
            Step::Canned(_) | Step::HandOff(_) => true,
        });
        own && index >= self.course.asked && self.takes_own_answers()
    }

    /// The step whose turn it was has no answer. It has no other turn.
    fn pass_on(&mut self, otherwise: Otherwise) {
        match otherwise {
            Otherwise::Begin => self.begin_here(),
            Otherwise::NextStep { fallen, exhausted } => self.decide_again(fallen, exhausted),
            Otherwise::NoAttempt { fallen } => self.without_attempt(fallen),
        }
    }

    /// What an own step of the rest of the chain says: it costs no attempt, so it is there when these are
    /// used up.
    pub(super) fn without_attempt(&mut self, fallen: Fallen) {
        let mut later = self.step.index + 1..self.plan.chain.len();
        match later.find(|index| self.is_own_turn(*index)) {
            Some(index) => self.take_turn(index, Otherwise::NoAttempt { fallen }),
            None => self.give_up(fallen, true),
        }
    }

    fn case(&self, fallen: Option<&Fallen>) -> HandedOff {
        // What we refused, and what refused us for the way we asked, is not what ails the reply.
        let ailment = self.course.ailment.as_ref().map(|(ended, _)| ended);
        let ended = fallen.map(|fallen| ailment.unwrap_or(&fallen.ended));
        let error: Option<ErrorKind> = ended.map(decide::error_kind);
        HandedOff { asked: self.plan.asked(), error, report: self.report().clone() }
    }

    /// The step that was asked has answered, or has said that it has no answer.
    pub(super) fn on_answered(&mut self, step: usize, given: Option<Given>) {
        if let State::Asking(asking) = &mut self.state {
            if asking.index == step && asking.answered.is_none() {
                let answered = if given.is_some() { Answered::Yes } else { Answered::No };
                asking.answered = Some((answered, given));
            }
        }
    }

    /// The step that was asked is silent.
    pub(super) fn on_silence(&mut self) {
        if let State::Asking(asking) = &mut self.state {
            if asking.answered.is_none() {
                asking.answered = Some((Answered::Silent, None));
                self.queue.push_back(Output::Withdraw);
            }
        }
    }

    /// Nobody waits for the step that was asked any more: the reply ends.
    pub(super) fn stop_asking(&mut self) {
        if let State::Asking(asking) = mem::replace(&mut self.state, State::Idle) {
            self.queue.push_back(Output::Withdraw);
            if let Some(fallen) = asking.otherwise.fallen() {
                self.interrupted(fallen, Told::GiveUp, Duration::ZERO);
            }
        }
    }

    pub(super) fn asking_deadline(&self) -> Option<(Instant, Timer)> {
        match &self.state {
            State::Asking(asking) => asking.until.map(|until| (until, asking.timer)),
            _ => None,
        }
    }

    /// Goes on with what came of the question.
    pub(super) fn heed(&mut self) {
        let State::Asking(asking) = mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        let Asking { index, otherwise, answered, .. } = *asking;
        let (answered, given) = answered.unwrap_or((Answered::No, None));
        let own = match (self.plan.chain.get(index), given) {
            (Some(Step::Cached(_)), Some(Given::Answer(answer))) => {
                let fits = answer.text.len() <= self.plan.policy.answer_max;
                Some(answer).filter(|_| fits).and_then(Own::cached)
            }
            (Some(Step::HandOff(hand_off)), Some(Given::Ticket(ticket))) => {
                Some(Own::handed_off(hand_off, ticket, &self.plan.request))
            }
            _ => None,
        };
        let answered =
            if own.is_none() && answered == Answered::Yes { Answered::No } else { answered };
        if let Some(step) = self.plan.chain.get(index).and_then(Step::own_name) {
            let notice = Notice::Asked { step: Arc::from(step), answered };
            self.queue.push_back(Output::Notice(notice));
        }
        match own {
            Some(own) => self.answer_instead(otherwise.fallen(), own),
            None => self.pass_on(otherwise),
        }
    }
}
