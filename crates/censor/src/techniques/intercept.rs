//! Substituted certificates (M26, Kazakhstan 2019): the flow is answered by somebody else.
//!
//! A box over packets cannot speak TLS in a server's place, and the name comes after TCP's handshake, so the
//! whole flow is turned to an interceptor that the lab owns, by address. A name rule needs the interceptor
//! to pass on what it does not forge. No mass interception was measured in Russia.

use okno_model::Mechanism;
use okno_wire::Endpoint;
use okno_wire::packet::number;

use super::maker::{NetworkSet, PortSet, Ruling, service_port};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::Action;
use crate::chance;
use crate::middlebox::Evidence;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M26.
pub static INTERCEPT: TechniqueSpec = TechniqueSpec {
    name: "intercept",
    doc: "TCP flows to listed addresses are answered by an interceptor, which shows a certificate of its own",
    roles: &["networks", "except_networks"],
    params: &[&[
        ParamSpec {
            name: "interceptor",
            unit: "",
            default: DefaultValue::Needed,
            doc: "address:port that answers; port 0 keeps the port",
        },
        ParamSpec {
            name: "ports",
            unit: "",
            default: DefaultValue::Numbers(&[443.0]),
            doc: "ports of the server",
        },
        ParamSpec {
            name: "share",
            unit: "of flows",
            default: DefaultValue::Number(1.0),
            doc: "share of the flows that are intercepted",
        },
    ]],
    make: |maker| {
        let end = maker.text("interceptor", &[])?;
        let end: core::net::SocketAddr =
            end.parse().map_err(|_| maker.wrong("interceptor", "it is no end", "write \"192.0.2.1:443\""))?;
        Ok(Box::new(Intercept {
            ruling: maker.ruling(),
            networks: maker.networks("networks")?,
            except: maker.networks("except_networks")?,
            ports: maker.ports("ports")?,
            to: Endpoint { ip: end.ip(), port: end.port() },
            share_ppm: maker.ppm("share")?,
        }))
    },
};

#[derive(Debug)]
struct Intercept {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    ports: PortSet,
    to: Endpoint,
    share_ppm: u32,
}

impl Technique for Intercept {
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
        let ours = flow.key.protocol == number::TCP
            && ip != self.to.ip
            && ip.is_ipv4() == self.to.ip.is_ipv4()
            && self.ports.has(service_port(flow))
            && self.networks.has(ip)
            && !self.except.excepts(ip);
        if !ours || !chance::coin(flow.seed, &self.ruling.id, &flow.key, self.share_ppm) {
            return;
        }
        let matched = self.networks.matched(ip).unwrap_or_default().to_owned();
        let evidence =
            Evidence { matched, detail: format!("answered by {}", self.to), ..Evidence::default() };
        decisions.push(Decision::new(Action::Redirect { to: self.to }, evidence).from_this());
    }
}
