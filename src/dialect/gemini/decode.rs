//! Reads the frames of `streamGenerateContent?alt=sse`.
//!
//! In: the events of one attempt, and the end of its stream. Out: signals. A finish reason may come
//! early, and more text after it, and there is no terminal marker: an answer is finished only when a
//! reason was seen *and* the stream has ended in order. It must never call it so before. Laws kept:
//! *Truth*, *Once*.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::super::prediction::Steady;
use super::super::wire::{self, Count, Few};
use super::super::{DecodeError, Decoder, Fault, FaultClass, Outline, Signal, fault};
use super::frame::{Candidate, Frame, FunctionCall, Part, PromptFeedback, UsageMetadata, kind_of};
use super::pieces::Pieces;
use super::reason_of;
use crate::event::{Annotation, FinishReason, PartKind, Text, Usage};
use crate::sse;

type Sink<'s> = dyn FnMut(Signal<'_>) + 's;

/// The decoder of one attempt.
pub(in crate::dialect) struct GeminiDecoder {
    /// Candidates asked for.
    expected: usize,
    choices: BTreeMap<u32, Choice>,
    next_slot: u32,
    id: bool,
    model: bool,
    usage: Usage,
    /// An error came; whatever follows proves nothing.
    faulted: bool,
}

/// Where one candidate stands.
#[derive(Debug, Default)]
struct Choice {
    /// The text or the thought that is open.
    open: Option<Open>,
    /// A call that comes in pieces.
    pieces: Option<Pieces>,
    called: bool,
    reason: Option<FinishReason>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    slot: u32,
    thought: bool,
    /// Nothing more belongs to it: parts with a signature must not be joined with others.
    signed: bool,
}

/// Where signals of one candidate go.
struct Out<'o, 's> {
    next: &'o mut u32,
    choice: u32,
    sink: &'o mut Sink<'s>,
}

impl fmt::Debug for GeminiDecoder {
    /// Calls that are open hold what was generated, so only the candidates' number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeminiDecoder")
            .field("choices", &self.choices.len())
            .field("faulted", &self.faulted)
            .finish_non_exhaustive()
    }
}

impl GeminiDecoder {
    pub(in crate::dialect) fn new(outline: &Outline) -> Self {
        Self {
            expected: outline.choices as usize,
            choices: BTreeMap::new(),
            next_slot: 0,
            id: false,
            model: false,
            usage: Usage::default(),
            faulted: false,
        }
    }

    fn fault(&mut self, fault: Fault, sink: &mut Sink<'_>) {
        self.faulted = true;
        sink(Signal::Fault(fault));
    }

    fn read(&mut self, frame: Frame<'_>, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        let (id, model) = (frame.response_id.given(), frame.model_version.given());
        if !self.id && id.is_some() || !self.model && model.is_some() {
            self.id |= id.is_some();
            self.model |= model.is_some();
            sink(Signal::Started { id, model });
        }
        let candidates = frame.candidates.unwrap_or_default();
        if let Some(fault) =
            blocked(frame.prompt_feedback).filter(|_| candidates.iter().next().is_none())
        {
            self.fault(fault, sink);
            return Ok(());
        }
        for candidate in candidates {
            self.candidate(candidate, sink)?;
        }
        self.count(wire::lenient(frame.usage_metadata).unwrap_or_default(), sink);
        Ok(())
    }

    fn candidate(
        &mut self,
        candidate: Candidate<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), DecodeError> {
        let number = candidate.index.unwrap_or_default();
        if self.choices.len() >= CHOICES_MAX && !self.choices.contains_key(&number) {
            return Err(DecodeError);
        }
        let choice = self.choices.entry(number).or_default();
        let mut out = Out { next: &mut self.next_slot, choice: number, sink };
        let parts = candidate.content.as_ref().and_then(|content| content.parts.as_ref());
        for raw in parts.into_iter().flat_map(Few::iter) {
            choice.part(raw.get(), &mut out)?;
        }
        choice.cite(&candidate, &mut out);
        let reason = candidate.finish_reason.given();
        match reason.and_then(fault::of_reason) {
            Some(fault) => self.fault(fault, sink),
            None => choice.reason = reason.and_then(reason_of).or(choice.reason.take()),
        }
        Ok(())
    }

    /// Counts are those so far, and some frames leave some out.
    fn count(&mut self, counts: UsageMetadata, sink: &mut Sink<'_>) {
        let before = self.usage;
        let sum = |one: Count, other: Count| {
            one.0.unwrap_or_default().saturating_add(other.0.unwrap_or_default())
        };
        let raise = |count: &mut u64, new: u64| *count = (*count).max(new);
        let input = sum(counts.prompt_token_count, counts.tool_use_prompt_token_count);
        let output = sum(counts.candidates_token_count, counts.thoughts_token_count);
        raise(&mut self.usage.input_tokens, input);
        raise(&mut self.usage.output_tokens, output);
        let cached = counts.cached_content_token_count.0.unwrap_or_default();
        raise(&mut self.usage.cached_input_tokens, cached);
        let thoughts = counts.thoughts_token_count.0.unwrap_or_default();
        raise(&mut self.usage.reasoning_tokens, thoughts);
        if self.usage != before {
            sink(Signal::Usage(self.usage));
        }
    }

    /// The reason of the lowest candidate, which speaks for the answer. Gemini has no word of its own
    /// for calls that are to be run.
    fn reason(&self) -> Option<FinishReason> {
        let first = self.choices.values().next()?;
        match first.reason.clone()? {
            FinishReason::Stop if first.called => Some(FinishReason::ToolUse),
            reason => Some(reason),
        }
    }
}

impl Decoder for GeminiDecoder {
    fn decode(
        &mut self,
        event: &sse::Event<'_>,
        sink: &mut dyn FnMut(Signal<'_>),
    ) -> Result<(), DecodeError> {
        let data = event.data.trim();
        // A gateway's own; it proves nothing.
        if data.is_empty() || data == "[DONE]" {
            sink(Signal::Alive);
            return Ok(());
        }
        let frame = match wire::object::<Frame<'_>>(data) {
            Ok(frame) => frame,
            Err(_) if event.event == "error" => {
                self.fault(fault::of_frame(data), sink);
                return Ok(());
            }
            Err(error) => {
                return error_in(data).map_or(Err(error), |fault| {
                    self.fault(fault, sink);
                    Ok(())
                });
            }
        };
        // First of all: every field is optional, and an error reads as an empty frame.
        if let Some(error) = fault::in_frame(frame.error, event.event == "error", data) {
            self.fault(fault::of_frame(error), sink);
            return Ok(());
        }
        let mut spoke = false;
        self.read(frame, &mut |signal| {
            spoke = true;
            sink(signal);
        })?;
        if !spoke {
            sink(Signal::Alive);
        }
        Ok(())
    }

    /// Vertex puts a bare error, printed over several lines, behind good events.
    fn stray(&mut self, lines: &str, sink: &mut dyn FnMut(Signal<'_>)) {
        if let Some(fault) = error_in(lines) {
            self.fault(fault, sink);
        }
    }

    fn holds(&self) -> bool {
        self.reason().is_some()
    }

    fn end(&mut self, sink: &mut dyn FnMut(Signal<'_>)) {
        let whole = self.choices.len() >= self.expected
            && self.choices.values().all(|choice| choice.reason.is_some());
        let Some(reason) = self.reason().filter(|_| whole && !self.faulted) else {
            return;
        };
        for (number, choice) in &mut self.choices {
            let mut out = Out { next: &mut self.next_slot, choice: *number, sink };
            choice.close(&mut out);
            choice.give_up(&mut out);
        }
        sink(Signal::Finish { reason });
    }
}

/// A text changes nothing of a candidate whose text is open and not signed. Its reason, which may come with
/// text, stays what it was.
impl Steady for GeminiDecoder {
    const ASIDE: Option<&'static str> = Some("usageMetadata");

    fn repeat(
        &mut self,
        slot: u32,
        text: &str,
        aside: Option<&str>,
        sink: &mut dyn FnMut(Signal<'_>),
    ) -> bool {
        let counts = aside.map(serde_json::from_str::<UsageMetadata>).transpose();
        let Ok(counts) = counts else { return false };
        sink(Signal::Append { slot, text: Cow::Borrowed(text) });
        self.count(counts.unwrap_or_default(), sink);
        true
    }
}

impl Choice {
    fn part(&mut self, raw: &str, out: &mut Out<'_, '_>) -> Result<(), DecodeError> {
        let part: Part<'_> = wire::object(raw)?;
        let thought = part.is_thought();
        let signature = part.thought_signature.said();
        if let Some(call) = part.function_call {
            self.close(out);
            return self.call(&call, signature, out);
        }
        let said = part.text.is_some();
        let text = part.text.and_then(wire::Text::said);
        match (text, signature) {
            (Some(text), signature) => {
                self.say(thought, text, signature.is_some(), out);
                self.sign(thought, signature, out);
            }
            (None, None) if said => {}
            // The last word on the text before it.
            (None, Some(signature)) if self.has_open(thought) => {
                self.sign(thought, Some(signature), out);
            }
            (None, signature) => {
                let signed = || signature.map(|_| PartKind::Opaque { name: "text".into() });
                if let Some(kind) = kind_of(raw).or_else(signed) {
                    self.close(out);
                    let slot = out.open(kind);
                    out.append(slot, Cow::Borrowed(raw));
                    (out.sink)(Signal::Close { slot });
                }
            }
        }
        Ok(())
    }

    fn has_open(&self, thought: bool) -> bool {
        self.open.is_some_and(|open| open.thought == thought && !open.signed)
    }

    fn say(&mut self, thought: bool, text: Cow<'_, str>, signed: bool, out: &mut Out<'_, '_>) {
        let slot = match self.open.filter(|_| self.has_open(thought) && !signed) {
            Some(open) => open.slot,
            None => {
                self.close(out);
                let kind = if thought { PartKind::Reasoning } else { PartKind::Text };
                let slot = out.open(kind);
                self.open = Some(Open { slot, thought, signed: false });
                slot
            }
        };
        out.append(slot, text);
    }

    fn sign(&mut self, thought: bool, signature: Option<Cow<'_, str>>, out: &mut Out<'_, '_>) {
        let open = self.open.as_mut().filter(|open| open.thought == thought);
        if let (Some(open), Some(signature)) = (open, signature) {
            open.signed = true;
            out.annotate(open.slot, Annotation::Signature(Text::from(&*signature)));
        }
    }

    fn cite(&self, candidate: &Candidate<'_>, out: &mut Out<'_, '_>) {
        let Some(open) = self.open.filter(|open| !open.thought) else {
            return;
        };
        for (name, sources) in candidate.sources() {
            let citation = format!("{{\"{name}\":{sources}}}");
            out.annotate(open.slot, Annotation::Citation(Text::from(citation)));
        }
    }

    fn call(
        &mut self,
        call: &FunctionCall<'_>,
        signature: Option<Cow<'_, str>>,
        out: &mut Out<'_, '_>,
    ) -> Result<(), DecodeError> {
        let Some(name) = call.name.given() else {
            return match &mut self.pieces {
                Some(pieces) => {
                    pieces.take(call)?;
                    if !call.continues() {
                        self.finish_call(out);
                    }
                    Ok(())
                }
                None if call.is_empty() => Ok(()),
                // A call that nobody could run.
                None => Err(DecodeError),
            };
        };
        self.give_up(out);
        self.called = true;
        let id = call.id.given().unwrap_or_default();
        let slot = out.open(PartKind::ToolCall { id: id.into(), name: name.into() });
        if let Some(signature) = signature {
            out.annotate(slot, Annotation::Signature(Text::from(&*signature)));
        }
        let mut pieces = Pieces::new(slot, call)?;
        pieces.take(call)?;
        self.pieces = Some(pieces);
        if call.partial_args.is_none() && !call.continues() {
            // As it was written.
            self.pieces = None;
            let args = call.args.map_or("{}", |raw| raw.get());
            out.append(slot, Cow::Borrowed(args));
            (out.sink)(Signal::Close { slot });
        } else if !call.continues() {
            self.finish_call(out);
        }
        Ok(())
    }

    fn finish_call(&mut self, out: &mut Out<'_, '_>) {
        if let Some(pieces) = self.pieces.take() {
            out.append(pieces.slot, Cow::Owned(pieces.json()));
            (out.sink)(Signal::Close { slot: pieces.slot });
        }
    }

    /// The provider goes on without having ended a call: it is not closed.
    fn give_up(&mut self, out: &mut Out<'_, '_>) {
        if let Some(pieces) = self.pieces.take() {
            let mut unfinished = pieces.json();
            // It must not parse: what is missing may be all that matters.
            unfinished.pop();
            out.append(pieces.slot, Cow::Owned(unfinished));
        }
    }

    fn close(&mut self, out: &mut Out<'_, '_>) {
        if let Some(open) = self.open.take() {
            (out.sink)(Signal::Close { slot: open.slot });
        }
    }
}

impl Out<'_, '_> {
    fn open(&mut self, kind: PartKind) -> u32 {
        let slot = *self.next;
        *self.next = slot.wrapping_add(1);
        (self.sink)(Signal::Open { slot, choice: self.choice, kind });
        slot
    }

    fn append(&mut self, slot: u32, text: Cow<'_, str>) {
        (self.sink)(Signal::Append { slot, text });
    }

    fn annotate(&mut self, slot: u32, annotation: Annotation) {
        (self.sink)(Signal::Annotate { slot, annotation });
    }
}

/// The prompt, or what was to come of it, is blocked.
fn blocked(feedback: Option<&serde_json::value::RawValue>) -> Option<Fault> {
    let feedback: PromptFeedback<'_> = wire::lenient(feedback)?;
    let reason = feedback.block_reason.given();
    let reason = reason.filter(|reason| *reason != "BLOCK_REASON_UNSPECIFIED")?;
    Some(Fault::new(FaultClass::Policy).code(Some(reason)))
}

/// The error that `said` is, alone or in a list, as without `alt=sse`.
fn error_in(said: &str) -> Option<Fault> {
    let error = super::error_of(said.as_bytes())?;
    Some(fault::of_frame(&error.to_string()))
}

/// Most candidates of one answer: far more than the provider gives.
const CHOICES_MAX: usize = 1024;
