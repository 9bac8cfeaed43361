//! Let-chains and if-let guards, which later toolchains take and the oldest supported one does not.

use crate::source::{self, Source};

pub(crate) fn let_chains(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for keyword in ["if", "while"] {
            for at in source.find_all(keyword) {
                if is_let_chain(source, at + keyword.len()) {
                    found.push(source.place(at));
                }
            }
        }
    }
    found
}

/// Whether the condition at `at` has a `let` beside something else, or ends as a guard. A block
/// inside the condition ends the search early: it may miss a chain, it never invents one.
fn is_let_chain(source: &Source, mut at: usize) -> bool {
    let code = &source.code;
    let (mut depth, mut lets, mut in_pattern, mut joined) = (0_usize, false, false, false);
    let mut previous = ' ';
    while let Some(&c) = code.get(at) {
        let next = code.get(at + 1).copied().unwrap_or(' ');
        if depth == 0 && source::is_word(c) {
            let word = source.word(at);
            if word == "let" {
                (lets, in_pattern) = (true, true);
            }
            at += word.chars().count();
            previous = 'a';
            continue;
        }
        match (c, next) {
            ('=', '>') if depth == 0 => return lets,
            ('{', _) if depth == 0 && !in_pattern => break,
            (';' | ',' | ')' | ']' | '}', _) if depth == 0 && !in_pattern => break,
            ('(' | '[' | '{', _) => depth += 1,
            (')' | ']' | '}', _) => depth = depth.saturating_sub(1),
            ('=', n) if depth == 0 && n != '=' && previous != '.' => in_pattern = false,
            ('&', '&') if depth == 0 && !in_pattern && !matches!(previous, '=' | '&') => {
                joined = true;
            }
            _ => {}
        }
        if !c.is_whitespace() {
            previous = c;
        }
        at += 1;
    }
    lets && joined
}
