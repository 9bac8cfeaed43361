//! The words that a model is asked to repeat.
//!
//! In: what is sent. Out: its end, verbatim. It must never begin or end in the middle of what reads
//! as one character, nor with a space: models drop those.

use memchr::memmem;

use super::fold::{JOINER, end_of, extends, fold, is_verbatim, push_folded};

/// The end of `sent` that a model is to repeat: its last 40 or so characters, from a non-space on
/// (the beginning of a word, if there is one near) and without the whitespace at its end. Where
/// these stand in `sent` more than once it is longer, up to 80 characters, until it stands there
/// once.
///
/// Empty where `sent` has nothing but whitespace.
#[must_use]
pub fn anchor_of(sent: &str) -> &str {
    let sent = sent.trim_end();
    let once = |at: &usize| stands_once(sent, &fold(&sent[*at..]));
    let mut short = sent.len();
    let mut long = Vec::new();
    let mut words = Vec::new();
    for (count, (at, c)) in (1..=ANCHOR_MAX).zip(sent.char_indices().rev()) {
        let before = sent[..at].chars().next_back();
        if c.is_whitespace() || extends(c) || before == Some(JOINER) {
            continue;
        }
        if count < ANCHOR_CHARS {
            short = at;
            continue;
        }
        long.push(at);
        if count <= ANCHOR_WORD && before.is_none_or(char::is_whitespace) {
            words.push(at);
        }
    }
    let candidates = || words.iter().chain(&long).copied();
    let start = candidates().find(once).or_else(|| candidates().next());
    &sent[start.unwrap_or(short)..]
}

/// Whether the folded end of `text` is `anchor`, and nothing before it is.
///
/// An answer may be long: it is not folded for that, but searched for the longest piece of the anchor that
/// stands in it as it is typed.
pub(super) fn stands_once(text: &str, anchor: &str) -> bool {
    if !fold(end_of(text, anchor.len())).ends_with(anchor) {
        return false;
    }
    let pieces = anchor.split(|c| !is_verbatim(c));
    let Some(piece) = pieces.max_by_key(|piece| piece.len()).filter(|piece| !piece.is_empty())
    else {
        let folded = fold(text);
        return folded.find(anchor).map(|at| at + anchor.len()) == Some(folded.len());
    };
    let (before, after) = anchor.split_at(piece.as_ptr() as usize - anchor.as_ptr() as usize);
    let (finder, mut at) = (memmem::Finder::new(piece), 0);
    while let Some(found) = text.as_bytes().get(at..).and_then(|rest| finder.find(rest)) {
        let (head, tail) = text.split_at(at + found);
        if fold(end_of(head, before.len())).ends_with(before) && goes_on_after(tail, after) {
            return false;
        }
        // It may overlap itself.
        at += found + piece.chars().next().map_or(1, char::len_utf8);
    }
    true
}

/// Whether `text`, folded, begins with `head` and has more behind it.
fn goes_on_after(text: &str, head: &str) -> bool {
    let mut folded = String::with_capacity(head.len() + 3);
    for c in text.chars() {
        if folded.len() > head.len() {
            break;
        }
        push_folded(&mut folded, c);
    }
    folded.len() > head.len() && folded.starts_with(head)
}

/// Fewest characters of an anchor where there are as many.
const ANCHOR_CHARS: usize = 40;

/// Most characters of an anchor that is longer only to begin at a word.
const ANCHOR_WORD: usize = 56;

/// Most characters of an anchor: what a model is sure to repeat exactly is short.
const ANCHOR_MAX: usize = 80;
