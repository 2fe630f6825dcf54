//! What sets a name rule off: a hello, an Initial or a request, seen as that rule's parser saw it.
//!
//! How much a parser sees depends on the year and on the rule, not only on the box: the same device
//! reassembles for one policy and not for another. So each rule narrows what the shared machinery shows it.

use okno_wire::tls::ClientHello;

use super::maker::{Maker, NameSet, NetworkSet, PortSet, service_port};
use super::{DefaultValue, ParamSpec};
use crate::middlebox::Evidence;
use crate::profile::ProfileError;
use crate::technique::{Event, FlowView, Hello, Interest};
use okno_wire::Protocol;

/// Roles of the lists that a trigger asks.
pub(super) const ROLES: &[&str] =
    &["names", "except_names", "networks", "except_networks", "padding_networks"];

/// Parameters of a trigger.
pub(super) const PARAMS: &[ParamSpec] = &[
    ParamSpec {
        name: "on",
        unit: "",
        default: DefaultValue::Texts(&["tls"]),
        doc: "protocols whose names are read: tls, quic, http",
    },
    ParamSpec {
        name: "ports",
        unit: "",
        default: DefaultValue::Numbers(&[]),
        doc: "ports of the server; none holds for all",
    },
    ParamSpec {
        name: "segments",
        unit: "",
        default: DefaultValue::Text("any"),
        doc: "`one`: a hello over several segments is not seen; `any`: it is, as far as the box reassembles",
    },
    ParamSpec {
        name: "records",
        unit: "",
        default: DefaultValue::Text("any"),
        doc: "`one`: a hello over several TLS records is not seen",
    },
    ParamSpec {
        name: "both_splits_escape",
        unit: "",
        default: DefaultValue::Flag(false),
        doc: "a hello over several segments and several records is not seen, though each alone is",
    },
    ParamSpec {
        name: "first_record_only",
        unit: "",
        default: DefaultValue::Flag(false),
        doc: "a hello behind another record is not seen",
    },
    ParamSpec {
        name: "padding_skipped_from",
        unit: "bytes",
        default: DefaultValue::Number(0.0),
        doc: "a hello over several segments is seen after all if it is padded by so much; 0 is never",
    },
    ParamSpec {
        name: "versions",
        unit: "",
        default: DefaultValue::Numbers(&[1.0]),
        doc: "QUIC versions whose Initials are read (1; 1798521807 is v2)",
    },
];

const PROTOCOLS: [&str; 3] = ["tls", "quic", "http"];

/// A name rule's condition.
#[derive(Clone, Debug)]
pub(super) struct Trigger {
    names: NameSet,
    except_names: NameSet,
    networks: NetworkSet,
    except_networks: NetworkSet,
    padding_networks: NetworkSet,
    ports: PortSet,
    tls: bool,
    quic: bool,
    http: bool,
    one_segment: bool,
    one_record: bool,
    both_splits_escape: bool,
    first_record_only: bool,
    padding_skipped_from: usize,
    versions: Vec<u32>,
}

impl Trigger {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, ProfileError> {
        let on = maker.texts("on", &PROTOCOLS)?;
        let has = |word: &str| on.iter().any(|known| known == word);
        Ok(Self {
            names: maker.names("names")?,
            except_names: maker.names("except_names")?,
            networks: maker.networks("networks")?,
            except_networks: maker.networks("except_networks")?,
            padding_networks: maker.networks("padding_networks")?,
            ports: maker.ports("ports")?,
            tls: has("tls"),
            quic: has("quic"),
            http: has("http"),
            one_segment: maker.text("segments", &["one", "any"])? == "one",
            one_record: maker.text("records", &["one", "any"])? == "one",
            both_splits_escape: maker.flag("both_splits_escape")?,
            first_record_only: maker.flag("first_record_only")?,
            padding_skipped_from: maker.count("padding_skipped_from")? as usize,
            versions: maker.numbers("versions")?.into_iter().map(|version| version as u32).collect(),
        })
    }

    /// The condition of a rule that reads QUIC alone.
    pub(super) fn quic(maker: &Maker<'_>) -> Result<Self, ProfileError> {
        Ok(Self { tls: false, http: false, quic: true, ..Self::new(maker)? })
    }

    pub(super) fn interest(&self) -> Interest {
        let mut interest = Interest::NONE;
        if self.tls {
            interest = interest | Interest::CLIENT_HELLO;
        }
        if self.quic {
            interest = interest | Interest::QUIC_INITIAL;
        }
        if self.http {
            interest = interest | Interest::HTTP_REQUEST;
        }
        interest
    }

    /// What the rule rests on, when the event sets it off.
    pub(super) fn hit(&self, flow: &FlowView<'_>, event: &Event<'_>) -> Option<Evidence> {
        match event {
            Event::ClientHello(hello) if self.tls && self.sees(flow, hello) => {
                self.named(flow, hello.name, Protocol::Tls)
            }
            Event::QuicInitial(initial) if self.quic && self.versions.contains(&initial.version) => {
                self.named(flow, initial.hello?.name, Protocol::Quic)
            }
            Event::HttpRequest(request) if self.http => self.named(flow, request.host, Protocol::Http),
            _ => None,
        }
    }

    /// The hello, whichever protocol carries it, that passes all conditions.
    pub(super) fn hello<'e>(
        &self,
        flow: &FlowView<'_>,
        event: &Event<'e>,
    ) -> Option<(&'e Hello<'e>, Evidence)> {
        let evidence = self.hit(flow, event)?;
        match event {
            Event::ClientHello(hello) => Some((hello, evidence)),
            Event::QuicInitial(initial) => initial.hello.map(|hello| (hello, evidence)),
            _ => None,
        }
    }

    /// Whether this rule's parser sees the hello at all.
    fn sees(&self, flow: &FlowView<'_>, hello: &Hello<'_>) -> bool {
        let (segments, records) = (hello.segments > 1, hello.records > 1);
        if (self.one_record && records) || (self.first_record_only && hello.offset > 0) {
            return false;
        }
        if self.both_splits_escape && segments && records {
            return false;
        }
        !(self.one_segment && segments) || self.skips_padding(flow, hello)
    }

    /// From 2024 a large padding extension no longer hides the name: the parser steps over it.
    /// ValdikSS, https://github.com/net4people/bbs/issues/65 (field report, medium).
    fn skips_padding(&self, flow: &FlowView<'_>, hello: &Hello<'_>) -> bool {
        self.padding_skipped_from > 0
            && self.padding_networks.has(flow.outside.ip)
            && ClientHello::parse(hello.message)
                .ok()
                .and_then(|hello| hello.padding())
                .is_some_and(|padding| padding >= self.padding_skipped_from)
    }

    /// Names are asked last but one: they decide most flows, and addresses cost less.
    fn named(&self, flow: &FlowView<'_>, name: &str, protocol: Protocol) -> Option<Evidence> {
        if !self.ports.has(service_port(flow)) {
            return None;
        }
        let network = self.networks.matched(flow.outside.ip)?;
        if self.except_networks.excepts(flow.outside.ip) {
            return None;
        }
        let entry = self.names.matched(name)?;
        if self.except_names.excepts(name) {
            return None;
        }
        let matched = if entry.is_empty() { network } else { entry };
        Some(Evidence {
            protocol: Some(protocol),
            name: name.to_owned(),
            matched: matched.to_owned(),
            ..Evidence::default()
        })
    }
}
