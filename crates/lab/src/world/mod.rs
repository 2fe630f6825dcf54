//! One cell of the lab: nodes, links, programs and a queue of events in virtual time.
//!
//! A world is single-threaded and depends on nothing but its setup and seed: not on another world, an
//! address in memory, the order of a hash table or the time of day. It stays on the thread that built it
//! (programs share it through `Rc`); whoever wants several threads builds several worlds.
//!
//! ```
//! use okno_lab::world::{LinkSetup, Setup, World};
//!
//! let mut world = World::new(Setup { seed: 7, ..Setup::default() });
//! let [client, server] = ["192.0.2.1", "198.51.100.1"].map(|ip| {
//!     world.host(ip, &[ip.parse().expect("an address")])
//! });
//! world.link(client, server, LinkSetup::millis(20));
//! world.spawn(server, |net| async move {
//!     let mut listener = net.listen(80).expect("the port is free");
//!     while let Ok(mut stream) = listener.accept().await {
//!         let _ = stream.write_all(b"hello").await;
//!     }
//! });
//! let text = world.block_on(client, |net| async move {
//!     let mut stream = net.connect("198.51.100.1:80".parse().expect("an end")).await?;
//!     stream.read_to_end(1_000).await
//! });
//! assert_eq!(text, Some(Ok(b"hello".to_vec())));
//! ```

pub mod chance;
mod executor;
pub(crate) mod hasher;
mod inspection;
pub(crate) mod ip;
mod link;
pub(crate) mod moment;
mod nat;
pub(crate) mod queue;
mod router;
mod routes;
mod wires;

use core::cell::RefCell;
use core::future::Future;
use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;

use okno_censor::Middlebox;
use okno_wire::Instant;

use crate::host::{Host, HostSetup};
use crate::net::{Handle, Net};
use crate::tap::Sink;
use executor::{Executor, Program};
use inspection::Inspection;
use nat::Nat;
use queue::Event;
use router::{Router, Table};

pub use inspection::{BoxCount, BoxMode, Deed};
pub use link::{LinkCount, LinkSetup, Side};
pub use nat::{NatBinding, NatCount, NatSetup};
pub use router::{Hop, Prefix};
pub(crate) use wires::Wires;
pub use wires::{Packet, WorldCount};

/// A node of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// A link of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// What a world starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// seed of all chance
    pub seed: u64,
    /// virtual time at the beginning
    pub start: Instant,
    /// keep a hash over all arrivals ([`World::trace_hash`])
    pub traced: bool,
}

impl Default for Setup {
    /// Seed 1, 2025-01-01T00:00:00Z, traced.
    fn default() -> Self {
        Self { seed: 1, start: Instant::from_secs(1_735_689_600), traced: true }
    }
}

pub(crate) enum Kind {
    Host(Box<Host>),
    Router(Router),
    Nat(Box<Nat>),
    Box(Box<Inspection>),
}

/// Events and polls of one moment of virtual time beyond which a world is taken to go in circles. The largest
/// cell of the shipped scenarios has some thousands.
pub const MOST_AT_ONCE: u64 = 5_000_000;

/// What programs and nodes share.
pub(crate) struct Core {
    pub wires: Wires,
    pub nodes: Vec<Kind>,
    pub spawned: Vec<(NodeId, Program, u64)>,
}

impl Core {
    /// The host at `node`, with the wires it sends on.
    pub fn host(&mut self, node: NodeId) -> (&mut Host, &mut Wires) {
        match &mut self.nodes[node.0 as usize] {
            Kind::Host(host) => (host, &mut self.wires),
            _ => panic!("{} is no host", self.wires.name(node)),
        }
    }

    fn deliver(&mut self, node: NodeId, port: u16, packet: Packet) {
        let wires = &mut self.wires;
        match &mut self.nodes[node.0 as usize] {
            Kind::Host(host) => host.arrive(node, wires, packet),
            Kind::Router(router) => router.arrive(node, wires, packet),
            Kind::Nat(nat) => nat.arrive(node, wires, port, packet),
            Kind::Box(inspection) => inspection.arrive(node, wires, port, packet),
        }
    }

    /// Lets an event happen that needs no more than nodes and wires.
    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { link, from, packet } => {
                let (node, port) = self.wires.arrived(link, from, &packet);
                self.deliver(node, port, packet);
            }
            Event::Leave { node, port, packet } => self.wires.send(node, port, packet),
            Event::BoxTimer { node } => {
                if let Kind::Box(inspection) = &mut self.nodes[node.0 as usize] {
                    inspection.timer(node, &mut self.wires);
                }
            }
            Event::TcpTimer { node, connection, generation } => {
                let (host, wires) = self.host(node);
                host.tcp_timer(node, wires, connection, generation);
            }
            Event::Wake(waker) => waker.wake(),
            Event::Act(_) | Event::Nothing => {}
        }
    }
}

/// A cell: see the [module](self).
pub struct World {
    pub(crate) core: Rc<RefCell<Core>>,
    executor: Executor,
    /// what the timeline's actions draw from
    stream: chance::Stream,
}

impl World {
    /// An empty world.
    pub fn new(setup: Setup) -> Self {
        chance::begin(setup.seed);
        let mut wires = Wires::new(setup.seed, setup.start);
        wires.traced = setup.traced;
        let core = Core { wires, nodes: Vec::new(), spawned: Vec::new() };
        let stream = chance::Stream::new(chance::hash(setup.seed, &[5]));
        Self { core: Rc::new(RefCell::new(core)), executor: Executor::default(), stream }
    }

    fn add(&mut self, name: &str, make: impl FnOnce(u64) -> Kind) -> NodeId {
        let mut core = self.core.borrow_mut();
        let id = NodeId(u32::try_from(core.nodes.len()).expect("fewer than 2^32 nodes"));
        let seed = chance::hash_name(core.wires.seed, name) ^ chance::hash(0, &[u64::from(id.0)]);
        core.nodes.push(make(seed));
        core.wires.ports.push(Vec::new());
        core.wires.names.push(name.to_owned());
        id
    }

    /// A host with these addresses.
    pub fn host(&mut self, name: &str, addresses: &[IpAddr]) -> NodeId {
        self.host_with(name, HostSetup::new(addresses))
    }

    /// A host with chosen buffers and manners.
    pub fn host_with(&mut self, name: &str, setup: HostSetup) -> NodeId {
        self.add(name, |seed| Kind::Host(Box::new(Host::new(setup, seed))))
    }

    /// A router; its addresses are the sources of its ICMP messages. A `silent` one sends no errors.
    pub fn router(&mut self, name: &str, addresses: &[IpAddr], silent: bool) -> NodeId {
        let router =
            Router { addresses: addresses.to_vec(), table: Table::default(), silent, loses_ipv6: false };
        self.add(name, |_| Kind::Router(router))
    }

    /// A NAT. Link its inside first, its outside second.
    pub fn nat(&mut self, name: &str, setup: NatSetup) -> NodeId {
        self.add(name, |_| Kind::Nat(Box::new(Nat::new(setup))))
    }

    /// A middlebox. Link its subscriber's side first, its core's side second.
    pub fn middlebox(&mut self, name: &str, engine: Box<dyn Middlebox>) -> NodeId {
        self.add(name, |seed| Kind::Box(Box::new(Inspection::new(engine, seed))))
    }

    /// A link that is the same both ways.
    pub fn link(&mut self, a: NodeId, b: NodeId, setup: LinkSetup) -> LinkId {
        self.link_ways(a, b, setup, setup)
    }

    /// A link with a setup for each way.
    pub fn link_ways(&mut self, a: NodeId, b: NodeId, from_a: LinkSetup, from_b: LinkSetup) -> LinkId {
        self.core.borrow_mut().wires.join(a, b, [from_a, from_b])
    }

    /// Sends what a router has for `prefix` over `link`, or ends it; `link` must end at the router.
    pub fn route(&mut self, router: NodeId, prefix: Prefix, link: LinkId) {
        let mut core = self.core.borrow_mut();
        let port = core.wires.ports[router.0 as usize].iter().position(|(id, _)| *id == link);
        let port = port.expect("the link ends at the router") as u16;
        core.router(router).table.insert(prefix, Hop::Port(port));
    }

    /// Drops what a router has for `prefix`: in silence, or with an ICMP message.
    pub fn unroute(&mut self, router: NodeId, prefix: Prefix, silently: bool) {
        let hop = if silently { Hop::Blackhole } else { Hop::Prohibit };
        self.core.borrow_mut().router(router).table.insert(prefix, hop);
    }

    /// Has a router swallow all IPv6, or no longer: routes to single addresses would outlive a route to all.
    pub fn set_router_loses_ipv6(&mut self, router: NodeId, loses: bool) {
        self.core.borrow_mut().router(router).loses_ipv6 = loses;
    }

    /// Forgets a route.
    pub fn forget_route(&mut self, router: NodeId, prefix: Prefix) {
        self.core.borrow_mut().router(router).table.remove(prefix);
    }

    /// Gives every router a route by least delay to every host's and router's address (addresses behind a
    /// NAT are known inside of it only). Call it after the last link; routes set by hand before stay unless
    /// they are for a single address that is found.
    pub fn fill_routes(&mut self) {
        routes::fill(&mut self.core.borrow_mut());
    }

    /// Changes one way of a link; packets on it arrive as they would have.
    pub fn change_link(&mut self, link: LinkId, from: Side, setup: LinkSetup) {
        self.core.borrow_mut().wires.links[link.0 as usize].ways[from.index()].setup = setup;
    }

    /// One way's setup as it is.
    pub fn link_setup(&self, link: LinkId, from: Side) -> LinkSetup {
        self.core.borrow().wires.links[link.0 as usize].ways[from.index()].setup
    }

    /// Takes a link down or up, both ways.
    pub fn set_link_up(&mut self, link: LinkId, up: bool) {
        for way in &mut self.core.borrow_mut().wires.links[link.0 as usize].ways {
            way.up = up;
        }
    }

    /// What passed one way of a link.
    pub fn link_count(&self, link: LinkId, from: Side) -> LinkCount {
        self.core.borrow().wires.link_count(link, from)
    }

    /// Takes a host off the net or puts it back: while off it neither hears nor speaks.
    pub fn set_host_up(&mut self, host: NodeId, up: bool) {
        self.core.borrow_mut().host(host).0.up = up;
    }

    /// How a box works from now on.
    pub fn set_box_mode(&mut self, node: NodeId, mode: BoxMode) {
        self.core.borrow_mut().inspection(node).mode = mode;
    }

    /// Whether a box sees the way towards the subscriber; true unless said.
    pub fn set_box_sees_down(&mut self, node: NodeId, sees: bool) {
        self.core.borrow_mut().inspection(node).sees_down = sees;
    }

    /// Gives a box another engine, as a change of policy does. State and held packets go with the old one.
    pub fn replace_engine(&mut self, node: NodeId, engine: Box<dyn Middlebox>) {
        self.core.borrow_mut().inspection(node).replace(engine);
    }

    /// What a box did to packets.
    pub fn box_count(&self, node: NodeId) -> BoxCount {
        self.core.borrow_mut().inspection(node).count
    }

    /// What happened at a NAT.
    pub fn nat_count(&self, node: NodeId) -> NatCount {
        match &self.core.borrow().nodes[node.0 as usize] {
            Kind::Nat(nat) => nat.count,
            _ => NatCount::default(),
        }
    }

    /// Has a NAT note each mapping that it makes.
    pub fn log_nat(&mut self, node: NodeId) {
        if let Kind::Nat(nat) = &mut self.core.borrow_mut().nodes[node.0 as usize] {
            nat.log = Some(Vec::new());
        }
    }

    /// Takes the mappings that a NAT made since the last call.
    pub fn take_nat_log(&mut self, node: NodeId) -> Vec<NatBinding> {
        match &mut self.core.borrow_mut().nodes[node.0 as usize] {
            Kind::Nat(nat) => nat.log.as_mut().map(core::mem::take).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Takes the deeds of all boxes since the last call, in order.
    pub fn take_deeds(&mut self) -> Vec<Deed> {
        core::mem::take(&mut self.core.borrow_mut().wires.deeds)
    }

    /// Records what leaves and reaches one end of a link: as a host there would see it.
    pub fn tap(&mut self, link: LinkId, end: Side, sink: Box<dyn Sink>) {
        self.core.borrow_mut().wires.set_tap(link, end, sink);
    }

    /// Records what a box's engine sees, with a comment where it acts.
    pub fn tap_box(&mut self, node: NodeId, sink: Box<dyn Sink>) {
        self.core.borrow_mut().wires.set_box_tap(node, sink);
    }

    /// The name a node was given.
    pub fn name(&self, node: NodeId) -> String {
        self.core.borrow().wires.name(node).to_owned()
    }

    /// Runs `action` at `at`: the timeline. In the past means now.
    pub fn at(&mut self, at: Instant, action: impl FnOnce(&mut Self) + 'static) {
        let mut core = self.core.borrow_mut();
        let at = at.max(core.wires.now);
        core.wires.queue.push(at, Event::Act(Box::new(action)));
    }

    /// Starts a program on a host. The handle holds its result once it has ended; dropping the handle does
    /// not end the program.
    pub fn spawn<F, T>(&mut self, host: NodeId, program: impl FnOnce(Net) -> F) -> Handle<T>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        self.net(host).spawn(program)
    }

    /// The handle that programs on a host get.
    pub fn net(&self, host: NodeId) -> Net {
        Net::new(self.core.clone(), host)
    }

    /// Runs until the program has ended, `None` when the world comes to rest or a virtual day passes first.
    pub fn block_on<F, T>(&mut self, host: NodeId, program: impl FnOnce(Net) -> F) -> Option<T>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let handle = self.spawn(host, program);
        let end = self.now() + Duration::from_secs(86_400);
        self.run_programs();
        while !handle.has_ended() && self.next_event(end) {
            self.run_programs();
        }
        handle.take()
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.core.borrow().wires.now
    }

    /// Runs all events up to and including `end`; time is `end` afterwards.
    pub fn run_until(&mut self, end: Instant) {
        self.run_programs();
        while self.next_event(end) {
            self.run_programs();
        }
        let mut core = self.core.borrow_mut();
        if core.wires.stalled.is_none() {
            core.wires.now = core.wires.now.max(end);
        }
    }

    /// Why the world stands still for good: at one moment of virtual time more happened than the lab lets
    /// happen ([`MOST_AT_ONCE`]), so that somebody goes in circles. Nothing runs from then on.
    pub fn stalled(&self) -> Option<String> {
        self.core.borrow().wires.stalled.clone()
    }

    /// Runs for so long.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now() + span);
    }

    /// The next event happens; false when none is due by `end`, or the world stands still for good.
    fn next_event(&mut self, end: Instant) -> bool {
        let mut core = self.core.borrow_mut();
        if core.wires.queue.next_at().is_none_or(|at| at > end) {
            return false;
        }
        let Some((at, event)) = core.wires.queue.pop() else { return false };
        if at > core.wires.now {
            core.wires.now = at;
            core.wires.busy = 0;
        }
        let node = event.node(&core.wires);
        if core.wires.is_stalled(node) {
            return false;
        }
        core.wires.count.events += 1;
        if let Event::Act(action) = event {
            drop(core);
            let mut stream = self.stream;
            chance::scope(&mut stream, || action(self));
            self.stream = stream;
        } else {
            core.happen(event);
        }
        true
    }

    fn run_programs(&mut self) {
        loop {
            {
                let mut core = self.core.borrow_mut();
                moment::set(core.wires.now);
                for (host, program, seed) in core.spawned.drain(..) {
                    self.executor.spawn(host, program, seed);
                }
            }
            let Some(host) = self.executor.next_host() else { return };
            if self.core.borrow_mut().wires.is_stalled(host) {
                return;
            }
            self.executor.step();
        }
    }

    /// Hash over time, place and bytes of all arrivals so far.
    pub fn trace_hash(&self) -> u64 {
        self.core.borrow().wires.trace
    }

    /// What happened, in numbers.
    pub fn count(&self) -> WorldCount {
        let mut count = self.core.borrow().wires.count;
        count.polls = self.executor.polls;
        count
    }

    /// Programs that have not ended, and events that wait.
    pub fn pending(&self) -> (usize, usize) {
        (self.executor.living, self.core.borrow().wires.queue.len())
    }
}

impl Drop for World {
    /// Programs hold the world and the world holds what they wait for: the circle is cut here.
    fn drop(&mut self) {
        self.executor = Executor::default();
        let spawned = core::mem::take(&mut self.core.borrow_mut().spawned);
        drop(spawned);
        let queue = core::mem::take(&mut self.core.borrow_mut().wires.queue);
        drop(queue);
    }
}

impl Core {
    fn router(&mut self, node: NodeId) -> &mut Router {
        match &mut self.nodes[node.0 as usize] {
            Kind::Router(router) => router,
            _ => panic!("{} is no router", self.wires.name(node)),
        }
    }

    fn inspection(&mut self, node: NodeId) -> &mut Inspection {
        match &mut self.nodes[node.0 as usize] {
            Kind::Box(inspection) => inspection,
            _ => panic!("{} is no middlebox", self.wires.name(node)),
        }
    }
}
