//! The seam between two attempts.
//!
//! In: what was said, a continuation, what the model was asked to begin with, and how to cut.
//! Checked: the verdict does not depend on the pieces; what is held is bounded; every byte of the
//! continuation is delivered or counted as taken off; a divergence lies between two characters.

use arbitrary::Arbitrary;
use unbroken::dialect::Echo;
use unbroken::seam::{Expect, HOLD_MAX, Seam, Verdict, anchor_of};

/// A seed begins with six characters: the mode, what was sent, how much of the end of what was
/// said the continuation repeats, and three lengths of pieces. Then come what was said, the
/// continuation and an anchor, each but the last ended by NUL.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    mode: u8,
    sent: u8,
    repeated: u8,
    lengths: [u8; 3],
    texts: &'a str,
}

/// Panics if the seam is wrong about `input`.
pub fn run(input: Input<'_>) {
    let mut texts = input.texts.splitn(3, '\0');
    let mut text = || texts.next().unwrap_or_default();
    let (said, new, anchor) = (text(), text(), text());
    let from = boundary(said, said.len().saturating_sub(input.repeated.into()));
    let continuation = match input.repeated {
        255 => format!("{said}{new}"),
        _ => format!("{}{new}", &said[from..]),
    };
    let expect = expected(&input, said, anchor);
    let room = HOLD_MAX + 4 + anchor.len().max(anchor_of(said).len());

    let whole = read(said, &expect, [continuation.as_str()], room);
    let pieces = cut(&continuation, input.lengths);
    assert_eq!(read(said, &expect, pieces, room), whole, "pieces matter");
    let singles = continuation.char_indices().map(|(at, c)| &continuation[at..at + c.len_utf8()]);
    assert_eq!(read(said, &expect, singles, room), whole, "single characters matter");
    match whole {
        End::Joined { new, trimmed } => {
            assert_eq!(new.len() + trimmed, continuation.len(), "bytes are lost");
            assert!(one_taken_off(&continuation, &new), "something else changed");
        }
        End::Diverged(at) => assert!(said.is_char_boundary(at), "inside a character"),
        End::Incomplete => {}
    }
}

fn expected(input: &Input<'_>, said: &str, anchor: &str) -> Expect {
    let sent = input.sent.into();
    match input.mode % 6 {
        mode @ 0..=2 => {
            let echo = [Echo::Never, Echo::Unknown, Echo::Always][usize::from(mode)];
            let sent = if input.sent == 255 { said.trim_end().len() } else { sent };
            Expect::Literal { sent, echo }
        }
        3 => Expect::Anchor { sent, anchor: anchor.to_owned() },
        4 => {
            let sent = said.trim_end();
            let anchor = anchor_of(sent).to_owned();
            Expect::Anchor { sent: sent.len(), anchor }
        }
        _ => Expect::Align,
    }
}

/// Whether `new` is the end of `text`, but for blanks that stood before what was taken off.
fn one_taken_off(text: &str, new: &str) -> bool {
    let equal = |(at, c): &(usize, char)| c.is_whitespace() && text[*at..].starts_with(*c);
    let blanks = new.char_indices().take_while(equal);
    let mut heads = blanks.map(|(at, c)| at + c.len_utf8());
    text.ends_with(new) || heads.any(|head| text[head..].ends_with(&new[head..]))
}

#[derive(Debug, PartialEq)]
enum End {
    Joined { new: String, trimmed: usize },
    Diverged(usize),
    Incomplete,
}

fn read<'a>(
    said: &str,
    expect: &Expect,
    pieces: impl IntoIterator<Item = &'a str>,
    room: usize,
) -> End {
    let mut seam = Seam::new(said, expect.clone());
    let mut joined: Option<(String, usize)> = None;
    for piece in pieces {
        if let Some((new, _)) = &mut joined {
            new.push_str(piece);
            continue;
        }
        match seam.push(piece) {
            Verdict::Hold => assert!(seam.held() <= room, "{} bytes are held", seam.held()),
            Verdict::Resolved { text, trimmed, .. } => joined = Some((text, trimmed)),
            Verdict::Diverged { at } => return End::Diverged(at),
            Verdict::Incomplete => panic!("incomplete before the end"),
        }
    }
    if let Some((new, trimmed)) = joined {
        return End::Joined { new, trimmed };
    }
    match seam.end() {
        Verdict::Hold => panic!("held at the end"),
        Verdict::Resolved { text, trimmed, .. } => End::Joined { new: text, trimmed },
        Verdict::Diverged { at } => End::Diverged(at),
        Verdict::Incomplete => End::Incomplete,
    }
}

fn cut(text: &str, lengths: [u8; 3]) -> Vec<&str> {
    let mut rest = text;
    let mut pieces = Vec::new();
    for length in lengths.into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let length = usize::from(length).max(1);
        let at = (length..rest.len()).find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(at);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}
