//! One attempt: the bytes of its body, the blocks it has open, and how its text joins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::dialect::Decoder;
use crate::event::{AttemptId, Connection, FinishReason, Join, PartKind, Resume};
use crate::seam::{Seam, Straddle};
use crate::sse;

/// A request to send.
///
/// `Debug` shows neither header values nor the body.
#[derive(Clone)]
#[non_exhaustive]
pub struct Attempt {
    /// Its number, to be given back with everything that comes of it.
    pub id: AttemptId,
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The model as asked for.
    pub model: Arc<str>,
    /// The rung; none for the caller's own request.
    pub by: Option<Resume>,
    /// The request.
    pub request: http::Request<Bytes>,
    /// Which connection it may go out on.
    pub connection: Connection,
    /// It follows an attempt without progress, and draws on the retry budget.
    pub budgeted: bool,
    /// No breaker must refuse it: something has been delivered, and no other step could go on.
    pub exempt: bool,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("id", &self.id)
            .field("upstream", &self.upstream)
            .field("model", &self.model)
            .field("by", &self.by)
            .field("bytes", &self.request.body().len())
            .field("connection", &self.connection)
            .field("budgeted", &self.budgeted)
            .field("exempt", &self.exempt)
            .finish_non_exhaustive()
    }
}

/// The state of the attempt that is under way.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: AttemptId,
    pub(super) upstream: Arc<str>,
    pub(super) model: Arc<str>,
    pub(super) by: Option<Resume>,
    /// It is the provider's replay, from the beginning on.
    pub(super) again: bool,
    pub(super) opened: Instant,
    pub(super) first_byte: bool,
    pub(super) last_byte: Instant,
    pub(super) last_said: Instant,
    /// When the first text, reasoning or tool arguments came.
    pub(super) first_content: Option<Instant>,
    pub(super) seam: Option<Seam>,
    pub(super) straddle: Option<Straddle>,
    pub(super) slots: BTreeMap<u32, Slot>,
    pub(super) finish: Option<(FinishReason, Instant)>,
    /// When a response head came that is no success.
    pub(super) refused: Option<Instant>,
    /// The provider's last word has come, and the rest of its stream is only passed on.
    pub(super) terminal: bool,
    /// The data of the error event that ended it.
    pub(super) fault: Option<Bytes>,
    /// A piece of a call that will never be whole went out to a client that cannot take it back.
    pub(super) irrevocable: bool,
    /// All that is wanted of it is a response head that is a success: its body is handed on.
    pub(super) head_only: bool,
    /// It is said in another dialect than the caller's.
    pub(super) foreign: bool,
    /// The HTTP exchange is over, or no longer ours.
    pub(super) over: bool,
    /// How its text was joined.
    pub(super) join: Option<Join>,
    /// Blocks that were delivered whole before it and that a repetition of the answer brings again,
    /// the next one last.
    pub(super) repeats: Vec<PartKind>,
    /// Tool calls that cannot be delivered before the end of the answer is known, by slot: ones whose
    /// JSON does not parse, and whole ones behind such a call.
    pub(super) late: Vec<(u32, Slot)>,
    /// Bytes of content that came, of these the ones that the model made, and the ones that were
    /// handed on.
    pub(super) came: usize,
    pub(super) generated: usize,
    pub(super) delivered: usize,
    /// Bytes that the model had made when its provider last reported usage.
    pub(super) counted: usize,
    /// Something other than text was handed on.
    pub(super) aside: bool,
    /// Something new was handed on that outlasts a cut: text, a whole call, a result.
    pub(super) fresh: bool,
}

/// A block of the attempt.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) kind: PartKind,
    pub(super) choice: u32,
    /// The part that it is delivered as, once it has content.
    pub(super) part: Option<u32>,
    /// What has come of a block that is delivered whole.
    pub(super) held: String,
    /// What was noted on it before its text; providers put a citation first.
    pub(super) notes: Vec<crate::event::Annotation>,
    /// Not delivered: said before, by the attempt that this one repeats, or of no meaning to the caller.
    pub(super) muted: bool,
    /// The provider closed it.
    pub(super) closed: bool,
}

impl Slot {
    pub(super) const fn is_call(&self) -> bool {
        matches!(self.kind, PartKind::ToolCall { .. })
    }

    /// Whether the block is delivered only when it is closed.
    pub(super) const fn is_whole(&self, live_tools: bool) -> bool {
        match self.kind {
            PartKind::Text | PartKind::Reasoning | PartKind::Refusal => false,
            PartKind::ToolCall { .. } => !live_tools,
            _ => true,
        }
    }
}

impl Live {
    /// Whether a call that began before `slot` is not delivered yet.
    pub(super) fn has_call_before(&self, slot: u32) -> bool {
        let open = self.slots.range(..slot).any(|(_, slot)| slot.is_call() && !slot.muted);
        open || !self.late.is_empty()
    }

    pub(super) fn has_open(&self, matches: impl Fn(&PartKind) -> bool) -> bool {
        self.slots.values().any(|slot| matches(&slot.kind))
    }

    /// Nothing is said because the model thinks out of sight, or a call is being written.
    pub(super) fn is_quiet(&self, reasons: bool) -> bool {
        (reasons && !self.fresh)
            || self.has_open(|kind| !matches!(kind, PartKind::Text | PartKind::Refusal))
    }

    /// Bytes that wait for the end of their blocks, and are kept nowhere else.
    pub(super) fn held(&self) -> usize {
        let late = self.late.iter().map(|(_, slot)| slot);
        let unsaid = self.slots.values().chain(late).filter(|slot| slot.part.is_none());
        unsaid.map(|slot| slot.held.len()).sum()
    }

    /// It answers a request that we wrote: its reasoning is signed against a conversation that history
    /// will not contain, or says again what was said. What a provider replays answers the caller's own.
    pub(super) const fn is_ours(&self) -> bool {
        self.again || !matches!(self.by, None | Some(Resume::Cursor))
    }

    /// Its reasoning has no place in a history of the caller's.
    pub(super) const fn is_beside(&self) -> bool {
        self.is_ours() || self.foreign
    }

    /// It says the answer again from its beginning.
    pub(super) fn is_repeating(&self) -> bool {
        self.again
            || self.by == Some(Resume::Align)
            || self.join == Some(Join::Echo)
            || self.is_swallowing()
    }

    /// Bringing again what was delivered before: text, or the blocks behind it.
    pub(super) fn is_catching_up(&self) -> bool {
        self.is_swallowing() || self.is_repeating() && !self.repeats.is_empty()
    }

    /// Bytes of content that the model made for this attempt, at the least: what its provider replays was made
    /// for another one, and an echo of a prefill is what it was sent.
    pub(super) fn made(&self) -> usize {
        match (self.by, self.join) {
            (Some(Resume::Cursor), _) | (Some(Resume::Prefill), Some(Join::Echo)) => {
                self.generated.min(self.delivered)
            }
            _ => self.generated,
        }
    }

    /// Matching text that was delivered before.
    pub(super) fn is_swallowing(&self) -> bool {
        self.seam.as_ref().is_some_and(Seam::swallowing)
    }
}

/// The body of the attempt that is under way.
#[derive(Debug)]
pub(super) enum Body {
    /// No response head yet.
    Awaited,
    /// A success that may be a stream or not, and the blanks that are all that has come of it.
    Unknown { head: Box<Head>, start: Vec<u8> },
    /// A stream.
    Stream(Box<Wire>),
    /// A response that is not a stream; read to learn why.
    Other { head: Box<Head>, body: Vec<u8> },
}

/// A response head.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// From bytes to signals.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) parser: sse::Parser,
    pub(super) decoder: Box<dyn Decoder>,
    /// What has come and is not read yet.
    pub(super) chunk: Bytes,
}

/// Takes in more of a body that is not a stream, up to `max` bytes.
pub(super) fn collect(body: &mut Vec<u8>, bytes: &[u8], max: usize) {
    let room = max.saturating_sub(body.len());
    body.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
}

/// Whether a body that begins with `bytes` is no event stream, whatever its label says: a JSON value
/// or a page. `None` while only blanks have come, or a piece of a byte order mark.
pub(super) fn is_other(bytes: &[u8]) -> Option<bool> {
    let text = without_mark(bytes);
    if MARK.starts_with(text) {
        return None;
    }
    let head = text.get(..START_MAX).unwrap_or(text);
    match head.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(first) => Some(matches!(first, b'{' | b'[' | b'<')),
        None if head.len() == START_MAX => Some(false),
        None => None,
    }
}

/// `bytes` without a byte order mark at their beginning.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK).unwrap_or(bytes)
}

/// The byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Blanks at the beginning of a body after which it is taken for a stream.
const START_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_known_by_its_first_byte_that_is_no_blank() {
        let blanks = |count| vec![b' '; count];
        let then = |count, byte: u8| [blanks(count), vec![byte]].concat();
        for (bytes, other) in [
            (vec![], None),
            (MARK[..2].to_vec(), None),
            (MARK.to_vec(), None),
            (b"data: {}".to_vec(), Some(false)),
            (b"\r\n\t {".to_vec(), Some(true)),
            (b"[1]".to_vec(), Some(true)),
            (b"<html>".to_vec(), Some(true)),
            ([MARK, b"{"].concat(), Some(true)),
            (blanks(START_MAX - 1), None),
            (then(START_MAX - 1, b'{'), Some(true)),
            (blanks(START_MAX), Some(false)),
            (then(START_MAX, b'{'), Some(false)),
        ] {
            assert_eq!(is_other(&bytes), other, "{:?}", String::from_utf8_lossy(&bytes));
        }
    }
}
