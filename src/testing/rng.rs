//! A tiny seeded generator, so that a scripted model needs no other crate and never varies.

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `bound` - 1; 0 for a bound of 0.
    pub(super) const fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        // `bound` as u64 and the remainder back as usize: both fit by construction.
        (self.next() % bound as u64) as usize
    }

    /// `count` characters as ids have them.
    pub(super) fn word(&mut self, count: usize) -> String {
        let letters = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789";
        (0..count).map(|_| char::from(letters[self.below(letters.len())])).collect()
    }
}
