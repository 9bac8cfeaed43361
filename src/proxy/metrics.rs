//! Numbers for operators, as Prometheus reads them.
//!
//! In: notices, and what became of requests. Out: the text of `/metrics`. The names of configured
//! upstreams are the only labels that are not fixed words: what a client sends never becomes one, or
//! it could fill the memory with them. There is a recorder for each proxy and no global one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
    with_local_recorder,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::wire::Wire;
use crate::client::BreakerReport;
use crate::engine::Notice;
use crate::event::Cut;
use crate::policy::BreakerState;
use crate::report::{Outcome, Report};

/// What was done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Recovered,
    Called,
    Passed,
    Refused,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::Called => "called",
            Self::Passed => "passed",
            Self::Refused => "refused",
        }
    }
}

/// How the answer to a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client got all of it.
    Whole,
    /// There was none, or it broke off.
    Failed,
    /// The client did not wait for the end.
    Gone,
}

impl Ending {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }
}

/// Counts.
pub(super) struct Meter {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    samples: AtomicU64,
}

impl Meter {
    pub(super) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        // The bounds are a list that is not empty, which is all that can be wrong with them.
        let builder = builder.set_buckets(&SECONDS).unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        with_local_recorder(&recorder, describe);
        let handle = recorder.handle();
        Self { recorder, handle, samples: AtomicU64::new(0) }
    }

    pub(super) fn render(&self) -> String {
        self.handle.render()
    }

    /// What the replies say while they run.
    pub(super) fn observe(&self, notice: &Notice) {
        with_local_recorder(&self.recorder, || match notice {
            Notice::Opened { upstream, .. } => {
                counter!("unbroken_attempts_total", "upstream" => upstream.to_string())
                    .increment(1);
            }
            Notice::Interrupted(interruption) => {
                let upstream = interruption.upstream.to_string();
                let cause = cause(interruption.cut);
                counter!("unbroken_cuts_total", "upstream" => upstream, "cause" => cause)
                    .increment(1);
            }
            Notice::Resumed(resumption) => {
                let (rung, join) = (resumption.by.to_string(), resumption.join.to_string());
                counter!("unbroken_recoveries_total", "rung" => rung).increment(1);
                counter!("unbroken_seams_total", "join" => join).increment(1);
            }
            _ => {}
        });
    }

    /// A request is over.
    pub(super) fn answered(
        &self,
        wire: Option<Wire>,
        kind: Kind,
        status: u16,
        ending: Ending,
        bytes: u64,
    ) {
        let dialect = wire.map_or("none", Wire::name);
        with_local_recorder(&self.recorder, || {
            counter!("unbroken_requests_total", "dialect" => dialect, "kind" => kind.as_str(),
                "status" => status.to_string(), "outcome" => ending.as_str())
            .increment(1);
            counter!("unbroken_bytes_total").increment(bytes);
        });
    }

    /// A recovered stream began (`1.0`) or is over (`-1.0`).
    pub(super) fn active(&self, change: f64) {
        with_local_recorder(&self.recorder, || {
            gauge!("unbroken_active_streams").increment(change);
        });
    }

    /// The first content of a recovered answer came after `wait`.
    pub(super) fn first_delta(&self, wait: Duration) {
        self.sample("unbroken_time_to_first_delta_seconds", wait);
    }

    /// What cuts cost a recovered answer in time, if there were any.
    pub(super) fn lost(&self, report: &Report) {
        if let Some(lost) = time_lost(report) {
            self.sample("unbroken_recovery_lost_seconds", lost);
        }
    }

    /// The worst state of each upstream's models: a model's name may be a client's invention.
    pub(super) fn breakers<'a>(
        &self,
        upstreams: impl Iterator<Item = &'a str>,
        reports: &[BreakerReport],
    ) {
        for upstream in upstreams {
            let own = reports.iter().filter(|report| *report.upstream == *upstream);
            let worst = own.map(|report| state(report.state)).max().unwrap_or_default();
            with_local_recorder(&self.recorder, || {
                gauge!("unbroken_breaker_state", "upstream" => upstream.to_owned()).set(worst);
            });
        }
    }

    fn sample(&self, name: &'static str, wait: Duration) {
        with_local_recorder(&self.recorder, || histogram!(name).record(wait));
        // The recorder keeps every sample until somebody asks for them, which nobody may ever do.
        if self.samples.fetch_add(1, Ordering::Relaxed) % SAMPLES_MAX == SAMPLES_MAX - 1 {
            self.handle.run_upkeep();
        }
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meter")
    }
}

/// The cause of a cut in one word.
pub(super) const fn cause(cut: Cut) -> &'static str {
    match cut {
        Cut::Unreachable => "unreachable",
        Cut::Rejected { .. } => "rejected",
        Cut::Truncated => "truncated",
        Cut::Reset => "reset",
        Cut::Stalled { .. } => "stalled",
        Cut::Faulted => "faulted",
        Cut::Garbled => "garbled",
        Cut::OverLimit => "over_limit",
        Cut::Diverged => "diverged",
        Cut::Denied => "denied",
    }
}

/// A state as a number; the higher, the less goes through.
const fn state(state: BreakerState) -> u8 {
    match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    }
}

/// From each cut to the first byte of the attempt after it, or to its end where none came. None
/// without a cut that was followed by an attempt.
fn time_lost(report: &Report) -> Option<Duration> {
    let pairs =
        report.attempts.windows(2).filter(|pair| matches!(pair[0].outcome, Outcome::Cut(_)));
    let lost = |pair: &[crate::report::AttemptReport]| {
        let back = pair[1].first_byte.or(pair[1].ended)?;
        Some(back.saturating_sub(pair[0].ended?))
    };
    pairs.filter_map(lost).reduce(Duration::saturating_add)
}

fn describe() {
    describe_counter!("unbroken_requests_total", "Requests, by what was done with them.");
    describe_counter!("unbroken_attempts_total", "Requests that recovered ones sent upstream.");
    describe_counter!("unbroken_cuts_total", "Attempts that ended before their answer.");
    describe_counter!("unbroken_recoveries_total", "Continuations that were joined, by rung.");
    describe_counter!("unbroken_seams_total", "Seams, by how the two sides join.");
    describe_counter!("unbroken_bytes_total", Unit::Bytes, "Bytes of bodies sent to clients.");
    describe_gauge!("unbroken_active_streams", "Recovered streams under way.");
    describe_gauge!("unbroken_breaker_state", "0 closed, 1 half open, 2 open; the worst model.");
    let first = "From a recovered request to the first content of its answer.";
    describe_histogram!("unbroken_time_to_first_delta_seconds", Unit::Seconds, first);
    let lost = "From a cut to the next attempt's first byte, summed over an answer.";
    describe_histogram!("unbroken_recovery_lost_seconds", Unit::Seconds, lost);
}

/// From a local model's first token to the longest silence that is waited for.
const SECONDS: [f64; 14] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Samples that may wait to be counted.
const SAMPLES_MAX: u64 = 1024;
