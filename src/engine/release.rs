//! Generations that go on when nobody listens, and cost.
//!
//! In: the attempt under way, or the one that was cut. Out: the request that ends what the provider is
//! still making for it, once nothing will be fetched of it any more. It must never end an answer that
//! is still wanted. Law kept: *Spend*.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCEPT, CONTENT_TYPE};

use super::attempt::Body;
use super::{Output, Recovery, State};

/// A request that ends a generation at its provider.
///
/// `Debug` shows neither header values nor the address's query.
#[derive(Clone)]
#[non_exhaustive]
pub struct Released {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The model as asked for.
    pub model: Arc<str>,
    /// The request.
    pub request: http::Request<Bytes>,
}

impl Recovery {
    /// What is still to be sent to end what a provider is generating for this reply, if the reply is not
    /// polled any more: for a driver that is dropped, until there is none. The reply is over with it.
    pub fn abandon(&mut self) -> Option<Box<Released>> {
        let is_release = |output: &Output| matches!(output, Output::Release(_));
        if let Some(index) = self.queue.iter().position(is_release) {
            return match self.queue.remove(index) {
                Some(Output::Release(released)) => Some(released),
                _ => None,
            };
        }
        if matches!(self.state, State::Done) || !self.is_ended_with_reply() {
            return None;
        }
        // Between two attempts, what the one before left behind is remembered already.
        if let Some(finished) = self.live.as_ref().map(|live| live.finish.is_some()) {
            self.keep_running(finished);
        }
        // The driver asks until there is none, so nothing may be remembered a second time.
        self.state = State::Done;
        self.running.take()
    }

    /// Remembers what the attempt under way leaves behind; `finished`: it has said all. One that never
    /// became a stream leaves what the one before it did, and one that was not even answered what it asked
    /// to be kept.
    pub(super) fn keep_running(&mut self, finished: bool) {
        // What is fetched for somebody else is his.
        if self.relay.is_some() {
            return;
        }
        let generation = match (&self.step.kept, &self.body) {
            (Some(_), Body::Other { .. }) => return,
            (Some(kept), _) => Some(&*kept.id).filter(|_| !finished),
            (None, Body::Stream(wire)) => wire.decoder.generation(),
            (None, _) => return,
        };
        let released = generation.and_then(|generation| self.release(generation));
        self.running = released.map(Box::new);
    }

    fn release(&self, generation: &str) -> Option<Released> {
        let upstream = self.upstream();
        let release = upstream.dialect.release(&self.step.request, generation)?;
        let mut headers = self.headers(upstream);
        headers.remove(CONTENT_TYPE);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut request = http::Request::new(Bytes::new());
        *request.method_mut() = release.method().clone();
        *request.uri_mut() = release.address(&upstream.uri);
        *request.headers_mut() = headers;
        let (upstream, model) = (Arc::clone(&upstream.name), Arc::clone(&self.step.outline.model));
        Some(Released { upstream, model, request })
    }

    /// Another generation takes the place of what is running.
    pub(super) fn release_superseded(&mut self) {
        self.queue.extend(self.running.take().map(Output::Release));
    }

    /// The reply ends.
    pub(super) fn release_unfinished(&mut self) {
        let ended = self.is_ended_with_reply();
        self.queue.extend(self.running.take().filter(|_| ended).map(Output::Release));
    }

    /// What we had kept nobody else knows of; what the caller asked to be kept is his to leave alone.
    fn is_ended_with_reply(&self) -> bool {
        self.plan.policy.release || self.step.kept.is_some()
    }
}

impl fmt::Debug for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Released")
            .field("upstream", &self.upstream)
            .field("model", &self.model)
            .field("method", self.request.method())
            .field("path", &self.request.uri().path())
            .finish_non_exhaustive()
    }
}
