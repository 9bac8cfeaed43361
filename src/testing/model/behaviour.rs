//! What a scripted model does when it is asked to go on.
//!
//! In: the answer, where the request left off, and a [`Behaviour`]. Out: the blocks to render.

use super::answer::{Answer, Block};
use super::continuation::Ask;

/// How a model continues an answer.
///
/// `rest` is what follows the text that was sent, the whitespace that was stripped included;
/// `anchor` is the quoted end of it. A prefill quotes nothing: the last 40 characters sent stand
/// for the anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behaviour {
    /// Prefill: `rest`. Note: `anchor`, then `rest`.
    Exact,
    /// Everything that was sent, then `rest`.
    Echo,
    /// `anchor`, then `rest`.
    Anchor,
    /// As `Anchor`, each run of whitespace in it one space, straight quotes curly.
    AnchorFolded,
    /// The second half of `anchor`, then `rest`.
    AnchorHalf,
    /// "Sure, continuing from where I left off:", a blank line, then as `Anchor`.
    Preface,
    /// The preface, then `rest`.
    PrefaceOnly,
    /// The whole answer from its beginning, every part.
    Restart,
    /// From the beginning, but after so many characters another text: the model thought again.
    RestartDifferent {
        /// Characters of the answer's text that are repeated first.
        agree: usize,
    },
    /// Inside an open code fence: opens it again with its info string on a line of its own, then
    /// as `Anchor`. Elsewhere as `Anchor`.
    Refence,
    /// Inside an open code fence: opens it again, then `rest`. Elsewhere as `NoAnchor`.
    RefenceOnly,
    /// `rest` without the whitespace at its beginning.
    DropSpace,
    /// `rest`.
    NoAnchor,
    /// Prefill: status 400 in the provider's own words. Note: as `Anchor`.
    RefusePrefill,
}

/// What is said to `ask`.
pub(super) fn compose(answer: &Answer, ask: &Ask<'_>, behaviour: Behaviour) -> Vec<Block> {
    let lead = match behaviour {
        Behaviour::Restart => return answer.blocks.clone(),
        Behaviour::RestartDifferent { agree } => return another(answer, agree),
        Behaviour::Exact if ask.prefill => String::new(),
        Behaviour::DropSpace | Behaviour::NoAnchor => String::new(),
        Behaviour::Exact | Behaviour::Anchor | Behaviour::RefusePrefill => ask.anchor.to_owned(),
        Behaviour::Echo => ask.sent.to_owned(),
        Behaviour::AnchorFolded => folded(ask.anchor),
        Behaviour::AnchorHalf => second_half(ask.anchor).to_owned(),
        Behaviour::Preface => format!("{PREFACE}{}", ask.anchor),
        Behaviour::PrefaceOnly => PREFACE.to_owned(),
        Behaviour::Refence => format!("{}{}", fence(ask.sent), ask.anchor),
        Behaviour::RefenceOnly => fence(ask.sent),
    };
    let mut rest = String::new();
    if let Some(Block::Text(text)) = answer.blocks.get(ask.point.block) {
        rest.push_str(text.get(ask.point.byte..).unwrap_or_default());
    }
    let rest = match behaviour {
        Behaviour::DropSpace => rest.trim_start(),
        _ => &rest,
    };
    let text = lead + rest;
    let next = match answer.blocks.get(ask.point.block) {
        Some(Block::Text(_)) => ask.point.block + 1,
        _ => ask.point.block,
    };
    let head = (!text.is_empty()).then_some(Block::Text(text));
    let tail = answer.blocks.iter().skip(next).cloned();
    head.into_iter().chain(tail).collect()
}

fn another(answer: &Answer, agree: usize) -> Vec<Block> {
    let mut text: String = answer.whole_text().chars().take(agree).collect();
    text.push_str(OTHER);
    vec![Block::Text(text)]
}

fn folded(anchor: &str) -> String {
    let mut out = String::with_capacity(anchor.len());
    let (mut double, mut single) = (false, false);
    for c in anchor.chars() {
        let word_before = out.chars().next_back().is_some_and(char::is_alphanumeric);
        match c {
            c if c.is_whitespace() && out.ends_with(' ') => {}
            c if c.is_whitespace() => out.push(' '),
            '"' => {
                double = !double;
                out.push(if double { '“' } else { '”' });
            }
            // Between letters it is an apostrophe.
            '\'' if word_before => out.push('’'),
            '\'' => {
                single = !single;
                out.push(if single { '‘' } else { '’' });
            }
            c => out.push(c),
        }
    }
    out
}

fn second_half(anchor: &str) -> &str {
    let half = anchor.chars().count() / 2;
    let at = anchor.char_indices().nth(half).map_or(0, |(at, _)| at);
    &anchor[at..]
}

/// The line that opened the code fence in which `text` ends; empty where it ends in none.
fn fence(text: &str) -> String {
    let mut open: Option<&str> = None;
    for line in text.lines() {
        let line = line.trim_start();
        if line.starts_with("```") {
            open = match open {
                None => Some(line.trim_end()),
                Some(_) => None,
            };
        }
    }
    open.map_or_else(String::new, |line| format!("{line}\n"))
}

const PREFACE: &str = "Sure, continuing from where I left off:\n\n";

const OTHER: &str = "On second thoughts, none of that holds. Let us begin somewhere else entirely.";
