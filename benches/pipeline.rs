//! From bytes to delivered events: `cargo bench --bench pipeline`.
//!
//! The whole engine, with all that recovers an answer, against what people write by hand and against
//! the fastest published parser with borrowed types. A time is that of a whole answer; its elements are
//! the deltas, and all contestants must end with the same text.
#![allow(clippy::unwrap_used, reason = "a benchmark may")]
#![allow(missing_docs, reason = "criterion's")]

#[path = "pipeline/ours.rs"]
mod ours;
#[path = "pipeline/peers.rs"]
mod peers;
#[path = "pipeline/recovery.rs"]
mod recovery;
#[path = "../tests/support/spoken.rs"]
mod spoken;
#[path = "../tests/support/wires.rs"]
mod wires;

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use spoken::{Spoken, pieces};
use wires::Wire;

/// Deltas of an answer.
const DELTAS: usize = 1000;

/// What an HTTP stack reads at a time from a connection that is ahead of its reader.
const CHUNK: usize = 16 * 1024;

fn pipeline(c: &mut Criterion) {
    for wire in Wire::ALL {
        let spoken = Spoken::new(wire, pieces(DELTAS, true));
        for (name, chunks) in
            [("one event a chunk", spoken.events.clone()), ("16 KiB chunks", spoken.chunks(CHUNK))]
        {
            compare(c, wire, name, &spoken, &chunks);
        }
    }
}

fn compare(c: &mut Criterion, wire: Wire, name: &str, spoken: &Spoken, chunks: &[Bytes]) {
    let now = start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let client = ours::client(wire, chunks);
    assert_eq!(ours::engine(wire, chunks, now), spoken.text);
    assert_eq!(runtime.block_on(ours::reply(wire, &client)), spoken.text);
    assert_eq!(peers::value(wire, chunks), spoken.text);
    assert_eq!(peers::typed(wire, chunks), spoken.text);

    let mut group = c.benchmark_group(format!("pipeline {}, {name}", wire.name()));
    group.throughput(Throughput::Elements(spoken.deltas as u64));
    group.bench_function("unbroken", |b| b.iter(|| ours::engine(wire, chunks, now)));
    group.bench_function("unbroken Reply", |b| {
        b.iter(|| runtime.block_on(ours::reply(wire, &client)));
    });
    group.bench_function("eventsource-stream + Value", |b| {
        b.iter(|| peers::value(wire, chunks));
    });
    group.bench_function("sse-core + serde", |b| b.iter(|| peers::typed(wire, chunks)));
    group.finish();
}

/// From a plain transport cut to the request that goes on.
fn recoveries(c: &mut Criterion) {
    let now = start();
    let mut group = c.benchmark_group("recovery");
    for (name, bytes) in [("engine, 10 kB said", 10_000), ("engine, 1 MB said", 1_000_000)] {
        let spoken = recovery::said(bytes);
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || recovery::engine(&spoken, now),
                |(engine, id)| recovery::cut(engine, *id, now),
                BatchSize::PerIteration,
            );
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let upstream = recovery::Upstream::start(recovery::said(10_000));
    group.bench_function("Reply over loopback, 10 kB said", |b| {
        b.iter_custom(|times| (0..times).map(|_| runtime.block_on(upstream.heal())).sum());
    });
    group.finish();
}

#[expect(clippy::disallowed_methods, reason = "an instant to start from")]
fn start() -> Instant {
    Instant::now()
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = pipeline, recoveries }
criterion_main!(benches);
