//! Reading measurements in tests: a line in, its rows out.
#![allow(dead_code, reason = "each test file uses its part")]

use okno_ingest::reference::Reference;
use okno_ingest::{Extracted, Extractor, Line, Origin};
use okno_model::{Control, Measurement, Observation, Reject, RejectReason};

/// A certificate for `www.example.org` and `*.example.org`, made for these tests.
pub const CERTIFICATE: &str = "MIIBtTCCAVqgAwIBAgIUVMsnbLZvDyCco/qEJCq6D8r71akwCgYIKoZIzj0EAwIwGjEYMBYGA1UEAwwPd3d3LmV4YW1wbGUub3JnMB4XDTI2MTEyMjEwNDAzM1oXDTM2MTExOTEwNDAzM1owGjEYMBYGA1UEAwwPd3d3LmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAELrkMLeLtQjOg4Gbyeis+qYvOXPFY+XHChyZoEOtzsLK5lGitNrkaq2yLTQyIRo0ycYb7Y1NSyz/grR/VvGHAzaN+MHwwHQYDVR0OBBYEFNeeSTQPUejKJBEdzx8vbKdesYd2MB8GA1UdIwQYMBaAFNeeSTQPUejKJBEdzx8vbKdesYd2MA8GA1UdEwEB/wQFMAMBAf8wKQYDVR0RBCIwIIIPd3d3LmV4YW1wbGUub3Jngg0qLmV4YW1wbGUub3JnMAoGCCqGSM49BAMCA0kAMEYCIQDWdrHIhBCCKVsR6kIM41a5+JSTLUrdN2QOpMSRoRsOtAIhALgHsCBv9fm/Bz5FR9sDhfGIwc5F97/qa+gnG79998lN";
/// Its SHA-256.
pub const CERTIFICATE_SHA256: &str = "69a9e2991f3c2143f05745a5cc70a1bb9c7bd6d73afa83a995009f5009cadbe5";

/// The rows of one line.
pub struct Rows {
    /// the measurement
    pub measurement: Option<Measurement<'static>>,
    /// its observations
    pub observations: Vec<Observation<'static>>,
    /// its controls
    pub controls: Vec<Control<'static>>,
    /// its rejects
    pub rejects: Vec<Reject<'static>>,
}

impl Rows {
    /// The measurement, which must be there.
    pub fn measured(&self) -> &Measurement<'static> {
        self.measurement.as_ref().expect("the line becomes a measurement")
    }

    /// Rejects as part and reason.
    pub fn why(&self) -> Vec<(&str, RejectReason)> {
        self.rejects.iter().map(|reject| (reject.part.as_ref(), reject.reason)).collect()
    }

    /// The statements of an application test: what, whether, role.
    pub fn statements(&self) -> Vec<(&str, Option<bool>, Option<&str>)> {
        let app = self.observations.iter().filter(|row| row.app.is_some());
        app.map(|row| (row.app.as_deref().unwrap_or(""), row.app_success, row.role.as_deref())).collect()
    }

    /// The rows that are no statements.
    pub fn chains(&self) -> Vec<&Observation<'static>> {
        self.observations.iter().filter(|row| row.app.is_none()).collect()
    }

    /// The rows with this address.
    pub fn at(&self, ip: &str) -> Vec<&Observation<'static>> {
        self.observations.iter().filter(|row| row.ip.as_deref() == Some(ip)).collect()
    }
}

/// Reads one line.
pub fn read(text: &str) -> Rows {
    let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
    let reference: &'static Reference = Box::leak(Box::new(Reference::empty()));
    let line = Line { start: 0, end: text.len(), number: 1, offset: 0, invalid_utf8: None };
    let Extracted { measurement, observations, controls, rejects } =
        Extractor::new(reference).line(Origin { source: "test", line }, text);
    let rows = Rows { measurement, observations, controls, rejects };
    if let Some(row) = &rows.measurement {
        assert_eq!(row.observations as usize, rows.observations.len());
        assert_eq!(row.rejects as usize, rows.rejects.len());
    } else {
        assert!(!rows.rejects.is_empty(), "a line was dropped in silence: {text:.200}");
    }
    rows
}

/// A measurement of `test` with these `test_keys`; `more` are further top-level keys, a comma before each.
pub fn measurement(test: &str, more: &str, test_keys: &str) -> String {
    format!(
        r#"{{"test_name":"{test}","test_version":"0.5.0","probe_cc":"RU","probe_asn":"AS12389","measurement_start_time":"2026-03-20 10:00:00","software_name":"ooniprobe","software_version":"3.20.0"{more},"test_keys":{test_keys}}}"#
    )
}

/// A web_connectivity measurement of `https://www.example.org/`.
pub fn web(test_keys: &str) -> Rows {
    read(&measurement("web_connectivity", r#","input":"https://www.example.org/""#, test_keys))
}

/// A measurement of another test, without input.
pub fn of(test: &str, test_keys: &str) -> Rows {
    let rows = read(&measurement(test, r#","input":null"#, test_keys));
    assert_eq!(rows.why(), [], "{test}");
    rows
}
