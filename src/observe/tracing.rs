//! A span for each reply, and one in it for each attempt.
//!
//! In: notices. Out: spans of the `tracing` crate, with the names of OpenTelemetry's [conventions] for
//! generative AI where there is one (November 2026, status: development), and `unbroken.*` for the rest.
//! Never keys, bodies or content.
//!
//! [conventions]: https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/client-inference.md

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Span, field};

use super::underway::Underway;
use super::{Observation, Observer, ReplyId};
use crate::engine::{Notice, Over};
use crate::error::ErrorKind;
use crate::event::{AttemptId, Cut, FinishReason, Usage};
use crate::report::{AttemptReport, Outcome};

/// Makes a span for each reply and a child of it for each attempt, on whatever subscriber is installed.
///
/// The span of a reply is a child of the one that is current where the reply is polled first, and ends with
/// the reply, also where that is dropped. Its fields are listed in [the manual](crate::manual::observability). Token
/// usage is in `gen_ai.usage.*` of the reply, summed over its attempts, and of an attempt in
/// `unbroken.usage.*` only: who adds up spans must not count it twice.
///
/// Give each client its own: two of them number their replies alike.
#[derive(Debug)]
pub struct Tracing(Mutex<Underway<Spans>>);

/// The spans of one reply.
#[derive(Debug)]
struct Spans {
    began: Instant,
    reply: Span,
    /// Those that have not ended: one as a rule.
    attempts: BTreeMap<AttemptId, Span>,
}

impl Tracing {
    /// One that has heard nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(Underway::new()))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Underway<Spans>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn attempt(&self, reply: ReplyId, id: AttemptId) -> Option<Span> {
        self.with(|spans| spans.of(reply)?.attempts.remove(&id))
    }
}

impl Default for Tracing {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Tracing {
    fn observe(&self, observation: &Observation<'_>) {
        let reply = observation.reply;
        // A span is closed where it is dropped: never while the lock is held, a subscriber takes its time.
        match observation.notice {
            Notice::Began { dialect, upstream, model } => {
                let span = reply_span(reply, dialect, upstream, model);
                let spans = Spans { began: observation.at, reply: span, attempts: BTreeMap::new() };
                drop(self.with(|all| all.begin(reply, spans)));
            }
            Notice::Opened { attempt, upstream, model, by } => {
                let Some(parent) = self.with(|all| Some(all.of(reply)?.reply.clone())) else {
                    return;
                };
                let span = attempt_span(&parent, *attempt, upstream, model);
                if let Some(by) = by {
                    span.record("unbroken.rung", by.as_str());
                }
                self.with(|all| Some(all.of(reply)?.attempts.insert(*attempt, span)));
            }
            Notice::FirstDelta { .. } => {
                let begun =
                    self.with(|all| all.of(reply).map(|own| (own.began, own.reply.clone())));
                if let Some((began, span)) = begun {
                    let wait = observation.at.saturating_duration_since(began);
                    span.record("gen_ai.response.time_to_first_chunk", wait.as_secs_f64());
                }
            }
            Notice::Denied { attempt, .. } => {
                if let Some(span) = self.attempt(reply, *attempt) {
                    span.record("unbroken.outcome", Cut::Denied.as_str());
                    failed(&span, ErrorKind::Denied);
                }
            }
            Notice::Ended { attempt, error, report, .. } => {
                if let Some(span) = self.attempt(reply, *attempt) {
                    end_attempt(&span, report);
                    if let Some(kind) = error {
                        failed(&span, *kind);
                    }
                }
            }
            Notice::Over(over) => {
                if let Some(spans) = self.with(|all| all.end(reply)) {
                    spans.end(over);
                }
            }
            _ => {}
        }
    }
}

impl Spans {
    fn end(self, over: &Over) {
        // Nobody tells how the attempts of a reply that was dropped ended.
        for (id, span) in &self.attempts {
            let report = over.report.attempts.iter().find(|report| report.id == *id);
            report.iter().for_each(|report| end_attempt(span, report));
        }
        let span = &self.reply;
        let report = &over.report;
        let cuts = report.attempts.iter();
        let cuts = cuts.filter(|attempt| matches!(attempt.outcome, Outcome::Cut(_))).count();
        span.record("unbroken.attempts", report.attempts.len());
        span.record("unbroken.cuts", cuts);
        span.record("unbroken.seams.unverified", report.unverified_seams());
        span.record("unbroken.usage.estimated", report.is_estimated());
        span.record("unbroken.usage.lost_output_tokens", report.lost_output_tokens());
        span.record("unbroken.usage.rebilled_input_tokens", report.rebilled_input_tokens());
        if let Some(lost) = report.time_lost() {
            span.record("unbroken.time_lost", lost.as_secs_f64());
        }
        if let Some(last) = report.attempts.last() {
            span.record("unbroken.upstream", &*last.upstream);
            span.record("gen_ai.response.model", &*last.model);
        }
        if report.attempts.iter().any(|attempt| attempt.usage.is_some()) {
            record_usage(span, report.usage());
        }
        match &over.result {
            Ok(finish) => {
                let reasons = format!("[\"{}\"]", word(&finish.reason));
                span.record("gen_ai.response.finish_reasons", reasons);
                span.record("unbroken.source", finish.source.as_str());
                span.record("unbroken.inferred", finish.inferred);
            }
            Err(kind) => failed(span, *kind),
        }
    }
}

fn reply_span(reply: ReplyId, dialect: &str, upstream: &str, model: &str) -> Span {
    tracing::info_span!(
        target: TARGET,
        "chat",
        otel.name = format!("chat {model}").trim_end(),
        otel.kind = "client",
        otel.status_code = field::Empty,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = provider(dialect),
        gen_ai.request.model = model,
        gen_ai.response.model = field::Empty,
        gen_ai.response.finish_reasons = field::Empty,
        gen_ai.response.time_to_first_chunk = field::Empty,
        gen_ai.usage.input_tokens = field::Empty,
        gen_ai.usage.output_tokens = field::Empty,
        gen_ai.usage.cache_read.input_tokens = field::Empty,
        gen_ai.usage.cache_write.input_tokens = field::Empty,
        gen_ai.usage.reasoning.output_tokens = field::Empty,
        error.type = field::Empty,
        unbroken.reply = reply.get(),
        unbroken.dialect = dialect,
        unbroken.upstream = upstream,
        unbroken.source = field::Empty,
        unbroken.inferred = field::Empty,
        unbroken.attempts = field::Empty,
        unbroken.cuts = field::Empty,
        unbroken.seams.unverified = field::Empty,
        unbroken.time_lost = field::Empty,
        unbroken.usage.estimated = field::Empty,
        unbroken.usage.lost_output_tokens = field::Empty,
        unbroken.usage.rebilled_input_tokens = field::Empty,
    )
}

/// Tokens of an attempt go by names of our own: the reply's are the sum.
fn attempt_span(parent: &Span, id: AttemptId, upstream: &str, model: &str) -> Span {
    tracing::info_span!(
        target: TARGET,
        parent: parent,
        "attempt",
        otel.kind = "client",
        otel.status_code = field::Empty,
        gen_ai.request.model = model,
        gen_ai.response.model = field::Empty,
        error.type = field::Empty,
        http.response.status_code = field::Empty,
        unbroken.attempt = id.get(),
        unbroken.upstream = upstream,
        unbroken.rung = field::Empty,
        unbroken.free = field::Empty,
        unbroken.delay = field::Empty,
        unbroken.time_to_first_byte = field::Empty,
        unbroken.outcome = field::Empty,
        unbroken.code = field::Empty,
        unbroken.join = field::Empty,
        unbroken.delivered = field::Empty,
        unbroken.discarded = field::Empty,
        unbroken.usage.input_tokens = field::Empty,
        unbroken.usage.output_tokens = field::Empty,
        unbroken.usage.estimated = field::Empty,
    )
}

fn end_attempt(span: &Span, report: &AttemptReport) {
    span.record("gen_ai.response.model", &*report.model);
    span.record("unbroken.free", report.free);
    span.record("unbroken.delay", report.delay.as_secs_f64());
    if let Some(first) = report.first_byte {
        let wait: Duration = first.saturating_sub(report.opened);
        span.record("unbroken.time_to_first_byte", wait.as_secs_f64());
    }
    let outcome = match report.outcome {
        Outcome::Finished => "finished",
        Outcome::Cut(cut) => cut.as_str(),
        Outcome::Running | Outcome::Canceled => "canceled",
    };
    span.record("unbroken.outcome", outcome);
    if let Outcome::Cut(Cut::Rejected { status, .. }) = report.outcome {
        span.record("http.response.status_code", status.as_u16());
    }
    if let Some(code) = &report.code {
        span.record("unbroken.code", &**code);
    }
    if let Some(join) = report.join {
        span.record("unbroken.join", join.as_str());
    }
    span.record("unbroken.delivered", report.delivered);
    span.record("unbroken.discarded", report.discarded);
    let billed = report.billed();
    span.record("unbroken.usage.input_tokens", billed.input_tokens);
    span.record("unbroken.usage.output_tokens", billed.output_tokens);
    span.record("unbroken.usage.estimated", report.is_estimated());
}

/// By OpenTelemetry's conventions the input counts what was read from a cache, and so does ours.
fn record_usage(span: &Span, usage: Usage) {
    span.record("gen_ai.usage.input_tokens", usage.input_tokens);
    span.record("gen_ai.usage.output_tokens", usage.output_tokens);
    span.record("gen_ai.usage.cache_read.input_tokens", usage.cached_input_tokens);
    span.record("gen_ai.usage.cache_write.input_tokens", usage.cache_write_tokens);
    span.record("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens);
}

/// By the conventions only an error sets the status. A caller who went away is no failure of what was
/// watched: it stays unset too.
fn failed(span: &Span, kind: ErrorKind) {
    span.record("error.type", kind.as_str());
    if kind != ErrorKind::Canceled {
        span.record("otel.status_code", "ERROR");
    }
}

/// Whose format it is, by the conventions' own word for him; else our own word for the format.
fn provider(dialect: &str) -> &str {
    match dialect {
        "openai-chat" | "openai-responses" => "openai",
        "gemini" | "gemini-interactions" => "gcp.gemini",
        other => other,
    }
}

/// A word of the provider's that nobody knows is not passed on: it could be anything.
const fn word(reason: &FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::StopSequence => "stop_sequence",
        FinishReason::Length => "length",
        FinishReason::ToolUse => "tool_use",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Refusal => "refusal",
        FinishReason::Pause => "pause",
        FinishReason::ContextWindow => "context_window",
        FinishReason::Unstated => "unstated",
        FinishReason::Other(_) => "other",
    }
}

/// What filters know the spans by.
const TARGET: &str = "unbroken";
