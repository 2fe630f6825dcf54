//! A bout: one thing under suspicion and its controls, each an arm with a source port of its own.

use core::net::IpAddr;
use core::time::Duration;

use okno_wire::Endpoint;

use super::{Carrier, Framing, Noise, Pace, Speech, converse, tell};
use crate::arm_book::ArmBook;
use crate::arms::{Arm, Role};
use crate::experiment::Context;
use crate::net::{Dial, NetError, NetErrorKind, sleep};

/// What an input names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// what to try
    pub scheme: &'a str,
    /// name or address
    pub host: &'a str,
    /// port
    pub port: Option<u16>,
}

/// `scheme://host[:port]`; `None` for anything else.
pub fn target(input: &str) -> Option<Target<'_>> {
    let (scheme, rest) = input.split_once("://")?;
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (host, tail) = inner.split_once(']')?;
            (host, if tail.is_empty() { None } else { Some(tail.strip_prefix(':')?) })
        }
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(text) => Some(text.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    (!host.is_empty() && !host.contains(['/', '@', '?'])).then_some(Target { scheme, host, port })
}

/// The address of a host: itself, or the first that the system's resolver gives. `Err` is OONI's failure.
pub async fn address(context: &Context, host: &str) -> Result<IpAddr, String> {
    if let Ok(ip) = host.parse() {
        return Ok(ip);
    }
    let found = context.world.lookup(host).await.map_err(|failure| failure.as_str().to_owned())?;
    let no_answer = okno_model::Failure::DnsNoAnswer.as_str();
    found.first().copied().ok_or_else(|| no_answer.to_owned())
}

/// One arm to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// the arm's name
    pub name: &'static str,
    /// its role
    pub role: Role,
    /// which repetition
    pub round: u32,
    /// port of the far end
    pub port: u16,
    /// what is said: the protocol, or the control's bytes
    pub noise: bool,
}

/// The usual order: a control before, the target, a control after it, the target again, and both on another
/// port. The control before shows that the path worked; the one after, whether a block stays on the address.
pub fn usual(port: u16, other: u16) -> Vec<Plan> {
    let plan = |name, role, round, port, noise| Plan { name, role, round, port, noise };
    vec![
        plan("control.before", Role::Random, 0, port, true),
        plan("target", Role::Target, 0, port, false),
        plan("control.after", Role::Random, 1, port, true),
        plan("repeat", Role::Repeat, 1, port, false),
        plan("other_port", Role::OtherPort, 0, other, false),
        plan("control.other_port", Role::Random, 2, other, true),
    ]
}

/// What all arms of a comparison share.
pub struct Bout<'a> {
    /// what it runs in
    pub context: &'a Context,
    /// where arms go
    pub book: &'a ArmBook,
    /// the arms' variant: the protocol
    pub variant: &'a str,
    /// rhythm and sizes
    pub pace: Pace,
    /// over TCP, and how messages stand in it; UDP when `None`
    pub framing: Option<Framing>,
    /// the control is letters, since what is compared is random itself
    pub letters: bool,
}

impl Bout<'_> {
    /// An arm that begins now.
    pub fn begin(&self, plan: &Plan, remote: Endpoint) -> Arm {
        let operation = if self.framing.is_some() { "transfer" } else { "udp_exchange" };
        let mut arm = self.book.open(plan.name, plan.role, operation).toward(remote, "");
        arm.round = plan.round;
        self.variant.clone_into(&mut arm.variant);
        arm.transaction_id = self.context.transaction();
        arm
    }

    async fn open(&self, remote: Endpoint) -> Result<Carrier, NetError> {
        match self.framing {
            None => Carrier::udp(&*self.context.world, remote),
            Some(framing) => Ok(Carrier::tcp(self.context.world.connect(Dial::to(remote)).await?, framing)),
        }
    }

    /// Holds one arm with `speech`, or with noise of its sizes. A target over UDP is followed at once by
    /// noise from its own source port: whether a block stays on the flow.
    pub async fn hold(&self, ip: IpAddr, plan: &Plan, speech: &mut dyn Speech) {
        let net = &*self.context.world;
        let remote = Endpoint { ip, port: plan.port };
        let mut arm = self.begin(plan, remote);
        let mut noise = Noise::of(speech, self.pace.len, self.letters, net);
        match self.open(remote).await {
            Err(error) => {
                arm.fail(if self.framing.is_some() { "tcp" } else { "udp" }, error.kind.failure());
                self.book.close(arm);
            }
            Ok(mut carrier) => {
                let said: &mut dyn Speech = if plan.noise { &mut noise } else { speech };
                let heard = converse(net, &mut carrier, said, &self.pace).await;
                tell(&mut arm, &heard);
                self.book.close(arm);
                if plan.role == Role::Target && !carrier.repeats() {
                    self.residual(&mut carrier, &mut noise, remote).await;
                }
            }
        }
    }

    async fn residual(&self, carrier: &mut Carrier, noise: &mut Noise, remote: Endpoint) {
        let plan = Plan { name: "residual", role: Role::Recovery, round: 0, port: remote.port, noise: true };
        let mut arm = self.begin(&plan, remote);
        let pace = Pace { packets: self.pace.packets.min(10), tries: self.pace.tries.min(2), ..self.pace };
        let heard = converse(&*self.context.world, carrier, noise, &pace).await;
        tell(&mut arm, &heard);
        self.book.close(arm);
    }

    /// TCP and ICMP to the same address: whether the host is alive, and how the path treats those.
    pub async fn beside(&self, ip: IpAddr, port: u16) {
        let (net, remote) = (&*self.context.world, Endpoint { ip, port });
        let mut tcp = self.book.open("tcp", Role::OtherTransport, "transfer").toward(remote, "");
        tcp.transaction_id = self.context.transaction();
        match net.connect(Dial::to(remote)).await {
            Err(error) => tcp.fail("tcp", error.kind.failure()),
            Ok(stream) => {
                let mut carrier = Carrier::tcp(stream, Framing::Echo);
                // Letters: bytes that look like nothing have filters of their own.
                let pace = Pace { packets: 16, len: 160, tail: Duration::from_secs(3), ..self.pace };
                let heard = converse(net, &mut carrier, &mut Noise::letters(160), &pace).await;
                tell(&mut tcp, &heard);
            }
        }
        self.book.close(tcp);
        self.pings(ip).await;
    }

    /// Echo requests of the size of a small packet.
    async fn pings(&self, ip: IpAddr) {
        const COUNT: u64 = 20;
        let net = &*self.context.world;
        let mut arm = self.book.open("icmp", Role::OtherTransport, "ping");
        arm.endpoint = ip.to_string();
        arm.transaction_id = self.context.transaction();
        let mut last = None;
        while arm.sent_packets < COUNT {
            arm.sent_packets += 1;
            match net.ping(ip, None, 160, Duration::from_secs(1)).await {
                Ok(echo) if echo.reached => {
                    arm.received_packets += 1;
                    arm.rtt_ms = Some(echo.rtt.as_secs_f64() * 1e3);
                    arm.rtt_first_ms = arm.rtt_first_ms.or(arm.rtt_ms);
                }
                Ok(_) => {}
                Err(error) => {
                    last = Some(error);
                    // Five in vain say as much as twenty; what the system forbids need not be asked again.
                    let vain = arm.received_packets == 0 && arm.sent_packets >= 5;
                    if vain || error.kind != NetErrorKind::TimedOut {
                        break;
                    }
                }
            }
            sleep(net, Duration::from_millis(50)).await;
        }
        arm.loss = Some(1.0 - arm.received_packets as f64 / arm.sent_packets as f64);
        if let (0, Some(error)) = (arm.received_packets, last) {
            arm.loss = None;
            arm.fail("ping", error.kind.failure());
        }
        self.book.close(arm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_a_protocol_a_host_and_maybe_a_port() {
        let found = target("wireguard://vpn.example:51820").expect("it is one");
        assert_eq!((found.scheme, found.host, found.port), ("wireguard", "vpn.example", Some(51_820)));
        let found = target("stun://[2001:db8::1]:3478/").expect("it is one");
        assert_eq!((found.host, found.port), ("2001:db8::1", Some(3_478)));
        assert_eq!(target("l2tp://192.0.2.1").expect("it is one").port, None);
        for wrong in ["vpn.example", "a://", "a://b:0", "a://b:70000", "a://u@b", "a://[::1", "a://[::1]x"] {
            assert_eq!(target(wrong), None, "{wrong}");
        }
    }
}
