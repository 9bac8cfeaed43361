//! OpenAI Responses, and the servers that speak it.
//!
//! In: events of `POST /v1/responses` with `stream: true`, or such a request. Out: signals, or the
//! request that continues it. Facts: `types/responses/` of openai-python, and recorded streams of OpenAI,
//! Azure, Bedrock, DeepSeek, LM Studio, OpenRouter and xAI, read in November 2026.

mod calls;
mod content;
mod decode;
mod draft;
mod frame;
mod history;
mod item;
mod place;
mod rewrite;
#[cfg(test)]
mod tests;
mod usage;
mod writer;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};

pub(super) use self::decode::ResponsesDecoder;
use self::writer::ResponseWriter;
use super::prediction::Predicted;
use super::writer::frame_of;
use super::{
    Capabilities, Continuation, Decoder, Dialect, Fault, FaultClass, InvalidRequest, Numbering,
    OpenAiChat, Outline, Release, Rewrite, Unresumable, Writer, capability, fault, request,
};
use crate::error::ErrorKind;
use crate::event::Resume;
use crate::transcript::Transcript;

/// The dialect of OpenAI's Responses API, wherever it is served.
///
/// A turn is a list of items here, so [`message`](Dialect::message) is a JSON array: append its entries to
/// `input`. What the caller is to run is a [`ToolCall`](crate::PartKind::ToolCall): a function's arguments;
/// for a custom tool its input as a JSON string; for the API's own tools that run at the caller's
/// (`local_shell_call` and the like) the whole item, under the name of its type. What the provider runs
/// comes as whole items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a unit struct stays one")]
pub struct OpenAiResponses;

impl Dialect for OpenAiResponses {
    fn name(&self) -> &'static str {
        "openai-responses"
    }

    fn check(&self, request: &Value) -> Result<(), InvalidRequest> {
        let Value::Object(fields) = request else {
            return Err(InvalidRequest::NotAnObject);
        };
        let is_set = |field: &str| fields.get(field).is_some_and(|value| !value.is_null());
        match fields.get("input") {
            Some(Value::String(_) | Value::Array(_)) => {}
            None | Some(Value::Null) => {
                if !["conversation", "previous_response_id", "prompt"]
                    .iter()
                    .any(|field| is_set(field))
                {
                    return Err(InvalidRequest::Missing("input"));
                }
            }
            Some(_) => return Err(InvalidRequest::WrongType("input")),
        }
        request::check_rest(fields)
    }

    fn capabilities(&self, address: &str, model: &str) -> Capabilities {
        capability::openai_responses(address, model)
    }

    fn outline(&self, request: &Value) -> Outline {
        let effort = request.pointer("/reasoning/effort").and_then(Value::as_str);
        Outline {
            model: request::model(request),
            choices: 1,
            reasoning: effort.is_some_and(|effort| effort != "none"),
            stops: Vec::new(),
            max_tokens: request.get("max_output_tokens").and_then(Value::as_u64),
        }
    }

    fn reads(&self, request: &Value) -> usize {
        request::text_bytes(request, [request.get("instructions"), request.get("input")])
    }

    fn decoder(&self, _: &Outline, _: &Capabilities) -> Box<dyn Decoder> {
        Box::new(Predicted::new(ResponsesDecoder::default()))
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

    fn unkept(&self, request: &Value) -> Option<Value> {
        let mut request = request.clone();
        request.as_object_mut()?.remove("background").map(|_| request)
    }

    fn stores(&self, request: &Value) -> bool {
        rewrite::is_stored(request)
    }

    /// What `previous_response_id` names stays as it is; a `conversation` grows
    /// (OpenAI's own schema, in <https://docs.rs/crate/openai-client-base/0.12.0/source/docs/ConversationParam.md>, read in
    /// November 2026).
    fn keeps_conversation(&self, request: &Value) -> bool {
        rewrite::keeps_conversation(request)
    }

    /// A background response goes on, and is billed, until it is canceled
    /// (<https://platform.openai.com/docs/guides/background>, read in November 2026).
    fn release(&self, request: &Value, generation: &str) -> Option<Release> {
        let release = || Release::below(Method::POST, &[generation, "cancel"]);
        rewrite::is_background(request).then(release).flatten()
    }

    fn numbering(&self) -> Option<Numbering> {
        Some(NUMBERING)
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Fault {
        let fault = fault::of_response(status, headers, body);
        match fault.class {
            FaultClass::Invalid if refuses_background(body) => {
                Fault { class: FaultClass::ReplayRefused, ..fault }
            }
            _ => fault,
        }
    }

    /// The items of the turn, as an array.
    fn message(&self, transcript: &Transcript) -> Value {
        Value::Array(history::items(transcript))
    }

    fn writer(&self, request: &Value) -> Box<dyn Writer> {
        Box::new(ResponseWriter::new(request))
    }

    /// The same body as Chat Completions have.
    fn failure(&self, kind: ErrorKind, code: Option<&str>, message: &str) -> Value {
        OpenAiChat.failure(kind, code, message)
    }

    /// The fields stand where the reference has them, and in `error`, where the API puts them and where the
    /// vendor's own clients look for them.
    fn failure_frame(&self, failure: &Value) -> Bytes {
        let error = failure.get("error");
        let field = |name: &str| error.and_then(|error| error.get(name)).cloned();
        let event = json!({
            "type": "error",
            "code": field("code"),
            "message": field("message"),
            "param": field("param"),
            "error": error,
        });
        frame_of("error", &event)
    }

    fn failure_in(&self, said: &[u8]) -> Option<Value> {
        let said: Map<String, Value> = serde_json::from_slice(said).ok()?;
        let own = said.get("error").filter(|error| error.is_object());
        let failed = said.get("response").and_then(|response| response.get("error"));
        let error = own.or(failed.filter(|error| error.is_object())).cloned();
        let is_error = said.get("type").and_then(Value::as_str) == Some("error");
        let flat = || {
            let fields = ["message", "param", "code"];
            let fields = fields.map(|name| (name.to_owned(), said.get(name).cloned().into()));
            Value::Object(Map::from_iter(fields))
        };
        let error = error.or_else(|| is_error.then(flat))?;
        Some(json!({ "error": error }))
    }
}

/// Whether a rejection is about the fields that make a response a background one: its `param` names them
/// (`background`; `store`, which some need for it), or its text does where no other field is named. The vendor
/// has no code for it.
fn refuses_background(body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let field = |name: &str| {
        let error = body.get("error").unwrap_or(&body);
        error.get(name).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase()
    };
    match &*field("param") {
        "background" | "store" => true,
        "" => field("message").contains("background"),
        _ => false,
    }
}

/// <https://platform.openai.com/docs/guides/background>, November 2026.
const NUMBERING: Numbering = Numbering { parameter: "starting_after", field: "sequence_number" };
