//! One vendor's request ↔ another's.
//!
//! In: a caller's request in one dialect. Out: the same request in another, or the name of the field that
//! the other has no words for. It must never drop what could change the answer, nor repair what is no JSON.
//!
//! There is one translation, between Anthropic Messages and OpenAI Chat Completions, in both directions.
//!
//! | | Anthropic | Chat Completions |
//! |---|---|---|
//! | system prompt | `system`, a string or text blocks | leading `system` or `developer` messages |
//! | text | a string or text blocks | a string or text parts |
//! | images | `image` with a `base64` or `url` source | `image_url`, a data URI or an address |
//! | tools | `tools` with `input_schema` | `tools` of type `function` |
//! | which tool | `tool_choice`: `auto`, `any`, `tool`, `none` | `auto`, `required`, a function, `none` |
//! | one call at a time | `tool_choice.disable_parallel_tool_use` | `parallel_tool_calls` |
//! | calls | `tool_use` blocks, `input` an object | `tool_calls`, `arguments` a JSON text |
//! | results | `tool_result` blocks, first in the next user turn | `tool` messages |
//! | token limit | `max_tokens`, which has to be there | `max_completion_tokens`, `max_tokens` |
//! | the rest | `stop_sequences`, `temperature`, `top_p`, `metadata.user_id` | `stop`, `temperature`, `top_p`, `user` |
//!
//! Left out, because it says how an answer is delivered, billed, cached or counted, and not what it is:
//! `cache_control`, a tool's `eager_input_streaming`, `stream_options`, `service_tier`, `store`, Chat Completions' `metadata`,
//! `prompt_cache_key`, `prompt_cache_retention`, `safety_identifier`, `seed` (which promises nothing), an
//! image's `detail`, a result's `is_error` (its text says what went wrong), citations and annotations on
//! text. Reasoning of earlier turns is left out as well: only the provider that signed it can read it. So
//! is what only says what holds anyway, such as `n: 1` or thinking that is `disabled`.
//!
//! All else that is set has no translation, known or not; neither have a conversation that ends in an
//! assistant turn (one side goes on with it, the other answers it), one that does not begin with the user,
//! and system prompts in mid-conversation.
//!
//! Facts: `types/message_create_params.py`, `types/tool_param.py` and the block types of anthropic-sdk-python;
//! `types/chat/completion_create_params.py` and the message types of openai-python; all read in November
//! 2026.

mod chat;
mod fields;
mod messages;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::sync::Arc;

use serde_json::Value;

pub(super) use self::chat::legal_id as legal_chat_id;
pub(super) use self::messages::legal_id as legal_anthropic_id;

/// From a request of one dialect to the same of another, for an upstream on a host.
pub(crate) type Translation = fn(&Value, &str) -> Result<Value, Untranslatable>;

/// The translation of requests of the dialect `from` into `to`, by their names, if there is one.
pub(crate) fn between(from: &str, to: &str) -> Option<Translation> {
    match (from, to) {
        ("anthropic", "openai-chat") => Some(chat::from_anthropic),
        ("openai-chat", "anthropic") => Some(messages::from_chat),
        _ => None,
    }
}

/// A request cannot be said in the dialect of an upstream, which is passed over for it.
///
/// It names the field that stands in the way, with the path to it (`messages.3.content.0.source`), and shows
/// nothing of what the field holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's `{field}` cannot be translated into the upstream's dialect")]
#[non_exhaustive]
pub struct Untranslatable {
    /// The path of the field.
    pub field: Arc<str>,
}

impl Untranslatable {
    /// `field` stands in the way.
    #[must_use]
    pub fn new(field: impl Into<Arc<str>>) -> Self {
        Self { field: field.into() }
    }

    /// The same field, seen from outside of `outer`.
    fn within(self, outer: impl Display) -> Self {
        Self::new(format!("{outer}.{}", self.field))
    }
}
