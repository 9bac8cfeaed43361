//! What an observer keeps of the replies that are under way.
//!
//! In: the beginning and the end of each. Out: what was kept in between. It must never grow without end: of
//! a reply whose end is never told the rest is forgotten in time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::ReplyId;

/// Something for each reply that has begun and is not over.
#[derive(Debug)]
pub(super) struct Underway<T>(BTreeMap<ReplyId, T>);

impl<T> Underway<T> {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// `reply` begins. What is given back has to go for it: what was kept of another reply of that number,
    /// or of the oldest where there are too many.
    pub(super) fn begin(&mut self, reply: ReplyId, kept: T) -> Option<T> {
        let replaced = self.0.insert(reply, kept);
        let full = self.0.len() > UNDERWAY_MAX;
        replaced.or_else(|| full.then(|| self.0.pop_first()).flatten().map(|(_, kept)| kept))
    }

    pub(super) fn of(&mut self, reply: ReplyId) -> Option<&mut T> {
        self.0.get_mut(&reply)
    }

    /// `reply` is over.
    pub(super) fn end(&mut self, reply: ReplyId) -> Option<T> {
        self.0.remove(&reply)
    }
}

/// When each reply began, until its first content came.
impl Underway<Option<Instant>> {
    /// Its first content came `now`; how long that took, if its beginning is known.
    pub(super) fn waited(&mut self, reply: ReplyId, now: Instant) -> Option<Duration> {
        let began = self.of(reply)?.take()?;
        Some(now.saturating_duration_since(began))
    }
}

/// Replies under way that an observer remembers; the oldest are forgotten first. More than one machine
/// holds connections for.
const UNDERWAY_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_that_never_end_are_forgotten_oldest_first() {
        let mut underway = Underway::new();
        for number in 0..UNDERWAY_MAX as u64 {
            assert_eq!(underway.begin(ReplyId::new(number), number), None);
        }
        assert_eq!(underway.begin(ReplyId::new(7), 70), Some(7), "the same number again");
        let next = ReplyId::new(UNDERWAY_MAX as u64);
        assert_eq!(underway.begin(next, 1), Some(0));
        assert_eq!((underway.end(ReplyId::new(0)), underway.end(next)), (None, Some(1)));
        assert_eq!(underway.of(ReplyId::new(7)), Some(&mut 70));
    }
}
