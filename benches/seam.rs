//! How long the text of a continuation takes to be joined to an answer: `cargo bench --bench seam`.
//!
//! The answers are of 10 kB, 100 kB and 1 MB. What is measured is the joining alone, from the first piece
//! of the continuation to the verdict; that the answer goes into a request, and is kept, is paid before.
#![allow(missing_docs, reason = "criterion's")]

#[path = "../tests/support/continuations.rs"]
mod continuations;

use std::time::Duration;

use continuations::{CASES, Case, answer};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use unbroken::seam::{Seam, Verdict};

const SIZES: [(&str, usize); 3] = [("10 kB", 10_000), ("100 kB", 100_000), ("1 MB", 1_000_000)];

fn seam(c: &mut Criterion) {
    for Case { name, expect, pieces } in CASES {
        let mut group = c.benchmark_group(format!("seam {name}"));
        for (size, bytes) in SIZES {
            let said = answer(bytes);
            let (expect, pieces) = (expect(&said), pieces(&said));
            group.bench_function(size, |b| {
                b.iter_batched(
                    || Seam::new(said.clone(), expect.clone()),
                    |mut seam| {
                        let verdict = pieces.iter().find_map(|piece| match seam.push(piece) {
                            Verdict::Hold => None,
                            verdict => Some(verdict),
                        });
                        (verdict, seam)
                    },
                    BatchSize::SmallInput,
                );
            });
        }
        group.finish();
    }
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = seam }
criterion_main!(benches);
