//! Where an attempt stands in a response that its provider can replay.
//!
//! In: the numbers of the events that were read. Out: the number to go on from so that nothing is missed
//! and nothing comes twice: text is delivered as it comes, but a call, a thought or a search only counts
//! once it is whole, so the place is before its beginning as long as it is open. Law kept: *Once*.

use std::sync::Arc;

use super::super::Cursor;

#[derive(Debug, Default)]
pub(super) struct Place {
    /// The response's id.
    id: Option<Arc<str>>,
    /// The event that the attempt goes on after.
    attached: Option<u64>,
    /// The last event with nothing but text open.
    safe: Option<u64>,
    /// Text has come since then: there is no place that brings neither too little nor too much.
    muddled: bool,
}

impl Place {
    pub(super) fn at(cursor: &Cursor) -> Self {
        let after = cursor.after.parse().ok();
        Self { id: Some(Arc::clone(&cursor.id)), attached: after, safe: after, muddled: false }
    }

    /// Whether the attempt goes on in the middle of a response.
    pub(super) const fn is_attached(&self) -> bool {
        self.attached.is_some()
    }

    /// Whether an event has been read by an earlier attempt.
    pub(super) fn is_before(&self, number: Option<u64>) -> bool {
        self.attached.zip(number).is_some_and(|(after, number)| number <= after)
    }

    pub(super) fn learn(&mut self, id: Option<&str>) {
        if self.id.is_none() {
            self.id = id.map(Arc::from);
        }
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The event that is being read brings text.
    pub(super) const fn write(&mut self) {
        self.muddled = true;
    }

    /// An event has been read. `whole`: nothing is open but text.
    pub(super) const fn pass(&mut self, number: Option<u64>, whole: bool) {
        if whole && number.is_some() {
            (self.safe, self.muddled) = (number, false);
        }
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        let (id, safe) = (self.id.clone()?, self.safe?);
        (!self.muddled).then(|| Cursor::new(id, safe.to_string()))
    }
}
