//! The JSON of `GenerateContentResponse`, as far as it is read.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::wire::{Count, Few, Text, Word};
use crate::event::PartKind;

/// One event.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Frame<'a> {
    #[serde(borrow)]
    pub(super) response_id: Word<'a>,
    #[serde(borrow)]
    pub(super) model_version: Word<'a>,
    #[serde(borrow)]
    pub(super) candidates: Option<Few<Candidate<'a>>>,
    #[serde(borrow)]
    pub(super) prompt_feedback: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) usage_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

/// `candidates[]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    pub(super) index: Option<u32>,
    #[serde(borrow)]
    pub(super) content: Option<Content<'a>>,
    #[serde(borrow)]
    pub(super) finish_reason: Word<'a>,
    #[serde(borrow)]
    pub(super) citation_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) grounding_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) url_context_metadata: Option<&'a RawValue>,
}

impl<'a> Candidate<'a> {
    /// What it says about its sources, each by its own name.
    pub(super) fn sources(&self) -> impl Iterator<Item = (&'static str, &'a str)> + use<'a> {
        [
            ("citationMetadata", self.citation_metadata),
            ("groundingMetadata", self.grounding_metadata),
            ("urlContextMetadata", self.url_context_metadata),
        ]
        .into_iter()
        .filter_map(|(name, raw)| Some((name, raw?.get())))
    }
}

/// `candidates[].content`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Content<'a> {
    #[serde(borrow)]
    pub(super) parts: Option<Few<&'a RawValue>>,
}

/// `candidates[].content.parts[]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Part<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow)]
    thought: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) thought_signature: Word<'a>,
    #[serde(borrow)]
    pub(super) function_call: Option<FunctionCall<'a>>,
}

impl Part<'_> {
    pub(super) fn is_thought(&self) -> bool {
        self.thought.is_some_and(|raw| raw.get() == "true")
    }
}

/// What a part is that holds none of the above. The results of older models have no ids.
pub(super) fn kind_of(part: &str) -> Option<PartKind> {
    let fields: Map<String, Value> = serde_json::from_str(part).ok()?;
    let mut held = fields.iter().filter(|(name, _)| !ASIDES.contains(&name.as_str()));
    let (name, content) = held.next()?;
    let id = || content.get("id").and_then(Value::as_str).unwrap_or_default().into();
    Some(match name.as_str() {
        "executableCode" | "toolCall" => {
            PartKind::ServerCall { id: id(), name: name.as_str().into() }
        }
        "codeExecutionResult" | "toolResponse" => PartKind::ServerResult { call: id() },
        other => PartKind::Opaque { name: other.into() },
    })
}

/// Fields of a part beside what it holds.
const ASIDES: [&str; 5] =
    ["thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata"];

/// `functionCall`, whole or a piece of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct FunctionCall<'a> {
    #[serde(borrow)]
    pub(super) id: Word<'a>,
    #[serde(borrow)]
    pub(super) name: Word<'a>,
    #[serde(borrow)]
    pub(super) args: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) partial_args: Option<Vec<PartialArg<'a>>>,
    #[serde(borrow)]
    will_continue: Option<&'a RawValue>,
}

impl FunctionCall<'_> {
    /// Whether more of it comes.
    pub(super) fn continues(&self) -> bool {
        self.will_continue.is_some_and(|raw| raw.get() == "true")
    }

    /// Whether it says nothing: the end of a call that came in pieces.
    pub(super) const fn is_empty(&self) -> bool {
        self.args.is_none() && self.partial_args.is_none()
    }
}

/// `functionCall.partialArgs[]`: a value, or more of a string, at a JSON path.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PartialArg<'a> {
    #[serde(borrow)]
    pub(super) json_path: Word<'a>,
    #[serde(borrow)]
    string_value: Option<Cow<'a, str>>,
    number_value: Option<serde_json::Number>,
    bool_value: Option<bool>,
    #[serde(borrow)]
    will_continue: Option<&'a RawValue>,
}

impl PartialArg<'_> {
    /// The value; null where it has no other.
    pub(super) fn value(&self) -> Value {
        let text = self.string_value.as_deref().map(Value::from);
        let number = self.number_value.clone().map(Value::Number);
        text.or(number).or(self.bool_value.map(Value::Bool)).unwrap_or_default()
    }

    /// Whether more of the same string comes.
    pub(super) fn continues(&self) -> bool {
        self.will_continue.is_some_and(|raw| raw.get() == "true")
    }
}

/// `promptFeedback`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PromptFeedback<'a> {
    #[serde(borrow)]
    pub(super) block_reason: Word<'a>,
}

/// `usageMetadata`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct UsageMetadata {
    pub(super) prompt_token_count: Count,
    pub(super) tool_use_prompt_token_count: Count,
    pub(super) cached_content_token_count: Count,
    pub(super) candidates_token_count: Count,
    pub(super) thoughts_token_count: Count,
    // Not read. Known by name they are passed over without an allocation, which an unknown list of
    // objects takes, in every frame.
    #[serde(rename = "promptTokensDetails")]
    _prompt: Count,
    #[serde(rename = "candidatesTokensDetails")]
    _candidates: Count,
    #[serde(rename = "cacheTokensDetails")]
    _cache: Count,
    #[serde(rename = "toolUsePromptTokensDetails")]
    _tools: Count,
}
