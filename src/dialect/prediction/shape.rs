//! What frames have in common that bring one text each.
//!
//! In: such a frame, and where its text stands. Out: the text of another one that is the same JSON but
//! for that text, the padding, one more field, and blanks between the brackets at its end. It must never
//! find a text in a frame that is no JSON.

use std::ops::Range;

use memchr::{memchr, memchr2};

use super::string;
use crate::sse;

/// The shape of a frame; none at first.
#[derive(Default)]
pub(super) struct Shape {
    /// The slot that its text goes to, if there is a frame.
    slot: Option<u32>,
    /// Two frames had it.
    confirmed: bool,
    /// The event type.
    kind: String,
    /// The data without what stands in its holes, and without blanks behind `body`.
    fixed: String,
    /// The holes in it, in order.
    holes: Vec<(usize, Hole)>,
    /// Where the brackets begin in it that it ends with.
    body: usize,
}

/// What may differ.
#[derive(Clone, Copy)]
enum Hole {
    /// The text of a string.
    Text,
    /// Letters and digits in a string.
    Filler,
    /// Any value.
    Aside,
}

/// What stands in the holes of a frame.
pub(super) struct Found<'a> {
    pub(super) text: &'a str,
    /// Where in the data that stands.
    pub(super) start: usize,
    pub(super) aside: Option<&'a str>,
}

impl Shape {
    pub(super) const fn slot(&self) -> Option<u32> {
        self.slot
    }

    /// The slot, once two frames had this shape.
    pub(super) fn certain(&self) -> Option<u32> {
        self.slot.filter(|_| self.confirmed)
    }

    pub(super) const fn confirm(&mut self) {
        self.confirmed = true;
    }

    pub(super) const fn forget(&mut self) {
        self.slot = None;
    }

    /// Remembers the shape of `event`, whose data is one JSON object and has its text at `at`.
    pub(super) fn learn(
        &mut self,
        event: &sse::Event<'_>,
        at: Range<usize>,
        slot: u32,
        fillers: &[&str],
        aside: Option<&str>,
    ) {
        self.forget();
        let data = event.data;
        if data.len() - at.len() <= FRAME_MAX && self.cut(data, at, fillers, aside).is_some() {
            self.kind.clear();
            self.kind.push_str(event.event);
            (self.slot, self.confirmed) = (Some(slot), false);
        }
    }

    /// Takes `data` apart. None where its text is no string by itself.
    fn cut(
        &mut self,
        data: &str,
        text: Range<usize>,
        fillers: &[&str],
        aside: Option<&str>,
    ) -> Option<()> {
        let quoted = data.get(..text.start)?.ends_with('"') && data[text.end..].starts_with('"');
        quoted.then_some(())?;
        self.fixed.clear();
        self.holes.clear();
        let mut text = Some(text);
        let (mut from, mut at) = (0, 1);
        while let Some((name, value)) = member(data, &mut at) {
            let hole = if aside == Some(name) {
                (value, Hole::Aside)
            } else if fillers.contains(&name) && is_filler(&data[value.clone()]) {
                (value.start + 1..value.end - 1, Hole::Filler)
            } else {
                continue;
            };
            let before = text.take_if(|text| text.start < hole.0.start);
            for (hole, is) in before.map(|text| (text, Hole::Text)).into_iter().chain([hole]) {
                self.fixed.push_str(data.get(from..hole.start)?);
                self.holes.push((self.fixed.len(), is));
                from = hole.end;
            }
        }
        if let Some(text) = text {
            self.fixed.push_str(data.get(from..text.start)?);
            self.holes.push((self.fixed.len(), Hole::Text));
            from = text.end;
        }
        let rest = &data[from..];
        let body = rest.trim_end_matches(|c| matches!(c, '}' | ']') || is_blank(c));
        self.fixed.push_str(body);
        self.body = self.fixed.len();
        self.fixed.extend(rest[body.len()..].chars().filter(|c| !is_blank(*c)));
        Some(())
    }

    /// What is in the holes of `event`, if it has this shape.
    pub(super) fn find<'a>(
        &self,
        event: &sse::Event<'a>,
        plain: &'a mut String,
    ) -> Option<Found<'a>> {
        if self.slot.is_none() || event.event != self.kind {
            return None;
        }
        let (mut text, mut start, mut aside, mut plain) = (None, 0, None, Some(plain));
        let (mut rest, mut at) = (event.data, 0);
        for (end, hole) in &self.holes {
            rest = rest.strip_prefix(self.fixed.get(at..*end)?)?;
            at = *end;
            match hole {
                Hole::Text => {
                    start = event.data.len() - rest.len();
                    let (said, after) = string::read(rest, plain.take()?)?;
                    (text, rest) = (Some(said), after);
                }
                Hole::Filler => rest = rest.trim_start_matches(|c| char::is_ascii_alphanumeric(&c)),
                Hole::Aside => {
                    let (value, after) = rest.split_at_checked(value_end(rest)?)?;
                    (aside, rest) = (Some(value), after);
                }
            }
        }
        let rest = rest.strip_prefix(self.fixed.get(at..self.body)?)?;
        let ends = self.fixed.get(self.body..)?.bytes();
        let equal = rest.bytes().filter(|byte| !is_blank(char::from(*byte))).eq(ends);
        equal.then_some(Found { text: text?, start, aside })
    }
}

/// The next member of the object at the top of `json`, from `at` on: its name, and where its value stands.
fn member<'a>(json: &'a str, at: &mut usize) -> Option<(&'a str, Range<usize>)> {
    let quote = *at + memchr(b'"', json.as_bytes().get(*at..)?)?;
    let end = quote + value_end(json.get(quote..)?)?;
    let name = json.get(quote + 1..end - 1)?;
    let colon = end + memchr(b':', json.as_bytes().get(end..)?)?;
    let value = json.get(colon + 1..)?.trim_start_matches(is_blank);
    let start = json.len() - value.len();
    *at = start + value_end(value)?;
    Some((name, start..*at))
}

/// The length of the JSON value that `json` begins with, which is for its reader to judge.
fn value_end(json: &str) -> Option<usize> {
    let bytes = json.as_bytes();
    match bytes.first()? {
        b'"' => string_end(bytes, 0),
        b'{' | b'[' => {
            let (mut depth, mut at) = (0_usize, 0);
            loop {
                match bytes.get(at)? {
                    b'"' => {
                        at = string_end(bytes, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' if depth == 1 => return Some(at + 1),
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
            }
        }
        _ => json.find(|c| matches!(c, ',' | '}' | ']') || is_blank(c)),
    }
}

/// Where in `json` the one string stands that says `text`, between its quotes.
pub(super) fn place_of(text: &str, json: &str, plain: &mut String) -> Option<Range<usize>> {
    let (mut found, mut at) = (None, 0);
    while let Some(quote) = memchr(b'"', json.as_bytes().get(at..)?) {
        let start = at + quote + 1;
        at = string_end(json.as_bytes(), start - 1)?;
        if string::read(json.get(start..)?, plain).is_some_and(|(said, _)| said == text)
            && found.replace(start..at - 1).is_some()
        {
            return None;
        }
    }
    found
}

/// Where the string is over that begins at `at`.
fn string_end(json: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr2(b'"', b'\\', json.get(at..)?)?;
        if json.get(at)? == &b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Whether a value is a string of letters and digits.
fn is_filler(json: &str) -> bool {
    let inside = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
    inside.is_some_and(|inside| inside.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Longest frame that is remembered, its text aside: some providers send every probability.
const FRAME_MAX: usize = 2048;
