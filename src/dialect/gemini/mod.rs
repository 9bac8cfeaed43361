//! Google Gemini.
//!
//! In: events of `POST …/models/{model}:streamGenerateContent?alt=sse`, or such a request. Out: signals,
//! or the request that continues it. Facts: <https://ai.google.dev/api/generate-content>,
//! `google/genai/types.py` of python-genai, and recorded streams, read in November 2026.

mod decode;
mod frame;
mod interactions;
mod message;
mod pieces;
mod request;
mod rewrite;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, Uri};
use serde_json::{Value, json};

pub use self::interactions::GeminiInteractions;
#[cfg(test)]
pub(super) use self::interactions::InteractionDecoder;

pub(super) use self::decode::GeminiDecoder;
use self::writer::ResponseWriter;
use super::prediction::Predicted;
use super::writer::frame_of;
use super::{
    Capabilities, Continuation, Decoder, Dialect, Fault, InvalidRequest, Outline, Rewrite,
    Unresumable, Writer, capability, fault,
};
use crate::error::ErrorKind;
use crate::event::{FinishReason, Resume};
use crate::transcript::Transcript;

/// The dialect of Gemini's `streamGenerateContent`, at Google AI and at Vertex AI.
///
/// The model is in the address, `…/models/{model}:streamGenerateContent`; an upstream with a model of its
/// own puts that one there. `alt=sse` is added where the address does not say otherwise: without it
/// the answer is a JSON array, which is no stream of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a unit struct stays one")]
pub struct Gemini;

impl Dialect for Gemini {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn key(&self) -> (HeaderName, &'static str) {
        KEY
    }

    fn check(&self, request: &Value) -> Result<(), InvalidRequest> {
        let Value::Object(fields) = request else {
            return Err(InvalidRequest::NotAnObject);
        };
        match fields.get("contents") {
            None => Err(InvalidRequest::Missing("contents")),
            Some(Value::Array(_)) => Ok(()),
            Some(_) => Err(InvalidRequest::WrongType("contents")),
        }
    }

    /// Neither the model nor the stream is said in the request; unknown fields are a 400.
    fn fields(&self, _: Option<&str>, _: bool) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    fn address(&self, address: &Uri, model: Option<&str>, streamed: bool) -> Option<Uri> {
        request::address(address, model, streamed)
    }

    fn model_in(&self, address: &Uri) -> Option<Arc<str>> {
        request::model_in(address.path()).map(Arc::from)
    }

    fn capabilities(&self, _: &str, model: &str) -> Capabilities {
        capability::gemini(model)
    }

    fn outline(&self, request: &Value) -> Outline {
        request::outline(request)
    }

    fn reads(&self, request: &Value) -> usize {
        request::reads(request)
    }

    fn decoder(&self, outline: &Outline, _: &Capabilities) -> Box<dyn Decoder> {
        Box::new(Predicted::new(GeminiDecoder::new(outline)))
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

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Fault {
        fault::of_response(status, headers, body)
    }

    fn message(&self, transcript: &Transcript) -> Value {
        json!({ "role": "model", "parts": message::parts(transcript) })
    }

    fn writer(&self, _: &Value) -> Box<dyn Writer> {
        Box::new(ResponseWriter::default())
    }

    fn failure(&self, kind: ErrorKind, _: Option<&str>, message: &str) -> Value {
        failure(kind, message)
    }

    fn failure_frame(&self, failure: &Value) -> Bytes {
        frame_of("message", failure)
    }

    fn failure_in(&self, said: &[u8]) -> Option<Value> {
        error_of(said).map(|error| json!({ "error": error }))
    }
}

/// The header of a key: <https://ai.google.dev/api>, November 2026.
const KEY: (HeaderName, &str) = (HeaderName::from_static("x-goog-api-key"), "");

/// The words are those of <https://ai.google.dev/gemini-api/docs/troubleshooting>, November 2026.
fn failure(kind: ErrorKind, message: &str) -> Value {
    let (code, status) = match kind {
        ErrorKind::InvalidRequest | ErrorKind::ContextLength | ErrorKind::Policy => {
            (400, "INVALID_ARGUMENT")
        }
        ErrorKind::UnknownModel => (404, "NOT_FOUND"),
        ErrorKind::Authentication => (401, "UNAUTHENTICATED"),
        ErrorKind::Billing | ErrorKind::RateLimited => (429, "RESOURCE_EXHAUSTED"),
        ErrorKind::Overloaded | ErrorKind::Denied => (503, "UNAVAILABLE"),
        ErrorKind::Stalled | ErrorKind::NoProgress | ErrorKind::Deadline => {
            (504, "DEADLINE_EXCEEDED")
        }
        _ => (500, "INTERNAL"),
    };
    json!({ "error": { "code": code, "message": message, "status": status } })
}

/// The error object in `said`, alone or in a list.
fn error_of(said: &[u8]) -> Option<Value> {
    let said: Value = serde_json::from_slice(said).ok()?;
    let said = said.as_array().map_or(Some(&said), |items| items.first())?;
    said.get("error").filter(|error| error.is_object()).cloned()
}

/// What a word for the end means; none where it is the word for no word.
fn reason_of(word: &str) -> Option<FinishReason> {
    Some(match word {
        "FINISH_REASON_UNSPECIFIED" => return None,
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => FinishReason::ContentFilter,
        other => FinishReason::Other(Arc::from(other)),
    })
}
