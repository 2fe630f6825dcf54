//! A whole flow of any bytes: every parser of calls, tunnels and proxies, and the classifier. The same flow
//! tells the same twice, and what is decided stays decided.
#![no_main]

#[path = "../../crates/wire/tests/watch/mod.rs"]
mod watch;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| watch::flow(bytes));
