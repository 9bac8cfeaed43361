//! What the proxy costs a delta: processor time, and how much later the delta comes.
//!
//! ```sh
//! cargo bench --bench proxy
//! ```
//!
//! Four ways lead from a client to the same upstream: directly, through `unbroken proxy`, through a bare
//! pass-through made of hyper, and through nginx without buffering, where that is installed. The three in
//! between are processes of their own, so that the processor time of each is its own. The upstream sends
//! every stream a delta in fixed intervals and writes into it when it was sent.
//!
//! What criterion takes for the time of an iteration is, in `proxy CPU a delta`, the processor time that
//! the process used for all deltas of it, and in `proxy latency a delta` the sum of their ways. Without
//! `--bench` (`cargo test`) everything runs once, and short.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made has failed")]
#![expect(clippy::disallowed_methods, reason = "a measurement needs tasks and the clock")]

mod asking;
mod contestant;
mod pass_through;
mod upstream;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use tokio::runtime::Runtime;

use asking::Load;
use contestant::Contestant;

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(pass_through::NAME) {
        let upstream = arguments.next().unwrap().parse().unwrap();
        return pass_through::run(upstream);
    }
    let mut criterion = Criterion::default().configure_from_args();
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    measure(&mut criterion, is_measured);
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, is_measured: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let deltas = if is_measured { DELTAS } else { 10 };
    let upstream = runtime.block_on(upstream::start(deltas, EVERY));
    let contestants: Vec<Contestant> =
        [contestant::unbroken(upstream), contestant::hyper(upstream)]
            .into_iter()
            .chain(contestant::nginx(upstream))
            .collect();
    let load = Load { streams: STREAMS, deltas };
    cost(criterion, &runtime, &contestants, load);
    let load = Load { streams: FEW_STREAMS, deltas };
    latency(criterion, &runtime, &contestants, upstream, load);
}

/// Processor time of each process.
fn cost(criterion: &mut Criterion, runtime: &Runtime, contestants: &[Contestant], load: Load) {
    if contestants[0].processor().is_none() {
        println!("skipped: proxy CPU a delta: this system does not say what a process has used");
        return;
    }
    let mut group = criterion.benchmark_group("proxy CPU a delta");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).measurement_time(TIME);
    group.warm_up_time(WARM_UP).throughput(Throughput::Elements(load.all()));
    for contestant in contestants {
        group.bench_function(contestant.name, |bencher| {
            bencher.iter_custom(|rounds| {
                let before = contestant.processor().unwrap();
                for _ in 0..rounds {
                    runtime.block_on(load.ask(contestant.address));
                }
                contestant.processor().unwrap() - before
            });
        });
    }
    group.finish();
}

/// How long a delta is under way, directly and by each process.
fn latency(
    criterion: &mut Criterion,
    runtime: &Runtime,
    contestants: &[Contestant],
    upstream: SocketAddr,
    load: Load,
) {
    let mut group = criterion.benchmark_group("proxy latency a delta");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).measurement_time(TIME);
    group.warm_up_time(WARM_UP).throughput(Throughput::Elements(load.all()));
    let mut direct = None;
    let ways = contestants.iter().map(|contestant| (contestant.name, contestant.address));
    for (name, address) in [("direct", upstream)].into_iter().chain(ways) {
        let all = RefCell::new(Vec::new());
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let ways = (0..rounds).flat_map(|_| runtime.block_on(load.ask(address)));
                let ways: Vec<Duration> = ways.collect();
                all.borrow_mut().extend_from_slice(&ways);
                ways.iter().sum()
            });
        });
        let mut all = all.into_inner();
        all.sort_unstable();
        let Some((p50, p99)) = percentile(&all, 50).zip(percentile(&all, 99)) else { continue };
        let base = *direct.get_or_insert((p50, p99));
        println!(
            "{name}: p50 {p50:.1?}, p99 {p99:.1?}; added p50 {:.1} µs, p99 {:.1} µs\n",
            micros(p50) - micros(base.0),
            micros(p99) - micros(base.1),
        );
    }
    group.finish();
}

fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    sorted.get(sorted.len() * percent / 100).copied()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Streams at the same time where processor time is measured. Enough to be busy, too few to be more than
/// two cores can do: a delta that has to wait comes together with the next one, and is cheaper.
const STREAMS: usize = 16;

/// Where latency is measured, and nothing should have to wait.
const FEW_STREAMS: usize = 4;

/// Deltas of a stream, as answers have them.
const DELTAS: usize = 250;

/// Between two deltas of a stream.
const EVERY: Duration = Duration::from_millis(2);

const WARM_UP: Duration = Duration::from_millis(500);

/// For ten samples of two rounds each.
const TIME: Duration = Duration::from_secs(10);
