//! The Interactions API of Gemini.
//!
//! In: events of `POST …/interactions` with `stream: true`, or such a request. Out: signals, or the request
//! that continues it. Facts: <https://ai.google.dev/gemini-api/docs/interactions/streaming>,
//! `google/genai/_gaos` of python-genai, and recorded streams, read in November 2026.
//!
//! Whether an interaction can be replayed is nowhere said but in the stream itself: an event that has an
//! `event_id` offers to be gone on after (`GET …/interactions/{id}?stream=true&last_event_id=…`). Events of
//! recorded foreground interactions have none, and then there is nothing to go on from. `store: false` rules
//! it out; where the offer is not kept (400, 404), the next rung is.

mod decode;
mod frame;
mod history;
mod place;
mod rewrite;
mod step;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use serde_json::{Value, json};

pub(in crate::dialect) use self::decode::InteractionDecoder;
use self::writer::InteractionWriter;
use super::super::prediction::Predicted;
use super::super::writer::frame_of;
use super::super::{
    Capabilities, Continuation, Decoder, Dialect, Fault, InvalidRequest, Numbering, Outline,
    Release, Rewrite, Unresumable, Writer, fault, request,
};
use super::{KEY, error_of, failure};
use crate::error::ErrorKind;
use crate::event::Resume;
use crate::transcript::Transcript;

/// The dialect of Gemini's Interactions API.
///
/// A turn is a list of steps here, so [`message`](Dialect::message) is a JSON array: append its entries to
/// `input`. What the provider runs itself comes as whole steps. An answer of an agent, or one with a form of
/// its own, is only gone on with by the provider's own replay, or by asking again for the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a unit struct stays one")]
pub struct GeminiInteractions;

impl Dialect for GeminiInteractions {
    fn name(&self) -> &'static str {
        "gemini-interactions"
    }

    fn key(&self) -> (HeaderName, &'static str) {
        KEY
    }

    fn check(&self, request: &Value) -> Result<(), InvalidRequest> {
        let Value::Object(fields) = request else {
            return Err(InvalidRequest::NotAnObject);
        };
        match fields.get("input") {
            None | Some(Value::Null) => Err(InvalidRequest::Missing("input")),
            Some(Value::String(_) | Value::Array(_) | Value::Object(_)) => {
                request::check_rest(fields)
            }
            Some(_) => Err(InvalidRequest::WrongType("input")),
        }
    }

    fn capabilities(&self, _: &str, _: &str) -> Capabilities {
        Capabilities::default()
    }

    fn outline(&self, request: &Value) -> Outline {
        let config = |name: &str| request.pointer(&format!("/generation_config/{name}"));
        let agent = || request.get("agent").and_then(Value::as_str).map(Arc::from);
        let model = request::model(request);
        Outline {
            model: if model.is_empty() { agent().unwrap_or(model) } else { model },
            choices: 1,
            reasoning: config("thinking_level").or(config("thinking_summaries")).is_some(),
            stops: request::strings(config("stop_sequences")),
            max_tokens: config("max_output_tokens").and_then(Value::as_u64),
        }
    }

    fn reads(&self, request: &Value) -> usize {
        request::text_bytes(request, [request.get("system_instruction"), request.get("input")])
    }

    fn decoder(&self, _: &Outline, _: &Capabilities) -> Box<dyn Decoder> {
        Box::new(Predicted::new(InteractionDecoder::default()))
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

    fn numbering(&self) -> Option<Numbering> {
        Some(NUMBERING)
    }

    /// A background interaction goes on until it is canceled (`interactions.cancel` of python-genai, read in
    /// November 2026).
    fn release(&self, request: &Value, generation: &str) -> Option<Release> {
        let is_background = request.get("background") == Some(&Value::Bool(true));
        let release = || Release::below(Method::POST, &[generation, "cancel"]);
        is_background.then(release).flatten()
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Fault {
        fault::of_response(status, headers, body)
    }

    /// The steps of the turn, as an array.
    fn message(&self, transcript: &Transcript) -> Value {
        Value::Array(history::steps(transcript))
    }

    fn writer(&self, request: &Value) -> Box<dyn Writer> {
        Box::new(InteractionWriter::new(&self.outline(request).model))
    }

    fn failure(&self, kind: ErrorKind, _: Option<&str>, message: &str) -> Value {
        failure(kind, message)
    }

    fn failure_frame(&self, failure: &Value) -> Bytes {
        let mut event = failure.clone();
        event["event_type"] = Value::from("error");
        frame_of("error", &event)
    }

    fn failure_in(&self, said: &[u8]) -> Option<Value> {
        error_of(said).map(|error| json!({ "error": error }))
    }
}

/// <https://ai.google.dev/gemini-api/docs/interactions/streaming>, November 2026.
const NUMBERING: Numbering = Numbering { parameter: "last_event_id", field: "event_id" };
