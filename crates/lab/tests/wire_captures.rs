//! The hellos of real clients, read out of captures and held against what nDPI read there.
//!
//! Here and not in `wire`, because the capture reader is here. Streams are joined in the simplest way that
//! real clients need; the tracker of `censor` is judged elsewhere.

#![expect(clippy::unwrap_used, reason = "a failed read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use okno_lab::capture::Capture;
use okno_wire::tls::{
    Certificates, ClientHello, FirstFlight, Ja4Transport, code, first_flight, handshake_bytes, ja3, ja4,
    messages, normalise_name,
};
use okno_wire::x509::CertificateView;
use okno_wire::{Endpoint, PacketView, Transport, dtls, http, quic};

fn shared_data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let dir = std::env::var_os("OKNO_SHARED_DATA").map_or(beside, PathBuf::from);
    dir.join("pcap").is_dir().then_some(dir)
}

/// What was read out of one capture.
#[derive(Debug, Default)]
struct Seen {
    names: BTreeSet<String>,
    ja4: BTreeSet<String>,
    ja3: BTreeSet<String>,
    versions: BTreeSet<String>,
    /// of the leaf certificates: common name, alternative names and validity as nDPI prints it
    certificates: Vec<(String, BTreeSet<String>, String)>,
}

impl Seen {
    fn hello(&mut self, hello: &ClientHello<'_>, transport: Ja4Transport) {
        self.names.extend(hello.normalised_name());
        self.ja4.insert(ja4(hello, transport));
        self.ja3.insert(ja3(hello));
    }

    fn chain(&mut self, chain: Result<Certificates<'_>, okno_wire::Malformed>) {
        let Some(leaf) = chain.ok().and_then(|mut chain| chain.next()) else { return };
        let Ok(view) = CertificateView::parse(leaf) else { return };
        let date = |seconds: Option<i64>| {
            let time = jiff::Timestamp::from_second(seconds.unwrap()).unwrap();
            time.strftime("%Y-%m-%d %H:%M:%S").to_string()
        };
        let [from, to] = view.validity.map(date);
        let names = view.dns_names().map(str::to_ascii_lowercase);
        let names = names.chain(view.addresses().map(|ip| ip.to_string())).collect();
        let common = view.subject.common_name().unwrap_or_default().to_owned();
        self.certificates.push((common, names, format!("{from} - {to}")));
    }
}

/// One direction of a TCP flow, as far as it is contiguous.
#[derive(Default)]
struct Stream {
    next: Option<u32>,
    bytes: Vec<u8>,
    later: BTreeMap<u32, Vec<u8>>,
    done: bool,
    has_chain: bool,
}

impl Stream {
    fn add(&mut self, seq: u32, syn: bool, payload: &[u8]) {
        let start = seq.wrapping_add(u32::from(syn));
        if syn {
            *self = Self { next: Some(start), ..Self::default() };
        }
        if payload.is_empty() || self.bytes.len() > 60_000 {
            return;
        }
        self.next.get_or_insert(start);
        self.later.insert(start, payload.to_vec());
        while let Some(next) = self.next {
            let fits = |at: &u32| (next.wrapping_sub(*at) as i32) >= 0;
            let Some(at) = self.later.keys().copied().find(fits) else { return };
            let piece = self.later.remove(&at).unwrap();
            if let Some(tail) = piece.get(next.wrapping_sub(at) as usize..) {
                self.bytes.extend_from_slice(tail);
                self.next = Some(next.wrapping_add(tail.len() as u32));
            }
        }
    }
}

type Way = (Endpoint, Endpoint);

#[derive(Default)]
struct Reader {
    streams: BTreeMap<Way, Stream>,
    quic: BTreeMap<Way, quic::CryptoAssembler>,
    dtls: BTreeMap<Way, [dtls::Assembler; 2]>,
    seen: Seen,
}

impl Reader {
    fn packet(&mut self, ip: &[u8]) {
        let Ok(view) = PacketView::parse(ip) else { return };
        let (from, to) = view.ports();
        let way = (Endpoint { ip: view.source, port: from }, Endpoint { ip: view.destination, port: to });
        match view.transport {
            Transport::Tcp(tcp) => {
                let stream = self.streams.entry(way).or_default();
                stream.add(tcp.seq(), tcp.flags() & 2 != 0, view.payload());
                let joined = handshake_bytes(&stream.bytes);
                let chain = messages(&joined).find(|message| message.kind == code::handshake::CERTIFICATE);
                if let Some(chain) = chain.filter(|chain| chain.is_complete() && !stream.has_chain) {
                    stream.has_chain = true;
                    self.seen.chain(Certificates::parse(chain.bytes));
                }
                if stream.done {
                    return;
                }
                if let FirstFlight::Hello(flight) = first_flight(&stream.bytes) {
                    stream.done = true;
                    if let Ok(hello) = ClientHello::parse(&flight.message) {
                        self.seen.hello(&hello, Ja4Transport::Tcp);
                    }
                } else if http::looks_like_request(&stream.bytes)
                    && let Ok(request) = http::RequestView::parse(&stream.bytes)
                    && request.complete
                {
                    stream.done = true;
                    self.seen.names.extend(request.host().map(normalise_name));
                }
            }
            Transport::Udp(_) => self.datagram(way, view.payload()),
            _ => {}
        }
    }

    fn datagram(&mut self, way: Way, payload: &[u8]) {
        if dtls::looks_like_dtls(payload) {
            let new =
                || [code::handshake::CLIENT_HELLO, code::handshake::CERTIFICATE].map(dtls::Assembler::new);
            let [hello, chain] = self.dtls.entry(way).or_insert_with(new);
            if hello.datagram(payload) == dtls::Step::Whole
                && let Ok(hello) = dtls::client_hello(hello.body().unwrap())
            {
                self.seen.hello(&hello, Ja4Transport::Dtls);
            }
            if chain.datagram(payload) == dtls::Step::Whole {
                self.seen.chain(Certificates::parse_body(chain.body().unwrap()));
            }
        } else if quic::looks_like_quic(payload) || quic::GquicView::parse(payload).is_some() {
            let assembler = self.quic.entry(way).or_default();
            if assembler.client(payload) == quic::Step::Hello {
                self.seen.versions.extend(assembler.version().map(quic::Version::name));
                if let Some(hello) = assembler.hello() {
                    if let Ok(hello) = ClientHello::parse(hello) {
                        self.seen.hello(&hello, Ja4Transport::Quic);
                    }
                } else if let Some(name) = assembler.chlo().and_then(|chlo| chlo.sni()) {
                    self.seen.names.insert(normalise_name(name));
                }
            }
        }
    }
}

fn read(path: &Path) -> Seen {
    let mut reader = Reader::default();
    let mut capture = Capture::open(File::open(path).unwrap()).unwrap();
    while let Some(Ok(packet)) = capture.next() {
        reader.packet(packet.ip);
    }
    reader.seen
}

/// The values of `[key: value]` in nDPI's answer.
fn values(text: &str, key: &str) -> BTreeSet<String> {
    let opening = format!("[{key}: ");
    let parts = text.split(&opening).skip(1);
    parts.filter_map(|rest| rest.split_once(']')).map(|(value, _)| value.to_owned()).collect()
}

/// This nDPI (4.11) departs from the specification: `d` stands for every client that asked for no bare
/// address, named or not; of ALPN it takes other characters than the first and the last; DTLS versions come
/// from the legacy field alone; an empty list of extensions is hashed instead of twelve zeros. What is left
/// is compared.
fn as_ndpi(mut ja4: String) -> String {
    let version = if ja4.starts_with('d') { 1..4 } else { 3..4 };
    ja4.replace_range(8..10, "??");
    ja4.replace_range(version, "?");
    ja4.replace("000000000000", "e3b0c44298fc")
}

#[test]
fn names_and_fingerprints_of_real_clients_are_those_that_ndpi_read() {
    let Some(data) = shared_data() else {
        eprintln!("skipped: no shared data");
        return;
    };
    let folder = data.join("pcap");
    let labels = std::fs::read_to_string(folder.join("labels.tsv")).unwrap();
    let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in labels.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let names = wanted.entry(fields[2]).or_default();
        if matches!(fields[0], "tls_sni" | "quic_sni" | "ech_esni") {
            // The table cuts a list at 120 bytes or so; the last name may be a stump.
            let list: Vec<&str> = fields[5].split(',').collect();
            let whole = if fields[5].len() > 100 { list.len() - 1 } else { list.len() };
            names.extend(&list[..whole]);
        }
    }
    let (mut names, mut ja4s, mut ja3s, mut chains) = ([0, 0], [0, 0], [0, 0], [0, 0]);
    let mut missing = Vec::new();
    for (file, expected) in wanted {
        let path = folder.join("ndpi").join(file);
        if !path.exists() {
            continue;
        }
        let seen = read(&path);
        let text = std::fs::read_to_string(folder.join("ndpi-expected").join(format!("{file}.out")));
        let text = text.unwrap_or_default();
        let ours: BTreeSet<String> = seen.ja4.iter().cloned().map(as_ndpi).collect();
        let mut hold = |tally: &mut [u32; 2], holds: bool, what: String| {
            tally[usize::from(holds)] += 1;
            if !holds {
                missing.push(format!("{file}: {what}"));
            }
        };
        // The hello of one flow in dtls.pcap lies in a GTP tunnel, which `wire` does not open.
        let tunnelled = ["dd2d160700_7c8d7d5e37b2_ea2cef574603", "b2a6643b6798940d25020cb4abe9e2aa"];
        let outside = |value: &String| !tunnelled.contains(&value.as_str());
        for name in expected.iter().filter(|name| !name.is_empty()) {
            hold(&mut names, seen.names.contains(*name), format!("name {name}"));
        }
        for ja4 in values(&text, "JA4").into_iter().filter(outside) {
            hold(&mut ja4s, ours.contains(&as_ndpi(ja4.clone())), format!("JA4 {ja4}, ours {ours:?}"));
        }
        for ja3 in values(&text, "JA3C").into_iter().filter(outside) {
            hold(&mut ja3s, seen.ja3.contains(&ja3), format!("JA3 {ja3}"));
        }
        for validity in values(&text, "Validity") {
            let found = seen.certificates.iter().any(|(_, _, ours)| *ours == validity);
            hold(&mut chains, found, format!("validity {validity}"));
        }
        for subject in values(&text, "Subject") {
            let found = seen.certificates.iter().any(|(common, _, _)| {
                common.is_empty() && !subject.contains("CN=") || subject.contains(&format!("CN={common}"))
            });
            hold(&mut chains, found, format!("subject {subject}"));
        }
        for list in values(&text, "ServerNames") {
            let wanted: BTreeSet<String> = list.split(',').map(str::to_ascii_lowercase).collect();
            let found = seen.certificates.iter().any(|(_, ours, _)| wanted.is_subset(ours));
            hold(&mut chains, found, format!("alternative names {list}"));
        }
    }
    println!("missing, found: names {names:?}, JA4 {ja4s:?}, JA3 {ja3s:?}, certificates {chains:?}");
    for line in &missing {
        println!("  {line}");
    }
    assert!(names[1] > 100 && ja4s[1] > 60 && ja3s[1] > 60 && chains[1] > 60);
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_evasion_capture_ends_in_the_name_it_hides_unless_something_false_came_first() {
    let Some(data) = shared_data() else {
        eprintln!("skipped: no shared data");
        return;
    };
    let mut found = BTreeSet::new();
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(data.join("evasion")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pcap") {
            let case: u32 = path.file_name().unwrap().to_str().unwrap()[..2].parse().unwrap();
            all.insert(case);
            let seen = read(&path);
            if seen.names.iter().any(|name| name == "www.facebook.com") {
                found.insert(case);
            }
        }
    }
    let missed: Vec<u32> = all.difference(&found).copied().collect();
    println!("{} of {} seen; missed {missed:?}", found.len(), all.len());
    // All records, datagrams and heads are read, whatever way they are cut.
    for case in [
        1, 2, 3, 4, 5, 6, 7, 8, 25, 28, 29, 34, 35, 40, 41, 42, 43, 44, 45, 46, 47, 48, 50, 51, 52, 53, 54,
        55, 56,
    ] {
        assert!(found.contains(&case), "case {case}");
    }
}
