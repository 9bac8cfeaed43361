#![no_main]

use libfuzzer_sys::fuzz_target;
use unbroken_fuzz::engine_script;

fuzz_target!(|input: engine_script::Input<'_>| engine_script::run(input));
