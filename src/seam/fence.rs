//! Code fences, as far as a seam must know them.
//!
//! In: the answer so far, then the head of a continuation. Out: whether the answer stands inside a
//! fenced block, and where a fence that opens it again ends. It must never take off a fence that
//! may be the closing one. After <https://spec.commonmark.org/0.31.2/#fenced-code-blocks>, without
//! containers: a fence indented by more than three columns is none.

use memchr::{memchr, memchr2_iter};

use super::fold::counts;
use super::preamble::{More, Peel};

/// The block that an answer stands in.
pub(super) struct Fence {
    mark: char,
    len: usize,
    /// The last line, if it has no line end.
    line: String,
}

impl Fence {
    /// The fenced block that is open at the end of `said`.
    pub(super) fn open_in(said: &str) -> Option<Self> {
        let mut open: Option<(char, usize)> = None;
        for at in memchr2_iter(b'`', b'~', said.as_bytes()) {
            let (before, marks) = said.split_at(at);
            let line = before.trim_end_matches(' ').len();
            if !matches!(before.as_bytes()[..line], [] | [.., b'\n']) {
                continue;
            }
            let end = memchr(b'\n', marks.as_bytes()).unwrap_or(marks.len());
            let Some((mark, len, tail)) = marker(&said[line..at + end]) else {
                continue;
            };
            match open {
                None => open = Some((mark, len)),
                Some((by, least)) => {
                    if mark == by && len >= least && tail.trim().is_empty() {
                        open = None;
                    }
                }
            }
        }
        let (mark, len) = open?;
        let line = said.rsplit('\n').next().unwrap_or_default().to_owned();
        Some(Self { mark, len, line })
    }

    /// Finds a fence at the head of `text` that opens the block again: one with an info string, or
    /// a bare one after which the unfinished line or its indentation goes on.
    pub(super) fn reopened(&self, text: &str, more: More) -> Peel {
        let body = text.trim_start_matches(['\r', '\n']);
        let lead = text.len() - body.len();
        let (line, after) = match body.split_once('\n') {
            Some((line, after)) => (line.trim_end_matches('\r'), Some(after)),
            None => (body, None),
        };
        let Some((mark, len, info)) = marker(line) else {
            let may_come = after.is_none() && more == More::Perhaps && self.may_begin(line);
            return if may_come { Peel::Open } else { Peel::None };
        };
        if mark != self.mark {
            return Peel::None;
        }
        let bare = info.trim().is_empty();
        let off = |end| Peel::Off { lead, end };
        let Some(after) = after else {
            return match more {
                More::Perhaps => Peel::Open,
                More::Never if len >= self.len && !bare => off(text.len()),
                More::TooLate | More::Never => Peel::None,
            };
        };
        // What is shorter is content. At the beginning of a line a bare fence may be the closing
        // one, whatever follows.
        if len < self.len || (bare && (lead > 0 || self.line.is_empty())) {
            return Peel::None;
        }
        let next_line = text.len() - after.len();
        match self.what_follows(after, more) {
            Follows::Open => Peel::Open,
            Follows::Unknown if bare => Peel::None,
            // A new line of the same block: the line end before it is the answer's.
            Follows::NextLine if lead == 0 => off(line.len()),
            Follows::SameLine | Follows::NextLine | Follows::Unknown => off(next_line),
        }
    }

    /// Whether `line` may become a fence of this block.
    fn may_begin(&self, line: &str) -> bool {
        let marks = line.trim_start_matches(' ');
        line.len() - marks.len() < 4 && marks.chars().all(|c| c == self.mark)
    }

    fn what_follows(&self, after: &str, more: More) -> Follows {
        let trimmed = self.line.trim();
        let indent = self.line.len() - self.line.trim_start().len();
        let indent = self.line.get(..indent).unwrap_or_default();
        let after_trimmed = after.trim_start_matches([' ', '\t']);
        if counts(trimmed) && after_trimmed.starts_with(trimmed) {
            return Follows::SameLine;
        }
        let open = (counts(trimmed) && trimmed.starts_with(after_trimmed))
            || (!indent.is_empty() && indent.starts_with(after) && indent != after);
        if open && more == More::Perhaps {
            return Follows::Open;
        }
        let indented = !indent.is_empty() && after.starts_with(indent);
        if indented {
            return Follows::NextLine;
        }
        Follows::Unknown
    }
}

enum Follows {
    /// Not known yet.
    Open,
    /// The unfinished line from its beginning.
    SameLine,
    /// A line indented as the unfinished one.
    NextLine,
    /// Neither.
    Unknown,
}

/// Whether `line` can open or close a fenced block.
pub(super) fn is_fence(line: &str) -> bool {
    marker(line).is_some()
}

/// The marks of a fence line, how many, and what stands behind them: no more of them in a line of
/// backticks, which is code in a line.
pub(super) fn marker(line: &str) -> Option<(char, usize, &str)> {
    let marks = line.trim_start_matches(' ');
    if line.len() - marks.len() > 3 {
        return None;
    }
    let mark = marks.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let tail = marks.trim_start_matches(mark);
    let len = marks.len() - tail.len();
    let inline = mark == '`' && tail.contains('`');
    (len >= 3 && !inline).then_some((mark, len, tail))
}
