//! The wire formats that every scenario is run in, and what each of them cannot run.
//!
//! In: a format. Out: a provider of it, what it is asked and by which address, how it complains, and why
//! a scenario is left out. A scenario that is left out says so in the output of the test.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write as _;
use std::sync::Mutex;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use unbroken::Upstream;
use unbroken::dialect::{
    Anthropic, Dialect, Gemini, GeminiInteractions, OpenAiChat, OpenAiResponses,
};
use unbroken::testing::{
    ANTHROPIC_PING, Answer, COMMENT_PING, Deltas, Exchange, Model, anthropic_error, gemini_error,
    gemini_interactions_error, openai_error,
};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Wire {
    Anthropic,
    OpenAiChat,
    OpenAiResponses,
    Gemini,
    GeminiInteractions,
}

/// What not every format can run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Scenario {
    /// An answer is gone on with by a trailing turn of the model.
    Prefill,
    /// The provider runs tools of its own.
    ServerTool,
    /// The provider replays its own stream.
    Cursor,
    /// Something follows the frame that proves the end.
    LostEnd,
    /// The provider says in words of its own that a step lacks money.
    NamedBilling,
    /// A call comes in pieces.
    CallInPieces,
    /// A filter ends an answer, and the provider has a word for it.
    FilteredEnd,
}

/// Why a format does not run a scenario.
const SKIPS: [(Wire, Scenario, &str); 11] = [
    (Wire::OpenAiChat, Scenario::ServerTool, "the format has no such block"),
    (Wire::OpenAiResponses, Scenario::Prefill, "the API does not continue an item"),
    (Wire::GeminiInteractions, Scenario::Prefill, "the API does not continue a step"),
    (Wire::Anthropic, Scenario::Cursor, "the API has no replay"),
    (Wire::OpenAiChat, Scenario::Cursor, "the API has no replay"),
    (Wire::Gemini, Scenario::Cursor, "the API has no replay"),
    (Wire::OpenAiResponses, Scenario::LostEnd, "its last event is the proof"),
    (Wire::Gemini, Scenario::LostEnd, "the end of the stream is part of the proof"),
    (Wire::Gemini, Scenario::NamedBilling, "its errors have no word for it"),
    (Wire::Gemini, Scenario::CallInPieces, "calls come whole"),
    (Wire::GeminiInteractions, Scenario::FilteredEnd, "no word for it is known"),
];

/// The key that every upstream of [`Wire::upstream`] has.
pub(crate) const KEY: &str = "sk-test-0815";

const GOOGLE_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

impl Wire {
    pub(crate) const ALL: [Self; 5] = [
        Self::Anthropic,
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::Gemini,
        Self::GeminiInteractions,
    ];

    pub(crate) fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::Anthropic => &Anthropic,
            Self::OpenAiChat => &OpenAiChat,
            Self::OpenAiResponses => &OpenAiResponses,
            Self::Gemini => &Gemini,
            Self::GeminiInteractions => &GeminiInteractions,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.dialect().name()
    }

    /// Whether it can run `scenario`; if not, the output says why.
    pub(crate) fn runs(self, scenario: Scenario) -> bool {
        match self.lacks(scenario) {
            Some(why) => {
                skipped(self, &scenario, why);
                false
            }
            None => true,
        }
    }

    /// Why it cannot run `scenario`, if it cannot.
    pub(crate) fn lacks(self, scenario: Scenario) -> Option<&'static str> {
        let skip = SKIPS.iter().find(|(wire, what, _)| (*wire, *what) == (self, scenario));
        skip.map(|(_, _, why)| *why)
    }

    /// A model that goes on exactly where it is asked to.
    pub(crate) fn says(self, answer: impl Into<Answer>, deltas: Deltas) -> Model {
        let model = match self {
            Self::Anthropic => Model::anthropic(answer),
            Self::OpenAiChat => Model::openai_chat(answer),
            Self::OpenAiResponses => Model::openai_responses(answer),
            Self::Gemini => Model::gemini(answer),
            Self::GeminiInteractions => Model::gemini_interactions(answer),
        };
        model.deltas(deltas)
    }

    /// Where `model` is asked at `base`, which is scheme and authority.
    pub(crate) fn address(self, base: &str, model: &str) -> String {
        match self {
            Self::Anthropic => format!("{base}/v1/messages"),
            Self::OpenAiChat => format!("{base}/v1/chat/completions"),
            Self::OpenAiResponses => format!("{base}/v1/responses"),
            Self::Gemini => format!("{base}/v1beta/models/{model}:streamGenerateContent?alt=sse"),
            Self::GeminiInteractions => format!("{base}/v1beta/interactions"),
        }
    }

    /// The same as an upstream, without a key.
    pub(crate) fn at(self, name: &str, base: &str, model: &str) -> Upstream {
        self.at_address(name, &self.address(base, model))
    }

    /// An upstream of this format at `address`.
    pub(crate) fn at_address(self, name: &str, address: &str) -> Upstream {
        let uri = address.parse().expect("an address");
        match self {
            Self::Anthropic => Upstream::new(name, Anthropic, uri),
            Self::OpenAiChat => Upstream::new(name, OpenAiChat, uri),
            Self::OpenAiResponses => Upstream::new(name, OpenAiResponses, uri),
            Self::Gemini => Upstream::new(name, Gemini, uri),
            Self::GeminiInteractions => Upstream::new(name, GeminiInteractions, uri),
        }
    }

    /// The model that is asked by default: the formats that continue a trailing turn, but for Chat, have one
    /// that does.
    pub(crate) const fn usual(self) -> &'static str {
        match self {
            Self::Anthropic => "claude-haiku-4-5",
            Self::OpenAiChat => "some-model",
            Self::OpenAiResponses => "gpt-4o",
            Self::Gemini | Self::GeminiInteractions => "gemini-2.5-flash",
        }
    }

    /// That model at `base`, with the key.
    pub(crate) fn upstream(self, name: &str, base: &str) -> Upstream {
        self.keyed(self.at(name, base, self.usual()), KEY)
    }

    /// `upstream` with `key`, where it belongs.
    pub(crate) fn keyed(self, upstream: Upstream, key: &'static str) -> Upstream {
        match self {
            Self::Anthropic => upstream.api_key(key).expect("a key is a header"),
            Self::OpenAiChat | Self::OpenAiResponses => {
                upstream.bearer(key).expect("a key is a header")
            }
            Self::Gemini | Self::GeminiInteractions => {
                let mut value = HeaderValue::from_static(key);
                value.set_sensitive(true);
                upstream.header(GOOGLE_KEY, value)
            }
        }
    }

    /// The header that the key goes in, and its value.
    pub(crate) fn key(self) -> (&'static str, String) {
        match self {
            Self::Anthropic => ("x-api-key", KEY.to_owned()),
            Self::Gemini | Self::GeminiInteractions => ("x-goog-api-key", KEY.to_owned()),
            Self::OpenAiChat | Self::OpenAiResponses => ("authorization", format!("Bearer {KEY}")),
        }
    }

    /// What `model` is asked.
    pub(crate) fn asks(self, model: &str, words: &str) -> Value {
        match self {
            Self::Anthropic | Self::OpenAiChat => json!({
                "model": model,
                "max_tokens": 9000,
                "messages": [{"role": "user", "content": words}],
            }),
            Self::OpenAiResponses => {
                json!({ "model": model, "max_output_tokens": 9000, "input": words })
            }
            Self::Gemini => json!({
                "contents": [{ "role": "user", "parts": [{ "text": words }] }],
                "generationConfig": { "maxOutputTokens": 9000 },
            }),
            Self::GeminiInteractions => json!({
                "model": model,
                "input": words,
                "generation_config": { "max_output_tokens": 9000 },
            }),
        }
    }

    /// The same, the model being the usual one.
    pub(crate) fn request(self) -> Value {
        self.asks(self.usual(), "Tell me.")
    }

    /// The request with reasoning on.
    pub(crate) fn reasoning(self, mut request: Value) -> Value {
        match self {
            Self::Anthropic => {
                request["thinking"] = json!({"type": "enabled", "budget_tokens": 2000});
            }
            Self::OpenAiChat => request["reasoning_effort"] = json!("high"),
            Self::OpenAiResponses => {
                request["reasoning"] = json!({ "effort": "high" });
                request["include"] = json!(["reasoning.encrypted_content"]);
            }
            Self::Gemini => {
                let thinking = json!({ "thinkingBudget": 2000, "includeThoughts": true });
                request["generationConfig"]["thinkingConfig"] = thinking;
            }
            Self::GeminiInteractions => {
                request["generation_config"]["thinking_level"] = json!("high");
            }
        }
        request
    }

    /// What it keeps a silent stream alive with; where it has nothing, what a gateway before it has.
    pub(crate) const fn ping(self) -> &'static str {
        match self {
            Self::Anthropic => ANTHROPIC_PING,
            _ => COMMENT_PING,
        }
    }

    /// A rejection in its own shape; `kind` is Anthropic's word for it.
    pub(crate) fn rejects(self, status: u16, kind: &str, message: &str) -> Exchange {
        let status = StatusCode::from_u16(status).expect("a status");
        let word = match kind {
            "api_error" => "INTERNAL",
            "authentication_error" => "UNAUTHENTICATED",
            "billing_error" => "FAILED_PRECONDITION",
            "not_found_error" => "NOT_FOUND",
            "overloaded_error" => "UNAVAILABLE",
            "permission_error" => "PERMISSION_DENIED",
            "rate_limit_error" => "RESOURCE_EXHAUSTED",
            _ => "INVALID_ARGUMENT",
        };
        let error = match self {
            Self::Anthropic => {
                json!({"type": "error", "error": {"type": kind, "message": message}})
            }
            Self::OpenAiChat | Self::OpenAiResponses => {
                json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
            }
            Self::Gemini | Self::GeminiInteractions => {
                json!({"error": {"code": status.as_u16(), "message": message, "status": word}})
            }
        };
        Exchange::json(status, &error)
    }

    /// The same request with `words` as its question, and, where the format has them, as instructions and
    /// stop sequences.
    pub(crate) fn asks_all(self, words: &str) -> Value {
        let mut request = self.asks(self.usual(), words);
        match self {
            Self::Anthropic | Self::OpenAiChat => {
                request["system"] = json!(words);
                request["stop_sequences"] = json!([words]);
                request["stop"] = json!([words]);
            }
            Self::OpenAiResponses => request["instructions"] = json!(words),
            Self::Gemini => {
                request["systemInstruction"] = json!({ "parts": [{ "text": words }] });
                request["generationConfig"]["stopSequences"] = json!([words]);
            }
            Self::GeminiInteractions => {
                request["system_instruction"] = json!(words);
                request["generation_config"]["stop_sequences"] = json!([words]);
            }
        }
        request
    }

    /// The field that holds the conversation.
    pub(crate) const fn conversation(self) -> &'static str {
        match self {
            Self::Anthropic | Self::OpenAiChat => "messages",
            Self::OpenAiResponses | Self::GeminiInteractions => "input",
            Self::Gemini => "contents",
        }
    }

    /// An error inside a stream, `code` being Anthropic's or OpenAI's word for it.
    pub(crate) fn error(self, code: &str) -> Bytes {
        let words = "Something.";
        match self {
            Self::Anthropic => anthropic_error(code, words),
            Self::OpenAiChat | Self::OpenAiResponses => openai_error(code, words),
            Self::GeminiInteractions => gemini_interactions_error(code, words),
            Self::Gemini => match code {
                "overloaded_error" => gemini_error(503, "UNAVAILABLE", "The model is overloaded."),
                "rate_limit_error" => gemini_error(429, "RESOURCE_EXHAUSTED", "Too fast."),
                "timeout_error" => gemini_error(504, "DEADLINE_EXCEEDED", words),
                "api_error" | "server_error" => gemini_error(500, "INTERNAL", words),
                "authentication_error" => gemini_error(401, "UNAUTHENTICATED", words),
                "insufficient_quota" => gemini_error(
                    429,
                    "RESOURCE_EXHAUSTED",
                    "You exceeded your current quota, please check your plan and billing details.",
                ),
                // No error, but the only word for it that there is.
                "content_policy_violation" => {
                    "data: {\"promptFeedback\": {\"blockReason\": \"SAFETY\"}}\r\n\r\n".into()
                }
                other => gemini_error(0, other, words),
            },
        }
    }
}

/// Says once that `wire` does not run `scenario`.
pub(crate) fn skipped(wire: Wire, scenario: &dyn fmt::Debug, why: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let note = format!("skipped: {}: {scenario:?}: {why}\n", wire.name());
    if SAID.lock().expect("no panic").insert(note.clone()) {
        // Not `eprintln!`, which the harness keeps to itself when a test passes.
        std::io::stderr().write_all(note.as_bytes()).expect("standard error is open");
    }
}
