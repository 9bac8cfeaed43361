//! What each attempt took and brought.
//!
//! In: what the engine does. Out: the [`Report`]. It decides nothing. Law kept: *Spend* — every
//! request has an entry.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::Live;
use crate::event::{AttemptId, Cut, Join, Resume, TransportErrorKind, Usage};
use crate::report::{AttemptReport, Outcome, Report, estimate_tokens};

#[derive(Debug)]
pub(super) struct Ledger {
    started: Instant,
    opened: u32,
    /// Something came that is not part of the text: then no report tells what the text has cost.
    mixed: bool,
    report: Report,
}

/// What is known of an attempt when it is opened.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) upstream: Arc<str>,
    pub(super) model: Arc<str>,
    pub(super) by: Option<Resume>,
    pub(super) free: bool,
    pub(super) delay: Duration,
}

/// What is known of the end of an attempt beside how it ended.
#[derive(Debug, Default)]
pub(super) struct Cause {
    pub(super) code: Option<Arc<str>>,
    pub(super) transport: Option<TransportErrorKind>,
}

impl Ledger {
    pub(super) fn new(started: Instant) -> Self {
        Self { started, opened: 0, mixed: false, report: Report::default() }
    }

    pub(super) fn open(&mut self, now: Instant, entry: Entry) -> AttemptId {
        self.opened += 1;
        let id = AttemptId(self.opened);
        self.report.attempts.push(AttemptReport {
            id,
            upstream: entry.upstream,
            model: entry.model,
            by: entry.by,
            free: entry.free,
            delay: entry.delay,
            opened: self.since_start(now),
            first_byte: None,
            ended: None,
            outcome: Outcome::Running,
            code: None,
            transport: None,
            delivered: 0,
            discarded: 0,
            join: None,
            skipped_frames: 0,
            usage: None,
            lost: 0,
            made: 0,
            complete: false,
            estimated_input_tokens: 0,
            estimated_output_tokens: 0,
        });
        id
    }

    /// The attempt was not made after all.
    pub(super) fn strike(&mut self, id: AttemptId) {
        self.report.attempts.retain(|attempt| attempt.id != id);
    }

    pub(super) fn sent(&mut self, now: Instant) {
        let at = self.since_start(now);
        self.edit(|attempt| attempt.opened = at);
    }

    pub(super) fn first_byte(&mut self, now: Instant) {
        let at = self.since_start(now);
        self.edit(|attempt| attempt.first_byte = Some(at));
    }

    pub(super) fn model(&mut self, model: &Arc<str>) {
        self.edit(|attempt| attempt.model = Arc::clone(model));
    }

    /// A replay reports the usage of the whole generation: what its earlier attempts brought is in it.
    pub(super) fn usage(&mut self, usage: Usage) {
        self.edit(|attempt| attempt.usage = Some(usage));
        let mut later = true;
        for attempt in self.report.attempts.iter_mut().rev() {
            if !std::mem::replace(&mut later, false) {
                attempt.usage = None;
                (attempt.estimated_input_tokens, attempt.estimated_output_tokens) = (0, 0);
            }
            if attempt.by != Some(Resume::Cursor) {
                break;
            }
        }
    }

    /// What came so far is taken back: no report tells what is left has cost.
    pub(super) fn rewound(&mut self) {
        self.mixed = true;
        for attempt in &mut self.report.attempts {
            attempt.lost = attempt.made;
        }
    }

    /// So many bytes that the attempt under way, or the last one, brought are no part of the answer any more.
    pub(super) fn abandoned(&mut self, bytes: usize) {
        self.edit(|attempt| attempt.lost = attempt.lost.saturating_add(bytes));
    }

    /// Nobody has said yet what the input of the attempt under way costs.
    pub(super) fn lacks_input(&self) -> bool {
        let usage = self.report.attempts.last().and_then(|attempt| attempt.usage);
        usage.is_none_or(|usage| usage.input_tokens == 0)
    }

    pub(super) fn joined(&mut self, join: Join) {
        self.edit(|attempt| attempt.join = Some(join));
    }

    pub(super) fn skipped(&mut self) {
        self.edit(|attempt| attempt.skipped_frames = attempt.skipped_frames.saturating_add(1));
    }

    /// The attempt is over. Its model has read `read` bytes of text at the least.
    pub(super) fn close(
        &mut self,
        now: Instant,
        outcome: Outcome,
        cause: Cause,
        live: &Live,
        read: usize,
    ) {
        let at = self.since_start(now);
        self.mixed |= live.aside || live.came > live.delivered;
        if live.by == Some(Resume::Cursor) && live.came > 0 {
            self.replayed();
        }
        self.edit(|attempt| {
            attempt.ended = Some(at);
            attempt.outcome = outcome;
            (attempt.code, attempt.transport) = (cause.code, cause.transport);
            attempt.delivered = live.delivered;
            attempt.discarded = live.came.saturating_sub(live.delivered);
            attempt.estimated_input_tokens = estimate_tokens(read);
            attempt.made = live.made();
            attempt.estimated_output_tokens = estimate_tokens(attempt.made);
            // Some end without a word on usage: then what was said before their answer is a placeholder.
            let counted = live.counted == live.generated || reported(attempt).is_some();
            attempt.complete = outcome == Outcome::Finished && live.finish.is_some() && counted;
            attempt.lost = attempt.lost.saturating_add(attempt.made.saturating_sub(live.delivered));
        });
        self.charge_back();
    }

    /// What a replay is charged with and did not bring is of those before it.
    fn charge_back(&mut self) {
        let mut excess = 0;
        for attempt in self.report.attempts.iter_mut().rev() {
            attempt.lost = attempt.lost.saturating_add(excess);
            if attempt.by != Some(Resume::Cursor) {
                break;
            }
            excess = attempt.lost.saturating_sub(attempt.made);
            attempt.lost -= excess;
        }
    }

    /// The replay under way brought again what those before it could not deliver.
    fn replayed(&mut self) {
        for before in self.report.attempts.iter_mut().rev().skip(1) {
            before.lost = 0;
            before.made = before.made.min(before.delivered);
            let made = estimate_tokens(before.made);
            before.estimated_output_tokens = before.estimated_output_tokens.min(made);
            if before.by != Some(Resume::Cursor) {
                break;
            }
        }
    }

    pub(super) const fn report(&self) -> &Report {
        &self.report
    }

    pub(super) fn entry(&self, id: AttemptId) -> Option<&AttemptReport> {
        self.report.attempts.iter().rev().find(|attempt| attempt.id == id)
    }

    /// Attempts that count.
    pub(super) fn counted(&self) -> u32 {
        self.report.attempts.iter().map(|attempt| u32::from(!attempt.free)).sum()
    }

    /// Output tokens that the provider itself reported for the text so far. None as soon as one attempt
    /// is known only by estimate (a cut stream has reported a placeholder at best), or brought anything
    /// that is not part of the text: what was said before, reasoning, a call.
    pub(super) fn reported_output(&self) -> Option<u64> {
        if self.mixed {
            return None;
        }
        let mut spoke = self.report.attempts.iter().filter(|attempt| attempt.delivered > 0);
        spoke.try_fold(0_u64, |sum, attempt| Some(sum.saturating_add(reported(attempt)?)))
    }

    /// Why the last attempt that is over was cut.
    pub(super) fn last_cut(&self) -> Option<Cut> {
        self.report.attempts.iter().rev().find_map(|attempt| match attempt.outcome {
            Outcome::Cut(cut) => Some(cut),
            _ => None,
        })
    }

    fn edit(&mut self, edit: impl FnOnce(&mut AttemptReport)) {
        if let Some(attempt) = self.report.attempts.last_mut() {
            edit(attempt);
        }
    }

    fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}

fn reported(attempt: &AttemptReport) -> Option<u64> {
    let output = attempt.usage?.output_tokens;
    (output >= attempt.estimated_output_tokens).then_some(output)
}
