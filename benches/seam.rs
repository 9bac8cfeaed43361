//! How long the text of a continuation takes to be joined to an answer: `cargo bench --bench seam`.
//!
//! The answers are of 10 kB, 100 kB and 1 MB. What is measured is the joining alone, from the first piece
//! of the continuation to the verdict; that the answer goes into a request, and is kept, is paid before. Between
//! the two a connection is made, so the answer is in no cache any more, however short it is: the same goes for
//! what is measured.
#![allow(missing_docs, reason = "criterion's")]

#[path = "../tests/support/continuations.rs"]
mod continuations;

use std::hint::black_box;
use std::time::Duration;

use continuations::{CASES, Case, answer};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use unbroken::seam::{Seam, Verdict};

const SIZES: [(&str, usize); 3] = [("10 kB", 10_000), ("100 kB", 100_000), ("1 MB", 1_000_000)];

/// More bytes than the caches of a core have.
const CACHES: usize = 8 << 20;

fn seam(c: &mut Criterion) {
    for Case { name, expect, pieces } in CASES {
        let mut group = c.benchmark_group(format!("seam {name}"));
        for (size, bytes) in SIZES {
            let said = answer(bytes);
            let (expect, pieces) = (expect(&said), pieces(&said));
            let mut other_work = vec![0_u8; CACHES];
            group.bench_function(size, |b| {
                b.iter_batched(
                    || {
                        let seam = Seam::new(said.clone(), expect.clone());
                        other_work.iter_mut().step_by(64).for_each(|byte| *byte = !*byte);
                        black_box(&other_work);
                        seam
                    },
                    |mut seam| {
                        let verdict = pieces.iter().find_map(|piece| match seam.push(piece) {
                            Verdict::Hold => None,
                            verdict => Some(verdict),
                        });
                        (verdict, seam)
                    },
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

/// What is found out of all of the answer, once, while the request is made.
fn made(c: &mut Criterion) {
    let anchor = CASES.iter().find(|case| case.name == "anchor").expect("a case");
    let mut group = c.benchmark_group("seam made with the request");
    for (size, bytes) in SIZES {
        let said = answer(bytes);
        let expect = (anchor.expect)(&said);
        group.bench_function(size, |b| {
            let new = |said| Seam::new(said, expect.clone());
            b.iter_batched(|| said.clone(), new, BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = seam, made }
criterion_main!(benches);
