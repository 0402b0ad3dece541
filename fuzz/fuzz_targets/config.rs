//! See `lariat::config::fuzzing`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lariat::config::fuzzing::terms(data));
