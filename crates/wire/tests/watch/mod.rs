//! What the fuzz target and the tests do with any bytes: every parser, and a whole flow made of pieces.

use okno_wire::{
    Ports, Recogniser, Recognition, Side, Stream, bittorrent, ike, l2tp, mtproto, openvpn, proxies, rtp, sip,
    socks, ssh, stun, tor, wireguard,
};

/// Every parser of the calls', tunnels' and proxies' messages.
pub fn parse_all(bytes: &[u8]) {
    let _ = stun::Message::parse(bytes).map(|message| (message.attributes().count(), message.is_classic()));
    let _ = (stun::ChannelData::parse(bytes), stun::Repr::parse(bytes));
    let _ = (rtp::Header::parse(bytes), rtp::control(bytes, false), rtp::control(bytes, true));
    let _ = sip::Message::parse(bytes).map(|message| message.host().len());
    let _ = wireguard::Message::parse(bytes);
    let _ = openvpn::Packet::parse(bytes).map(|packet| (packet.wrap(), packet.acknowledges(), packet.peer()));
    let _ = (openvpn::Repr::parse(bytes), openvpn::frames(bytes).count());
    let _ = (ike::Header::parse(bytes), ike::natted(bytes), ike::Ah::parse(bytes));
    let _ = (l2tp::Control::parse(bytes), ssh::Banner::parse(bytes), ssh::KexInit::parse(bytes));
    let _ = (socks::Request::parse_v4(bytes), socks::Request::parse_v5(bytes), socks::greeting(bytes));
    let _ = (bittorrent::Handshake::parse(bytes), bittorrent::Utp::parse(bytes), bittorrent::dht(bytes));
    let _ = (mtproto::plain(bytes), mtproto::Obfuscated::parse(bytes), mtproto::keyed(bytes, bytes));
    let _ = (proxies::exemption(bytes), proxies::is_uniform(bytes));
    let _ = tor::obfs4_fits(bytes, bytes);
}

/// Bytes as a flow: a byte of flags (1 stream, 2 midstream), the responder's port, then pieces, each with a
/// byte whose top bit is the side and whose rest is half the piece's length. What is decided stays decided,
/// and the same flow tells the same twice.
pub fn flow(bytes: &[u8]) {
    let told = once(bytes);
    assert_eq!(told, once(bytes), "the same flow told otherwise");
    for news in &told {
        assert!(news.name.len() <= 16 * 1024 && news.version.len() <= 32, "{news:?}");
    }
}

fn once(bytes: &[u8]) -> Vec<Recognition> {
    let &[flags, high, low, ref rest @ ..] = bytes else { return Vec::new() };
    let ports = Ports { initiator: 40_000, responder: u16::from_be_bytes([high, low]) };
    let mut recogniser = Recogniser::new();
    let (mut sides, mut told) = ([Vec::new(), Vec::new()], Vec::new());
    let mut rest = rest;
    while let &[head, ref tail @ ..] = rest {
        let (piece, after) = tail.split_at((usize::from(head & 0x7f) * 2).min(tail.len()));
        rest = after;
        parse_all(piece);
        let side = if head & 0x80 == 0 { Side::Initiator } else { Side::Responder };
        let done = recogniser.is_done();
        let news = if flags & 1 == 0 {
            recogniser.datagram(side, piece, ports)
        } else {
            sides[usize::from(side == Side::Responder)].extend_from_slice(piece);
            let midstream = flags & 2 != 0;
            recogniser.stream(&Stream { initiator: &sides[0], responder: &sides[1], ports, midstream })
        };
        assert!(!done || news.is_none(), "a decided flow told more: {news:?}");
        told.extend(news);
    }
    told
}
