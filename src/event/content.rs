//! Pieces of an answer: text, the parts that it belongs to, and what is noted on them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Serialize, Serializer};

/// A piece of generated text: UTF-8, cheap to clone, shared with the buffer it arrived in.
///
/// `Debug` prints its length only, so that no answer reaches a log by accident.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Text(ByteString);

impl Text {
    /// Shares `bytes` if they are UTF-8.
    ///
    /// # Errors
    /// Hands back nothing but the position of the first byte that is not UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, std::str::Utf8Error> {
        ByteString::try_from(bytes).map(Self)
    }

    /// The text as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(ByteString::from(text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(ByteString::from(text))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.len())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

/// A piece of content, or the opening or closing of the part that it belongs to.
///
/// Parts are numbered from 0 in the order of their opening and never reused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "delta", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Delta {
    /// A part begins; content follows.
    Open {
        /// Its number.
        part: u32,
        /// The choice that it belongs to; 0 unless the request asked for several (`n`).
        choice: u32,
        /// What it is.
        kind: PartKind,
    },
    /// More of an open part: text, or for a tool call and the opaque kinds a stretch of JSON.
    Append {
        /// The part.
        part: u32,
        /// What to append.
        text: Text,
    },
    /// Something that belongs to a part without being its text.
    Annotate {
        /// The part.
        part: u32,
        /// What is noted.
        annotation: Annotation,
    },
    /// The part is complete.
    Close {
        /// The part.
        part: u32,
    },
    /// The provider itself ended the answer in the middle of this tool call: its arguments are as
    /// they came and must not be run. Takes the place of `Close`.
    Truncate {
        /// The part.
        part: u32,
    },
    /// The part will never be complete and is not part of the answer: grey it out.
    Abandon {
        /// The part.
        part: u32,
    },
}

impl Delta {
    /// The part that it is about.
    #[must_use]
    pub const fn part(&self) -> u32 {
        match self {
            Self::Open { part, .. }
            | Self::Append { part, .. }
            | Self::Annotate { part, .. }
            | Self::Close { part }
            | Self::Truncate { part }
            | Self::Abandon { part } => *part,
        }
    }
}

/// What a part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PartKind {
    /// The visible answer.
    Text,
    /// Reasoning ("thinking"), as far as the provider shows it.
    Reasoning,
    /// A refusal in a channel of its own (OpenAI's `delta.refusal`).
    Refusal,
    /// A tool call that the caller must run; the content is its arguments as JSON.
    ToolCall {
        /// The provider's id, empty where it gave none.
        id: Arc<str>,
        /// The tool.
        name: Arc<str>,
    },
    /// A call that the provider runs itself; the content is the whole block as JSON.
    ServerCall {
        /// The provider's id, which its result refers to.
        id: Arc<str>,
        /// The tool.
        name: Arc<str>,
    },
    /// The result of a call that the provider ran; the content is the whole block as JSON.
    ServerResult {
        /// Id of the call.
        call: Arc<str>,
    },
    /// Reasoning that the provider shows only encrypted; the content is the whole block as JSON.
    RedactedReasoning,
    /// Any other block, known or not (container files, compaction, …); the content is the
    /// whole block as JSON, to be sent back as it is.
    Opaque {
        /// The provider's name of the block type.
        name: Arc<str>,
    },
}

/// Something that belongs to a part without being its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "annotation", content = "value", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Annotation {
    /// The provider's signature over a reasoning part.
    Signature(Text),
    /// A citation, as the provider's JSON.
    Citation(Text),
}
