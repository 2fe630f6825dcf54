//! A small world for tests of measurements: a probe, a box or none, servers at home and abroad.
//!
//! ```text
//! probe ─ r1 ─[box]─ r2 ─ exchange ─ border ─ servers abroad, public resolver
//!                    └ ISP's resolver  └ servers at home
//! ```
//! All addresses count as public ones (none is a bogon), because tests refuse or remark on others.
//!
//! ```
//! use okno_lab::probe::Bench;
//! use okno_lab::services::web::Web;
//! use okno_probe::net::Dial;
//!
//! // A box that answers hellos for one name with resets; `Bench::open()` has none.
//! let mut bench = Bench::with_profile("tspu-2024", &[("sni.blocked", &["blocked.example"])]);
//! let server = bench.web("site.example", Web::of_page("hello"));
//! let connected = bench.run(|context| async move {
//!     let addresses = context.world.lookup("site.example").await;
//!     let stream = context.world.connect(Dial::to(server.end(443))).await;
//!     (addresses, stream.is_ok())
//! });
//! assert_eq!(connected, (Ok(vec![server.v4]), true));
//! ```

use core::future::Future;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;

use okno_censor::Middlebox;
use okno_censor::profile::Profile;
use okno_probe::experiment::{Context, Experiment};
use okno_wire::{Endpoint, Instant};
use rustls::ServerConfig;
use serde_json::Value;

use super::LabNet;
use crate::net::Net;
use crate::services::dns::{DnsServer, NameRule, Resolver, Zones};
use crate::services::web::{Web, serve_http, serve_https};
use crate::services::{Shared, shared};
use crate::tls::{self, Authority, Identity, TlsVersions, UnknownName};
use crate::world::{LinkSetup, NatSetup, NodeId, Setup, World};

/// A server of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// its host
    pub node: NodeId,
    /// its address, which its name has in DNS
    pub v4: IpAddr,
    /// its IPv6 address, which its name has not
    pub v6: IpAddr,
}

impl Server {
    /// A port of its IPv4 address.
    pub const fn end(&self, port: u16) -> Endpoint {
        Endpoint { ip: self.v4, port }
    }
}

/// The bench: see the [module](self).
pub struct Bench {
    /// the world, for links, faults and taps
    pub world: World,
    /// the probe's host
    pub client: NodeId,
    /// the box; packets pass it as subscriber (port 0) and core (port 1)
    pub filter: Option<NodeId>,
    /// the ISP's resolver, which the probe's system uses; its policy can be changed at any time
    pub resolver: Shared<Resolver>,
    /// records of all resolvers of the bench
    pub zones: Shared<Zones>,
    /// the resolver abroad: UDP, TCP, DoT (853), DoH (443), as `dns.example`
    pub public_dns: Server,
    exchange: NodeId,
    border: NodeId,
    resolver_end: Endpoint,
    authority: Authority,
    servers: u8,
}

/// Where the ISP's resolver is.
const RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(11, 19, 0, 1));

fn millis(ms: u64) -> LinkSetup {
    LinkSetup::new(Duration::from_millis(ms))
}

impl Bench {
    /// Nothing on the path.
    pub fn open() -> Self {
        Self::new(1, None)
    }

    /// This box on the path.
    pub fn with_box(censor: Box<dyn Middlebox>) -> Self {
        Self::new(1, Some(censor))
    }

    /// A censor's profile (`NAME[:VARIANT][@DATE]`) with these lists in place of its own.
    ///
    /// # Panics
    /// When there is no such profile or list: a mistake of the test.
    pub fn with_profile(words: &str, lists: &[(&str, &[&str])]) -> Self {
        let mut profile = Profile::named(words).unwrap_or_else(|error| panic!("{error}"));
        for (name, entries) in lists {
            let set = profile.override_list(name, "the bench's list", &entries.join("\n"));
            set.unwrap_or_else(|error| panic!("{error}"));
        }
        let engine = profile.engine().unwrap_or_else(|error| panic!("{error}"));
        Self::with_box(Box::new(engine))
    }

    /// With this seed, and this box or none.
    pub fn new(seed: u64, censor: Option<Box<dyn Middlebox>>) -> Self {
        Self::behind(seed, censor, None)
    }

    /// The same with the probe behind a carrier's NAT, under a shared address (RFC 6598); IPv4 alone.
    pub fn behind(seed: u64, censor: Option<Box<dyn Middlebox>>, nat: Option<NatSetup>) -> Self {
        let mut world = World::new(Setup { seed, ..Setup::default() });
        let ip = |last: u8| IpAddr::V4(Ipv4Addr::new(11, 19, 0, last));
        let [own4, own6] = addresses(19, 200);
        let carriers = [IpAddr::V4(Ipv4Addr::new(100, 64, 19, 200))];
        let own: &[IpAddr] = if nat.is_some() { &carriers } else { &[own4, own6] };
        let client = world.host("probe", own);
        let [r1, r2, exchange, border] = [("r1", 2), ("r2", 3), ("exchange", 4), ("border", 5)]
            .map(|(name, last)| world.router(name, &[ip(last), addresses(19, last)[1]], false));
        match nat.map(|setup| world.nat("cgnat", setup)) {
            Some(nat) => {
                world.link(client, nat, millis(1));
                world.link(nat, r1, millis(1));
            }
            None => {
                world.link(client, r1, millis(2));
            }
        }
        let filter = censor.map(|censor| world.middlebox("box", censor));
        match filter {
            Some(filter) => {
                world.link(r1, filter, millis(1));
                world.link(filter, r2, millis(1));
            }
            None => {
                world.link(r1, r2, millis(2));
            }
        }
        world.link(r2, exchange, millis(3));
        world.link(exchange, border, millis(15));
        let zones = shared(Zones::default());
        let resolver = shared(Resolver::new(zones.clone()));
        let host = world.host("resolver", &[RESOLVER]);
        world.link(r2, host, millis(1));
        let server = DnsServer::new(world.net(host), resolver.clone());
        world.spawn(host, |_| server.serve(53));
        let mut bench = Self {
            world,
            client,
            filter,
            resolver,
            zones,
            public_dns: Server { node: host, v4: RESOLVER, v6: RESOLVER },
            exchange,
            border,
            resolver_end: Endpoint { ip: RESOLVER, port: 53 },
            authority: Authority::new(seed, "Okno lab root"),
            servers: 0,
        };
        bench.public_dns = bench.public_resolver();
        bench
    }

    fn public_resolver(&mut self) -> Server {
        let server = self.server("dns.example");
        let policy = shared(Resolver::new(self.zones.clone()));
        let dns = DnsServer::new(self.world.net(server.node), policy);
        let (dot, doh) = (self.tls(&["dns.example"], &["dot"]), self.tls(&["dns.example"], &["http/1.1"]));
        let (plain, over_tls) = (dns.clone(), dns.clone());
        self.world.spawn(server.node, |_| plain.serve(53));
        self.world.spawn(server.node, |_| over_tls.serve_stream(853, Some(dot)));
        self.world.spawn(server.node, |_| dns.serve_https(443, doh));
        server
    }

    /// A server abroad with an address and a name, on which nothing listens yet.
    pub fn server(&mut self, name: &str) -> Server {
        self.attach(name, self.border)
    }

    /// A server at home.
    pub fn server_at_home(&mut self, name: &str) -> Server {
        self.attach(name, self.exchange)
    }

    fn attach(&mut self, name: &str, router: NodeId) -> Server {
        self.servers += 1;
        let [v4, v6] = addresses(18, self.servers);
        let node = self.world.host(name, &[v4, v6]);
        self.world.link(node, router, millis(2));
        self.zones.borrow_mut().set_addresses(name, 60, &[v4]);
        Server { node, v4, v6 }
    }

    /// A web server abroad: HTTP on 80, HTTPS on 443, QUIC on 443.
    pub fn web(&mut self, name: &str, web: Web) -> Server {
        let server = self.server(name);
        self.serve_web(server, &[name], web);
        server
    }

    /// A web server at home.
    pub fn web_at_home(&mut self, name: &str, web: Web) -> Server {
        let server = self.server_at_home(name);
        self.serve_web(server, &[name], web);
        server
    }

    /// Lets a server serve these names by HTTP, HTTPS and QUIC. Gives the page, which may be changed.
    pub fn serve_web(&mut self, server: Server, names: &[&str], web: Web) -> Shared<Web> {
        let page = web.page.clone();
        let web = shared(web);
        let (tls, quic) = (self.tls(names, &["http/1.1"]), self.tls(names, crate::quic::ALPN));
        let (plain, over_tls) = (web.clone(), web.clone());
        self.world.spawn(server.node, |net| serve_http(net, 80, plain));
        self.world.spawn(server.node, |net| serve_https(net, 443, shared(tls), over_tls));
        self.world.spawn(server.node, |net| crate::quic::serve(net, 443, quic, move |_| page.clone()));
        web
    }

    /// A TLS setup with a valid certificate for these names, which the probe trusts.
    pub fn tls(&self, names: &[&str], alpn: &[&str]) -> Arc<ServerConfig> {
        self.tls_of(&self.authority, names, alpn)
    }

    /// The same of an authority that the probe does not trust: a substituted certificate.
    pub fn foreign_tls(&self, names: &[&str], alpn: &[&str]) -> Arc<ServerConfig> {
        self.tls_of(&Authority::new(2, "somebody else's root"), names, alpn)
    }

    fn tls_of(&self, authority: &Authority, names: &[&str], alpn: &[&str]) -> Arc<ServerConfig> {
        const DAY: u64 = 86_400_000_000_000;
        let now = self.world.now().nanos();
        let (from, to) = (Instant::from_nanos(now - 60 * DAY), Instant::from_nanos(now + 3_650 * DAY));
        let identity = authority.issue(names, from, to);
        let by_name: Vec<(&str, Identity)> = names.iter().map(|name| (*name, identity.clone())).collect();
        tls::server_config(&by_name, UnknownName::FirstCertificate, TlsVersions::Both, alpn)
    }

    /// Starts a program on a server.
    pub fn serve<F: Future + 'static>(&mut self, server: Server, program: impl FnOnce(Net) -> F)
    where
        F::Output: 'static,
    {
        self.world.spawn(server.node, program);
    }

    /// Has the ISP's resolver lie about a name and all below it.
    pub fn lie(&mut self, name: &str, rule: NameRule) {
        self.resolver.borrow_mut().rules.insert(name.to_owned(), rule);
    }

    /// The probe's host as measurements see it.
    pub fn probe(&self) -> LabNet {
        let tls = tls::ground(&[self.authority.certificate()]);
        LabNet::new(self.world.net(self.client), Some(self.resolver_end), tls)
    }

    /// A server as its own programs see the world: it asks the resolver abroad and trusts the same authority.
    pub fn world_of(&self, server: Server) -> LabNet {
        let tls = tls::ground(&[self.authority.certificate()]);
        LabNet::new(self.world.net(server.node), Some(self.public_dns.end(53)), tls)
    }

    /// Runs a program of the probe to its end.
    ///
    /// # Panics
    /// When it does not end within a virtual day: a mistake of the test.
    pub fn run<F, T>(&mut self, program: impl FnOnce(Context) -> F) -> T
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        self.world.fill_routes();
        let context = Context::new(self.probe().world());
        let result = self.world.block_on(self.client, |_| program(context));
        result.expect("a measurement ends within a day")
    }

    /// Runs a test on an input and gives its test keys.
    ///
    /// # Panics
    /// When the test refuses the input.
    pub fn measure(&mut self, experiment: &Rc<dyn Experiment>, input: Option<&str>) -> Value {
        self.measure_with(experiment, input, |_| {})
    }

    /// The same in a context that `change` has prepared: the address of a helper.
    ///
    /// # Panics
    /// When the test refuses the input.
    pub fn measure_with(
        &mut self,
        experiment: &Rc<dyn Experiment>,
        input: Option<&str>,
        change: impl FnOnce(&mut Context) + 'static,
    ) -> Value {
        let (experiment, input) = (experiment.clone(), input.map(str::to_owned));
        let keys = self.run(|mut context| async move {
            change(&mut context);
            experiment.run(&context, input.as_deref()).await
        });
        keys.unwrap_or_else(|problem| panic!("{problem}"))
    }
}

/// An IPv4 and an IPv6 address that are no bogons.
fn addresses(net: u8, number: u8) -> [IpAddr; 2] {
    let v6 = Ipv6Addr::new(0x2a0f, 0xffff, u16::from(net), u16::from(number), 0, 0, 0, 1);
    [IpAddr::V4(Ipv4Addr::new(11, net, 0, number)), IpAddr::V6(v6)]
}
