//! The cases in the lab: one small world a case.

use std::collections::BTreeMap;
use std::rc::Rc;

use okno_lab::probe::{Bench, LabNet};
use okno_lab::tls;
use okno_probe::experiment::Context;
use okno_wire::Endpoint;
use serde_json::Value;

use super::cases::{Case, Scene};
use super::servers::Tools;

/// Runs a case; `offset` is the number of its first server's address.
pub fn run(case: &Case, offset: u8, tools: &Tools) -> Value {
    let mut bench = Bench::open();
    for number in 2..offset {
        bench.server(&format!("unused{number}.example"));
    }
    let servers: Vec<_> = case.servers.iter().map(|(name, _)| bench.server(name)).collect();
    let zone: BTreeMap<_, _> =
        case.servers.iter().zip(&servers).map(|((name, _), server)| (name.to_string(), server.v4)).collect();
    let tools = Tools { zone: Rc::new(zone), ..tools.clone() };
    let ground = tls::ground(&[tools.trusted.certificate()]);
    let resolver = Some(Endpoint { ip: servers[0].v4, port: 53 });
    for ((name, program), server) in case.servers.iter().zip(&servers) {
        let (name, program, tools, ip) = (*name, *program, tools.clone(), server.v4);
        let ground = ground.clone();
        bench.serve(*server, move |net| program(LabNet::new(net, resolver, ground).world(), ip, name, tools));
    }
    bench.world.fill_routes();
    let client = LabNet::new(bench.world.net(bench.client), resolver, ground).world();
    let ips = servers.iter().map(|server| server.v4).collect();
    let scene = Scene { context: Context::new(client), ips, nobody: "11.18.0.250".parse().unwrap() };
    let work = case.run;
    bench.world.block_on(bench.client, move |_| work(scene)).unwrap()
}
