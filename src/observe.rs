//! Who listens to notices.
//!
//! In: [`Notice`]s. Out: whatever the listener makes of them. It must never slow a reply down.

use crate::engine::Notice;

/// Listens to what the replies of a client tell operators.
///
/// It is called while a reply is polled: be quick, and never block.
pub trait Observer: Send + Sync + 'static {
    /// Takes in one fact.
    fn observe(&self, notice: &Notice);
}

impl<F: Fn(&Notice) + Send + Sync + 'static> Observer for F {
    fn observe(&self, notice: &Notice) {
        self(notice);
    }
}
