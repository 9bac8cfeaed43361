//! A row of the table, played.
//!
//! In: where it comes from, what comes. Out: what an upstream that always does so leads to. Every row is
//! played three times: with one request allowed, for the error; with as many as usual; and with another
//! step, which answers.

use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use unbroken::dialect::{Declared, FaultClass, Prefill, Signal};
use unbroken::engine::{Attempt, Input, Output, Plan, Recovery};
use unbroken::policy::{Policy, Timeouts};
use unbroken::testing::{Answer, COMMENT_PING, Deltas, End, Exchange, Fault, Model};
use unbroken::{Error, Event, Interruption, Next, Report, TransportErrorKind, sse};

use crate::support::wires::Wire;
use crate::support::{Run, run_gated};

/// What came of a row.
pub(crate) struct Played {
    pub(crate) class: String,
    pub(crate) kind: String,
    pub(crate) origin: String,
    pub(crate) retryable: bool,
    pub(crate) todo: String,
}

/// What an upstream does to each request.
enum Does {
    Answers(Box<Exchange>),
    /// Half of its answer, then another one.
    Strays,
    /// The HTTP stack says this.
    Breaks(TransportErrorKind),
    /// The request is not sent.
    Denied,
    Canceled,
}

impl Does {
    fn answers(exchange: Exchange) -> Self {
        Self::Answers(Box::new(exchange))
    }
}

/// Plays the row in this format; `None` where it is about another one.
pub(crate) fn play(wire: Wire, whence: &str, what: &str) -> Option<Played> {
    let (place, background) = match whence.split_once(", ") {
        Some((place, "background")) => (place, true),
        Some((_, other)) => panic!("{other}?"),
        None => (whence, false),
    };
    let mut scene = Scene::new(wire, background);
    let mut class = None;
    let does = match place {
        "status" => Does::answers(rejection(wire, what, &mut class)),
        "transport" => Does::Breaks(transport(span(what))),
        "timer" => Does::answers(silence(span(what))),
        "body" => body(what, &mut scene),
        "reply" => reply(what, &mut scene),
        dialect if dialect != wire.name() => return None,
        _ if what.starts_with("`{") => Does::answers(event(wire, span(what), &mut class)),
        _ => Does::answers(rejection(wire, what, &mut class)),
    };
    let (error, _) = scene.ends(&does, scene.attempts, false);
    let error = error.unwrap_or_else(|| panic!("{wire:?}: {what} is no error"));
    let todo = match does {
        Does::Strays => "–".to_owned(),
        _ => scene.todo(&does),
    };
    Some(Played {
        class: class.map_or_else(|| "–".to_owned(), |class| format!("{class:?}")),
        kind: format!("{:?}", error.kind()),
        origin: format!("{:?}", error.origin()),
        retryable: error.is_retryable(),
        todo,
    })
}

/// What is asked, and how.
struct Scene {
    wire: Wire,
    request: Value,
    policy: Policy,
    /// How many requests lead to its error.
    attempts: u32,
}

impl Scene {
    fn new(wire: Wire, background: bool) -> Self {
        let mut request = wire.request();
        if background {
            request["background"] = json!(true);
        }
        Self { wire, request, policy: Policy::new(), attempts: 1 }
    }

    fn plan(&self, attempts: u32, another: bool) -> Plan {
        let at = |name| {
            let model = self.wire.usual();
            let upstream = self.wire.at(name, "https://api.example", model).model(model);
            upstream.declare(Declared::new().prefill(Prefill::None))
        };
        let chain = [at("one"), at("two")];
        let chain = chain.into_iter().take(1 + usize::from(another)).collect::<Vec<_>>();
        let mut plan = Plan::new(self.request.clone(), chain);
        plan.policy = self.policy.clone().max_attempts(attempts).into();
        plan
    }

    /// The error, if there is one, and what was said about the first attempt.
    fn ends(
        &self,
        does: &Does,
        attempts: u32,
        another: bool,
    ) -> (Option<Error>, Option<(Interruption, bool)>) {
        let plan = self.plan(attempts, another);
        let run = match does {
            Does::Breaks(kind) => return by_hand(plan, Some(*kind)),
            Does::Canceled => return by_hand(plan, None),
            Does::Denied => run_gated(
                plan,
                |request, _| self.model().respond(request),
                |attempt| &*attempt.upstream != "one",
            ),
            Does::Answers(exchange) => run_gated(
                plan,
                |request, attempt| self.answer(request, attempt, exchange),
                |_| true,
            ),
            Does::Strays => run_gated(plan, |_, attempt| self.strays(attempt), |_| true),
        };
        let first = first(&run.events, &run.report);
        let Run { result, .. } = run;
        (result.err(), first)
    }

    fn model(&self) -> Model {
        self.wire.says(Answer::new().text("The whole answer."), Deltas::Chars(6))
    }

    fn answer(&self, request: &Value, attempt: &Attempt, exchange: &Exchange) -> Exchange {
        if &*attempt.upstream == "one" { exchange.clone() } else { self.model().respond(request) }
    }

    fn strays(&self, attempt: &Attempt) -> Exchange {
        let says = |text: &str| self.wire.says(Answer::new().text(text), Deltas::Chars(4)).whole();
        if attempt.id.get() > 1 {
            return says("That is another answer than the one before, and says something else.");
        }
        let whole = says("That is the answer that was given first, and all of it was meant.");
        let half = whole.body().len() / 2;
        whole.fault(Fault::reset_at(half))
    }

    /// What the engine does about the first attempt.
    fn todo(&self, does: &Does) -> String {
        let (_, alone) = self.ends(does, 20, false);
        let (failed, first) = self.ends(does, 20, true);
        let again = match &alone {
            Some((told, free)) if told.next == Next::Retry => {
                let wait = told.delay;
                let words = match asked(told) {
                    Some(asked) => {
                        assert_eq!(wait, asked, "it waits as long as it is told to");
                        format!("again after {} s", asked.as_secs_f64())
                    }
                    None if wait.is_zero() => "again at once".to_owned(),
                    None => "again after a wait".to_owned(),
                };
                Some(words + if *free { ", free" } else { "" })
            }
            _ => None,
        };
        let leaves = match &first {
            Some((told, _)) => matches!(told.next, Next::Step { .. }),
            None => failed.is_none(),
        };
        match (leaves, again) {
            (false, None) => "gives up".to_owned(),
            (false, Some(again)) => again,
            (true, None) => "next step".to_owned(),
            (true, Some(again)) => format!("next step, else {again}"),
        }
    }
}

/// The wait that the provider asked for.
fn asked(told: &Interruption) -> Option<Duration> {
    match told.cut {
        unbroken::Cut::Rejected { retry_after, .. } => retry_after,
        _ => None,
    }
}

/// What was said about the first attempt, and whether the next one is free.
fn first(events: &[Event], report: &Report) -> Option<(Interruption, bool)> {
    let told = events.iter().find_map(|event| match event {
        Event::Interrupted(told) => Some(told.clone()),
        _ => None,
    });
    Some((told?, report.attempts.get(1).is_some_and(|attempt| attempt.free)))
}

/// Every exchange fails so; `None`: the caller cancels the first.
fn by_hand(
    plan: Plan,
    error: Option<TransportErrorKind>,
) -> (Option<Error>, Option<(Interruption, bool)>) {
    #[expect(clippy::disallowed_methods, reason = "an instant to start from; time is virtual")]
    let mut now = Instant::now();
    let mut engine = Recovery::new(plan, now).unwrap();
    let mut events = Vec::new();
    for _ in 0..1000 {
        match engine.poll_output() {
            Output::Open(attempt) => {
                let input = match error {
                    Some(_) => Input::End { id: attempt.id, error },
                    None => Input::Cancel,
                };
                engine.handle_input(now, input);
            }
            Output::Event(event) => events.push(event),
            Output::Wait { until, .. } => {
                now = until.expect("an end");
                engine.handle_input(now, Input::Tick);
            }
            Output::Done(result) => return (result.err(), first(&events, engine.report())),
            _ => {}
        }
    }
    panic!("it does not end");
}

/// What stands between the first backticks.
fn span(what: &str) -> &str {
    what.split('`').nth(1).expect("something in backticks")
}

/// `status`, `name: value`, `body`, each in backticks.
fn rejection(wire: Wire, what: &str, class: &mut Option<FaultClass>) -> Exchange {
    let mut spans = what.split('`').skip(1).step_by(2);
    let status = spans.next().unwrap().parse().expect("a status");
    let mut exchange = Exchange::reply(StatusCode::from_u16(status).unwrap());
    for span in spans {
        exchange = if span.starts_with(['{', '<']) {
            exchange.with_body(span.to_owned())
        } else {
            let (name, value) = span.split_once(": ").expect("a header");
            let name: HeaderName = name.parse().unwrap();
            exchange.header(name, HeaderValue::from_str(value).unwrap())
        };
    }
    let body = exchange.body();
    let fault = wire.dialect().classify(exchange.status(), exchange.headers(), &body);
    *class = Some(fault.class);
    exchange
}

/// One event of a stream, which then ends.
fn event(wire: Wire, data: &str, class: &mut Option<FaultClass>) -> Exchange {
    let json: Value = serde_json::from_str(data).expect("JSON");
    let named = matches!(wire, Wire::Anthropic | Wire::OpenAiResponses | Wire::GeminiInteractions);
    let name = json.get("type").or_else(|| json.get("event_type")).and_then(Value::as_str);
    let name = name.filter(|_| named).unwrap_or("message");
    let dialect = wire.dialect();
    let capabilities = dialect.capabilities("api.example/v1", wire.usual());
    let mut decoder = dialect.decoder(&dialect.outline(&wire.request()), &capabilities);
    let event = sse::Event::new(data).event(name);
    let mut listen = |signal: Signal<'_>| {
        if let Signal::Fault(fault) = signal {
            *class = Some(fault.class);
        }
    };
    decoder.decode(&event, &mut listen).expect("an event of this format");
    let mut body = Vec::new();
    sse::encode(&event, &mut body);
    Exchange::stream(body)
}

fn transport(name: &str) -> TransportErrorKind {
    use TransportErrorKind::*;
    let all = [Connect, Tls, Reset, Stale, Body, StreamReset, GoAway, Protocol, Request];
    all.into_iter().find(|kind| format!("{kind:?}") == name).expect("a kind")
}

fn silence(timer: &str) -> Exchange {
    match timer {
        "FirstEvent" => Exchange::headless(End::Stall),
        "Idle" => Exchange::stream(COMMENT_PING).stall(),
        "Delta" => Exchange::stream("").pings(COMMENT_PING, Duration::from_secs(20)),
        other => panic!("{other} ends no attempt"),
    }
}

fn body(what: &str, scene: &mut Scene) -> Does {
    let exchange = match what {
        "a clean end without proof" => Exchange::stream(COMMENT_PING),
        "an event that cannot be read" => Exchange::stream("data: {\"half\n\n"),
        "an event over the limit" => {
            scene.policy = Policy::new().event_max(1000);
            Exchange::stream(format!("data: {}\n\n", "x".repeat(2000)))
        }
        "another answer than the one delivered" => {
            scene.policy = Policy::new().without_notes();
            scene.attempts = 20;
            return Does::Strays;
        }
        other => panic!("{other}?"),
    };
    Does::answers(exchange)
}

fn reply(what: &str, scene: &mut Scene) -> Does {
    match what {
        "a request that cannot be streamed" => {
            scene.request = json!([]);
            Does::Denied
        }
        "breaker open or budget empty" => Does::Denied,
        "the hook says stop" => {
            scene.policy = Policy::new().keep_going(|_| false);
            scene.attempts = 20;
            Does::answers(Exchange::reply(StatusCode::SERVICE_UNAVAILABLE))
        }
        "the deadline" => {
            let timeouts = Timeouts::new().overall(Duration::from_secs(5));
            scene.policy = Policy::new().timeouts(timeouts);
            Does::answers(Exchange::headless(End::Stall))
        }
        "canceled" => Does::Canceled,
        other => panic!("{other}?"),
    }
}
