//! What became of all answers.

use std::error::Error;
use std::sync::Mutex;
use std::time::Duration;

use sketches_ddsketch::{Config, DDSketch};

use crate::ask::Answered;
use crate::upstream::Cut;

#[derive(Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    open: usize,
    peak: usize,
    exact: usize,
    inexact: usize,
    failed: usize,
    unverified: usize,
    late: Times,
    /// By kind of cut.
    lost: [Times; 4],
}

impl Tally {
    fn counts<T>(&self, look: impl FnOnce(&mut Counts) -> T) -> T {
        look(&mut self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// An answer is asked for.
    pub(crate) fn begins(&self) {
        self.counts(|counts| {
            counts.open += 1;
            counts.peak = counts.peak.max(counts.open);
        });
    }

    /// And this became of it.
    pub(crate) fn ends(&self, outcome: Result<Answered, Box<dyn Error + Send + Sync>>) {
        self.counts(|counts| {
            counts.open -= 1;
            match outcome {
                Ok(answered) => counts.take(&answered),
                Err(error) => {
                    counts.failed += 1;
                    if counts.failed <= 5 {
                        eprintln!("an answer failed: {error}");
                    }
                }
            }
        });
    }

    /// Answers that have ended.
    pub(crate) fn ended(&self) -> usize {
        self.counts(|counts| counts.exact + counts.inexact + counts.failed)
    }

    pub(crate) fn is_exact(&self) -> bool {
        self.counts(|counts| counts.inexact + counts.failed == 0)
    }

    /// The most at the same time.
    pub(crate) fn peak(&self) -> usize {
        self.counts(|counts| counts.peak)
    }

    pub(crate) fn deltas(&self) -> usize {
        self.counts(|counts| counts.late.count())
    }

    pub(crate) fn print(&self, name: &str, took: Duration) {
        self.counts(|counts| {
            println!("{name}");
            println!(
                "  answers exact         {}, inexact {}, failed {}",
                counts.exact, counts.inexact, counts.failed
            );
            println!("  at the same time      {}", counts.peak);
            println!(
                "  deltas a second       {:.0}",
                counts.late.count() as f64 / took.as_secs_f64()
            );
            println!("  a delta is late by    {}", counts.late);
            for (cut, lost) in Cut::ALL.iter().zip(&counts.lost) {
                println!("  {:<22}{lost}", format!("lost by {cut:?}").to_lowercase());
            }
            println!("  seams not verified    {}", counts.unverified);
        });
    }
}

impl Counts {
    fn take(&mut self, answered: &Answered) {
        if answered.exact {
            self.exact += 1;
        } else {
            self.inexact += 1;
        }
        self.unverified += answered.unverified;
        answered.late.iter().for_each(|late| self.late.add(*late));
        for (cut, lost) in &answered.lost {
            self.lost[*cut as usize].add(*lost);
        }
    }
}

/// Many times, in bounded memory.
struct Times(DDSketch);

impl Default for Times {
    fn default() -> Self {
        Self(DDSketch::new(Config::defaults()))
    }
}

impl Times {
    fn add(&mut self, time: Duration) {
        self.0.add(time.as_secs_f64() * 1e3);
    }

    fn count(&self) -> usize {
        self.0.count()
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |share: f64| self.0.quantile(share).ok().flatten().unwrap_or_default();
        write!(f, "p50 {:.2} ms, p99 {:.2} ms ({} times)", at(0.5), at(0.99), self.count())
    }
}
