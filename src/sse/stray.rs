//! Lines that are none of an event stream's.
//!
//! In: lines whose field is unknown, in pieces. Out: their beginning, for whoever knows that a server
//! puts errors between its events. It must never hold more than it is told to. Law kept: *Bound*.

/// The stray lines since the last event.
pub(super) struct Stray {
    bytes: Vec<u8>,
    max: usize,
}

impl Stray {
    /// Keeps `max` bytes.
    pub(super) const fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), max }
    }

    /// Takes in a piece of a line, as far as there is room.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let room = self.max.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    /// Ends a line.
    pub(super) fn end(&mut self) {
        self.push(b"\n");
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
