//! The cases on kernel sockets: namespaces in a row, as the lab's bench is.
//!
//! ```text
//! client ─ r1 ─ r2 ─ r3 ─ r4 ─ servers
//! 11.19.0.200   11.19.0.2 … 11.19.0.5   11.18.0.0/24 on one machine
//! ```
//! Nothing leaves the namespaces: no interface leads out.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::rc::Rc;

use futures::future::join_all;
use nix::sched::{CloneFlags, setns};
use okno_probe::experiment::Context;
use okno_probe::net::World;
use okno_sockets::{Setup, TokioNet};
use okno_wire::Endpoint;
use serde_json::Value;

use super::cases::{Case, Scene};
use super::servers::Tools;

const ROUTERS: [&str; 4] = ["r1", "r2", "r3", "r4"];

fn sh(script: &str) -> Result<(), String> {
    let out = Command::new("sh").args(["-ec", script]).output().map_err(|error| error.to_string())?;
    let told = || format!("{script}: {}", String::from_utf8_lossy(&out.stderr).trim());
    if out.status.success() { Ok(()) } else { Err(told()) }
}

/// Builds the namespaces. The caller is already in its own network and mount namespace.
pub fn build(resolver: &str) -> Result<(), String> {
    sh("mount -t tmpfs none /run && mkdir -p /run/netns && ip link set lo up")?;
    let path = std::env::temp_dir().join(format!("okno-parity-{}.conf", std::process::id()));
    fs::write(&path, format!("nameserver {resolver}\noptions timeout:2 attempts:1\n"))
        .map_err(|error| error.to_string())?;
    sh(&format!("mount --bind {} /etc/resolv.conf", path.display()))?;
    let _ = fs::remove_file(&path);
    let names: Vec<&str> = ROUTERS.iter().copied().chain(["servers"]).collect();
    let address = |index: usize| match index {
        0 => "11.19.0.200".to_string(),
        5 => "11.18.0.254".to_string(),
        index => format!("11.19.0.{}", index + 1),
    };
    for name in &names {
        sh(&format!("ip netns add {name} && ip -n {name} link set lo up"))?;
        sh(&format!(
            "ip netns exec {name} sh -c 'cd /proc/sys/net/ipv4; echo 1 > ip_forward; echo 0 > icmp_ratemask'"
        ))?;
    }
    for (index, name) in names.iter().enumerate() {
        // link `index`: from the node before (down side) to this one (up side)
        let (here, there) = (address(index), address(index + 1));
        let before = if index == 0 { String::new() } else { format!("-n {}", names[index - 1]) };
        sh(&format!("ip link add up{index} type veth peer name dn{index}"))?;
        if index > 0 {
            sh(&format!("ip link set up{index} netns {}", names[index - 1]))?;
        }
        sh(&format!(
            "ip link set dn{index} netns {name}
             ip {before} addr add {here}/32 dev up{index}; ip {before} link set up{index} up
             ip -n {name} addr add {there}/32 dev dn{index}; ip -n {name} link set dn{index} up
             ip {before} route add {there}/32 dev up{index} src {here} 2>/dev/null || true
             ip -n {name} route add {here}/32 dev dn{index} 2>/dev/null || true
             ip {before} route add 11.18.0.0/24 via {there} dev up{index} onlink src {here}"
        ))?;
        if index > 0 {
            sh(&format!("ip -n {name} route add 11.19.0.200/32 via {here} dev dn{index} onlink"))?;
        }
    }
    // The lab's routers know hosts, not prefixes: what nobody has ends at the first.
    sh("ip -n r1 route add throw 11.18.0.250/32")
}

/// Gives the servers' namespace the addresses 11.18.0.1 … `last`.
pub fn add_addresses(last: u8) -> Result<(), String> {
    let script: String = (1..=last).map(|n| format!("addr add 11.18.0.{n}/32 dev lo\n")).collect();
    let path = std::env::temp_dir().join(format!("okno-parity-{}.batch", std::process::id()));
    fs::write(&path, script).map_err(|error| error.to_string())?;
    let result = sh(&format!("ip -n servers -batch {}", path.display()));
    let _ = fs::remove_file(&path);
    result
}

fn setup(tools: &Tools, resolver: Endpoint) -> Setup {
    Setup { authorities: vec![tools.trusted.certificate().into()], resolver: Some(resolver) }
}

fn tools_of(cases: &[Case], offsets: &[u8], index: usize, tools: &Tools) -> Tools {
    // Its own names, over those of other cases: the system has one resolver for all.
    let mut zone = BTreeMap::new();
    for at in (0..cases.len()).chain([index]) {
        for (n, (name, _)) in (offsets[at]..).zip(&cases[at].servers) {
            zone.insert(name.to_string(), [11, 18, 0, n].into());
        }
    }
    Tools { zone: Rc::new(zone), ..tools.clone() }
}

/// Runs all servers of all cases in their namespace, on a thread of their own, for as long as the process.
fn serve(cases: fn() -> Vec<Case>, offsets: Vec<u8>, make: fn() -> Tools) -> std::sync::mpsc::Receiver<()> {
    let (tell, ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let namespace = fs::File::open("/run/netns/servers").unwrap();
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let tools = make();
        let work = async {
            let resolver = Endpoint { ip: [11, 18, 0, offsets[0]].into(), port: 53 };
            let world: World = TokioNet::new(&setup(&tools, resolver));
            let cases = cases();
            for (index, (case, offset)) in cases.iter().zip(&offsets).enumerate() {
                let tools = tools_of(&cases, &offsets, index, &tools);
                for (number, (name, program)) in (*offset..).zip(&case.servers) {
                    world.spawn(program(world.clone(), [11, 18, 0, number].into(), name, tools.clone()));
                }
            }
            tokio::task::yield_now().await;
            tell.send(()).unwrap();
            core::future::pending::<()>().await;
        };
        okno_sockets::run(work).unwrap();
    });
    ready
}

/// Runs all cases side by side.
pub fn run(cases: fn() -> Vec<Case>, offsets: &[u8], make: fn() -> Tools, resolver: Endpoint) -> Vec<Value> {
    let ready = serve(cases, offsets.to_vec(), make);
    ready.recv_timeout(Duration::from_secs(10)).expect("servers start");
    let tools = make();
    let all = cases();
    let work = async {
        let setup = setup(&tools, resolver);
        let runs = all.iter().zip(offsets).map(|(case, offset)| {
            let world: World = TokioNet::new(&setup);
            let ips = (*offset..).zip(&case.servers).map(|(n, _)| [11, 18, 0, n].into()).collect();
            let scene = Scene { context: Context::new(world), ips, nobody: "11.18.0.250".parse().unwrap() };
            (case.run)(scene)
        });
        join_all(runs).await
    };
    okno_sockets::run(work).unwrap()
}
