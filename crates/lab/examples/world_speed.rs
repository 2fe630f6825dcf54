//! How fast a world runs and what a host costs: `cargo run --release -p okno-lab --example world_speed`.
//!
//! Each line prints the work done and a hash of the trace beside the time, so that two runs are comparable
//! only when they did the same. Time is the process's time on a core and memory its resident set, both as
//! Linux counts them.
#![expect(clippy::unwrap_used, reason = "a measurement may panic")]

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use okno_censor::{Context, Direction, Middlebox, Verdict};
use okno_lab::clients::web::{Fetch, fetch};
use okno_lab::services::web::Web;
use okno_lab::services::{self, shared};
use okno_lab::tls::{self, Authority, TlsVersions, UnknownName};
use okno_lab::world::{LinkSetup, NodeId, Setup, World};
use okno_wire::{Endpoint, Instant, PacketView};

/// A box that looks and lets pass.
struct Watcher;

impl Middlebox for Watcher {
    fn on_packet(&mut self, _: Instant, _: Direction, _: &PacketView<'_>, _: &mut Context<'_>) -> Verdict {
        Verdict::Pass
    }

    fn on_timer(&mut self, _: Instant, _: &mut Context<'_>) {}

    fn next_timer(&self) -> Option<Instant> {
        None
    }
}

/// Seconds this process was on a core, so that a busy machine does not count.
fn core_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

fn timed(label: &str, world: &mut World, work: impl FnOnce(&mut World)) {
    let before = world.count();
    let virtual_start = world.now();
    let start = core_seconds();
    work(world);
    let took = core_seconds() - start;
    let count = world.count();
    let (events, packets) = (count.events - before.events, count.packets - before.packets);
    let virtual_time = world.now().since(virtual_start).as_secs_f64();
    println!(
        "{label}: {events} events, {packets} packet arrivals, {took:.2} core-seconds, {:.2} M events/s, \
         {:.0}x real time, trace {:016x}",
        events as f64 / took / 1e6,
        virtual_time / took,
        world.trace_hash(),
    );
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

fn client_address(index: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + index).to_be_bytes())
}

/// `count` clients, an access router, a box, a core router, a border, a server: five links each way.
fn nation(seed: u64, count: u32, traced: bool) -> (World, Vec<NodeId>, NodeId) {
    let mut world = World::new(Setup { seed, traced, ..Setup::default() });
    let access = world.router("access", &[IpAddr::from([100, 64, 0, 1])], false);
    let watcher = world.middlebox("box", Box::new(Watcher));
    let core = world.router("core", &[IpAddr::from([100, 64, 0, 2])], false);
    let border = world.router("border", &[IpAddr::from([100, 64, 0, 3])], false);
    let server = world.host("server", &[SERVER]);
    let clients: Vec<_> = (0..count)
        .map(|index| {
            let client = world.host(&format!("client-{index}"), &[client_address(index)]);
            world.link(client, access, LinkSetup::millis(5).with_rate(50_000_000));
            client
        })
        .collect();
    world.link(access, watcher, LinkSetup::millis(1));
    world.link(watcher, core, LinkSetup::millis(1));
    world.link(core, border, LinkSetup::millis(10));
    world.link(border, server, LinkSetup::millis(20));
    world.fill_routes();
    (world, clients, server)
}

fn datagrams(traced: bool) {
    let (mut world, clients, _) = nation(1, 200, traced);
    for client in clients {
        world.spawn(client, |net| async move {
            let socket = net.udp_bind(0).unwrap();
            for _ in 0..2_000 {
                let _ = socket.send_to(&[0; 200], Endpoint { ip: SERVER, port: 9 });
                net.sleep(Duration::from_millis(1)).await;
            }
        });
    }
    let label = if traced { "datagrams" } else { "datagrams, no trace hash" };
    timed(label, &mut world, |world| world.run_for(Duration::from_secs(5)));
}

fn downloads() {
    let (mut world, clients, server) = nation(2, 50, true);
    world.spawn(server, |net| services::web::serve_http(net, 80, shared(Web::of_bytes(4_000_000))));
    for client in clients {
        world.spawn(client, |net| async move {
            let seen = fetch(&net, &Fetch::new("a.example", SERVER, None)).await;
            assert_eq!(seen.received, 4_000_000);
        });
    }
    timed("50 downloads of 4 MB", &mut world, |world| world.run_for(Duration::from_secs(60)));
}

fn pages() {
    let (mut world, clients, server) = nation(3, 200, true);
    let authority = Authority::new(3, "Root");
    let identity = authority.issue(&["a.example"], Instant::ZERO, Instant::from_secs(4_000_000_000));
    let names = [("a.example", identity)];
    let setup = tls::server_config(&names, UnknownName::Alert, TlsVersions::Both, &["http/1.1"]);
    world.spawn(server, move |net| {
        services::web::serve_https(net, 443, shared(setup), shared(Web::of_bytes(20_000)))
    });
    let config = tls::client_config(&[authority.certificate()], TlsVersions::Both, &["http/1.1"]);
    for client in clients {
        let wants = Fetch::new("a.example", SERVER, Some(config.clone()));
        world.spawn(client, move |net| async move {
            for _ in 0..24 {
                assert!(fetch(&net, &wants).await.is_ok());
                net.sleep(Duration::from_secs(3_600)).await;
            }
        });
    }
    timed("200 clients, a page an hour for a day", &mut world, |world| {
        world.run_for(Duration::from_secs(86_400));
    });
}

fn hosts() {
    const COUNT: u32 = 100_000;
    let before = resident_kib();
    let mut world = World::new(Setup::default());
    let hosts: Vec<_> = (0..COUNT).map(|index| world.host("h", &[client_address(index)])).collect();
    let idle = resident_kib();
    println!("idle host: {} bytes", (idle - before) * 1024 / u64::from(COUNT));
    for host in &hosts {
        world.spawn(*host, |net| async move { net.sleep(Duration::from_secs(60)).await });
    }
    world.run_for(Duration::from_secs(1));
    println!("host with a sleeping program: {} bytes", (resident_kib() - before) * 1024 / u64::from(COUNT));
}

fn connections() {
    const COUNT: u32 = 2_000;
    let (mut world, clients, server) = nation(4, 1, true);
    world.spawn(server, |net| services::web::serve_silence(net, 80));
    world.run_for(Duration::from_secs(1));
    let before = resident_kib();
    for _ in 0..COUNT {
        world.spawn(clients[0], |net| async move {
            let stream = net.connect(Endpoint { ip: SERVER, port: 80 }).await;
            net.sleep(Duration::from_secs(60)).await;
            drop(stream);
        });
    }
    world.run_for(Duration::from_secs(2));
    println!("open TCP connection, one end: {} bytes", (resident_kib() - before) * 1024 / u64::from(COUNT));
}

fn main() {
    hosts();
    datagrams(true);
    datagrams(false);
    downloads();
    pages();
    connections();
}
