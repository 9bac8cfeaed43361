//! Foretelling the next frame of an answer.
//!
//! In: the events of one attempt. Out: what their decoder says of them, mostly without its reading them.
//! Where one frame after another brings a piece of text, they are the same but for that piece, for padding
//! and for what counts them. So the shape of the last one is remembered ([`Shape`]), and of one that has
//! it too only the text is read; whatever differs goes to the decoder. It must never say anything that the
//! decoder would not. Law kept: *Truth*.

mod shape;
mod string;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use self::shape::Shape;
use super::{Cursor, DecodeError, Decoder, Signal};
use crate::event::PartKind;
use crate::sse;

type Sink<'s> = dyn FnMut(Signal<'_>) + 's;

/// A decoder that goes on as it began: once it has said one text each of two frames of one shape, in a slot
/// of words, it says the text of every further one there, whatever that is, and keeps nothing of it but
/// what [`repeat`](Self::repeat) does.
pub(super) trait Steady: Decoder {
    /// Fields at the top of a frame that it takes no notice of: padding that hides the length of a token
    /// from whoever watches the line.
    const FILLERS: &'static [&'static str] = &[];

    /// A field at the top of a frame that differs from frame to frame, and that it reads. All that may come
    /// of it is usage.
    const ASIDE: Option<&'static str> = None;

    /// Says `text`, of a frame whose field [`ASIDE`](Self::ASIDE), if it has that, is `aside`: the JSON as
    /// it stands there. False where the frame has to be read after all; then nothing is said or kept.
    fn repeat(
        &mut self,
        slot: u32,
        text: &str,
        _aside: Option<&str>,
        sink: &mut dyn FnMut(Signal<'_>),
    ) -> bool {
        sink(Signal::Append { slot, text: Cow::Borrowed(text) });
        true
    }
}

/// A decoder that need not read what can be foretold.
pub(super) struct Predicted<D> {
    decoder: D,
    shape: Shape,
    /// The slot that was last opened for words.
    words: Option<u32>,
    /// Where the escapes of a text are undone.
    plain: String,
}

impl<D: Steady> Predicted<D> {
    pub(super) fn new(decoder: D) -> Self {
        Self { decoder, shape: Shape::default(), words: None, plain: String::new() }
    }

    /// Has the decoder read `event`, and learns from it. `foretold`: where its text stands, if it has the
    /// shape that is remembered.
    fn read(
        &mut self,
        event: &sse::Event<'_>,
        foretold: Option<usize>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let mut said = Said::Nothing;
        let (words, plain) = (&mut self.words, &mut self.plain);
        self.decoder
            .decode(event, &mut |signal| {
                said.hear(&signal, event.data, plain, D::ASIDE.is_some());
                if let Signal::Open { slot, kind, .. } = &signal {
                    match kind {
                        PartKind::Text | PartKind::Reasoning | PartKind::Refusal => {
                            *words = Some(*slot);
                        }
                        _ => *words = words.filter(|words| words != slot),
                    }
                }
                sink(signal);
            })
            .inspect_err(|_| self.shape.forget())?;
        match said {
            Said::Text(slot, at) if self.words == Some(slot) => {
                let same = self.shape.slot() == Some(slot);
                match at {
                    Some(at) if same && foretold == Some(at.start) => self.shape.confirm(),
                    Some(at) => self.shape.learn(event, at, slot, D::FILLERS, D::ASIDE),
                    // Its text is escaped in a way that is not undone here; the next one's need not be.
                    None if same => {}
                    None => self.shape.forget(),
                }
            }
            Said::Text(..) | Said::Nothing | Said::More => self.shape.forget(),
        }
        Ok(())
    }
}

impl<D: Steady> Decoder for Predicted<D> {
    fn decode(
        &mut self,
        event: &sse::Event<'_>,
        sink: &mut dyn FnMut(Signal<'_>),
    ) -> Result<(), DecodeError> {
        let found = self.shape.find(event, &mut self.plain);
        if let (Some(found), Some(slot)) = (&found, self.shape.certain()) {
            if self.decoder.repeat(slot, found.text, found.aside, sink) {
                return Ok(());
            }
        }
        let foretold = found.map(|found| found.start);
        self.read(event, foretold, sink)
    }

    fn stray(&mut self, lines: &str, sink: &mut dyn FnMut(Signal<'_>)) {
        self.decoder.stray(lines, sink);
    }

    fn end(&mut self, sink: &mut dyn FnMut(Signal<'_>)) {
        self.decoder.end(sink);
    }

    fn holds(&self) -> bool {
        self.decoder.holds()
    }

    fn whole(&mut self, body: &str, sink: &mut dyn FnMut(Signal<'_>)) {
        self.decoder.whole(body, sink);
    }

    fn generation(&self) -> Option<&str> {
        self.decoder.generation()
    }

    fn attach(&mut self, cursor: &Cursor) {
        self.decoder.attach(cursor);
    }

    fn cursor(&self) -> Option<Cursor> {
        self.decoder.cursor()
    }
}

impl<D: Decoder> fmt::Debug for Predicted<D> {
    /// The shape holds what a provider wrote, and `plain` what was generated.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decoder.fmt(f)
    }
}

/// What a decoder says of one event.
enum Said {
    Nothing,
    /// One text, in this slot; and where in the data it stands, if that is known.
    Text(u32, Option<Range<usize>>),
    More,
}

impl Said {
    fn hear(&mut self, signal: &Signal<'_>, data: &str, plain: &mut String, counts: bool) {
        match (&*self, signal) {
            (Self::Nothing, Signal::Append { slot, text }) => {
                let at = place(text, data).or_else(|| shape::place_of(text, data, plain));
                *self = Self::Text(*slot, at);
            }
            (Self::Text(..), Signal::Usage(_)) if counts => {}
            _ => *self = Self::More,
        }
    }
}

/// Where `text` lies in `data`, if it is a piece of it.
fn place(text: &str, data: &str) -> Option<Range<usize>> {
    let start = (text.as_ptr() as usize).checked_sub(data.as_ptr() as usize)?;
    let end = start.checked_add(text.len())?;
    (end <= data.len()).then_some(start..end)
}
