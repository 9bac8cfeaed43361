//! Lines that are none of an event stream's.
//!
//! In: lines whose field is unknown, in pieces. Out: their beginning, for whoever knows that a server
//! puts errors between its events. It must never hold more than [`STRAY_MAX`]. Law kept: *Bound*.

/// The stray lines since the last event.
#[derive(Default)]
pub(super) struct Stray(Vec<u8>);

impl Stray {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Takes in a piece of a line, as far as there is room.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let room = STRAY_MAX.saturating_sub(self.0.len());
        self.0.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    /// Ends a line.
    pub(super) fn end(&mut self) {
        self.push(b"\n");
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(test)]
    pub(super) const fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

/// Bytes of stray lines that are kept: an error says what it is in its first few lines.
const STRAY_MAX: usize = 8 * 1024;
