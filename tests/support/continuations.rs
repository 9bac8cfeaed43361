//! Long answers, and how they go on after a cut.

use unbroken::dialect::Echo;
use unbroken::seam::{Expect, anchor_of};

/// A way to go on.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What is asked for after an answer.
    pub(crate) expect: fn(&str) -> Expect,
    /// What comes, up to where it is clear what it is.
    pub(crate) pieces: fn(&str) -> Vec<String>,
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "prefill",
        expect: |said| Expect::Literal { sent: said.len(), echo: Echo::Unknown },
        pieces: |_| tokens(" and so it goes on as if nothing had been."),
    },
    Case { name: "anchor", expect: anchor, pieces: |said| tokens(&format!("{} and", end(said))) },
    Case {
        name: "anchor behind a preamble",
        expect: anchor,
        pieces: |said| tokens(&format!("Sure, continuing:\n\n{} and", end(said))),
    },
    Case {
        name: "anchor not given",
        expect: anchor,
        pieces: |_| tokens(&"and it goes on without a word of what was asked for. ".repeat(8)),
    },
    Case {
        name: "answer begun again",
        expect: anchor,
        // As much as shows that; what follows is taken off as it comes.
        pieces: |said| tokens(said).into_iter().take(100).collect(),
    },
];

fn anchor(said: &str) -> Expect {
    Expect::Anchor { sent: said.len(), anchor: end(said).to_owned() }
}

fn end(said: &str) -> &str {
    anchor_of(said)
}

fn tokens(text: &str) -> Vec<String> {
    let ends = text.char_indices().map(|(at, _)| at).filter(|at| at % 4 == 0).skip(1);
    let mut from = 0;
    ends.chain([text.len()])
        .map(|at| text[std::mem::replace(&mut from, at)..at].to_owned())
        .collect()
}

/// About so many bytes of an answer of which no two passages are the same.
pub(crate) fn answer(bytes: usize) -> String {
    let mut text = String::from("What follows is a list, and it is long: ");
    let mut number = 0_u64;
    while text.len() < bytes {
        number += 1;
        let word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        text.push_str(&format!("item {number} – “{word:x}” …\n"));
    }
    text + "and that was the last one of them, so that all of it has been said"
}
