//! The recovery engine, against scripted models and against rubbish.
//!
//! In: either faults of a model that goes on where it is asked to, in virtual time; or inputs in any
//! order, with the number of any attempt. Checked: the laws *Fold*, *Terminal*, *Drain*, *Spend*,
//! *Once*, *Bound* and that there is always an end; and, against a model that does as asked, *Truth*:
//! the answer is whole, or inferred, or its seam unverified, or the result is an error with the
//! beginning of it.

mod model;
mod raw;

use arbitrary::Arbitrary;

use crate::script::Script;

/// A seed begins with `m` for a model or `r` for rubbish.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    kind: u8,
    script: &'a [u8],
}

/// Panics if the engine is wrong about `input`.
pub fn run(input: Input<'_>) {
    let mut script = Script(input.script);
    match input.kind & 1 {
        0 => raw::run(&mut script),
        _ => model::run(&mut script),
    }
}
