//! What goes wrong at an upstream, told by what its answer says at that place.
//!
//! In: a model and a list of breaks, one for each answer that it gives. Out: a script. The bytes of
//! an answer depend on what the client asks for (its model, usage), so a place is looked for in the
//! answer itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use unbroken::testing::{End, Exchange, Fault, Model, Script};

/// A place in the body of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// After so many hundredths of its bytes.
    Share(usize),
    /// At the end of the event which that byte lies in.
    ShareOfEvents(usize),
    /// After the first byte of this, wherever it comes first.
    Inside(&'static str),
    /// Before the first event that has this.
    Before(&'static str),
    /// In the middle of the event that has this for the n-th time, from 0.
    Within(&'static str, usize),
    /// After the event that has this for the n-th time, from 0.
    After(&'static str, usize),
    /// After the last event that has this.
    AfterLast(&'static str),
}

impl Place {
    fn find(self, body: &[u8]) -> Option<usize> {
        let events = events(body);
        let with = |needle: &'static str| {
            let events = events.iter();
            events.filter(move |(start, end)| find(&body[*start..*end], needle).is_some())
        };
        match self {
            Self::Share(share) => Some(body.len() * share / 100),
            Self::ShareOfEvents(share) => {
                let at = body.len() * share / 100;
                events.iter().map(|(_, end)| *end).find(|end| *end > at)
            }
            Self::Inside(needle) => Some(find(body, needle)? + 1),
            Self::Before(needle) => with(needle).next().map(|(start, _)| *start),
            Self::Within(needle, n) => with(needle).nth(n).map(|(start, end)| (start + end) / 2),
            Self::After(needle, n) => with(needle).nth(n).map(|(_, end)| *end),
            Self::AfterLast(needle) => with(needle).next_back().map(|(_, end)| *end),
        }
    }
}

/// Where each event of `body` begins and ends.
fn events(body: &[u8]) -> Vec<(usize, usize)> {
    let mut start = 0;
    let mut events = Vec::new();
    for at in memchr::memchr_iter(b'\n', body) {
        let blank = body[..at].ends_with(b"\n") || body[..at].ends_with(b"\n\r");
        if blank && at >= start {
            events.push((start, at + 1));
            start = at + 1;
        }
    }
    events
}

fn find(body: &[u8], needle: &str) -> Option<usize> {
    memchr::memmem::find(body, needle.as_bytes())
}

/// What becomes of an answer.
#[derive(Clone)]
pub(crate) struct Break(Arc<dyn Fn(Exchange) -> Option<Exchange> + Send + Sync>);

impl Break {
    fn at(place: Place, fault: impl Fn(usize) -> Fault + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |exchange| {
            let at = place.find(&exchange.body())?;
            Some(exchange.fault(fault(at)))
        }))
    }

    pub(crate) fn cut(place: Place, end: End) -> Self {
        Self::at(place, move |at| Fault::Cut { at, end: end.clone() })
    }

    /// The events before `place`, then `frame`, then a clean end.
    pub(crate) fn insert(place: Place, frame: Bytes) -> Self {
        Self::at(place, move |at| Fault::Insert { at, frame: frame.clone(), end: End::Clean })
    }

    pub(crate) fn garble(place: Place) -> Self {
        Self::at(place, |at| Fault::Garble { at })
    }

    pub(crate) fn headless(end: End) -> Self {
        Self::always(Fault::BeforeHead(end))
    }

    /// A rejection that asks for no patience.
    pub(crate) fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status");
        let error =
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "Later."}});
        let exchange = Exchange::json(status, &error);
        let zero = http::HeaderValue::from_static("0");
        Self::always(Fault::instead(exchange.header(http::header::RETRY_AFTER, zero)))
    }

    fn always(fault: Fault) -> Self {
        Self(Arc::new(move |exchange| Some(exchange.fault(fault.clone()))))
    }
}

/// How a request asks for the rest of an answer, as far as it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rung {
    Prefill,
    Instruct,
    Quote,
    /// From its beginning: for the first time, again, or to align.
    Whole,
}

impl Rung {
    pub(crate) fn of(request: &Value) -> Self {
        let turns = ["messages", "input", "contents"].map(|name| request[name].as_array());
        let turns = turns.into_iter().flatten().flatten().rev();
        let own = |turn: &Value| {
            let role = turn["role"].as_str().or(turn["type"].as_str());
            matches!(role, Some("assistant" | "model" | "model_output"))
        };
        let mut own = turns.map(own);
        match (own.next(), own.next()) {
            (Some(true), _) => Self::Prefill,
            (Some(_), Some(true)) => Self::Instruct,
            (Some(_), Some(_)) => Self::Quote,
            _ => Self::Whole,
        }
    }
}

/// One upstream to be.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) model: Model,
    /// What becomes of its first answer, its second, ….
    pub(crate) breaks: Vec<Break>,
    /// Requests of these kinds get a 400.
    pub(crate) refuses: &'static [Rung],
}

impl Upstream {
    /// Its script, and how many of the breaks have happened.
    pub(crate) fn script(self) -> (Script, Arc<AtomicUsize>) {
        let Self { model, breaks, refuses } = self;
        let happened = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&happened);
        let answers = AtomicUsize::new(0);
        let script = Script::new().forever(move |request| {
            let request = request.json();
            if refuses.contains(&Rung::of(&request)) {
                return refusal();
            }
            let exchange = model.respond(&request);
            if !exchange.status().is_success() {
                return exchange;
            }
            let number = answers.fetch_add(1, Ordering::Relaxed);
            let broken = breaks.get(number).and_then(|broken| broken.0(exchange.clone()));
            count.fetch_add(usize::from(broken.is_some()), Ordering::Relaxed);
            broken.unwrap_or(exchange)
        });
        (script, happened)
    }
}

fn refusal() -> Exchange {
    let error = json!({"type": "invalid_request_error", "message": "Not like this."});
    Exchange::json(StatusCode::BAD_REQUEST, &json!({"type": "error", "error": error}))
}
