//! M9's and M14's tunnels, M15's encapsulated handshakes, M16's DTLS, M20's calls.

use okno_wire::dtls;
use okno_wire::openvpn::{Opcode, Repr};
use okno_wire::stun;
use okno_wire::tls::preset::random_bytes;
use okno_wire::wireguard::{Kind, Message};

use super::check::only;
use super::{Answer, Rows, Said, source};
use crate::fidelity::Observed;
use crate::fidelity::stage::{ELSEWHERE, EXEMPT, Stage, Tcp, Udp};
use crate::fidelity::trial::Trial;

const VPN: Said = Said { source: source::N4P_76, tag: 'S', confidence: "low-medium", profile: "tspu-2024" };
const SS: Said = Said { source: source::N4P_363, tag: 'F', confidence: "medium", profile: "tspu-2024" };

fn message(kind: Kind) -> Vec<u8> {
    Message { kind, reserved: [0; 3] }.emit(0xa5)
}

/// WireGuard's handshake and nothing more.
fn recognisable(stage: &mut Stage, udp: Udp) -> bool {
    udp.up(stage, &message(Kind::Initiation { sender: 7 })).passed()
        && udp.down(stage, &message(Kind::Response { sender: 9, receiver: 7 })).passed()
}

/// WireGuard's handshake and so many data packets, ways alternating; how many of those passed.
pub fn wireguard(stage: &mut Stage, udp: Udp, data: u32) -> (bool, u32) {
    let shaken = recognisable(stage, udp);
    let mut passed = 0;
    for index in 0..data {
        let bytes = message(Kind::Data { receiver: 7, counter: u64::from(index), size: 96 });
        let seen = if index % 2 == 0 { udp.up(stage, &bytes) } else { udp.down(stage, &bytes) };
        passed += u32::from(seen.passed());
    }
    (shaken, passed)
}

/// OpenVPN's handshake over UDP and so many data packets; how many of those passed.
fn openvpn(stage: &mut Stage, udp: Udp, data: u32) -> (bool, u32) {
    let control = |opcode, session, acknowledged: Vec<u32>, id, payload: Vec<u8>| {
        Repr { opcode, session, acknowledged, remote: 0x1122_3344_5566_7788, id, payload }.emit()
    };
    let (mine, theirs) = (0x0102_0304_0506_0708, 0x1122_3344_5566_7788);
    let hello = crate::fidelity::stage::hello("vpn.example");
    let mut shaken = udp.up(stage, &control(Opcode::ResetClientV2, mine, vec![], 0, vec![])).passed();
    shaken &= udp.down(stage, &control(Opcode::ResetServerV2, theirs, vec![0], 0, vec![])).passed();
    shaken &= udp.up(stage, &control(Opcode::Ack, mine, vec![0], 0, vec![])).passed();
    shaken &= udp.up(stage, &control(Opcode::Control, mine, vec![], 1, hello)).passed();
    shaken &= udp.down(stage, &control(Opcode::Control, theirs, vec![1], 1, vec![0x16; 300])).passed();
    let mut passed = 0;
    for index in 0..data {
        let mut bytes = vec![(Opcode::DataV2 as u8) << 3, 0, 0, 1];
        bytes.extend(index.to_be_bytes());
        bytes.extend(random_bytes(u64::from(index), "data", 120));
        let seen = if index % 2 == 0 { udp.up(stage, &bytes) } else { udp.down(stage, &bytes) };
        passed += u32::from(seen.passed());
    }
    (shaken, passed)
}

/// A tunnel under the technique's rules in the first profile that has them.
fn tunnel_box() -> Result<Trial, String> {
    only(VPN.profile, "vpn")
}

pub(super) fn rows(rows: &mut Rows) {
    tunnels(rows);
    encapsulated(rows);
    dtls_rows(rows);
    calls(rows);
}

fn tunnels(rows: &mut Rows) {
    let udp = || Udp::new(50_000).port(51_820);
    rows.passes(
        VPN,
        "M14.wireguard.handshake",
        "WireGuard's handshake (the rule fires after it)",
        move || {
            let (shaken, _) = wireguard(&mut tunnel_box()?.stage()?, udp(), 0);
            Ok(Observed::new(shaken, "initiation and response"))
        },
    );
    rows.holds(VPN, "M14.wireguard.data", "2 WireGuard data packets pass, the third does not", move || {
        let (_, passed) = wireguard(&mut tunnel_box()?.stage()?, udp(), 10);
        Ok(Observed::new(passed == 2, format!("{passed} of 10 data packets passed")))
    });
    rows.holds(VPN, "M14.openvpn.data", "15 OpenVPN data packets pass, the 16th does not", move || {
        let (shaken, passed) = openvpn(&mut tunnel_box()?.stage()?, Udp::new(50_000).port(1_194), 30);
        Ok(Observed::new(shaken && passed == 15, format!("{passed} of 30 data packets passed")))
    });
    rows.passes(VPN, "M14.domestic", "WireGuard to a domestic address", move || {
        let (_, passed) = wireguard(&mut tunnel_box()?.stage()?, udp().to(EXEMPT), 10);
        Ok(Observed::new(passed == 10, format!("{passed} of 10 data packets passed")))
    });
    rows.passes(
        VPN,
        "M14.random_same_sizes",
        "random datagrams of WireGuard's sizes on the same port",
        move || {
            let mut stage = tunnel_box()?.stage()?;
            let sizes = [148, 92, 112, 112, 112, 112, 112, 112, 112, 112];
            let pass = |(index, size): (usize, usize)| {
                let bytes = random_bytes(index as u64, "noise", size);
                let seen = if index % 2 == 0 {
                    udp().up(&mut stage, &bytes)
                } else {
                    udp().down(&mut stage, &bytes)
                };
                seen.passed()
            };
            Ok(Observed::new(sizes.into_iter().enumerate().all(pass), "10 datagrams"))
        },
    );
    rows.passes(
        Said { tag: 'F', confidence: "medium", ..VPN },
        "M14.amnezia",
        "AmneziaWG: junk first, sizes and type bytes changed",
        move || {
            let mut stage = tunnel_box()?.stage()?;
            Ok(amnezia(&mut stage, udp()))
        },
    );
    rows.holds(VPN, "M14.silence", "no RST, no ICMP: silence", move || {
        let mut stage = tunnel_box()?.stage()?;
        let (_, passed) = wireguard(&mut stage, udp(), 10);
        let quiet = stage.sent.is_empty() && passed < 10;
        Ok(Observed::new(quiet, format!("{passed} of 10 passed, {} packets sent", stage.sent.len())))
    });
    rows.fails(VPN, "M14.any_port", "WireGuard on port 443", move || {
        let (_, passed) = wireguard(&mut tunnel_box()?.stage()?, Udp::new(50_000), 10);
        Ok(Observed::new(passed == 10, format!("{passed} of 10 data packets passed")))
    });
    let field = Said { tag: 'F', confidence: "medium", ..VPN };
    rows.fails(field, "M14.ike", "IKEv2 and ESP in UDP (hit in Aug 2023)", || {
        let mut stage = tunnel_box()?.stage()?;
        Ok(ike(&mut stage))
    });
    rows.unknown(VPN, "M14.residual", "how long a tunnel's end stays under the rule after it");
}

/// Three junk datagrams, then a handshake of other sizes and types, then data.
pub fn amnezia(stage: &mut Stage, udp: Udp) -> Observed {
    let mut all = true;
    for index in 0..4 {
        all &= udp.up(stage, &random_bytes(index, "junk", 40 + 13 * index as usize)).passed();
    }
    for (index, size) in [148 + 37, 92 + 51, 113, 119, 131, 117, 125, 113].into_iter().enumerate() {
        let bytes = random_bytes(90 + index as u64, "body", size);
        let seen = if index % 2 == 0 { udp.up(stage, &bytes) } else { udp.down(stage, &bytes) };
        all &= seen.passed();
    }
    Observed::new(all, "4 junk datagrams and 8 of the tunnel")
}

/// An IKE_SA_INIT message of 400 bytes with one SA payload (RFC 7296 §3.1, §3.2).
pub fn ike_init(response: bool) -> Vec<u8> {
    let mut bytes = random_bytes(1, "spi i", 8);
    bytes.extend(if response { random_bytes(2, "spi r", 8) } else { vec![0; 8] });
    // Next payload SA (33), version 2.0, IKE_SA_INIT (34), flags, message id, length.
    bytes.extend([33, 0x20, 34, if response { 0x20 } else { 0x08 }, 0, 0, 0, 0]);
    bytes.extend(400_u32.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(372_u16.to_be_bytes());
    bytes.resize(400, 1);
    bytes
}

fn ike(stage: &mut Stage) -> Observed {
    let udp = Udp::new(500).port(500);
    let mut all = udp.up(stage, &ike_init(false)).passed();
    all &= udp.down(stage, &ike_init(true)).passed();
    let natted = Udp::new(4_500).port(4_500);
    for index in 0..40_u32 {
        let mut esp = vec![0x11, 0x22, 0x33, 0x44];
        esp.extend((index + 1).to_be_bytes());
        esp.extend(random_bytes(u64::from(index), "esp", 100));
        let seen = if index % 2 == 0 { natted.up(stage, &esp) } else { natted.down(stage, &esp) };
        all &= seen.passed();
    }
    Observed::new(all, "IKE_SA_INIT and 40 ESP packets")
}

/// So many client packets of `size` bytes, the server answering each; how many answers came.
fn shadowsocks(stage: &mut Stage, tcp: &mut Tcp, packets: u32, size: usize) -> u32 {
    tcp.open(stage);
    let mut answers = 0;
    for index in 0..packets {
        let bytes = random_bytes(u64::from(index) + 1, "ss", size);
        if tcp.up(stage, &bytes).passed() {
            answers += u32::from(tcp.down(stage, &random_bytes(u64::from(index), "answer", 900)).passed());
        }
    }
    // A later packet shows whether the flow is still alive.
    u32::from(tcp.up(stage, &[1; 50]).passed() && tcp.down(stage, &[2; 50]).passed()) * 100 + answers
}

fn encapsulated(rows: &mut Rows) {
    let tried = |packets: u32, size: usize, ip: &'static str| -> Answer {
        let mut stage = Trial::new(SS.profile)?.rules(&["encapsulated-mts"])?.stage()?;
        let mut tcp = Tcp::new(40_000).to(ip);
        let got = shadowsocks(&mut stage, &mut tcp, packets, size);
        Ok(Observed::new(got == 100 + packets, format!("{} answers, alive after: {}", got % 100, got >= 100)))
    };
    let listed = crate::fidelity::stage::OUTSIDE;
    rows.fails(SS, "M15.3x411", "3 client packets of 411 bytes to a listed network", move || {
        tried(3, 411, listed)
    });
    rows.passes(SS, "M15.3x410", "3 client packets of 410 bytes", move || tried(3, 410, listed));
    rows.passes(SS, "M15.2x411", "2 client packets of 411 bytes", move || tried(2, 411, listed));
    rows.passes(SS, "M15.other_network", "3 client packets of 411 bytes to another network", move || {
        tried(3, 411, ELSEWHERE)
    });
    rows.add(
        SS,
        crate::fidelity::Expected::Unknown,
        "M15.tls",
        "a TLS connection whose client sends 3 packets of 411 bytes",
        || {
            let mut stage = Trial::new(SS.profile)?.rules(&["encapsulated-mts"])?.stage()?;
            let mut tcp = Tcp::new(40_000);
            tcp.open(&mut stage);
            tcp.up(&mut stage, &crate::fidelity::stage::hello("www.example.org"));
            tcp.down(&mut stage, &okno_wire::tls::record(22, 0x0303, &[2, 0, 0, 2, 3, 3]));
            let record = okno_wire::tls::record(23, 0x0303, &[7; 406]);
            let all = (0..4)
                .all(|_| tcp.up(&mut stage, &record).passed() && tcp.down(&mut stage, &record).passed());
            Ok(Observed::new(all, "4 records of 411 bytes"))
        },
    );
    rows.unknown(
        Said { confidence: "low", ..SS },
        "M15.server_half",
        "the condition on the server's packets (the report is cut there)",
    );
    rows.unknown(
        Said { source: source::N4P_111, confidence: "low", ..SS },
        "M15.entropy",
        "whether entropy is used",
    );
}

fn dtls_rows(rows: &mut Rows) {
    let said = Said { source: source::N4P_603, tag: 'F', confidence: "medium-high", profile: "tspu-2026" };
    let tried = |repr: okno_wire::tls::ClientHelloRepr| -> Answer {
        let mut stage = Trial::new("tspu-2026")?.only(&["dtls"])?.stage()?;
        let udp = Udp::new(50_000).port(40_123);
        let mut all = udp.up(&mut stage, &dtls::preset::datagram(&repr)).passed();
        stage.wait_s(3.0);
        for index in 0..30 {
            let bytes = random_bytes(index, "dtls", 90);
            all &= udp.down(&mut stage, &bytes).passed() & udp.up(&mut stage, &bytes).passed();
        }
        Ok(Observed::new(all, "hello, then 60 datagrams"))
    };
    rows.fails(said, "M16.pion", "a default pion DTLS 1.2 hello (Snowflake, 30 Mar 2026)", move || {
        tried(dtls::preset::pion(4))
    });
    rows.passes(said, "M16.randomised", "a randomised DTLS hello", move || {
        tried(dtls::preset::randomised(4))
    });
    rows.passes(said, "M16.dtls_1_3", "a DTLS 1.3 hello", move || tried(dtls::preset::dtls13(4)));
    rows.unknown(said, "M16.residual", "how long a DTLS flow's ends stay under the rule");
    rows.fails(
        Said {
            source: "ntc.party 2420, as told in https://github.com/net4people/bbs/issues/97",
            tag: 'F',
            confidence: "medium",
            profile: "tspu-2021",
        },
        "M16.server_hello_2021",
        "Snowflake's DTLS ServerHello of 2021: supported groups at offset 0x5a",
        || {
            let mut stage = any_dtls_2021()?.stage()?;
            let udp = Udp::new(50_000).port(40_123);
            udp.up(&mut stage, &dtls::preset::datagram(&dtls::preset::pion(4)));
            let repr = dtls::preset::pion_server_2021(4);
            let seen = udp.down(&mut stage, &dtls::server_hello(&repr, 0)).passed()
                & udp.up(&mut stage, &[1; 60]).passed();
            Ok(Observed::new(seen, "ServerHello and what follows"))
        },
    );
}

fn any_dtls_2021() -> Result<Trial, String> {
    for profile in ["tspu-2021", "tspu-2022", "tspu-2024"] {
        if let Ok(trial) = only(profile, "dtls") {
            return Ok(trial);
        }
    }
    Err("no profile before 2025 has a DTLS rule".to_owned())
}

/// A STUN Binding request (RFC 8489 §5).
pub fn binding() -> Vec<u8> {
    stun::Repr { method: 1, class: stun::Class::Request, transaction: [9; 12], attributes: Vec::new() }.emit()
}

fn calls(rows: &mut Rows) {
    let said = Said { source: source::CALLS, tag: 'F', confidence: "medium", profile: "tspu-2025" };
    let lost = |port: u16, bytes: fn() -> Vec<u8>, ip: &'static str| -> Answer {
        let mut stage = only("tspu-2025", "calls")?.stage()?;
        let mut passed = 0;
        for index in 0..200 {
            let udp = Udp::new(30_000 + index).port(port).to(ip);
            passed +=
                u32::from(udp.up(&mut stage, &bytes()).passed() && udp.down(&mut stage, &bytes()).passed());
        }
        Ok(Observed::new(passed > 180, format!("{passed} of 200 to port {port}")))
    };
    let listed = crate::fidelity::stage::OUTSIDE;
    for port in [596, 599, 1_400, 3_478] {
        rows.fails(said, &format!("M20.stun.{port}"), &format!("STUN to UDP port {port}"), move || {
            lost(port, binding, listed)
        });
    }
    rows.passes(said, "M20.random", "random datagrams of STUN's size to UDP port 3478", move || {
        lost(3_478, || random_bytes(5, "noise", 20), listed)
    });
    rows.passes(said, "M20.other_port", "STUN to UDP port 19302", move || lost(19_302, binding, listed));
    rows.passes(said, "M20.domestic", "STUN to a domestic server", move || lost(3_478, binding, EXEMPT));
    rows.unknown(said, "M20.classifier", "by what exactly the calls are recognised");
}
