//! Telegram's FakeTLS (M17): an extension that no browser sends, or the hello's fingerprint.
//!
//! The stream is put together before it is fingerprinted, so small segments do not help.
//! https://github.com/telegramdesktop/tdesktop/pull/30513, issues 30733 and 30734; mtg #547 for the silence.

use okno_model::Mechanism;
use okno_wire::tls::{ClientHello, Ja4Transport, ja4, ja4_head};
use okno_wire::{Protocol, tls};

use super::maker::{Draw, FingerprintSet, Maker, NetworkSet, Ruling};
use super::sni::silence;
use super::{DefaultValue, ParamSpec, TechniqueSpec};
use crate::action::{Action, Forge, Ways};
use crate::middlebox::{Direction, Evidence};
use crate::profile::ProfileError;
use crate::technique::{Decision, Decisions, Event, FlowView, Interest, Technique};

/// M17.
pub static MTPROXY: TechniqueSpec = TechniqueSpec {
    name: "fake_tls",
    doc: "a hello with an odd extension or a listed fingerprint is dropped or reset, loses its first segment, or is let through into silence",
    roles: &["networks", "except_networks", "fingerprints"],
    params: &[&[
        ParamSpec {
            name: "extension",
            unit: "",
            default: DefaultValue::Number(0.0),
            doc: "number of the extension that gives it away; 0 does not ask",
        },
        ParamSpec {
            name: "extension_bytes",
            unit: "bytes",
            default: DefaultValue::Number(0.0),
            doc: "length of that extension's body",
        },
        ParamSpec {
            name: "outcome",
            unit: "",
            default: DefaultValue::Text("drop"),
            doc: "`drop` the hello and all after it, `reset`, `drop_first_segment` alone, or `silence_later`",
        },
        ParamSpec {
            name: "handshake_packets",
            unit: "packets",
            default: DefaultValue::Number(6.0),
            doc: "data packets after the hello that pass before the silence of `silence_later`",
        },
    ]],
    make: |maker| make(maker),
};

fn make(maker: &Maker<'_>) -> Result<Box<dyn Technique>, ProfileError> {
    let outcome =
        match maker.text("outcome", &["drop", "reset", "drop_first_segment", "silence_later"])?.as_str() {
            "reset" => Outcome::Reset,
            "drop_first_segment" => Outcome::DropFirstSegment,
            "silence_later" => Outcome::SilenceLater,
            _ => Outcome::Drop,
        };
    let fake = FakeTls {
        ruling: maker.ruling(),
        networks: maker.networks("networks")?,
        except: maker.networks("except_networks")?,
        fingerprints: maker.fingerprints("fingerprints")?,
        extension: maker.count("extension")? as u16,
        extension_bytes: maker.count("extension_bytes")? as usize,
        outcome,
        handshake_packets: maker.draw("handshake_packets")?,
    };
    if fake.extension == 0 && !fake.fingerprints.is_given() {
        return Err(maker.wrong(
            "extension",
            "neither an extension nor fingerprints are given",
            "give one of them",
        ));
    }
    Ok(Box::new(fake))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Drop,
    DropFirstSegment,
    Reset,
    SilenceLater,
}

#[derive(Debug)]
struct FakeTls {
    ruling: Ruling,
    networks: NetworkSet,
    except: NetworkSet,
    fingerprints: FingerprintSet,
    extension: u16,
    extension_bytes: usize,
    outcome: Outcome,
    handshake_packets: Draw,
}

impl FakeTls {
    fn evidence(&self, hello: &ClientHello<'_>) -> Option<Evidence> {
        if self.extension != 0 {
            let body = hello.extension(self.extension)?.body;
            if self.extension_bytes != 0
                && body.len() != self.extension_bytes
                && !has_random_part(body, self.extension_bytes)
            {
                return None;
            }
        }
        if !self.fingerprints.may_have(&ja4_head(hello, Ja4Transport::Tcp)) {
            return None;
        }
        let fingerprint = ja4(hello, Ja4Transport::Tcp);
        if !self.fingerprints.has(&fingerprint) {
            return None;
        }
        let detail = if self.extension == 0 {
            "fingerprint".to_owned()
        } else {
            format!("extension {:#06x}", self.extension)
        };
        Some(Evidence {
            protocol: Some(Protocol::MtProto),
            name: hello.server_name().unwrap_or_default().to_owned(),
            fingerprint,
            detail,
            ..Evidence::default()
        })
    }

    fn decide(&self, flow: &FlowView<'_>, evidence: Evidence) -> Decision {
        match self.outcome {
            Outcome::Drop => Decision::new(silence(Ways::Both, 0), evidence).dropping_this(),
            Outcome::Reset => Decision::new(Action::Nothing, evidence)
                .forging(Forge::reset(Direction::Down))
                .forging(Forge::reset(Direction::Up)),
            Outcome::DropFirstSegment => Decision::new(Action::Nothing, evidence).dropping_this(),
            Outcome::SilenceLater => {
                let after = self.handshake_packets.count(&self.ruling, flow.seed, &flow.key) as u32;
                Decision::new(
                    Action::Drop { ways: Ways::Both, after, pass_ppm: 0, data_only: true },
                    evidence,
                )
            }
        }
    }
}

/// Whether an extension of ECH's shape (type, KDF, AEAD, configuration, `enc`, payload: RFC 9849 §5) holds
/// so many bytes of `enc`, whatever it announces: Telegram's announced 32 and held 20
/// (https://github.com/telegramdesktop/tdesktop/pull/30513).
fn has_random_part(body: &[u8], bytes: usize) -> bool {
    let at = 8 + bytes;
    let Some(&[high, low]) = body.get(at..at + 2) else { return false };
    usize::from(u16::from_be_bytes([high, low])) == body.len() - at - 2
}

/// The hello in a first segment that may hold only its beginning. What decides a fingerprint's middle part,
/// the cipher suites, stands in front; that the box reads no further is our reading of the capture.
fn first_segment(payload: &[u8]) -> Option<ClientHello<'_>> {
    let record = tls::records(payload).next()?.ok()?;
    ClientHello::parse_prefix(record.body).ok()
}

impl Technique for FakeTls {
    fn rule(&self) -> &str {
        &self.ruling.id
    }

    fn mechanism(&self) -> Mechanism {
        self.ruling.mechanism
    }

    fn interest(&self) -> Interest {
        match self.outcome {
            Outcome::DropFirstSegment => Interest::DATA,
            _ => Interest::CLIENT_HELLO,
        }
    }

    fn on_event(&mut self, flow: &mut FlowView<'_>, event: &Event<'_>, decisions: &mut Decisions) {
        let ip = flow.outside.ip;
        if !self.networks.has(ip) || self.except.excepts(ip) {
            return decisions.ignore_flow();
        }
        match event {
            Event::ClientHello(hello) => {
                let Ok(parsed) = ClientHello::parse(hello.message) else { return };
                let Some(evidence) = self.evidence(&parsed) else { return };
                decisions.push(self.decide(flow, evidence));
            }
            Event::Data { packet, .. } if flow.direction == Direction::Up => {
                let parsed = first_segment(packet.payload());
                // Later segments are no hello; the first is dropped again each time it is sent again.
                let Some(evidence) = parsed.and_then(|hello| self.cut_evidence(&hello)) else { return };
                decisions.push(self.decide(flow, evidence));
            }
            _ => {}
        }
    }
}

impl FakeTls {
    /// As [`Self::evidence`], with the cipher part of the fingerprint alone when the hello is cut.
    fn cut_evidence(&self, hello: &ClientHello<'_>) -> Option<Evidence> {
        if hello.cut.is_none() {
            return self.evidence(hello);
        }
        let fingerprint = ja4(hello, Ja4Transport::Tcp);
        let ciphers = fingerprint.split('_').nth(1)?;
        if !self.fingerprints.has_middle(ciphers) {
            return None;
        }
        let detail = "cipher suites of a hello that is cut".to_owned();
        let name = hello.server_name().unwrap_or_default().to_owned();
        Some(Evidence { protocol: Some(Protocol::MtProto), name, fingerprint, detail, ..Evidence::default() })
    }
}
