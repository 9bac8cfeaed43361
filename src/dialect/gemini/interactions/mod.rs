//! The Interactions API of Gemini.
//!
//! In: events of `POST …/interactions` with `stream: true`, or such a request. Out: signals. An answer is
//! not continued yet: the provider can replay it (`last_event_id`), which is the way that is to come, so
//! the ids of its events are kept. Facts: <https://ai.google.dev/gemini-api/docs/interactions/streaming> and
//! recorded streams, read in November 2026.

mod decode;
mod frame;
mod step;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::{Value, json};

use self::decode::InteractionDecoder;
use self::writer::InteractionWriter;
use super::super::writer::frame_of;
use super::super::{
    Capabilities, Continuation, Decoder, Dialect, Fault, InvalidRequest, Numbering, Outline,
    Rewrite, Unresumable, Writer, fault, request,
};
use super::{KEY, error_of, failure};
use crate::error::ErrorKind;
use crate::event::Resume;
use crate::transcript::Transcript;

/// The dialect of Gemini's Interactions API. Its answers are read, written and proved; one that breaks
/// after its first word is not continued yet.
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
            None | Some(Value::Null) => return Err(InvalidRequest::Missing("input")),
            Some(_) => {}
        }
        match fields.get("stream") {
            None | Some(Value::Null | Value::Bool(true)) => Ok(()),
            Some(Value::Bool(false)) => Err(InvalidRequest::NotStreaming),
            Some(_) => Err(InvalidRequest::WrongType("stream")),
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

    fn decoder(&self, _: &Outline, _: &Capabilities) -> Box<dyn Decoder> {
        Box::new(InteractionDecoder::default())
    }

    fn resumes(&self, _: &Value, _: &Transcript, _: &Capabilities) -> Vec<Resume> {
        Vec::new()
    }

    fn rewrite(
        &self,
        _: &Value,
        _: &Transcript,
        _: Resume,
        _: &Rewrite<'_>,
    ) -> Result<Continuation, Unresumable> {
        Err(Unresumable)
    }

    fn numbering(&self) -> Option<Numbering> {
        Some(NUMBERING)
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Fault {
        fault::of_response(status, headers, body)
    }

    /// The text of the answer. All else a client refers to by the interaction's id.
    fn message(&self, transcript: &Transcript) -> Value {
        let content = json!([{ "type": "text", "text": transcript.text() }]);
        json!({ "type": "model_output", "content": content })
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
