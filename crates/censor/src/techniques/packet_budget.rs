//! The freeze after 16–20 KB (M12): a connection to listed hosting has a budget and then is silent.
//!
//! The rule counts itself instead of asking for a budget at the flow's opening, because what exempts a flow
//! (SSH, a listed name) shows only later. https://github.com/net4people/bbs/issues/490;
//! https://github.com/hyperion-cs/dpi-checkers

use okno_model::Mechanism;
use okno_wire::Protocol;
use okno_wire::packet::number;

use super::capacity::protocols;
use super::maker::{Draw, NameSet, NetworkSet, Ruling};
use super::sni::silence;
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Forge, Scope, Ways};
use crate::middlebox::{Direction, Evidence};
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M12.
pub static PACKET_BUDGET: TechniqueSpec = TechniqueSpec {
    name: "packet_budget",
    doc: "a connection to a listed network falls silent both ways once a number of packets or bytes is used up; a new connection has a new budget",
    roles: &["networks", "except_networks", "except_names"],
    params: &[&[
        ParamSpec {
            name: "packets",
            unit: "packets",
            default: DefaultValue::Number(0.0),
            doc: "packets of both ways that pass; 0 does not count them",
        },
        ParamSpec {
            name: "udp_packets",
            unit: "packets",
            default: DefaultValue::Number(0.0),
            doc: "the same for UDP; 0 takes that of `packets`",
        },
        ParamSpec {
            name: "bytes_down",
            unit: "bytes",
            default: DefaultValue::Number(0.0),
            doc: "payload bytes towards the subscriber that pass; 0 does not count them",
        },
        ParamSpec {
            name: "data_only",
            unit: "",
            default: DefaultValue::Flag(false),
            doc: "only packets with payload are counted",
        },
        ParamSpec {
            name: "transports",
            unit: "",
            default: DefaultValue::Texts(&["tcp", "udp"]),
            doc: "transports it looks at: tcp, udp",
        },
        ParamSpec {
            name: "protocols",
            unit: "",
            default: DefaultValue::Texts(&["ssh"]),
            doc: "recognised protocols that are exempt",
        },
        ParamSpec {
            name: "outcome",
            unit: "",
            default: DefaultValue::Text("silence"),
            doc: "`silence`, or `inject`: silence and forged RST to both ends of a TCP flow",
        },
        ParamSpec {
            name: "udp_ban_s",
            unit: "s",
            default: DefaultValue::Number(0.0),
            doc: "after a UDP flow the whole address stays silent to that subscriber for so long; 0 does not",
        },
    ]],
    make: |maker| {
        let transports = maker.texts("transports", &["tcp", "udp"])?;
        Ok(Box::new(PacketBudget {
            ruling: maker.ruling(),
            networks: maker.networks("networks")?,
            except: maker.networks("except_networks")?,
            except_names: maker.names("except_names")?,
            packets: maker.draw("packets")?,
            udp_packets: maker.draw("udp_packets")?,
            bytes_down: maker.draw("bytes_down")?,
            data_only: maker.flag("data_only")?,
            tcp: transports.iter().any(|word| word == "tcp"),
            udp: transports.iter().any(|word| word == "udp"),
            exempt: protocols(maker)?,
            injects: maker.text("outcome", &["silence", "inject"])? == "inject",
            udp_ban: maker.draw("udp_ban_s")?,
        }))
    },
};

/// The slot of a flow that is exempt, or frozen already.
const DONE: u64 = 1;

#[derive(Debug)]
struct PacketBudget {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    except_names: NameSet,
    packets: Draw,
    udp_packets: Draw,
    bytes_down: Draw,
    data_only: bool,
    tcp: bool,
    udp: bool,
    exempt: Vec<Protocol>,
    injects: bool,
    udp_ban: Draw,
}

impl PacketBudget {
    /// Whether the flow's transport and far end are under the budget.
    fn concerns(&self, flow: &FlowView<'_>) -> bool {
        let ours = match flow.key.protocol {
            number::TCP => self.tcp,
            number::UDP => self.udp,
            _ => false,
        };
        ours && self.networks.has(flow.outside.ip) && !self.except.excepts(flow.outside.ip)
    }

    /// The evidence, once the packet at hand is beyond the budget.
    fn spent(&self, flow: &FlowView<'_>) -> Option<String> {
        let udp = flow.key.protocol == number::UDP;
        let of = |draw: &Draw| draw.count(&self.ruling, flow.seed, &flow.key);
        let limit = match of(&self.udp_packets) {
            own if udp && own > 0 => own,
            _ => of(&self.packets),
        };
        let counted =
            if self.data_only { flow.data_packets.up + flow.data_packets.down } else { flow.packet_index() };
        if limit > 0 && u64::from(counted) > limit {
            return Some(format!("packet {counted} of {limit}"));
        }
        let bytes = of(&self.bytes_down);
        (bytes > 0 && flow.bytes.down > bytes).then(|| format!("byte {} of {bytes}", flow.bytes.down))
    }
}

impl Technique for PacketBudget {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        let mut interest = Interest::PACKET;
        if !self.exempt.is_empty() {
            interest = interest | Interest::RECOGNISED;
        }
        if self.except_names.is_given() {
            interest = interest | Interest::CLIENT_HELLO | Interest::QUIC_INITIAL | Interest::HTTP_REQUEST;
        }
        interest
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        // Asked again with each event: the rule may have come into force in the middle of the flow.
        if *flow.slot == DONE || !self.concerns(flow) {
            return decisions.ignore_flow();
        }
        let exempts = |name: &str| self.except_names.excepts(name);
        let exempt = match event {
            Event::Recognised(recognition) => self.exempt.contains(&recognition.protocol),
            Event::ClientHello(hello) => exempts(hello.name),
            Event::QuicInitial(initial) => initial.hello.is_some_and(|hello| exempts(hello.name)),
            Event::HttpRequest(request) => exempts(request.host),
            _ => false,
        };
        if exempt {
            *flow.slot = DONE;
            return decisions.ignore_flow();
        }
        if !matches!(event, Event::Packet { .. }) {
            return;
        }
        let Some(detail) = self.spent(flow) else { return };
        *flow.slot = DONE;
        let matched = self.networks.matched(flow.outside.ip).unwrap_or_default().to_owned();
        let evidence = Evidence {
            protocol: flow.recognised,
            name: flow.name.to_owned(),
            matched,
            detail,
            ..Evidence::default()
        };
        let mut decision = Decision::new(silence(Ways::Both, 0), evidence).dropping_this();
        let ban = self.udp_ban.time(&self.ruling, flow);
        if flow.key.protocol == number::UDP && !ban.is_zero() {
            decision = decision.on(Scope::HostPair).lasting(ban);
        } else if flow.key.protocol == number::TCP && self.injects {
            decision = decision.forging(Forge::reset(Direction::Down)).forging(Forge::reset(Direction::Up));
        }
        decisions.push(decision);
        decisions.ignore_flow();
    }
}
