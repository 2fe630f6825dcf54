//! What the engines of the field disagree on, as one piece of data.
//!
//! No two engines make the same of the same packets: each combination of these switches is a different
//! censor. The defaults are those of the TSPU as measured in 2022 (Xue et al., IMC 2022,
//! https://ensa.fi/papers/tspu-imc22.pdf), where a source says so; other defaults are the plainest reading
//! and say so. Times are in seconds, sizes in bytes, `null`-able limits are absent when there is none.

use serde::{Deserialize, Serialize};

/// Everything an engine can be told about how to look.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// whose flows are inspected
    pub initiator: Initiator,
    /// IP header and extension headers
    pub ip: IpSwitches,
    /// fragment queue
    pub fragments: FragmentSwitches,
    /// TCP tracking and reassembly
    pub tcp: TcpSwitches,
    /// UDP
    pub udp: UdpSwitches,
    /// how long a flow is looked at
    pub window: WindowSwitches,
    /// TLS
    pub tls: TlsSwitches,
    /// QUIC
    pub quic: QuicSwitches,
    /// HTTP/1
    pub http: HttpSwitches,
    /// DNS
    pub dns: DnsSwitches,
    /// what is done to names before they are compared
    pub names: NameSwitches,
    /// when idle flows are forgotten
    pub timeouts: Timeouts,
    /// limits of memory
    pub limits: Limits,
}

/// Whose flows are inspected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Initiator {
    /// those that the subscriber opened: first packet from inside (tag P high, IMC'22 and IMC'21)
    #[default]
    Subscriber,
    /// all
    Either,
}

/// IP header and extension headers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct IpSwitches {
    /// IPv6 packets are looked at; field reports say that often they are not (Feb 2026, tag F low)
    pub v6: bool,
    /// extension headers are walked to the transport; otherwise a packet that has any is not inspected
    pub v6_extensions: bool,
    /// packets with a wrong IPv4 header checksum are ignored
    pub verify_checksum: bool,
    /// packets with a TTL below this are ignored: they would not reach the server
    pub ttl_floor: u8,
}

impl Default for IpSwitches {
    fn default() -> Self {
        Self { v6: true, v6_extensions: true, verify_checksum: false, ttl_floor: 0 }
    }
}

/// What becomes of fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Defragmentation {
    /// they pass; the first is looked at as a packet of its own, later ones have no ports
    InspectFirst,
    /// they pass and are not looked at
    Ignore,
    /// held until all are there, then looked at as one packet
    #[default]
    Hold,
    /// held until all are there, then forwarded unread: a hello in fragments passes (tag P, IMC'22), though
    /// what is installed on its flow or address still takes it
    HoldUnread,
}

/// Which bytes win where fragments overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FragmentOverlap {
    /// those that came first
    First,
    /// those that came last
    Last,
    /// an overlap discards the whole packet (RFC 5722 for IPv6, Linux since 4.20 for both); a fragment that
    /// repeats another exactly is ignored. IMC'22 says the TSPU discards where Linux does not (tag R low).
    #[default]
    Discard,
}

/// Fragment queue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FragmentSwitches {
    /// what becomes of fragments
    pub mode: Defragmentation,
    /// fragments of one packet; one more and the packet is discarded (tag P high, IMC'22: 45; Linux: 64)
    pub max_fragments: u16,
    /// overlapping bytes
    pub overlap: FragmentOverlap,
    /// a packet whose fragments do not all come in this time is discarded; not measured, 30 s is RFC 791's
    /// upper bound in spirit and Linux's default
    pub timeout_s: u32,
    /// forward the fragments as they came, not the joined packet (tag P high, IMC'22)
    pub forward_fragments: bool,
    /// TTL of the fragment at offset 0 is copied into all others (tag P high, IMC'22)
    pub copy_ttl_of_first: bool,
    /// bytes of all held fragments; beyond it the oldest packet is discarded
    pub max_bytes: usize,
}

impl Default for FragmentSwitches {
    fn default() -> Self {
        Self {
            mode: Defragmentation::Hold,
            max_fragments: 45,
            overlap: FragmentOverlap::Discard,
            timeout_s: 30,
            forward_fragments: true,
            copy_ttl_of_first: true,
            max_bytes: 8 << 20,
        }
    }
}

/// TCP reassembly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reassembly {
    /// each segment is looked at by itself (tag P high, IMC'21 and IMC'22)
    #[default]
    None,
    /// segments in the order of arrival are joined, whatever their sequence numbers
    Arrival,
    /// segments in sequence are joined; what is out of order is treated as `gap` says
    InOrder,
    /// out-of-order segments wait for the gap to fill
    Queue,
}

/// What a segment beyond a gap does, without a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// it is left out; the stream goes on when the missing segment comes
    #[default]
    Ignore,
    /// the flow is given up
    GiveUp,
    /// the gap is stepped over
    Skip,
}

/// Which bytes win where TCP segments overlap. Bytes already looked at stay in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// those that came first
    #[default]
    First,
    /// those that came last
    Last,
    /// as BSD: first, unless the new segment begins before the old
    Bsd,
    /// as Linux: first, unless the new segment begins before the old, or with it and is longer
    Linux,
}

/// Where a way's stream begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamBase {
    /// after its SYN, when that was seen
    #[default]
    Syn,
    /// at the first segment with data, whatever its number
    FirstData,
}

/// What becomes of a segment that begins before the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOfStream {
    /// the part before the stream is cut off, as a receiver does (RFC 9293 §3.10.7.4)
    #[default]
    Cut,
    /// the whole segment is ignored
    Ignore,
}

/// Whether RST and FIN end a flow for the box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Teardown {
    /// no (tag P, IMC'21: FIN and RST do not clear the state)
    #[default]
    Ignore,
    /// yes, whatever the sequence number
    Any,
    /// when the sequence number is what the receiver expects, or within its window
    InWindow,
}

/// What becomes of the urgent byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgent {
    /// it is data like any other
    #[default]
    Inline,
    /// it is taken out, as a server does that does not ask for it inline
    Skip,
    /// a segment with URG is ignored
    IgnoreSegment,
}

/// What another SYN of the opening side does to a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondSyn {
    /// a new connection begins when the old was seen to end, or was idle beyond its time
    #[default]
    AfterClose,
    /// a new connection begins whenever the sequence number differs
    Always,
    /// it is ignored as long as the flow is known
    Never,
}

/// TCP tracking and reassembly.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TcpSwitches {
    /// packets with a wrong checksum are ignored
    pub verify_checksum: bool,
    /// data segments without the ACK flag are ignored
    pub require_ack_flag: bool,
    /// segments with an MD5 option (RFC 2385) are ignored
    pub reject_md5: bool,
    /// data outside the window that the receiver announced is ignored
    pub check_window: bool,
    /// flows without SYN are inspected (tag V medium: "permit invalid flow" is always on)
    pub midstream: bool,
    /// packets before SYN, SYN/ACK and ACK were seen are not inspected
    pub require_handshake: bool,
    /// flows are inspected even when the other way is never seen
    pub one_way: bool,
    /// a SYN of the far side inside a flow that the near side opened disarms it (tag P high, IMC'22: split
    /// handshake, simultaneous open)
    pub remote_syn_disarms: bool,
    /// another SYN of the opening side
    pub second_syn: SecondSyn,
    /// data of a SYN is part of the stream
    pub syn_data: bool,
    /// RST
    pub rst: Teardown,
    /// FIN
    pub fin: Teardown,
    /// urgent byte
    pub urgent: Urgent,
    /// reassembly
    pub reassembly: Reassembly,
    /// segments beyond a gap, when there is no queue
    pub gap: Gap,
    /// overlapping bytes
    pub overlap: Overlap,
    /// where the stream begins
    pub stream_base: StreamBase,
    /// segments that begin before the stream
    pub left_of_stream: LeftOfStream,
    /// a segment that overlaps what is there already is ignored whole
    pub exact_next: bool,
    /// a segment without data moves the expected number, too, where gaps are stepped over (a RST ahead of
    /// the stream then hides the data that comes after it)
    pub control_moves: bool,
    /// segments that wait beyond a gap, per way
    pub queue_segments: u16,
    /// bytes that wait beyond a gap, per way
    pub queue_bytes: u32,
    /// a full queue gives the flow up; otherwise what does not fit is left out
    pub full_queue_gives_up: bool,
}

impl Default for TcpSwitches {
    fn default() -> Self {
        Self {
            verify_checksum: false,
            require_ack_flag: false,
            reject_md5: false,
            check_window: false,
            midstream: true,
            require_handshake: false,
            one_way: true,
            remote_syn_disarms: true,
            second_syn: SecondSyn::AfterClose,
            syn_data: true,
            rst: Teardown::Ignore,
            fin: Teardown::Ignore,
            urgent: Urgent::Inline,
            reassembly: Reassembly::None,
            gap: Gap::Ignore,
            overlap: Overlap::First,
            stream_base: StreamBase::Syn,
            left_of_stream: LeftOfStream::Cut,
            exact_next: false,
            control_moves: false,
            queue_segments: 64,
            queue_bytes: 64 << 10,
            full_queue_gives_up: true,
        }
    }
}

/// UDP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct UdpSwitches {
    /// packets with a wrong checksum are ignored
    pub verify_checksum: bool,
}

/// How long a flow is looked at. The first limit that is reached ends it; absent or 0 is no limit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowSwitches {
    /// packets of the flow, both ways counted
    pub packets: Option<u32>,
    /// packets with payload, both ways counted
    pub data_packets: Option<u32>,
    /// stream bytes of each way; also the cap of what is kept
    pub bytes: u32,
    /// seconds since the flow was opened
    pub seconds: Option<u32>,
    /// only the first packet with payload of each way is looked at
    pub first_data_only: bool,
    /// a first data packet of this size or more that is no protocol known ends the inspection (tag P, IMC'21:
    /// 101 bytes)
    pub junk_first_min: Option<u32>,
    /// after a first data packet that is a known protocol so many data packets more, as (least, most); the
    /// number is drawn per flow (IMC'21: 15–20 in the authors' post, 3–15 in the paper as quoted; disputed)
    pub budget_after_first: Option<(u32, u32)>,
}

impl Default for WindowSwitches {
    fn default() -> Self {
        Self {
            packets: None,
            data_packets: Some(24),
            bytes: 16 << 10,
            seconds: None,
            first_data_only: false,
            junk_first_min: None,
            budget_after_first: None,
        }
    }
}

/// How TLS records are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Records {
    /// the ClientHello has to stand whole in the first record (tag P, IMC'21 and IMC'22)
    #[default]
    First,
    /// records of one segment are joined, those of several are not (FOCI'25 as digested, tag K medium: a
    /// split over records alone is seen, together with a split over segments it is not)
    SameSegment,
    /// records are joined over segments, too
    Join,
}

/// When a ClientHello that is not whole yet is read all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartialHello {
    /// never: the record has to fit into what is there (tag P, IMC'21)
    #[default]
    Never,
    /// as soon as the server name is whole
    NameWhole,
    /// even a server name that is cut counts as far as it goes
    NameCut,
}

/// TLS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSwitches {
    /// TLS over TCP is looked for
    pub enabled: bool,
    /// server ports that are inspected; empty is all (443 for the TSPU is tag R medium, IMC'22)
    pub ports: Vec<u16>,
    /// joining of records
    pub records: Records,
    /// hellos that are not whole
    pub partial: PartialHello,
    /// records of another type before the ClientHello are stepped over; otherwise they hide it (tag P, IMC'21
    /// and IMC'22: an extra record, CCS, first)
    pub skip_other_records: bool,
    /// a ClientHello with a padding extension of this many bytes or more is not parsed (before Jan 2024
    /// padding beyond one MSS passed; since 14 Jan 2024 it is skipped, tag F medium, net4people #65)
    pub blind_from_padding: Option<u32>,
    /// another ClientHello after the first is read, too; otherwise the first decides the flow
    pub later_hellos: bool,
    /// a stream whose first segment is shorter than this is given up
    pub first_segment_min: u32,
    /// the first record has to hold the handshake message's 4-byte header whole
    pub whole_handshake_header: bool,
    /// a hello that repeats an extension is refused (RFC 8446 §4.2 forbids it)
    pub strict: bool,
}

impl Default for TlsSwitches {
    fn default() -> Self {
        Self {
            enabled: true,
            ports: Vec::new(),
            records: Records::First,
            partial: PartialHello::Never,
            skip_other_records: false,
            blind_from_padding: None,
            later_hellos: true,
            first_segment_min: 0,
            whole_handshake_header: false,
            strict: false,
        }
    }
}

/// How far CRYPTO frames of QUIC Initials are put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Crypto {
    /// Initials are not decrypted
    None,
    /// within one datagram
    Datagram,
    /// over the datagrams of the flow
    #[default]
    Flow,
}

/// When the keys of QUIC Initials are derived anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QuicRekey {
    /// never: the flow's first connection id is the only one
    Never,
    /// after a Retry of the server (RFC 9001 §5.2)
    AfterRetry,
    /// whenever an Initial opens with its own connection id: a decoy before it hides nothing
    #[default]
    Any,
}

/// QUIC.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuicSwitches {
    /// server ports that are inspected; empty is all (2022: 443; 2026: most, FOCI'26 as digested tag S)
    pub ports: Vec<u16>,
    /// versions that are decrypted; empty is all known. Version 1 alone: tag S, FOCI'26; v2 untouched
    pub versions: Vec<u32>,
    /// CRYPTO reassembly
    pub crypto: Crypto,
    /// keys
    pub rekey: QuicRekey,
    /// hellos that are not whole
    pub partial: PartialHello,
    /// only the flow's first datagram is looked at
    pub first_datagram_only: bool,
    /// datagrams that are no QUIC Initial until the flow is given up; absent is never. 2022: three dummy
    /// datagrams first hid what followed (tag F, net4people #108)
    pub junk_until_give_up: Option<u32>,
    /// after one Initial whose hello was read, later ones of the flow are read, too
    pub later_hellos: bool,
}

impl Default for QuicSwitches {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            versions: Vec::new(),
            crypto: Crypto::Flow,
            rekey: QuicRekey::Any,
            partial: PartialHello::Never,
            first_datagram_only: false,
            junk_until_give_up: None,
            later_hellos: true,
        }
    }
}

/// HTTP/1: what a lenient server takes and a strict parser does not.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSwitches {
    /// HTTP is looked for
    pub enabled: bool,
    /// server ports that are inspected; empty is all
    pub ports: Vec<u16>,
    /// the header's name is matched in any case (`hoSt:`)
    pub any_case: bool,
    /// a header without the space after its colon is read
    pub missing_space: bool,
    /// lines that end in LF alone are read
    pub bare_lf: bool,
    /// empty lines before the request are stepped over (RFC 9112 §2.2)
    pub leading_lines: bool,
    /// the host is put into lower case, where names are
    pub lower_case: bool,
    /// requests are read from the joined stream; otherwise from one segment by itself
    pub joined: bool,
    /// the head has to be whole in what is there; otherwise a whole Host line is enough
    pub whole_head: bool,
    /// requests of the flow that are read; absent is all. 1: AS50867 read only the first (tag K, 2024)
    pub requests: Option<u32>,
}

impl Default for HttpSwitches {
    fn default() -> Self {
        Self {
            enabled: true,
            ports: Vec::new(),
            any_case: true,
            missing_space: true,
            bare_lf: true,
            leading_lines: true,
            lower_case: true,
            joined: true,
            whole_head: false,
            requests: Some(1),
        }
    }
}

/// DNS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsSwitches {
    /// server ports that are inspected; empty is all
    pub ports: Vec<u16>,
    /// queries over TCP are read, too
    pub tcp: bool,
}

impl Default for DnsSwitches {
    fn default() -> Self {
        Self { ports: vec![53], tcp: true }
    }
}

/// What is done to names before they are compared.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NameSwitches {
    /// put into lower case
    pub lower_case: bool,
    /// trailing dots are cut; not in 2021 (IMC'21: a trailing dot evaded, tag P)
    pub cut_trailing_dot: bool,
}

impl Default for NameSwitches {
    fn default() -> Self {
        Self { lower_case: true, cut_trailing_dot: true }
    }
}

/// When idle flows are forgotten, in seconds of packet time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// SYN seen (tag R medium, IMC'22)
    pub syn_sent_s: u32,
    /// SYN/ACK seen (tag R medium, IMC'22)
    pub syn_received_s: u32,
    /// established (tag R medium, IMC'22)
    pub established_s: u32,
    /// ended by a FIN or RST that the switches accept; not measured
    pub closed_s: u32,
    /// UDP and everything else; not measured
    pub udp_s: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { syn_sent_s: 60, syn_received_s: 105, established_s: 480, closed_s: 10, udp_s: 480 }
    }
}

/// Limits of memory. What does not fit goes, the oldest first, and is counted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// flows
    pub flows: u32,
    /// bytes of streams under inspection, all flows together
    pub stream_bytes: usize,
    /// entries of the residual store
    pub residuals: u32,
    /// packets that wait for their time (delay and shaping), in bytes
    pub waiting_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { flows: 500_000, stream_bytes: 64 << 20, residuals: 200_000, waiting_bytes: 32 << 20 }
    }
}

impl Switches {
    /// Reads switches from TOML. The error names line and column and what was expected.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// A name without trailing dots, where they are cut.
    pub(crate) fn cut_dot<'a>(&self, raw: &'a str) -> &'a str {
        if self.names.cut_trailing_dot { raw.trim_end_matches('.') } else { raw }
    }

    /// A name as this engine compares it.
    pub fn normalise(&self, raw: &str) -> String {
        let name = self.cut_dot(raw);
        if self.names.lower_case { name.to_ascii_lowercase() } else { name.to_owned() }
    }
}

/// Whether `port` is among `ports`, or all are.
pub(crate) fn port_is_in(ports: &[u16], port: u16) -> bool {
    ports.is_empty() || ports.contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default_and_each_table_changes_only_what_it_names() {
        assert_eq!(Switches::from_toml("").expect("empty"), Switches::default());
        let text = "[tcp]\nreassembly = \"queue\"\n[window]\nbudget_after_first = [3, 20]\n";
        let mut expected = Switches::default();
        expected.tcp.reassembly = Reassembly::Queue;
        expected.window.budget_after_first = Some((3, 20));
        assert_eq!(Switches::from_toml(text).expect("two switches"), expected);
    }

    #[test]
    fn a_misspelt_switch_is_an_error_that_names_its_place() {
        let error = Switches::from_toml("[tcp]\nreasembly = \"none\"\n").expect_err("no such switch");
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn the_documented_defaults_of_the_tspu_stand() {
        let switches = Switches::default();
        assert_eq!(switches.fragments.max_fragments, 45);
        let timeouts = &switches.timeouts;
        assert_eq!((timeouts.syn_sent_s, timeouts.syn_received_s, timeouts.established_s), (60, 105, 480));
        assert_eq!(switches.initiator, Initiator::Subscriber);
        assert!(switches.tcp.remote_syn_disarms && switches.fragments.copy_ttl_of_first);
    }

    #[test]
    fn names_are_compared_as_the_switches_say() {
        let mut switches = Switches::default();
        assert_eq!(switches.normalise("WWW.Example.com."), "www.example.com");
        switches.names = NameSwitches { lower_case: false, cut_trailing_dot: false };
        assert_eq!(switches.normalise("WWW.Example.com."), "WWW.Example.com.");
    }
}
