#![no_main]

use libfuzzer_sys::fuzz_target;
use unbroken_fuzz::dialect;

fuzz_target!(|input: dialect::Input<'_>| dialect::run(input));
