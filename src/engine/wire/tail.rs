//! How a stream ends, and what is in a frame that is all there.

use serde::de::IgnoredAny;

use crate::sse;

/// How a stream ends that has ended in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// After an event.
    Clean,
    /// After an event that lacks nothing but its blank line: servers forget it, and a reader that
    /// minds loses what it would have lost without us.
    Unended,
    /// Inside an event.
    Torn,
}

impl Tail {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut parser = sse::Parser::default();
        let mut rest = bytes;
        while !rest.is_empty() && parser.next_event(&mut rest).is_ok() {}
        if parser.finish() == sse::Tail::Clean {
            return Self::Clean;
        }
        let mut last = Self::Torn;
        each_event(bytes, |event| {
            let data = event.data.trim();
            if data == "[DONE]" || serde_json::from_str::<IgnoredAny>(data).is_ok() {
                last = Self::Unended;
            }
        });
        last
    }
}

/// Reads a whole frame again; it may have comments before its event, and lack the blank line behind
/// it.
pub(super) fn each_event(raw: &[u8], mut sink: impl FnMut(&sse::Event<'_>)) {
    let limits = sse::Limits::new().max_line(usize::MAX).max_event(usize::MAX);
    let mut parser = sse::Parser::new(limits);
    for mut bytes in [raw, b"\n\n"] {
        while let Ok(Some(event)) = parser.next_event(&mut bytes) {
            sink(&event);
        }
    }
}
