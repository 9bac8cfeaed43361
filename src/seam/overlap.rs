//! What of a text stands in it more than once, and where a text goes on in another.
//!
//! In: the sent text and the head of the new one. Out: lengths in bytes. The sent text is searched, once
//! and without a copy, and only when a match was seen.

use memchr::memmem;

use super::preamble::More;
use super::{HOLD_MAX, LONG_MATCH};

/// How much a text repeats itself.
pub(super) struct Habit {
    /// Bytes of its longest head that stands in it again; what is longer than a text is ever held
    /// is not looked at.
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
    let (mut longest, mut at) = (0, 1);
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

fn is_repetition(text: &[u8]) -> bool {
    let half = text.len().div_ceil(2);
    let (Some(head), Some(later)) = (text.get(..half), text.get(1..)) else {
        return false;
    };
    // A phrase of at most half the text, repeated, first returns where it is repeated.
    let Some(period) = memmem::find(later, head).map(|at| at + 1) else {
        return false;
    };
    text.get(period..).is_some_and(|shifted| text.starts_with(shifted))
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

/// The longest overlap of the head of `text` with the last `reach` bytes of `sent`.
pub(super) fn overlap(text: &str, sent: &str, reach: usize, more: More) -> Overlap {
    let mut ends = (sent.len().saturating_sub(reach)..sent.len())
        .filter_map(|at| sent.get(at..).map(|end| (at, end)))
        .take_while(|(_, end)| end.len() >= LONG_MATCH);
    let may_come = |end: &str| more == More::Perhaps && end.starts_with(text);
    match ends.find(|(_, end)| text.starts_with(end) || may_come(end)) {
        Some((_, end)) if !text.starts_with(end) => Overlap::Open,
        Some((at, end)) if memmem::find(sent.as_bytes(), end.as_bytes()) == Some(at) => {
            Overlap::Found(end.len())
        }
        _ => Overlap::None,
    }
}

/// Longest head that is compared: at least as much as is ever held of a text that equals it, with
/// the longest anchor that [`anchor_of`](super::anchor_of) makes of characters of four bytes.
const HEAD_MAX: usize = HOLD_MAX * 3;
