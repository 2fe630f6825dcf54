//! Any text as a file of rules: accepted or refused with a reason, never a panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Err(error) = okno_detect::Ruleset::parse(&text) {
        assert!(!error.to_string().is_empty(), "a refusal says why");
    }
});
