//! QUIC datagrams, and frames sealed with real keys; what an assembler holds is bounded.
#![no_main]

#[path = "../../crates/wire/tests/walk/mod.rs"]
mod walk;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| walk::quic(bytes));
