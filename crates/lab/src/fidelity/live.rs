//! Four plain censors as switch settings, against which real tools were run live.
//!
//! byedpi and nfqws (with curl, a router that filters by NFQUEUE, and a Linux server) were run through each;
//! a cell says whether the request came through. The same strategies as packet sequences of our own have to
//! give the same cells on the same censors made of switches: that is a check of the sequences, of the
//! switches and of the acceptance model at once.

use core::time::Duration;

use okno_censor::switches::{Defragmentation, Overlap, Reassembly};
use okno_censor::{
    Action, Decision, Decisions, Engine, Event, Evidence, FlowView, Interest, Switches, Technique,
};
use okno_model::Mechanism;
use okno_wire::Instant;

use super::Observed;
use super::rows::{Rows, Said};
use crate::evasion::{Conversation, strategy};
use crate::fidelity::stage::{BLOCKED, end};
use crate::path::{Ending, Outcome, Placed, Road, walk};

/// The censors of the live runs.
pub const CENSORS: [&str; 5] = ["none", "pkt", "flow", "reasm", "strict"];

/// A tool's run, our strategy for it, and whether the request came through each of [`CENSORS`].
pub const CELLS: [(&str, &str, [bool; 5]); 21] = [
    ("plain", "plain", [true, false, false, false, false]),
    ("byedpi_split", "split_name", [true, true, true, false, false]),
    ("byedpi_disorder", "disorder", [true, true, true, false, false]),
    ("byedpi_oob", "oob", [true, true, true, true, true]),
    ("byedpi_disoob", "disoob", [true, true, true, true, true]),
    ("byedpi_fake_ttl1", "fake_ttl", [true, false, true, true, false]),
    ("byedpi_modhttp_hdm", "http_mod_hdm", [true, true, true, true, true]),
    ("nfqws_multisplit", "split_many", [true, true, true, false, false]),
    ("nfqws_multidisorder", "multidisorder", [true, true, true, false, false]),
    ("nfqws_seqovl", "seqovl", [true, true, true, false, false]),
    ("nfqws_fake_ttl1", "fake_ttl", [true, false, true, true, false]),
    ("nfqws_fake_badsum", "fake_badsum", [true, false, true, true, false]),
    ("nfqws_fake_md5sig", "fake_md5", [true, false, true, true, false]),
    ("nfqws_fake_badseq", "fake_badseq", [true, false, true, false, false]),
    ("nfqws_fake_datanoack", "fake_noack", [true, false, true, true, false]),
    ("nfqws_fake_ts", "fake_timestamp", [true, false, true, true, true]),
    ("nfqws_fakedsplit_ttl1", "fakedsplit_ttl", [true, true, true, true, false]),
    ("nfqws_fakeddisorder_md5", "fakeddisorder_md5", [true, true, true, true, false]),
    ("nfqws_rst_ttl1", "rst_ttl", [true, false, false, false, false]),
    ("nfqws_ipfrag2", "ipfrag", [true, true, true, true, true]),
    ("nfqws_syndata", "syn_data", [true, false, true, false, false]),
];

/// How one of [`CENSORS`] looks; `None` for `none`.
pub fn switches(censor: &str) -> Option<Switches> {
    let mut switches = Switches::default();
    // All four match the bytes of the Host line as they are, on whole packets.
    switches.fragments.mode = Defragmentation::InspectFirst;
    switches.http.any_case = false;
    switches.http.missing_space = false;
    switches.names.lower_case = false;
    switches.window.data_packets = None;
    switches.tcp.reassembly = Reassembly::Queue;
    switches.tcp.overlap = Overlap::First;
    match censor {
        // Each packet by itself.
        "pkt" => {
            switches.tcp.reassembly = Reassembly::None;
            switches.http.requests = None;
        }
        // The flow's first data packet decides, a SYN's payload included.
        "flow" => {
            switches.tcp.reassembly = Reassembly::None;
            switches.window.first_data_only = true;
        }
        // The stream in order, from the first data after the handshake, whatever a packet is worth.
        "reasm" => switches.tcp.syn_data = false,
        // The same over packets that a server would take: checksum, ACK flag, no MD5, a TTL that goes on.
        "strict" => {
            switches.tcp.syn_data = false;
            switches.tcp.verify_checksum = true;
            switches.tcp.require_ack_flag = true;
            switches.tcp.reject_md5 = true;
            switches.ip.ttl_floor = 2;
        }
        _ => return None,
    }
    Some(switches)
}

/// Drops the packet that completes one name, and all after it.
#[derive(Debug)]
pub struct NameFilter {
    name: String,
}

impl NameFilter {
    /// For this name.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }
}

impl Technique for NameFilter {
    fn rule(&self) -> &str {
        "name"
    }

    fn mechanism(&self) -> Mechanism {
        Mechanism::parse("http.timeout").expect("a node of the taxonomy")
    }

    fn interest(&self) -> Interest {
        Interest::CLIENT_HELLO | Interest::HTTP_REQUEST | Interest::QUIC_INITIAL
    }

    fn on_event(&mut self, _flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let name = match event {
            Event::ClientHello(hello) => hello.name,
            Event::HttpRequest(request) => request.host,
            Event::QuicInitial(initial) => initial.hello.map_or("", |hello| hello.name),
            _ => return,
        };
        if name == self.name {
            let evidence = Evidence { name: name.to_owned(), ..Evidence::default() };
            decisions.push(Decision::new(Action::DROP, evidence).dropping_this());
        }
    }
}

/// The request of the live runs, disguised by `id`, through one of [`CENSORS`]. The censor stands before
/// the first router, so that packets of TTL 1 pass it and die there.
pub fn run(id: &str, censor: &str) -> Option<Outcome> {
    let request = format!("GET / HTTP/1.1\r\nHost: {BLOCKED}\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n");
    let (client, server) = (end("10.77.1.2", 40_000), end("10.77.2.2", 80));
    let mut talk = Conversation::new(client, server, request.into_bytes(), BLOCKED);
    talk.decoy_ttl = 1;
    talk.rtt = Duration::from_millis(4);
    let sequence = (strategy(id)?.build)(&talk);
    let road = Road { routers: 1, ..Road::new(Instant::from_secs(1_700_000_000)) };
    let mut engine =
        switches(censor).map(|switches| Engine::new(switches, vec![Box::new(NameFilter::new(BLOCKED))]));
    let mut boxes: Vec<Placed<'_>> =
        engine.iter_mut().map(|engine| Placed { hop: 0, middlebox: engine }).collect();
    Some(walk(&talk, &sequence, &mut boxes, &road))
}

/// A row for each tool's run: the cells of all censors at once.
pub(super) fn rows(rows: &mut Rows) {
    let said = Said {
        source: "byedpi, zapret nfqws and curl, run live against four NFQUEUE filters and a Linux server",
        tag: 'M',
        confidence: "high",
        profile: "switches",
    };
    for (tool, id, cells) in CELLS {
        let what = format!("{tool}: as live through {} censors made of switches", CENSORS.len());
        rows.holds(said, &format!("live.{tool}"), &what, move || {
            let got: Vec<Option<bool>> = CENSORS.iter().map(|censor| came_through(id, censor)).collect();
            let same = got.iter().zip(cells).all(|(got, expected)| *got == Some(expected));
            Ok(Observed::new(same, format!("{got:?}")))
        });
    }
}

/// Whether the request came through.
pub fn came_through(id: &str, censor: &str) -> Option<bool> {
    run(id, censor).map(|outcome| outcome.ending == Ending::Through)
}
