//! The peer that consents: answers the first flights of tunnels and calls, and sends back everything else.
//!
//! It keeps no session, so that no stranger can fill it; answers are no longer than questions (but one of 26
//! bytes to 14). Two echoes that meet would talk for ever, so nothing is answered that comes from a port of
//! its own kind or below 1024 (RFC 862 services, DNS, NTP), and a source has a budget.

use core::net::IpAddr;
use core::time::Duration;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use okno_wire::{Endpoint, Instant, openvpn};

use crate::net::{Datagrams, NetError, Stream, UdpSetup, World, within};
use crate::talk::carrier::{read_some, write_all};
use crate::talk::{call, tunnel};

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoSetup {
    /// address; unspecified for all
    pub ip: IpAddr,
    /// UDP ports
    pub udp: Vec<u16>,
    /// TCP ports
    pub tcp: Vec<u16>,
    /// datagrams and reads that one source gets answered in a minute
    pub budget: u32,
}

impl EchoSetup {
    /// The usual ports of tunnels and calls, and one that is nobody's (40123). Ports below 1024 need
    /// privileges and are left to whoever has them.
    pub const UDP: [u16; 9] = [1_194, 1_400, 1_701, 3_478, 4_500, 8_388, 19_302, 40_123, 51_820];
    /// The same over TCP.
    pub const TCP: [u16; 3] = [1_194, 8_388, 40_123];

    /// On `ip`, at the usual ports.
    pub fn at(ip: IpAddr) -> Self {
        Self { ip, udp: Self::UDP.to_vec(), tcp: Self::TCP.to_vec(), budget: 6_000 }
    }
}

/// Sources that are remembered for their budget.
const MAX_SOURCES: usize = 4_096;

/// What each source has used.
#[derive(Debug)]
struct Budget {
    limit: u32,
    used: BTreeMap<IpAddr, (Instant, u32)>,
}

impl Budget {
    /// Whether one more may be answered.
    fn takes(&mut self, from: IpAddr, now: Instant) -> bool {
        if self.used.len() >= MAX_SOURCES && !self.used.contains_key(&from) {
            self.used.retain(|_, (began, _)| now.since(*began) < Duration::from_secs(60));
            if self.used.len() >= MAX_SOURCES {
                return false;
            }
        }
        let (began, count) = self.used.entry(from).or_insert((now, 0));
        if now.since(*began) >= Duration::from_secs(60) {
            (*began, *count) = (now, 0);
        }
        *count += 1;
        *count <= self.limit
    }
}

/// Opens the ports and answers until the session ends. Fails when a port cannot be opened.
pub fn serve(world: &World, setup: &EchoSetup) -> Result<(), NetError> {
    let budget = Rc::new(RefCell::new(Budget { limit: setup.budget, used: BTreeMap::new() }));
    let own: Rc<[u16]> = setup.udp.clone().into();
    for &port in &setup.udp {
        let local = if setup.ip.is_unspecified() { None } else { Some(setup.ip) };
        let socket = world.udp(UdpSetup { port, local, peer: None })?;
        let (net, budget, own) = (world.clone(), budget.clone(), own.clone());
        world.spawn(Box::pin(async move { answer_datagrams(&net, &*socket, &budget, &own).await }));
    }
    for &port in &setup.tcp {
        let mut listener = world.listen(Endpoint { ip: setup.ip, port })?;
        let (net, budget) = (world.clone(), budget.clone());
        world.spawn(Box::pin(async move {
            while let Ok(stream) = listener.accept().await {
                let (inner, budget) = (net.clone(), budget.clone());
                net.spawn(Box::pin(async move { answer_stream(&inner, stream, &budget).await }));
            }
        }));
    }
    Ok(())
}

async fn answer_datagrams(net: &World, socket: &dyn Datagrams, budget: &RefCell<Budget>, own: &[u16]) {
    loop {
        let next = core::future::poll_fn(|context| socket.poll_receive(context)).await;
        let Ok(datagram) = next else {
            // An ICMP error about an answer: somebody else's next datagram may still be answered. The pause
            // keeps a socket that is broken for good from turning in circles.
            crate::net::sleep(&**net, Duration::from_millis(10)).await;
            continue;
        };
        let from = datagram.from;
        let loops = from.port < 1_024 || own.contains(&from.port);
        if loops || !budget.borrow_mut().takes(from.ip, net.now()) {
            continue;
        }
        let answer = reply(&datagram.bytes, from, &mut |bytes| net.fill_random(bytes));
        // A caller without a way back hears nothing.
        let _ = socket.send_to(&answer, from, None);
    }
}

/// What a datagram from `from` is answered with.
pub fn reply(bytes: &[u8], from: Endpoint, fill: &mut dyn FnMut(&mut [u8])) -> Vec<u8> {
    call::answer(bytes, from, fill).or_else(|| tunnel::answer(bytes, fill)).unwrap_or_else(|| bytes.to_vec())
}

/// A connection that says nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes of one frame that are waited for.
const MOST: usize = 65_537;

async fn answer_stream(net: &World, mut stream: Box<dyn Stream>, budget: &RefCell<Budget>) {
    let (_, remote) = stream.ends();
    let mut buffer = Vec::new();
    let mut framed = None;
    loop {
        let Some(Ok(1..)) = within(&**net, IDLE, read_some(stream.as_mut(), &mut buffer)).await else {
            return;
        };
        if !budget.borrow_mut().takes(remote.ip, net.now()) || buffer.len() > MOST {
            return;
        }
        // A client's reset of OpenVPN is 14 bytes behind their length; all else is sent back as it comes.
        if framed.is_none() && buffer.len() >= 3 {
            framed = Some(buffer[..2] == [0, 14] && openvpn::Opcode::of(buffer[2]).is_some());
        }
        let answer = match framed {
            None => continue,
            Some(false) => core::mem::take(&mut buffer),
            Some(true) => framed_answers(net, &mut buffer),
        };
        if write_all(&**net, stream.as_mut(), &answer).await.is_err() {
            return;
        }
    }
}

/// Answers to the whole frames of `buffer`, which keeps the rest.
fn framed_answers(net: &World, buffer: &mut Vec<u8>) -> Vec<u8> {
    let mut answers = Vec::new();
    let mut done = 0;
    for frame in openvpn::frames(buffer) {
        done += 2 + frame.len();
        let answer = tunnel::answer(frame, &mut |bytes| net.fill_random(bytes));
        answers.extend(openvpn::framed(&answer.unwrap_or_else(|| frame.to_vec())));
    }
    buffer.drain(..done);
    answers
}
