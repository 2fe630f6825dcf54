//! Real captures with labels: every flow whose protocol `wire` claims is told, and no other is.
//!
//! The labels are nDPI's opinions, one line a flow (`ndpi-expected/*.out`); only those with confidence "DPI"
//! count, not those guessed by port or address. Where the bytes contradict a label, [`EXCEPTIONS`] says how.

#![expect(clippy::unwrap_used, reason = "a failed read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use okno_censor::{Context, Direction, Middlebox, Verdict};
use okno_lab::replay::{FlowRow, Options, Replay};
use okno_wire::packet::number;
use okno_wire::{Endpoint, FlowKey, Instant, PacketView, Protocol, Recognition};

/// A flow whose label the bytes contradict: file, the higher port, the label, what it is, and why.
struct Exception {
    file: &'static str,
    port: u16,
    label: &'static str,
    is: Option<Protocol>,
    why: &'static str,
}

const EXCEPTIONS: &[Exception] = &[];

/// A label of the capture's authors: protocol, and whether it was read from packets.
#[derive(Clone, Debug)]
struct Label {
    name: String,
    sure: bool,
}

fn shared_data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let dir = std::env::var_os("OKNO_SHARED_DATA").map_or(beside, PathBuf::from);
    dir.join("pcap/ndpi-expected").is_dir().then_some(dir)
}

fn endpoint(text: &str) -> Option<Endpoint> {
    let (ip, port) = text.rsplit_once(':')?;
    let ip = ip.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    Some(Endpoint { ip, port: port.parse().ok()? })
}

fn between<'a>(line: &'a str, open: &str) -> Option<&'a str> {
    let at = line.find(open)? + open.len();
    line[at..].split(']').next()
}

/// Flows and labels of one expected answer.
fn labels(path: &Path) -> BTreeMap<FlowKey, Label> {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().take(5).collect();
        let &[index, transport, source, arrow, destination] = &*words else { continue };
        if index.parse::<u32>().is_err() || !matches!(arrow, "<->" | "->") {
            continue;
        }
        let protocol = match transport {
            "TCP" => number::TCP,
            "UDP" => number::UDP,
            "ESP" => number::ESP,
            "AH" => number::AH,
            _ => continue,
        };
        let (Some(source), Some(destination)) = (endpoint(source), endpoint(destination)) else { continue };
        let name = between(line, "[proto: ").and_then(|text| text.split_once('/')).map(|(_, name)| name);
        let sure = between(line, "[Confidence: ") == Some("DPI");
        // Flows inside a tunnel (`GTP:91/TLS`) are not flows of the outer capture.
        let inner = between(line, "[proto: ").is_some_and(|text| text.contains(':'));
        let label = Label { name: name.unwrap_or("").to_owned(), sure: sure && !inner };
        found.entry(FlowKey::of(source, destination, protocol).0).or_insert(label);
    }
    found
}

/// The protocols of ours that a label may mean; empty when it is none of ours.
fn claimed(name: &str) -> Vec<Protocol> {
    use Protocol as P;
    let master = name.split('.').next().unwrap_or("");
    let app = name.split('.').nth(1).unwrap_or("");
    let mut all = match master {
        "DNS" => vec![P::Dns],
        // A proxy's CONNECT and absolute requests are HTTP/1 messages.
        "HTTP" | "HTTP_Proxy" | "HTTP_Connect" => vec![P::Http],
        // The link protocol of Tor is TLS.
        // nDPI renames TLS by the mail services' ports.
        "TLS" | "IMAPS" | "POPS" | "SMTPS" | "FTPS" => vec![P::Tls, P::Tor],
        "QUIC" => vec![P::Quic],
        // One flow of ICE carries STUN, DTLS and SRTP (RFC 7983): the label names the one, we another.
        "DTLS" => vec![P::Dtls],
        "STUN" => vec![P::Stun],
        "RTP" | "RTCP" => vec![P::Rtp],
        "SRTP" => vec![P::Rtp, P::Stun, P::Dtls],
        "SIP" => vec![P::Sip],
        "WireGuard" => vec![P::WireGuard],
        "OpenVPN" => vec![P::OpenVpn],
        "IPSec" | "ESP" | "AH" => vec![P::Ike, P::Esp],
        "L2TP" => vec![P::L2tp],
        "SSH" => vec![P::Ssh],
        "SOCKS" => vec![P::Socks],
        "Tor" => vec![P::Tor, P::Tls],
        "Telegram" | "TelegramVoip" => vec![P::MtProto],
        "BitTorrent" => vec![P::BitTorrent],
        _ => vec![],
    };
    if app == "SRTP" {
        all.push(P::Rtp);
    }
    all
}

/// A box that lets all pass: only the classifier is judged here.
struct Nothing;

impl Middlebox for Nothing {
    fn on_packet(&mut self, _: Instant, _: Direction, _: &PacketView<'_>, _: &mut Context<'_>) -> Verdict {
        Verdict::Pass
    }

    fn on_timer(&mut self, _: Instant, _: &mut Context<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

/// What the replay told of each flow of a capture; a flow that came back after a pause is one here.
fn flows(path: &Path) -> BTreeMap<FlowKey, Option<Recognition>> {
    let mut flows: BTreeMap<FlowKey, Option<Recognition>> = BTreeMap::new();
    let mut take = |row: FlowRow| {
        let told = flows.entry(row.key).or_default();
        if told.is_none() {
            *told = row.recognition;
        }
    };
    let mut replay = Replay::new(Options::default(), || Nothing);
    // A capture that is cut short delivers what stood before the cut.
    let _ = replay.capture("labelled", File::open(path).unwrap(), &mut take, &mut |_| {});
    replay.finish(&mut take);
    flows
}

/// Least share, in per cent, of a protocol's flows told; a protocol of few flows may miss none.
fn floor(row: &Row) -> u32 {
    if row.right + row.missed < 50 { 100 } else { 98 }
}

/// Counts of one protocol.
#[derive(Default)]
struct Row {
    right: u32,
    missed: u32,
    mistaken: u32,
}

#[test]
fn labelled_flows_are_told_and_others_are_not_mistaken() {
    let Some(data) = shared_data() else {
        eprintln!("skipped: no shared data");
        return;
    };
    let mut expected: Vec<_> = std::fs::read_dir(data.join("pcap/ndpi-expected"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    expected.sort();
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let (mut claimed_flows, mut other_flows) = (0_u32, 0_u32);
    let mut seen = BTreeSet::new();
    for path in &expected {
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        let capture = data.join("pcap/ndpi").join(&file);
        if !capture.is_file() {
            continue;
        }
        let flows = flows(&capture);
        for (key, label) in labels(path) {
            let Some(told) = flows.get(&key).filter(|_| label.sure) else { continue };
            let told = told.as_ref().map(|told| told.protocol);
            let excepted = EXCEPTIONS.iter().find(|exception| {
                exception.file == file
                    && exception.label == label.name
                    && exception.port == key.low.port.max(key.high.port)
            });
            let is = match excepted {
                Some(exception) => {
                    seen.insert(exception.why);
                    exception.is.into_iter().collect()
                }
                None => claimed(&label.name),
            };
            let right = told.is_some_and(|told| is.contains(&told));
            if is.is_empty() {
                other_flows += 1;
                if let Some(told) = told {
                    rows.entry(told.as_str().to_owned()).or_default().mistaken += 1;
                    println!("mistaken: {file} {} {} {} told {told:?}", label.name, key.low, key.high);
                }
                continue;
            }
            claimed_flows += 1;
            let row = rows.entry(is[0].as_str().to_owned()).or_default();
            if right {
                row.right += 1;
            } else {
                row.missed += 1;
                println!("missed: {file} {} {} {} told {told:?}", label.name, key.low, key.high);
            }
        }
    }
    println!("{:<16}{:>7}{:>8}{:>10}", "protocol", "right", "missed", "mistaken");
    for (name, row) in &rows {
        println!("{name:<16}{:>7}{:>8}{:>10}", row.right, row.missed, row.mistaken);
    }
    let right: u32 = rows.values().map(|row| row.right).sum();
    let mistaken: u32 = rows.values().map(|row| row.mistaken).sum();
    println!("{right} of {claimed_flows} claimed flows told; {mistaken} of {other_flows} others mistaken");
    for (name, row) in &rows {
        let all = row.right + row.missed;
        assert!(row.right * 100 >= all * floor(row), "{name}: {} of {all} told", row.right);
    }
    assert_eq!(seen.len(), EXCEPTIONS.len(), "an exception that no flow needs is stale");
    assert!(claimed_flows >= 500 && other_flows >= 100, "too few flows to judge by");
    assert!(right * 100 >= claimed_flows * 99, "fewer than 99 % of the claimed flows were told");
    assert!(mistaken * 1000 <= other_flows, "more than 0.1 % of the other flows were mistaken");
}

/// What the test suites of Suricata and Zeek say of their captures by the names they gave them: the
/// beginning of a name, and the protocol of at least one flow.
const BY_NAME: &[(&str, Protocol)] = &[
    ("ikev", Protocol::Ike),
    ("ja4-quic", Protocol::Quic),
    ("quic", Protocol::Quic),
    ("sip", Protocol::Sip),
    ("socks", Protocol::Socks),
    ("ssh", Protocol::Ssh),
    ("tls__dtls", Protocol::Dtls),
    ("tls__ocsp-re", Protocol::Http),
    ("tls__webrtc", Protocol::Dtls),
    ("tls", Protocol::Tls),
    ("dns__", Protocol::Dns),
    ("tunnels__socks", Protocol::Socks),
    ("websocket", Protocol::Http),
];

/// Names that promise otherwise: damage made to crash a parser, junk, another protocol first.
const OTHERWISE: &[&str] = &[
    "quic__383379789-decrypt-crash",
    "quic__vector-max-size-crash",
    "sip-ssdp-pm",
    "sip__sip-junk-before-request",
    // TLS comes after a talk in SMTP, IMAP, POP3, XMPP.
    "starttls",
];

#[test]
fn captures_of_other_suites_are_told_as_their_names_say_and_tunnels_are_none_of_ours() {
    let Some(data) = shared_data() else {
        eprintln!("skipped: no shared data");
        return;
    };
    let mut judged = 0;
    for folder in ["suricata", "zeek"] {
        for entry in std::fs::read_dir(data.join("pcap").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(".gz") || OTHERWISE.iter().any(|otherwise| name.contains(otherwise)) {
                continue;
            }
            let told: Vec<_> = flows(&path).into_values().flatten().map(|told| told.protocol).collect();
            if let Some((_, protocol)) = BY_NAME.iter().find(|(begin, _)| name.starts_with(begin)) {
                judged += 1;
                assert!(told.contains(protocol), "{name}: told {told:?}, not {protocol:?}");
            } else if name.starts_with("tunnels__") || name.starts_with("vxlan") || name.starts_with("rfb") {
                judged += 1;
                // One capture holds a DNS query on GTP's port.
                let others: Vec<_> = told.iter().filter(|told| **told != Protocol::Dns).collect();
                assert!(others.is_empty(), "{name}: told {others:?}");
            }
        }
    }
    assert!(judged >= 100, "{judged} captures judged");
}
