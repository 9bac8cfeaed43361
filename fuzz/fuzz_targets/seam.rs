#![no_main]

use libfuzzer_sys::fuzz_target;
use unbroken_fuzz::seam;

fuzz_target!(|input: seam::Input<'_>| seam::run(input));
