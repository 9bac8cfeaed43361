//! merge: replaced by the branches `steps` and the wire view; stands in for them until then.
#![allow(missing_docs, clippy::exhaustive_structs, clippy::exhaustive_enums)]
#![allow(missing_debug_implementations)]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use super::transport::BoxBody;
use super::{Client, Reply, Shared, TransportError};
use crate::dialect::Dialect;
use crate::engine::Upstream;
use crate::error::{ConfigError, Error, ErrorKind};
use crate::event::{Connection, Delta, Event};
use crate::policy::ToolDelivery;
use crate::report::Report;
use crate::transcript::Transcript;

#[derive(Clone, Debug)]
pub enum Step {
    Upstream(Upstream),
    Canned(Canned),
    HandOff(HandOff),
}

#[derive(Clone, Debug)]
pub struct Canned(String);

impl Canned {
    pub fn text(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

#[derive(Clone, Debug)]
pub struct HandOff(String);

impl HandOff {
    pub fn text(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<Upstream> for Step {
    fn from(upstream: Upstream) -> Self {
        Self::Upstream(upstream)
    }
}

impl From<Canned> for Step {
    fn from(canned: Canned) -> Self {
        Self::Canned(canned)
    }
}

impl From<HandOff> for Step {
    fn from(hand_off: HandOff) -> Self {
        Self::HandOff(hand_off)
    }
}

#[derive(Clone, Debug)]
pub struct BreakerReport {
    pub upstream: Arc<str>,
    pub model: Arc<str>,
    pub state: BreakerState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    Open,
    HalfOpen,
}

pub type CallBody = BoxBody;

impl Client {
    pub fn with_chain(
        &self,
        chain: impl IntoIterator<Item = impl Into<Step>>,
    ) -> Result<Self, ConfigError> {
        let upstream = |step: Step| match step {
            Step::Upstream(upstream) => Some(upstream),
            Step::Canned(_) | Step::HandOff(_) => None,
        };
        let shared = &self.shared;
        Ok(Self {
            shared: Arc::new(Shared {
                chain: chain.into_iter().map(Into::into).filter_map(upstream).collect(),
                policy: Arc::clone(&shared.policy),
                wording: Arc::clone(&shared.wording),
                transport: Arc::clone(&shared.transport),
                observer: shared.observer.clone(),
                gate: Arc::clone(&shared.gate),
                clock: Arc::clone(&shared.clock),
                seed: Arc::clone(&shared.seed),
            }),
        })
    }

    pub fn call<R: Serialize>(
        &self,
        request: R,
    ) -> impl Future<Output = Result<http::Response<CallBody>, Error>> + Send + use<R> {
        let upstream = &self.shared.chain[0];
        let mut body = serde_json::to_value(request).unwrap_or(Value::Null);
        if let Some(model) = &upstream.model {
            body["model"] = Value::from(&**model);
        }
        let mut request = http::Request::post(upstream.uri.clone()).body(body.to_string().into());
        if let Ok(request) = &mut request {
            *request.headers_mut() = upstream.headers.clone();
        }
        let shared = Arc::clone(&self.shared);
        let failed = |kind| Error::new(kind, Transcript::new(), Report::default());
        async move {
            let request = request.map_err(|_| failed(ErrorKind::InvalidRequest))?;
            let opening = shared.transport.open(request, Connection::Any);
            opening.await.map_err(|_: TransportError| failed(ErrorKind::Unreachable))
        }
    }

    pub fn breakers(&self) -> Vec<BreakerReport> {
        Vec::new()
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct WireOptions {
    pub reasoning: WireReasoning,
    pub tools: ToolDelivery,
}

#[derive(Clone, Copy, Debug, Default)]
pub enum WireReasoning {
    #[default]
    Auto,
    Live,
    Whole,
}

#[derive(Debug)]
pub struct WireHead {
    pub status: StatusCode,
    pub headers: HeaderMap,
}

pub struct WireStream {
    reply: Reply,
    head: Option<WireHead>,
    anthropic: bool,
    failed: Option<Error>,
}

impl Reply {
    pub fn wire(self, _: WireOptions) -> WireStream {
        let anthropic = self.dialect.name() == "anthropic";
        WireStream { reply: self, head: None, anthropic, failed: None }
    }
}

impl WireStream {
    pub fn head(&self) -> Option<&WireHead> {
        self.head.as_ref()
    }

    pub fn reply(&self) -> &Reply {
        &self.reply
    }
}

impl Stream for WireStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            let item = std::task::ready!(Pin::new(&mut self.reply).poll_next(cx));
            let frame = match item {
                None => return Poll::Ready(None),
                Some(Err(error)) if self.head.is_none() => return Poll::Ready(Some(Err(error))),
                Some(Err(error)) => {
                    let dialect = Arc::clone(&self.reply.dialect);
                    let frame = dialect.failure_frame(error.kind(), error.code(), "failed");
                    self.failed = Some(error);
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Ok(Event::Started(_))) => {
                    let mut headers = HeaderMap::new();
                    let value = HeaderValue::from_static("text/event-stream");
                    headers.insert("content-type", value);
                    self.head = Some(WireHead { status: StatusCode::OK, headers });
                    json!({"type": "message_start"})
                }
                Some(Ok(Event::Delta(Delta::Append { text, .. }))) if self.anthropic => {
                    json!({"type": "content_block_delta", "index": 0,
                        "delta": {"type": "text_delta", "text": &*text}})
                }
                Some(Ok(Event::Delta(Delta::Append { text, .. }))) => {
                    json!({"choices": [{"index": 0, "delta": {"content": &*text}}]})
                }
                Some(Ok(Event::Finished(_))) if self.anthropic => json!({"type": "message_stop"}),
                Some(Ok(Event::Finished(_))) => {
                    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                }
                Some(Ok(_)) => continue,
            };
            return Poll::Ready(Some(Ok(format!("data: {frame}\n\n").into())));
        }
    }
}

/// merge: replaced by methods of [`Dialect`].
pub trait Failures {
    fn failure(&self, kind: ErrorKind, code: Option<&str>, message: &str) -> Value;
    fn failure_frame(&self, kind: ErrorKind, code: Option<&str>, message: &str) -> Bytes {
        format!("event: error\ndata: {}\n\n", self.failure(kind, code, message)).into()
    }
}

impl Failures for dyn Dialect {
    fn failure(&self, kind: ErrorKind, code: Option<&str>, message: &str) -> Value {
        let word = match kind {
            ErrorKind::UnknownModel => "not_found_error",
            ErrorKind::Authentication => "authentication_error",
            ErrorKind::InvalidRequest => "invalid_request_error",
            ErrorKind::Overloaded => "overloaded_error",
            _ => "api_error",
        };
        match self.name() {
            "anthropic" => {
                json!({"type": "error", "error": {"type": word, "message": message}})
            }
            _ => json!({"error":
                {"message": message, "type": word, "param": null, "code": code}}),
        }
    }
}

impl Error {
    pub fn fault_body(&self) -> Option<&Bytes> {
        None
    }
}
