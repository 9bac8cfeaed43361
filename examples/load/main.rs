//! Many answers at once, of an upstream that keeps breaking: `cargo run --release --example load -- --help`.
//!
//! ```sh
//! cargo build --release --features cli
//! cargo run --release --example load -- --replies 10000 --faults 0.05 --duration 10m
//! cargo run --release --example load -- --streams 1000 --faults 0.05
//! ```
//!
//! *Replies* are the library's: a `Client` over loopback to an upstream in this process. *Streams* go through
//! `unbroken proxy`, a process of its own, to the same upstream; their client heals nothing. Half of them
//! speak the Anthropic dialect, half Chat Completions. The upstream sends every stream a delta in fixed
//! intervals, and cuts a share of all attempts at a random byte (see `upstream.rs`).
//!
//! Both ends of every connection are in this process, two open files for each answer. Where `ulimit -Hn` allows
//! fewer, several runs of it share the load.
//!
//! Every answer is compared with the one that was to come. The exit status is 0 only if all are exact, and,
//! with `--duration`, memory did not grow in the second half of the time. The memory of streams is the proxy's;
//! that of replies is of this process, with the upstream's share in it. Both are known on Linux only, as is
//! processor time.
#![expect(clippy::disallowed_methods, reason = "a program may spawn tasks and look at the clock")]

mod answers;
mod ask;
mod process;
mod tally;
mod upstream;

use std::error::Error;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser;
use rlimit::increase_nofile_limit;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use answers::Answers;
use ask::Asker;
use process::{Memory, Proxy};
use tally::Tally;
use upstream::Upstream;

/// Drives the library and the proxy with many answers at once.
#[derive(Debug, Parser)]
struct Arguments {
    /// Replies of the library at the same time [default: 1000, unless --streams is given].
    #[arg(long)]
    replies: Option<usize>,
    /// Streams through the proxy at the same time [default: 1000, unless --replies is given].
    #[arg(long)]
    streams: Option<usize>,
    /// Deltas of each answer.
    #[arg(long, default_value_t = 200)]
    deltas: usize,
    /// Deltas a second of each [default: 20, or as many as make 20000 in all].
    #[arg(long)]
    rate: Option<f64>,
    /// The share of attempts that the upstream cuts.
    #[arg(long, default_value_t = 0.0)]
    faults: f64,
    /// How long ended answers are followed by new ones.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Chooses where the cuts are.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The proxy's binary; the one built beside this example if left out.
    #[arg(long)]
    proxy: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(load(arguments)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn load(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let (replies, streams) = match (arguments.replies, arguments.streams) {
        (None, None) => (1000, 1000),
        (replies, streams) => (replies.unwrap_or(0), streams.unwrap_or(0)),
    };
    // Both ends of each connection are in this process.
    let (needed, allowed) =
        (2 * (replies + streams) as u64 + SPARE, increase_nofile_limit(u64::MAX)?);
    if allowed < needed {
        return Err(
            format!("{needed} open files are needed, and {allowed} allowed (ulimit -Hn)").into()
        );
    }
    let rate = arguments.rate.unwrap_or_else(|| (20_000.0 / (replies + streams) as f64).min(20.0));
    let every = Duration::try_from_secs_f64(1.0 / rate).map_err(|_| "--rate has to be above 0")?;
    let patience = (every * 4).max(PATIENCE);
    let upstream = Arc::new(Upstream {
        answers: Answers::new(arguments.deltas),
        every,
        faults: arguments.faults,
        seed: arguments.seed,
        clocks: (0..replies + streams).map(|_| Mutex::default()).collect(),
    });
    let url = format!("http://{}", upstream::start(Arc::clone(&upstream)).await?);
    let mut crowds = Vec::new();
    if replies > 0 {
        let asker = Asker::recovering(&url, patience)?;
        crowds.push(Crowd::new("replies", 0..replies, asker, std::process::id()));
    }
    let proxy = match streams {
        0 => None,
        _ => Some(Proxy::start(arguments.proxy, &url, patience)?),
    };
    if let Some(proxy) = &proxy {
        let asker = Asker::plain(&proxy.url, patience * 8)?;
        crowds.push(Crowd::new("streams", replies..replies + streams, asker, proxy.id()));
    }
    let limit = every * arguments.deltas as u32 + patience * 8;
    let began = Instant::now();
    run(&crowds, &upstream, Times { began, limit, duration: arguments.duration }).await;
    let took = began.elapsed();
    for crowd in &crowds {
        crowd.tally.print(crowd.name, took);
        crowd.memory.print(crowd.tally.peak());
    }
    if let Some((proxy, crowd)) = proxy.as_ref().zip(crowds.last()) {
        let deltas = crowd.tally.deltas() as f64;
        println!("  proxy processor       {:.1} µs a delta", proxy.processor() * 1e6 / deltas);
    }
    if !crowds.iter().all(|crowd| crowd.tally.is_exact()) {
        return Err("not every answer was exact".into());
    }
    if !crowds.iter().all(|crowd| crowd.memory.is_flat(arguments.duration)) {
        return Err("memory grew".into());
    }
    Ok(())
}

/// Those who ask in the same way.
struct Crowd {
    name: &'static str,
    numbers: Range<usize>,
    asker: Arc<Asker>,
    tally: Arc<Tally>,
    /// That of the process that heals for them.
    memory: Memory,
}

impl Crowd {
    fn new(name: &'static str, numbers: Range<usize>, asker: Asker, process: u32) -> Self {
        let (asker, tally) = (Arc::new(asker), Arc::default());
        Self { name, numbers, asker, tally, memory: Memory::of(process) }
    }
}

#[derive(Clone, Copy)]
struct Times {
    began: Instant,
    /// Longest that an answer may take.
    limit: Duration,
    /// How long ended answers are followed by new ones.
    duration: Duration,
}

/// Asks for everything, and waits until all is over.
async fn run(crowds: &[Crowd], upstream: &Arc<Upstream>, times: Times) {
    let all = upstream.clocks.len();
    let ramp = RAMP.max(upstream.every * 4).max(BETWEEN * all as u32);
    let mut running = JoinSet::new();
    for crowd in crowds {
        for number in crowd.numbers.clone() {
            let (asker, tally) = (Arc::clone(&crowd.asker), Arc::clone(&crowd.tally));
            let upstream = Arc::clone(upstream);
            running.spawn(async move {
                sleep(ramp.mul_f64(number as f64 / all as f64)).await;
                loop {
                    tally.begins();
                    let asked = timeout(times.limit, asker.ask(number, &upstream)).await;
                    let outcome = asked.unwrap_or_else(|_| Err("it took too long".into()));
                    let failed = outcome.is_err();
                    tally.ends(outcome);
                    if failed {
                        sleep(upstream.every).await;
                    }
                    if times.began.elapsed() >= times.duration {
                        break;
                    }
                }
            });
        }
    }
    let mut told = 0;
    loop {
        tokio::select! {
            ended = running.join_next() => if ended.is_none() { return },
            () = sleep(GLANCE) => {
                let elapsed = times.began.elapsed();
                let tells = elapsed.as_secs() / TELL > told;
                told = elapsed.as_secs() / TELL;
                for Crowd { name, tally, memory, .. } in crowds {
                    let memory = memory.look(elapsed) / 1024;
                    if tells {
                        let (time, ended) = (elapsed.as_secs(), tally.ended());
                        println!("{time:>5} s: {name}: {ended} answers, {memory} MiB");
                    }
                }
            }
        }
    }
}

/// Time over which the answers begin, so that not all connect in the same moment.
const RAMP: Duration = Duration::from_secs(5);

/// Between the beginnings of two answers, at least.
const BETWEEN: Duration = Duration::from_millis(2);

/// Silence of an upstream after which it is taken for dead, at least.
const PATIENCE: Duration = Duration::from_secs(10);

/// Open files that are no connections.
const SPARE: u64 = 50;

/// Between two looks at the memory.
const GLANCE: Duration = Duration::from_millis(500);

/// Seconds between two lines about it.
const TELL: u64 = 30;
