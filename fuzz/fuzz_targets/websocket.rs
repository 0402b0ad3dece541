//! See `lariat::websocket::fuzzing`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| lariat::websocket::fuzzing::incoming(data));
