//! China's detector of fully encrypted traffic: the first payload's share of set bits, and what exempts.
//!
//! Wu et al., USENIX Security 2023, https://gfw.report/publications/usenixsecurity23/en/

use okno_model::Mechanism;
use okno_wire::Protocol;
use okno_wire::packet::number;

use super::maker::{NetworkSet, Ruling};
use super::sni::{RESIDUAL, Residual, silence};
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::Ways;
use crate::chance;
use crate::middlebox::{Direction, Evidence};
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// China, from November 2021.
pub static ENTROPY: TechniqueSpec = TechniqueSpec {
    name: "set_bits",
    doc: "a TCP flow whose first payload has about as many set as clear bits, and no printable or known beginning, is dropped with some chance",
    roles: &["networks", "except_networks"],
    params: &[
        RESIDUAL,
        &[
            ParamSpec {
                name: "set_bits_from",
                unit: "bits per byte",
                default: DefaultValue::Needed,
                doc: "mean of set bits per byte above which a payload is a candidate",
            },
            ParamSpec {
                name: "set_bits_to",
                unit: "bits per byte",
                default: DefaultValue::Needed,
                doc: "and below which it is",
            },
            ParamSpec {
                name: "block_share",
                unit: "of flows",
                default: DefaultValue::Needed,
                doc: "share of the candidates that are blocked",
            },
            ParamSpec {
                name: "printable_exempts",
                unit: "",
                default: DefaultValue::Flag(true),
                doc: "six printable bytes first, more than half printable, or more than 20 in a row exempt",
            },
        ],
    ],
    make: |maker| {
        Ok(Box::new(Entropy {
            ruling: maker.ruling(),
            networks: maker.networks("networks")?,
            except: maker.networks("except_networks")?,
            from: maker.number("set_bits_from")?,
            to: maker.number("set_bits_to")?,
            block_ppm: maker.ppm("block_share")?,
            printable_exempts: maker.flag("printable_exempts")?,
            residual: Residual::new(maker)?,
        }))
    },
};

#[derive(Debug)]
struct Entropy {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    from: f64,
    to: f64,
    block_ppm: u32,
    printable_exempts: bool,
    residual: Residual,
}

/// Mean of set bits per byte.
pub(super) fn set_bits(payload: &[u8]) -> f64 {
    let set: u32 = payload.iter().map(|byte| byte.count_ones()).sum();
    f64::from(set) / payload.len().max(1) as f64
}

/// The exemptions by printable bytes (Wu et al. 2023 §4, Ex2 to Ex4; recalled).
fn is_printable(payload: &[u8]) -> bool {
    let printable = |byte: &u8| (0x20..=0x7e).contains(byte);
    if payload.len() >= 6 && payload[..6].iter().all(printable) {
        return true;
    }
    let count = payload.iter().filter(|byte| printable(byte)).count();
    let longest = payload.split(|byte| !printable(byte)).map(<[u8]>::len).max().unwrap_or(0);
    2 * count > payload.len() || longest > 20
}

/// The exemption by known protocols (ibid., Ex5; recalled): TLS records and HTTP methods.
fn is_known(payload: &[u8]) -> bool {
    const METHODS: [&[u8]; 5] = [b"GET ", b"PUT ", b"POST ", b"HEAD ", b"CONNECT "];
    matches!(payload, [0x16 | 0x17, 3, 0..=9, ..]) || METHODS.iter().any(|method| payload.starts_with(method))
}

impl Technique for Entropy {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        Interest::DATA
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let Event::Data { packet, .. } = event else { return };
        decisions.ignore_flow();
        let ip = flow.outside.ip;
        let ours = flow.key.protocol == number::TCP && self.networks.has(ip) && !self.except.excepts(ip);
        if !ours || flow.direction != Direction::Up {
            return;
        }
        let payload = packet.payload();
        let bits = set_bits(payload);
        if bits <= self.from || bits >= self.to || is_known(payload) {
            return;
        }
        if self.printable_exempts && is_printable(payload) {
            return;
        }
        if !chance::coin(flow.seed, &self.ruling.id, &flow.key, self.block_ppm) {
            return;
        }
        let evidence = Evidence {
            protocol: Some(Protocol::FullyEncrypted),
            matched: self.networks.matched(ip).unwrap_or_default().to_owned(),
            detail: format!("{bits:.2} set bits per byte"),
            ..Evidence::default()
        };
        let decision = Decision::new(silence(Ways::Up, 0), evidence).dropping_this();
        decisions.push(self.residual.on(decision, &self.ruling, flow));
    }
}
