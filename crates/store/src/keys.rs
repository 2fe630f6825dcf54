//! What makes two submissions the same measurement.
//!
//! Probes resubmit, and the archive holds the same line in more than one file (trap 42: by uid, then by
//! report, input, start and content). Each measurement has one or two 64-bit keys; a measurement any of
//! whose keys was seen before is a duplicate. The keys of a segment lie in a file beside it, sorted, so
//! that a later run can tell duplicates without reading the segment.

use std::path::Path;

use okno_model::Measurement;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::disk::Disk;
use crate::error::{Result, StoreError};

/// The two keys of a measurement; the second is 0 where nothing but the uid tells it apart.
pub type Keys = [u64; 2];

/// Key of a uid.
pub(crate) fn uid_key(uid: &str) -> u64 {
    xxh3_64(uid.as_bytes()).max(1)
}

/// The keys of a measurement.
pub(crate) fn keys_of(m: &Measurement<'_>) -> Keys {
    // `x…` is the uid that ingest makes of the content where the archive has none: alone it tells no
    // more than its own key.
    let synthetic = m.measurement_uid.starts_with('x');
    if m.report_id.is_none() && synthetic {
        return [uid_key(&m.measurement_uid), 0];
    }
    let mut hash = Xxh3::new();
    for part in [m.report_id.as_deref(), m.input.as_deref(), Some(&*m.test_name)] {
        hash.update(&[u8::from(part.is_some())]);
        hash.update(part.unwrap_or_default().as_bytes());
        hash.update(&[0]);
    }
    hash.update(&m.start_utc.micros().to_le_bytes());
    hash.update(&m.content_hash.to_le_bytes());
    [uid_key(&m.measurement_uid), hash.digest().max(1)]
}

/// A set of keys in 8 bytes each: sorted runs by the keys' upper bits.
pub(crate) struct KeySet {
    runs: Vec<Vec<u64>>,
    shift: u32,
    len: usize,
}

impl KeySet {
    /// For the keys of a lake: up to some ten million.
    pub(crate) fn large() -> Self {
        Self::with_bits(16)
    }

    /// For the keys of a segment: up to some hundred thousand, and often very few.
    pub(crate) fn small() -> Self {
        Self::with_bits(9)
    }

    fn with_bits(bits: u32) -> Self {
        Self { runs: vec![Vec::new(); 1 << bits], shift: u64::BITS - bits, len: 0 }
    }

    fn run(&mut self, key: u64) -> &mut Vec<u64> {
        &mut self.runs[(key >> self.shift) as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, key: u64) -> bool {
        self.runs[(key >> self.shift) as usize].binary_search(&key).is_ok()
    }

    /// Whether any of the keys is there; 0 is none.
    pub(crate) fn contains_any(&self, keys: Keys) -> bool {
        keys.into_iter().any(|key| key != 0 && self.contains(key))
    }

    pub(crate) fn insert(&mut self, key: u64) {
        let run = self.run(key);
        if let Err(at) = run.binary_search(&key) {
            if run.len() == run.capacity() {
                run.reserve_exact(8 + run.len() / 8);
            }
            run.insert(at, key);
            self.len += 1;
        }
    }

    /// Adds both keys of a measurement.
    pub(crate) fn insert_all(&mut self, keys: Keys) {
        keys.into_iter().filter(|key| *key != 0).for_each(|key| self.insert(key));
    }

    pub(crate) fn remove(&mut self, key: u64) {
        let run = self.run(key);
        if let Ok(at) = run.binary_search(&key) {
            run.remove(at);
            self.len -= 1;
        }
    }
}

/// The file of a segment's keys: sorted, 8 bytes each, little endian.
pub(crate) fn encode(keys: &[Keys]) -> Vec<u8> {
    let mut all: Vec<u64> = keys.iter().flatten().copied().filter(|key| *key != 0).collect();
    all.sort_unstable();
    all.iter().flat_map(|key| key.to_le_bytes()).collect()
}

/// Reads a file of keys.
pub(crate) fn read(disk: &Disk, path: &Path) -> Result<Vec<u64>> {
    let bytes = disk.read(path)?;
    if bytes.len() % 8 != 0 {
        let text = format!("{} bytes are no list of keys", bytes.len());
        return Err(StoreError::Corrupt { path: path.to_owned(), text });
    }
    let key = |chunk: &[u8]| u64::from_le_bytes(chunk.try_into().expect("chunks have 8 bytes"));
    Ok(bytes.chunks_exact(8).map(key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resubmission_under_another_uid_shares_a_key_and_another_input_does_not() {
        let first = Measurement {
            measurement_uid: "20250701000000.1_RU_webconnectivity_aa".into(),
            report_id: Some("r1".into()),
            input: Some("https://example.org/".into()),
            content_hash: 7,
            ..Measurement::default()
        };
        let again =
            Measurement { measurement_uid: "20250701000001.1_RU_webconnectivity_bb".into(), ..first.clone() };
        let other = Measurement { input: Some("https://example.com/".into()), ..again.clone() };
        let mut seen = KeySet::small();
        seen.insert_all(keys_of(&first));
        assert!(seen.contains_any(keys_of(&again)));
        assert!(!seen.contains_any(keys_of(&Measurement { measurement_uid: "c".into(), ..other })));
    }

    #[test]
    fn without_report_and_uid_only_the_content_counts() {
        let fixture =
            Measurement { measurement_uid: "x0011".into(), content_hash: 5, ..Measurement::default() };
        assert_eq!(keys_of(&fixture)[1], 0);
    }

    #[test]
    fn keys_are_found_after_insertion_and_gone_after_removal() {
        let mut set = KeySet::large();
        let keys: Vec<u64> = (1..5000u64).map(|n| xxh3_64(&n.to_le_bytes())).collect();
        keys.iter().for_each(|key| set.insert(*key));
        assert_eq!(set.len(), keys.len());
        assert!(keys.iter().all(|key| set.contains(*key)));
        keys[..100].iter().for_each(|key| set.remove(*key));
        assert!(keys[..100].iter().all(|key| !set.contains(*key)));
        assert_eq!(set.len(), keys.len() - 100);
    }
}
