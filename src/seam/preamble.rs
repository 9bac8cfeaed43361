//! The sentence with which a model answers the note instead of going on.
//!
//! In: the head of a continuation. Out: where its conversational first paragraph ends; of a line
//! before an anchor, what shows that it is none of the answer's. It must never take a sentence of
//! the answer for a preamble: without an anchor behind it, three things have to come together.

/// What there may be to take off the head of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peel {
    /// Nothing.
    None,
    /// Not known yet.
    Open,
    /// Everything from byte `lead` to byte `end`; what is before it is whitespace.
    Off { lead: usize, end: usize },
}

/// How much more there is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    /// Perhaps more: what is open may stay so.
    Perhaps,
    /// Perhaps more, but it must be decided now.
    TooLate,
    /// No more.
    Never,
}

/// Finds a first paragraph that opens as conversation, names the continuation, and ends in a colon
/// or full stop before a line end.
pub(super) fn preamble(text: &str, more: More) -> Peel {
    let body = text.trim_start();
    let lead = text.len() - body.len();
    if !(opens(body) || (more == More::Perhaps && may_open(body))) {
        return Peel::None;
    }
    let Some(line) = body.find('\n') else {
        return match more {
            More::Perhaps => Peel::Open,
            More::Never if is_preamble(body) => Peel::Off { lead, end: text.len() },
            More::TooLate | More::Never => Peel::None,
        };
    };
    let (paragraph, after) = body.split_at(line);
    if !is_preamble(paragraph) {
        return Peel::None;
    }
    let rest = after.trim_start_matches(['\r', '\n']);
    Peel::Off { lead, end: text.len() - rest.len() }
}

/// Whether `text` begins with a word of conversation.
pub(super) fn opens(text: &str) -> bool {
    OPENINGS.iter().any(|opening| {
        text.strip_prefix(opening).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    })
}

/// `line` without the emphasis and brackets that it is set in.
pub(super) fn without_wraps(line: &str) -> &str {
    line.trim_matches(WRAPS)
}

/// Whether `line` ends as one that only leads over to something.
pub(super) fn leads_over(line: &str) -> bool {
    without_wraps(line).ends_with(SENTENCE_ENDS)
}

/// Whether `line` is set in emphasis or brackets and says no more than that something goes on.
pub(super) fn aside(line: &str) -> bool {
    let lower = without_wraps(line).to_ascii_lowercase();
    line.starts_with(WRAPS)
        && line.ends_with(WRAPS)
        && ASIDES.iter().any(|word| {
            lower.strip_prefix(word).is_some_and(|rest| {
                rest.starts_with(" from ") || !rest.contains(char::is_alphanumeric)
            })
        })
}

fn may_open(text: &str) -> bool {
    OPENINGS.iter().any(|opening| opening.starts_with(text))
}

fn is_preamble(paragraph: &str) -> bool {
    let lower = paragraph.trim_end().to_ascii_lowercase();
    opens(paragraph)
        && lower.ends_with([':', '.', '\u{2026}'])
        && CONTINUATION.iter().any(|words| lower.contains(words))
}

/// Words that open a preamble, as seen of models that were asked for none.
const OPENINGS: [&str; 34] = [
    "Sure",
    "Certainly",
    "Of course",
    "Okay",
    "OK",
    "Ok",
    "Alright",
    "All right",
    "Absolutely",
    "Understood",
    "Got it",
    "No problem",
    "Sorry",
    "I'm sorry",
    "I\u{2019}m sorry",
    "Apologies",
    "My apologies",
    "I apologize",
    "I apologise",
    "Thanks",
    "Thank you",
    "Here is",
    "Here's",
    "Here\u{2019}s",
    "Here are",
    "Let me",
    "I'll",
    "I\u{2019}ll",
    "I will",
    "Let's",
    "Let\u{2019}s",
    "Continuing",
    "Picking up",
    "Resuming",
];

/// Words that name the continuation, in lower case.
const CONTINUATION: [&str; 13] = [
    "continu",
    "left off",
    "where i stopped",
    "where we stopped",
    "where it stopped",
    "interrupt",
    "cut off",
    "pick up",
    "picking up",
    "resuming",
    "resume from",
    "resume where",
    "rest of",
];

/// What an [`aside`] begins with, in lower case.
const ASIDES: [&str; 4] = ["continued", "continuing", "continuation", "cont"];

/// What a line is set in. A list item is not: its mark has a space behind it.
const WRAPS: [char; 6] = ['*', '_', '(', ')', '[', ']'];

/// How a line that only leads over to something ends.
const SENTENCE_ENDS: [char; 8] =
    ['.', ':', '!', '\u{2026}', '\u{3002}', '\u{ff1a}', '\u{ff01}', '\u{ff0e}'];
