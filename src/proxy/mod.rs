//! The drop-in: a reverse proxy that speaks a provider's wire format, and streams that survive.
//!
//! In: a client's HTTP request, as it would send it to the provider. Out: the provider's response, and
//! where it is a stream, one legal stream over however many connections it takes. It decides nothing:
//! the [`Client`] behind it does. It must never send anything but to a configured upstream, and never
//! log or count what a client sent.
//!
//! | request | what becomes of it |
//! |---|---|
//! | `POST …/v1/messages`, `…/v1/chat/completions`, `…/v1/responses`, `…/interactions` with `"stream": true` | recovered |
//! | `POST …/models/{model}:streamGenerateContent?alt=sse` | recovered |
//! | the same without it, `…:generateContent` | tried again and failed over until the response's head, then passed on |
//! | `GET …/v1/responses/{id}?stream=true`, `…/interactions/{id}?stream=true` | passed on as it is from `--upstream`, and fetched again from where it broke off |
//! | any other, or one whose body is no JSON object | passed through as it is, to `--upstream` |
//! | `GET /healthz` | `ok` |
//! | `GET /metrics` | Prometheus text |
//!
//! # Where a request goes
//!
//! To the chain of the first route of the [`Config`] that matches its dialect and model, else to the
//! upstream for everything else, else nowhere (404). Its path and query are put behind the configured
//! address, and its headers go along, except those of one connection, `Host`, `Expect`, and, where the
//! body is written anew, the body's length and encoding. An upstream with a key of its own gets none of the
//! client's credentials, and a step on another origin than the first of its route gets no header or query
//! parameter of the client's but a few that say how to answer. A path with a `.` or `..` segment is refused
//! (400): it could leave the configured address.
//!
//! # When it fails
//!
//! Before any content: the upstream's own status, headers and body where it rejected the request, else
//! a status for the kind of error with an error object of the dialect. After content: the dialect's
//! error inside the stream, no terminal marker, and a proper end of the HTTP body.
//!
//! # Mounting it
//!
//! [`Proxy::router`] is an [`axum::Router`] for any server; [`serve()`] is the one that `unbroken proxy`
//! uses, with its limits. A router that is nested under a prefix forwards paths without the prefix. With
//! keys or headers of the configuration's own it needs a client token to answer under another name than
//! `localhost` or an address (403): a page in a browser could use the keys otherwise.
//!
//! ```
//! use unbroken::proxy::{Config, Proxy};
//!
//! let config = Config::new().upstream("https://api.anthropic.com")?;
//! let router = axum::Router::new().nest("/llm", Proxy::new(config)?.router());
//! # let _: axum::Router = router;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
mod admit;
mod body;
mod config;
mod forward;
mod metrics;
mod pass;
mod recover;
mod respond;
mod route;
mod serve;
mod wire;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub use self::config::{Config, Problem};
pub use self::serve::serve;

use self::account::Account;
use self::metrics::{Kind, Meter};
use self::respond::Refusal;
use self::route::Link;
use self::wire::Wire;
use crate::client::{Call, Client};
use crate::dialect::Anthropic;
use crate::engine::{Notice, Upstream};
use crate::error::ConfigError;
use crate::observe::Observation;
use crate::policy::Budget;

/// A reverse proxy. Clones are the same one.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    /// Connections, retry budget and breakers; its chain is another one for each request.
    client: Client,
    passing: reqwest::Client,
    meter: Arc<Meter>,
    closing: CancellationToken,
    /// What the ids of its requests begin with.
    ids: u64,
    requests: AtomicU64,
}

impl Proxy {
    /// A proxy that does what `config` says.
    ///
    /// # Errors
    /// There is no upstream, the client token cannot be sent in a header, or the HTTP stack cannot be set
    /// up.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let meter = Arc::new(Meter::new());
        let first = config.targets().next().ok_or(ConfigError::NoStep)?;
        if config.token().is_some_and(|token| !token.is_sendable()) {
            return Err(ConfigError::Key);
        }
        let counting = Arc::clone(&meter);
        let client = Client::builder()
            // A client has a chain, and this one's is never used: every request has its own.
            .step(Upstream::new(Arc::clone(&first.name), Anthropic, first.base.clone()))
            // A client that lost its own connection fetches the rest of a background response itself.
            .policy(config.policy.clone().tools(config.wire.tools).without_release())
            .budget(Budget::new(RETRIES, RETRIES_PER_SECOND, RETRIES_PER_REQUEST))
            .observer(move |observation: &Observation<'_>| {
                counting.observe(observation);
                tell(observation.notice);
            })
            .build()?;
        Ok(Self {
            shared: Arc::new(Shared {
                client,
                passing: pass::client(&config.policy)?,
                config,
                meter,
                closing: CancellationToken::new(),
                ids: RandomState::new().hash_one(0_u8) >> 32,
                requests: AtomicU64::new(1),
            }),
        })
    }

    /// The proxy as a router, for any path.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok").fallback(answer))
            .route("/metrics", get(metrics).fallback(answer))
            .fallback(answer)
            .with_state(self.clone())
    }

    /// Ends every open stream where it stands, with an error in the dialect's own way, and refuses new
    /// ones. For a shutdown that has waited long enough.
    pub fn close(&self) {
        self.shared.closing.cancel();
    }

    fn account(&self, request: &Request) -> Account {
        let number = self.shared.requests.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:08x}-{number}", self.shared.ids);
        let span = tracing::info_span!("request", id);
        let meter = Arc::clone(&self.shared.meter);
        Account::new(meter, span, request.method().clone(), request.uri().path())
    }

    async fn answer(&self, parts: Parts, body: Body, account: Account) -> Response {
        let mut parts = parts;
        let errors = Wire::of_errors(&parts);
        let refuse = |refusal, account| pass::answer(respond::refused(errors, refusal), account);
        if let Err(refusal) = admit::admit(&self.shared.config, &mut parts) {
            return refuse(refusal, account);
        }
        if parts.method == Method::CONNECT {
            return refuse(Refusal::Method, account);
        }
        let path = parts.uri.path_and_query().filter(|path| !route::is_crooked(path.path()));
        let Some(path) = path.cloned() else {
            return refuse(Refusal::Path, account);
        };
        if let Some(wire) = Wire::of_replay(&parts.method, &path) {
            return self.replay(wire, &path, &parts.headers, account).await;
        }
        let wire = Wire::of_path(path.path()).filter(|_| parts.method == Method::POST);
        let Some(wire) = wire else {
            return self.pass(parts, body, account).await;
        };
        let body = match body::read(&parts.headers, body).await {
            Ok(body) => body,
            Err(refusal) => return refuse(refusal, account),
        };
        match serde_json::from_slice(&body) {
            Ok(Value::Object(request)) => {
                let (request, written) = (request.into(), body::unambiguous(body));
                let ask = Ask { wire, path, headers: parts.headers, request, written };
                self.ask(ask, account).await
            }
            // Somebody else may make something of it.
            _ if self.shared.config.fallback().is_some() => {
                self.pass(parts, body.into(), account).await
            }
            _ => refuse(Refusal::NoObject, account),
        }
    }

    /// Answers a request that may be tried again.
    async fn ask(&self, ask: Ask, mut account: Account) -> Response {
        let (wire, config) = (ask.wire, &self.shared.config);
        let refuse = |refusal, account| pass::answer(respond::refused(wire, refusal), account);
        account.is(Kind::Refused, Some(wire));
        let model = wire.model(&ask.path, &ask.request);
        let Some(chain) = config.chain(wire, &model) else {
            return refuse(Refusal::NoRoute, account);
        };
        let streams = wire.streams(&ask.path, &ask.request);
        let headers = if streams {
            forward::recovered(&ask.headers)
        } else {
            forward::rewritten(&ask.headers)
        };
        let steps = route::steps(&chain, wire, &ask.path, &headers);
        let Ok(client) = steps.and_then(|steps| self.shared.client.with_chain(steps)) else {
            return refuse(Refusal::Address, account);
        };
        if streams {
            account.is(Kind::Recovered, Some(wire));
            let stream = client.stream(ask.request).written(ask.written).wire_with(config.wire);
            recover::respond(stream, wire, &self.shared.closing, account).await
        } else {
            account.is(Kind::Called, Some(wire));
            self.call(client.call(ask.request).written(ask.written), wire, account).await
        }
    }

    /// Answers with an answer in one piece.
    async fn call(&self, call: Call, wire: Wire, mut account: Account) -> Response {
        let mut call = call;
        let answered = tokio::select! {
            answered = &mut call => Some(answered),
            () = self.shared.closing.cancelled() => None,
        };
        account.took(call.report());
        let response = match answered {
            Some(Ok(response)) => {
                let (mut head, body) = response.into_parts();
                head.headers = forward::returned(&head.headers);
                Response::from_parts(head, Body::from_stream(body))
            }
            Some(Err(error)) => {
                account.failed(&error);
                respond::failed(wire, &error)
            }
            None => {
                account.failed(&respond::CLOSING);
                respond::refused(wire, Refusal::Closing)
            }
        };
        pass::answer(response, account)
    }

    /// Answers with the upstream's own replay of an answer that it keeps: where everything else goes,
    /// because nobody here knows which upstream made it. One that sends the answer itself, as JSON, is
    /// passed on as it is.
    async fn replay(
        &self,
        wire: Wire,
        path: &PathAndQuery,
        headers: &HeaderMap,
        mut account: Account,
    ) -> Response {
        let refuse = |refusal, account| pass::answer(respond::refused(wire, refusal), account);
        account.is(Kind::Refused, Some(wire));
        let Some(target) = self.shared.config.fallback() else {
            return refuse(Refusal::NoRoute, account);
        };
        let chain = [Link::Upstream { target: Arc::clone(target), model: None }];
        let steps = route::steps(&chain, wire, path, &forward::recovered(headers));
        let Ok(client) = steps.and_then(|steps| self.shared.client.with_chain(steps)) else {
            return refuse(Refusal::Address, account);
        };
        account.is(Kind::Recovered, Some(wire));
        let stream = client.replay().wire_with(self.shared.config.wire);
        recover::respond(stream, wire, &self.shared.closing, account).await
    }

    async fn pass(&self, parts: Parts, body: Body, mut account: Account) -> Response {
        let errors = Wire::of_errors(&parts);
        let Some(target) = self.shared.config.fallback() else {
            return pass::answer(respond::refused(errors, Refusal::NoRoute), account);
        };
        account.is(Kind::Passed, None);
        pass::pass(&self.shared.passing, target, errors, parts, body, account).await
    }
}

/// A request for an answer.
struct Ask {
    wire: Wire,
    path: PathAndQuery,
    headers: HeaderMap,
    request: Value,
    /// What the request was read from.
    written: Option<Bytes>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

async fn answer(State(proxy): State<Proxy>, request: Request) -> Response {
    let account = proxy.account(&request);
    let span = account.span().clone();
    let (parts, body) = request.into_parts();
    let version = parts.version;
    let mut response = proxy.answer(parts, body, account).instrument(span).await;
    // Whatever the upstream speaks.
    *response.version_mut() = version;
    response
}

async fn metrics(State(proxy): State<Proxy>, request: Request) -> Response {
    let Shared { config, client, meter, .. } = &*proxy.shared;
    if let Err(refusal) = admit::admit(config, &mut request.into_parts().0) {
        return respond::refused(Wire::USUAL, refusal);
    }
    let names = config.targets().map(|target| &*target.name);
    meter.breakers(names, &client.breakers());
    let mut response = Response::new(meter.render().into());
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

/// What an operator should see at once, with the id of the request that is polled.
fn tell(notice: &Notice) {
    match notice {
        Notice::Interrupted(interruption) => tracing::warn!(
            upstream = &*interruption.upstream,
            attempt = interruption.attempt.get(),
            cause = %interruption.cut,
            transport = interruption.transport.map(tracing::field::debug),
            "cut"
        ),
        Notice::Account { upstream, class } => tracing::warn!(
            upstream = &**upstream,
            class = ?class,
            "the upstream refuses the account or its credentials"
        ),
        Notice::Untranslated { upstream, field } => tracing::warn!(
            upstream = &**upstream,
            field = &**field,
            "a step was passed over: its dialect has no words for a field of the request"
        ),
        Notice::Breaker { upstream, state, .. } => {
            tracing::warn!(upstream = &**upstream, state = ?state, "a breaker changes");
        }
        Notice::Resumed(resumption) => tracing::info!(
            upstream = &*resumption.upstream,
            attempt = resumption.attempt.get(),
            rung = %resumption.by,
            join = %resumption.join,
            "resumed"
        ),
        _ => {}
    }
}

/// Retries that the proxy has for an upstream: it stands for very many callers, whose first attempts
/// fail together when a balancer restarts.
const RETRIES: u32 = 1000;

/// Retries that come back every second.
const RETRIES_PER_SECOND: u32 = 10;

/// Retries that each request brings: an upstream that is down is asked twice as often as one that is
/// not, at most.
const RETRIES_PER_REQUEST: f64 = 1.0;
