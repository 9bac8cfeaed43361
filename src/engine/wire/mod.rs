//! The wire view: the answer as one legal stream of the provider's own format.
//!
//! In: the frames of an upstream as they came, and the deltas that they brought. Out: bytes for a client
//! of that format. The frames of the first attempt that gets anywhere go through byte for byte; after
//! a cut the deltas are written anew, by the dialect's [`Writer`]. It must never let out a frame that
//! a cut could make a lie: what is delivered whole is held until it is whole. Law kept: *Fold* — what
//! the client reads is the transcript.
//!
//! ```text
//!   frame ──▶ held while a block is open that is delivered whole ──▶ out as it came
//!                 │ cut: dropped
//!   delta ──▶ held as long ──────────────────────────────────────▶ written, if its frame was not
//! ```

mod feed;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use self::tail::{Tail, each_event};
use super::deliver::is_json;
use crate::dialect::{Dialect, Place, Writer};
use crate::event::{Annotation, Delta, Event, Finish, PartKind, Resume};
use crate::policy::ToolDelivery;
use crate::report::Report;
use crate::sse;

/// What a client of the provider's own format gets, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireOptions {
    /// When reasoning goes out.
    pub reasoning: WireReasoning,
    /// When tool calls go out. [`ToolDelivery::Live`] lets their fragments through as they come, and
    /// gives up recovering an answer that is cut inside one: a fragment cannot be taken back.
    pub tools: ToolDelivery,
}

impl WireOptions {
    /// Reasoning as the request needs it, tool calls whole.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets when reasoning goes out.
    #[must_use]
    pub const fn reasoning(mut self, reasoning: WireReasoning) -> Self {
        self.reasoning = reasoning;
        self
    }

    /// Sets when tool calls go out.
    #[must_use]
    pub const fn tools(mut self, tools: ToolDelivery) -> Self {
        self.tools = tools;
        self
    }
}

/// When reasoning goes out to a client of the provider's own format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WireReasoning {
    /// Whole where a history may bring it back to a provider that refuses half of it: in the
    /// Anthropic dialect, if the request carries tools. Live elsewhere.
    #[default]
    Auto,
    /// As it comes; a block that is cut is closed as it stands.
    Live,
    /// Each block when it is complete; one that is cut never shows.
    Whole,
}

/// The client's stream.
pub(super) struct Wire {
    writer: Box<dyn Writer>,
    /// The dialect that it is written in.
    dialect: Arc<dyn Dialect>,
    holds_reasoning: bool,
    /// What comes is passed on as it is, and nothing is written but signs of life and errors.
    relays: bool,
    /// The parts, in order.
    parts: Vec<Part>,
    /// Frames of the attempt under way go through as they come.
    verbatim: bool,
    /// Frames of the attempt under way are of the client's dialect.
    native: bool,
    /// The attempt under way is a continuation, or of another vendor: its reasoning is signed for a
    /// conversation that the client does not have.
    continues: bool,
    /// The attempt's stream has ended in order.
    ended: bool,
    /// Frames wait that came behind the end of the answer: they are of a call that may never be whole.
    behind: bool,
    /// Bytes of the frame that is coming in.
    partial: Vec<u8>,
    /// Frames that wait, in order, and comments between them.
    frames: Vec<Bytes>,
    /// Their bytes.
    waiting: usize,
    /// One of them is an event.
    has_event: bool,
    /// The writer before the first of them.
    before: Option<Box<dyn Writer>>,
    /// What was said and is not out: by the frames that wait, or by none.
    said: Vec<Delta>,
    /// Parts that an end of the attempt would still take back: reasoning that is held, as long as nothing
    /// lasting has followed it; calls of the server's without a result.
    unsettled: BTreeSet<u32>,
    /// A frame is out.
    begun: bool,
    /// Anything is out, be it only a sign of life.
    out: bool,
    /// Nothing of the attempt's body has come yet.
    fresh: bool,
    /// When something last went out.
    written: Instant,
}

#[derive(Debug)]
struct Part {
    place: Place,
    /// It is no part of this stream.
    muted: bool,
    /// The provider has signed it.
    signed: bool,
    closed: bool,
}

impl Wire {
    pub(super) fn new(
        writer: Box<dyn Writer>,
        dialect: Arc<dyn Dialect>,
        reasoning: WireReasoning,
        now: Instant,
    ) -> Self {
        let holds_reasoning = match reasoning {
            WireReasoning::Auto => writer.holds_reasoning(),
            WireReasoning::Live => false,
            WireReasoning::Whole => true,
        };
        Self {
            writer,
            dialect,
            holds_reasoning,
            relays: false,
            parts: Vec::new(),
            verbatim: false,
            native: false,
            continues: false,
            ended: false,
            behind: false,
            partial: Vec::new(),
            frames: Vec::new(),
            waiting: 0,
            has_event: false,
            before: None,
            said: Vec::new(),
            unsettled: BTreeSet::new(),
            begun: false,
            out: false,
            fresh: false,
            written: now,
        }
    }

    /// The same for what is passed on as it is.
    pub(super) fn relaying(mut self) -> Self {
        self.relays = true;
        self
    }

    /// An attempt goes out, to an upstream of `dialect`.
    fn attempt(&mut self, dialect: &str, by: Option<Resume>) {
        self.native = dialect == self.dialect.name();
        // What a provider replays answers the client's own request.
        self.continues = !matches!(by, None | Some(Resume::Cursor)) || !self.native;
        let first = by.is_none() && !self.begun && self.said.is_empty();
        self.verbatim = self.native && (first || self.relays);
        (self.ended, self.behind) = (false, false);
        self.fresh = true;
        self.drop_frames();
    }

    fn drop_frames(&mut self) {
        self.partial.clear();
        self.frames.clear();
        (self.waiting, self.has_event) = (0, false);
        if let Some(before) = self.before.take() {
            self.writer = before;
        }
    }

    /// A piece of the stream has come that ends no event. `between`: it holds nothing but whole comments
    /// if it ends with a line.
    fn piece(
        &mut self,
        raw: &[u8],
        between: bool,
        holding: Option<bool>,
        report: &Report,
    ) -> Bytes {
        if !self.verbatim {
            return Bytes::new();
        }
        self.partial.extend_from_slice(raw);
        if !between || !self.partial.ends_with(b"\n") && !self.partial.ends_with(b"\r") {
            return Bytes::new();
        }
        let raw = mem::take(&mut self.partial);
        self.queue(raw.into());
        if self.waits(holding) { Bytes::new() } else { self.release(report) }
    }

    /// A frame has come, and what it says has been told. `holding`: a block is open that is
    /// delivered whole; none if the answer is complete.
    fn frame(
        &mut self,
        raw: Bytes,
        event: &sse::Event<'_>,
        holding: Option<bool>,
        report: &Report,
    ) -> Bytes {
        let raw = if self.partial.is_empty() {
            raw
        } else {
            self.partial.extend_from_slice(&raw);
            mem::take(&mut self.partial).into()
        };
        if !self.verbatim {
            if self.native {
                self.writer.withheld(event);
            }
            return Bytes::new();
        }
        let waits = self.waits(holding);
        if waits {
            // What it learns from a frame that is dropped after all is who was speaking.
            let before = self.before.get_or_insert_with(|| self.writer.snapshot());
            before.withheld(event);
        }
        if !self.relays && !self.writer.passes(event) {
            let mut out = Vec::new();
            self.cut(report, &mut out);
            return out.into();
        }
        self.queue(raw);
        self.has_event = true;
        if waits { Bytes::new() } else { self.release(report) }
    }

    fn queue(&mut self, raw: Bytes) {
        let mut raw = raw;
        // Behind what is out already a byte order mark would be text.
        if mem::take(&mut self.fresh) && self.out && raw.starts_with(b"\xef\xbb\xbf") {
            raw = raw.slice(3..);
        }
        self.waiting += raw.len();
        self.frames.push(raw);
    }

    /// Whether what has come is to wait.
    fn waits(&self, holding: Option<bool>) -> bool {
        // Up to its first word an attempt that dies can be replaced by another one whole.
        !self.relays
            && holding.is_some_and(|holding| {
                holding || !self.unsettled.is_empty() || !self.begun && self.said.is_empty()
            })
    }

    /// Lets the frames that wait go.
    fn release(&mut self, report: &Report) -> Bytes {
        self.said.clear();
        self.waiting = 0;
        self.before = None;
        self.begun |= mem::take(&mut self.has_event);
        let earlier = report.attempts.split_last().map_or(&[][..], |(_, earlier)| earlier);
        let amends = !self.relays && earlier.iter().any(|attempt| attempt.cost_something());
        let mut frames = mem::take(&mut self.frames);
        if let ([_], false) = (frames.as_slice(), amends) {
            return frames.pop().unwrap_or_default();
        }
        let mut out = Vec::new();
        for raw in frames {
            let mut amended = false;
            if amends {
                each_event(&raw, |event| amended |= self.writer.amend(event, report, &mut out));
            }
            if !amended {
                out.extend_from_slice(&raw);
            }
        }
        out.into()
    }

    /// Something is delivered.
    fn tell(&mut self, event: &Event, report: &Report, out: &mut Vec<u8>) {
        match event {
            Event::Delta(delta) => self.delta(delta, report, out),
            Event::Resumed(seam) => self.writer.remark(
                &format!(
                    "unbroken seam attempt={} upstream={} by={} join={} trimmed={}",
                    seam.attempt.get(),
                    seam.upstream,
                    seam.by,
                    seam.join,
                    seam.trimmed
                ),
                out,
            ),
            Event::Started(_) | Event::Interrupted(_) | Event::Rewind(_) | Event::Finished(_) => {}
        }
    }

    /// What follows is said by nobody upstream.
    fn speaks(&mut self, speaker: &str, out: &mut Vec<u8>) {
        self.writer.speaks(speaker);
        self.writer.remark(&format!("unbroken answer by={speaker}"), out);
    }

    fn delta(&mut self, delta: &Delta, report: &Report, out: &mut Vec<u8>) {
        if let Delta::Open { choice, kind, .. } = delta {
            let muted = self.continues && matches!(kind, PartKind::Reasoning);
            let place = Place::new(kind.clone(), *choice);
            self.parts.push(Part { place, muted, signed: false, closed: false });
        }
        let part = delta.part();
        if self.parts.get(part as usize).is_none_or(|known| known.muted) {
            return;
        }
        if self.takes_back(delta) {
            self.unsettled.remove(&part);
            self.said.retain(|said| said.part() != part);
        } else {
            self.settle(delta);
            self.said.push(delta.clone());
        }
        self.catch_up(report, out);
    }

    /// Whether `delta` means that its part, of which nothing is out, shall not go out.
    fn takes_back(&mut self, delta: &Delta) -> bool {
        let part = delta.part();
        let begins = |said: &Delta| matches!(said, Delta::Open { .. }) && said.part() == part;
        let unwritten = self.said.iter().any(begins);
        let Some(known) = self.parts.get_mut(part as usize).filter(|_| unwritten) else {
            return false;
        };
        let gone = match delta {
            Delta::Abandon { .. } => true,
            // Written anew it would be refused where it comes back: nobody has signed it.
            Delta::Close { .. } => {
                let reasons = matches!(known.place.kind, PartKind::Reasoning);
                reasons && self.holds_reasoning && !self.verbatim && !known.signed
            }
            // What nobody may run would read as a whole call.
            Delta::Truncate { .. } => {
                matches!(known.place.kind, PartKind::ToolCall { .. })
                    && is_json(&text_of(&self.said, part))
            }
            _ => false,
        };
        known.muted |= gone;
        gone
    }

    /// Which parts may still be taken back after `delta`.
    fn settle(&mut self, delta: &Delta) {
        let part = delta.part();
        let Some(known) = self.parts.get_mut(part as usize) else { return };
        known.closed |= matches!(delta, Delta::Close { .. });
        known.signed |=
            matches!(delta, Delta::Annotate { annotation: Annotation::Signature(_), .. });
        let lasts = match (delta, &known.place.kind) {
            (Delta::Open { .. }, PartKind::Reasoning | PartKind::RedactedReasoning) => {
                if self.holds_reasoning {
                    self.unsettled.insert(part);
                }
                false
            }
            (Delta::Open { .. }, PartKind::ServerCall { .. }) => {
                self.unsettled.insert(part);
                false
            }
            // A refusal is not resumed: what was cut is said again from its start.
            (Delta::Open { .. }, PartKind::Refusal) => {
                self.unsettled.insert(part);
                false
            }
            (Delta::Close { .. }, PartKind::Refusal) => {
                self.unsettled.remove(&part);
                true
            }
            // A call that is written anew is written when it is whole.
            (Delta::Open { .. }, PartKind::ToolCall { .. }) => {
                if !self.verbatim {
                    self.unsettled.insert(part);
                }
                false
            }
            (Delta::Close { .. } | Delta::Truncate { .. }, PartKind::ToolCall { .. }) => {
                self.unsettled.remove(&part);
                true
            }
            (Delta::Close { .. }, PartKind::ServerResult { call }) => {
                let (call, parts) = (Arc::clone(call), &self.parts);
                self.unsettled.retain(|part| {
                    let kind = parts.get(*part as usize).map(|part| &part.place.kind);
                    !matches!(kind, Some(PartKind::ServerCall { id, .. }) if *id == call)
                });
                true
            }
            (Delta::Append { .. }, PartKind::Text) => true,
            _ => false,
        };
        if lasts {
            let parts = &self.parts;
            self.unsettled.retain(|part| {
                let part = parts.get(*part as usize);
                !part.is_some_and(|part| part.closed && is_reasoning(&part.place.kind))
            });
        }
    }

    /// Writes what was said and whose frames will not come, unless something before it may yet be
    /// taken back.
    fn catch_up(&mut self, report: &Report, out: &mut Vec<u8>) {
        if !self.verbatim && self.unsettled.is_empty() {
            self.write_said(report, out);
        }
    }

    fn write_said(&mut self, report: &Report, out: &mut Vec<u8>) {
        let mut said = mem::take(&mut self.said);
        // Calls whose pieces came by turns are written one after the other, as the transcript has them.
        said.sort_by_key(Delta::part);
        for delta in said {
            if let Some(part) = self.parts.get(delta.part() as usize) {
                self.writer.write(&delta, &part.place, report, out);
                self.begun = true;
            }
        }
    }

    /// The attempt was cut: frames that wait will never be whole.
    fn cut(&mut self, report: &Report, out: &mut Vec<u8>) {
        self.verbatim = false;
        self.drop_frames();
        self.catch_up(report, out);
    }

    /// The answer is complete.
    fn finish(&mut self, finish: &Finish, report: &Report, out: &mut Vec<u8>) {
        if self.behind {
            self.cut(report, out);
        }
        let tail = Tail::of(&self.partial);
        let through = self.verbatim && self.ended && tail != Tail::Torn;
        if self.verbatim {
            if through {
                let tail = mem::take(&mut self.partial);
                let mut passes = true;
                each_event(&tail, |event| passes &= self.writer.passes(event));
                if passes {
                    self.frames.push(tail.into());
                }
            }
            out.extend_from_slice(&self.release(report));
        } else {
            self.write_said(report, out);
        }
        if self.relays {
            return;
        }
        let mut end = Vec::new();
        if finish.inferred {
            self.writer.remark("unbroken inferred end", &mut end);
        }
        self.writer.finish(finish, through, report, &mut end);
        if through && tail == Tail::Unended && !end.is_empty() {
            out.extend_from_slice(b"\n\n");
        }
        out.append(&mut end);
    }

    fn keep_alive(&mut self, holding: bool, report: &Report, out: &mut Vec<u8>) {
        let waits = holding || !self.unsettled.is_empty() || !self.writer.has_begun();
        if self.verbatim && !waits {
            out.extend_from_slice(&self.release(report));
        }
        // What waits is not out.
        self.before.as_mut().unwrap_or(&mut self.writer).keep_alive(out);
    }
}

impl fmt::Debug for Wire {
    /// Sizes and states; never what is held.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("dialect", &self.dialect.name())
            .field("verbatim", &self.verbatim)
            .field("frames", &self.frames.len())
            .field("said", &self.said.len())
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}

/// What was said of a part.
fn text_of(said: &[Delta], part: u32) -> String {
    let text = |said: &Delta| match said {
        Delta::Append { part: of, text, .. } if *of == part => Some(text.to_string()),
        _ => None,
    };
    said.iter().filter_map(text).collect()
}

const fn is_reasoning(kind: &PartKind) -> bool {
    matches!(kind, PartKind::Reasoning | PartKind::RedactedReasoning)
}
