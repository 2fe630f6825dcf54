//! DNS messages and TCP streams; names end and survive the way out and back.
#![no_main]

#[path = "../../crates/wire/tests/walk/mod.rs"]
mod walk;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| walk::dns(bytes));
