#![no_main]

use libfuzzer_sys::fuzz_target;
use unbroken_fuzz::sse;

fuzz_target!(|input: sse::Input<'_>| sse::run(input));
