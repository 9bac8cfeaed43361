//! Answers that are kept for the next who asks the same.
//!
//! In: what was asked, and how an answer ended. Out: what a driver takes to a cache. It must never keep what is
//! not proved whole, nor anything that would act a second time. Law kept: *Truth*.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Asked, Output, Recovery, Step};
use crate::event::{Annotation, FinishReason, PartKind};

/// A future whose type is forgotten.
pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A place where whole answers are kept: a map, a file, a Redis.
///
/// It is asked when its turn in the chain comes, and given every answer of a model that is proved whole and is
/// nothing but text. What it keeps, for how long and for whom is its own to decide; that a model answers the
/// same question differently every time does not count against a copy. `get` is called while a reply is polled:
/// what it does before it returns its future has to be quick.
///
/// # Cancel safety
/// Its futures may be dropped at any time: when the reply is dropped, ends, or has waited for
/// [`CACHE`](crate::policy::CACHE).
pub trait Cache: Send + Sync + 'static {
    /// The answer to what was `asked`, if there is one. What fails has none.
    fn get(&self, asked: &Asked) -> impl Future<Output = Option<CachedAnswer>> + Send + 'static;

    /// Keeps `answer` to what was `asked`. Nobody waits for it, and nobody is told if it fails.
    fn put(&self, asked: &Asked, answer: CachedAnswer)
    -> impl Future<Output = ()> + Send + 'static;
}

impl<C: Cache> Cache for Arc<C> {
    fn get(&self, asked: &Asked) -> impl Future<Output = Option<CachedAnswer>> + Send + 'static {
        (**self).get(asked)
    }

    fn put(
        &self,
        asked: &Asked,
        answer: CachedAnswer,
    ) -> impl Future<Output = ()> + Send + 'static {
        (**self).put(asked, answer)
    }
}

/// A [`Cache`] whose type is forgotten.
trait Erased: Send + Sync {
    fn get(&self, asked: &Asked) -> BoxFuture<Option<CachedAnswer>>;
    fn put(&self, asked: &Asked, answer: CachedAnswer) -> BoxFuture<()>;
}

impl<C: Cache> Erased for C {
    fn get(&self, asked: &Asked) -> BoxFuture<Option<CachedAnswer>> {
        Box::pin(Cache::get(self, asked))
    }

    fn put(&self, asked: &Asked, answer: CachedAnswer) -> BoxFuture<()> {
        Box::pin(Cache::put(self, asked, answer))
    }
}

/// A step that answers from a [`Cache`]; the answer's end says [`Source::Cached`](crate::Source::Cached).
///
/// As a fallback it gives an old answer where there is no new one. As the first step it saves the
/// request, wherever the same was asked before.
///
/// A cache that does not have the answer, or is silent for [`CACHE`](crate::policy::CACHE), is passed over. It is
/// asked once for a reply, and not at all for a request that goes on with a conversation that the provider keeps
/// ([`Dialect::keeps_conversation`](crate::dialect::Dialect::keeps_conversation)).
#[derive(Clone)]
pub struct Cached(Arc<dyn Erased>);

impl Cached {
    /// Answers from `cache`. An [`Arc`] of one is a cache, too, for those that are shared.
    pub fn new(cache: impl Cache) -> Self {
        Self(Arc::new(cache))
    }

    pub(super) fn ask(&self, asked: &Asked) -> BoxFuture<Option<CachedAnswer>> {
        self.0.get(asked)
    }
}

impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cached(..)")
    }
}

/// A whole answer: what a [`Cache`] keeps.
///
/// `Debug` shows its length, never its text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CachedAnswer {
    /// The text, which is all there was but reasoning.
    pub text: Arc<str>,
    /// The model that wrote it, as served; told again as [`Head::model`](crate::Head::model).
    pub model: Option<Arc<str>>,
    /// The upstream that gave it, for whoever looks into the cache.
    pub upstream: Option<Arc<str>>,
    /// It ended at a stop sequence of the request.
    #[serde(default)]
    pub stop_sequence: bool,
}

impl CachedAnswer {
    /// `text`, of nobody in particular.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), model: None, upstream: None, stop_sequence: false }
    }

    /// Sets the model that wrote it.
    #[must_use]
    pub fn model(mut self, model: impl Into<Arc<str>>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Sets the upstream that gave it.
    #[must_use]
    pub fn upstream(mut self, upstream: impl Into<Arc<str>>) -> Self {
        self.upstream = Some(upstream.into());
        self
    }
}

impl fmt::Debug for CachedAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedAnswer")
            .field("bytes", &self.text.len())
            .field("model", &self.model)
            .field("upstream", &self.upstream)
            .field("stop_sequence", &self.stop_sequence)
            .finish()
    }
}

/// An answer that is to be put into a cache.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Put {
    cache: Cached,
    /// What was asked.
    pub asked: Asked,
    /// The answer.
    pub answer: CachedAnswer,
}

impl Put {
    /// Puts it there. The future does nothing before it is polled.
    pub async fn put(self) {
        self.cache.0.put(&self.asked, self.answer).await;
    }
}

impl Recovery {
    /// A model's answer has come to its proved end: the caches of the chain get it.
    pub(super) fn put(&mut self, reason: &FinishReason) {
        let caches = self.plan.chain.iter().filter_map(|step| match step {
            Step::Cached(cache) => Some(cache.clone()),
            _ => None,
        });
        let caches: Vec<Cached> = caches.collect();
        if caches.is_empty() || !self.plan.says_all() {
            return;
        }
        let Some(answer) = self.worth_keeping(reason) else { return };
        let asked = self.plan.asked();
        self.queue.extend(caches.into_iter().map(|cache| {
            Output::Put(Box::new(Put { cache, asked: asked.clone(), answer: answer.clone() }))
        }));
    }

    /// The answer, if a copy of it would say the same: one text, of one model, with nothing in it that is in doubt,
    /// has sources, or acts.
    fn worth_keeping(&self, reason: &FinishReason) -> Option<CachedAnswer> {
        let stop_sequence = match reason {
            FinishReason::Stop => false,
            FinishReason::StopSequence => true,
            _ => return None,
        };
        let report = self.ledger.report();
        if report.unverified_seams() > 0 {
            return None;
        }
        let mut spoke = report.attempts.iter().filter(|attempt| attempt.delivered > 0);
        let first = spoke.next()?;
        if spoke.any(|other| (&other.upstream, &other.model) != (&first.upstream, &first.model)) {
            return None;
        }
        let mut text = String::new();
        for part in self.transcript.kept() {
            let cited = part.annotations().iter().any(|a| matches!(a, Annotation::Citation(_)));
            match part.kind() {
                PartKind::Reasoning | PartKind::RedactedReasoning => {}
                PartKind::Text if part.choice() == 0 && !cited => {
                    text.push_str(part.text());
                }
                _ => return None,
            }
        }
        let (model, upstream) = (Some(Arc::clone(&first.model)), Some(Arc::clone(&first.upstream)));
        let one = self.step.outline.choices <= 1 && !text.is_empty();
        one.then(|| CachedAnswer { text: text.into(), model, upstream, stop_sequence })
    }
}
