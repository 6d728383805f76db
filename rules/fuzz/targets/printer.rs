#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(nimscale_fuzz::printer(bytes)));
