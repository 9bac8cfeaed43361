//! Reads Chat Completions chunks.
//!
//! In: the events of one attempt. Out: signals. It must never call an answer finished before every
//! choice is, and never take `[DONE]` for a finish unless its server is declared to end so. Law
//! kept: *Truth*.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use super::super::prediction::Steady;
use super::super::wire::{self, Count, Few, Word};
use super::super::{Capabilities, DecodeError, Decoder, Outline, Signal, fault};
use super::choice::{Progress, Slots};
use super::frame::{Choice, Chunk, Delta, Groq, Usage as RawUsage};
use super::reason_of;
use crate::event::{FinishReason, Usage};
use crate::sse;

type Sink<'s> = dyn FnMut(Signal<'_>) + 's;

/// The decoder of one attempt.
pub(in crate::dialect) struct ChatDecoder {
    /// Choices asked for.
    expected: usize,
    done_is_proof: bool,
    choices: BTreeMap<u32, Progress>,
    next_slot: u32,
    started: Started,
    usage: Usage,
    /// The last reason that was handed on.
    finished: Option<FinishReason>,
    /// An error came; whatever follows, `[DONE]` included, proves nothing.
    faulted: bool,
}

/// What has been handed on of the answer's id and model.
#[derive(Debug, Default)]
struct Started {
    id: bool,
    model: bool,
}

impl fmt::Debug for ChatDecoder {
    /// Calls that are open hold what was generated, so only the choices' number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatDecoder")
            .field("choices", &self.choices.len())
            .field("finished", &self.finished)
            .field("faulted", &self.faulted)
            .finish_non_exhaustive()
    }
}

impl ChatDecoder {
    pub(in crate::dialect) fn new(outline: &Outline, capabilities: &Capabilities) -> Self {
        Self {
            expected: outline.choices as usize,
            done_is_proof: capabilities.done_is_proof,
            choices: BTreeMap::new(),
            next_slot: 0,
            started: Started::default(),
            usage: Usage::default(),
            finished: None,
            faulted: false,
        }
    }
}

impl Decoder for ChatDecoder {
    fn decode(
        &mut self,
        event: &sse::Event<'_>,
        sink: &mut dyn FnMut(Signal<'_>),
    ) -> Result<(), DecodeError> {
        let data = event.data.trim();
        if data == "[DONE]" {
            self.end(sink);
            return Ok(());
        }
        let chunk = match wire::object::<Chunk<'_>>(data) {
            Ok(chunk) => chunk,
            Err(_) if event.event == "error" => {
                self.faulted = true;
                sink(Signal::Fault(fault::of_frame(data)));
                return Ok(());
            }
            // A keep-alive of a gateway's own making: `event: ping` with the time.
            Err(_) if data.is_empty() || is_foreign(event.event, data) => {
                sink(Signal::Alive);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Some(error) = error_of(&chunk, event.event, data) {
            self.faulted = true;
            sink(Signal::Fault(fault::of_frame(error)));
            return Ok(());
        }
        let mut spoke = false;
        self.read(chunk, &mut |signal| {
            spoke = true;
            sink(signal);
        })?;
        if !spoke {
            sink(Signal::Alive);
        }
        Ok(())
    }

    fn holds(&self) -> bool {
        self.choices.values().any(Progress::holds)
    }
}

/// A text changes nothing of a choice whose text is open: a call, another channel and a reason close it,
/// and an id, a model and usage are said when they are news.
impl Steady for ChatDecoder {
    /// OpenAI's, and Mistral's.
    const FILLERS: &'static [&'static str] = &["obfuscation", "p"];
}

impl ChatDecoder {
    fn read(&mut self, chunk: Chunk<'_>, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
        self.start(&chunk, sink);
        let mut finished = false;
        for choice in chunk.choices.into_iter().flatten() {
            finished |= self.choice(choice, sink)?;
        }
        let groq = wire::lenient::<Groq<'_>>(chunk.x_groq).unwrap_or_default();
        self.count(groq.usage, sink);
        self.count(chunk.usage, sink);
        if finished {
            self.conclude(false, sink);
        }
        Ok(())
    }

    fn start(&mut self, chunk: &Chunk<'_>, sink: &mut Sink<'_>) {
        let (id, model) = (chunk.id.given(), chunk.model.given());
        let news = !self.started.id && id.is_some() || !self.started.model && model.is_some();
        if news {
            self.started.id |= id.is_some();
            self.started.model |= model.is_some();
            sink(Signal::Started { id, model });
        }
    }

    /// Reads one choice, and says whether it has finished.
    fn choice(&mut self, choice: Choice<'_>, sink: &mut Sink<'_>) -> Result<bool, DecodeError> {
        let number = choice.index.unwrap_or_default();
        if self.choices.len() >= CHOICES_MAX && !self.choices.contains_key(&number) {
            return Err(DecodeError);
        }
        let progress = self.choices.entry(number).or_default();
        let mut slots = Slots { next: &mut self.next_slot, choice: number };
        // `message` may hold the answer so far, so it counts only as the one thing said.
        let delta = match (choice.delta, choice.message) {
            (Some(delta), _) => Some(delta),
            (None, Some(message)) if !progress.said => {
                Some(wire::object::<Delta<'_>>(message.get())?)
            }
            (None, _) => None,
        };
        if let Some(delta) = delta {
            progress.read(delta, &mut slots, sink)?;
        }
        let fault = choice.finish_reason.given().and_then(fault::of_reason);
        let reason = choice.finish_reason.given().filter(|_| fault.is_none()).map(reason_of);
        let finished = reason.is_some();
        match reason {
            Some(reason) => progress.finish(reason, &mut slots, sink),
            None => progress.settle(sink),
        }
        if let Some(fault) = fault {
            self.faulted = true;
            sink(Signal::Fault(fault));
        }
        Ok(finished)
    }

    /// Finishes the answer if all choices have. `done`: no more will begin. Until that is known, those that the
    /// request asked for have the first numbers: one of another number says nothing of a first one that is to come.
    fn conclude(&mut self, done: bool, sink: &mut Sink<'_>) {
        let numbers = self.choices.keys().zip(0..).take_while(|(number, at)| *number == at);
        let begun = if done { self.choices.len() } else { numbers.count() };
        let whole = begun >= self.expected
            && self.choices.values().all(|progress| progress.reason.is_some());
        if !whole || self.faulted || self.reason() == self.finished {
            return;
        }
        self.finished = self.reason();
        if let Some(reason) = self.reason() {
            sink(Signal::Finish { reason });
        }
    }

    /// The reason of the lowest choice, which speaks for the answer.
    fn reason(&self) -> Option<FinishReason> {
        self.choices.values().next()?.reason.clone()
    }

    fn end(&mut self, sink: &mut Sink<'_>) {
        self.conclude(true, sink);
        if self.done_is_proof && self.finished.is_none() && !self.faulted {
            for (number, progress) in &mut self.choices {
                let mut slots = Slots { next: &mut self.next_slot, choice: *number };
                if progress.reason.is_none() {
                    progress.finish(FinishReason::Unstated, &mut slots, sink);
                }
            }
            let reason = self.reason().unwrap_or(FinishReason::Unstated);
            self.finished = Some(reason.clone());
            sink(Signal::Finish { reason });
        }
        sink(Signal::Terminal);
    }

    fn count(&mut self, usage: Option<&RawValue>, sink: &mut Sink<'_>) {
        let Some(usage) = wire::lenient::<RawUsage>(usage) else {
            return;
        };
        let before = self.usage;
        let set = |count: &mut u64, new: Count| *count = new.0.unwrap_or(*count);
        set(&mut self.usage.input_tokens, usage.prompt_tokens);
        set(&mut self.usage.output_tokens, usage.completion_tokens);
        set(&mut self.usage.cached_input_tokens, usage.prompt_cache_hit_tokens);
        if let Some(details) = usage.prompt_tokens_details {
            set(&mut self.usage.cached_input_tokens, details.cached_tokens);
            set(&mut self.usage.cache_write_tokens, details.cache_write_tokens);
        }
        if let Some(details) = usage.completion_tokens_details {
            set(&mut self.usage.reasoning_tokens, details.reasoning_tokens);
        }
        if self.usage != before {
            sink(Signal::Usage(self.usage));
        }
    }
}

/// The error in a chunk: its own, a choice's, or the whole chunk where that is one by its type.
fn error_of<'a>(chunk: &Chunk<'a>, event: &str, data: &'a str) -> Option<&'a str> {
    let choices = chunk.choices.iter().flat_map(Few::iter).filter_map(|choice| choice.error);
    let errors = chunk.error.into_iter().chain(choices);
    let says_error = |word: &Word<'_>| word.given() == Some("error");
    let is_error = event == "error" || says_error(&chunk.object) || says_error(&chunk.kind);
    fault::in_frame(errors, is_error, data)
}

/// Whether an event is none of this dialect's, whose events have no type.
fn is_foreign(event: &str, data: &str) -> bool {
    event != "message" && !data.starts_with('{')
}

/// Most choices of one answer: far more than any provider gives.
const CHOICES_MAX: usize = 1024;
