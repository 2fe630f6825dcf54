//! HTTP/1 heads; places of values are true.
#![no_main]

#[path = "../../crates/wire/tests/walk/mod.rs"]
mod walk;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| walk::http(bytes));
