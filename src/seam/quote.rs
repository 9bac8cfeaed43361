//! The words that a model is asked to repeat.
//!
//! In: what is sent. Out: its end, verbatim. It must never begin or end in the middle of what reads
//! as one character, nor with a space: models drop those.

use super::fold::{JOINER, extends, fold};

/// The end of `sent` that a model is to repeat: its last 40 or so characters, from a non-space on
/// (the beginning of a word, if there is one near) and without the whitespace at its end. Where
/// these stand in `sent` more than once it is longer, up to 80 characters, until it stands there
/// once.
///
/// Empty where `sent` has nothing but whitespace.
#[must_use]
pub fn anchor_of(sent: &str) -> &str {
    let sent = sent.trim_end();
    let folded = fold(sent);
    let once = |at: &usize| stands_once(&folded, &fold(&sent[*at..]));
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

/// Whether the end of `folded` is `anchor`, and nothing before it is.
pub(super) fn stands_once(folded: &str, anchor: &str) -> bool {
    folded.find(anchor).map(|at| at + anchor.len()) == Some(folded.len())
}

/// Fewest characters of an anchor where there are as many.
const ANCHOR_CHARS: usize = 40;

/// Most characters of an anchor that is longer only to begin at a word.
const ANCHOR_WORD: usize = 56;

/// Most characters of an anchor: what a model is sure to repeat exactly is short.
const ANCHOR_MAX: usize = 80;
