//! A session of 100 targets by the real command: how long, and how much memory.
//!
//! `cargo xtask bench session [--targets N] [--parallel N] [--okno FILE]`. The bench starts itself again in a
//! network namespace of its own, serves N sites (HTTP and HTTPS, a page each), a resolver and the test helper
//! there, and runs `okno probe run` against them. Times need a path: where the kernel has netem, every packet
//! takes 20 ms each way. Memory is the command's own peak (VmHWM).
#![expect(clippy::unwrap_used, reason = "a bench that cannot build its world shall stop")]

#[path = "../tests/parity/servers.rs"]
#[expect(dead_code, reason = "the parity suite has more servers")]
mod servers;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::time::{Duration, Instant};

use okno_lab::tls::Authority;
use okno_probe::World;
use okno_sockets::{Setup, TokioNet};
use servers::Tools;

const INSIDE: &str = "OKNO_BENCH_INSIDE";
const RESOLVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(11, 18, 0, 1));
const HELPER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(11, 18, 0, 2));

fn option(name: &str) -> Option<String> {
    let mut words = std::env::args().skip_while(move |word| word != name);
    words.nth(1)
}

fn number(name: &str, default: usize) -> usize {
    option(name).map_or(default, |text| text.parse().unwrap())
}

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_some() {
        inside();
        return ExitCode::SUCCESS;
    }
    let own = std::env::current_exe().unwrap();
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    let run = Command::new("unshare").args(["-rnm", "--"]).arg(own).args(words).env(INSIDE, "1").status();
    match run {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(_) => {
            println!("skipped: no unshare(1) on this machine");
            ExitCode::SUCCESS
        }
    }
}

fn sh(script: &str) -> bool {
    let done = Command::new("sh").args(["-ec", script]).stderr(std::process::Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

fn site(number: usize) -> (&'static str, IpAddr) {
    let name = format!("site{number}.example").leak();
    (name, IpAddr::from([11, 18, 1 + (number / 250) as u8, 1 + (number % 250) as u8]))
}

fn tools(count: usize) -> Tools {
    let mut zone: BTreeMap<String, IpAddr> =
        (0..count).map(site).map(|(name, ip)| (name.to_string(), ip)).collect();
    zone.insert("dns.example".to_string(), RESOLVER);
    Tools {
        trusted: Authority::new(1, "the bench's root"),
        foreign: Authority::new(2, "somebody else's root"),
        zone: Rc::new(zone),
    }
}

/// Serves everything for as long as the process.
fn serve(count: usize) {
    let (tell, ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let work = async {
            let world: World = TokioNet::new(&Setup::default());
            let tools = tools(count);
            world.spawn(servers::dns(world.clone(), RESOLVER, "dns.example", tools.clone()));
            world.spawn(servers::helper(world.clone(), HELPER, "helper.example", tools.clone()));
            for (name, ip) in (0..count).map(site) {
                world.spawn(servers::web_both(world.clone(), ip, name, tools.clone()));
            }
            world.spawn(Box::pin(async move { tell.send(()).unwrap() }));
            core::future::pending::<()>().await;
        };
        okno_sockets::run(work).unwrap();
    });
    ready.recv().unwrap();
}

/// PEM (RFC 7468) of a certificate.
fn pem(der: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for chunk in der.chunks(48) {
        for three in chunk.chunks(3) {
            let bits =
                three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            for at in 0..4 {
                let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize] as char;
                text.push(if at <= three.len() { letter } else { '=' });
            }
        }
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

fn inside() {
    let (count, parallel) = (number("--targets", 100), number("--parallel", 8));
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let okno = option("--okno").map_or_else(|| root.join("target/release/okno"), PathBuf::from);
    if !okno.exists() {
        println!("skipped: {} is not built (cargo build --release -p okno)", okno.display());
        return;
    }
    let dir = std::env::temp_dir().join(format!("okno-session-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let mut addresses = String::from("addr add 11.18.0.1/32 dev lo\naddr add 11.18.0.2/32 dev lo\n");
    let mut list = String::new();
    for (name, ip) in (0..count).map(site) {
        writeln!(addresses, "addr add {ip}/32 dev lo").unwrap();
        writeln!(list, "https://{name}/").unwrap();
    }
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (batch, conf) = (file("batch", &addresses), file("resolv.conf", &format!("nameserver {RESOLVER}\n")));
    let ready = sh(&format!(
        "ip link set lo up; ip -batch {}; mount --bind {} /etc/resolv.conf",
        batch.display(),
        conf.display()
    ));
    if !ready {
        println!("skipped: no namespaces for us here");
        return;
    }
    let path = if sh("tc qdisc add dev lo root netem delay 20ms limit 100000") {
        "40 ms"
    } else {
        "0 ms (no netem)"
    };
    serve(count);
    let results = dir.join("results.jsonl");
    let mut command = Command::new(okno);
    command.args(["probe", "run", "--quiet", "--stun", "none", "--helper", "http://11.18.0.2:8080/"]);
    command
        .arg("--inputs")
        .arg(file("list", &list))
        .arg("--authority")
        .arg(file("root.pem", &pem(&tools(0).trusted.certificate())));
    command.arg("--option").arg(r#"web_connectivity={"udp_resolvers":["11.18.0.1:53"],"doh":[]}"#);
    command
        .args(["--test", "web_connectivity", "--parallel", &parallel.to_string()])
        .arg("--output")
        .arg(&results);
    let (seconds, peak, good) = watch(command);
    let text = fs::read_to_string(&results).unwrap_or_default();
    let accessible = text.lines().filter(|line| line.contains("\"accessible\":true")).count();
    println!(
        "{count} targets, {parallel} at a time, round trip {path}: {seconds:.1} s, peak memory {:.1} MiB, \
         {} measurements of {} kB, {accessible} accessible",
        peak as f64 / 1024.0,
        text.lines().count(),
        text.len() / 1000 / text.lines().count().max(1),
    );
    let _ = fs::remove_dir_all(&dir);
    assert!(good && text.lines().count() == count, "every target is measured");
}

/// Seconds, peak of memory in KiB (proc(5), VmHWM), and whether it went well.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn watch(mut command: Command) -> (f64, u64, bool) {
    let from = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut peak = 0;
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        if let Some(done) = child.try_wait().unwrap() {
            return (from.elapsed().as_secs_f64(), peak, done.success());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
