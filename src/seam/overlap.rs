//! What of a text stands in it more than once, and where a text goes on in another.
//!
//! In: the sent text and the head of the new one. Out: lengths in bytes. Linear in the sent text,
//! with little memory, and asked only when a match was seen.

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
        Self { head_again: longest_again(head, text), repetition: is_repetition(text) }
    }
}

/// Bytes of the longest head of `head` that stands in `text` later than at its beginning, by the
/// search of Knuth, Morris and Pratt.
fn longest_again(head: &[u8], text: &[u8]) -> usize {
    // `borders[n]`: bytes of the longest proper head of `head[..=n]` that is also its end.
    let mut borders = Vec::with_capacity(head.len());
    borders.push(0);
    for byte in head.iter().skip(1) {
        let next = advance(head, &borders, borders.last().copied().unwrap_or(0), *byte);
        borders.push(next);
    }
    let mut longest = 0;
    let mut matched = 0;
    for byte in text.iter().skip(1) {
        matched = advance(head, &borders, matched, *byte);
        longest = longest.max(matched);
    }
    longest
}

/// Bytes of `head` that match up to and with `byte`, if `matched` did before it.
fn advance(head: &[u8], borders: &[usize], matched: usize, byte: u8) -> usize {
    let mut matched = matched;
    loop {
        if head.get(matched) == Some(&byte) {
            return matched + 1;
        }
        if matched == 0 {
            return 0;
        }
        matched = borders.get(matched - 1).copied().unwrap_or(0);
    }
}

fn is_repetition(text: &[u8]) -> bool {
    let half = text.len().div_ceil(2);
    let (Some(head), Some(later)) = (text.get(..half), text.get(1..)) else {
        return false;
    };
    // A phrase of at most half the text, repeated, first returns where it is repeated.
    let Some(period) = memchr::memmem::find(later, head).map(|at| at + 1) else {
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
        Some((at, end)) if sent.find(end) == Some(at) => Overlap::Found(end.len()),
        _ => Overlap::None,
    }
}

/// Longest head that is compared: at least as much as is ever held of a text that equals it, with
/// the longest anchor that [`anchor_of`](super::anchor_of) makes of characters of four bytes.
const HEAD_MAX: usize = HOLD_MAX * 3;
