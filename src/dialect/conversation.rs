//! llama.cpp's replay of its own stream.
//!
//! In: an id for a generation. Out: the header that has the server keep it, and where it is replayed. A
//! generation that is kept goes on when its client is gone; its last 4 MiB can be had for five minutes after
//! the end. Source: ggml-org/llama.cpp #23226, and measured with build b11549 in November 2026.

use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::{Continuation, Cursor, Release, Replay, Unresumable};
use crate::seam::Expect;

/// The header that has a generation kept as `id`.
pub(super) fn kept_as(id: &str) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::from_str(id).ok()?;
    Some((HeaderName::from_static("x-conversation-id"), value))
}

/// Fetches the generation again, from its first byte: the server counts bytes, and no decoder can begin
/// inside a stream. What was delivered comes again as it was, and is taken off.
///
/// `own` is what the upstream's address ends in; the replay is beside it.
pub(super) fn replay(
    request: Value,
    cursor: Option<&Cursor>,
    own: &str,
) -> Result<Continuation, Unresumable> {
    let cursor = cursor.ok_or(Unresumable)?;
    let query = format!("conv_id={}&from=0", cursor.id);
    let replay = Replay::beside(own, "stream", &query).ok_or(Unresumable)?;
    Ok(Continuation::new(request, Expect::Align).replayed(replay))
}

/// Stops the generation `id`, which would go on to its end.
pub(super) fn release(id: &str, own: &str) -> Option<Release> {
    Release::beside(Method::DELETE, own, "stream", &format!("conv_id={id}"))
}
