//! WireGuard, OpenVPN, IPsec and L2TP (M14): the tunnel is let up, then falls silent after its first data.
//!
//! https://github.com/net4people/bbs/issues/274 and its kin; the counters are a secondary quotation with low
//! confidence.

use okno_model::Mechanism;
use okno_wire::packet::number;
use okno_wire::{PacketView, Protocol};

use super::capacity::protocols;
use super::maker::{NetworkSet, Ruling};
use super::sni::silence;
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::Ways;
use crate::middlebox::Evidence;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M14.
pub static VPN: TechniqueSpec = TechniqueSpec {
    name: "vpn",
    doc: "a recognised tunnel to a foreign address falls silent both ways after its first data packets; tunnels without a counter at once",
    roles: &["networks", "except_networks"],
    params: &[&[
        ParamSpec {
            name: "protocols",
            unit: "",
            default: DefaultValue::Texts(&["wireguard", "openvpn", "ike", "esp", "l2tp"]),
            doc: "tunnels it looks for",
        },
        ParamSpec {
            name: "wireguard_data",
            unit: "packets",
            default: DefaultValue::Number(0.0),
            doc: "WireGuard transport packets that pass",
        },
        ParamSpec {
            name: "openvpn_data",
            unit: "packets",
            default: DefaultValue::Number(0.0),
            doc: "OpenVPN P_DATA packets that pass",
        },
    ]],
    make: |maker| {
        Ok(Box::new(Vpn {
            ruling: maker.ruling(),
            networks: maker.networks("networks")?,
            except: maker.networks("except_networks")?,
            protocols: protocols(maker)?,
            wireguard_data: u64::from(maker.count("wireguard_data")?),
            openvpn_data: u64::from(maker.count("openvpn_data")?),
        }))
    },
};

/// The slot of a flow that was decided about.
const DONE: u64 = u64::MAX;

#[derive(Debug)]
struct Vpn {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    protocols: Vec<Protocol>,
    wireguard_data: u64,
    openvpn_data: u64,
}

impl Vpn {
    fn limit(&self, protocol: Protocol) -> u64 {
        match protocol {
            Protocol::WireGuard => self.wireguard_data,
            Protocol::OpenVpn => self.openvpn_data,
            _ => 0,
        }
    }

    fn freeze(&self, flow: &mut FlowView<'_>, protocol: Protocol, detail: String, decisions: &mut Decisions) {
        *flow.slot = DONE;
        let evidence = Evidence { protocol: Some(protocol), detail, ..Evidence::default() };
        decisions.push(Decision::new(silence(Ways::Both, 0), evidence).dropping_this());
        decisions.ignore_flow();
    }
}

/// Whether the packet carries data of the tunnel, not its handshake.
/// WireGuard: message type 4 with three reserved zeros (https://www.wireguard.com/protocol/). OpenVPN:
/// P_DATA_V1 and _V2 are opcodes 6 and 9 in the upper five bits, behind two bytes of length over TCP.
pub(super) fn is_tunnel_data(protocol: Protocol, packet: &PacketView<'_>) -> bool {
    let payload = packet.payload();
    match protocol {
        Protocol::WireGuard => payload.starts_with(&[4, 0, 0, 0]),
        Protocol::OpenVpn => {
            let at = if packet.protocol == number::TCP { 2 } else { 0 };
            payload.get(at).is_some_and(|first| matches!(first >> 3, 6 | 9))
        }
        _ => false,
    }
}

impl Technique for Vpn {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        let counts = self.protocols.iter().any(|protocol| self.limit(*protocol) > 0);
        if counts { Interest::RECOGNISED | Interest::DATA } else { Interest::RECOGNISED }
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        if *flow.slot == DONE {
            return;
        }
        if !self.networks.has(flow.outside.ip) || self.except.excepts(flow.outside.ip) {
            return decisions.ignore_flow();
        }
        match event {
            Event::Recognised(recognition) => {
                let protocol = recognition.protocol;
                if !self.protocols.contains(&protocol) {
                    // A later answer may still name a tunnel inside what looked like something else.
                    return;
                }
                if self.limit(protocol) == 0 {
                    self.freeze(flow, protocol, "recognised".to_owned(), decisions);
                }
            }
            Event::Data { packet, .. } => {
                let Some(protocol) = flow.recognised else {
                    // Recognition takes a handful of packets or never comes.
                    if flow.data_packets.up + flow.data_packets.down > MOST_UNKNOWN {
                        decisions.ignore_flow();
                    }
                    return;
                };
                if !self.protocols.contains(&protocol) {
                    *flow.slot = DONE;
                    return decisions.ignore_flow();
                }
                if !is_tunnel_data(protocol, packet) {
                    return;
                }
                *flow.slot += 1;
                let (data, limit) = (*flow.slot, self.limit(protocol));
                if data > limit {
                    self.freeze(flow, protocol, format!("data packet {data} of {limit}"), decisions);
                }
            }
            _ => {}
        }
    }
}

/// Data packets after which an unrecognised flow is let go.
const MOST_UNKNOWN: u32 = 16;
