//! The caller's request as the upstream of a step gets it.
//!
//! In: a request in the dialect of the first upstream. Out: the same for another, or why there is none. It
//! must never send a request that says less than the caller's.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::plan::Upstream;
use super::step::Step;
use super::{Notice, Output, Plan, Recovery};
use crate::dialect::translate::{Translation, between};
use crate::dialect::{Dialect, InvalidRequest, Untranslatable};
use crate::error::{ConfigError, Error, ErrorKind};
use crate::report::Report;
use crate::transcript::Transcript;

/// A rewriting of the caller's own.
#[derive(Clone)]
pub(super) struct Adapt(Arc<Rewriting>);

type Rewriting = dyn Fn(&Value) -> Result<Value, Untranslatable> + Send + Sync;

impl fmt::Debug for Adapt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// Why a step cannot be asked.
#[derive(Debug)]
pub(super) enum Unfit {
    /// Its dialect has no words for a field of the request.
    Untranslatable(Untranslatable),
    /// The request, or the step itself, is wrong.
    Invalid(Box<dyn std::error::Error + Send + Sync>),
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Unfit {
    fn from(error: E) -> Self {
        Self::Invalid(Box::new(error))
    }
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        let error = Self::new(ErrorKind::InvalidRequest, Transcript::new(), Report::default());
        match unfit {
            Unfit::Untranslatable(field) => {
                error.passed_over(Arc::clone(&field.field)).caused_by(field)
            }
            Unfit::Invalid(cause) => error.caused_by(cause),
        }
    }
}

impl Upstream {
    /// Rewrites the caller's request for this upstream: `rewrite` gets it in the dialect of the chain's first
    /// upstream, and what it gives is sent, with this upstream's model and as a stream. It takes the place
    /// of the built-in translation, and makes one where there is none.
    ///
    /// Where it says that a field cannot be said here, the step is passed over with
    /// [`Notice::Untranslated`]. It is asked whenever the step might have its turn,
    /// also several times in one reply, so it has to be quick, and to give the same again.
    ///
    /// Of what an upstream of another dialect says, text, refusals and tool calls are the answer; reasoning is
    /// shown and abandoned, and blocks, citations and signatures that mean something to that vendor only are
    /// left out: a history of the first upstream's dialect has no place for them.
    ///
    /// ```
    /// use unbroken::Upstream;
    /// use unbroken::dialect::{OpenAiChat, Untranslatable};
    ///
    /// let uri = "https://small.example/v1/chat/completions".parse()?;
    /// let small = Upstream::new("small", OpenAiChat, uri).adapt(|request| {
    ///     if request.get("tools").is_some() {
    ///         return Err(Untranslatable::new("tools"));
    ///     }
    ///     let mut request = request.clone();
    ///     request["temperature"] = 0.into();
    ///     Ok(request)
    /// });
    /// # Ok::<(), http::uri::InvalidUri>(())
    /// ```
    #[must_use]
    pub fn adapt(
        mut self,
        rewrite: impl Fn(&Value) -> Result<Value, Untranslatable> + Send + Sync + 'static,
    ) -> Self {
        self.adapt = Some(Adapt(Arc::new(rewrite)));
        self
    }

    /// The translation that it needs in a chain that begins in the dialect `first`, if it needs one.
    pub(crate) fn translation(
        &self,
        first: &dyn Dialect,
    ) -> Result<Option<Translation>, ConfigError> {
        let (from, to) = (first.name(), self.dialect.name());
        if self.adapt.is_some() || from == to {
            return Ok(None);
        }
        let translation = between(from, to).ok_or(ConfigError::NoTranslation { from, to })?;
        // Nobody serves the models of another vendor by their names.
        if self.model.is_none() {
            return Err(ConfigError::NoModel);
        }
        Ok(Some(translation))
    }

    /// The caller's request in this upstream's dialect, checked; the very same where nothing is to be done.
    pub(super) fn adapted(&self, plan: &Plan, first: &dyn Dialect) -> Result<Arc<Value>, Unfit> {
        // What is not streamed is handed on as it comes, and nobody translates it back.
        if plan.head_only && first.name() != self.dialect.name() {
            return Err(Unfit::Untranslatable(Untranslatable::new("stream")));
        }
        let adapted = match (&self.adapt, self.translation(first)?) {
            (Some(Adapt(rewrite)), _) => rewrite(&plan.request),
            (None, Some(translate)) => {
                translate(&plan.request, self.uri.host().unwrap_or_default())
            }
            (None, None) => {
                check(self, plan, &plan.request)?;
                return Ok(Arc::clone(&plan.request));
            }
        };
        let adapted = adapted.map_err(Unfit::Untranslatable)?;
        check(self, plan, &adapted).map_err(|wrong| Unfit::Untranslatable(field_of(wrong)))?;
        Ok(Arc::new(adapted))
    }
}

/// What is only passed on is the provider's to judge.
fn check(upstream: &Upstream, plan: &Plan, request: &Value) -> Result<(), InvalidRequest> {
    match plan.head_only || plan.replay {
        true if request.is_object() => Ok(()),
        true => Err(InvalidRequest::NotAnObject),
        false => upstream.dialect.check(request),
    }
}

fn field_of(wrong: InvalidRequest) -> Untranslatable {
    Untranslatable::new(match wrong {
        InvalidRequest::Missing(field) | InvalidRequest::WrongType(field) => field,
        InvalidRequest::NotAnObject => "request",
        InvalidRequest::NotStreaming => "stream",
    })
}

impl Plan {
    /// The dialect of the request, and of the caller.
    pub(super) fn dialect(&self) -> Option<&Arc<dyn Dialect>> {
        self.chain.iter().find_map(Step::upstream).map(|first| &first.dialect)
    }
}

impl Recovery {
    /// Step `index` has no request to send: says so, once.
    pub(super) fn pass_over(&mut self, index: usize, unfit: Unfit) {
        let Unfit::Untranslatable(Untranslatable { field, .. }) = unfit else { return };
        let Some(upstream) = self.plan.chain.get(index).and_then(Step::upstream) else { return };
        if self.course.passed_over.iter().any(|(step, _)| *step == index) {
            return;
        }
        let upstream = Arc::clone(&upstream.name);
        self.course.passed_over.push((index, Arc::clone(&field)));
        self.queue.push_back(Output::Notice(Notice::Untranslated { upstream, field }));
    }
}
