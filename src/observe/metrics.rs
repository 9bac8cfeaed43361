//! Numbers for operators, by the `metrics` facade.
//!
//! In: notices. Out: counters, gauges and histograms of whatever recorder is installed. The names of
//! upstreams and fixed words are the only labels: a model's name may be a client's invention, and would
//! fill the memory of whoever keeps the numbers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::breakers::Breakers;
use super::underway::Underway;
use super::{Observation, Observer};
use crate::dialect::FaultClass;
use crate::engine::{Notice, Over};
use crate::error::ErrorKind;
use crate::policy::BreakerState;
use crate::report::{AttemptReport, Report};

/// Counts what the replies of a client tell, by the recorder that is installed: a global one
/// (`metrics::set_global_recorder`) or the thread's own.
///
/// The names are listed in [the manual](crate::manual::observability). Give each client its own: two of
/// them number their replies alike.
#[derive(Debug)]
pub struct Metrics(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When each reply began, until its first content came.
    began: Underway<Option<Instant>>,
    breakers: Breakers,
}

impl Metrics {
    /// One that has heard nothing.
    #[must_use]
    pub const fn new() -> Self {
        let state = State { began: Underway::new(), breakers: Breakers::new() };
        Self(Mutex::new(state))
    }

    /// Tells the recorder that is installed what each number means, and its unit.
    pub fn describe() {
        let counters = [
            (REPLIES, "Replies that are over, by how they ended and who gave the answer."),
            (ERRORS, "Replies that failed, by what failed and whose fault it is."),
            (ATTEMPTS, "Requests that were sent upstream, counted when their reply is over."),
            (
                ATTEMPT_ERRORS,
                "Requests upstream that ended in an error, whatever came of the reply.",
            ),
            (CUTS, "Attempts that ended before their answer."),
            (RECOVERIES, "Continuations that were joined, by rung."),
            (SEAMS, "Seams, by how the two sides join."),
            (TOKENS, "Tokens that attempts are billed, at the least; the kinds do not overlap."),
            (
                LOST_TOKENS,
                "Output tokens of attempts that were cut: billed, and only partly of use.",
            ),
            (
                REBILLED_TOKENS,
                "Input tokens that are billed once more because an attempt was cut, at the least.",
            ),
            (DENIED, "Attempts that were not allowed, and not sent."),
            (ACCOUNT, "Refusals of the account or its credentials."),
            (TRANSITIONS, "Changes of breakers, by the state that they changed to."),
        ];
        for (name, text) in counters {
            describe_counter!(name, text);
        }
        describe_gauge!(ACTIVE, "Replies under way.");
        describe_gauge!(BREAKER, "0 closed, 1 half open, 2 open; the worst model.");
        let first = "From the first poll of a reply to the first content of its answer.";
        describe_histogram!(FIRST_DELTA, Unit::Seconds, first);
        let lost = "From a cut to the next attempt's first byte, summed over an answer.";
        describe_histogram!(TIME_LOST, Unit::Seconds, lost);
    }

    fn over(&self, observation: &Observation<'_>, over: &Over) {
        let began = self.with(|state| state.began.end(observation.reply));
        if began.is_some() {
            gauge!(ACTIVE).decrement(1.0);
        }
        let (outcome, source) = match &over.result {
            Ok(finish) if finish.inferred => ("inferred", finish.source.as_str()),
            Ok(finish) => ("finished", finish.source.as_str()),
            Err(ErrorKind::Canceled) => ("canceled", "none"),
            Err(_) => ("failed", "none"),
        };
        counter!(REPLIES, "outcome" => outcome, "source" => source).increment(1);
        if let Err(kind) = over.result {
            if kind != ErrorKind::Canceled {
                let origin = kind.origin().as_str();
                counter!(ERRORS, "kind" => kind.as_str(), "origin" => origin).increment(1);
            }
        }
        if let Some(lost) = over.report.time_lost() {
            histogram!(TIME_LOST).record(lost);
        }
        count_costs(&over.report);
    }

    fn breaker(&self, upstream: &Arc<str>, model: &Arc<str>, state: BreakerState, at: Instant) {
        let worst = self.with(|known| {
            known.breakers.turn(upstream, model, state, at);
            known.breakers.worst(upstream)
        });
        gauge!(BREAKER, "upstream" => upstream.to_string()).set(level(worst));
        let word = match state {
            BreakerState::Closed => "closed",
            BreakerState::HalfOpen => "half_open",
            BreakerState::Open => "open",
        };
        counter!(TRANSITIONS, "upstream" => upstream.to_string(), "state" => word).increment(1);
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Metrics {
    fn observe(&self, observation: &Observation<'_>) {
        match observation.notice {
            Notice::Began { .. } => {
                let began = Some(observation.at);
                let gone = self.with(|state| state.began.begin(observation.reply, began));
                if gone.is_none() {
                    gauge!(ACTIVE).increment(1.0);
                }
            }
            Notice::FirstDelta { .. } => {
                let Observation { reply, at, .. } = *observation;
                if let Some(wait) = self.with(|state| state.began.waited(reply, at)) {
                    histogram!(FIRST_DELTA).record(wait);
                }
            }
            Notice::Interrupted(interruption) => {
                let (upstream, cause) =
                    (interruption.upstream.to_string(), interruption.cut.as_str());
                counter!(CUTS, "upstream" => upstream, "cause" => cause).increment(1);
            }
            Notice::Resumed(resumption) => {
                counter!(RECOVERIES, "rung" => resumption.by.as_str()).increment(1);
                counter!(SEAMS, "join" => resumption.join.as_str()).increment(1);
            }
            Notice::Ended { upstream, error: Some(kind), .. } => {
                counter!(ATTEMPT_ERRORS, "upstream" => upstream.to_string(), "kind" => kind.as_str())
                    .increment(1);
            }
            Notice::Denied { upstream, .. } => {
                counter!(DENIED, "upstream" => upstream.to_string()).increment(1);
            }
            Notice::Account { upstream, class } => {
                let reason = refused(*class);
                counter!(ACCOUNT, "upstream" => upstream.to_string(), "reason" => reason)
                    .increment(1);
            }
            Notice::Breaker { upstream, model, state } => {
                self.breaker(upstream, model, *state, observation.at);
            }
            Notice::Over(over) => self.over(observation, over),
            _ => {}
        }
    }
}

/// What the attempts of a reply cost.
fn count_costs(report: &Report) {
    for attempt in &report.attempts {
        let upstream = || attempt.upstream.to_string();
        counter!(ATTEMPTS, "upstream" => upstream()).increment(1);
        for (kind, tokens) in tokens(attempt) {
            if tokens > 0 {
                counter!(TOKENS, "upstream" => upstream(), "kind" => kind).increment(tokens);
            }
        }
        counter!(LOST_TOKENS, "upstream" => upstream()).increment(attempt.lost_output_tokens());
    }
    counter!(REBILLED_TOKENS).increment(report.rebilled_input_tokens());
}

/// What `attempt` is billed, each token of one kind.
fn tokens(attempt: &AttemptReport) -> [(&'static str, u64); 3] {
    let billed = attempt.billed();
    let reported = attempt.usage.is_some_and(|usage| usage.input_tokens > 0);
    let input = if reported { "input" } else { "input_estimated" };
    let output = if attempt.is_estimated() { "output_estimated" } else { "output" };
    [
        (input, billed.input_tokens.saturating_sub(billed.cached_input_tokens)),
        ("cached_input", billed.cached_input_tokens),
        (output, billed.output_tokens),
    ]
}

/// What was refused, in one word.
const fn refused(class: FaultClass) -> &'static str {
    match class {
        FaultClass::Auth => "credentials",
        FaultClass::Billing => "billing",
        _ => "other",
    }
}

/// A state as a number; the higher, the less goes through.
pub(crate) const fn level(state: BreakerState) -> u8 {
    match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    }
}

const REPLIES: &str = "unbroken_replies_total";
const ERRORS: &str = "unbroken_errors_total";
const ATTEMPTS: &str = "unbroken_attempts_total";
const ATTEMPT_ERRORS: &str = "unbroken_attempt_errors_total";
const CUTS: &str = "unbroken_cuts_total";
const RECOVERIES: &str = "unbroken_recoveries_total";
const SEAMS: &str = "unbroken_seams_total";
const TOKENS: &str = "unbroken_tokens_total";
const LOST_TOKENS: &str = "unbroken_lost_tokens_total";
const REBILLED_TOKENS: &str = "unbroken_rebilled_input_tokens_total";
const DENIED: &str = "unbroken_denied_total";
const ACCOUNT: &str = "unbroken_account_refusals_total";
const TRANSITIONS: &str = "unbroken_breaker_transitions_total";
const ACTIVE: &str = "unbroken_active_streams";
pub(crate) const BREAKER: &str = "unbroken_breaker_state";
const FIRST_DELTA: &str = "unbroken_time_to_first_delta_seconds";
const TIME_LOST: &str = "unbroken_recovery_lost_seconds";
