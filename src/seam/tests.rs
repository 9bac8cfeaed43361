//! One row for each sentence of the contract, read whole, by character and split at every place.

mod held;

use super::fence::Fence;
use super::fold::{coincidences, counts};
use super::{Expect, HOLD_MAX, Seam, Straddle, Straddled, Verdict, anchor_of};
use crate::event::Echo;
use crate::event::Join;

/// How a row's seam is made; what is sent is what was said without the whitespace at its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    Prefill(Echo),
    /// The anchor of the engine.
    Anchor,
    Align,
}

impl Mode {
    pub(super) fn expect(self, said: &str) -> Expect {
        let sent = said.trim_end().len();
        match self {
            Self::Prefill(echo) => Expect::Literal { sent, echo },
            Self::Anchor => Expect::Anchor { sent, anchor: anchor_of(&said[..sent]).to_owned() },
            Self::Align => Expect::Align,
        }
    }
}

/// What a caller gets of a continuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The new text, how it joined, the bytes taken off.
    Joined(String, Join, usize),
    Diverged(usize),
    Incomplete,
}

/// Pushes `pieces` and ends; with the most that was held.
pub(super) fn read<'a>(
    said: &str,
    expect: Expect,
    pieces: impl IntoIterator<Item = &'a str>,
) -> (Outcome, usize) {
    let mut seam = Seam::new(said, expect);
    let mut pieces = pieces.into_iter();
    let mut most = 0;
    let verdict = loop {
        let Some(piece) = pieces.next() else {
            break seam.end();
        };
        match seam.push(piece) {
            Verdict::Hold => most = most.max(seam.held()),
            verdict => break verdict,
        }
    };
    let outcome = match verdict {
        Verdict::Hold => panic!("the end says hold"),
        Verdict::Resolved { mut text, join, trimmed } => {
            text.extend(pieces);
            Outcome::Joined(text, join, trimmed)
        }
        Verdict::Diverged { at } => Outcome::Diverged(at),
        Verdict::Incomplete => Outcome::Incomplete,
    };
    (outcome, most)
}

pub(super) fn by_char(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().map(move |(at, c)| &text[at..at + c.len_utf8()])
}

/// Reads `text` in every way and returns the one outcome.
fn read_all(name: &str, said: &str, mode: Mode, text: &str) -> Outcome {
    let (whole, _) = read(said, mode.expect(said), [text]);
    let (chars, _) = read(said, mode.expect(said), by_char(text));
    assert_eq!(whole, chars, "{name}: by character");
    for (at, _) in text.char_indices() {
        let (left, right) = text.split_at(at);
        let (split, _) = read(said, mode.expect(said), [left, right]);
        assert_eq!(whole, split, "{name}: split at {at}");
    }
    if let Outcome::Joined(new, _, trimmed) = &whole {
        assert_eq!(new.len() + trimmed, text.len(), "{name}: bytes");
    }
    whole
}

pub(super) const NEVER: Mode = Mode::Prefill(Echo::Never);
pub(super) const UNKNOWN: Mode = Mode::Prefill(Echo::Unknown);
pub(super) const ALWAYS: Mode = Mode::Prefill(Echo::Always);

/// Rows of name, what was said, mode, continuation, new text, join.
type Row = (&'static str, &'static str, Mode, &'static str, &'static str, Join);

fn joins(rows: &[Row]) {
    for (name, said, mode, text, new, join) in rows {
        match read_all(name, said, *mode, text) {
            Outcome::Joined(got, by, _) => {
                assert_eq!((got.as_str(), by), (*new, *join), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

const FOX: &str =
    "Once upon a time there was a forest. The quick brown fox jumps over the lazy dog";
/// A text that ends in an anchor which begins a line of it.
const BEGINS: &str = "Fox\n\nThe quick brown fox jumps over the lazy dog";
/// A text that ends in an anchor which stands in it twice.
const TWICE: &str = "It says so twice. Now the same eighty characters come once more, and they are \
    the same as those before them. And so: Now the same eighty characters come once more, and they \
    are the same as those before them.";
/// Code that ends in a line which stands in it twice, and is longer than any anchor.
const LONG: &str = "Look:\n\n```rust\n\
    \x20   let answer_to_everything = compute(all_of_the_forty_two_and_more, and_yet_more_of_it);\n\
    \x20   let answer_to_everything = compute(all_of_the_forty_two_and_more, and_yet_more_of_it);";
/// Such code that ends in a short line.
const SHORT: &str = "Look:\n\n```rust\n\
    \x20   let answer_to_everything = compute(all_of_the_forty_two_and_more, and_yet_more_of_it);\n\
    \x20   x = 1;\n\
    \x20   let answer_to_everything = compute(all_of_the_forty_two_and_more, and_yet_more_of_it);\n\
    \x20   x = 1;";
/// Code whose end stands in it twice, however long the anchor.
const CALLS: &str = "```rust\n    collect(every, single, one, of, the, values, that, there, are, in, this, long, list)\n    \
    collect(every, single, one, of, the, values, that, there, are, in, this, long, list";
/// The same, with a last line that is too short to be known again.
const ASSIGNS: &str = "```rust\n    collect(every, single, one, of, the, values, that, there, are, in, this, list);\n    a = b\n    \
    collect(every, single, one, of, the, values, that, there, are, in, this, list);\n    a = b";
const RUST: &str =
    "Look:\n\n```rust\nfn main() {\n    let answer = 42;\n    let result = compute(ans";

#[test]
#[rustfmt::skip]
fn whitespace() {
    use Join::{Anchor, Echo as Echoed, Literal, Unverified};
    joins(&[
        ("all of it", "plan:\n\n", NEVER, "\n\n1.", "1.", Literal),
        ("longest common prefix", "plan:\n", NEVER, "\n\n1.", "\n1.", Literal),
        ("part of it", "plan:\n\n", NEVER, "\n1.", "1.", Literal),
        ("none of it stands", "plan:\n\n", NEVER, "1.", "1.", Literal),
        ("another kind stands", "plan:\n", NEVER, " 1.", " 1.", Literal),
        ("nothing but it", "plan:\n\n", NEVER, "\n", "", Literal),
        ("dropped space is not invented", "plan", NEVER, "ned", "ned", Literal),
        ("no space invented", "The quick brown", NEVER, "fox", "fox", Literal),
        ("after an echo", "a plan:\n\n", ALWAYS, "a plan:\n\n1.", "1.", Echoed),
        ("after an echo of what was sent", "a plan:\n\n", ALWAYS, "a plan:\n1.", "1.", Echoed),
        ("echo without it", "a plan:\n\n", ALWAYS, "a plan:1.", "1.", Echoed),
        ("after an anchor", "This is the plan:\n\n", Mode::Anchor, "This is the plan:\n\n1.", "1.", Anchor),
        ("unverified", "This is the plan:\n\n", Mode::Anchor, "\n\n1. Go.", "1. Go.", Unverified),
        ("all whitespace said", "\n ", NEVER, "\n x", "x", Literal),
        ("no-break space", "plan:\u{a0}", NEVER, "\u{a0}x", "x", Literal),
        ("one byte in common is not whitespace in common", "plan:\u{a0}", NEVER, "é", "é", Literal),
    ]);
}

#[test]
fn only_whitespace_that_was_not_sent_is_taken_off() {
    for (sent, new) in [(5, "1."), (6, "\n1."), (7, "\n\n1.")] {
        let (outcome, _) =
            read("plan:\n\n", Expect::Literal { sent, echo: Echo::Never }, ["\n\n1."]);
        assert_eq!(outcome, Outcome::Joined(new.into(), Join::Literal, 7 - sent));
    }
}

#[test]
#[rustfmt::skip]
fn literal_continuation() {
    use Join::Literal;
    joins(&[
        ("no overlap is guessed", "ha ha ", NEVER, "ha", "ha", Literal),
        ("no overlap is guessed, unknown", "ha ha ", UNKNOWN, "ha", "ha", Literal),
        ("all of it repeated", "ha ha ", NEVER, "ha ha", "ha ha", Literal),
        ("all of a repetition, unknown", "ha ha ha ha ", UNKNOWN, "ha ha ha ha ha", "ha ha ha ha ha", Literal),
        ("long repetition", "ha ha ha ha ha ha ha ha ha ha ha ha ", NEVER, "ha ha ha ha ha ha ha ha ha ha ha ha ha", "ha ha ha ha ha ha ha ha ha ha ha ha ha", Literal),
        ("next item with the first one's head", "- The first point of this list is a.\n- The first point of this list is b.\n", NEVER, "- The first point of this list is c.", "- The first point of this list is c.", Literal),
        ("overlap with the end", FOX, NEVER, " the lazy dog again", " the lazy dog again", Literal),
        ("a preamble stays", FOX, NEVER, "Sure, continuing:\n x", "Sure, continuing:\n x", Literal),
        ("a fence stays", RUST, NEVER, "```rust\nwer)", "```rust\nwer)", Literal),
        ("documented: a short head is new text", FOX, NEVER, "Once upon a time it", "Once upon a time it", Literal),
        ("unknown: seven bytes are new text", FOX, UNKNOWN, "Once upside", "Once upside", Literal),
        ("unknown: three characters of CJK are new text", "日本語の文章です。", UNKNOWN, "日本語で", "日本語で", Literal),
        ("unknown: three characters sent are no echo", "Yes", UNKNOWN, "Yes", "Yes", Literal),
        ("a family is one coincidence", "👨‍👩‍👧 are here", UNKNOWN, "👨‍👩‍👧 too", "👨‍👩‍👧 too", Literal),
        ("nothing", FOX, NEVER, "", "", Literal),
        ("nothing was said", "", UNKNOWN, "Hello", "Hello", Literal),
        ("ends inside a short head", FOX, UNKNOWN, "Once", "Once", Literal),
    ]);
}

#[test]
#[rustfmt::skip]
fn echo() {
    joins(&[
        ("then goes on", FOX, NEVER, "Once upon a time there was a forest. The quick brown fox jumps over the lazy dog and", " and", Join::Echo),
        ("and nothing new", FOX, NEVER, FOX, "", Join::Echo),
        ("unknown", "To be,", UNKNOWN, "To be, or not", " or not", Join::Echo),
        ("unknown, short", "Yes.", UNKNOWN, "Yes. No.", " No.", Join::Echo),
        ("known, one character", "A", ALWAYS, "Answer", "nswer", Join::Echo),
        ("known, a repetition", "ha ha ha ", ALWAYS, "ha ha ha ha", "ha", Join::Echo),
        ("known, but not this time", "To be,", ALWAYS, " or not", " or not", Join::Literal),
        ("known, not all of it", "To be,", ALWAYS, "To do", "To do", Join::Literal),
        ("a head that stands twice", "- A list of things one\n- A list of things two", NEVER, "- A list of things one\n- A list of things two\n- A", "\n- A", Join::Echo),
        ("CJK", "日本語の文章です。", UNKNOWN, "日本語の文章です。次", "次", Join::Echo),
    ]);
}

#[test]
#[rustfmt::skip]
fn restart() {
    let rows = [
        ("documented, 24 bytes", FOX, NEVER, "Once upon a time there was a tree", Outcome::Diverged(29)),
        ("ends before the end", FOX, NEVER, "Once upon a time there was", Outcome::Diverged(26)),
        ("unknown, eight bytes", FOX, UNKNOWN, "Once upon the", Outcome::Diverged(10)),
        ("unknown, four characters of CJK", "日本語の文章です。", UNKNOWN, "日本語の本", Outcome::Diverged(12)),
        ("differs inside a character", "Im Wald größer", UNKNOWN, "Im Wald grün", Outcome::Diverged(10)),
        ("instead of an anchor", FOX, Mode::Anchor, "Once upon a time there was a tree", Outcome::Diverged(29)),
        ("instead of an anchor, 24 bytes", FOX, Mode::Anchor, "Once upon a time there wind", Outcome::Diverged(24)),
        ("behind a preamble", TWICE, Mode::Anchor, "Sure, continuing from there:\n\nIt says so twice. Now the same thing", Outcome::Diverged(31)),
        ("align differs", FOX, Mode::Align, "Once upon a day", Outcome::Diverged(12)),
        ("align differs at once", FOX, Mode::Align, "No", Outcome::Diverged(0)),
        ("align ends early", FOX, Mode::Align, "Once", Outcome::Diverged(4)),
        ("align says nothing", FOX, Mode::Align, "", Outcome::Diverged(0)),
        ("align without the whitespace", "a \n", Mode::Align, "a b", Outcome::Diverged(2)),
    ];
    for (name, said, mode, text, want) in rows {
        let got = read_all(name, said, mode, text);
        assert_eq!(got, want, "{name}");
    }
    joins(&[
        ("over the end", FOX, Mode::Anchor, "Once upon a time there was a forest. The quick brown fox jumps over the lazy dog. End", ". End", Join::Echo),
        ("align", FOX, Mode::Align, "Once upon a time there was a forest. The quick brown fox jumps over the lazy dog. End", ". End", Join::Aligned),
        ("align and nothing new", "a\n", Mode::Align, "a\n", "", Join::Aligned),
        ("align with the whitespace", "a\n", Mode::Align, "a\n\nb", "\nb", Join::Aligned),
        ("align with nothing", "", Mode::Align, "b", "b", Join::Aligned),
    ]);
}

#[test]
#[rustfmt::skip]
fn anchor_given() {
    use Join::Anchor;
    assert_eq!(anchor_of(FOX), "The quick brown fox jumps over the lazy dog");
    joins(&[
        ("exact", FOX, Mode::Anchor, "The quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("glued", FOX, Mode::Anchor, "The quick brown fox jumps over the lazy dogs", "s", Anchor),
        ("folded whitespace", FOX, Mode::Anchor, "The quick brown\nfox  jumps over the\n\nlazy dog. End", ". End", Anchor),
        ("after whitespace", FOX, Mode::Anchor, "\n\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("curly quotes", "She said: \"It's the end of 'all' things...\" and then", Mode::Anchor, "\u{201c}It\u{2019}s the end of \u{2018}all\u{2019} things\u{2026}\u{201d} and then left", " left", Anchor),
        ("straight quotes", "She said: \u{201c}It\u{2019}s the end of all things\u{2026}\u{201d} and then", Mode::Anchor, "said: \"It's the end of all things...\" and then left", " left", Anchor),
        ("in quotes", FOX, Mode::Anchor, "\"The quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a preamble", FOX, Mode::Anchor, "Sure, continuing:\n\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a preamble in another language", FOX, Mode::Anchor, "Gerne, weiter geht's:\n\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a preamble before an anchor that begins a line", "Fox\n\nThe quick brown fox jumps over the lazy dog", Mode::Anchor, "Gerne, weiter geht's:\n\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a preamble and a fence before an anchor that begins a line", BEGINS, Mode::Anchor, "Sure, continuing from where I left off:\n\n```\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a preamble and a fence with an info string before an anchor that begins a line", BEGINS, Mode::Anchor, "Certainly, here is the rest:\n\n```rust\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a preamble and a fence in another language before an anchor that begins a line", BEGINS, Mode::Anchor, "Voici la suite :\r\n\r\n~~~ text\r\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a preamble and a rule before an anchor that begins a line", BEGINS, Mode::Anchor, "Sure thing! Here's the continuation:\n\n---\n\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a preamble, a rule and a quoted fence before an anchor that begins a line", BEGINS, Mode::Anchor, "Gerne, weiter geht's:\n\n***\n\n```\n> The quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a strong preamble before an anchor that begins a line", BEGINS, Mode::Anchor, "**Continuing:**\n\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a strong preamble in another language before an anchor that begins a line", BEGINS, Mode::Anchor, "**Voici la suite :**\n\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("an emphasized preamble before an anchor that begins a line", BEGINS, Mode::Anchor, "*Sure, continuing:*\n\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("an underlined preamble before an anchor that begins a line", BEGINS, Mode::Anchor, "__Okay, going on.__\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a preamble after line ends before an anchor that begins a line", BEGINS, Mode::Anchor, "\n\n**Sure, continuing:**\n\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a strong aside before an anchor that begins a line", BEGINS, Mode::Anchor, "**Continued from where I left off**\n\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("an aside in brackets before an anchor that begins a line", BEGINS, Mode::Anchor, "(continued)\n\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("an aside in brackets and a rule before an anchor that begins a line", BEGINS, Mode::Anchor, "*[Cont.]*\n\n---\n\nThe quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a preamble on the same line", FOX, Mode::Anchor, "Continuing: The quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("half of a repetition is no restart", "ha ha ha ha ha ha ha ha ha ha", Mode::Anchor, "ha ha ha ha ha ha ha ha ha h!", " h!", Anchor),
        ("a longer end", FOX, Mode::Anchor, "was a forest. The quick brown fox jumps over the lazy dog. End", ". End", Anchor),
        ("a fence", RUST, Mode::Anchor, "```rust\n    let answer = 42;\n    let result = compute(answer);", "wer);", Anchor),
        ("half", FOX, Mode::Anchor, "over the lazy dog. End", ". End", Anchor),
        ("half, eight bytes", FOX, Mode::Anchor, "lazy dog. End", ". End", Anchor),
        ("half, of four characters", "春が来た。花が咲いて、鳥が歌う", Mode::Anchor, "鳥が歌う朝", "朝", Anchor),
        ("half behind a preamble", FOX, Mode::Anchor, "Sure, continuing from there:\n\nover the lazy dog. End", ". End", Anchor),
        ("all of a short answer", "I", Mode::Anchor, "I think", " think", Anchor),
        ("and nothing new", FOX, Mode::Anchor, "The quick brown fox jumps over the lazy dog", "", Anchor),
        ("half and nothing new", FOX, Mode::Anchor, "over the lazy dog", "", Anchor),
        ("one that stands twice, at the head", TWICE, Mode::Anchor, "and they are the same as those before them. End", " End", Anchor),
        ("behind a preamble, one that stands twice", TWICE, Mode::Anchor, "Okay, picking up:\n\nand they are the same as those before them. End", " End", Anchor),
    ]);
}

#[test]
#[rustfmt::skip]
fn anchor_not_given() {
    use Join::{Overlap, Unverified};
    let rows: &[Row] = &[
        ("new text", FOX, Mode::Anchor, " and then sleeps.", " and then sleeps.", Unverified),
        ("half, seven bytes", FOX, Mode::Anchor, "azy dog. End", "azy dog. End", Unverified),
        ("half, three characters", "春が来た。花が咲いて、鳥が歌う", Mode::Anchor, "が歌う朝", "が歌う朝", Unverified),
        ("half, one emoji", "We are a happy family 👨‍👩‍👧", Mode::Anchor, "👨‍👩‍👧 again", "👨‍👩‍👧 again", Unverified),
        ("short head of the answer", FOX, Mode::Anchor, "Once upon a day", "Once upon a day", Unverified),
        ("head of the answer, 23 bytes", FOX, Mode::Anchor, "Once upon a time there is", "Once upon a time there is", Unverified),
        ("preamble, then a short head of the answer", FOX, Mode::Anchor, "Sure, continuing from there:\n\nOnce upon", "Once upon", Unverified),
        ("nothing", FOX, Mode::Anchor, "", "", Unverified),
        ("whitespace", FOX, Mode::Anchor, "\n", "\n", Unverified),
        ("preamble", FOX, Mode::Anchor, "Sure, continuing from where I left off:\n\nIt sleeps.", "It sleeps.", Unverified),
        ("preamble after line ends", FOX, Mode::Anchor, "\n\nSorry, I was interrupted.\nIt sleeps.", "\n\nIt sleeps.", Unverified),
        ("preamble, other answer's word", FOX, Mode::Anchor, "Here\u{2019}s the rest of the story:\r\n\r\nIt sleeps.", "It sleeps.", Unverified),
        ("no capital", FOX, Mode::Anchor, "sure, continuing from there:\nIt sleeps.", "sure, continuing from there:\nIt sleeps.", Unverified),
        ("does not name the continuation", FOX, Mode::Anchor, "Certainly, foxes do sleep.\nIt sleeps.", "Certainly, foxes do sleep.\nIt sleeps.", Unverified),
        ("does not end in a colon or full stop", FOX, Mode::Anchor, "Sure, continuing\nIt sleeps.", "Sure, continuing\nIt sleeps.", Unverified),
        ("no line end", FOX, Mode::Anchor, "Sure, continuing: it sleeps", "Sure, continuing: it sleeps", Unverified),
        ("a sentence that contains such a word", FOX, Mode::Anchor, " It will surely continue.\nSure.", " It will surely continue.\nSure.", Unverified),
        ("a longer word", FOX, Mode::Anchor, "Surely it will continue.\nYes.", "Surely it will continue.\nYes.", Unverified),
        ("second paragraph", FOX, Mode::Anchor, "It sleeps.\n\nSure, continuing:\nx", "It sleeps.\n\nSure, continuing:\nx", Unverified),
        ("the passage comes again", "1. Item with a long explanation, and why it is so\n", Mode::Anchor, "2. Item with a long explanation, and why it is so\n", "2. Item with a long explanation, and why it is so\n", Unverified),
        ("the passage comes again in a line", "[{\"role\": \"author\", \"active\": true, \"quota\": 100}", Mode::Anchor, ", {\"name\": 1, \"role\": \"author\", \"active\": true, \"quota\": 100}]", ", {\"name\": 1, \"role\": \"author\", \"active\": true, \"quota\": 100}]", Unverified),
        ("the passage comes again on a line", "Fox\n\nThe quick brown fox jumps over the lazy dog", Mode::Anchor, ".\n\nDog\n\nThe quick brown fox jumps over the lazy dog", ".\n\nDog\n\nThe quick brown fox jumps over the lazy dog", Unverified),
        ("the passage comes again behind a line of its own", BEGINS, Mode::Anchor, "\n\nDogs:\nThe quick brown fox jumps over the lazy dog. End", "\n\nDogs:\nThe quick brown fox jumps over the lazy dog. End", Unverified),
        ("the passage comes again behind a strong line", BEGINS, Mode::Anchor, "\n\n**Dogs:**\n\nThe quick brown fox jumps over the lazy dog. End", "\n\n**Dogs:**\n\nThe quick brown fox jumps over the lazy dog. End", Unverified),
        ("the passage comes again behind a strong line that only begins like an aside", BEGINS, Mode::Anchor, "**Continued care of dogs**\n\nThe quick brown fox jumps over the lazy dog. End", "**Continued care of dogs**\n\nThe quick brown fox jumps over the lazy dog. End", Unverified),
        ("the passage comes again behind a rule", BEGINS, Mode::Anchor, "\n\nAnd that is it.\n\n---\n\nThe quick brown fox jumps over the lazy dog. End", "\n\nAnd that is it.\n\n---\n\nThe quick brown fox jumps over the lazy dog. End", Unverified),
        ("the passage comes again behind the end of its line and a rule", BEGINS, Mode::Anchor, " and cats.\n\n---\n\nThe quick brown fox jumps over the lazy dog. End", " and cats.\n\n---\n\nThe quick brown fox jumps over the lazy dog. End", Unverified),
        ("the passage comes again in a block", BEGINS, Mode::Anchor, "\n\nOr as a block:\n\n```text\nThe quick brown fox jumps over the lazy dog. End", "\n\nOr as a block:\n\n```text\nThe quick brown fox jumps over the lazy dog. End", Unverified),
        ("the passage comes again behind a list item", BEGINS, Mode::Anchor, "* Let me see\n* The quick brown fox jumps over the lazy dog. End", "* Let me see\n* The quick brown fox jumps over the lazy dog. End", Unverified),
        ("the passage comes again behind a quotation", BEGINS, Mode::Anchor, "\u{201c}Sure\u{201d}\n\n---\n\nThe quick brown fox jumps over the lazy dog. End", "\u{201c}Sure\u{201d}\n\n---\n\nThe quick brown fox jumps over the lazy dog. End", Unverified),
        ("the passage comes again behind the end of a block", BEGINS, Mode::Anchor, "```\n\nDogs:\n\n```\nThe quick brown fox jumps over the lazy dog. End", "```\n\nDogs:\n\n```\nThe quick brown fox jumps over the lazy dog. End", Unverified),
        ("the passage comes again behind two lines, one of them code in marks", BEGINS, Mode::Anchor, "Dogs:\n```dog``` says\nThe quick brown fox jumps over the lazy dog. End", "Dogs:\n```dog``` says\nThe quick brown fox jumps over the lazy dog. End", Unverified),
        ("the passage comes again behind two lines and a fence", BEGINS, Mode::Anchor, "Dogs.\nCats:\n\n```\nThe quick brown fox jumps over the lazy dog. End", "Dogs.\nCats:\n\n```\nThe quick brown fox jumps over the lazy dog. End", Unverified),
        ("the passage comes again in the other branch", "```python\nif first:\n    collect(every, single, one, of, the, values)", Mode::Anchor, "\nelse:\n    collect(every, single, one, of, the, values)\n", "\nelse:\n    collect(every, single, one, of, the, values)\n", Unverified),
        ("next item with the first one's head", "- The first point of this list is a.\n- The first point of this list is b.\nAnd these are all the points that there are.\n", Mode::Anchor, "- The first point of this list is c.", "- The first point of this list is c.", Unverified),
        ("overlap of words that stand once, longer than the anchor", TWICE, Mode::Anchor, "And so: Now the same eighty characters come once more, and they are the same as those before them. End", " End", Overlap),
        ("head of the answer behind a preamble, and no more", TWICE, Mode::Anchor, "Sure, continuing from where I left off:\n\nIt says", "It says", Unverified),
        ("overlap of words that stand twice", TWICE, Mode::Anchor, "once more, and they are the same as those before them. End", "once more, and they are the same as those before them. End", Unverified),
    ];
    joins(rows);
}

#[test]
#[rustfmt::skip]
fn fences() {
    use Join::{Anchor, Unverified};
    const LINE: &str = "Look:\n\n```rust\nfn main() {\n    // The answer is known to be forty-two.\n    let answer = 42;";
    joins(&[
        ("info string", RUST, Mode::Anchor, "```rust\nwer);\n}\n```", "wer);\n}\n```", Unverified),
        ("info string, new line of the block", LINE, Mode::Anchor, "```rust\n    let b = 1;\n", "\n    let b = 1;\n", Unverified),
        ("info string after a line end", LINE, Mode::Anchor, "\n```rust\n    let b = 1;\n", "\n    let b = 1;\n", Unverified),
        ("behind a preamble", RUST, Mode::Anchor, "Sure, here is the rest of the code. Continuing:\n\n```rust\nwer);", "wer);", Unverified),
        ("bare, the unfinished line goes on", RUST, Mode::Anchor, "```\n    let result = compute(answer);", "wer);", Anchor),
        ("bare, its indentation goes on", LINE, Mode::Anchor, "```\n    let b = 1;\n", "\n    let b = 1;\n", Unverified),
        ("bare, something else follows", LINE, Mode::Anchor, "```\n\nThat is all.", "```\n\nThat is all.", Unverified),
        ("bare, after a line end", LINE, Mode::Anchor, "\n```\n    That", "\n```\n    That", Unverified),
        ("bare, at the beginning of a line", "```\n  a and b and c and d\n", Mode::Anchor, "```\n  x", "```\n  x", Unverified),
        ("bare, at the end", LINE, Mode::Anchor, "```", "```", Unverified),
        ("outside of a fence", FOX, Mode::Anchor, "\n```rust\nfn x", "\n```rust\nfn x", Unverified),
        ("other marks are content", "~~~md\nSome text about fences of all kinds", Mode::Anchor, "```rust\nfn x", "```rust\nfn x", Unverified),
        ("fewer marks are content", "````md\nSome text about fences of all kinds", Mode::Anchor, "```rust\nfn x", "```rust\nfn x", Unverified),
        ("inline code", "```\nSome text about fences of all kinds", Mode::Anchor, "```a``` b\nc", "```a``` b\nc", Unverified),
        ("info string, anchor twice", LONG, Mode::Anchor, "```rust\n    let b = 1;\n", "\n    let b = 1;\n", Unverified),
        ("info string, anchor twice, no indentation", LONG, Mode::Anchor, "```rust\nlet b = 1;\n", "let b = 1;\n", Unverified),
        ("info string, anchor twice, short line", SHORT, Mode::Anchor, "```rust\n    let b = 1;\n", "\n    let b = 1;\n", Unverified),
        ("head of the unfinished line, and no more", LONG, Mode::Anchor, "```rust\nlet an", "let an", Unverified),
        ("half a fence, and no more", LONG, Mode::Anchor, "``", "``", Unverified),
        ("too few marks for one, at the end", RUST, Mode::Anchor, "``", "``", Unverified),
        ("too few marks for one", RUST, Mode::Anchor, "``\nx", "``\nx", Unverified),
        ("info string, where nothing else holds the text", CALLS, Mode::Anchor, "```rust\n, more)", ", more)", Unverified),
        ("indented, where nothing else holds the text", CALLS, Mode::Anchor, "   ```rust\n, more)", ", more)", Unverified),
        ("bare, an indentation goes on, where nothing else holds the text", ASSIGNS, Mode::Anchor, "```\n    c = 1;", "\n    c = 1;", Unverified),
    ]);
}

#[test]
fn fence_state() {
    for (said, open) in [
        ("", false),
        ("```", true),
        ("```\n", true),
        ("a\n   ~~~ rs\nx", true),
        ("a\n    ```\nx", false),
        ("```\n```", false),
        ("```\n``` x\n", true),
        ("````\n```\n", true),
        ("```\n````\n", false),
        ("```\n~~~\n", true),
        ("``` a`b\n", false),
        ("```\n    ```\n", true),
        ("```a\n```\n```b\n", true),
        ("```\r\n```\r\n", false),
    ] {
        assert_eq!(Fence::open_in(said).is_some(), open, "{said:?}");
    }
}

#[test]
#[rustfmt::skip]
fn ends_inside_preamble_or_anchor() {
    for (name, said, text) in [
        ("anchor", FOX, "The quick brown"),
        ("anchor's first character", FOX, "T"),
        ("folded anchor", FOX, "\nThe quick  bro"),
        ("half of the anchor", FOX, "jumps over"),
        ("preamble", FOX, "Sure, continuing from where I left off:"),
        ("preamble and line ends", FOX, "Sure, continuing from where I left off:\n\n"),
        ("anchor behind a preamble", FOX, "Sure, continuing from there:\n\nThe quick br"),
        ("anchor behind a preamble, twice", TWICE, "Sure, continuing from there:\n\nand they"),
        ("fence", RUST, "```rust"),
        ("fence and its line end", RUST, "```rust\n"),
    ] {
        assert_eq!(
            read_all(name, said, Mode::Anchor, text),
            Outcome::Incomplete,
            "{name}"
        );
    }
}

#[test]
fn a_restart_counts_from_24_bytes() {
    let read = |text: &str| read_all("a restart", FOX, Mode::Anchor, text);
    let unverified = Outcome::Joined(format!("{}X", &FOX[..23]), Join::Unverified, 0);
    assert_eq!(read(&format!("{}X", &FOX[..23])), unverified);
    assert_eq!(read(&format!("{}X", &FOX[..24])), Outcome::Diverged(24));
}

#[test]
fn long_answers_take_linear_time() {
    // Quadratic in this, it would take minutes.
    let said: String = (0..30_000).map(|n| format!("{n} bottles ")).collect();
    for mode in [Mode::Align, ALWAYS, Mode::Anchor, NEVER] {
        let (outcome, _) = read(&said, mode.expect(&said), by_char(&said));
        let Outcome::Joined(new, ..) = outcome else { panic!("{outcome:?}") };
        assert_eq!(new, "");
    }
}

#[test]
fn verdicts_stand() {
    let mut seam = Seam::new("a", Expect::Align);
    assert_eq!(seam.push("b"), Verdict::Diverged { at: 0 });
    assert_eq!(seam.push("a"), Verdict::Diverged { at: 0 });
    assert_eq!(seam.end(), Verdict::Diverged { at: 0 });
    let mut seam = Seam::new("a", Expect::Align);
    let resolved = |text: &str, trimmed| Verdict::Resolved {
        text: text.to_owned(),
        join: Join::Aligned,
        trimmed,
    };
    assert_eq!(seam.push("ab"), resolved("b", 1));
    assert_eq!(seam.push("c"), resolved("c", 0));
}

#[test]
fn debug_shows_no_text() {
    let expect = Mode::Anchor.expect(FOX);
    let mut seam = Seam::new(FOX, expect.clone());
    let verdict = seam.push("The quick brown fox jumps over the lazy dog SECRET");
    let shown = format!("{expect:?} {seam:?} {verdict:?}");
    assert!(!shown.contains("fox") && !shown.contains("SECRET"), "{shown}");
}

#[test]
fn bad_positions() {
    for sent in [0, 1, 2, 3, 5, 100, usize::MAX] {
        for echo in [Echo::Never, Echo::Unknown, Echo::Always] {
            let (outcome, _) = read("\u{e9}\u{e9} ", Expect::Literal { sent, echo }, ["x"]);
            assert_eq!(outcome, Outcome::Joined("x".into(), Join::Literal, 0));
            // Not taken off, though it stands behind some of these positions.
            let (outcome, _) = read("\u{e9}\u{e9} ", Expect::Literal { sent, echo }, ["\u{e9}!"]);
            assert_eq!(outcome, Outcome::Joined("\u{e9}!".into(), Join::Literal, 0));
        }
        for anchor in ["", " ", "nowhere in it", "\u{e9}"] {
            let anchor = anchor.to_owned();
            let (outcome, _) = read("\u{e9}\u{e9} ", Expect::Anchor { sent, anchor }, ["x"]);
            assert_eq!(outcome, Outcome::Joined("x".into(), Join::Unverified, 0));
        }
    }
    // Nothing was sent that the text could begin with.
    for said in ["", "\n"] {
        let (outcome, _) = read(said, Expect::Anchor { sent: 0, anchor: "words".into() }, ["x"]);
        assert_eq!(outcome, Outcome::Joined("x".into(), Join::Unverified, 0));
    }
}

/// What was not sent is only ever whitespace; of that, the caller says how much.
#[test]
fn what_counts_as_sent() {
    for (said, sent, text, new) in [
        ("plan:\n\n", 5, "\n\n1.", "1."),
        ("plan:\n\n", 6, "\n\n1.", "\n1."),
        ("plan:\n\n", 7, "\n\n1.", "\n\n1."),
        // More than whitespace follows, so it counts as sent.
        ("plan: x", 4, ": x marks it", ": x marks it"),
        ("plan: x ", 4, " : x", ": x"),
    ] {
        let (outcome, _) = read(said, Expect::Literal { sent, echo: Echo::Never }, [text]);
        let trimmed = text.len() - new.len();
        assert_eq!(outcome, Outcome::Joined(new.into(), Join::Literal, trimmed), "{said:?} {sent}");
    }
}

#[test]
fn overlaps_count_from_24_bytes() {
    // With an anchor of the answer's own end, that would be found first.
    for (bytes, join) in [(23, Join::Unverified), (24, Join::Overlap)] {
        let head = &FOX[FOX.len() - bytes..];
        let anchor = "words that are nowhere in it".to_owned();
        let sent = FOX.len();
        let (outcome, _) = read(FOX, Expect::Anchor { sent, anchor }, [head, " and"]);
        let Outcome::Joined(_, by, trimmed) = outcome else { panic!("{outcome:?}") };
        let taken = if by == Join::Overlap { bytes } else { 0 };
        assert_eq!((by, trimmed), (join, taken));
    }
}

#[test]
fn coincidences_are_counted() {
    for (text, count) in [
        ("abcd", 4),
        ("👨‍👩‍👧", 1),
        ("e\u{301}e\u{301}", 2),
        ("👍🏽❤\u{fe0f}", 2),
        ("🇩🇪🇫🇷", 2),
        ("日本", 2),
    ] {
        assert_eq!(coincidences(text, usize::MAX), count, "{text}");
    }
    assert!(counts("abcdefgh") && !counts("abcdefg") && !counts("👍👍👍") && counts("日本語文"));
}

#[test]
fn anchors() {
    assert_eq!(anchor_of(""), "");
    assert_eq!(anchor_of(" \n"), "");
    assert_eq!(anchor_of(" a b \n"), "a b");
    let text = format!("{}\n{}{}tail", "x".repeat(50), "y".repeat(20), " ".repeat(30));
    assert!(anchor_of(&text).starts_with("yyy"), "never starts with a space");
    let text = format!("start{}end", " ".repeat(200));
    assert_eq!(anchor_of(&text), "end", "never longer than 80");
    assert!(anchor_of(TWICE).chars().count() > 40, "longer until it stands once");
    let word = "y".repeat(40);
    assert_eq!(anchor_of(&format!("one word {word}")), word, "40 are enough");
    let same = "the same again, ".repeat(50);
    assert_eq!(anchor_of(&same).chars().count(), 43, "nothing to be gained");
    let family = format!("{}👨‍👩‍👧{}", "x".repeat(50), "y".repeat(38));
    assert!(anchor_of(&family).starts_with('👨') || anchor_of(&family).starts_with('x'));
}

fn stop_run(said: &str, stops: &[&str], pieces: &[&str]) -> Option<(String, bool)> {
    let stops: Vec<Box<str>> = stops.iter().map(|stop| Box::from(*stop)).collect();
    let mut straddle = Straddle::new(said, &stops)?;
    for (at, piece) in pieces.iter().enumerate() {
        match straddle.push(piece) {
            Straddled::Hold => {}
            Straddled::Pass(text) => return Some((text + &pieces[at + 1..].concat(), false)),
            Straddled::Stopped => return Some((String::new(), true)),
        }
    }
    Some((straddle.end(), false))
}

#[test]
fn stops_that_straddle() {
    for (said, stops, text, want) in [
        ("a", &["STOP"][..], "OP", None),
        ("aSTOP", &["STOP"], "x", None),
        ("a", &["", "é"], "x", None),
        ("aST", &["STOP"], "OPx", Some(("", true))),
        ("aST", &["STOP"], "OP", Some(("", true))),
        ("aST", &["STOP"], "Ox", Some(("Ox", false))),
        ("aST", &["STOP"], "O", Some(("O", false))),
        ("a\n", &["\n\nHuman:", "\n\n"], "\nHuman:", Some(("", true))),
        ("aa", &["aaa"], "ab", Some(("", true))),
        ("aba", &["abaX", "abab"], "b", Some(("", true))),
        ("日", &["日本"], "本", Some(("", true))),
    ] {
        let want = want.map(|(text, stopped): (&str, bool)| (text.to_owned(), stopped));
        assert_eq!(stop_run(said, stops, &[text]), want, "{said} {text}");
        let chars: Vec<&str> = by_char(text).collect();
        assert_eq!(stop_run(said, stops, &chars), want, "{said} {text}, by character");
    }
}
