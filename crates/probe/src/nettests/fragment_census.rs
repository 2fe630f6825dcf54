//! `fragment_census`: how many IP fragments of one packet does the path let through?
//!
//! The Russian boxes hold fragments until the last is there and discard a packet of more than 45 of them,
//! while Linux takes 64 and more, and few hosts of the world behave as the boxes do (IMC 2022,
//! doi:10.1145/3517745.3561461). The datagrams are harmless and go to a partner that answers by number.

use core::time::Duration;

use okno_model::Failure;
use okno_wire::build::{self, IpRepr};
use okno_wire::packet::number;
use serde::Deserialize;
use serde_json::Value;

use super::throttling::partner_contact;
use crate::arms::{Arm, Role};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::helper::fragments::{question, read_answer};
use crate::net::{Endpoint, Net, NetErrorKind, Packets, RawWatch, Task, UdpSetup, below, receive, sleep};
use crate::trial::Trials;

/// What may be chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FragmentCensus {
    /// address and port of the partner; the helper's when empty
    pub partner: String,
    /// into how many fragments, in this order; one stands for whole
    pub counts: Vec<u16>,
    /// how often each is tried
    pub rounds: u32,
    /// patience with an answer, seconds: a box may hold fragments as long as it likes
    pub seconds: u64,
}

impl Default for FragmentCensus {
    fn default() -> Self {
        Self { partner: String::new(), counts: vec![1, 2, 24, 44, 45, 46, 47, 60], rounds: 2, seconds: 3 }
    }
}

static MANUAL: Manual = Manual {
    title: "how many IP fragments of one packet pass",
    trigger: "one UDP datagram to a partner that consents, cut into 46 fragments",
    control: "the same datagram whole, in 2, and in 45 fragments",
    logic: "45 pass and 46 do not: a device of the kind that holds 45 is on the path; all pass: none is; \
            two do not \
            pass: fragments are dropped here anyway, and nothing is told",
    blind: "whether that device filters anything; paths that drop all fragments; needs the right to send raw \
            packets, and a way without a NAT that reassembles",
    bytes: 20_000,
    seconds: 60,
    risk: Risk::Low,
    risk_note: "fragments are rare in ordinary traffic; their contents are meaningless",
    source: "IMC 2022, doi:10.1145/3517745.3561461",
};

/// Bytes of a fragment's payload: the least there is (RFC 791 §3.2).
const UNIT: usize = 8;

impl FragmentCensus {
    async fn step(&self, trials: &Trials<'_>, raw: &dyn Packets, to: Endpoint, count: u16, round: u32) {
        let net = &**trials.world();
        let name = format!("fragments.{count}.{round}");
        let mut arm = Arm { round, ..trials.book.open(name, Role::Step, "fragments") }.toward(to, "");
        arm.value = Some(f64::from(count));
        arm.variant = if count == 1 { "whole" } else { "fragments" }.to_owned();
        match self.ask(net, raw, to, count, &mut arm).await {
            Ok(len) => {
                arm.received_packets = 1;
                arm.received_bytes = u64::from(len);
            }
            Err(failure) => arm.fail("transfer", failure),
        }
        trials.book.close(arm);
    }

    async fn ask(
        &self,
        net: &dyn Net,
        raw: &dyn Packets,
        to: Endpoint,
        count: u16,
        arm: &mut Arm,
    ) -> Result<u16, Failure> {
        let socket = net.udp(UdpSetup::default()).map_err(|error| error.kind.failure())?;
        let own = net.own_address(to.ip).ok_or(Failure::NetworkUnreachable)?;
        let asked = below(net, u64::MAX);
        // The UDP header is the first fragment's; every other has one unit.
        let content = question(asked, (usize::from(count) * UNIT).max(26) - UNIT);
        let ip = IpRepr::new(own, to.ip);
        let segment = build::udp_segment(&ip, socket.local().port, to.port, &content);
        let cuts: Vec<usize> = (1..usize::from(count)).map(|at| at * UNIT).collect();
        let id = below(net, 65_535) as u32 + 1;
        let packets = match count {
            1 => vec![ip.emit(number::UDP, None, &segment)],
            _ => ip.emit_fragments(number::UDP, id, &cuts, &segment),
        };
        arm.sent_packets = packets.len() as u64;
        arm.sent_bytes = content.len() as u64;
        for packet in &packets {
            raw.send(packet).map_err(|error| error.kind.failure())?;
        }
        let until = net.now() + Duration::from_secs(self.seconds);
        loop {
            let left = until.since(net.now());
            let came = receive(net, &*socket, left).await.map_err(|error| error.kind.failure())?;
            match read_answer(&came.bytes) {
                Some((number, len)) if number == asked && came.from == to => return Ok(len),
                _ => {}
            }
        }
    }

    async fn measure(&self, context: &Context) -> Result<Value, String> {
        let trials = Trials::new(context);
        let partner = trials.partner(&self.partner);
        let to = partner.ok_or("fragment_census needs a partner that answers: give a helper")?;
        let watch = RawWatch { remote: to.ip, protocol: number::UDP, own_port: 0, take: false };
        let raw = match context.world.raw(watch) {
            Ok(raw) => raw,
            Err(error) => {
                let mut arm = trials.book.open("fragments", Role::Step, "fragments").toward(to, "");
                arm.fail("raw", error.kind.failure());
                arm.note =
                    if error.kind == NetErrorKind::NotPermitted { "not_permitted" } else { "no_raw_packets" }
                        .to_owned();
                trials.book.close(arm);
                return Ok(trials.keys());
            }
        };
        for round in 0..self.rounds {
            for count in &self.counts {
                self.step(&trials, &*raw, to, (*count).clamp(1, 8_000), round).await;
                sleep(&*context.world, Duration::from_millis(100)).await;
            }
        }
        Ok(trials.keys())
    }
}

impl Experiment for FragmentCensus {
    fn name(&self) -> &'static str {
        "fragment_census"
    }

    fn version(&self) -> &'static str {
        "0.1.0"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        false
    }

    fn alone(&self) -> bool {
        true
    }

    fn contacts(&self, _: Option<&str>) -> Vec<Contact> {
        let mut contacts = partner_contact(&self.partner, "one UDP datagram in pieces", false);
        contacts.iter_mut().for_each(|contact| contact.port = contact.port.replace("tcp/", "udp/"));
        contacts
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(self.measure(context))
    }
}
