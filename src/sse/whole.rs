//! Events that lie whole in a chunk.
//!
//! In: the bytes after a blank line. Out: the event that they begin with, if it has the one shape
//! that nearly all of them have: a `data` line, perhaps an `event` line before it, and nothing that
//! outlasts the event. It must never read anything otherwise than the parser does; what it
//! leaves alone, the parser reads.

use memchr::memchr2;
use simdutf8::basic::from_utf8;

use super::line::{Field, split_line};

/// An event and what follows it.
pub(super) struct Whole<'c> {
    /// The value of the `event` line; empty where there is none.
    pub(super) kind: &'c str,
    pub(super) data: &'c str,
    /// It ended in CR: an LF that comes next belongs to it.
    pub(super) after_cr: bool,
    pub(super) rest: &'c [u8],
}

impl<'c> Whole<'c> {
    /// The event that `input` begins with, if it has at most `room` bytes. Adds to `looked_at` how
    /// many were scanned or decoded.
    #[inline(always)]
    pub(super) fn read(input: &'c [u8], room: usize, looked_at: &mut usize) -> Option<Self> {
        let until = |rest: &[u8]| input.len() - rest.len();

        let (mut field, mut value) = split_line(input)?;
        let mut kind = (0, 0);
        if field == Field::Event {
            let (line, rest) = take_line(value, looked_at)?;
            kind = (until(value), line.len());
            (field, value) = split_line(rest)?;
        }
        if field != Field::Data {
            return None;
        }
        let (line, rest) = take_line(value, looked_at)?;
        let data = (until(value), line.len());
        let (end, rest) = rest.split_first()?;
        if !matches!(end, b'\n' | b'\r') || until(rest) > room {
            return None;
        }
        // Both values in one go: the names between them are text, too.
        *looked_at += data.0 + data.1;
        let text = text_of(input, data.0 + data.1)?;
        let (kind, data) = (part(text, kind)?, part(text, data)?);
        Some(Self { kind, data, after_cr: *end == b'\r', rest })
    }
}

/// The line that `input` begins with, and what follows its end.
#[inline(always)]
fn take_line<'c>(input: &'c [u8], looked_at: &mut usize) -> Option<(&'c [u8], &'c [u8])> {
    let end = memchr2(b'\n', b'\r', input);
    *looked_at += end.unwrap_or(input.len());
    let (line, rest) = input.split_at_checked(end?)?;
    match rest {
        [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => Some((line, rest)),
        [] => None,
    }
}

/// The first `len` bytes of `input` as text, and perhaps some more: whole blocks of the validator cost a
/// third of what a rest costs it.
#[inline(always)]
fn text_of(input: &[u8], len: usize) -> Option<&str> {
    const BLOCK: usize = 64;
    let blocks = input.get(..len.next_multiple_of(BLOCK));
    // The last block may end inside a character, or reach into bytes that are no text.
    match blocks.and_then(|blocks| from_utf8(blocks).ok()) {
        Some(text) => Some(text),
        None => std::str::from_utf8(input.get(..len)?).ok(),
    }
}

/// `len` bytes of `text` from `start` on.
#[inline(always)]
fn part(text: &str, (start, len): (usize, usize)) -> Option<&str> {
    let (part, _) = text.split_at_checked(start)?.1.split_at_checked(len)?;
    Some(part)
}
