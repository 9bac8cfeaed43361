//! The engine under as many random schedules as you like: a search for one that breaks a law.
//!
//! ```sh
//! cargo run --release --example simulate -- --schedules 1000000 --seed 1
//! cargo run --release --example simulate -- --only 4711
//! ```
//!
//! Each schedule is drawn from its own seed; with `--seed S` they are those from S × 10⁹ on. It prints how many
//! were played in how long, and what they led to. The first one that breaks a law is made as small as it can be,
//! and printed as a test; then it exits with 1.

#[path = "../tests/simulation/mod.rs"]
mod simulation;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use simulation::play::Library;
use simulation::script::Script;
use simulation::seen::Seen;
use simulation::{all_laws, smallest, verdict};

/// Plays random schedules against the engine.
#[derive(Parser)]
struct Arguments {
    /// How many.
    #[arg(long, default_value_t = 100_000)]
    schedules: u64,
    /// Which ones.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The schedule of this seed alone, with what happened.
    #[arg(long)]
    only: Option<u64>,
}

#[expect(clippy::disallowed_methods, reason = "it is measured how long it takes")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let first = arguments.seed * 1_000_000_000;
    let seeds = arguments.only.map_or(first..first + arguments.schedules, |seed| seed..seed + 1);
    let mut library = Library::new();
    let mut seen = Seen::default();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let start = Instant::now();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let script = Script::draw(seed);
        match verdict(&mut library, &script, all_laws) {
            Ok(played) => {
                seen.count(&script, &played);
                if arguments.only.is_some() {
                    println!("{script:?}\n{}", played.run.trace());
                }
            }
            Err(broken) => {
                println!("seed {seed} breaks a law: {broken}\n\n{script:?}\n");
                let (least, broken) = smallest(&mut library, &script, &broken, all_laws);
                println!("The least that breaks it: {broken}\n\n{}", least.as_test());
                return ExitCode::FAILURE;
            }
        }
    }
    std::panic::set_hook(hook);
    let seconds = start.elapsed().as_secs_f64();
    println!("{count} schedules in {seconds:.1} s: {:.0} a second", count as f64 / seconds);
    println!("{seen}");
    ExitCode::SUCCESS
}
