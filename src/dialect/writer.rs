//! Our words → provider wire, for whoever reads the answer in a provider's own format.
//!
//! In: deltas that no frame of the upstream's brings to the client, and the frames that do. Out: frames
//! by which the client sees one legal stream. It must never change a frame that goes through, nor
//! say anything that was not delivered. Law kept: *Fold* — what a client reads off the stream is the
//! transcript.

use std::fmt::Debug;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::event::{Delta, Finish, PartKind};
use crate::report::{AttemptReport, Report};
use crate::sse;

/// Writes what goes to a client beside the frames that go through as they came.
///
/// It writes to one client, from the first byte of the stream to the last.
pub trait Writer: Debug + Send {
    /// What follows is said by no model: `speaker` stands in its place.
    fn speaks(&mut self, speaker: &str);

    /// `event` goes to the client as it came. Nothing is written; the writer keeps track of what is
    /// open. `false`, and nothing is changed, if it would not be legal where the stream stands: a
    /// frame before it must have been lost.
    fn passes(&mut self, event: &sse::Event<'_>) -> bool;

    /// Whether what has passed may go out before any content: the stream's own beginning is part of it.
    fn has_begun(&self) -> bool;

    /// The writer as it stands now, to go back to if frames that passed do not go out after all.
    fn snapshot(&self) -> Box<dyn Writer>;

    /// `event`, of an upstream of this dialect, does not go to the client: what it says comes as
    /// deltas. The end of the answer is worded as here.
    fn withheld(&mut self, event: &sse::Event<'_>);

    /// Writes in place of `event` the same with usage that covers all attempts; `false`, and
    /// nothing is written, if it reports no usage. Asked where earlier attempts have cost something.
    fn amend(&mut self, event: &sse::Event<'_>, report: &Report, out: &mut Vec<u8>) -> bool;

    /// Writes `delta`, of the part at `place`. What the stream has open and what does not belong to
    /// that part is closed.
    fn write(&mut self, delta: &Delta, place: &Place, report: &Report, out: &mut Vec<u8>);

    /// Writes what is missing of a complete answer: its end, or the whole frame of one that was
    /// never begun. `ended`: the last upstream ended its stream in order, and all of it has gone
    /// through.
    fn finish(&mut self, finish: &Finish, ended: bool, report: &Report, out: &mut Vec<u8>);

    /// Writes a sign of life that no reader takes for content.
    fn keep_alive(&mut self, out: &mut Vec<u8>);

    /// Writes `text` out of band, for whoever watches the stream: an SSE comment, or nothing where the
    /// format's own clients do not read comments as such.
    fn remark(&mut self, text: &str, out: &mut Vec<u8>) {
        sse::encode_comment(text, out);
        out.push(b'\n');
    }

    /// Whether reasoning is to be held until it is complete, unless the caller says otherwise: a
    /// client would send it back, and the provider would refuse the half of it.
    fn holds_reasoning(&self) -> bool;
}

/// What a delta belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// What the part is.
    pub kind: PartKind,
    /// The choice that it belongs to.
    pub choice: u32,
}

impl Place {
    /// A part of `kind` in `choice`.
    #[must_use]
    pub const fn new(kind: PartKind, choice: u32) -> Self {
        Self { kind, choice }
    }
}

/// Appends `data` as one event; `event` is its type, or `message` for none.
pub(super) fn frame(event: &str, data: &impl Serialize, out: &mut Vec<u8>) {
    // A value without foreign maps always serialises.
    let data = serde_json::to_string(data).unwrap_or_default();
    sse::encode(&sse::Event::new(&data).event(event), out);
}

/// The same as bytes of their own.
pub(super) fn frame_of(event: &str, data: &Value) -> Bytes {
    let mut out = Vec::new();
    frame(event, data, &mut out);
    out.into()
}

/// The attempts that cost something, as far as is known.
pub(super) fn costly(report: &Report) -> impl Iterator<Item = &AttemptReport> {
    report.attempts.iter().filter(|attempt| attempt.cost_something())
}

/// Output tokens of all attempts, estimated where no report stands.
pub(super) fn output_tokens(report: &Report) -> u64 {
    report.attempts.iter().map(AttemptReport::output_tokens).fold(0, u64::saturating_add)
}
