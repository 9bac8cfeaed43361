#![no_main]

use libfuzzer_sys::fuzz_target;
use unbroken_fuzz::config;

fuzz_target!(|input: config::Input<'_>| config::run(input));
