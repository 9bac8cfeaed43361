//! Text that should begin with the anchor.
//!
//! In: what was delivered, the anchor, and the text character by character. Out: where what goes
//! on begins, and what shows it. It must never take the anchor for given where the words only come
//! again: what looks like it counts at the head, or behind what can be a preamble.

use std::borrow::Cow;

use super::fence::{Fence, is_fence};
use super::fold::{counts, end_of, fold, push_folded, unfolded_len};
use super::overlap::{Habit, Overlap, end_again, overlap};
use super::preamble::{More, Peel, aside, leads_over, opens, preamble, without_wraps};
use super::quote::stands_once;
use super::{Feed, HOLD_MAX, LONG_MATCH, common_prefix};
use crate::event::Join;

/// Text of which it is not known yet how it goes on.
pub(super) struct Anchored {
    /// The anchor, folded.
    anchor: String,
    /// Where the anchor and its longer ends begin in it.
    ends: Vec<usize>,
    /// Most bytes held.
    window: usize,
    held: String,
    /// What is held, folded.
    folded: String,
    /// What is held begins with neither anchor nor answer, and more of it will not change that.
    headless: bool,
    /// The same from these bytes on, and with no overlap.
    barren: Vec<usize>,
    context: Context,
}

impl Anchored {
    /// None where there is no anchor to find. The first `sent` bytes of `said` were sent.
    pub(super) fn new(anchor: &str, said: &str, sent: &str) -> Option<Self> {
        let typed = anchor.trim();
        if typed.is_empty() || sent.is_empty() {
            return None;
        }
        let window = typed.len().saturating_add(HOLD_MAX);
        let anchor = fold(typed);
        let context = Context::of(said, sent, typed, &anchor, window);
        let ends = anchor
            .char_indices()
            .filter(|(at, c)| *c != ' ' && (*at == 0 || counts(&anchor[*at..])))
            .map(|(at, _)| at)
            .collect();
        Some(Self {
            anchor,
            ends,
            window,
            held: String::new(),
            folded: String::new(),
            headless: false,
            barren: Vec::new(),
            context,
        })
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes the next character; `sent` is what it was made with.
    pub(super) fn feed(&mut self, c: char, sent: &str) -> Feed {
        self.held.push(c);
        push_folded(&mut self.folded, c);
        let more = if self.held.len() > self.window { More::TooLate } else { More::Perhaps };
        match self.reading(sent, more) {
            Reading::Found(found) => self.release(found),
            Reading::Again { from, equal } => self.again(from, equal),
            Reading::Open | Reading::Inside | Reading::None => Feed::Hold,
        }
    }

    /// Nothing more comes. None where the text ended inside its preamble or anchor.
    pub(super) fn end(&mut self, sent: &str) -> Option<Feed> {
        if self.held.is_empty() {
            return Some(self.release(Found::UNVERIFIED));
        }
        match self.reading(sent, More::Never) {
            Reading::Found(found) => Some(self.release(found)),
            Reading::Again { from, equal } => Some(self.again(from, equal)),
            Reading::Open | Reading::Inside | Reading::None => None,
        }
    }

    fn release(&self, found: Found) -> Feed {
        let Found { lead, end, join } = found;
        let mut text = self.held.get(..lead).unwrap_or_default().to_owned();
        text.push_str(self.held.get(end..).unwrap_or_default());
        Feed::Release { text, trimmed: end - lead, join }
    }

    fn again(&self, from: usize, equal: usize) -> Feed {
        let end = from + equal;
        Feed::Swallow {
            text: self.held.get(end..).unwrap_or_default().to_owned(),
            matched: equal,
            trimmed: end,
        }
    }

    /// What all that is held is.
    fn reading(&mut self, sent: &str, more: More) -> Reading {
        if !self.headless {
            match self.head(0, sent, more) {
                Reading::None => self.headless = true,
                reading => return reading,
            }
        }
        let once = self.context.once;
        if once && self.behind_preamble() {
            return Reading::Found(Found::at(self.held.len(), Join::Anchor));
        }
        match self.without_anchor(sent, more) {
            Reading::Found(found)
                if found.join == Join::Unverified && once && more == More::Perhaps =>
            {
                Reading::Open
            }
            reading => reading,
        }
    }

    /// What the head of what is held from byte `from` on is: the anchor or its end, or the answer
    /// from its beginning.
    fn head(&self, from: usize, sent: &str, more: More) -> Reading {
        let text = self.held.get(from..).unwrap_or_default();
        let body = text.trim_start();
        let skipped = from + (text.len() - body.len());
        let folded = if from == 0 {
            Cow::Borrowed(self.folded.trim_start())
        } else {
            Cow::Owned(fold(body))
        };
        let mut open = false;
        let mut half = None;
        // The longest end comes first, the anchor itself.
        for at in &self.ends {
            let end = &self.anchor[*at..];
            if folded.starts_with(end) {
                let len = unfolded_len(body, end.len());
                half = len.map(|len| Found::at(skipped + len, Join::Anchor));
                break;
            }
            open |= end.starts_with(&*folded);
        }
        if let Some(found) = half.filter(|_| folded.starts_with(&self.anchor)) {
            return Reading::Found(found);
        }
        let inside = !folded.is_empty() && (self.anchor.starts_with(&*folded) || counts(&folded));
        let inside = open && inside && more == More::Never;
        match self.restart(from, sent, open, more) {
            Reading::None => {}
            reading => return reading,
        }
        match half {
            _ if open && more == More::Perhaps => Reading::Open,
            Some(found) => Reading::Found(found),
            None if inside => Reading::Inside,
            None => Reading::None,
        }
    }

    /// Whether what is held from byte `from` on is the answer from its beginning. While the anchor
    /// is possible too (`anchor`), that comes first: it was asked for.
    fn restart(&self, from: usize, sent: &str, anchor: bool, more: More) -> Reading {
        let text = self.held.get(from..).unwrap_or_default();
        let equal = common_prefix(sent, text);
        if equal == sent.len() {
            return Reading::Again { from, equal };
        }
        let goes_on = equal == text.len();
        let open = if more == More::Perhaps && goes_on { Reading::Open } else { Reading::None };
        if equal < LONG_MATCH || (anchor && more != More::TooLate) {
            return open;
        }
        let habit = &self.context.habit;
        // A head that stands in the answer again may be its next item: wait until it is longer.
        let long = equal > habit.head_again || (goes_on && more == More::TooLate);
        if long && !habit.repetition {
            return Reading::Again { from, equal };
        }
        open
    }

    /// Whether what is held ends in the anchor, and what is before it can be a preamble: marks
    /// alone, more of the end of the answer, one line of conversation, or lines before an anchor
    /// that begins a line. Anything else may be the passage coming again further on in the answer,
    /// and so may lines before an anchor that begins a line of the answer too, unless it is one
    /// that leads over and nothing before it ends the answer's own line.
    fn behind_preamble(&self) -> bool {
        let context = &self.context;
        let Some(folded) = self.folded.strip_suffix(self.anchor.as_str()) else {
            return false;
        };
        if !folded.contains(char::is_alphanumeric)
            || context.before.ends_with(without_fence(folded))
        {
            return true;
        }
        let typed = unfolded_len(&self.held, folded.len()).unwrap_or_default();
        let (typed, anchor) = self.held.split_at(typed);
        let space = anchor.len() - anchor.trim_start().len();
        let before = self.held.get(..typed.len() + space).unwrap_or_default();
        let lines = lines_before(before);
        let begins_line = lines.is_some();
        let line = lines.unwrap_or(before).trim();
        let one_line = !line.contains('\n');
        let leads_over = one_line && before.starts_with(line) && leads_over(line);
        (one_line && opens(without_wraps(line)))
            || (begins_line && (leads_over || (one_line && aside(line)) || !context.begins_line))
    }

    /// What is held is when the anchor is not to be expected any more.
    fn without_anchor(&mut self, sent: &str, more: More) -> Reading {
        let mut off = Found::UNVERIFIED;
        for layer in [Layer::Bare, Layer::Preamble, Layer::Fence] {
            let text = self.held.get(off.end..).unwrap_or_default();
            let peel = match layer {
                Layer::Bare => Peel::Off { lead: 0, end: 0 },
                Layer::Preamble => preamble(text, more),
                Layer::Fence => {
                    let fence = self.context.fence.as_ref();
                    fence.map_or(Peel::None, |fence| fence.reopened(text, more))
                }
            };
            match peel {
                Peel::None => continue,
                Peel::Open => return Reading::Open,
                Peel::Off { lead, end } => {
                    if off.end == 0 {
                        off.lead = lead;
                    }
                    off.end += end;
                }
            }
            match self.examine(off.end, sent, more) {
                Reading::None => {}
                reading => return reading,
            }
        }
        Reading::Found(off)
    }

    /// Examines what is held from byte `from` on, before which something may have been taken off.
    fn examine(&mut self, from: usize, sent: &str, more: More) -> Reading {
        if self.barren.contains(&from) {
            return Reading::None;
        }
        let text = self.held.get(from..).unwrap_or_default();
        if from > 0 {
            if more == More::Never && text.trim_start().is_empty() {
                return Reading::Inside;
            }
            match self.head(from, sent, more) {
                Reading::None => {}
                reading => return reading,
            }
        }
        let text = self.held.get(from..).unwrap_or_default();
        match overlap(text, sent, self.window, self.context.end_again, more) {
            Overlap::Open => Reading::Open,
            Overlap::Found(end) => Reading::Found(Found::at(from + end, Join::Overlap)),
            Overlap::None => {
                self.barren.push(from);
                Reading::None
            }
        }
    }
}

/// What is asked of the answer once, however long it is, before any text comes.
struct Context {
    habit: Habit,
    /// Bytes of its longest end that stands in it twice.
    end_again: usize,
    /// The anchor stands in it once, and is long enough to be found anywhere.
    once: bool,
    /// What stands before the anchor, folded, as far as it can come again.
    before: String,
    /// It begins a line of it.
    begins_line: bool,
    /// The block that it stands in.
    fence: Option<Fence>,
}

impl Context {
    /// `anchor` is `typed` folded.
    fn of(said: &str, sent: &str, typed: &str, anchor: &str, window: usize) -> Self {
        let folded = fold(end_of(sent, anchor.len() + window));
        let before = folded.strip_suffix(anchor).unwrap_or_default();
        let typed = sent.strip_suffix(typed);
        Self {
            habit: Habit::of(sent),
            end_again: end_again(sent, window),
            once: counts(anchor) && stands_once(sent, anchor),
            before: before.to_owned(),
            begins_line: typed.is_none_or(|before| {
                let before = before.trim_end_matches([' ', '\t']);
                before.is_empty() || before.ends_with('\n')
            }),
            fence: Fence::open_in(said),
        }
    }
}

/// Where what goes on begins: what is held up to `lead`, then from `end` on.
#[derive(Clone, Copy)]
struct Found {
    lead: usize,
    end: usize,
    join: Join,
}

impl Found {
    const UNVERIFIED: Self = Self::at(0, Join::Unverified);

    const fn at(end: usize, join: Join) -> Self {
        Self { lead: 0, end, join }
    }
}

enum Reading {
    /// Not known yet.
    Open,
    Found(Found),
    /// From byte `from` on it is the answer from its beginning, for `equal` bytes.
    Again {
        from: usize,
        equal: usize,
    },
    /// It ended before anything new.
    Inside,
    /// None of those looked for.
    None,
}

/// What may stand at the head, from the outside in.
#[derive(Clone, Copy)]
enum Layer {
    Bare,
    Preamble,
    Fence,
}

/// Folded text without a fence line at its head.
fn without_fence(folded: &str) -> &str {
    let body = folded.trim_start();
    if !(body.starts_with("```") || body.starts_with("~~~")) {
        return folded;
    }
    body.split_once(' ').map_or("", |(_, after)| after)
}

/// The lines before a text that begins a line, `before` being all that comes before it. Quotes
/// around the text, fences and rules are neither a part of its line nor the line before it.
fn lines_before(before: &str) -> Option<&str> {
    let (mut lines, own) = before.rsplit_once('\n')?;
    if own.contains(char::is_alphanumeric) {
        return None;
    }
    while let Some((above, line)) = lines.rsplit_once('\n') {
        if line.contains(char::is_alphanumeric) && !is_fence(line) {
            break;
        }
        lines = above;
    }
    Some(lines)
}
