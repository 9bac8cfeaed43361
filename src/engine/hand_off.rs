//! A person takes over.
//!
//! In: the caller's request, and what failed. Out: a text that says so, once somebody has taken it in where a queue is
//! asked. It must never promise a person that nobody has called. Law kept: *Truth*.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde_json::Value;

use super::Asked;
use super::cache::BoxFuture;
use super::step::Words;
use crate::error::ErrorKind;
use crate::report::Report;

/// A step that says that a person takes over; the answer's end says [`Source::HandOff`](crate::Source::HandOff).
#[derive(Clone)]
pub struct HandOff {
    pub(super) words: Words,
    pub(super) queue: Option<Queue>,
}

impl HandOff {
    /// Always the same text.
    #[must_use]
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self { words: Words::text(text.into()), queue: None }
    }

    /// What `answer` makes of the caller's request, which has to be quick: it is called while a reply
    /// is polled.
    #[must_use]
    pub fn by(answer: impl Fn(&Value) -> String + Send + Sync + 'static) -> Self {
        Self { words: Words::by(answer), queue: None }
    }

    /// Has `hook` call the person, before anything is said: only when it has given a [`Ticket`] does the reply say
    /// that a person takes over. Where it fails, or is silent for [`HAND_OFF`](crate::policy::HAND_OFF), this
    /// step has no answer, and the next one has its turn; without one the reply ends with the error that it would
    /// have ended with. Why it failed is the hook's own to log: a
    /// [notice](crate::engine::Notice::Asked) says that it did.
    ///
    /// It is asked at most once for a reply. What it does before it returns its future has to be quick: that is done
    /// while the reply is polled.
    ///
    /// # Cancel safety
    /// The hook's future is dropped with the reply, and when nobody waits for it any more. A queue that has taken the
    /// case in by then has one that its caller was not told of.
    #[must_use]
    pub fn enqueue<F, E>(mut self, hook: impl Fn(HandedOff) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Ticket, E>> + Send + 'static,
    {
        self.queue = Some(Queue(Arc::new(move |case| {
            let taken = hook(case);
            Box::pin(async move { taken.await.ok() })
        })));
        self
    }
}

impl fmt::Debug for HandOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandOff(..)")
    }
}

/// What calls a person.
#[derive(Clone)]
pub(super) struct Queue(Arc<dyn Fn(HandedOff) -> BoxFuture<Option<Ticket>> + Send + Sync>);

impl Queue {
    pub(super) fn ask(&self, case: HandedOff) -> BoxFuture<Option<Ticket>> {
        (self.0)(case)
    }
}

/// What is handed off: all that somebody needs who is to answer in a model's place.
///
/// `Debug` shows names and numbers, never the request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HandedOff {
    /// What was asked.
    pub asked: Asked,
    /// What ails the reply; none where nothing was tried before.
    pub error: Option<ErrorKind>,
    /// What was tried: each attempt with its upstream and how it ended.
    pub report: Report,
}

/// Proof that a case was taken in.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ticket {
    /// The id by which the case is found; the caller gets it as [`Finish::ticket`](crate::Finish::ticket).
    pub id: Arc<str>,
    /// What is said in place of the step's own text.
    pub text: Option<Arc<str>>,
}

impl Ticket {
    /// The case is found by `id`.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), text: None }
    }

    /// Says `text` in place of the step's own, where the id belongs into it.
    #[must_use]
    pub fn saying(mut self, text: impl Into<Arc<str>>) -> Self {
        self.text = Some(text.into());
        self
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("id", &self.id).finish_non_exhaustive()
    }
}
