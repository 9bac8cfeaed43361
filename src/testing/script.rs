//! A script: one exchange for each request that arrives.
//!
//! In: requests. Out: the exchange for each, and the [`Log`] of what happened. It must
//! never know whether it is played in memory or over a socket.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use super::exchange::Exchange;
use super::log::{Entry, Log, Request};
use super::model::{Flaky, Model};
use super::steps::Steps;

/// What an upstream does with the first request that arrives, the second, and so on.
///
/// A request beyond the end gets a 400 that says so, which no client should try again. A
/// [`Model`] or a [`Flaky`] one is a script by itself.
#[derive(Clone, Default)]
pub struct Script {
    slots: Vec<Slot>,
    rest: Option<Answer>,
}

type Answer = Arc<dyn Fn(&Request) -> Exchange + Send + Sync>;

#[derive(Clone)]
enum Slot {
    Exchange(Box<Exchange>),
    By(Answer),
}

impl Script {
    /// An empty script.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next request gets this exchange.
    #[must_use]
    pub fn exchange(mut self, exchange: Exchange) -> Self {
        self.slots.push(Slot::Exchange(Box::new(exchange)));
        self
    }

    /// The next request gets what `answer` makes of it.
    #[must_use]
    pub fn answer(mut self, answer: impl Fn(&Request) -> Exchange + Send + Sync + 'static) -> Self {
        self.slots.push(Slot::By(Arc::new(answer)));
        self
    }

    /// Every request beyond the list gets what `answer` makes of it.
    #[must_use]
    pub fn forever(
        mut self,
        answer: impl Fn(&Request) -> Exchange + Send + Sync + 'static,
    ) -> Self {
        self.rest = Some(Arc::new(answer));
        self
    }

    fn pick(&self, number: usize, request: &Request) -> Exchange {
        match (self.slots.get(number), &self.rest) {
            (Some(Slot::Exchange(exchange)), _) => (**exchange).clone(),
            (Some(Slot::By(answer)), _) | (None, Some(answer)) => answer(request),
            (None, None) => {
                let error = json!({"error": {"message": "the script has no more exchanges"}});
                Exchange::json(StatusCode::BAD_REQUEST, &error)
            }
        }
    }
}

impl From<Exchange> for Script {
    fn from(exchange: Exchange) -> Self {
        Self::new().exchange(exchange)
    }
}

impl From<Model> for Script {
    fn from(model: Model) -> Self {
        Self::new().forever(move |request| model.respond(&request.json()))
    }
}

impl From<Flaky> for Script {
    fn from(flaky: Flaky) -> Self {
        Self::new().forever(move |request| flaky.respond(&request.json()))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({} exchanges)", self.slots.len())
    }
}

/// A script that is being played.
#[derive(Debug)]
pub(super) struct Play {
    script: Script,
    log: Log,
}

impl Play {
    pub(super) fn new(script: Script) -> Arc<Self> {
        let log = Log::new();
        Arc::new(Self { script, log })
    }

    pub(super) const fn log(&self) -> &Log {
        &self.log
    }

    /// Takes down `request` and says what becomes of it.
    pub(super) fn arrive(&self, request: Request) -> (Entry, Steps) {
        let entry = self.log.push(request.clone());
        let steps = self.script.pick(entry.number(), &request).steps();
        (entry, steps)
    }
}
