//! The body of a request that is read here.
//!
//! In: chunks. Out: all of them, or why not. It must never let one client take memory or time that
//! others need: bytes, silence and values are bounded.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_core::Stream as _;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::timeout;

use super::respond::Refusal;
use super::serve::HEAD_TIMEOUT;

/// All of `body`, if it is not too large to be kept and parsed.
///
/// # Errors
/// It is, or it did not come.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.is_some_and(|length| length.parse().map_or(true, |length: usize| length > BODY_MAX)) {
        return Err(Refusal::TooLarge);
    }
    let (mut chunks, mut read) = (body.into_data_stream(), BytesMut::new());
    loop {
        let next = poll_fn(|cx| Pin::new(&mut chunks).poll_next(cx));
        let Some(chunk) = timeout(HEAD_TIMEOUT, next).await.map_err(|_| Refusal::Slow)? else {
            break;
        };
        let chunk = chunk.map_err(|_| Refusal::Unread)?;
        if read.len().saturating_add(chunk.len()) > BODY_MAX {
            return Err(Refusal::TooLarge);
        }
        read.extend_from_slice(&chunk);
    }
    if values(&read) > VALUES_MAX { Err(Refusal::TooLarge) } else { Ok(read.freeze()) }
}

/// The request as it was written, if there are no two ways to read it: of a name that stands in it twice,
/// an upstream may take the other one.
pub(super) fn unambiguous(body: Bytes) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct Once {
        #[serde(rename = "model")]
        _model: Option<IgnoredAny>,
        #[serde(rename = "stream")]
        _stream: Option<IgnoredAny>,
    }
    serde_json::from_slice::<Once>(&body).is_ok().then_some(body)
}

/// At least as many as `json` has values, in one pass that looks at nothing but marks outside texts.
fn values(json: &[u8]) -> usize {
    let (mut rest, mut count) = (json, 0);
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => after_text(after),
            _ => after,
        };
        count += usize::from(matches!(byte, b',' | b':' | b'[' | b'{'));
    }
    count
}

/// What follows the text that `json` begins in.
fn after_text(json: &[u8]) -> &[u8] {
    let mut rest = json;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        if rest[at] == b'"' {
            return &rest[at + 1..];
        }
        // Whatever is escaped is no end.
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    &[]
}

/// Bytes of a request that is recovered or called. The largest that a provider takes is 32 MB
/// (Anthropic, November 2026); 50 MB of images are seen at others.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// Values in it. Parsed, one takes tens of bytes where it is written in two; a long conversation with
/// tools has some ten thousand.
const VALUES_MAX: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_in_texts_are_no_values() {
        for (json, count) in [
            ("", 0),
            ("{}", 1),
            (r#"{"a":[1,2,{"b":null}],"c":"d"}"#, 9),
            (r#"["a,b:[{", "\",\\", ","]"#, 3),
            (r#"["\\\",",1]"#, 2),
            ("[\"a,b", 1),
            ("[\"a\\", 1),
        ] {
            assert_eq!(values(json.as_bytes()), count, "{json}");
        }
    }
}
