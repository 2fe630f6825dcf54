//! UDP: which message a datagram holds, and what the flow's datagrams are together.
//!
//! The first byte chooses the few formats worth trying. What one datagram cannot prove (media, data of a
//! tunnel whose handshake was not seen) is held in [`Watch`], which is allocated on the first such datagram.

use super::{News, Ports, Recogniser, Side, named, plain, quic};
use crate::protocol::{Certainty, Protocol, Recognition};
use crate::{bittorrent, dtls, ike, l2tp, mtproto, openvpn, rtp, sip, stun, wireguard};

/// Ports of STUN and TURN (RFC 8489 §18.6, and the neighbours that servers add).
const STUN_PORTS: [u16; 6] = [3478, 3479, 3480, 3481, 5349, 19302];
/// Datagrams after which a flow that told nothing is given up.
const GIVE_UP: u16 = 24;
/// Datagrams of other kinds after which media is no longer told: callers punch holes with a few.
const MAX_OTHER: u8 = 3;
/// Datagrams for which a flow of STUN is watched for the DTLS that may follow.
const AFTER_STUN: u16 = 64;

/// What is remembered of a flow between datagrams.
#[derive(Debug, Default)]
pub(super) struct State {
    watch: Option<Box<Watch>>,
    /// datagrams that can be no media; here, since most flows that tell nothing need no more
    other: u8,
}

impl State {
    /// Bytes on the heap.
    pub(super) fn held_bytes(&self) -> usize {
        self.watch
            .as_ref()
            .map_or(0, |watch| size_of::<Watch>() + watch.quic.held_bytes() + watch.dtls.held_bytes())
    }
}

/// The last message of each kind that proves something only together with the next; by side.
#[derive(Debug, Default)]
struct Watch {
    media: [rtp::Track; 2],
    wireguard: [Option<wireguard::Message>; 2],
    openvpn: [Option<u64>; 2],
    utp: [Option<bittorrent::Utp>; 2],
    esp: [Option<ike::Esp>; 2],
    channel: [Option<u16>; 2],
    dtls: named::Dtls,
    quic: quic::Flow,
    short: [quic::Short; 2],
    keepalives: u8,
}

/// Short names for a side's place in [`Watch`].
const fn place(side: Side) -> (usize, usize) {
    match side {
        Side::Initiator => (0, 1),
        Side::Responder => (1, 0),
    }
}

/// One look.
pub(super) fn look(
    recogniser: &mut Recogniser,
    side: Side,
    payload: &[u8],
    ports: Ports,
) -> Option<Recognition> {
    let news = match recogniser.told {
        None => first(&mut recogniser.datagrams, side, payload, ports),
        Some(Protocol::Quic) => quic_more(&mut recogniser.datagrams, side, payload),
        Some(Protocol::Stun) => after_stun(&mut recogniser.datagrams, payload),
        Some(Protocol::Dtls) => dtls_more(&mut recogniser.datagrams, payload),
        Some(Protocol::Esp) => natted(&mut recogniser.datagrams, side, payload).unwrap_or(News::Nothing),
        Some(_) => News::Final(None),
    };
    let limit = if recogniser.told == Some(Protocol::Stun) { AFTER_STUN } else { GIVE_UP };
    match news {
        News::Final(recognition) => {
            recogniser.finish();
            recognition
        }
        News::Told(recognition) => Some(recognition),
        News::Nothing => {
            if recogniser.looks >= limit {
                recogniser.finish();
            }
            None
        }
    }
}

/// A flow of which nothing is known.
fn first(state: &mut State, side: Side, payload: &[u8], ports: Ports) -> News {
    let Some(&byte) = payload.first() else { return News::Nothing };
    if let Some(news) = elsewhere(payload) {
        return news;
    }
    if let Some(news) = by_name(payload, ports) {
        return news;
    }
    if ports.has(ike::NAT_PORT)
        && let Some(news) = natted(state, side, payload)
    {
        return news;
    }
    let news = match byte {
        0x00..=0x03 => stun_first(payload, ports).or_else(|| wireguard_first(state, side, payload)),
        0x04 => wireguard_first(state, side, payload),
        // NTP's control messages (RFC 9327 §2) look like DTLS before its version 1.0.
        20..=25 if !ports.has(123) || payload.get(1) == Some(&0xfe) => dtls_first(state, payload),
        b'd' => bittorrent::dht(payload)
            .is_ok()
            .then(|| News::done(plain(Protocol::BitTorrent, "dht", Certainty::Parsed))),
        b'A'..=b'Z' => text(payload),
        0x80..=0xbf => media(state, side, payload),
        0xc8 => l2tp_first(payload, ports),
        _ => None,
    };
    news.or_else(|| quic_first(state, side, payload, ports))
        .or_else(|| openvpn_first(state, side, payload))
        .or_else(|| utp(state, side, payload))
        .or_else(|| ike_first(payload, ports))
        .or_else(|| channel(state, side, payload, ports))
        .or_else(|| quic_short(state, side, payload, ports))
        .or_else(|| esp_first(payload, ports))
        .unwrap_or_else(|| {
            if byte >> 6 != 2 && payload.len() > 12 {
                state.other = state.other.saturating_add(1);
            }
            News::Nothing
        })
}

/// Flows of a neighbour whose later packets look like ours.
fn elsewhere(payload: &[u8]) -> Option<News> {
    // Discord's address discovery (type 1, length 70) and keepalive: the media after them is Discord's
    // (https://discord.com/developers/docs/topics/voice-connections).
    let discovery = payload.len() == 74 && payload.starts_with(&[0, 1, 0, 70]);
    let keepalive = payload.len() == 8 && payload.starts_with(&[0x13, 0x37, 0xca, 0xfe]);
    (discovery || keepalive).then_some(News::Final(None))
}

/// DNS, where it lives; and trackers, peers and calls that have a message of fixed bytes.
fn by_name(payload: &[u8], ports: Ports) -> Option<News> {
    // Names on the local link have DNS's format and are other protocols: mDNS (RFC 6762), LLMNR (RFC 4795),
    // NetBIOS (RFC 1002).
    let local = [5353, 5355, 137, 138].iter().any(|&port| ports.has(port));
    if let Some(recognition) = named::dns(payload, ports).filter(|_| !local || ports.has(53)) {
        return Some(News::done(recognition));
    }
    if bittorrent::is_tracker_connect(payload) {
        return Some(News::done(plain(Protocol::BitTorrent, "tracker", Certainty::Parsed)));
    }
    mtproto::is_relay(payload).then(|| News::done(plain(Protocol::MtProto, "call relay", Certainty::Pattern)))
}

/// Messages of text: SIP, and the peers' announcements.
fn text(payload: &[u8]) -> Option<News> {
    if bittorrent::is_local_discovery(payload) {
        return Some(News::done(plain(Protocol::BitTorrent, "local discovery", Certainty::Parsed)));
    }
    sip_of(payload).map(News::done)
}

/// A SIP message's recognition: whom it is for is its name. A damaged head is still SIP by its first words.
pub(super) fn sip_of(payload: &[u8]) -> Option<Recognition> {
    let Ok(message) = sip::Message::parse(payload) else {
        return sip::looks_like_sip(payload).then(|| plain(Protocol::Sip, "2.0", Certainty::Pattern));
    };
    let name = message.host().to_owned();
    Some(Recognition { name, ..plain(Protocol::Sip, "2.0", Certainty::Parsed) })
}

/// STUN with its cookie, or a message of RFC 3489 that fills the datagram.
fn stun_of(payload: &[u8], ports: Ports) -> Option<Recognition> {
    let message = stun::Message::parse(payload).ok()?;
    if message.has_cookie() {
        let version = if message.is_turn() { "turn" } else { "stun" };
        return Some(plain(Protocol::Stun, version, Certainty::Parsed));
    }
    let whole = message.size() == payload.len();
    // On STUN's ports attributes of anyone's making will do; elsewhere a request has to have some.
    let at_home = STUN_PORTS.iter().any(|&port| ports.has(port));
    let classic =
        message.is_classic() || (at_home && message.method() == 1 && message.attributes().count() > 0);
    (whole && classic).then(|| plain(Protocol::Stun, "classic", Certainty::Pattern))
}

fn stun_first(payload: &[u8], ports: Ports) -> Option<News> {
    stun_of(payload, ports).map(News::Told)
}

/// After STUN: DTLS is more specific. Media does not rename the flow.
fn after_stun(state: &mut State, payload: &[u8]) -> News {
    dtls_first(state, payload).unwrap_or(News::Nothing)
}

/// DTLS: news until a client's hello was seen.
fn dtls_first(state: &mut State, payload: &[u8]) -> Option<News> {
    if !dtls::looks_like_dtls(payload) {
        return None;
    }
    state.watch.get_or_insert_default().dtls.take(payload, true)
}

fn dtls_more(state: &mut State, payload: &[u8]) -> News {
    state.watch.get_or_insert_default().dtls.take(payload, false).unwrap_or(News::Nothing)
}

fn quic_first(state: &mut State, side: Side, payload: &[u8], ports: Ports) -> Option<News> {
    if ports.has(443) && quic::is_google_reject(payload) {
        return Some(News::done(plain(Protocol::Quic, "google", Certainty::Pattern)));
    }
    if !quic::may_be(payload) {
        return None;
    }
    let watch = state.watch.get_or_insert_default();
    watch.quic.take(side, payload)
}

fn quic_more(state: &mut State, side: Side, payload: &[u8]) -> News {
    let watch = state.watch.get_or_insert_default();
    match watch.quic.take(side, payload) {
        Some(News::Final(news)) => News::Final(news),
        _ => News::Nothing,
    }
}

/// QUIC met in its middle: short headers alone, on its port.
fn quic_short(state: &mut State, side: Side, payload: &[u8], ports: Ports) -> Option<News> {
    if payload[0] >> 6 != 1 || !ports.has(443) {
        return None;
    }
    let (mine, _) = place(side);
    let run = state.watch.get_or_insert_default().short[mine].take(payload);
    run.then(|| News::done(plain(Protocol::Quic, "", Certainty::Heuristic)))
}

/// WireGuard: a handshake message stands for itself; data needs a successor of the same session.
fn wireguard_first(state: &mut State, side: Side, payload: &[u8]) -> Option<News> {
    let message = wireguard::Message::parse(payload).ok()?;
    if message.reserved != [0; 3] {
        return None;
    }
    let told = |certainty| Some(News::done(plain(Protocol::WireGuard, "", certainty)));
    match message.kind {
        wireguard::Kind::Initiation { sender } if sender != 0 => told(Certainty::Parsed),
        wireguard::Kind::Response { sender, receiver } if sender != receiver && receiver != 0 => {
            told(Certainty::Parsed)
        }
        wireguard::Kind::Data { receiver, counter, .. } if receiver != 0 && counter < 1 << 48 => {
            let (mine, _) = place(side);
            let last = state.watch.get_or_insert_default().wireguard[mine].replace(message)?;
            let wireguard::Kind::Data { receiver: before, counter: count, .. } = last.kind else {
                return None;
            };
            (before == receiver && counter.wrapping_sub(count).wrapping_sub(1) < 1024)
                .then(|| News::done(plain(Protocol::WireGuard, "", Certainty::Pattern)))
        }
        _ => None,
    }
}

/// OpenVPN: a hard reset whose fields fit a mode, or the answer to one.
fn openvpn_first(state: &mut State, side: Side, payload: &[u8]) -> Option<News> {
    let recognition = openvpn_of(payload)?;
    if recognition.certainty > Certainty::Heuristic {
        return Some(News::done(recognition));
    }
    // Too little structure alone: the other side must answer in kind.
    let (mine, other) = place(side);
    let watch = state.watch.get_or_insert_default();
    watch.openvpn[mine] = openvpn::Packet::parse(payload).ok()?.session();
    let answered = watch.openvpn[other].is_some_and(|session| Some(session) != watch.openvpn[mine]);
    answered.then(|| News::done(Recognition { certainty: Certainty::Pattern, ..recognition }))
}

/// A hard reset's recognition; of tls-crypt, where only sizes and a small number fit, as a heuristic.
pub(super) fn openvpn_of(packet: &[u8]) -> Option<Recognition> {
    if !matches!(packet.first()? >> 3, 1 | 2 | 7 | 8 | 10) {
        return None;
    }
    let packet = openvpn::Packet::parse(packet).ok()?;
    let wrap = packet.wrap()?;
    let certainty = match wrap {
        openvpn::Wrap::Crypt if packet.opcode.is_server_reset() => Certainty::Heuristic,
        _ => Certainty::Pattern,
    };
    Some(plain(Protocol::OpenVpn, wrap.as_str(), certainty))
}

/// uTP: a connection's opening, the peers' handshake inside, or two sides that acknowledge each other.
fn utp(state: &mut State, side: Side, payload: &[u8]) -> Option<News> {
    if !matches!(payload.first()?, 0x01 | 0x11 | 0x21 | 0x31 | 0x41) {
        return None;
    }
    let header = bittorrent::Utp::parse(payload).ok()?;
    let told = |certainty| Some(News::done(plain(Protocol::BitTorrent, "utp", certainty)));
    if payload[header.payload_at..].starts_with(bittorrent::HANDSHAKE) {
        return told(Certainty::Parsed);
    }
    if header.is_syn() {
        return told(Certainty::Pattern);
    }
    let (mine, other) = place(side);
    let watch = state.watch.get_or_insert_default();
    watch.utp[mine] = Some(header);
    let answers = watch.utp[other].is_some_and(|before| {
        let clocks = header.timestamp != 0 && before.timestamp != 0;
        let counts = header.acknowledged != 0 && header.sequence != 0;
        header.connection != before.connection && header.answers(&before) && clocks && counts
    });
    if answers { told(Certainty::Pattern) } else { None }
}

/// RTCP by its lengths; RTP by a run of packets.
fn media(state: &mut State, side: Side, payload: &[u8]) -> Option<News> {
    let control = rtp::control(payload, false)
        .is_ok_and(|packets| packets.len() > 1 || matches!(packets[0].kind, 200 | 201));
    if control {
        return Some(News::done(plain(Protocol::Rtp, "rtcp", Certainty::Pattern)));
    }
    let (mine, _) = place(side);
    let run = state.watch.get_or_insert_default().media[mine].take(payload);
    // Media that begins amid other things belongs to a protocol of its own.
    (run >= 3 && state.other <= MAX_OTHER).then(|| News::done(plain(Protocol::Rtp, "", Certainty::Pattern)))
}

/// Two pieces of a TURN channel in a row, each as long as it says (or padded to four bytes).
///
/// Only at home: GTP version 2 has the same header.
fn channel(state: &mut State, side: Side, payload: &[u8], ports: Ports) -> Option<News> {
    if payload[0] >> 4 != 4 || !STUN_PORTS.iter().any(|&port| ports.has(port)) {
        return None;
    }
    let data = stun::ChannelData::parse(payload).ok()?;
    let size = data.data.len() + 4;
    if data.data.is_empty() || (payload.len() != size && payload.len() != size.next_multiple_of(4)) {
        return None;
    }
    let (mine, _) = place(side);
    let before = state.watch.get_or_insert_default().channel[mine].replace(data.channel);
    (before == Some(data.channel)).then(|| News::Told(plain(Protocol::Stun, "turn", Certainty::Pattern)))
}

fn l2tp_first(payload: &[u8], ports: Ports) -> Option<News> {
    let control = l2tp::Control::parse(payload).ok()?;
    // An empty acknowledgment is twelve bytes of which eight are free.
    let told = control.kind.is_some() || ports.has(l2tp::PORT);
    let version = if control.version == 3 { "v3" } else { "v2" };
    told.then(|| News::done(plain(Protocol::L2tp, version, Certainty::Parsed)))
}

fn ike_of(header: &ike::Header, certainty: Certainty) -> News {
    let version = if header.version == 1 { "v1" } else { "v2" };
    News::done(plain(Protocol::Ike, version, certainty))
}

fn ike_first(payload: &[u8], ports: Ports) -> Option<News> {
    // Cheap refusals first: the version's byte and the high half of the length.
    if payload.len() < ike::HEADER || !matches!(payload[17], 0x10 | 0x20) || payload[24..26] != [0, 0] {
        return None;
    }
    let header = ike::Header::parse(payload).ok()?;
    let certainty = if ports.has(ike::PORT) { Certainty::Parsed } else { Certainty::Pattern };
    Some(ike_of(&header, certainty))
}

/// One packet of ESP on its port that nothing else claimed: an association's early numbers, whole words.
fn esp_first(payload: &[u8], ports: Ports) -> Option<News> {
    let esp = ike::Esp::parse(payload).ok().filter(|_| ports.has(ike::NAT_PORT))?;
    let early = (1..1 << 20).contains(&esp.sequence) && payload.len() >= 36 && payload.len() % 4 == 0;
    early.then(|| News::Told(plain(Protocol::Esp, "udp", Certainty::Heuristic)))
}

/// Port 4500: IKE behind its marker, or two packets of one ESP association in order.
fn natted(state: &mut State, side: Side, payload: &[u8]) -> Option<News> {
    match ike::natted(payload).ok()? {
        ike::Natted::Keepalive => {
            let watch = state.watch.get_or_insert_default();
            watch.keepalives = watch.keepalives.saturating_add(1);
            let told = || News::Told(plain(Protocol::Esp, "udp keepalive", Certainty::Heuristic));
            Some(if watch.keepalives == 2 { told() } else { News::Nothing })
        }
        ike::Natted::Ike(header) => Some(ike_of(&header, Certainty::Parsed)),
        ike::Natted::Esp(esp) => {
            let (mine, _) = place(side);
            let before = state.watch.get_or_insert_default().esp[mine].replace(esp);
            let follows = before.is_some_and(|before| {
                before.spi == esp.spi && (1..=64).contains(&esp.sequence.wrapping_sub(before.sequence))
            });
            follows.then(|| News::done(plain(Protocol::Esp, "udp", Certainty::Pattern)))
        }
    }
}
