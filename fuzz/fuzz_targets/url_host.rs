//! Any text as a URL, a host name and an endpoint. A canonical name is a fixed point: it is its own
//! canonical name.
#![no_main]

use okno_ingest::host;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let _ = host::place(&text, None);
    let _ = host::place(&text, Some("https://example.org/a/b?c"));
    let _ = host::endpoint(&text);
    if let Some(name) = host::canonical(&text) {
        assert_eq!(host::canonical(&name).as_deref(), Some(&*name), "canonical twice differs");
    }
});
