//! Which segments to build from which sources.
//!
//! The plan depends on the sources and on what the lake holds, never on when a run was killed: large
//! sources are segments of their own, small ones are packed in the order given, and what remains after
//! some segments were committed is packed into the very same segments again.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use crate::manifest::FORMAT;

/// From this size on a source is a segment of its own.
const OWN_SEGMENT_BYTES: u64 = 1 << 20;
/// Small sources are packed until they reach this size together.
const PACK_BYTES: u64 = 8 << 20;
/// No pack holds more sources than this.
const PACK_SOURCES: usize = 4096;

/// An input file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceId {
    /// the path as it was given
    pub path: String,
    /// XXH3-128 of the file's bytes, in hex
    pub hash: String,
    /// size on disk
    pub size_bytes: u64,
}

/// A segment to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedSegment {
    /// hash of the format and of the sources' paths and hashes, 16 hex digits
    pub id: String,
    /// indices of its sources in the list that was planned, in order
    pub inputs: Vec<usize>,
    /// what else the rows depend on
    pub stamp: String,
}

/// A source that is left out because another one has the same content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DuplicateSource {
    /// path of the source that is left out
    pub path: String,
    /// path of the one that is kept
    pub of: String,
}

/// What a run has to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// segments to build, in the order in which they are to be committed
    pub segments: Vec<PlannedSegment>,
    /// indices of sources that the lake already holds
    pub kept: Vec<usize>,
    /// sources with the content of another
    pub duplicates: Vec<DuplicateSource>,
    /// paths whose content changed since the lake took them
    pub grown: Vec<String>,
    /// segments of the lake to drop; the sources to keep of each are those that are no input of this run
    pub(crate) superseded: Vec<Superseded>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superseded {
    pub(crate) id: String,
    /// path and hash of the sources whose rows stay
    pub(crate) keep: Vec<(String, String)>,
}

/// What the lake knows of a segment's sources.
pub(crate) struct KnownSegment {
    pub(crate) id: String,
    pub(crate) stamp: String,
    /// path and hash
    pub(crate) sources: Vec<(String, String)>,
}

/// The id of a segment.
pub(crate) fn segment_id<'a>(sources: impl Iterator<Item = (&'a str, &'a str)>, stamp: &str) -> String {
    let mut hash = Xxh3::new();
    hash.update(&FORMAT.to_le_bytes());
    for text in [stamp].into_iter().chain(sources.flat_map(|(path, hash)| [path, hash])) {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    format!("{:032x}", hash.digest128())[..16].to_owned()
}

/// Plans a run over `sources`, given what the lake holds.
pub(crate) fn plan(sources: &[SourceId], stamp: &str, lake: &[KnownSegment]) -> Plan {
    let mut plan = Plan::default();
    let wanted = distinct(sources, lake, &mut plan.duplicates);
    let inputs: BTreeMap<&str, &SourceId> =
        wanted.iter().map(|index| (sources[*index].path.as_str(), &sources[*index])).collect();
    // A segment stays whole or goes: it goes when one of its sources changed, or when its rows depend
    // on something that changed and its sources are at hand.
    let mut held: BTreeSet<&str> = BTreeSet::new();
    for segment in lake {
        let changed =
            |(path, hash): &&(String, String)| inputs.get(path.as_str()).is_some_and(|s| s.hash != *hash);
        let grown: Vec<String> =
            segment.sources.iter().filter(changed).map(|(path, _)| path.clone()).collect();
        let at_hand = segment.sources.iter().any(|(path, _)| inputs.contains_key(path.as_str()));
        if grown.is_empty() && (segment.stamp == stamp || !at_hand) {
            held.extend(segment.sources.iter().map(|(path, _)| path.as_str()));
            continue;
        }
        plan.grown.extend(grown);
        let keep = segment.sources.iter().filter(|(path, _)| !inputs.contains_key(path.as_str()));
        plan.superseded.push(Superseded { id: segment.id.clone(), keep: keep.cloned().collect() });
    }
    let (kept, new): (Vec<usize>, Vec<usize>) =
        wanted.iter().partition(|index| held.contains(sources[**index].path.as_str()));
    plan.kept = kept;
    plan.segments = pack(sources, &new, stamp);
    plan
}

/// The sources without those that have the content of another one: the first in the list wins, and
/// what the lake holds wins over what it does not.
fn distinct(
    sources: &[SourceId],
    lake: &[KnownSegment],
    duplicates: &mut Vec<DuplicateSource>,
) -> Vec<usize> {
    let given: BTreeMap<&str, &str> =
        sources.iter().rev().map(|s| (s.path.as_str(), s.hash.as_str())).collect();
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (path, hash) in lake.iter().flat_map(|segment| &segment.sources) {
        // A path that is given with another content will no longer own this one.
        if given.get(path.as_str()).is_none_or(|now| now == hash) {
            owners.entry(hash).or_insert(path);
        }
    }
    let mut seen_paths = BTreeSet::new();
    let mut wanted = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let owner = *owners.entry(&source.hash).or_insert(&source.path);
        if owner == source.path && seen_paths.insert(&source.path) {
            wanted.push(index);
        } else if owner != source.path {
            duplicates.push(DuplicateSource { path: source.path.clone(), of: owner.to_owned() });
        }
    }
    wanted
}

fn pack(sources: &[SourceId], new: &[usize], stamp: &str) -> Vec<PlannedSegment> {
    let segment = |inputs: Vec<usize>| {
        let ids = inputs.iter().map(|i| (sources[*i].path.as_str(), sources[*i].hash.as_str()));
        PlannedSegment { id: segment_id(ids, stamp), inputs, stamp: stamp.to_owned() }
    };
    let mut segments = Vec::new();
    let (mut small, mut small_bytes) = (Vec::new(), 0);
    for &index in new {
        let size = sources[index].size_bytes;
        if size >= OWN_SEGMENT_BYTES {
            segments.push(segment(vec![index]));
            continue;
        }
        if !small.is_empty() && (small_bytes + size > PACK_BYTES || small.len() == PACK_SOURCES) {
            segments.push(segment(std::mem::take(&mut small)));
            small_bytes = 0;
        }
        small.push(index);
        small_bytes += size;
    }
    if !small.is_empty() {
        segments.push(segment(small));
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, hash: &str, size_bytes: u64) -> SourceId {
        SourceId { path: path.into(), hash: hash.into(), size_bytes }
    }

    fn known(sources: &[SourceId], segment: &PlannedSegment) -> KnownSegment {
        KnownSegment {
            id: segment.id.clone(),
            stamp: segment.stamp.clone(),
            sources: segment
                .inputs
                .iter()
                .map(|i| (sources[*i].path.clone(), sources[*i].hash.clone()))
                .collect(),
        }
    }

    fn mixed() -> Vec<SourceId> {
        (0..40)
            .map(|n| source(&format!("p{n}"), &format!("h{n}"), if n % 7 == 3 { 5 << 20 } else { 900_000 }))
            .collect()
    }

    #[test]
    fn what_a_killed_run_left_undone_is_planned_as_it_was() {
        let sources = mixed();
        let whole = plan(&sources, "", &[]);
        assert!(whole.segments.len() > 8);
        for done in 0..=whole.segments.len() {
            let lake: Vec<_> = whole.segments[..done].iter().map(|s| known(&sources, s)).collect();
            assert_eq!(plan(&sources, "", &lake).segments, whole.segments[done..], "killed after {done}");
        }
    }

    #[test]
    fn every_source_is_in_exactly_one_place() {
        let mut sources = mixed();
        sources.push(source("copy", "h5", 900_000));
        let plan = plan(&sources, "", &[]);
        let mut all: Vec<usize> = plan.segments.iter().flat_map(|s| s.inputs.clone()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..40).collect::<Vec<_>>());
        assert_eq!(plan.duplicates, [DuplicateSource { path: "copy".into(), of: "p5".into() }]);
    }

    #[test]
    fn a_grown_source_supersedes_its_segment_and_strangers_keep_their_rows() {
        let old = [source("a", "1", 10), source("b", "2", 10), source("c", "3", 10)];
        let lake = [known(&old, &plan(&old, "", &[]).segments[0])];
        let now = [source("a", "1", 10), source("b", "22", 20)];
        let plan = plan(&now, "", &lake);
        assert_eq!(plan.grown, ["b"]);
        assert_eq!(plan.segments.len(), 1);
        assert_eq!(plan.segments[0].inputs, [0, 1]);
        assert_eq!(plan.superseded[0].keep, [("c".to_owned(), "3".to_owned())]);
    }

    #[test]
    fn another_stamp_builds_again_what_is_at_hand() {
        let sources = [source("a", "1", 10)];
        let first = plan(&sources, "tables 1", &[]);
        let lake = [known(&sources, &first.segments[0])];
        assert_eq!(plan(&sources, "tables 1", &lake).kept, [0]);
        let again = plan(&sources, "tables 2", &lake);
        assert_eq!((again.segments.len(), again.superseded.len()), (1, 1));
        assert!(plan(&[source("z", "9", 1)], "tables 2", &lake).superseded.is_empty());
    }

    #[test]
    fn the_lake_keeps_a_file_that_comes_again_under_another_name() {
        let sources = [source("a", "1", 10)];
        let lake = [known(&sources, &plan(&sources, "", &[]).segments[0])];
        let moved = plan(&[source("b", "1", 10)], "", &lake);
        assert_eq!(moved.duplicates, [DuplicateSource { path: "b".into(), of: "a".into() }]);
        assert!(moved.segments.is_empty());
    }
}
