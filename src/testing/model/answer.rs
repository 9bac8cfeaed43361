//! The one answer a scripted model knows.

use serde_json::Value;

/// A whole answer: its parts in order, why it ends, and what it cost.
///
/// `Debug` shows the number of parts, never content.
#[derive(Clone, Default, PartialEq)]
pub struct Answer {
    pub(super) blocks: Vec<Block>,
    pub(super) finish: Option<String>,
    pub(super) input_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
}

/// One part.
#[derive(Clone, PartialEq)]
pub(super) enum Block {
    Text(String),
    Reasoning { text: String, signature: String },
    ToolCall { id: String, name: String, arguments: String },
    Server { id: String, name: String, input: Value, result: Value },
}

impl Answer {
    /// An answer without parts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text part.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.block(Block::Text(text.into()))
    }

    /// Adds a reasoning part. The signature is sent by Anthropic and Gemini, and by Responses as the
    /// encrypted content.
    #[must_use]
    pub fn reasoning(self, text: impl Into<String>, signature: impl Into<String>) -> Self {
        self.block(Block::Reasoning { text: text.into(), signature: signature.into() })
    }

    /// Adds a call that the caller must run.
    #[must_use]
    pub fn tool_call(
        self,
        id: impl Into<String>,
        name: impl Into<String>,
        arguments: &Value,
    ) -> Self {
        self.block(Block::ToolCall {
            id: id.into(),
            name: name.into(),
            arguments: arguments.to_string(),
        })
    }

    /// Adds a call that the provider runs itself, and its result: on Anthropic `<name>_tool_result`
    /// with `result` as its content, on Responses one item `<name>_call`, on Gemini two parts or steps.
    /// Chat Completions leaves it out.
    #[must_use]
    pub fn server_tool(
        self,
        id: impl Into<String>,
        name: impl Into<String>,
        input: Value,
        result: Value,
    ) -> Self {
        self.block(Block::Server { id: id.into(), name: name.into(), input, result })
    }

    /// The finish reason in the provider's own word. The default is the provider's word for "run
    /// these tools" where there is a tool call, else its word for a natural end; it also stands in for a
    /// word that Responses or Gemini could not send.
    #[must_use]
    pub fn finish(mut self, reason: impl Into<String>) -> Self {
        self.finish = Some(reason.into());
        self
    }

    /// Usage as reported for the whole answer. The default, and what a continuation reports, is 25
    /// input tokens and one output token for each delta.
    #[must_use]
    pub const fn usage(mut self, input_tokens: u64, output_tokens: u64) -> Self {
        self.input_tokens = Some(input_tokens);
        self.output_tokens = Some(output_tokens);
        self
    }

    /// All text parts, concatenated.
    #[must_use]
    pub fn whole_text(&self) -> String {
        self.texts().map(|(_, text)| text).collect()
    }

    /// The text parts with their block numbers.
    pub(super) fn texts(&self) -> impl Iterator<Item = (usize, &str)> {
        let blocks = self.blocks.iter().enumerate();
        blocks.filter_map(|(at, block)| match block {
            Block::Text(text) => Some((at, text.as_str())),
            _ => None,
        })
    }

    fn block(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }
}

impl From<&str> for Answer {
    fn from(text: &str) -> Self {
        Self::new().text(text)
    }
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self::new().text(text)
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({} parts)", self.blocks.len())
    }
}
