//! The JSON of interaction events, as far as it is read.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::super::wire::{Count, Text, Word};

/// One event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Frame<'a> {
    #[serde(borrow)]
    pub(super) event_type: Word<'a>,
    #[serde(borrow)]
    pub(super) event_id: Word<'a>,
    pub(super) index: Option<u64>,
    #[serde(borrow)]
    pub(super) interaction: Option<Interaction<'a>>,
    #[serde(borrow)]
    pub(super) status: Word<'a>,
    /// The step that begins; `content` where the API still speaks of contents.
    #[serde(borrow)]
    pub(super) step: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) delta: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

/// `interaction`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Interaction<'a> {
    #[serde(borrow)]
    pub(super) id: Word<'a>,
    #[serde(borrow)]
    pub(super) model: Word<'a>,
    #[serde(borrow)]
    pub(super) status: Word<'a>,
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'a RawValue>,
}

/// `step`, and the `delta` of one: what is read of both.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Piece<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Word<'a>,
    #[serde(borrow)]
    pub(super) text: Text<'a>,
    #[serde(borrow)]
    pub(super) id: Word<'a>,
    #[serde(borrow)]
    pub(super) call_id: Word<'a>,
    #[serde(borrow)]
    pub(super) name: Word<'a>,
    #[serde(borrow)]
    pub(super) signature: Word<'a>,
    #[serde(borrow)]
    pub(super) arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) annotations: Option<Vec<&'a RawValue>>,
}

/// What a thought says, or an item of a list of contents.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Content<'a> {
    #[serde(borrow)]
    pub(super) text: Text<'a>,
}

/// `metadata` of any event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
}

/// `usage`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    pub(super) total_input_tokens: Count,
    pub(super) total_cached_tokens: Count,
    pub(super) total_output_tokens: Count,
    pub(super) total_tool_use_tokens: Count,
    pub(super) total_thought_tokens: Count,
}
