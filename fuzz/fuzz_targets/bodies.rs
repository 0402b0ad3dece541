//! See `lariat::edge::fuzzing`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lariat::edge::fuzzing::bodies(data));
