//! Numbers for operators, as Prometheus reads them.
//!
//! In: what replies tell, and what became of requests. Out: the text of `/metrics`. What is told of replies is
//! counted as the library counts it, requests are counted here. The names of configured upstreams are the
//! only labels that are not fixed words: what a client sends never becomes one, or it could fill the
//! memory with them. There is a recorder for each proxy and no global one.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Unit, counter, describe_counter, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::wire::Wire;
use crate::client::BreakerReport;
use crate::engine::Notice;
use crate::observe::{BREAKER, Metrics, Observation, Observer as _, level};

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
    replies: Metrics,
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
        Self { recorder, replies: Metrics::new(), handle, samples: AtomicU64::new(0) }
    }

    pub(super) fn render(&self) -> String {
        self.handle.render()
    }

    /// What the replies say while they run.
    pub(super) fn observe(&self, observation: &Observation<'_>) {
        with_local_recorder(&self.recorder, || self.replies.observe(observation));
        // The recorder keeps every sample until somebody asks for them, which nobody may ever do. These two
        // bring one each at most.
        let samples = matches!(observation.notice, Notice::FirstDelta { .. } | Notice::Over(_));
        if samples && self.samples.fetch_add(1, Ordering::Relaxed) % SAMPLES_MAX == SAMPLES_MAX - 1
        {
            self.handle.run_upkeep();
        }
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

    /// The worst state of each upstream's models: a model's name may be a client's invention. It is asked for,
    /// and not only told: an open breaker whose time has passed tells nobody until it is used.
    pub(super) fn breakers<'a>(
        &self,
        upstreams: impl Iterator<Item = &'a str>,
        reports: &[BreakerReport],
    ) {
        for upstream in upstreams {
            let own = reports.iter().filter(|report| *report.upstream == *upstream);
            let worst = own.map(|report| level(report.state)).max().unwrap_or_default();
            with_local_recorder(&self.recorder, || {
                gauge!(BREAKER, "upstream" => upstream.to_owned()).set(worst);
            });
        }
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meter")
    }
}

fn describe() {
    Metrics::describe();
    describe_counter!("unbroken_requests_total", "Requests, by what was done with them.");
    describe_counter!("unbroken_bytes_total", Unit::Bytes, "Bytes of bodies sent to clients.");
}

/// From a local model's first token to the longest silence that is waited for.
const SECONDS: [f64; 14] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Samples that may wait to be counted.
const SAMPLES_MAX: u64 = 1024;
