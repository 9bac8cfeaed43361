//! What the fuzz targets do.
//!
//! Each target has a module here with an `Input` (derive [`arbitrary::Arbitrary`]) and a
//! `run(Input)` that panics on a fault, and a file in `fuzz_targets/` that calls it. So the bodies
//! are ordinary code: `cargo test` runs them on stable over the seeds in `corpus/`.
//!
//! ```text
//! mkdir -p target/found/sse
//! cargo +nightly fuzz run --sanitizer none sse target/found/sse fuzz/corpus/sse -- -max_total_time=60
//! ```
//!
//! keeps what the fuzzer finds of interest out of the seeds (it writes to the first directory).
//!
//! To add a target `x`: write `src/x.rs`, name it below, copy `fuzz_targets/sse.rs` and its
//! `[[bin]]` entry in `Cargo.toml`, put some seeds by hand into `corpus/x/` (an `Input` takes its
//! numbers off the front of the file, one byte for a `u8`, and a last `&[u8]` or `&str` takes the
//! rest; where that is a list of things to do, `script` reads it), and add the line `replay!(x);` to
//! the tests at the end of this file.

pub mod config;
pub mod dialect;
pub mod engine_script;
pub mod proxy_wire;
pub mod script;
pub mod seam;
pub mod sse;

// The crate's own tests compare with the same two.
#[path = "../../src/sse/oracle.rs"]
mod oracle;
#[path = "../../src/sse/peer.rs"]
mod peer;
#[path = "../../tests/support/mod.rs"]
mod support;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arbitrary::{Arbitrary, Unstructured};

    /// A test that runs a target over its seeds.
    macro_rules! replay {
        ($target:ident) => {
            #[test]
            fn $target() {
                let corpus =
                    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(stringify!($target));
                let seeds = corpus.read_dir().expect("each target has seeds");
                let mut ran = 0;
                for seed in seeds {
                    let path = seed.unwrap().path();
                    println!("{}", path.display());
                    let bytes = std::fs::read(path).unwrap();
                    let input = Arbitrary::arbitrary_take_rest(Unstructured::new(&bytes));
                    crate::$target::run(input.unwrap());
                    ran += 1;
                }
                assert!(ran > 0, "no seeds in {}", corpus.display());
            }
        };
    }

    replay!(config);
    replay!(dialect);
    replay!(engine_script);
    replay!(proxy_wire);
    replay!(seam);
    replay!(sse);
}
