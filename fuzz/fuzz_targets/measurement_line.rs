//! Any bytes as lines of OONI measurements: nothing may panic, and no line may vanish in silence.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (kept, lost) = okno_ingest::fuzz_line(bytes);
    assert!(kept + lost <= bytes.len() + 1, "more lines came out than bytes went in");
});
