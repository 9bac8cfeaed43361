//! What of a text stands in it more than once, and where a text goes on in another.
//!
//! In: the sent text and the head of the new one. Out: lengths in bytes. The sent text is searched once,
//! without a copy.

use memchr::memmem;

use super::preamble::More;
use super::{HOLD_MAX, LONG_MATCH};

/// How much a text repeats itself.
pub(super) struct Habit {
    /// Bytes of its longest head that stands in it again. Of what is too short to count that is assumed; what is
    /// longer than a text is ever held is not looked at.
    pub(super) head_again: usize,
    /// It is one phrase over and over, at least twice.
    pub(super) repetition: bool,
}

impl Habit {
    pub(super) fn of(text: &str) -> Self {
        let text = text.as_bytes();
        let head = text.get(..HEAD_MAX).unwrap_or(text);
        let head_again = longest_again(head, text);
        // The first half of a repetition stands in it again.
        let half = text.len().div_ceil(2).min(head.len());
        Self { head_again, repetition: head_again >= half && is_repetition(text) }
    }
}

/// Bytes of the longest head of `head` that stands in `text` later than at its beginning.
fn longest_again(head: &[u8], text: &[u8]) -> usize {
    let (mut longest, mut at) = (LONG_MATCH - 1, 1);
    // No place of the text is searched twice but one that is found: a longer head again comes later.
    while let Some(longer) = head.get(..=longest) {
        let rest = text.get(at..).unwrap_or_default();
        let Some(found) = memmem::find(rest, longer) else { break };
        let again = rest.iter().skip(found).zip(head);
        longest = again.take_while(|(one, other)| one == other).count();
        at += found;
    }
    longest
}

/// Bytes of the longest end of `text` that stands in it earlier too. Of what is too short to count that is
/// assumed; what is longer than `most` is not looked at.
pub(super) fn end_again(text: &str, most: usize) -> usize {
    let text = text.as_bytes();
    let (mut longest, mut at) = (LONG_MATCH - 1, 0);
    while longest < text.len().min(most) {
        let start = text.len() - longest - 1;
        let (longer, rest) = (&text[start..], text.get(at..).unwrap_or_default());
        let Some(found) = memmem::find(rest, longer).filter(|found| at + found < start) else {
            break;
        };
        let end = at + found + longer.len();
        let again = text[..end].iter().rev().zip(text.iter().rev());
        longest = again.take(most).take_while(|(one, other)| one == other).count();
        // A longer end that stands earlier ends behind this one.
        at = end.saturating_sub(longest);
    }
    longest
}

fn is_repetition(text: &[u8]) -> bool {
    let half = text.len().div_ceil(2);
    let first_return = |length: usize| {
        let (head, later) = (text.get(..length)?, text.get(1..)?);
        memmem::find(later, head).map(|at| at + 1)
    };
    let repeats_from = |at: &usize| at + half <= text.len() && text.starts_with(&text[*at..]);
    // A phrase of at most half the text, repeated, first returns where it is repeated. Most phrases are short,
    // and a short head is found sooner.
    let short = first_return(half.min(HEAD_MAX)).filter(repeats_from);
    short.or_else(|| first_return(half).filter(repeats_from)).is_some()
}

/// Where the head of a text equals the end of what was sent.
pub(super) enum Overlap {
    /// It may yet.
    Open,
    /// Up to this byte.
    Found(usize),
    /// It does not, or by words that stand twice in what was sent.
    None,
}

/// The longest overlap of the head of `text` with the last `reach` bytes of `sent`, of which the last `again`
/// bytes stand in it twice.
pub(super) fn overlap(text: &str, sent: &str, reach: usize, again: usize, more: More) -> Overlap {
    let mut ends = (sent.len().saturating_sub(reach)..sent.len())
        .filter_map(|at| sent.get(at..))
        .take_while(|end| end.len() >= LONG_MATCH);
    let may_come = |end: &str| more == More::Perhaps && end.starts_with(text);
    match ends.find(|end| text.starts_with(end) || may_come(end)) {
        Some(end) if !text.starts_with(end) => Overlap::Open,
        Some(end) if end.len() > again => Overlap::Found(end.len()),
        _ => Overlap::None,
    }
}

/// Longest head that is compared: at least as much as is ever held of a text that equals it, with
/// the longest anchor that [`anchor_of`](super::anchor_of) makes of characters of four bytes.
const HEAD_MAX: usize = HOLD_MAX * 3;
