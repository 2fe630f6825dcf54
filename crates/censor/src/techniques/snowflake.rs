//! Snowflake by its DTLS (M16): bytes at an offset, later the hello's fingerprint.
//!
//! https://github.com/net4people/bbs/issues/422 and 603; ntc.party 2420 for the offsets of 2021. Any other
//! WebRTC client of the same library was hit with it.

use core::time::Duration;

use okno_model::Mechanism;
use okno_wire::Protocol;

use super::maker::{Draw, FingerprintSet, NetworkSet, Ruling};
use super::sni::silence;
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::Ways;
use crate::middlebox::Evidence;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M16.
pub static SNOWFLAKE: TechniqueSpec = TechniqueSpec {
    name: "dtls",
    doc: "a DTLS flow whose hello has listed bytes at an offset, or a listed fingerprint, falls silent, at once or a little later",
    roles: &["networks", "except_networks", "fingerprints"],
    params: &[&[
        ParamSpec {
            name: "sender",
            unit: "",
            default: DefaultValue::Text("client"),
            doc: "whose hello is looked at: client, server, any",
        },
        ParamSpec {
            name: "offset",
            unit: "bytes",
            default: DefaultValue::Number(0.0),
            doc: "place of `bytes` in the UDP payload",
        },
        ParamSpec {
            name: "bytes",
            unit: "",
            default: DefaultValue::Numbers(&[]),
            doc: "bytes that stand there",
        },
        ParamSpec {
            name: "version",
            unit: "",
            default: DefaultValue::Number(0.0),
            doc: "version of the record layer (65277 is DTLS 1.2); 0 does not ask",
        },
        ParamSpec {
            name: "extra_packets",
            unit: "packets",
            default: DefaultValue::Number(0.0),
            doc: "packets that still pass",
        },
        ParamSpec {
            name: "delay_s",
            unit: "s",
            default: DefaultValue::Number(0.0),
            doc: "time after which silence begins; 0 takes the hello itself",
        },
    ]],
    make: |maker| {
        let bytes = maker.numbers("bytes")?.into_iter().map(|byte| byte as u8).collect();
        Ok(Box::new(Snowflake {
            ruling: maker.ruling(),
            networks: maker.networks("networks")?,
            except: maker.networks("except_networks")?,
            fingerprints: maker.fingerprints("fingerprints")?,
            sender: maker.text("sender", &["client", "server", "any"])?,
            offset: maker.count("offset")? as usize,
            bytes,
            version: maker.count("version")? as u16,
            extra: maker.draw("extra_packets")?,
            delay: maker.draw("delay_s")?,
        }))
    },
};

#[derive(Debug)]
struct Snowflake {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    fingerprints: FingerprintSet,
    sender: String,
    offset: usize,
    bytes: Vec<u8>,
    version: u16,
    extra: Draw,
    delay: Draw,
}

impl Technique for Snowflake {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::DTLS_HELLO
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let Event::DtlsHello(hello) = event else { return };
        let sender = match self.sender.as_str() {
            "client" => !hello.from_server,
            "server" => hello.from_server,
            _ => true,
        };
        let ip = flow.outside.ip;
        if *flow.slot != 0 || !sender || !self.networks.has(ip) || self.except.excepts(ip) {
            return;
        }
        if self.version != 0 && hello.version != self.version {
            return;
        }
        let there = hello.datagram.get(self.offset..).is_some_and(|rest| rest.starts_with(&self.bytes));
        if !there || !self.fingerprints.has(hello.fingerprint) {
            return;
        }
        *flow.slot = 1;
        let extra = self.extra.count(&self.ruling, flow.seed, &flow.key) as u32;
        let delay = self.delay.time(&self.ruling, flow);
        let detail = if self.bytes.is_empty() {
            "fingerprint".to_owned()
        } else {
            format!("{:02x?} at byte {:#x}", self.bytes, self.offset)
        };
        let evidence = Evidence {
            protocol: Some(Protocol::Dtls),
            fingerprint: hello.fingerprint.to_owned(),
            detail,
            ..Evidence::default()
        };
        let mut decision = Decision::new(silence(Ways::Both, extra), evidence).after(delay);
        if delay == Duration::ZERO && extra == 0 {
            decision = decision.dropping_this();
        }
        decisions.push(decision);
    }
}
