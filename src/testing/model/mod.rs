//! A scripted model: a provider that knows one answer.
//!
//! In: a request body. Out: the [`Exchange`] a real provider of that dialect would give, which is
//! the whole answer, or, where the request asks to go on, what its [`Behaviour`] makes of the rest.
//! Pure and deterministic: the same request to the same model gives the same bytes. It must never
//! help a client: it recognises a partial answer only where it is exactly the beginning of its own.

mod answer;
mod anthropic;
mod behaviour;
mod chat;
mod continuation;
mod deltas;
mod flaky;
mod gemini;
mod interactions;
mod responses;
#[cfg(test)]
mod tests;

use http::StatusCode;
use serde_json::Value;

use super::exchange::Exchange;
use super::rng::Rng;

pub use answer::Answer;
pub use behaviour::Behaviour;
pub use deltas::Deltas;
pub use flaky::Flaky;

/// A provider that knows one [`Answer`] and speaks one dialect.
///
/// What a request asks for is read from its `messages`, `input` or `contents`:
///
/// - the last is an assistant turn whose text is the beginning of the answer: go on, by prefill;
/// - the last is a user turn after such an assistant turn: go on, by note. The anchor is the
///   longest end of the partial text, from 8 characters on, that the note contains;
/// - the last is a user turn that quotes the beginning of the answer, from 8 characters on, or
///   any length after another user turn: go on, by note;
/// - anything else: the whole answer.
///
/// Where the partial text has the results of server tools, the answer goes on after them; parts
/// that lie before are not repeated, those that lie after come too.
#[derive(Clone, Debug)]
pub struct Model {
    wire: Wire,
    answer: Answer,
    prefill: Behaviour,
    note: Behaviour,
    deltas: Deltas,
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
enum Wire {
    Anthropic,
    OpenAiChat,
    OpenAiResponses,
    Gemini,
    GeminiInteractions,
}

impl Model {
    /// A model behind the Anthropic Messages API.
    ///
    /// As that API does, it rejects empty text blocks, and a trailing assistant turn that ends in
    /// whitespace or in thinking.
    #[must_use]
    pub fn anthropic(answer: impl Into<Answer>) -> Self {
        Self::new(Wire::Anthropic, answer.into())
    }

    /// A model behind a Chat Completions API. Reasoning goes out as `reasoning_content`.
    #[must_use]
    pub fn openai_chat(answer: impl Into<Answer>) -> Self {
        Self::new(Wire::OpenAiChat, answer.into())
    }

    /// A model behind the Responses API. A server tool is an item `<name>_call`; with `background: true`
    /// it answers as without, and a test plays the replay from the same body.
    #[must_use]
    pub fn openai_responses(answer: impl Into<Answer>) -> Self {
        Self::new(Wire::OpenAiResponses, answer.into())
    }

    /// A model behind Gemini's `streamGenerateContent?alt=sse`. A server tool is a `toolCall` and a
    /// `toolResponse`, each a part.
    ///
    /// As that API does, it rejects fields that it does not know, and turns without parts. The two texts
    /// by which models refuse a trailing turn of their own take turns by the seed.
    #[must_use]
    pub fn gemini(answer: impl Into<Answer>) -> Self {
        Self::new(Wire::Gemini, answer.into())
    }

    /// A model behind Gemini's Interactions API. A server tool is two steps, `<name>_call` and
    /// `<name>_result`. With `background: true` its events have ids, and a test plays the replay from the
    /// same body.
    #[must_use]
    pub fn gemini_interactions(answer: impl Into<Answer>) -> Self {
        Self::new(Wire::GeminiInteractions, answer.into())
    }

    const fn new(wire: Wire, answer: Answer) -> Self {
        Self {
            wire,
            answer,
            prefill: Behaviour::Exact,
            note: Behaviour::Exact,
            deltas: Deltas::Random { max: 8 },
            seed: 0,
        }
    }

    /// What it does when asked to go on, in either way. The default is [`Behaviour::Exact`].
    #[must_use]
    pub const fn behaviour(self, behaviour: Behaviour) -> Self {
        self.on_prefill(behaviour).on_note(behaviour)
    }

    /// What it does when asked to go on by prefill.
    #[must_use]
    pub const fn on_prefill(mut self, behaviour: Behaviour) -> Self {
        self.prefill = behaviour;
        self
    }

    /// What it does when asked to go on by a note.
    #[must_use]
    pub const fn on_note(mut self, behaviour: Behaviour) -> Self {
        self.note = behaviour;
        self
    }

    /// How text and tool arguments are split. The default is 1 to 8 characters, by the seed.
    #[must_use]
    pub fn deltas(mut self, deltas: Deltas) -> Self {
        self.deltas = deltas;
        self
    }

    /// The seed of ids, padding and random splits. The default is 0.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The answer that it knows.
    #[must_use]
    pub const fn answer(&self) -> &Answer {
        &self.answer
    }

    /// The whole answer, as to a request that asks for nothing special: for the length of its
    /// body, for example.
    #[must_use]
    pub fn whole(&self) -> Exchange {
        self.respond(&Value::Null)
    }

    /// What it answers to this request body.
    #[must_use]
    pub fn respond(&self, request: &Value) -> Exchange {
        let objection = match self.wire {
            Wire::Anthropic => anthropic::objection(request).map(str::to_owned),
            Wire::Gemini => gemini::objection(request),
            _ => None,
        };
        if let Some(words) = objection {
            return self.reject(&words);
        }
        let text = self.answer.whole_text();
        let Some(ask) = continuation::read(&self.turns(request), &self.answer, &text) else {
            return self.say(request, &self.answer.blocks, 0);
        };
        let behaviour = if ask.prefill { self.prefill } else { self.note };
        if ask.prefill && behaviour == Behaviour::RefusePrefill {
            return self.reject(match self.wire {
                Wire::Anthropic => anthropic::NO_PREFILL,
                Wire::OpenAiChat | Wire::OpenAiResponses => chat::NO_PREFILL,
                Wire::Gemini | Wire::GeminiInteractions => {
                    gemini::NO_PREFILL[self.seed as usize % 2]
                }
            });
        }
        let blocks = behaviour::compose(&self.answer, &ask, behaviour);
        self.say(request, &blocks, ask.sent.len())
    }

    /// The turns of a request, as the Messages API has them.
    fn turns(&self, request: &Value) -> Vec<Value> {
        let field = |name: &str| request.get(name).filter(|value| !value.is_null());
        match self.wire {
            Wire::Anthropic | Wire::OpenAiChat => {
                field("messages").and_then(Value::as_array).cloned().unwrap_or_default()
            }
            Wire::OpenAiResponses => field("input")
                .map(|input| responses::turns(input, &self.answer))
                .unwrap_or_default(),
            Wire::Gemini => field("contents").map(gemini::turns).unwrap_or_default(),
            Wire::GeminiInteractions => field("input").map(interactions::turns).unwrap_or_default(),
        }
    }

    fn say(&self, request: &Value, blocks: &[answer::Block], after: usize) -> Exchange {
        // Another answer has another id; the same request gets the same bytes.
        let rng = Rng::new(self.seed ^ (after as u64).rotate_left(32));
        Exchange::stream(match self.wire {
            Wire::Anthropic => anthropic::render(self, request, blocks, rng),
            Wire::OpenAiChat => chat::render(self, request, blocks, rng),
            Wire::OpenAiResponses => responses::render(self, request, blocks, rng),
            Wire::Gemini => gemini::render(self, request, blocks, rng),
            Wire::GeminiInteractions => interactions::render(self, request, blocks, rng),
        })
    }

    fn reject(&self, words: &str) -> Exchange {
        match self.wire {
            Wire::Anthropic => anthropic::rejection(StatusCode::BAD_REQUEST, words),
            Wire::OpenAiChat | Wire::OpenAiResponses => {
                chat::rejection(StatusCode::BAD_REQUEST, words)
            }
            Wire::Gemini | Wire::GeminiInteractions => {
                gemini::rejection(StatusCode::BAD_REQUEST, words)
            }
        }
    }
}

/// Input tokens reported where the answer does not say.
const INPUT_TOKENS: u64 = 25;
