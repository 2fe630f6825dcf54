//! Conversations over datagrams: what a client says in its first flights, and what comes back.
//!
//! A [`Speech`] is a client of one protocol, or its control: random or printable bytes of the same sizes at
//! the same times. The far end is a host that consents ([`crate::helper::udp_echo`]). No secrets are
//! exchanged: where a real client has ciphertext there are random bytes, so that a box sees what it would see
//! in the field and nothing can be read out of it.

pub mod bout;
pub mod call;
pub mod carrier;
pub mod control;
pub mod tally;
pub mod tunnel;

use core::time::Duration;

use okno_wire::Instant;

use crate::arms::Arm;
use crate::net::{Net, NetError, NetErrorKind, sleep};
pub use bout::{Bout, Plan};
pub use carrier::{Carrier, Framing};
pub use tally::{Shape, Tally};

/// What a client says. Steps of a handshake wait for their answers; data do not.
pub trait Speech {
    /// Steps of the handshake.
    fn steps(&self) -> usize;
    /// The message of a step.
    fn open(&mut self, step: usize, net: &dyn Net) -> Vec<u8>;
    /// Whether `bytes` answer this step.
    fn accepts(&mut self, step: usize, bytes: &[u8]) -> bool;
    /// The message `index` of the data phase, of about `len` bytes.
    fn data(&mut self, index: u32, len: usize, net: &dyn Net) -> Vec<u8>;
    /// What a data message and its answer have in common. The helper sends the end of a message back as it
    /// was.
    fn key(&self, bytes: &[u8]) -> Option<[u8; 8]> {
        bytes.last_chunk::<8>().copied()
    }
}

/// How fast and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// tries of each step of the handshake
    pub tries: u32,
    /// wait for an answer at the first try; each further one waits twice as long
    pub wait: Duration,
    /// data messages
    pub packets: u32,
    /// bytes of each
    pub len: usize,
    /// time between two
    pub every: Duration,
    /// wait for late answers after the last
    pub tail: Duration,
}

impl Pace {
    /// Seconds that one conversation takes at most.
    pub fn most(&self, steps: usize) -> Duration {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.wait * ((1 << self.tries.min(16)) - 1) * steps + self.every * self.packets + self.tail
    }
}

/// What came of a conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// the step of the handshake that stayed without answer
    pub stuck: Option<usize>,
    /// round trip of the handshake's first step
    pub first: Option<Duration>,
    /// the data phase
    pub tally: Tally,
    /// messages of the handshake that were sent, tries included
    pub opened: u32,
    /// answers to them
    pub answered: u32,
    /// bytes sent in all
    pub sent: u64,
    /// bytes received in all
    pub received: u64,
    /// what ended it, when it was not silence
    pub error: Option<NetError>,
}

/// Holds a conversation.
pub async fn converse(net: &dyn Net, carrier: &mut Carrier, speech: &mut dyn Speech, pace: &Pace) -> Heard {
    let mut heard = Heard::default();
    for step in 0..speech.steps() {
        match shake(net, carrier, speech, (step, pace), &mut heard).await {
            Ok(true) => {}
            Ok(false) => {
                heard.stuck = Some(step);
                return heard;
            }
            Err(error) => {
                heard.stuck = Some(step);
                heard.error = Some(error);
                return heard;
            }
        }
    }
    if let Err(error) = pour(net, carrier, speech, pace, &mut heard).await {
        heard.error = Some(error);
    }
    heard
}

/// One step: sent until it is answered. A stream repeats by itself and is waited for as long as all tries
/// together.
async fn shake(
    net: &dyn Net,
    carrier: &mut Carrier,
    speech: &mut dyn Speech,
    (step, pace): (usize, &Pace),
    heard: &mut Heard,
) -> Result<bool, NetError> {
    let message = speech.open(step, net);
    let tries = if carrier.repeats() { 1 } else { pace.tries };
    let mut wait = if carrier.repeats() { pace.wait * ((1 << pace.tries.min(16)) - 1) } else { pace.wait };
    for _ in 0..tries {
        let asked = net.now();
        carrier.send(net, &message).await?;
        heard.opened += 1;
        heard.sent += message.len() as u64;
        let until = asked + wait;
        while let Some((at, bytes)) = carrier.receive(net, until).await? {
            heard.received += bytes.len() as u64;
            if speech.accepts(step, &bytes) {
                heard.answered += 1;
                heard.first.get_or_insert(at.since(asked));
                return Ok(true);
            }
        }
        wait *= 2;
    }
    Ok(false)
}

/// The data phase: messages on schedule, answers as they come.
async fn pour(
    net: &dyn Net,
    carrier: &mut Carrier,
    speech: &mut dyn Speech,
    pace: &Pace,
    heard: &mut Heard,
) -> Result<(), NetError> {
    for index in 0..pace.packets {
        let message = speech.data(index, pace.len, net);
        carrier.send(net, &message).await?;
        heard.sent += message.len() as u64;
        heard.tally.sent(speech.key(&message), net.now());
        let until = net.now() + pace.every;
        gather(net, carrier, speech, until, heard).await?;
        if net.now() < until {
            sleep(net, until.since(net.now())).await;
        }
    }
    let until = net.now() + pace.tail;
    gather(net, carrier, speech, until, heard).await
}

async fn gather(
    net: &dyn Net,
    carrier: &mut Carrier,
    speech: &dyn Speech,
    until: Instant,
    heard: &mut Heard,
) -> Result<(), NetError> {
    while !heard.tally.is_complete() {
        let Some((at, bytes)) = carrier.receive(net, until).await? else { break };
        heard.received += bytes.len() as u64;
        if let Some(key) = speech.key(&bytes) {
            heard.tally.back(key, at);
        }
    }
    Ok(())
}

/// Fills in what a conversation shows. `generic_timeout_error` stands for silence: at `handshake` when a step
/// had no answer, at `transfer` when answers ended for good or never came. Scattered loss is no failure; its
/// share stands in `loss`, and `note` says the shape ([`Shape`]).
pub fn tell(arm: &mut Arm, heard: &Heard) {
    let silence = || Some(NetErrorKind::TimedOut.failure().as_str().to_owned());
    arm.sent_bytes = heard.sent;
    arm.received_bytes = heard.received;
    arm.sent_packets = u64::from(heard.opened) + heard.tally.len() as u64;
    arm.received_packets = u64::from(heard.answered) + heard.tally.answers() as u64;
    arm.rtt_first_ms = heard.first.map(milliseconds);
    if let Some(step) = heard.stuck {
        arm.failure = silence();
        "handshake".clone_into(&mut arm.failed_at);
        arm.value = Some(step as f64);
        Shape::Silent.as_str().clone_into(&mut arm.note);
    } else {
        let shape = heard.tally.shape();
        shape.as_str().clone_into(&mut arm.note);
        arm.loss = heard.tally.loss();
        arm.value = heard.tally.last_answered().map(|last| f64::from(last) + 1.0).or(Some(0.0));
        arm.rtt_ms = heard.tally.last_rtt().map(milliseconds);
        arm.jitter_ms = heard.tally.jitter().map(|seconds| seconds * 1e3);
        if matches!(shape, Shape::Cut | Shape::Silent) {
            arm.failure = silence();
            "transfer".clone_into(&mut arm.failed_at);
        }
    }
    if let Some(error) = heard.error {
        arm.failure = Some(error.kind.failure().as_str().to_owned());
        if arm.failed_at.is_empty() {
            "transfer".clone_into(&mut arm.failed_at);
        }
    }
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// Bytes of the sizes of another speech, sent in its rhythm, that are no protocol.
#[derive(Clone, Debug)]
pub struct Noise {
    sizes: Vec<usize>,
    data: usize,
    printable: bool,
    asked: Option<[u8; 8]>,
}

impl Noise {
    /// Of the sizes of `speech` with data of `len` bytes; random, or letters.
    pub fn of(speech: &mut dyn Speech, len: usize, printable: bool, net: &dyn Net) -> Self {
        let sizes = (0..speech.steps()).map(|step| speech.open(step, net).len().max(8)).collect();
        let data = speech.data(0, len, net).len().max(8);
        Self { sizes, data, printable, asked: None }
    }

    /// Letters alone: one message of `len` bytes to open, and data of as many.
    pub fn letters(len: usize) -> Self {
        Self { sizes: vec![len], data: len, printable: true, asked: None }
    }

    fn bytes(&self, len: usize, net: &dyn Net) -> Vec<u8> {
        let mut bytes = vec![0; len];
        net.fill_random(&mut bytes);
        if self.printable {
            for byte in &mut bytes {
                *byte = b'a' + *byte % 26;
            }
        } else if let Some(first) = bytes.first_mut() {
            // Neither STUN, WireGuard (0–4), media (0x80–0xbf) nor QUIC (bit 0x40): a control must not be
            // taken for a protocol by its first byte.
            *first = 0xd0 | *first & 0x07;
        }
        bytes
    }
}

impl Speech for Noise {
    fn steps(&self) -> usize {
        self.sizes.len()
    }

    fn open(&mut self, step: usize, net: &dyn Net) -> Vec<u8> {
        let bytes = self.bytes(self.sizes.get(step).copied().unwrap_or(64), net);
        self.asked = self.key(&bytes);
        bytes
    }

    fn accepts(&mut self, _: usize, bytes: &[u8]) -> bool {
        self.asked.is_some() && self.key(bytes) == self.asked
    }

    fn data(&mut self, _: u32, _: usize, net: &dyn Net) -> Vec<u8> {
        self.bytes(self.data, net)
    }
}
