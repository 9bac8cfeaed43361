//! The words of the note that asks a model to go on.
//!
//! In: a template, the text so far, its end. Out: the note. It must never say anything that the
//! caller's template, or ours, does not: no key, no name, nothing of the request.

use std::sync::Arc;

/// The wording of the note that asks a model to go on: a user speaking.
///
/// `{anchor}` stands for the quoted end of the text so far. The default is English.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wording {
    /// After an assistant turn with the partial answer ([`Resume::Instruct`](crate::Resume::Instruct)).
    pub instruct: Arc<str>,
    /// Without one ([`Resume::Quote`](crate::Resume::Quote)); `{partial}` stands for the text so far.
    pub quote: Arc<str>,
}

impl Default for Wording {
    /// English, a user speaking. An operator's voice is taken for an injection by some models.
    fn default() -> Self {
        Self { instruct: Arc::from(INSTRUCT), quote: Arc::from(QUOTE) }
    }
}

impl Wording {
    /// The default with another note after an assistant turn. `{anchor}` stands for the quoted end
    /// of the text so far.
    #[must_use]
    pub fn with_instruct(mut self, note: impl Into<Arc<str>>) -> Self {
        self.instruct = note.into();
        self
    }

    /// The default with another note where there is no assistant turn. `{partial}` stands for the
    /// text so far, `{anchor}` for its quoted end.
    #[must_use]
    pub fn with_quote(mut self, note: impl Into<Arc<str>>) -> Self {
        self.quote = note.into();
        self
    }
}

/// `template` with its places filled. What is filled in is not looked at again: an answer may well
/// speak of `{anchor}`.
pub(super) fn fill(template: &str, partial: &str, anchor: &str) -> String {
    let mut note = String::with_capacity(template.len() + partial.len() + anchor.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        note.push_str(before);
        rest = if let Some(after) = after.strip_prefix("anchor}") {
            note.push_str(anchor);
            after
        } else if let Some(after) = after.strip_prefix("partial}") {
            note.push_str(partial);
            after
        } else {
            note.push('{');
            after
        };
    }
    note.push_str(rest);
    note
}

const INSTRUCT: &str = "My connection dropped while you were answering. I have everything up to \
these words: \"…{anchor}\"\n\nPlease begin by repeating those words exactly as they are, then go \
on from there as you would have. No apology, no recap, no new heading and no new code fence: just \
the rest of your answer.";

const QUOTE: &str = "My connection dropped while you were answering. This is what I have of your \
answer so far:\n\n{partial}\n\nIt ends in these words: \"…{anchor}\"\n\nPlease begin by repeating \
those words exactly as they are, then go on from there as you would have. No apology, no recap, \
no new heading and no new code fence: just the rest of your answer.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_once() {
        for (template, note) in [
            ("{anchor}", "A{partial}"),
            ("<{partial}|{anchor}>", "<P{anchor}|A{partial}>"),
            ("{", "{"),
            ("{x} {{anchor}}", "{x} {A{partial}}"),
            ("", ""),
        ] {
            assert_eq!(fill(template, "P{anchor}", "A{partial}"), note, "{template}");
        }
    }

    #[test]
    fn the_default_quotes_what_is_there() {
        let wording = Wording::default();
        assert_eq!(wording.instruct.matches("{anchor}").count(), 1);
        assert_eq!(wording.quote.matches("{anchor}").count(), 1);
        assert_eq!(wording.quote.matches("{partial}").count(), 1);
    }
}
