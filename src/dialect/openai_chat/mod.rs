//! OpenAI Chat Completions, and the servers that speak it.
//!
//! In: events of `POST /v1/chat/completions` with `stream: true`, or such a request. Out: signals,
//! or the request that continues it. Facts: `types/chat/chat_completion_chunk.py` of openai-python,
//! the sources of vLLM, SGLang and llama.cpp, and recorded streams, read in November 2026.

mod calls;
mod choice;
mod decode;
mod frame;
mod rewrite;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

pub(super) use self::decode::ChatDecoder;
use self::writer::ChunkWriter;
use super::prediction::Predicted;
use super::writer::frame_of;
use super::{
    Capabilities, Continuation, Decoder, Dialect, Fault, InvalidRequest, Outline, Release, Rewrite,
    Unresumable, Writer, capability, conversation, fault, request, translate,
};
use crate::error::ErrorKind;
use crate::event::{FinishReason, Resume};
use crate::transcript::Transcript;

/// The dialect of OpenAI's Chat Completions API, wherever it is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a unit struct stays one")]
pub struct OpenAiChat;

impl Dialect for OpenAiChat {
    fn name(&self) -> &'static str {
        "openai-chat"
    }

    fn check(&self, request: &Value) -> Result<(), InvalidRequest> {
        request::check(request)
    }

    fn capabilities(&self, address: &str, model: &str) -> Capabilities {
        capability::openai_chat(address, model)
    }

    fn kept_as(&self, id: &str) -> Option<(HeaderName, HeaderValue)> {
        conversation::kept_as(id)
    }

    fn outline(&self, request: &Value) -> Outline {
        let number = |key: &str| request.get(key).and_then(Value::as_u64);
        let choices = number("n").and_then(|n| u32::try_from(n).ok());
        Outline {
            model: request::model(request),
            choices: choices.unwrap_or(1).max(1),
            reasoning: reasons(request),
            stops: request::strings(request.get("stop")),
            max_tokens: number("max_completion_tokens").or_else(|| number("max_tokens")),
        }
    }

    fn reads(&self, request: &Value) -> usize {
        request::text_bytes(request, [request.get("messages")])
    }

    fn decoder(&self, outline: &Outline, capabilities: &Capabilities) -> Box<dyn Decoder> {
        Box::new(Predicted::new(ChatDecoder::new(outline, capabilities)))
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
        rewrite::message(transcript)
    }

    fn call_id(&self, id: &str) -> Arc<str> {
        translate::legal_chat_id(id).into()
    }

    fn writer(&self, request: &Value) -> Box<dyn Writer> {
        Box::new(ChunkWriter::new(request))
    }

    /// The types are those that openai-python 3.57.0 knows and servers send, November 2026.
    fn failure(&self, kind: ErrorKind, code: Option<&str>, message: &str) -> Value {
        let word = match kind {
            ErrorKind::InvalidRequest
            | ErrorKind::ContextLength
            | ErrorKind::Policy
            | ErrorKind::UnknownModel => "invalid_request_error",
            ErrorKind::Authentication => "authentication_error",
            ErrorKind::Billing => "insufficient_quota",
            ErrorKind::RateLimited => "rate_limit_error",
            ErrorKind::Stalled | ErrorKind::NoProgress | ErrorKind::Deadline => "timeout_error",
            _ => "server_error",
        };
        let error = json!({ "message": message, "type": word, "param": null, "code": code });
        json!({ "error": error })
    }

    fn failure_frame(&self, failure: &Value) -> Bytes {
        frame_of("message", failure)
    }

    /// Whatever else the chunk had: a choice in it would be read as content.
    fn failure_in(&self, said: &[u8]) -> Option<Value> {
        let said: Value = serde_json::from_slice(said).ok()?;
        let error = said.get("error").filter(|error| error.is_object() || error.is_string())?;
        Some(json!({ "error": error }))
    }
}

/// Whether the request turns reasoning on, by any of the names that servers have for it.
fn reasons(request: &Value) -> bool {
    let is_on =
        |effort: Option<&Value>| effort.and_then(Value::as_str).is_some_and(|e| e != "none");
    let is_true = |value: Option<&Value>| value.and_then(Value::as_bool) == Some(true);
    let template = request.get("chat_template_kwargs");
    let reasoning = request.get("reasoning");
    let reasoning_on = match reasoning.and_then(|reasoning| reasoning.get("enabled")) {
        Some(enabled) => is_true(Some(enabled)),
        None => reasoning.is_some_and(|reasoning| {
            is_on(reasoning.get("effort")) || reasoning.get("max_tokens").is_some()
        }),
    };
    // OpenAI and Groq; OpenRouter; Z.ai and DeepSeek; Alibaba; vLLM and SGLang.
    is_on(request.get("reasoning_effort"))
        || reasoning_on
        || request::thinks(request.get("thinking"))
        || is_true(request.get("enable_thinking"))
        || is_true(template.and_then(|template| template.get("enable_thinking")))
        || is_true(template.and_then(|template| template.get("thinking")))
}

fn reason_of(word: &str) -> FinishReason {
    match word {
        "stop" | "eos" | "eos_token" | "end_turn" => FinishReason::Stop,
        "length" | "max_tokens" => FinishReason::Length,
        "tool_calls" | "function_call" | "tool_use" => FinishReason::ToolUse,
        "content_filter" => FinishReason::ContentFilter,
        "stop_sequence" => FinishReason::StopSequence,
        "refusal" => FinishReason::Refusal,
        // Mistral: the model's context, not `max_tokens`.
        "model_length" => FinishReason::ContextWindow,
        other => FinishReason::Other(Arc::from(other)),
    }
}

/// What the address of its requests ends in.
const OWN: &str = "chat/completions";
