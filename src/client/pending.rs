//! merge: replaced by the branches `steps` and the wire view; stands in for them until then.
#![allow(missing_docs, clippy::exhaustive_structs, clippy::exhaustive_enums)]
#![allow(missing_debug_implementations, dead_code, clippy::large_enum_variant)]

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::transport::BoxBody;
use super::{Client, Shared, TransportError};
use crate::engine::Upstream;
use crate::error::{ConfigError, Error, ErrorKind};
use crate::event::Connection;
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
