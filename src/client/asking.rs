//! Waits for what a cache has, or for somebody who takes over.
//!
//! In: a question of the engine's. Out: its answer. It must never wait for long: how long, the engine says.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::engine::{Given, Input, Put, Question};
use crate::policy::CACHE;

type Answer = Pin<Box<dyn Future<Output = Option<Given>> + Send>>;

/// The question under way: of which step, and what will come of it.
#[derive(Default)]
pub(super) struct Asking(Option<(usize, Answer)>);

impl Asking {
    pub(super) fn begin(&mut self, question: Question) {
        self.0 = Some((question.step, Box::pin(question.ask())));
    }

    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        // Taken out meanwhile: a future that panics is not polled again.
        let Some((step, mut answer)) = self.0.take() else {
            return Poll::Pending;
        };
        match answer.as_mut().poll(cx) {
            Poll::Ready(given) => Poll::Ready(Input::Answered { step, given }),
            Poll::Pending => {
                self.0 = Some((step, answer));
                Poll::Pending
            }
        }
    }
}

/// Keeps an answer, in a task of its own: its caller has it, and waits for nothing. Outside a runtime nothing
/// is kept.
pub(super) fn put(put: Put) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(tokio::time::timeout(CACHE, put.put()));
    }
}
