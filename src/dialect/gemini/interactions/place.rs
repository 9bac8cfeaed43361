//! Where an attempt stands in an interaction that its provider can replay.
//!
//! In: the ids of the events that were read; only a stream that has them can be gone on with. Out: the id to
//! go on from so that nothing is missed and nothing comes twice: text is delivered as it comes, but a call,
//! a thought or a search only counts once it is whole, so the place is before its beginning as long as it
//! is open. Law kept: *Once*.

use std::sync::Arc;

use super::super::super::Cursor;

#[derive(Debug, Default)]
pub(super) struct Place {
    /// The interaction's id.
    id: Option<Arc<str>>,
    /// The attempt goes on in the middle of an interaction.
    attached: bool,
    /// The event that is awaited before anything is read: the replay has begun at the beginning.
    awaited: Option<Arc<str>>,
    /// The last event with nothing but text open.
    safe: Option<String>,
    /// Text has come since then: there is no place that brings neither too little nor too much.
    muddled: bool,
}

impl Place {
    pub(super) fn at(cursor: &Cursor) -> Self {
        Self {
            id: Some(Arc::clone(&cursor.id)),
            attached: true,
            safe: Some(cursor.after.to_string()),
            ..Self::default()
        }
    }

    /// Whether the attempt goes on in the middle of an interaction.
    pub(super) const fn is_attached(&self) -> bool {
        self.attached
    }

    /// Whether an event has been read by an earlier attempt. `begins`: it is the first of an interaction.
    pub(super) fn is_before(&mut self, begins: bool, event: Option<&str>) -> bool {
        if self.attached && begins {
            self.awaited = self.safe.as_deref().map(Arc::from);
        }
        let Some(awaited) = &self.awaited else { return false };
        if event == Some(&**awaited) {
            self.awaited = None;
        }
        true
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(super) fn learn(&mut self, id: Option<&str>) {
        if self.id.is_none() {
            self.id = id.map(Arc::from);
        }
    }

    /// The event that is being read brings text.
    pub(super) const fn write(&mut self) {
        self.muddled = true;
    }

    /// An event has been read. `whole`: nothing is open but text.
    pub(super) fn pass(&mut self, event: Option<&str>, whole: bool) {
        if let Some(event) = event.filter(|_| whole) {
            // Every event of a text has one: what the last one took is used again.
            let safe = self.safe.get_or_insert_default();
            safe.clear();
            safe.push_str(event);
            self.muddled = false;
        }
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        let (id, safe) = (self.id.clone()?, self.safe.clone()?);
        (!self.muddled && self.awaited.is_none()).then(|| Cursor::new(id, safe))
    }
}
