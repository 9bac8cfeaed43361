//! The `eventsource-stream` crate's reading of a stream, where it is right.
//!
//! In: chunks. Out: its events, or nothing where it is known (0.2.3, 2026-11) to part from the
//! standard. Like the oracle it is used by the tests and by the fuzz targets, and names nothing of
//! the crate.

use eventsource_stream::Eventsource;
use futures_util::{FutureExt, StreamExt, stream};

use super::oracle::Owned;

/// The events of the stream that `chunks` are, unless this is a stream it gets wrong.
pub(crate) fn parse(chunks: &[&[u8]]) -> Option<Vec<Owned>> {
    let bytes = chunks.concat();
    let text = std::str::from_utf8(&bytes).ok()?;
    // It panics on a byte order mark, and waits for ever for the byte after a CR.
    if text.starts_with('\u{FEFF}') || text.ends_with('\r') {
        return None;
    }
    if !text.split(['\n', '\r']).all(reads_retry) {
        return None;
    }
    let chunks = stream::iter(chunks.iter().map(|chunk| Ok::<_, ()>(*chunk)));
    let events = chunks.eventsource().map(|event| {
        let event = event.expect("its one error on syntax is invalid UTF-8");
        Owned {
            event: event.event,
            data: event.data,
            id: event.id,
            retry: event.retry.map(|retry| retry.as_millis() as u64),
        }
    });
    events.collect().now_or_never()
}

/// Whether it reads a line as the standard does: of a `retry` it takes `+1`, but not `u64::MAX + 1`.
fn reads_retry(line: &str) -> bool {
    let Some(value) = line.strip_prefix("retry:") else {
        return true;
    };
    let value = value.strip_prefix(' ').unwrap_or(value);
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits == value.parse::<u64>().is_ok()
}
