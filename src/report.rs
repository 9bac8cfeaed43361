//! What an answer took: attempts, causes, costs.
//!
//! In: what the ledger notes. Out: values for the caller. Never text. Law kept: *Spend*.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::event::{AttemptId, Cut, Join, Resume, Usage, as_millis, as_millis_if_any};

/// What an answer took, attempt by attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Every request that was sent, in order.
    pub attempts: Vec<AttemptReport>,
}

/// One HTTP exchange. Durations are whole milliseconds in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AttemptReport {
    /// Its number.
    pub id: AttemptId,
    /// The upstream it went to.
    pub upstream: Arc<str>,
    /// The model: as served if the provider said so, else as asked for.
    pub model: Arc<str>,
    /// The rung; none for the caller's own request.
    pub by: Option<Resume>,
    /// Not counted as an attempt: it replaced one that cost nothing.
    pub free: bool,
    /// How long it was waited before it.
    #[serde(serialize_with = "as_millis")]
    pub delay: Duration,
    /// When it was sent, from the start of the reply.
    #[serde(serialize_with = "as_millis")]
    pub opened: Duration,
    /// When its first body byte came, from the start of the reply.
    #[serde(serialize_with = "as_millis_if_any")]
    pub first_byte: Option<Duration>,
    /// When it was over, from the start of the reply.
    #[serde(serialize_with = "as_millis_if_any")]
    pub ended: Option<Duration>,
    /// How it ended.
    pub outcome: Outcome,
    /// The provider's own error code or type, where it is one short word.
    pub code: Option<Arc<str>>,
    /// Bytes of content (text, reasoning, tool arguments) that it brought to the caller.
    pub delivered: usize,
    /// Bytes of content that it brought and that were not delivered: said before, unfinished at the
    /// cut, or not part of the answer.
    pub discarded: usize,
    /// How its text was joined to what had been said.
    pub join: Option<Join>,
    /// Frames that could not be read and were skipped, as a last resort.
    pub skipped_frames: u32,
    /// Usage, as the provider reported it last.
    pub usage: Option<Usage>,
    /// Output tokens, estimated from the bytes that came; what the provider bills where it did not
    /// report. A lower bound.
    pub estimated_output_tokens: u64,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It has not.
    Running,
    /// With the end of the answer.
    Finished,
    /// Before it.
    Cut(Cut),
    /// The caller went away, or the engine had no more use for it.
    Canceled,
}

impl Report {
    /// Sum of the usage that was reported.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.attempts.iter().filter_map(|attempt| attempt.usage).fold(Usage::default(), Usage::plus)
    }

    /// Output tokens of the attempts that were cut: billed in all likelihood, and only partly of
    /// use. Reported where the provider did, else estimated.
    #[must_use]
    pub fn interrupted_output_tokens(&self) -> u64 {
        self.attempts
            .iter()
            .filter(|attempt| matches!(attempt.outcome, Outcome::Cut(_)))
            .map(AttemptReport::output_tokens)
            .fold(0, u64::saturating_add)
    }

    /// Frames that could not be read and were skipped.
    #[must_use]
    pub fn skipped_frames(&self) -> u32 {
        self.attempts.iter().map(|attempt| attempt.skipped_frames).fold(0, u32::saturating_add)
    }

    /// Seams whose join could not be verified.
    #[must_use]
    pub fn unverified_seams(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.join == Some(Join::Unverified)).count()
    }
}

impl AttemptReport {
    /// Whether [`output_tokens`](Self::output_tokens) is an estimate.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.reported_output_tokens().is_none()
    }

    /// Output tokens: reported, or the estimate where that is more (a stream that is cut early has
    /// reported a placeholder only).
    #[must_use]
    pub fn output_tokens(&self) -> u64 {
        self.reported_output_tokens().unwrap_or(self.estimated_output_tokens)
    }

    /// Whether anything is known to be billed for it.
    pub(crate) fn cost_something(&self) -> bool {
        self.usage.is_some() || self.output_tokens() > 0
    }

    /// The report of an attempt that came to its end stands.
    fn reported_output_tokens(&self) -> Option<u64> {
        let reported = self.usage?.output_tokens;
        let stands = self.outcome == Outcome::Finished || reported >= self.estimated_output_tokens;
        stands.then_some(reported)
    }
}

/// Tokens in `bytes` bytes of generated text, at the least: one for every eight. English has about
/// four bytes a token and other scripts fewer, so the true count is higher.
pub(crate) const fn estimate_tokens(bytes: usize) -> u64 {
    bytes as u64 / ESTIMATE_BYTES_PER_TOKEN
}

/// See [`estimate_tokens`].
const ESTIMATE_BYTES_PER_TOKEN: u64 = 8;
