//! Packets of any bytes through any box: no panic, no growth.
#![no_main]

#[path = "../../crates/censor/tests/watch/mod.rs"]
mod watch;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watch::traffic(bytes));
