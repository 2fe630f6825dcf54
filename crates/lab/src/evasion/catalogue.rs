//! The evasions by name: those that public tools implement, and those that papers measured.
//!
//! Names say what is done, not which tool does it; `tools` says who does. Nothing here decides whether an
//! evasion works: that follows from the box, the path and the acceptance model.

use core::time::Duration;

use okno_wire::build::{IpRepr, TcpRepr};
use okno_wire::packet::{flag, number, tcp_option};

use super::{Conversation, Fragmenting, Manner, Segment, Sequence, Step, find};

/// What a strategy can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carrier {
    /// any first flight over TCP
    Tcp,
    /// any first flight over TCP in IPv6
    Tcp6,
    /// TLS records
    Tls,
    /// an HTTP/1 request
    Http,
    /// any datagram
    Udp,
    /// a QUIC Initial, which the strategy makes itself
    Quic,
}

/// One evasion.
#[derive(Clone, Copy)]
pub struct Strategy {
    /// its name in tables
    pub id: &'static str,
    /// what is done, in a few words
    pub what: &'static str,
    /// who implements or measured it
    pub tools: &'static str,
    /// what it can carry
    pub carrier: Carrier,
    /// the packets
    pub build: fn(&Conversation) -> Sequence,
}

impl Strategy {
    /// Whether it makes a hello of its own instead of changing the one it is given.
    pub fn remakes_hello(&self) -> bool {
        super::tls::HELLOS.iter().any(|strategy| strategy.id == self.id)
    }
}

impl core::fmt::Debug for Strategy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Strategy").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The strategy of this name.
pub fn strategy(id: &str) -> Option<&'static Strategy> {
    strategies().find(|strategy| strategy.id == id)
}

/// All of them.
pub fn strategies() -> impl Iterator<Item = &'static Strategy> {
    SEGMENTS.iter().chain(super::tls::HELLOS).chain(super::quic::INITIALS)
}

pub(super) const fn of(
    carrier: Carrier,
    id: &'static str,
    what: &'static str,
    tools: &'static str,
    build: fn(&Conversation) -> Sequence,
) -> Strategy {
    Strategy { id, what, tools, carrier, build }
}

/// Those that work below the first flight or on its bytes.
const SEGMENTS: &[Strategy] = &[
    of(Carrier::Tcp, "plain", "nothing", "-", plain),
    of(
        Carrier::Tcp,
        "split_name",
        "two segments, cut in the name",
        "zapret multisplit, byedpi -s",
        split_name,
    ),
    of(Carrier::Tcp, "split_first", "two segments, cut after one byte", "zapret, byedpi -s 1", split_first),
    of(Carrier::Tcp, "split_many", "segments of 4 bytes", "SpoofDPI chunk, zapret multisplit", split_many),
    of(Carrier::Tcp, "chunk_2", "segments of 2 bytes, 50 ms apart", "dpi-checkers l4-25", chunk_2),
    of(
        Carrier::Tcp,
        "disorder",
        "two segments, the second first",
        "byedpi -d, GoodbyeDPI --reverse-frag",
        disorder,
    ),
    of(Carrier::Tcp, "multidisorder", "many segments, last first", "zapret multidisorder", multidisorder),
    of(
        Carrier::Tcp,
        "fake_ttl",
        "a decoy first, TTL ends before the server",
        "zapret fake, byedpi -f -t",
        fake_ttl,
    ),
    of(
        Carrier::Tcp,
        "fake_badsum",
        "a decoy first, wrong checksum",
        "GoodbyeDPI --wrong-chksum, zapret badsum",
        fake_badsum,
    ),
    of(
        Carrier::Tcp,
        "fake_badseq",
        "a decoy first, left of the window",
        "zapret badseq, GoodbyeDPI --wrong-seq",
        fake_badseq,
    ),
    of(
        Carrier::Tcp,
        "fake_badack",
        "a decoy first, acknowledging too old data",
        "zapret badseq (ack)",
        fake_badack,
    ),
    of(Carrier::Tcp, "fake_md5", "a decoy first, with an MD5 option", "zapret md5sig, byedpi -S", fake_md5),
    of(Carrier::Tcp, "fake_noack", "a decoy first, without ACK flag", "zapret datanoack", fake_noack),
    of(Carrier::Tcp, "fake_timestamp", "a decoy first, with an old timestamp", "zapret ts", fake_timestamp),
    of(
        Carrier::Tcp,
        "fakedsplit_ttl",
        "split, decoys around the pieces, low TTL",
        "zapret fakedsplit",
        fakedsplit_ttl,
    ),
    of(
        Carrier::Tcp,
        "fakeddisorder_md5",
        "disorder, decoys with MD5 option",
        "zapret fakeddisorder",
        fakeddisorder_md5,
    ),
    of(Carrier::Tcp, "seqovl", "first piece reaches left of the window", "zapret seqovl", seqovl),
    of(
        Carrier::Tcp,
        "seqovl_first",
        "left overlap before the first byte, in two pieces",
        "zapret seqovl",
        seqovl_first,
    ),
    of(
        Carrier::Tcp,
        "overlap_first_wins",
        "second piece overwrites the name with zeros",
        "Ptacek and Newsham 1998",
        overlap_first,
    ),
    of(Carrier::Tcp, "oob", "an urgent byte inside the name", "byedpi -o", oob),
    of(Carrier::Tcp, "disoob", "an urgent byte, second piece first", "byedpi -q", disoob),
    of(Carrier::Tcp, "rst_ttl", "RST first, TTL ends before the server", "zapret rst, Geneva", rst_ttl),
    of(Carrier::Tcp, "rst_badsum", "RST first, wrong checksum", "zapret rst, Geneva", rst_badsum),
    of(
        Carrier::Tcp,
        "rstack_badseq",
        "RST/ACK first, far outside the window",
        "zapret rstack",
        rstack_badseq,
    ),
    of(Carrier::Tcp, "fin_ttl", "FIN first, TTL ends before the server", "Geneva", fin_ttl),
    of(Carrier::Tcp, "ipfrag", "two IP fragments", "zapret ipfrag2", ipfrag),
    of(Carrier::Tcp, "ipfrag_disorder", "two IP fragments, second first", "zapret ipfrag2", ipfrag_disorder),
    of(Carrier::Tcp, "ipfrag_8", "eight IP fragments", "zapret ipfrag", ipfrag_8),
    of(Carrier::Tcp, "ipfrag_45", "45 IP fragments", "IMC'22", ipfrag_45),
    of(Carrier::Tcp, "ipfrag_46", "46 IP fragments", "IMC'22", ipfrag_46),
    of(Carrier::Tcp6, "ipfrag6", "two IPv6 fragments", "zapret ipfrag2", ipfrag),
    of(
        Carrier::Tcp6,
        "ipfrag6_disorder",
        "two IPv6 fragments, second first",
        "zapret ipfrag2",
        ipfrag_disorder,
    ),
    of(Carrier::Tcp6, "ipfrag6_45", "45 IPv6 fragments", "IMC'22", ipfrag_45),
    of(Carrier::Tcp6, "ipfrag6_46", "46 IPv6 fragments", "IMC'22", ipfrag_46),
    of(
        Carrier::Tcp6,
        "hop_by_hop_fake",
        "a decoy behind an IPv6 hop-by-hop header",
        "zapret hopbyhop",
        hop_by_hop_fake,
    ),
    of(
        Carrier::Tcp6,
        "hop_by_hop_twice_fake",
        "a decoy behind two hop-by-hop headers",
        "zapret hopbyhop2",
        hop_by_hop_twice,
    ),
    of(
        Carrier::Tcp6,
        "destination_options",
        "the flight behind IPv6 destination options",
        "zapret destopt",
        destination_options,
    ),
    of(Carrier::Tcp, "syn_data", "a decoy in SYN, which the server ignores", "zapret syndata", syn_data),
    of(
        Carrier::Tcp,
        "syn_data_taken",
        "the flight in SYN, which the server takes",
        "byedpi -F",
        syn_data_taken,
    ),
    of(Carrier::Tcp, "split_handshake", "the server answers SYN with SYN", "IMC'22, Geneva", split_handshake),
    of(Carrier::Tcp, "small_window", "the server advertises a small window", "brdgrd, IMC'22", small_window),
    of(Carrier::Tcp, "mss_clamp", "the server announces MSS 88", "tpws --mss", mss_clamp),
    of(
        Carrier::Tcp,
        "junk_first_ttl",
        "120 scrambled bytes first, TTL ends before the server",
        "IMC'21",
        junk_first_ttl,
    ),
    of(
        Carrier::Tcp,
        "junk_100_first_ttl",
        "100 scrambled bytes first, TTL ends before the server",
        "IMC'21",
        junk_100_first,
    ),
    of(Carrier::Tcp, "retransmission", "the flight twice", "-", retransmission),
    of(Carrier::Tcp, "idle_10_min", "ten minutes of silence before the flight", "IMC'21", idle_first),
    of(Carrier::Tcp, "keepalive_spaced", "the flight in pieces, 20 s apart", "-", spaced),
    of(
        Carrier::Tls,
        "record_split",
        "the hello in two TLS records",
        "tpws --tlsrec, byedpi -r",
        record_split,
    ),
    of(
        Carrier::Tls,
        "record_split_first",
        "the hello in two records, cut after one byte",
        "byedpi -r 1",
        record_split_first,
    ),
    of(
        Carrier::Tls,
        "record_and_tcp_split",
        "two records in two segments",
        "tpws --tlsrec --split-pos",
        record_tcp_split,
    ),
    of(Carrier::Tls, "ccs_first", "a ChangeCipherSpec record before the hello", "IMC'21", ccs_first),
    of(Carrier::Tls, "alert_first", "a warning alert before the hello", "IMC'22", alert_first),
    of(Carrier::Http, "http_host_case", "hoSt instead of Host", "GoodbyeDPI -r, tpws", http_host_case),
    of(Carrier::Http, "http_name_case", "the name in mixed case", "GoodbyeDPI -m, byedpi -M", http_name_case),
    of(Carrier::Http, "http_no_space", "no space after Host:", "GoodbyeDPI -s", http_no_space),
    of(
        Carrier::Http,
        "http_extra_space",
        "a second space after the method",
        "GoodbyeDPI -a",
        http_extra_space,
    ),
    of(
        Carrier::Http,
        "http_leading_lf",
        "a line feed before the request",
        "tpws --methodeol",
        http_leading_lf,
    ),
    of(Carrier::Http, "http_dot", "a dot after the name", "tpws --hostdot", http_dot),
    of(Carrier::Http, "http_tab", "a tab after the name", "tpws --hosttab", http_tab),
    of(
        Carrier::Http,
        "http_second_request",
        "a harmless request first on the connection",
        "Müller et al. 2024",
        http_second,
    ),
    of(
        Carrier::Http,
        "http_mod_hdm",
        "host case, no space and name case at once",
        "byedpi -M hdm",
        http_mod_hdm,
    ),
    of(Carrier::Udp, "udp_plain", "nothing", "-", udp_plain),
    of(
        Carrier::Udp,
        "udp_junk_first",
        "three datagrams of junk first",
        "zapret fake, net4people 108",
        udp_junk_first,
    ),
    of(
        Carrier::Udp,
        "udp_fake_ttl",
        "a decoy of zeros first, TTL ends before the server",
        "zapret fake",
        udp_fake_ttl,
    ),
    of(Carrier::Udp, "udp_ipfrag", "two IP fragments", "zapret ipfrag2", udp_ipfrag),
    of(
        Carrier::Udp,
        "udp_ipfrag_disorder",
        "two IP fragments, second first",
        "zapret ipfrag2",
        udp_ipfrag_disorder,
    ),
];

const NONE: Duration = Duration::ZERO;

fn plain(talk: &Conversation) -> Sequence {
    talk.sequence(&[Segment::data(0, &talk.first)])
}

fn split_name(talk: &Conversation) -> Sequence {
    talk.sequence(&Segment::split(&talk.first, &[talk.middle()]))
}

fn split_first(talk: &Conversation) -> Sequence {
    talk.sequence(&Segment::split(&talk.first, &[1]))
}

fn split_many(talk: &Conversation) -> Sequence {
    talk.sequence(&Segment::chunks(&talk.first, 4))
}

fn chunk_2(talk: &Conversation) -> Sequence {
    let apart = |segment: Segment| segment.with(|segment| segment.gap = Duration::from_millis(50));
    let pieces: Vec<Segment> = Segment::chunks(&talk.first, 2).into_iter().map(apart).collect();
    talk.sequence(&pieces)
}

fn disorder(talk: &Conversation) -> Sequence {
    let mut pieces = Segment::split(&talk.first, &[talk.middle()]);
    pieces.reverse();
    talk.sequence(&pieces)
}

fn multidisorder(talk: &Conversation) -> Sequence {
    let middle = talk.middle();
    let mut pieces = Segment::split(&talk.first, &[1, middle, middle + 4]);
    pieces.reverse();
    talk.sequence(&pieces)
}

/// Bytes of the same length that name something harmless: the letters of the name replaced.
fn decoy(talk: &Conversation) -> Vec<u8> {
    let mut bytes = talk.first.clone();
    if talk.name.is_empty() {
        bytes.fill(0);
    } else {
        for (index, byte) in bytes[talk.name.clone()].iter_mut().enumerate() {
            if *byte != b'.' {
                *byte = b'a' + (index % 26) as u8;
            }
        }
    }
    bytes
}

/// A decoy changed by `change`, then the flight.
fn fake(talk: &Conversation, change: impl FnOnce(&mut Segment)) -> Sequence {
    talk.sequence(&[Segment::data(0, &decoy(talk)).with(change), Segment::data(0, &talk.first)])
}

fn fake_ttl(talk: &Conversation) -> Sequence {
    fake(talk, |segment| segment.ttl = Some(talk.decoy_ttl))
}

fn fake_badsum(talk: &Conversation) -> Sequence {
    fake(talk, |segment| segment.break_checksum = true)
}

fn fake_badseq(talk: &Conversation) -> Sequence {
    fake(talk, |segment| {
        segment.offset = -10_000;
        segment.ack_shift = -66_000;
    })
}

fn fake_badack(talk: &Conversation) -> Sequence {
    fake(talk, |segment| segment.ack_shift = -66_000)
}

/// RFC 2385 §3.0: kind 19, 18 bytes, a digest of a key that the server never agreed on.
fn md5_option() -> Vec<u8> {
    let mut option = vec![tcp_option::MD5, 18];
    option.extend([0x11; 16]);
    option.extend([1, 1]);
    option
}

fn fake_md5(talk: &Conversation) -> Sequence {
    fake(talk, |segment| segment.options = md5_option())
}

fn fake_noack(talk: &Conversation) -> Sequence {
    fake(talk, |segment| segment.flags = flag::PSH)
}

fn fake_timestamp(talk: &Conversation) -> Sequence {
    let mut talk = talk.clone();
    talk.timestamps.get_or_insert(700_000);
    fake(&talk, |segment| segment.timestamp_shift = -600_000)
}

fn fakedsplit(talk: &Conversation, reversed: bool, change: impl Fn(&mut Segment)) -> Sequence {
    let pieces = Segment::split(&talk.first, &[talk.middle()]);
    let mut segments = Vec::new();
    let mut order: Vec<&Segment> = pieces.iter().collect();
    if reversed {
        order.reverse();
    }
    for piece in order {
        let blank = |segment: &mut Segment| {
            segment.payload.fill(0);
            change(segment);
        };
        segments.push(piece.clone().with(blank));
        segments.push(piece.clone());
        segments.push(piece.clone().with(blank));
    }
    talk.sequence(&segments)
}

fn fakedsplit_ttl(talk: &Conversation) -> Sequence {
    fakedsplit(talk, false, |segment| segment.ttl = Some(talk.decoy_ttl))
}

fn fakeddisorder_md5(talk: &Conversation) -> Sequence {
    fakedsplit(talk, true, |segment| segment.options = md5_option())
}

fn seqovl(talk: &Conversation) -> Sequence {
    let mut pieces = Segment::split(&talk.first, &[talk.middle()]);
    reach_left(&mut pieces[0], 20);
    talk.sequence(&pieces)
}

/// Puts `count` zero bytes before the segment, left of what the server expects.
fn reach_left(segment: &mut Segment, count: usize) {
    let mut payload = vec![0; count];
    payload.append(&mut segment.payload);
    segment.payload = payload;
    segment.offset -= count as i64;
}

fn seqovl_first(talk: &Conversation) -> Sequence {
    let mut pieces = Segment::split(&talk.first, &[1]);
    reach_left(&mut pieces[0], 336);
    talk.sequence(&pieces)
}

fn overlap_first(talk: &Conversation) -> Sequence {
    let (middle, end) = (talk.middle(), talk.first.len());
    let reach = (middle + 20).min(end);
    let mut second = talk.first[middle..].to_vec();
    second[..reach - middle].fill(0);
    talk.sequence(&[Segment::data(0, &talk.first[..reach]), Segment::data(middle, &second)])
}

/// The byte before the urgent pointer is out of band and leaves the stream (RFC 6093 §3.1).
fn oob_pieces(talk: &Conversation) -> Vec<Segment> {
    let middle = talk.middle();
    let mut first = talk.first[..middle].to_vec();
    first.push(b'a');
    let urgent = Segment::data(0, &first).with(|segment| {
        segment.flags |= flag::URG;
        segment.urgent = first.len() as u16;
    });
    vec![urgent, Segment::data(middle + 1, &talk.first[middle..])]
}

fn oob(talk: &Conversation) -> Sequence {
    talk.sequence(&oob_pieces(talk))
}

fn disoob(talk: &Conversation) -> Sequence {
    let mut pieces = oob_pieces(talk);
    pieces.reverse();
    talk.sequence(&pieces)
}

/// A bare segment with these flags, changed, then the flight.
fn teardown(talk: &Conversation, flags: u8, change: impl FnOnce(&mut Segment)) -> Sequence {
    let bare = Segment::data(0, &[]).with(|segment| segment.flags = flags).with(change);
    talk.sequence(&[bare, Segment::data(0, &talk.first)])
}

fn rst_ttl(talk: &Conversation) -> Sequence {
    teardown(talk, flag::RST, |segment| segment.ttl = Some(talk.decoy_ttl))
}

fn rst_badsum(talk: &Conversation) -> Sequence {
    teardown(talk, flag::RST, |segment| segment.break_checksum = true)
}

fn rstack_badseq(talk: &Conversation) -> Sequence {
    teardown(talk, flag::RST | flag::ACK, |segment| segment.offset = 899_999)
}

fn fin_ttl(talk: &Conversation) -> Sequence {
    teardown(talk, flag::FIN | flag::ACK, |segment| segment.ttl = Some(talk.decoy_ttl))
}

fn fragmented(talk: &Conversation, count: usize, reversed: bool) -> Sequence {
    let how = Fragmenting { reversed, ..Fragmenting::into_pieces(count) };
    talk.sequence(&[Segment::data(0, &talk.first).with(|segment| segment.fragmenting = Some(how))])
}

fn ipfrag(talk: &Conversation) -> Sequence {
    fragmented(talk, 2, false)
}

fn ipfrag_disorder(talk: &Conversation) -> Sequence {
    fragmented(talk, 2, true)
}

fn ipfrag_8(talk: &Conversation) -> Sequence {
    fragmented(talk, 8, false)
}

fn ipfrag_45(talk: &Conversation) -> Sequence {
    fragmented(talk, 45, false)
}

fn ipfrag_46(talk: &Conversation) -> Sequence {
    fragmented(talk, 46, false)
}

/// An extension header of eight bytes that holds only padding (PadN, RFC 8200 §4.2).
fn padding_header() -> Vec<u8> {
    vec![0, 0, 1, 4, 0, 0, 0, 0]
}

fn hop_by_hop_fake(talk: &Conversation) -> Sequence {
    fake(talk, |segment| segment.extensions = vec![(number::HOP_BY_HOP, padding_header())])
}

fn hop_by_hop_twice(talk: &Conversation) -> Sequence {
    let twice = vec![(number::HOP_BY_HOP, padding_header()); 2];
    fake(talk, |segment| segment.extensions = twice)
}

fn destination_options(talk: &Conversation) -> Sequence {
    let headers = vec![(number::DESTINATION_OPTIONS, padding_header())];
    talk.sequence(&[Segment::data(0, &talk.first).with(|segment| segment.extensions = headers)])
}

fn with_syn_payload(talk: &Conversation, payload: &[u8]) -> Vec<Step> {
    let mut steps = talk.handshake();
    steps[0].packet = talk.syn().emit(&talk.ip(talk.ttl), payload);
    steps
}

fn syn_data(talk: &Conversation) -> Sequence {
    let mut steps = with_syn_payload(talk, &[0; 16]);
    talk.append(&mut steps, &[Segment::data(0, &talk.first)]);
    talk.planned(steps, Manner::Plain, talk.first.len() as u32)
}

fn syn_data_taken(talk: &Conversation) -> Sequence {
    let mut steps = with_syn_payload(talk, &talk.first);
    let bare: TcpRepr = talk.tcp(talk.first.len() as i64, flag::ACK);
    steps[1].packet = bare.emit(&talk.ip(talk.ttl), &[]);
    talk.planned(steps, Manner::DataInSyn, talk.first.len() as u32)
}

/// The server sends SYN instead of SYN/ACK; the client answers SYN/ACK, as simultaneous open asks
/// (RFC 9293 §3.5).
fn split_handshake(talk: &Conversation) -> Sequence {
    let mut steps = talk.handshake();
    let mut answer = talk.tcp(-1, flag::SYN | flag::ACK);
    answer.options = talk.syn().options;
    steps[1].packet = answer.emit(&talk.ip(talk.ttl), &[]);
    let later = Segment::data(0, &talk.first).with(|segment| segment.gap = talk.rtt);
    talk.append(&mut steps, &[later]);
    talk.planned(steps, Manner::SplitHandshake, talk.first.len() as u32)
}

/// Pieces as large as the server lets them be, each after the acknowledgment of the one before.
fn server_cut(talk: &Conversation, size: usize, manner: Manner, gap: Duration) -> Sequence {
    let wait = |segment: Segment| segment.with(|segment| segment.gap = gap);
    let pieces: Vec<Segment> = Segment::chunks(&talk.first, size).into_iter().map(wait).collect();
    Sequence { manner, ..talk.sequence(&pieces) }
}

fn small_window(talk: &Conversation) -> Sequence {
    server_cut(talk, 64, Manner::SmallWindow(64), talk.rtt)
}

fn mss_clamp(talk: &Conversation) -> Sequence {
    server_cut(talk, 88, Manner::SmallMss(88), NONE)
}

/// Bytes that are no protocol: an odd first byte and no order after it.
fn scrambled(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let mut bytes: Vec<u8> = (0..len).map(|_| next()).collect();
    if let Some(first) = bytes.first_mut() {
        *first = 0xe7;
    }
    bytes
}

fn junk(talk: &Conversation, len: usize) -> Sequence {
    let junk = Segment::data(0, &scrambled(len)).with_ttl(talk.decoy_ttl);
    talk.sequence(&[junk, Segment::data(0, &talk.first)])
}

fn junk_first_ttl(talk: &Conversation) -> Sequence {
    junk(talk, 120)
}

fn junk_100_first(talk: &Conversation) -> Sequence {
    junk(talk, 100)
}

fn retransmission(talk: &Conversation) -> Sequence {
    talk.sequence(&[Segment::data(0, &talk.first), Segment::data(0, &talk.first)])
}

fn idle_first(talk: &Conversation) -> Sequence {
    let late = |segment: &mut Segment| segment.gap = Duration::from_secs(605);
    talk.sequence(&[Segment::data(0, &talk.first).with(late)])
}

fn spaced(talk: &Conversation) -> Sequence {
    let cut = talk.middle();
    server_cut(talk, cut.max(1), Manner::Plain, Duration::from_secs(20))
}

/// The handshake message of the first record, cut over two records at `at` bytes of its body.
fn resplit(flight: &[u8], at: usize) -> Vec<u8> {
    let Some((head, rest)) = flight.split_at_checked(5) else { return flight.to_vec() };
    let len = usize::from(u16::from_be_bytes([head[3], head[4]])).min(rest.len());
    let at = at.clamp(1, len.saturating_sub(1).max(1)).min(len);
    let mut out = Vec::with_capacity(flight.len() + 5);
    for part in [&rest[..at], &rest[at..len]] {
        out.extend_from_slice(&head[..3]);
        out.extend_from_slice(&(part.len() as u16).to_be_bytes());
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&rest[len..]);
    out
}

fn record_split(talk: &Conversation) -> Sequence {
    talk.sequence(&[Segment::data(0, &resplit(&talk.first, talk.middle().saturating_sub(5)))])
}

fn record_split_first(talk: &Conversation) -> Sequence {
    talk.sequence(&[Segment::data(0, &resplit(&talk.first, 1))])
}

fn record_tcp_split(talk: &Conversation) -> Sequence {
    let at = talk.middle();
    let flight = resplit(&talk.first, at.saturating_sub(5));
    talk.sequence(&Segment::split(&flight, &[at]))
}

fn before(talk: &Conversation, record: &[u8]) -> Sequence {
    let mut flight = record.to_vec();
    flight.extend_from_slice(&talk.first);
    talk.sequence(&[Segment::data(0, &flight)])
}

/// RFC 8446 §5: a server drops a ChangeCipherSpec of one byte 1 that comes at any time after the first
/// ClientHello; before it, servers differ. The record is as the throttling paper sent it.
fn ccs_first(talk: &Conversation) -> Sequence {
    before(talk, &[20, 3, 1, 0, 1, 1])
}

fn alert_first(talk: &Conversation) -> Sequence {
    before(talk, &[21, 3, 1, 0, 2, 1, 0])
}

/// The request with the first `from` replaced by `to`.
fn replaced(talk: &Conversation, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = talk.first.clone();
    if let Some(at) = find(&bytes, from) {
        bytes.splice(at..at + from.len(), to.iter().copied());
    }
    bytes
}

fn http(talk: &Conversation, flight: &[u8]) -> Sequence {
    talk.sequence(&[Segment::data(0, flight)])
}

fn http_host_case(talk: &Conversation) -> Sequence {
    http(talk, &replaced(talk, b"Host:", b"hoSt:"))
}

/// The name with every second letter in upper case.
fn mixed(talk: &Conversation) -> Vec<u8> {
    let name = &talk.first[talk.name.clone()];
    let upper = |(index, byte): (usize, &u8)| if index % 2 == 1 { byte.to_ascii_uppercase() } else { *byte };
    name.iter().enumerate().map(upper).collect()
}

fn http_name_case(talk: &Conversation) -> Sequence {
    http(talk, &replaced(talk, &talk.first[talk.name.clone()], &mixed(talk)))
}

fn http_no_space(talk: &Conversation) -> Sequence {
    http(talk, &replaced(talk, b"Host: ", b"Host:"))
}

fn http_extra_space(talk: &Conversation) -> Sequence {
    http(talk, &replaced(talk, b"GET ", b"GET  "))
}

/// RFC 9112 §2.2: a server ignores at least one empty line before the request line.
fn http_leading_lf(talk: &Conversation) -> Sequence {
    http(talk, &[b"\n", &talk.first[..]].concat())
}

fn after_name(talk: &Conversation, tail: &[u8]) -> Vec<u8> {
    let name = &talk.first[talk.name.clone()];
    replaced(talk, name, &[name, tail].concat())
}

fn http_dot(talk: &Conversation) -> Sequence {
    http(talk, &after_name(talk, b"."))
}

fn http_tab(talk: &Conversation) -> Sequence {
    http(talk, &after_name(talk, b"\t"))
}

fn http_second(talk: &Conversation) -> Sequence {
    let harmless = b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: keep-alive\r\n\r\n";
    let second = Segment::data(harmless.len(), &talk.first).with(|segment| segment.gap = talk.rtt * 2);
    talk.sequence(&[Segment::data(0, harmless), second])
}

fn http_mod_hdm(talk: &Conversation) -> Sequence {
    let mut changed = talk.clone();
    changed.first = replaced(talk, &talk.first[talk.name.clone()], &mixed(talk));
    http(talk, &replaced(&changed, b"Host: ", b"hOsT:"))
}

fn udp_plain(talk: &Conversation) -> Sequence {
    talk.datagrams(&[(talk.ttl, talk.first.clone())])
}

fn udp_junk_first(talk: &Conversation) -> Sequence {
    let mut all: Vec<(u8, Vec<u8>)> = (0..3).map(|_| (talk.ttl, vec![0; 64])).collect();
    all.push((talk.ttl, talk.first.clone()));
    talk.datagrams(&all)
}

fn udp_fake_ttl(talk: &Conversation) -> Sequence {
    talk.datagrams(&[(talk.decoy_ttl, vec![0; 64]), (talk.ttl, talk.first.clone())])
}

pub(super) fn udp_fragmented(talk: &Conversation, reversed: bool) -> Sequence {
    let ip: IpRepr = talk.ip(talk.ttl);
    let datagram = okno_wire::build::udp_segment(&ip, talk.client.port, talk.server.port, &talk.first);
    let how = Fragmenting { reversed, ..Fragmenting::into_pieces(2) };
    let pieces = how.cut(&ip, number::UDP, &datagram);
    let step = |(index, packet)| Step { at: Duration::from_micros(index as u64 * 100), packet };
    talk.planned(pieces.into_iter().enumerate().map(step).collect(), Manner::Plain, 0)
}

fn udp_ipfrag(talk: &Conversation) -> Sequence {
    udp_fragmented(talk, false)
}

fn udp_ipfrag_disorder(talk: &Conversation) -> Sequence {
    udp_fragmented(talk, true)
}
