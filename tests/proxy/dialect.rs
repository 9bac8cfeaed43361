//! The wire formats, as a client has them.

use super::*;

use bytes::Bytes;
use unbroken::testing::{Deltas, Model, anthropic_error, openai_error};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialect {
    Anthropic,
    Chat,
    Responses,
    Gemini,
}

pub(crate) const DIALECTS: [Dialect; 4] =
    [Dialect::Anthropic, Dialect::Chat, Dialect::Responses, Dialect::Gemini];

/// The model that is asked for where nothing else is said.
pub(crate) const MODEL: &str = "claude-haiku-4-5";

impl Dialect {
    /// Where a stream of `model` is asked for, or its answer in one piece.
    pub(crate) fn path_of(self, model: &str, stream: bool) -> String {
        match (self, stream) {
            (Self::Anthropic, _) => "/v1/messages".to_owned(),
            (Self::Chat, _) => "/v1/chat/completions".to_owned(),
            (Self::Responses, _) => "/v1/responses".to_owned(),
            (Self::Gemini, true) => {
                format!("/v1beta/models/{model}:streamGenerateContent?alt=sse")
            }
            (Self::Gemini, false) => format!("/v1beta/models/{model}:generateContent"),
        }
    }

    /// Where a stream is asked for.
    pub(crate) fn path(self) -> String {
        self.path_of(MODEL, true)
    }

    /// The same with more in its query.
    pub(crate) fn path_with(self, query: &str) -> String {
        let path = self.path();
        let sign = if path.contains('?') { '&' } else { '?' };
        format!("{path}{sign}{query}")
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Chat => "openai-chat",
            Self::Responses => "openai-responses",
            Self::Gemini => "gemini",
        }
    }

    pub(crate) fn model(self, answer: impl Into<Answer>) -> Model {
        let model = match self {
            Self::Anthropic => Model::anthropic(answer),
            Self::Chat => Model::openai_chat(answer),
            Self::Responses => Model::openai_responses(answer),
            Self::Gemini => Model::gemini(answer),
        };
        model.deltas(Deltas::Chars(6))
    }

    /// A request for a stream.
    pub(crate) fn stream(self) -> Sent {
        self.ask(&json!({"stream": true}))
    }

    /// A request with `more` fields.
    pub(crate) fn ask(self, more: &Value) -> Sent {
        let model = more["model"].as_str().unwrap_or(MODEL);
        let path = self.path_of(model, more["stream"] == true);
        Sent::post(&path, self.request(more).to_string())
    }

    /// What is sent for it.
    pub(crate) fn request(self, more: &Value) -> Value {
        let turn = json!({"role": "user", "content": "Tell me."});
        let mut body = match self {
            Self::Anthropic | Self::Chat => {
                json!({"model": MODEL, "max_tokens": 9000, "messages": [turn]})
            }
            Self::Responses => json!({"model": MODEL, "max_output_tokens": 9000, "input": [turn]}),
            Self::Gemini => json!({
                "contents": [{"role": "user", "parts": [{"text": "Tell me."}]}],
                "generationConfig": {"maxOutputTokens": 9000},
            }),
        };
        for (name, value) in more.as_object().unwrap() {
            match (self, name.as_str()) {
                (Self::Gemini, "model" | "stream") => {}
                (Self::Gemini, "n") => body["generationConfig"]["candidateCount"] = value.clone(),
                _ => body[name] = value.clone(),
            }
        }
        body
    }

    /// The text of a stream, and whether it is whole.
    pub(crate) fn text(self, body: &[u8]) -> (String, bool) {
        let (mut text, mut whole) = (String::new(), false);
        for data in frames(body) {
            let frame: Value = match serde_json::from_str(&data) {
                Ok(frame) => frame,
                Err(_) if data == "[DONE]" => continue,
                Err(error) => panic!("{error}: {data}"),
            };
            let (delta, end) = match self {
                Self::Anthropic => (&frame["delta"]["text"], frame["type"] == "message_stop"),
                Self::Chat => {
                    let choice = &frame["choices"][0];
                    (&choice["delta"]["content"], choice["finish_reason"].is_string())
                }
                Self::Responses => {
                    let says = frame["type"] == "response.output_text.delta";
                    let delta = if says { &frame["delta"] } else { &Value::Null };
                    (delta, frame["type"] == "response.completed")
                }
                Self::Gemini => {
                    let candidate = &frame["candidates"][0];
                    let part = &candidate["content"]["parts"][0]["text"];
                    (part, candidate["finishReason"].is_string())
                }
            };
            text.push_str(delta.as_str().unwrap_or_default());
            whole |= end;
        }
        (text, whole)
    }

    /// The type of the error object in `body`; panics if it is not of this dialect.
    pub(crate) fn error(self, body: &[u8]) -> String {
        let error: Value = serde_json::from_slice(body).expect("an error is JSON");
        assert!(error["error"]["message"].is_string(), "{error}");
        if self == Self::Gemini {
            assert!(error["error"]["code"].is_u64(), "{error}");
            return error["error"]["status"].as_str().unwrap().to_owned();
        }
        // In a stream the error of a response is an event of its own.
        let event = self == Self::Responses && error.get("code").is_some();
        assert_eq!(error["type"] == "error", self == Self::Anthropic || event, "{error}");
        error["error"]["type"].as_str().unwrap().to_owned()
    }

    /// The type of an error of the request.
    pub(crate) const fn invalid(self) -> &'static str {
        match self {
            Self::Gemini => "INVALID_ARGUMENT",
            _ => "invalid_request_error",
        }
    }

    /// An error of the request with these words, in a stream.
    pub(crate) fn invalid_frame(self, words: &str) -> Bytes {
        match self {
            Self::Anthropic => anthropic_error(self.invalid(), words),
            Self::Chat => openai_error(self.invalid(), words),
            Self::Responses => {
                let error = json!({"type": self.invalid(), "message": words, "code": null});
                let event = json!({"type": "error", "sequence_number": 2, "error": error});
                format!("event: error\ndata: {event}\n\n").into()
            }
            Self::Gemini => {
                let error = json!({"code": 400, "message": words, "status": self.invalid()});
                format!("data: {}\r\n\r\n", json!({"error": error})).into()
            }
        }
    }

    /// The header that a key goes in, and `key` in it.
    pub(crate) fn key(self, key: &str) -> (&'static str, String) {
        match self {
            Self::Anthropic => ("x-api-key", key.to_owned()),
            Self::Chat | Self::Responses => ("authorization", format!("Bearer {key}")),
            Self::Gemini => ("x-goog-api-key", key.to_owned()),
        }
    }
}
