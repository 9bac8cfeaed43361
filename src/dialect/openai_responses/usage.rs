//! Token counts, as they are read and as they are written.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::wire::{self, Count};
use super::super::writer::{costly, output_tokens};
use super::frame::Usage as RawUsage;
use crate::event::Usage;
use crate::report::Report;

/// The usage that a response reports, if it does.
pub(super) fn read(usage: Option<&RawValue>) -> Option<Usage> {
    let raw = wire::lenient::<RawUsage>(usage)?;
    let count = |count: Count| count.0.unwrap_or_default();
    let mut usage = Usage {
        input_tokens: count(raw.input_tokens),
        output_tokens: count(raw.output_tokens),
        ..Usage::default()
    };
    if let Some(details) = raw.input_tokens_details {
        usage.cached_input_tokens = count(details.cached_tokens);
        usage.cache_write_tokens = count(details.cache_write_tokens);
    }
    if let Some(details) = raw.output_tokens_details {
        usage.reasoning_tokens = count(details.reasoning_tokens);
    }
    Some(usage)
}

/// The usage of all attempts; none where nothing is known.
pub(super) fn merged(report: &Report) -> Value {
    if !costly(report).any(|attempt| attempt.usage.is_some()) {
        return Value::Null;
    }
    let sum = report.usage();
    let output = output_tokens(report);
    json!({
        "input_tokens": sum.input_tokens,
        "input_tokens_details": { "cached_tokens": sum.cached_input_tokens },
        "output_tokens": output,
        "output_tokens_details": { "reasoning_tokens": sum.reasoning_tokens },
        "total_tokens": sum.input_tokens.saturating_add(output),
    })
}
