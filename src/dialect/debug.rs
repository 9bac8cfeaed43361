//! What the dialects' values show of themselves in a log.
//!
//! In: values that hold a request or an answer. Out: their shape and sizes. It must never show a
//! prompt or generated text.

use std::fmt;

use super::{Continuation, Outline, Signal};

impl fmt::Debug for Signal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive => f.write_str("Alive"),
            Self::Started { id, model } => {
                f.debug_struct("Started").field("id", id).field("model", model).finish()
            }
            Self::Open { slot, choice, kind } => f
                .debug_struct("Open")
                .field("slot", slot)
                .field("choice", choice)
                .field("kind", kind)
                .finish(),
            Self::Append { slot, text } => {
                f.debug_struct("Append").field("slot", slot).field("bytes", &text.len()).finish()
            }
            Self::Annotate { slot, annotation } => f
                .debug_struct("Annotate")
                .field("slot", slot)
                .field("annotation", annotation)
                .finish(),
            Self::Close { slot } => f.debug_struct("Close").field("slot", slot).finish(),
            Self::Usage(usage) => f.debug_tuple("Usage").field(usage).finish(),
            Self::Finish { reason } => f.debug_struct("Finish").field("reason", reason).finish(),
            Self::Terminal => f.write_str("Terminal"),
            Self::Fault(fault) => f.debug_tuple("Fault").field(fault).finish(),
        }
    }
}

impl fmt::Debug for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outline")
            .field("model", &self.model)
            .field("choices", &self.choices)
            .field("reasoning", &self.reasoning)
            .field("stops", &self.stops.len())
            .field("max_tokens", &self.max_tokens)
            .finish()
    }
}

impl fmt::Debug for Continuation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Continuation").field("expect", &self.expect).finish_non_exhaustive()
    }
}
