//! Two providers that do as they are told, and an office that is open or not.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde_json::json;
use unbroken::testing::{Exchange, Fault, Model, Request, Script, Server};
use unbroken::{HandedOff, Ticket};

/// What becomes of the next request.
#[derive(Clone, Copy)]
pub(crate) enum Mood {
    /// It is answered.
    Well,
    /// It comes too soon by a second; the one after it is answered.
    RateLimited,
    /// It is one too many, and so are those after it.
    Overloaded,
    /// Its answer breaks off in the middle; the one after it is answered.
    Breaks,
}

/// A provider on loopback.
pub(crate) struct Provider {
    mood: Arc<Mutex<Mood>>,
    server: Server,
}

impl Provider {
    pub(crate) async fn start(model: Model) -> Self {
        let mood = Arc::new(Mutex::new(Mood::Well));
        let felt = Arc::clone(&mood);
        let script = Script::new().forever(move |request| {
            let mut mood = felt.lock().unwrap_or_else(PoisonError::into_inner);
            let exchange = answer(*mood, &model, request);
            if let Mood::RateLimited | Mood::Breaks = *mood {
                *mood = Mood::Well;
            }
            exchange
        });
        Self { mood, server: Server::start(script).await }
    }

    pub(crate) fn feels(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// How often it was asked so far.
    pub(crate) fn asked(&self) -> usize {
        self.server.requests().len()
    }

    pub(crate) fn at(&self, path: &str) -> Result<http::Uri, Box<dyn Error>> {
        Ok(format!("{}{path}", self.server.uri()).parse()?)
    }
}

fn answer(mood: Mood, model: &Model, request: &Request) -> Exchange {
    let whole = || model.respond(&request.json());
    match mood {
        Mood::Well => whole(),
        Mood::Breaks => {
            let half = whole().body().len() / 2;
            whole().fault(Fault::reset_at(half))
        }
        Mood::RateLimited => {
            let error = json!({ "type": "rate_limit_error", "message": "Too many requests" });
            Exchange::json(
                StatusCode::TOO_MANY_REQUESTS,
                &json!({ "type": "error", "error": error }),
            )
            .header(RETRY_AFTER, HeaderValue::from_static("1"))
        }
        Mood::Overloaded => {
            let error = json!({ "type": "overloaded_error", "message": "Overloaded" });
            Exchange::json(
                StatusCode::SERVICE_UNAVAILABLE,
                &json!({ "type": "error", "error": error }),
            )
        }
    }
}

/// People who take a case in, in office hours.
#[derive(Clone, Default)]
pub(crate) struct Office(Arc<Desk>);

#[derive(Default)]
struct Desk {
    open: AtomicBool,
    cases: AtomicUsize,
}

impl Office {
    pub(crate) fn opens(&self) {
        self.0.open.store(true, Ordering::Relaxed);
    }

    /// What a hook is given is all that a ticket system needs: the question, and why no model has answered it.
    pub(crate) async fn take_in(self, case: HandedOff) -> Result<Ticket, &'static str> {
        if !self.0.open.load(Ordering::Relaxed) {
            return Err("nobody is in the office");
        }
        let number = 1 + self.0.cases.fetch_add(1, Ordering::Relaxed);
        let asked = case.report.attempts.len();
        let id = format!("case-{number}");
        let text = format!("A person will write to you ({id}; {asked} requests failed before).");
        Ok(Ticket::new(id).saying(text))
    }
}
