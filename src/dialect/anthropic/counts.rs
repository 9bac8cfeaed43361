//! Anthropic's token counts.
//!
//! In: the `usage` of messages, whose fields are cumulative and may be missing. Out: the usage of
//! the attempt. It must never add up what is cumulative.

use super::super::wire::Count;
use super::frame::Usage as RawUsage;
use crate::event::Usage;

/// The counts of the message that is being sent, and of those before it.
#[derive(Debug, Default)]
pub(super) struct Counts {
    earlier: Usage,
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
    thinking: u64,
}

impl Counts {
    /// Takes over what is given; the counts are cumulative.
    pub(super) fn take(&mut self, usage: &RawUsage) {
        let set = |count: &mut u64, new: Count| *count = new.0.unwrap_or(*count);
        set(&mut self.input, usage.input_tokens);
        set(&mut self.output, usage.output_tokens);
        set(&mut self.cache_read, usage.cache_read_input_tokens);
        set(&mut self.cache_write, usage.cache_creation_input_tokens);
        if let Some(details) = &usage.output_tokens_details {
            set(&mut self.thinking, details.thinking_tokens);
        }
    }

    pub(super) fn next_message(&mut self) {
        *self = Self { earlier: self.total(), ..Self::default() };
    }

    pub(super) fn total(&self) -> Usage {
        let cached = self.cache_read.saturating_add(self.cache_write);
        self.earlier.plus(Usage {
            input_tokens: self.input.saturating_add(cached),
            output_tokens: self.output,
            cached_input_tokens: self.cache_read,
            cache_write_tokens: self.cache_write,
            reasoning_tokens: self.thinking,
        })
    }
}
