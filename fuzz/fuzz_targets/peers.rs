//! See `lariat::dist::fuzzing`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lariat::dist::fuzzing::peers(data));
