//! What a replay costs with all techniques of a profile on, beside a floor in the same run: headers walked
//! and flows counted, nothing else.
//!
//! `cargo xtask bench replay [--loops N] [--per-flow N] [--profile NAME] [FOLDER]`; without a folder it takes
//! the shared captures. The corpus is made here: the Ethernet captures merged as if their users were
//! online together, looped with other addresses a loop, in order of time; then once more with each flow cut
//! to its first 12 packets, because the beginning of a flow is what costs. Each number comes from a
//! process of its own, so that its peak memory is its own; prints packets per core-second, memory and a
//! hash of the answer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use okno_censor::Profile;
use okno_lab::capture::Capture;
use okno_lab::replay::{FlowRow, Options, Replay};
use okno_wire::PacketView;
use okno_wire::packet::number;
use xxhash_rust::xxh3::{Xxh3, Xxh3Builder, xxh3_64};

/// Packets that the corpus has at least, when `--loops` does not say otherwise.
const PACKETS: usize = 4_000_000;
/// Packets that each flow of the second corpus has at most.
const SHORT: usize = 12;
/// Nanoseconds between the beginnings of two captures of a loop, and of two loops.
const STAGGER: u64 = 200_000_000;
const LOOP: u64 = 60_000_000_000;

/// Seconds that this thread has spent on a core: other work on the machine does not count.
fn core_seconds() -> f64 {
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells a thread's core time");
    text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).expect("nanoseconds come first")
        / 1e9
}

/// Peak memory of this process in MB.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells peak memory");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}

fn captures(folder: &Path) -> Vec<PathBuf> {
    let (mut pending, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(&next).expect("the folder can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|end| end == "pcap" || end == "pcapng" || end == "cap") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Packets of the Ethernet captures with their times, each capture beginning a little after the one before.
fn base(folder: &Path, per_flow: usize) -> Vec<(u64, Vec<u8>)> {
    let mut packets = Vec::new();
    let mut begin = 0;
    for path in captures(folder) {
        let Ok(mut capture) = Capture::open(File::open(&path).expect("a capture opens")) else { continue };
        let (mut first, mut last) = (None, 0);
        let mut flows = hashbrown::HashMap::with_hasher(Xxh3Builder::new());
        while let Some(Ok(packet)) = capture.next() {
            if packet.link_type != 1 {
                continue;
            }
            let at = packet.at.nanos();
            let since = at.saturating_sub(*first.get_or_insert(at)).max(last);
            last = since;
            // Short flows cost more a packet than long ones: `--per-flow` cuts them.
            let key = PacketView::parse(packet.ip).ok().map(|view| view.flow().0);
            let seen: &mut usize = flows.entry(key).or_default();
            *seen += 1;
            if *seen <= per_flow {
                packets.push((begin + since, packet.ip.to_vec()));
            }
        }
        begin += STAGGER;
    }
    packets
}

/// Changes the last two bytes of both addresses and mends the checksums (RFC 1624 §3).
fn readdress(packet: &mut [u8], by: u16) {
    let Ok(view) = PacketView::parse(packet) else { return };
    let (at, first) = (view.transport_at(), view.fragment.is_none_or(|fragment| fragment.offset == 0));
    let four = view.source.is_ipv4();
    let ends = if four { [14, 18] } else { [22, 38] };
    let sum = match view.protocol {
        number::TCP if first => Some(at + 16),
        number::UDP if first && view.udp().is_some_and(|udp| udp.checksum() != 0) => Some(at + 6),
        _ => None,
    };
    for end in ends {
        let old = u16::from_be_bytes([packet[end], packet[end + 1]]);
        let new = old ^ by;
        packet[end..end + 2].copy_from_slice(&new.to_be_bytes());
        let length = packet.len();
        for sum in sum.into_iter().chain(four.then_some(10)).filter(|sum| sum + 2 <= length) {
            let mut wide = u32::from(!u16::from_be_bytes([packet[sum], packet[sum + 1]]));
            wide += u32::from(!old) + u32::from(new);
            wide = (wide & 0xffff) + (wide >> 16);
            wide = (wide & 0xffff) + (wide >> 16);
            packet[sum..sum + 2].copy_from_slice(&(!(wide as u16)).to_be_bytes());
        }
    }
}

/// Writes the corpus; says how many packets and bytes of packets it has.
fn build(folder: &Path, loops: Option<usize>, per_flow: usize, out: &Path) -> (usize, u64) {
    let base = base(folder, per_flow);
    assert!(!base.is_empty(), "no Ethernet captures under {}", folder.display());
    let loops = loops.unwrap_or_else(|| PACKETS.div_ceil(base.len()));
    let mut order: Vec<(u64, u16, u32)> = Vec::with_capacity(loops * base.len());
    for turn in 0..loops {
        let turn = u16::try_from(turn).expect("at most 65,536 loops");
        let begin = u64::from(turn) * LOOP + 1_700_000_000_000_000_000;
        order.extend((0..).zip(&base).map(|(index, (at, _))| (begin + at, turn, index)));
    }
    order.sort_unstable();
    let mut file = BufWriter::with_capacity(1 << 20, File::create(out).expect("a temporary file"));
    let mut put = |bytes: &[u8]| file.write_all(bytes).expect("room for the corpus");
    put(&[0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
    let mut bytes = 0;
    for (at, turn, index) in &order {
        let mut packet = base[*index as usize].1.clone();
        readdress(&mut packet, *turn);
        let six = packet.first().is_some_and(|first| first >> 4 == 6);
        let length = u32::try_from(packet.len() + 14).expect("a packet").to_le_bytes();
        put(&u32::try_from(at / 1_000_000_000).expect("before 2106").to_le_bytes());
        put(&u32::try_from(at % 1_000_000_000).expect("below a billion").to_le_bytes());
        put(&length);
        put(&length);
        put(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        put(if six { &[0x86, 0xdd] } else { &[8, 0] });
        put(&packet);
        bytes += packet.len() as u64 + 14;
    }
    file.flush().expect("room for the corpus");
    (order.len(), bytes)
}

/// The floor: headers walked, flows counted.
fn floor(path: &Path, packets: u64) -> (u64, u64) {
    let mut capture = Capture::open(File::open(path).expect("the corpus opens")).expect("it is a capture");
    let mut flows = hashbrown::HashMap::with_hasher(Xxh3Builder::new());
    let (mut count, mut bytes) = (0, 0);
    while count < packets {
        let Some(Ok(packet)) = capture.next() else { break };
        count += 1;
        let Ok(view) = PacketView::parse(packet.ip) else { continue };
        bytes += view.payload().len() as u64;
        *flows.entry(view.flow().0).or_insert(0_u64) += 1;
    }
    (count, xxh3_64(format!("{} {bytes}", flows.len()).as_bytes()))
}

/// Reading alone.
fn reading(path: &Path, packets: u64) -> (u64, u64) {
    let mut capture = Capture::open(File::open(path).expect("the corpus opens")).expect("it is a capture");
    let (mut count, mut bytes) = (0, 0);
    while count < packets {
        let Some(Ok(packet)) = capture.next() else { break };
        count += 1;
        bytes += packet.ip.len() as u64;
    }
    (count, bytes)
}

/// All that a row says of its flow, without the cost of writing it out.
fn hash_row(hash: &mut Xxh3, row: &FlowRow) {
    let numbers = [
        row.flow,
        row.number,
        row.first.nanos(),
        row.last.nanos(),
        row.packets[0],
        row.packets[1],
        row.bytes[0],
        row.bytes[1],
        u64::from(row.dropped),
        u64::from(row.forged),
        u64::from(row.fragments),
        u64::from(row.broken_packets),
    ];
    numbers.iter().for_each(|number| hash.update(&number.to_le_bytes()));
    if let Some(told) = &row.recognition {
        for text in [told.protocol.as_str(), &told.version, &told.name, &told.fingerprint] {
            hash.update(text.as_bytes());
        }
    }
    for deed in &row.deeds {
        hash.update(deed.rule.as_bytes());
        hash.update(&[deed.kind as u8]);
        hash.update(&deed.number.to_le_bytes());
        hash.update(deed.name.as_bytes());
        hash.update(deed.detail.as_bytes());
    }
}

/// The replay, its rows hashed in order.
fn replay(path: &Path, packets: u64, profile: &str) -> (u64, u64) {
    let profile = Profile::named(profile).expect("a profile of this name");
    let engine = || profile.engine().expect("the profile makes a box");
    let mut replay = Replay::new(Options::default(), engine);
    let mut hash = Xxh3::new();
    let mut rows: u64 = 0;
    let mut acted = 0;
    let mut each = |row: FlowRow| {
        rows += 1;
        acted += u64::from(!row.deeds.is_empty());
        hash_row(&mut hash, &row);
    };
    let mut capture = Capture::open(File::open(path).expect("the corpus opens")).expect("it is a capture");
    let mut count = 0;
    while count < packets {
        let Some(Ok(packet)) = capture.next() else { break };
        count += 1;
        replay.packet(&packet, &mut each);
    }
    let summary = replay.finish(&mut each);
    let protocols: BTreeMap<_, _> =
        summary.protocols.iter().map(|(name, tally)| (*name, tally.flows)).collect();
    println!("  {rows} flows, {acted} acted on, {} rules; {protocols:?}", summary.rules.len());
    (count, hash.digest())
}

/// One measurement, in a process of its own.
fn measure(args: &[String]) {
    let [what, path, packets, profile] = args else { panic!("four words") };
    let packets = packets.parse().expect("a number");
    // The file is read once before, so that the disk is not measured.
    std::io::copy(&mut BufReader::new(File::open(path).expect("opens")), &mut std::io::sink())
        .expect("reads");
    let start = core_seconds();
    let path = Path::new(path);
    let (count, hash) = match what.as_str() {
        "floor" => floor(path, packets),
        "reading" => reading(path, packets),
        "none" => replay(path, packets, "none"),
        _ => replay(path, packets, profile),
    };
    let seconds = core_seconds() - start;
    println!(
        "  {what:<8} {count:>9} packets  {seconds:>7.2} core-seconds  {:>6.2} M packets per core-second  peak {:>5.0} MB  answer {hash:016x}",
        count as f64 / seconds / 1e6,
        peak_mb()
    );
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == "--measure") {
        return measure(&args[1..]);
    }
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned();
    let loops = value("--loops").map(|loops| loops.parse().expect("--loops takes a number"));
    let per_flow = value("--per-flow").map_or(usize::MAX, |n| n.parse().expect("--per-flow takes a number"));
    let profile = value("--profile").unwrap_or_else(|| "tspu-2026".into());
    let shared = std::env::var_os("OKNO_SHARED_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let mut words = args.iter();
    let mut folder = shared.join("pcap");
    while let Some(word) = words.next() {
        if word.starts_with("--") {
            words.next();
        } else {
            folder = PathBuf::from(word);
        }
    }
    if !folder.is_dir() {
        println!("skipped: no shared data");
        return;
    }
    let all: &[(&str, usize)] = &[
        ("reading", 1),
        ("floor", 1),
        ("none", 1),
        ("replay", 4),
        ("replay", 2),
        ("replay", 1),
        ("replay", 1),
    ];
    let keep = args.iter().any(|arg| arg == "--keep");
    compare(&folder, loops, per_flow, &profile, all, keep);
    if per_flow > SHORT {
        compare(&folder, loops, SHORT, &profile, &[("floor", 1), ("replay", 1), ("replay", 1)], keep);
    }
}

/// Makes a corpus and measures each of `what` on the given part of it.
fn compare(
    folder: &Path,
    loops: Option<usize>,
    per_flow: usize,
    profile: &str,
    what: &[(&str, usize)],
    keep: bool,
) {
    let name = format!("okno-bench-replay-{}-{per_flow}.pcap", std::process::id());
    let corpus = std::env::temp_dir().join(name);
    let (packets, bytes) = build(folder, loops, per_flow, &corpus);
    let cut = if per_flow < usize::MAX { format!(", at most {per_flow} a flow") } else { String::new() };
    println!("corpus: {packets} packets{cut}, {} MB, profile {profile}", bytes / 1_000_000);
    let this = std::env::current_exe().expect("this program has a path");
    for (what, part) in what {
        let packets = (packets / part).to_string();
        let words = [what, &*corpus.to_string_lossy(), &packets, profile].map(str::to_owned);
        let status = Command::new(&this).arg("--measure").args(words).status().expect("it starts");
        assert!(status.success(), "the measurement failed");
    }
    if !keep {
        std::fs::remove_file(&corpus).expect("the corpus can go");
    }
}
