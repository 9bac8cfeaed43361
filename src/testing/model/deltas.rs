//! How a model's text is split into deltas.

use super::super::rng::Rng;

/// Where a text is split. Never inside a character.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deltas {
    /// So many characters each (at least 1).
    Chars(usize),
    /// From 1 to `max` characters each, by the model's seed.
    Random {
        /// The most.
        max: usize,
    },
    /// At these distances from the beginning of each text, in characters, ascending; those beyond
    /// its end do not count.
    At(Vec<usize>),
}

impl Deltas {
    /// The pieces of `text`, none of them empty.
    pub(super) fn split<'a>(&self, text: &'a str, rng: &mut Rng) -> Vec<&'a str> {
        let mut pieces = Vec::new();
        let mut rest = text;
        let mut done = 0;
        let mut next = match self {
            Self::At(places) => places.iter().copied(),
            _ => [].iter().copied(),
        };
        while !rest.is_empty() {
            let count = match self {
                Self::Chars(count) => (*count).max(1),
                Self::Random { max } => 1 + rng.below(*max),
                Self::At(_) => {
                    next.find(|place| *place > done).map_or(usize::MAX, |place| place - done)
                }
            };
            let at = rest.char_indices().nth(count).map_or(rest.len(), |(at, _)| at);
            let (piece, after) = rest.split_at(at);
            pieces.push(piece);
            rest = after;
            done = done.saturating_add(count);
        }
        pieces
    }
}
