//! TLS streams and messages of either side; a hello that parses whole is emitted byte for byte.
#![no_main]

#[path = "../../crates/wire/tests/walk/mod.rs"]
mod walk;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| walk::tls(bytes));
