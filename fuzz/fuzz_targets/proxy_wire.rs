#![no_main]

use libfuzzer_sys::fuzz_target;
use unbroken_fuzz::proxy_wire;

fuzz_target!(|input: proxy_wire::Input<'_>| proxy_wire::run(input));
