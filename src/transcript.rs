//! What has been said: the fold of the delivered events.
//!
//! In: [`Event`]s, in the order of their delivery. Out: text, parts, how far and how continuable
//! the answer is. It must never hold anything that was not delivered. Law kept: *Fold*.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::event::{Annotation, Delta, Event, Finish, Head, PartKind, Position};

/// An answer, as far as it has been delivered.
///
/// A caller who keeps one of his own, feeding it every event, has at every moment the same as
/// [`Reply::transcript`](crate::Reply::transcript).
///
/// `Debug` prints kinds and sizes, never text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    head: Option<Head>,
    parts: Vec<Part>,
    finish: Option<Finish>,
}

/// A part of an answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    kind: PartKind,
    choice: u32,
    text: String,
    annotations: Vec<Annotation>,
    state: PartState,
}

/// Where a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartState {
    /// More may come.
    Open,
    /// Complete.
    Closed,
    /// A tool call that the provider itself left unfinished; not to be run.
    Truncated,
    /// Not part of the answer.
    Abandoned,
}

/// How continuable an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Progress {
    /// No text and no whole call has been delivered: the request can be repeated.
    Nothing,
    /// Text or results of server tools have been delivered, and no call of the caller's.
    Resumable,
    /// A tool call has been delivered whole: saying it again could run it twice.
    Committed,
}

impl Transcript {
    /// An empty transcript.
    #[must_use]
    pub const fn new() -> Self {
        Self { head: None, parts: Vec::new(), finish: None }
    }

    /// Takes in the next event. Events that refer to parts that do not exist change nothing.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Started(head) => self.head = Some(head.clone()),
            Event::Delta(delta) => self.apply_delta(delta),
            Event::Rewind(to) => self.rewind(*to),
            Event::Finished(finish) => self.finish = Some(finish.clone()),
            Event::Interrupted(_) | Event::Resumed(_) => {}
        }
    }

    fn apply_delta(&mut self, delta: &Delta) {
        match delta {
            Delta::Open { part, choice, kind } => {
                if *part as usize == self.parts.len() {
                    self.parts.push(Part::new(kind.clone(), *choice));
                }
            }
            Delta::Append { part, text } => self.edit(*part, |part| part.text.push_str(text)),
            Delta::Annotate { part, annotation } => {
                self.edit(*part, |part| part.annotations.push(annotation.clone()));
            }
            Delta::Close { part } => self.edit(*part, |part| part.state = PartState::Closed),
            Delta::Truncate { part } => self.edit(*part, |part| part.state = PartState::Truncated),
            Delta::Abandon { part } => self.edit(*part, |part| part.state = PartState::Abandoned),
        }
    }

    fn edit(&mut self, part: u32, edit: impl FnOnce(&mut Part)) {
        if let Some(part) = self.parts.get_mut(part as usize) {
            edit(part);
        }
    }

    /// Takes back what came after `to`. Part numbers stay in use: what is taken back is abandoned,
    /// but for the part in which `to` lies, which is cut short and open again.
    fn rewind(&mut self, to: Position) {
        let from = self.parts.iter_mut().zip(0_u32..).skip(to.parts as usize);
        for (part, index) in from.filter(|(part, _)| part.state != PartState::Abandoned) {
            let inside = index == to.parts && to.bytes > 0 && part.text.is_char_boundary(to.bytes);
            part.state = if inside { PartState::Open } else { PartState::Abandoned };
            if inside {
                part.text.truncate(to.bytes);
            }
        }
    }

    /// The same without what only its own provider can read of the parts before `part`: reasoning,
    /// signatures, results of server tools, opaque blocks.
    pub(crate) fn for_another_provider(&self, part: u32) -> Cow<'_, Self> {
        if part == 0 {
            return Cow::Borrowed(self);
        }
        let mut public = self.clone();
        for part in public.parts.iter_mut().take(part as usize) {
            let shared =
                matches!(part.kind, PartKind::Text | PartKind::Refusal | PartKind::ToolCall { .. });
            if !shared {
                part.state = PartState::Abandoned;
            }
            part.annotations.retain(|note| !matches!(note, Annotation::Signature(_)));
        }
        Cow::Owned(public)
    }

    /// Who answers; none before the first attempt that answered.
    #[must_use]
    pub const fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// All parts in the order of their opening, abandoned ones included.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The parts that belong to the answer.
    pub fn kept(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.state != PartState::Abandoned)
    }

    /// The visible text of choice 0.
    #[must_use]
    pub fn text(&self) -> String {
        self.kept_text().collect()
    }

    /// The same, copied only where several parts make it.
    pub(crate) fn spoken(&self) -> Cow<'_, str> {
        let mut texts = self.kept_text();
        match (texts.next(), texts.next()) {
            (Some(one), None) => Cow::Borrowed(one),
            _ => Cow::Owned(self.text()),
        }
    }

    /// Bytes of [`text`](Self::text).
    #[must_use]
    pub fn text_len(&self) -> usize {
        self.kept_text().map(str::len).sum()
    }

    fn kept_text(&self) -> impl Iterator<Item = &str> {
        self.kept().filter(|part| part.is_text() && part.choice == 0).map(Part::text)
    }

    /// The tool calls of the caller's that are whole, in order.
    pub fn tool_calls(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.is_tool_call() && part.state == PartState::Closed)
    }

    /// How the answer ended; none while it has not.
    #[must_use]
    pub const fn finish(&self) -> Option<&Finish> {
        self.finish.as_ref()
    }

    /// How far the answer has come.
    #[must_use]
    pub fn position(&self) -> Position {
        match self.parts.last() {
            Some(part) if part.state == PartState::Open => {
                Position { parts: self.parts.len() as u32 - 1, bytes: part.text.len() }
            }
            _ => Position { parts: self.parts.len() as u32, bytes: 0 },
        }
    }

    /// How continuable the answer is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let committed = |part: &Part| {
            part.is_tool_call() && matches!(part.state, PartState::Closed | PartState::Truncated)
        };
        let said = |part: &Part| {
            (part.kind == PartKind::Text || part.kind == PartKind::Refusal) && !part.text.is_empty()
                || matches!(part.kind, PartKind::ServerResult { .. })
        };
        if self.kept().any(committed) {
            Progress::Committed
        } else if self.kept().any(said) {
            Progress::Resumable
        } else {
            Progress::Nothing
        }
    }
}

impl Part {
    fn new(kind: PartKind, choice: u32) -> Self {
        Self { kind, choice, text: String::new(), annotations: Vec::new(), state: PartState::Open }
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> &PartKind {
        &self.kind
    }

    /// The choice that it belongs to.
    #[must_use]
    pub const fn choice(&self) -> u32 {
        self.choice
    }

    /// Its content: text, or JSON for tool calls (the arguments) and the opaque kinds (the block).
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What was noted on it.
    #[must_use]
    pub fn annotations(&self) -> &[Annotation] {
        &self.annotations
    }

    /// The provider's signature, if it has one.
    #[must_use]
    pub fn signature(&self) -> Option<&str> {
        self.annotations.iter().rev().find_map(|annotation| match annotation {
            Annotation::Signature(signature) => Some(signature.as_str()),
            Annotation::Citation(_) => None,
        })
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> PartState {
        self.state
    }

    pub(crate) const fn is_text(&self) -> bool {
        matches!(self.kind, PartKind::Text)
    }

    pub(crate) const fn is_tool_call(&self) -> bool {
        matches!(self.kind, PartKind::ToolCall { .. })
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind: Arc<str> = match &self.kind {
            PartKind::ToolCall { name, .. } => Arc::clone(name),
            PartKind::Opaque { name } => Arc::clone(name),
            other => Arc::from(format!("{other:?}")),
        };
        f.debug_struct("Part")
            .field("kind", &kind)
            .field("choice", &self.choice)
            .field("bytes", &self.text.len())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcript")
            .field("head", &self.head)
            .field("parts", &self.parts)
            .field("finish", &self.finish)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Text;

    fn told(deltas: impl IntoIterator<Item = Delta>) -> Transcript {
        let mut transcript = Transcript::new();
        deltas.into_iter().for_each(|delta| transcript.apply(&Event::Delta(delta)));
        transcript
    }

    fn open(part: u32, kind: PartKind) -> Delta {
        Delta::Open { part, choice: 0, kind }
    }

    fn says(part: u32, text: &'static str) -> Delta {
        Delta::Append { part, text: Text::from(text) }
    }

    const CALL: fn() -> PartKind =
        || PartKind::ToolCall { id: "call_1".into(), name: "pay".into() };

    /// Two parts, of which the first is closed.
    fn two() -> Transcript {
        told([
            open(0, PartKind::Text),
            says(0, "né"),
            Delta::Close { part: 0 },
            open(1, PartKind::Text),
            says(1, "Hm."),
        ])
    }

    #[test]
    fn what_is_taken_back_is_abandoned_but_for_the_part_that_is_cut_short() {
        use PartState::{Abandoned, Closed, Open};
        for (parts, bytes, first, second) in [
            (0, 0, ("né", Abandoned), Abandoned),
            (0, 1, ("n", Open), Abandoned),
            // Not between two characters: no place of this text.
            (0, 2, ("né", Abandoned), Abandoned),
            (0, 3, ("né", Open), Abandoned),
            (1, 0, ("né", Closed), Abandoned),
            (1, 3, ("né", Closed), Open),
            (2, 0, ("né", Closed), Open),
        ] {
            let mut transcript = two();
            let to = Position { parts, bytes };
            transcript.apply(&Event::Rewind(to));
            let [one, other] = transcript.parts() else { panic!("numbers stay in use") };
            assert_eq!((one.text(), one.state(), other.state()), (first.0, first.1, second));
            // What is abandoned stays so.
            let before = transcript.clone();
            transcript.apply(&Event::Rewind(to));
            assert_eq!(transcript, before, "{to:?}");
        }
    }

    #[test]
    fn a_position_is_behind_the_last_byte_of_the_part_that_is_open() {
        let at = |parts, bytes| Position { parts, bytes };
        assert_eq!(Transcript::new().position(), at(0, 0));
        let mut transcript = two();
        assert_eq!(transcript.position(), at(1, 3));
        transcript.apply(&Event::Delta(Delta::Close { part: 1 }));
        assert_eq!(transcript.position(), at(2, 0));
        // Where it says, what came is all kept.
        let whole = two();
        let mut same = two();
        same.apply(&Event::Rewind(whole.position()));
        assert_eq!(same, whole);
    }

    #[test]
    fn the_text_is_what_is_kept_of_the_first_choices() {
        let transcript = told([
            open(0, PartKind::Reasoning),
            says(0, "Hm. "),
            open(1, PartKind::Text),
            says(1, "né, "),
            Delta::Open { part: 2, choice: 1, kind: PartKind::Text },
            says(2, "other"),
            open(3, PartKind::Text),
            says(3, "gone"),
            Delta::Abandon { part: 3 },
            open(4, PartKind::Text),
            says(4, "nein"),
        ]);
        assert_eq!((transcript.text().as_str(), transcript.text_len()), ("né, nein", 9));
        assert_eq!(transcript.spoken(), "né, nein");
        assert_eq!(Transcript::new().text_len(), 0);
        let one = told([open(0, PartKind::Text), says(0, "one")]);
        assert!(matches!(one.spoken(), Cow::Borrowed("one")), "nothing to be joined");
    }

    #[test]
    fn text_and_results_are_gone_on_with_and_whole_calls_are_not_repeated() {
        use Progress::{Committed, Nothing, Resumable};
        let close = Delta::Close { part: 0 };
        let result = PartKind::ServerResult { call: "call_1".into() };
        let server = PartKind::ServerCall { id: "call_1".into(), name: "search".into() };
        for (kind, then, progress) in [
            (PartKind::Text, vec![], Nothing),
            (PartKind::Text, vec![says(0, "a")], Resumable),
            (PartKind::Text, vec![says(0, "a"), Delta::Abandon { part: 0 }], Nothing),
            (PartKind::Refusal, vec![], Nothing),
            (PartKind::Refusal, vec![says(0, "a")], Resumable),
            (PartKind::Reasoning, vec![says(0, "a"), close.clone()], Nothing),
            (PartKind::RedactedReasoning, vec![says(0, "a"), close.clone()], Nothing),
            (server, vec![says(0, "{}"), close.clone()], Nothing),
            (result.clone(), vec![], Resumable),
            (result, vec![Delta::Abandon { part: 0 }], Nothing),
            (CALL(), vec![says(0, "{}")], Nothing),
            (CALL(), vec![says(0, "{}"), close], Committed),
            (CALL(), vec![says(0, "{"), Delta::Truncate { part: 0 }], Committed),
            (CALL(), vec![says(0, "{}"), Delta::Abandon { part: 0 }], Nothing),
        ] {
            let shown = format!("{kind:?} {then:?}");
            let transcript = told([open(0, kind)].into_iter().chain(then));
            assert_eq!(transcript.progress(), progress, "{shown}");
        }
    }

    #[test]
    fn another_provider_gets_sources_and_no_signatures() {
        let notes = ["sign", "cite"].map(String::from);
        let [signature, citation] = &notes;
        let note = |part, annotation| Delta::Annotate { part, annotation };
        let signed = |part| note(part, Annotation::Signature(signature.as_str().into()));
        let cited = |part| note(part, Annotation::Citation(citation.as_str().into()));
        let transcript = told([
            open(0, PartKind::Reasoning),
            signed(0),
            open(1, PartKind::Text),
            says(1, "a"),
            signed(1),
            cited(1),
            open(2, PartKind::Text),
            says(2, "b"),
            signed(2),
        ]);
        let public = transcript.for_another_provider(2);
        let kept: Vec<&Part> = public.kept().collect();
        let [first, second] = kept[..] else { panic!("{kept:?}") };
        assert_eq!((first.text(), first.signature(), first.annotations().len()), ("a", None, 1));
        assert_eq!((second.text(), second.signature()), ("b", Some("sign")));
    }

    /// Of a part that does not exist, and of one that is not the next, nothing is kept.
    #[test]
    fn events_of_parts_that_do_not_exist_change_nothing() {
        let before = two();
        for delta in [
            open(1, PartKind::Text),
            open(3, PartKind::Text),
            says(2, "a"),
            Delta::Close { part: 2 },
            Delta::Truncate { part: u32::MAX },
            Delta::Abandon { part: 2 },
        ] {
            let mut after = before.clone();
            after.apply(&Event::Delta(delta));
            assert_eq!(after, before);
        }
    }

    #[test]
    fn debug_names_calls_and_blocks_and_shows_no_text() {
        let opaque = PartKind::Opaque { name: "container_upload".into() };
        let transcript = told([
            open(0, CALL()),
            says(0, "secret"),
            open(1, opaque),
            open(2, PartKind::Reasoning),
            says(2, "secret"),
        ]);
        let shown = format!("{transcript:?}");
        for word in ["pay", "container_upload", "Reasoning", "bytes: 6", "Open"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        assert!(!shown.contains("secret"), "{shown}");
    }
}
