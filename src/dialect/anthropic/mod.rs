//! Anthropic Messages.
//!
//! In: events of `POST /v1/messages` with `stream: true`, or such a request. Out: signals, or the
//! request that continues it. Facts: <https://platform.claude.com/docs/en/build-with-claude/streaming>,
//! read in November 2026.

mod block;
mod counts;
mod decode;
mod frame;
mod message;
mod rewrite;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

pub(super) use self::decode::AnthropicDecoder;
use self::writer::MessageWriter;
use super::prediction::Predicted;
use super::writer::frame_of;
use super::{
    Capabilities, Continuation, Decoder, Dialect, Fault, InvalidRequest, Outline, Release, Rewrite,
    Unresumable, Writer, capability, conversation, fault, request, translate,
};
use crate::error::ErrorKind;
use crate::event::Resume;
use crate::transcript::Transcript;

/// The dialect of Anthropic's Messages API, wherever it is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a unit struct stays one")]
pub struct Anthropic;

impl Dialect for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn headers(&self) -> HeaderMap {
        let version = HeaderName::from_static("anthropic-version");
        HeaderMap::from_iter([(version, HeaderValue::from_static(VERSION))])
    }

    fn key(&self) -> (HeaderName, &'static str) {
        (HeaderName::from_static("x-api-key"), "")
    }

    fn check(&self, request: &Value) -> Result<(), InvalidRequest> {
        request::check(request)
    }

    fn capabilities(&self, address: &str, model: &str) -> Capabilities {
        capability::anthropic(address, model)
    }

    fn kept_as(&self, id: &str) -> Option<(HeaderName, HeaderValue)> {
        conversation::kept_as(id)
    }

    fn outline(&self, request: &Value) -> Outline {
        Outline {
            model: request::model(request),
            choices: 1,
            reasoning: request::thinks(request.get("thinking")),
            stops: request::strings(request.get("stop_sequences")),
            max_tokens: request.get("max_tokens").and_then(Value::as_u64),
        }
    }

    fn reads(&self, request: &Value) -> usize {
        request::text_bytes(request, [request.get("system"), request.get("messages")])
    }

    fn decoder(&self, _: &Outline, _: &Capabilities) -> Box<dyn Decoder> {
        Box::new(Predicted::new(AnthropicDecoder::default()))
    }

    fn resumes(
        &self,
        request: &Value,
        transcript: &Transcript,
        capabilities: &Capabilities,
    ) -> Vec<Resume> {
        rewrite::resumes(request, transcript, capabilities)
    }

    fn rewrite(
        &self,
        request: &Value,
        transcript: &Transcript,
        by: Resume,
        context: &Rewrite<'_>,
    ) -> Result<Continuation, Unresumable> {
        rewrite::rewrite(request, transcript, by, context)
    }

    fn release(&self, _: &Value, generation: &str) -> Option<Release> {
        conversation::release(generation, OWN)
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Fault {
        fault::of_response(status, headers, body)
    }

    fn message(&self, transcript: &Transcript) -> Value {
        json!({ "role": "assistant", "content": message::blocks(transcript) })
    }

    fn call_id(&self, id: &str) -> Arc<str> {
        translate::legal_anthropic_id(id).into()
    }

    fn writer(&self, request: &Value) -> Box<dyn Writer> {
        Box::new(MessageWriter::new(request))
    }

    /// The types are those of <https://platform.claude.com/docs/en/api/errors>, November 2026.
    fn failure(&self, kind: ErrorKind, _: Option<&str>, message: &str) -> Value {
        let word = match kind {
            ErrorKind::InvalidRequest | ErrorKind::ContextLength | ErrorKind::Policy => {
                "invalid_request_error"
            }
            ErrorKind::UnknownModel => "not_found_error",
            ErrorKind::Authentication => "authentication_error",
            ErrorKind::Billing => "billing_error",
            ErrorKind::RateLimited => "rate_limit_error",
            ErrorKind::Overloaded | ErrorKind::Denied => "overloaded_error",
            ErrorKind::Stalled | ErrorKind::NoProgress | ErrorKind::Deadline => "timeout_error",
            _ => "api_error",
        };
        json!({ "type": "error", "error": { "type": word, "message": message } })
    }

    fn failure_frame(&self, failure: &Value) -> Bytes {
        frame_of("error", failure)
    }

    fn failure_in(&self, said: &[u8]) -> Option<Value> {
        let said: Value = serde_json::from_slice(said).ok()?;
        let is_error = said.get("type") == Some(&json!("error"));
        (is_error && said.get("error").is_some_and(Value::is_object)).then_some(said)
    }
}

/// The API version that this dialect is written against; the only one there is
/// (<https://platform.claude.com/docs/en/api/versioning>, November 2026).
const VERSION: &str = "2023-06-01";

/// What the address of its requests ends in.
const OWN: &str = "messages";
