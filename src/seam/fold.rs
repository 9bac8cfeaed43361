//! Text as it reads rather than as it is typed.
//!
//! In: text. Out: the same with what models change when they quote folded away, and what counts as
//! one coincidence. It must never be delivered.

/// `text` with runs of whitespace as one space, quotes straight and ellipses as three dots.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        push_folded(&mut folded, c);
    }
    folded
}

/// Appends one more character of a text to what is [folded](fold) of it.
pub(super) fn push_folded(folded: &mut String, c: char) {
    match c {
        c if c.is_whitespace() => {
            if !folded.ends_with(' ') {
                folded.push(' ');
            }
        }
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' => folded.push('\''),
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' => folded.push('"'),
        '\u{2026}' => folded.push_str("..."),
        c => folded.push(c),
    }
}

/// The end of `text` whose folded form has at least so many bytes, if it has them.
pub(super) fn end_of(text: &str, folded: usize) -> &str {
    let (mut bytes, mut blank) = (0, false);
    for (at, c) in text.char_indices().rev() {
        if bytes >= folded {
            return text.get(at + c.len_utf8()..).unwrap_or_default();
        }
        let one = match c {
            c if c.is_whitespace() => usize::from(!blank),
            '\u{2018}'..='\u{201f}' => 1,
            '\u{2026}' => 3,
            c => c.len_utf8(),
        };
        bytes += one;
        blank = c.is_whitespace();
    }
    text
}

/// Whether folding leaves `c` as it is, and makes it of nothing else.
pub(super) const fn is_verbatim(c: char) -> bool {
    !matches!(c, '\'' | '"' | '.' | ' ')
}

/// Bytes of `text` whose folded form is the first `folded` bytes of that of `text`.
pub(super) fn unfolded_len(text: &str, folded: usize) -> Option<usize> {
    let mut so_far = String::with_capacity(folded);
    for (at, c) in text.char_indices() {
        push_folded(&mut so_far, c);
        if so_far.len() >= folded {
            return (so_far.len() == folded).then_some(at + c.len_utf8());
        }
    }
    None
}

/// Whether `text` is long enough that its coming again is no coincidence.
pub(super) fn counts(text: &str) -> bool {
    text.len() >= SHORT_MATCH_BYTES && coincidences(text, SHORT_MATCH_CHARS) >= SHORT_MATCH_CHARS
}

/// Characters of `text` that come independently of each other: what is joined to the one before it
/// (U+200D and what follows it, variation selectors, combining marks, skin tones, tags, the second
/// half of a flag) does not count. No more than `most` are counted.
pub(super) fn coincidences(text: &str, most: usize) -> usize {
    let mut count = 0;
    let mut joined = false;
    let mut half_flag = false;
    for c in text.chars() {
        if count == most {
            break;
        }
        let flag = matches!(c, '\u{1f1e6}'..='\u{1f1ff}');
        if !(extends(c) || joined || (flag && half_flag)) {
            count += 1;
        }
        joined = c == JOINER;
        half_flag = flag && !half_flag;
    }
    count
}

/// Whether `c` belongs to the character before it.
pub(super) const fn extends(c: char) -> bool {
    matches!(
        c,
        JOINER
            | '\u{300}'..='\u{36f}'
            | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}'
            | '\u{3099}'..='\u{309a}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{fe20}'..='\u{fe2f}'
            | '\u{1f3fb}'..='\u{1f3ff}'
            | '\u{e0020}'..='\u{e007f}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

/// Joins two emoji to one.
pub(super) const JOINER: char = '\u{200d}';

/// Bytes from which a match where one is expected counts.
const SHORT_MATCH_BYTES: usize = 8;

/// Characters from which a match where one is expected counts: eight bytes are two emoji.
pub(super) const SHORT_MATCH_CHARS: usize = 4;
