//! stub
use okno_model::FingerprintInfo;

/// Fingerprints of blockpages and of their look-alikes, in DNS answers, headers and bodies.
#[derive(Debug, Default)]
pub struct Fingerprints {
    infos: Vec<FingerprintInfo>,
}

impl Fingerprints {
    /// Appends the indices of all body fingerprints that match, ascending, each once.
    pub fn match_body(&self, _body: &[u8], _hits: &mut Vec<u32>) {}

    /// Appends the indices of all fingerprints of this header that match; the name is case-insensitive.
    pub fn match_header(&self, _name: &str, _value: &str, _hits: &mut Vec<u32>) {}

    /// Appends the indices of all DNS fingerprints that match an answer (address or name).
    pub fn match_dns(&self, _answer: &str, _hits: &mut Vec<u32>) {}

    /// What is known of a fingerprint.
    pub fn info(&self, index: u32) -> &FingerprintInfo {
        &self.infos[index as usize]
    }

    /// All HTTP fingerprints (headers and bodies).
    pub fn http_infos(&self) -> impl Iterator<Item = &FingerprintInfo> {
        self.infos.iter()
    }

    /// All DNS fingerprints.
    pub fn dns_infos(&self) -> impl Iterator<Item = &FingerprintInfo> {
        self.infos.iter()
    }

    /// Number of fingerprints.
    pub fn len(&self) -> usize {
        self.infos.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.infos.is_empty()
    }
}
