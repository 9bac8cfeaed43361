//! What an answer took: attempts, causes, costs.
//!
//! In: what the ledger notes. Out: values for the caller. Never text. Law kept: *Spend*.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::event::{
    AttemptId, Cut, Join, Resume, TransportErrorKind, Usage, as_millis, as_millis_if_any,
};

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
    /// How its HTTP exchange failed, where that is why it was cut: an HTTP/2 stream that was reset is told from
    /// a connection that went away.
    pub transport: Option<TransportErrorKind>,
    /// Bytes of content (text, reasoning, tool arguments) that it brought to the caller.
    pub delivered: usize,
    /// Bytes of content that it brought and that were not delivered: said before, unfinished at the
    /// cut, or not part of the answer.
    pub discarded: usize,
    /// Bytes of content that the model made for it in vain: not delivered, or abandoned or taken back
    /// afterwards. What a server only sends again, a replay or an echo of what it was sent, is none.
    pub lost: usize,
    /// Bytes of content that the model made for it, at the least.
    #[serde(skip)]
    pub(crate) made: usize,
    /// The provider's own end of the answer came, so that what it reported is its last word.
    #[serde(skip)]
    pub(crate) complete: bool,
    /// How its text was joined to what had been said.
    pub join: Option<Join>,
    /// Frames that could not be read and were skipped, as a last resort.
    pub skipped_frames: u32,
    /// Usage, as the provider reported it last.
    pub usage: Option<Usage>,
    /// Input tokens, estimated from the text of the caller's request: what the provider bills at the least
    /// where it did not report. Zero where it did, where nothing came back (then nothing is known to be
    /// billed), and for a replay.
    pub estimated_input_tokens: u64,
    /// Output tokens, estimated from the bytes that the model made: what the provider bills at the least
    /// where it did not report.
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

    /// What all attempts are billed together, at the least: see [`AttemptReport::billed`].
    #[must_use]
    pub fn billed(&self) -> Usage {
        self.attempts.iter().map(AttemptReport::billed).fold(Usage::default(), Usage::plus)
    }

    /// Whether [`billed`](Self::billed) is a lower bound in part, because not every attempt came to the
    /// provider's own last word.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.attempts.iter().any(AttemptReport::is_estimated)
    }

    /// Output tokens that are billed and are no part of the answer, at the least: see
    /// [`AttemptReport::lost_output_tokens`].
    #[must_use]
    pub fn lost_output_tokens(&self) -> u64 {
        self.attempts.iter().map(AttemptReport::lost_output_tokens).fold(0, u64::saturating_add)
    }

    /// Input tokens that are billed once more because an attempt was cut: those of every attempt that cost
    /// something, but for the first one. An uncut answer has none.
    #[must_use]
    pub fn rebilled_input_tokens(&self) -> u64 {
        let costly = self.attempts.iter().filter(|attempt| attempt.cost_something());
        costly.skip(1).map(|attempt| attempt.billed().input_tokens).fold(0, u64::saturating_add)
    }

    /// How full the model's context window is with this answer: input and output of the attempt that
    /// completed it, as reported. None where none did, or it did not report.
    ///
    /// That is not what is billed, which is a sum over the attempts. The input of a continuation holds the
    /// partial answer already, and the note that asked for the rest; so only the last attempt counts.
    /// Reasoning counts although the next turn may leave it out. A turn in which the provider runs tools of
    /// its own is reported as the sum of its rounds, which is more than the window holds.
    #[must_use]
    pub fn context_tokens(&self) -> Option<u64> {
        let mut attempts = self.attempts.iter().rev();
        let last = attempts.find(|attempt| attempt.outcome == Outcome::Finished)?;
        let usage = last.usage.filter(|_| last.complete);
        let usage = usage.filter(|usage| usage.input_tokens > 0)?;
        Some(usage.input_tokens.saturating_add(usage.output_tokens))
    }

    /// Frames that could not be read and were skipped.
    #[must_use]
    pub fn skipped_frames(&self) -> u32 {
        self.attempts.iter().map(|attempt| attempt.skipped_frames).fold(0, u32::saturating_add)
    }

    /// What cuts cost in time: from each to the first byte of the attempt after it, or to its end where none
    /// came, summed. None without a cut that was followed by an attempt.
    #[must_use]
    pub fn time_lost(&self) -> Option<Duration> {
        let pairs =
            self.attempts.windows(2).filter(|pair| matches!(pair[0].outcome, Outcome::Cut(_)));
        let lost = |pair: &[AttemptReport]| {
            let back = pair[1].first_byte.or(pair[1].ended)?;
            Some(back.saturating_sub(pair[0].ended?))
        };
        pairs.filter_map(lost).reduce(Duration::saturating_add)
    }

    /// Seams whose join could not be verified.
    #[must_use]
    pub fn unverified_seams(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.join == Some(Join::Unverified)).count()
    }
}

impl AttemptReport {
    /// What the provider bills for it, at the least: as reported, and estimated where no report stands. Cached
    /// input and what was written to the cache are known only as reported.
    ///
    /// An attempt that brought no content and no report costs nothing that is known of: rejections
    /// and connections that broke are not billed. Of attempts that a provider's own replay goes on with, the
    /// last one reports for all.
    #[must_use]
    pub fn billed(&self) -> Usage {
        let reported = self.usage.unwrap_or_default();
        let input_tokens = match reported.input_tokens {
            0 => self.estimated_input_tokens,
            tokens => tokens,
        };
        Usage { input_tokens, output_tokens: self.output_tokens(), ..reported }
    }

    /// Whether [`billed`](Self::billed) is a lower bound: the attempt cost something and did not come to the
    /// provider's last word on it.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.cost_something() && !(self.complete && self.usage.is_some())
    }

    /// Output tokens: reported, or the estimate where that is more (a stream that is cut early has
    /// reported a placeholder only).
    #[must_use]
    pub fn output_tokens(&self) -> u64 {
        let reported = self.usage.map(|usage| usage.output_tokens);
        match reported {
            Some(tokens) if self.complete => tokens,
            reported => reported.unwrap_or_default().max(self.estimated_output_tokens),
        }
    }

    /// Output tokens of it that are billed and are no part of the answer, at the least: those of the bytes
    /// that are [`lost`](Self::lost), and of a cut attempt all that were reported beyond one for each byte
    /// that it brought, which is reasoning that nobody saw.
    #[must_use]
    pub fn lost_output_tokens(&self) -> u64 {
        let output = self.output_tokens();
        let lost = estimate_tokens(self.lost);
        let kept = self.delivered.saturating_add(self.discarded).saturating_sub(self.lost) as u64;
        let unseen = match self.outcome {
            Outcome::Finished => 0,
            // What it reports is of the whole generation, and earlier attempts delivered of that, too.
            _ if self.by == Some(Resume::Cursor) => 0,
            _ => output.saturating_sub(kept),
        };
        lost.max(unseen).min(output)
    }

    /// Whether anything is known to be billed for it.
    pub(crate) fn cost_something(&self) -> bool {
        self.usage.is_some() || self.output_tokens() > 0
    }
}

/// Tokens in `bytes` bytes of text, at the least: one for every eight, and one for any text at all. English
/// has about four bytes a token and other scripts fewer, so the true count is higher.
pub(crate) const fn estimate_tokens(bytes: usize) -> u64 {
    match bytes as u64 / ESTIMATE_BYTES_PER_TOKEN {
        0 if bytes > 0 => 1,
        tokens => tokens,
    }
}

/// See [`estimate_tokens`].
const ESTIMATE_BYTES_PER_TOKEN: u64 = 8;
