//! HTTP filters of operators (M22): a block page, a redirect, a reset or silence for the first request.
//!
//! A second request of the same connection is never looked at, which the public request-smuggling work rests
//! on. Ramesh et al., NDSS 2020, https://censoredplanet.org/russia

use okno_model::Mechanism;
use okno_wire::Protocol;
use okno_wire::packet::flag;

use super::maker::{Maker, NameSet, NetworkSet, PortSet, Ruling, service_port};
use super::sni::silence;
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Action, Forge, Ways};
use crate::middlebox::{Direction, Evidence};
use crate::profile::ProfileError;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Request, Technique};

/// M22.
pub static BLOCKPAGE: TechniqueSpec = TechniqueSpec {
    name: "http_block",
    doc: "a request for a listed host is answered with a block page or a redirect to one, reset, or met with silence",
    roles: &["names", "except_names", "networks", "except_networks"],
    params: &[&[
        ParamSpec {
            name: "outcome",
            unit: "",
            default: DefaultValue::Needed,
            doc: "`page`, `redirect`, `reset` or `silence`",
        },
        ParamSpec {
            name: "location",
            unit: "",
            default: DefaultValue::Text("http://warning.rt.ru/"),
            doc: "where `redirect` leads",
        },
        ParamSpec { name: "page", unit: "", default: DefaultValue::Text(PAGE), doc: "body of `page`" },
        ParamSpec {
            name: "first_requests",
            unit: "requests",
            default: DefaultValue::Number(1.0),
            doc: "requests of a connection that are read; 0 reads all",
        },
        ParamSpec {
            name: "ports",
            unit: "",
            default: DefaultValue::Numbers(&[]),
            doc: "ports of the server",
        },
        ParamSpec {
            name: "server_sees_request",
            unit: "",
            default: DefaultValue::Flag(false),
            doc: "the request goes on to the server, and only the answer is forged",
        },
    ]],
    make,
};

const PAGE: &str = "<html><head><title>Доступ ограничен</title></head><body>Доступ к ресурсу ограничен \
                    на основании Федерального закона 149-ФЗ. blocklist.rkn.gov.ru</body></html>";

#[derive(Clone, Debug)]
enum Outcome {
    /// the answer's bytes
    Answer(Vec<u8>),
    Reset,
    Silence,
}

fn make(maker: &Maker<'_>) -> Result<Box<dyn Technique>, ProfileError> {
    let outcome = match maker.text("outcome", &["page", "redirect", "reset", "silence"])?.as_str() {
        "page" => {
            let page = maker.text("page", &[])?;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n";
            Outcome::Answer(format!("{head}Content-Length: {}\r\n\r\n{page}", page.len()).into_bytes())
        }
        "redirect" => {
            let location = maker.text("location", &[])?;
            let head = "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\n";
            Outcome::Answer(format!("{head}Location: {location}\r\n\r\n").into_bytes())
        }
        "reset" => Outcome::Reset,
        _ => Outcome::Silence,
    };
    Ok(Box::new(Blockpage {
        ruling: maker.ruling(),
        names: maker.names("names")?,
        except_names: maker.names("except_names")?,
        networks: maker.networks("networks")?,
        except: maker.networks("except_networks")?,
        ports: maker.ports("ports")?,
        outcome,
        first_requests: maker.count("first_requests")?,
        server_sees_request: maker.flag("server_sees_request")?,
    }))
}

#[derive(Debug)]
struct Blockpage {
    ruling: Ruling,
    names: NameSet,
    except_names: NameSet,
    networks: NetworkSet,
    except: NetworkSet,
    ports: PortSet,
    outcome: Outcome,
    first_requests: u32,
    server_sees_request: bool,
}

impl Blockpage {
    fn evidence(&self, flow: &FlowView<'_>, request: &Request<'_>) -> Option<Evidence> {
        if self.first_requests > 0 && request.index > self.first_requests {
            return None;
        }
        let ip = flow.outside.ip;
        if !self.ports.has(service_port(flow)) || !self.networks.has(ip) || self.except.excepts(ip) {
            return None;
        }
        let matched = self.names.matched(request.host)?.to_owned();
        if self.except_names.excepts(request.host) {
            return None;
        }
        Some(Evidence {
            protocol: Some(Protocol::Http),
            name: request.host.to_owned(),
            matched,
            detail: format!("request {}", request.index),
            ..Evidence::default()
        })
    }
}

impl Technique for Blockpage {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::HTTP_REQUEST
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let Event::HttpRequest(request) = event else { return };
        let Some(evidence) = self.evidence(flow, request) else { return };
        let mut decision = match &self.outcome {
            Outcome::Answer(bytes) => {
                let flags = flag::FIN | flag::PSH | flag::ACK;
                Decision::new(silence(Ways::Down, 0), evidence)
                    .forging(Forge::segment(Direction::Down, flags, bytes.clone()))
                    .forging(Forge::reset(Direction::Up))
            }
            Outcome::Reset => Decision::new(Action::Nothing, evidence)
                .forging(Forge::reset(Direction::Down))
                .forging(Forge::reset(Direction::Up)),
            Outcome::Silence => Decision::new(silence(Ways::Both, 0), evidence),
        };
        if !self.server_sees_request {
            decision = decision.dropping_this();
        }
        decisions.push(decision);
    }
}
