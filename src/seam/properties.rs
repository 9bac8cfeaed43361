//! What holds for every text, wherever it is cut and however it is chunked.

use proptest::prelude::*;

use super::fold::{counts, fold};
use super::tests::{ALWAYS, Mode, NEVER, Outcome, UNKNOWN, by_char, read};
use super::{Expect, HOLD_MAX, anchor_of};
use crate::event::Echo;
use crate::event::Join;

/// Words of which a text of the real kind is made, so that matches happen.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => "[a-z]{1,9}",
        3 => Just(" ".to_owned()),
        1 => prop::sample::select(vec![
            "\n\n", "\n", "```rust\n", "```\n", "    ", "Sure, continuing:\n", "é", "日本語", "👨‍👩‍👧",
            "e\u{301}", "\u{201c}", "\"", "…", "...", "- ", "\t",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.join(" "))
}

fn at_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![NEVER, UNKNOWN, ALWAYS, Mode::Anchor, Mode::Align])
}

proptest! {
    #[test]
    fn exact_continuations_are_exact(text in words(), at in 0_usize..400) {
        let at = at_char(&text, at);
        let (said, rest) = (&text[..at], &text[said_sent(&text[..at])..]);
        let (outcome, _) = read(said, NEVER.expect(said), [rest]);
        let Outcome::Joined(new, join, _) = outcome else { panic!("{outcome:?}") };
        prop_assert_eq!(join, Join::Literal);
        prop_assert_eq!(format!("{said}{new}"), text);
    }

    #[test]
    fn unproved_echoes_join_exactly_or_not_at_all(text in words(), at in 0_usize..400) {
        let at = at_char(&text, at);
        let (said, rest) = (&text[..at], &text[said_sent(&text[..at])..]);
        for mode in [UNKNOWN, ALWAYS] {
            match read(said, mode.expect(said), [rest]).0 {
                Outcome::Joined(new, Join::Literal, _) => {
                    prop_assert_eq!(format!("{said}{new}"), text.as_str());
                }
                // Only where the rest begins as the answer does.
                Outcome::Joined(_, Join::Echo, taken) | Outcome::Diverged(taken) => {
                    prop_assert!(taken > 0 && rest.starts_with(text.chars().next().unwrap()));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn echoes_are_exact(text in words(), at in 0_usize..400) {
        let at = at_char(&text, at);
        let said = &text[..at];
        let (outcome, _) = read(said, ALWAYS.expect(said), by_char(&text));
        let Outcome::Joined(new, _, _) = outcome else { panic!("{outcome:?}") };
        prop_assert_eq!(format!("{said}{new}"), text);
    }

    #[test]
    fn replays_are_exact(text in words(), at in 0_usize..400) {
        let at = at_char(&text, at);
        let said = &text[..at];
        let (outcome, _) = read(said, Expect::Align, by_char(&text));
        prop_assert_eq!(outcome, Outcome::Joined(text[at..].to_owned(), Join::Aligned, at));
    }

    #[test]
    fn anchors_are_exact(text in words(), at in 0_usize..400, kind in 0_usize..4) {
        let at = at_char(&text, at);
        let said = &text[..at];
        let sent = said_sent(said);
        let anchor = anchor_of(&said[..sent]).to_owned();
        prop_assume!(counts(&fold(&anchor)) && fold(said).matches(&fold(&anchor)).count() == 1);
        let rest = &text[sent..];
        let continuation = match kind {
            0 => format!("{anchor}{rest}"),
            1 => format!("{}{rest}", anchor.replace(' ', "\n").replace('"', "\u{201d}")),
            2 => format!("Of course. Weiter:\n\n{anchor}{rest}"),
            _ => format!("\"{anchor}{rest}"),
        };
        let (outcome, _) = read(said, Mode::Anchor.expect(said), [continuation.as_str()]);
        let Outcome::Joined(new, join, _) = outcome else { panic!("{outcome:?}") };
        prop_assert_eq!(join, Join::Anchor);
        prop_assert_eq!(format!("{said}{new}"), text);
    }

    #[test]
    fn chunking_does_not_matter(
        said in words(), head in 0_usize..300, other in words(), mode in any_mode(),
        cuts in prop::collection::vec(0_usize..500, 0..6),
    ) {
        // Half of the continuations begin somewhere in what was said.
        let from = at_char(&said, head);
        let text = format!("{}{other}", &said[from..]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| at_char(&text, cut)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&str> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
        let (whole, _) = read(&said, mode.expect(&said), [text.as_str()]);
        let (split, held) = read(&said, mode.expect(&said), pieces);
        prop_assert_eq!(&whole, &split);
        prop_assert!(held <= HOLD_MAX + anchor_of(&said).len());
        if let Outcome::Joined(new, _, trimmed) = whole {
            prop_assert_eq!(new.len() + trimmed, text.len());
        }
    }

    #[test]
    fn nothing_panics(
        said in ".{0,60}", anchor in ".{0,20}", sent in 0_usize..70,
        pieces in prop::collection::vec(".{0,20}", 0..6), echo in 0_usize..3,
    ) {
        let echo = [Echo::Never, Echo::Unknown, Echo::Always][echo];
        let pushed: usize = pieces.iter().map(String::len).sum();
        let expects =
            [Expect::Literal { sent, echo }, Expect::Anchor { sent, anchor }, Expect::Align];
        for expect in expects {
            let (outcome, _) = read(&said, expect, pieces.iter().map(String::as_str));
            if let Outcome::Joined(new, _, trimmed) = outcome {
                prop_assert_eq!(new.len() + trimmed, pushed);
            }
        }
    }
}

/// Bytes that are sent of what was said.
fn said_sent(said: &str) -> usize {
    said.trim_end().len()
}
