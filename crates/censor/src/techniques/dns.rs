//! DNS (M21, China, Iran, Turkmenistan): forged answers, refusals, and queries turned to another resolver.
//!
//! A forged answer either races the real one, which still comes, or takes its place. Turning is DNAT: the
//! client sees an answer from the address it asked. https://github.com/net4people/bbs/issues/657

use core::net::IpAddr;
use core::time::Duration;

use okno_model::Mechanism;
use okno_wire::packet::number;
use okno_wire::{Endpoint, Protocol, dns};

use super::maker::{Draw, Maker, NameSet, NetworkSet, Ruling, service_port};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Action, Forge, ForgedTtl};
use crate::chance;
use crate::middlebox::{Direction, Evidence};
use crate::profile::ProfileError;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Query, Technique};

/// Injection and refusals.
pub static FORGE: TechniqueSpec = TechniqueSpec {
    name: "dns_forge",
    doc: "a UDP query for a listed name gets a forged answer, which races the real one or takes its place",
    roles: &["names", "except_names", "networks", "except_networks"],
    params: &[&[
        ParamSpec {
            name: "answer",
            unit: "",
            default: DefaultValue::Needed,
            doc: "addresses to draw from, or one of nxdomain, refused, servfail, empty, silence",
        },
        ParamSpec {
            name: "races",
            unit: "",
            default: DefaultValue::Flag(false),
            doc: "the query goes on as well and the real answer comes later",
        },
        ParamSpec {
            name: "copies",
            unit: "packets",
            default: DefaultValue::Number(1.0),
            doc: "forged answers",
        },
        ParamSpec {
            name: "ttl_s",
            unit: "s",
            default: DefaultValue::Number(300.0),
            doc: "time to live in the forged answer",
        },
        ParamSpec {
            name: "delay_s",
            unit: "s",
            default: DefaultValue::Number(0.0),
            doc: "time from the query to the forged answer",
        },
        ParamSpec {
            name: "kinds",
            unit: "",
            default: DefaultValue::Numbers(&[]),
            doc: "query types (1 A, 28 AAAA); none holds for all",
        },
    ]],
    make: make_forge,
};

/// M21's redirection.
pub static REDIRECT: TechniqueSpec = TechniqueSpec {
    name: "dns_redirect",
    doc: "queries over UDP to listed resolvers are turned to another resolver, whose answers seem to come from the one asked; TCP is untouched",
    roles: &["networks", "except_networks"],
    params: &[&[
        ParamSpec {
            name: "resolvers",
            unit: "",
            default: DefaultValue::Needed,
            doc: "resolvers that really answer; one is drawn for each flow",
        },
        ParamSpec { name: "port", unit: "", default: DefaultValue::Number(53.0), doc: "port that is turned" },
    ]],
    make: |maker| {
        Ok(Box::new(Redirect {
            ruling: maker.ruling(),
            networks: maker.networks("networks")?,
            except: maker.networks("except_networks")?,
            resolvers: addresses(maker, "resolvers")?,
            port: maker.count("port")? as u16,
        }))
    },
};

fn addresses(maker: &Maker<'_>, name: &'static str) -> Result<Vec<IpAddr>, ProfileError> {
    let mut addresses = Vec::new();
    for word in maker.texts(name, &[])? {
        let wrong = || maker.wrong(name, &format!("`{word}` is no address"), "write \"192.0.2.1\"");
        addresses.push(word.parse().map_err(|_| wrong())?);
    }
    Ok(addresses)
}

/// Answers without an address.
#[derive(Clone, Debug)]
enum Answer {
    Addresses(Vec<IpAddr>),
    /// RFC 1035 §4.1.1 response code; 0 is an empty answer
    Code(u8),
    Silence,
}

fn make_forge(maker: &Maker<'_>) -> Result<Box<dyn Technique>, ProfileError> {
    let answer = match maker.texts("answer", &[])?.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["nxdomain"] => Answer::Code(dns::rcode::NXDOMAIN),
        ["refused"] => Answer::Code(dns::rcode::REFUSED),
        ["servfail"] => Answer::Code(dns::rcode::SERVFAIL),
        ["empty"] => Answer::Code(dns::rcode::NOERROR),
        ["silence"] => Answer::Silence,
        [] => return Err(maker.wrong("answer", "it is empty", "write \"nxdomain\" or [\"10.10.34.34\"]")),
        _ => Answer::Addresses(addresses(maker, "answer")?),
    };
    Ok(Box::new(ForgeAnswer {
        ruling: maker.ruling(),
        names: maker.names("names")?,
        except_names: maker.names("except_names")?,
        networks: maker.networks("networks")?,
        except: maker.networks("except_networks")?,
        answer,
        races: maker.flag("races")?,
        copies: maker.count("copies")?.min(16),
        ttl: maker.count("ttl_s")?,
        delay: maker.draw("delay_s")?,
        kinds: maker.numbers("kinds")?.into_iter().map(|kind| kind as u16).collect(),
    }))
}

#[derive(Debug)]
struct ForgeAnswer {
    ruling: Ruling,
    names: NameSet,
    except_names: NameSet,
    networks: NetworkSet,
    except: NetworkSet,
    answer: Answer,
    races: bool,
    copies: u32,
    ttl: u32,
    delay: Draw,
    kinds: Vec<u16>,
}

impl ForgeAnswer {
    /// The forged message: the query's id and question, and what the rule says. Copy by copy, another
    /// address is drawn, as the Great Firewall's injectors do.
    fn message(&self, flow: &FlowView<'_>, query: &Query<'_>, copy: u32) -> Option<Vec<u8>> {
        let view = dns::MessageView::parse(query.message).ok()?;
        let mut records = Vec::new();
        if let Answer::Addresses(addresses) = &self.answer {
            let fitting: Vec<IpAddr> = addresses
                .iter()
                .copied()
                .filter(|ip| {
                    let wanted = (query.kind, ip.is_ipv4());
                    matches!(wanted, (dns::kind::A | dns::kind::ANY, true) | (dns::kind::AAAA, false))
                })
                .collect();
            let about = ("answer", flow.key, query.name, copy);
            let at = chance::within(flow.seed, &self.ruling.id, &about, fitting.len() as u64) as usize;
            let name = view.question()?.name.to_text();
            records.extend(fitting.get(at).map(|ip| dns::RecordRepr::address(&name, self.ttl, *ip)));
        }
        let mut repr = dns::answer(&view, records);
        if let Answer::Code(code) = &self.answer {
            repr.flags |= u16::from(*code);
        }
        Some(repr.emit())
    }
}

impl Technique for ForgeAnswer {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::DNS_QUERY
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let Event::DnsQuery(query) = event else { return };
        let ip = flow.outside.ip;
        let ours = flow.key.protocol == number::UDP
            && flow.direction == Direction::Up
            && self.networks.has(ip)
            && !self.except.excepts(ip)
            && (self.kinds.is_empty() || self.kinds.contains(&query.kind));
        if !ours {
            return;
        }
        let Some(matched) = self.names.matched(query.name) else { return };
        if self.except_names.excepts(query.name) {
            return;
        }
        let evidence = Evidence {
            protocol: Some(Protocol::Dns),
            name: query.name.to_owned(),
            matched: matched.to_owned(),
            detail: format!("type {}", query.kind),
            ..Evidence::default()
        };
        let mut decision = Decision::new(Action::Nothing, evidence);
        if !self.races {
            decision = decision.dropping_this();
        }
        if !matches!(self.answer, Answer::Silence) {
            let delay = self.delay.time(&self.ruling, flow);
            for copy in 0..self.copies {
                let Some(payload) = self.message(flow, query, copy) else { continue };
                let delay = delay + Duration::from_micros(u64::from(copy) * 100);
                let ttl = ForgedTtl::Peer;
                decision =
                    decision.forging(Forge::Datagram { to: Direction::Down, payload, ip_id: 0, ttl, delay });
            }
        }
        decisions.push(decision);
    }
}

#[derive(Debug)]
struct Redirect {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    resolvers: Vec<IpAddr>,
    port: u16,
}

impl Technique for Redirect {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::OPENED
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let Event::Opened { .. } = event else { return };
        let ip = flow.outside.ip;
        let ours = flow.key.protocol == number::UDP
            && service_port(flow) == self.port
            && !self.resolvers.contains(&ip)
            && self.networks.has(ip)
            && !self.except.excepts(ip);
        if !ours {
            return;
        }
        let fitting: Vec<IpAddr> =
            self.resolvers.iter().copied().filter(|resolver| resolver.is_ipv4() == ip.is_ipv4()).collect();
        let at = chance::within(flow.seed, &self.ruling.id, &flow.key, fitting.len() as u64) as usize;
        let Some(to) = fitting.get(at).map(|ip| Endpoint { ip: *ip, port: 0 }) else { return };
        let evidence = Evidence {
            protocol: Some(Protocol::Dns),
            matched: self.networks.matched(ip).unwrap_or_default().to_owned(),
            detail: format!("answered by {}", to.ip),
            ..Evidence::default()
        };
        decisions.push(Decision::new(Action::Redirect { to }, evidence).from_this());
    }
}
