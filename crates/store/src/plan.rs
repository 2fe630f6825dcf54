//! Which segments to build from which sources.
//!
//! The plan depends on the sources and on what the lake holds, never on when a run was killed: large
//! sources are segments of their own, small ones are packed in the order given, and what remains after
//! some segments were committed is packed into the very same segments again.
//!
//! A run that is given all that the lake holds ends with the lake that a first run over its sources would
//! make, byte for byte: from the first segment on that a first run would make otherwise, because a source
//! grew or a new one comes between, all are built again. A run that is given only some of what the lake
//! holds appends what is new, and builds again as little as it must.

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
    let given: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let at_hand = |(path, _): &(String, String)| given.contains(path.as_str());
    let mut plan = Plan::default();
    if lake.iter().all(|segment| segment.sources.iter().all(at_hand)) {
        plan_whole(sources, stamp, lake, &mut plan);
    } else {
        plan_part(sources, stamp, lake, &mut plan);
    }
    plan
}

/// Plans a run over all that the lake holds: as if there were no lake, less what it begins with.
fn plan_whole(sources: &[SourceId], stamp: &str, lake: &[KnownSegment], plan: &mut Plan) {
    let wanted = distinct(sources, &[], &mut plan.duplicates);
    let mut segments = pack(sources, &wanted, stamp);
    // Equal so far means the same rows too: which duplicates a segment lost depends on those before it.
    let same = segments.iter().zip(lake).take_while(|(new, old)| new.id == old.id).count();
    plan.kept = segments.drain(..same).flat_map(|segment| segment.inputs).collect();
    plan.kept.sort_unstable();
    plan.segments = segments;
    let hashes: BTreeMap<&str, &str> =
        sources.iter().rev().map(|s| (s.path.as_str(), s.hash.as_str())).collect();
    for segment in &lake[same..] {
        let changed = |(path, hash): &&(String, String)| hashes.get(path.as_str()) != Some(&hash.as_str());
        plan.grown.extend(segment.sources.iter().filter(changed).map(|(path, _)| path.clone()));
        plan.superseded.push(Superseded { id: segment.id.clone(), keep: Vec::new() });
    }
}

/// Plans a run over other sources than the lake's, or over some of them.
fn plan_part(sources: &[SourceId], stamp: &str, lake: &[KnownSegment], plan: &mut Plan) {
    let wanted = distinct(sources, lake, &mut plan.duplicates);
    let hashes: BTreeMap<&str, &str> =
        sources.iter().rev().map(|s| (s.path.as_str(), s.hash.as_str())).collect();
    // A segment stays whole or goes: it goes when one of its sources changed, when its rows depend on
    // something that changed and its sources are at hand, or when one before it went and all its sources
    // are at hand, so that their order stays.
    let mut held: BTreeSet<&str> = BTreeSet::new();
    for segment in lake {
        let changed =
            |(path, hash): &&(String, String)| hashes.get(path.as_str()).is_some_and(|now| now != hash);
        let grown: Vec<String> =
            segment.sources.iter().filter(changed).map(|(path, _)| path.clone()).collect();
        let is_at_hand = |(path, _): &(String, String)| hashes.contains_key(path.as_str());
        let follows = !plan.superseded.is_empty() && segment.sources.iter().all(is_at_hand);
        let is_outdated = segment.stamp != stamp && segment.sources.iter().any(is_at_hand);
        if grown.is_empty() && !is_outdated && !follows {
            held.extend(segment.sources.iter().map(|(path, _)| path.as_str()));
            continue;
        }
        plan.grown.extend(grown);
        let keep = segment.sources.iter().filter(|source| !is_at_hand(source)).cloned().collect();
        plan.superseded.push(Superseded { id: segment.id.clone(), keep });
    }
    let (kept, new): (Vec<usize>, Vec<usize>) =
        wanted.iter().partition(|index| held.contains(sources[**index].path.as_str()));
    plan.kept = kept;
    plan.segments = pack(sources, &new, stamp);
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
    fn given_all_that_the_lake_holds_a_plan_ends_where_a_first_one_would() {
        let old = mixed();
        let first = plan(&old, "", &[]);
        let mut grown = old.clone();
        grown[11] = source("p11", "other", 950_000);
        let mut between = old.clone();
        between.insert(20, source("p19a", "new", 5 << 20));
        let mut twin = old.clone();
        twin.insert(0, source("copy", "h30", 900_000));
        for now in [grown, between, twin] {
            let fresh = plan(&now, "", &[]);
            for done in 0..=first.segments.len() {
                let lake: Vec<_> = first.segments[..done].iter().map(|s| known(&old, s)).collect();
                let next = plan(&now, "", &lake);
                let stay = lake.len() - next.superseded.len();
                let ids = lake[..stay].iter().map(|s| &s.id).chain(next.segments.iter().map(|s| &s.id));
                assert!(ids.eq(fresh.segments.iter().map(|s| &s.id)), "killed after {done}");
                assert_eq!(next.duplicates, fresh.duplicates);
            }
        }
    }

    #[test]
    fn in_a_part_of_the_lake_too_the_sources_after_a_grown_one_stay_after_it() {
        let own = OWN_SEGMENT_BYTES;
        let old =
            [source("a", "1", own), source("b", "2", own), source("c", "3", own), source("d", "4", own)];
        let lake: Vec<_> = plan(&old, "", &[]).segments.iter().map(|s| known(&old, s)).collect();
        let now = [source("b", "22", own), source("c", "3", own)];
        let plan = plan(&now, "", &lake);
        assert_eq!((plan.grown, plan.kept), (vec!["b".to_owned()], vec![]));
        assert_eq!(plan.segments.iter().map(|s| s.inputs.clone()).collect::<Vec<_>>(), [[0], [1]]);
        let gone: Vec<_> = plan.superseded.iter().map(|s| s.id.clone()).collect();
        assert_eq!(gone, [lake[1].id.clone(), lake[2].id.clone()]);
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
