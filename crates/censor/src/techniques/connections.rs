//! The policer that counts TLS connections (M13), in its two forms.
//!
//! What counts is a run of handshakes by one subscriber to one server under one name; the freeze takes new
//! handshakes only. https://github.com/net4people/bbs/issues/546; dpi-checkers' source for the probe.

use core::net::IpAddr;
use core::time::Duration;

use okno_model::Mechanism;
use okno_wire::tls::{ClientHello, Ja4Transport, ja4, ja4_head};
use okno_wire::{Instant, Protocol};

use super::maker::{Draw, FingerprintSet, NameSet, NetworkSet, PortSet, Ruling, service_port};
use super::sni::silence;
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::Ways;
use crate::memory::Memory;
use crate::middlebox::Evidence;
use crate::technique::{Decision, Decisions, Event, FlowView, Hello, Interest, Technique};

/// M13.
pub static CONNECTIONS: TechniqueSpec = TechniqueSpec {
    name: "connection_count",
    doc: "after a number of TLS handshakes to one server under one name within a time, further ones are frozen for a while",
    roles: &["networks", "except_networks", "fingerprints", "except_names"],
    params: &[&[
        ParamSpec {
            name: "passes",
            unit: "handshakes",
            default: DefaultValue::Needed,
            doc: "handshakes that pass; the next sets the freeze off and is frozen",
        },
        ParamSpec {
            name: "window_s",
            unit: "s",
            default: DefaultValue::Needed,
            doc: "time within which they are counted",
        },
        ParamSpec {
            name: "gap_s",
            unit: "s",
            default: DefaultValue::Number(0.0),
            doc: "only handshakes this close to the one before count as parallel; 0 counts all",
        },
        ParamSpec {
            name: "freeze_s",
            unit: "s",
            default: DefaultValue::Needed,
            doc: "how long new handshakes are frozen",
        },
        ParamSpec {
            name: "ports",
            unit: "",
            default: DefaultValue::Numbers(&[]),
            doc: "ports of the server",
        },
        ParamSpec {
            name: "by_name",
            unit: "",
            default: DefaultValue::Flag(true),
            doc: "another name begins another count",
        },
    ]],
    make: |maker| {
        let (window, freeze) = (maker.time("window_s")?, maker.draw("freeze_s")?);
        let longest = window.max(freeze.longest()).max(Duration::from_secs(600));
        Ok(Box::new(Connections {
            ruling: maker.ruling(),
            networks: maker.networks("networks")?,
            except: maker.networks("except_networks")?,
            except_names: maker.names("except_names")?,
            fingerprints: maker.fingerprints("fingerprints")?,
            ports: maker.ports("ports")?,
            passes: maker.draw("passes")?,
            window,
            gap: maker.time("gap_s")?,
            freeze,
            by_name: maker.flag("by_name")?,
            counts: Memory::new(longest, MOST_COUNTS),
        }))
    },
};

/// Counts kept at once; the oldest goes first.
const MOST_COUNTS: usize = 100_000;
/// Handshakes remembered for one count; more than any source speaks of.
const MOST_HANDSHAKES: usize = 256;

#[derive(Debug, Default)]
struct Count {
    /// handshakes of the window, oldest first
    seen: std::collections::VecDeque<Instant>,
    frozen_until: Option<Instant>,
}

type Key = (IpAddr, IpAddr, Box<str>);

#[derive(Debug)]
struct Connections {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    except_names: NameSet,
    fingerprints: FingerprintSet,
    ports: PortSet,
    passes: Draw,
    window: Duration,
    gap: Duration,
    freeze: Draw,
    by_name: bool,
    counts: Memory<Key, Count>,
}

impl Connections {
    /// Whether all conditions but the count hold; the fingerprint costs most and comes last.
    fn concerns(&self, flow: &FlowView<'_>, hello: &Hello<'_>) -> Option<String> {
        // An empty name never sets it off (https://github.com/net4people/bbs/issues/546).
        if hello.name.is_empty() || !self.ports.has(service_port(flow)) || !self.networks.has(flow.outside.ip)
        {
            return None;
        }
        if self.except.excepts(flow.outside.ip) || self.except_names.excepts(hello.name) {
            return None;
        }
        if !self.fingerprints.is_given() {
            return Some(String::new());
        }
        let parsed = ClientHello::parse(hello.message).ok()?;
        if !self.fingerprints.may_have(&ja4_head(&parsed, Ja4Transport::Tcp)) {
            return None;
        }
        let fingerprint = ja4(&parsed, Ja4Transport::Tcp);
        self.fingerprints.has(&fingerprint).then_some(fingerprint)
    }
}

impl Technique for Connections {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::CLIENT_HELLO
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let Event::ClientHello(hello) = event else { return };
        if *flow.slot != 0 {
            return;
        }
        let Some(fingerprint) = self.concerns(flow, hello) else { return };
        *flow.slot = 1;
        // The count's key is kept for minutes: no name of DNS is longer, a hostile one may be.
        let name = &hello.name[..hello.name.floor_char_boundary(255)];
        let name = if self.by_name { name } else { "" };
        let key: Key = (flow.inside.ip, flow.outside.ip, name.into());
        let passes = self.passes.count(&self.ruling, flow.seed, &flow.key) as usize;
        let freeze = self.freeze.time(&self.ruling, flow);
        let (window, gap, now) = (self.window, self.gap, flow.now);
        let count = self.counts.touch(now, key, Count::default);
        if count.frozen_until.is_some_and(|until| until <= now) {
            *count = Count::default();
        }
        if count.frozen_until.is_none() {
            // A handshake long after the one before begins a new run: it is not parallel to it.
            if !gap.is_zero() && count.seen.back().is_some_and(|last| now.since(*last) >= gap) {
                count.seen.clear();
            }
            while count.seen.front().is_some_and(|first| now.since(*first) >= window) {
                count.seen.pop_front();
            }
            if count.seen.len() < MOST_HANDSHAKES {
                count.seen.push_back(now);
            }
            if count.seen.len() <= passes {
                return;
            }
            count.frozen_until = Some(now + freeze);
        }
        let detail = format!("more than {passes} handshakes, frozen for {} s", freeze.as_secs_f64());
        let evidence = Evidence {
            protocol: Some(Protocol::Tls),
            name: hello.name.to_owned(),
            fingerprint,
            detail,
            ..Evidence::default()
        };
        decisions.push(Decision::new(silence(Ways::Both, 0), evidence).dropping_this());
    }
}
