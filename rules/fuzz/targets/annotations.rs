#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nimscale_fuzz::annotations(bytes));
