//! Any bytes as each of the reference tables: addresses to networks, fingerprints, test lists.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| okno_ingest::reference::fuzz_tables(bytes));
