//! The lab's models reach no real network: proved over source and over what is linked.
//!
//! `wire`, `censor` and `lab` hold models of interference, and `probe` runs inside the lab. They may know
//! addresses (`core::net`), never sockets: no source line names a door to the system's network, no dependency
//! opens one, smoltcp is built without its devices, and of tokio only locks and traits are linked (hyper and
//! h3 want them). Unsafe code is forbidden in the whole workspace, so there is no way around.

use super::Finding;

/// Crates that hold or run models of interference.
pub const SOCKETLESS: &[&str] = &["okno-wire", "okno-censor", "okno-probe", "okno-lab"];

/// Source of those crates, and words that are doors to the system's network.
const FOLDERS: &[&str] = &["crates/wire/src/", "crates/censor/src/", "crates/probe/src/", "crates/lab/src/"];
const DOORS: &[&str] =
    &["std::net", "std::os", "std::process", "smoltcp::phy::RawSocket", "TunTapInterface", "extern \"C\""];

/// Packages that open sockets or interfaces, by name or by the start of it.
const OPENERS: &[&str] = &[
    "socket2",
    "mio",
    "tokio-rustls",
    "hyper-util",
    "async-std",
    "async-io",
    "polling",
    "quinn",
    "quinn-udp",
    "nix",
    "rustix",
    "nfq",
];
const OPENER_FAMILIES: &[&str] = &["pnet", "tun", "netlink", "rtnetlink", "neli", "aya", "xsk"];

/// Features of smoltcp that reach a device.
const DEVICES: &[&str] = &["phy-raw_socket", "phy-tuntap_interface"];

/// Features of tokio that open sockets, run a reactor or reach the system.
const TOKIO_DOORS: &[&str] =
    &["net", "mio", "rt", "rt-multi-thread", "process", "signal", "fs", "io-std", "io-uring", "full"];

/// Doors in one file of those crates.
pub fn check_source(path: &str, text: &str) -> Vec<Finding> {
    if !FOLDERS.iter().any(|folder| path.starts_with(folder)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        let code = line.split("//").next().unwrap_or_default();
        for door in DOORS.iter().filter(|door| code.contains(**door)) {
            found.push(Finding::new(
                path,
                number,
                format!("`{door}` in a crate that models interference"),
                "addresses are in core::net; sockets belong to the shells",
            ));
        }
    }
    found
}

/// Openers in what `cargo tree --prefix none --format "{p} {f}"` shows of one of those crates.
pub fn check_linked(member: &str, tree: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let opener = OPENERS.contains(&name) || OPENER_FAMILIES.iter().any(|family| name.starts_with(family));
        if opener {
            found.push(finding(member, name));
        }
        let doors = match name {
            "smoltcp" => DEVICES,
            "tokio" => TOKIO_DOORS,
            _ => continue,
        };
        let features = words.rfind(|word| *word != "(*)").unwrap_or_default();
        for door in features.split(',').filter(|feature| doors.contains(feature)) {
            found.push(finding(member, &format!("{name}/{door}")));
        }
    }
    found.dedup();
    found
}

fn finding(member: &str, what: &str) -> Finding {
    Finding::new(
        "Cargo.toml",
        0,
        format!("{what} is reachable from {member}, which models interference"),
        format!("see `cargo tree -p {member}`; nothing below may open a socket or an interface"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_in_a_model_is_found_and_an_address_is_not() {
        let text = "//! x\nuse std::net::UdpSocket;\n// std::net in words\nuse core::net::IpAddr;\n";
        assert_eq!(check_source("crates/censor/src/a.rs", text).len(), 1);
        assert!(check_source("crates/okno/src/a.rs", text).is_empty());
    }

    #[test]
    fn what_opens_sockets_or_devices_is_found_among_the_linked() {
        let tree = "okno-lab v0.1.0\nquinn-proto v0.11.19 ring\nsmoltcp v0.14.0 alloc,std\nring v0.17.14\n";
        assert!(check_linked("okno-lab", tree).is_empty());
        assert_eq!(check_linked("okno-lab", "socket2 v0.6.0 all\nquinn v0.11.0 x\n").len(), 2);
        assert_eq!(check_linked("okno-lab", "smoltcp v0.14.0 alloc,phy-raw_socket,std\n").len(), 1);
        assert!(check_linked("okno-lab", "tokio v1.54.1 bytes,default,io-util,sync (*)\n").is_empty());
        assert_eq!(check_linked("okno-lab", "tokio v1.54.1 bytes,mio,net,sync\n").len(), 2);
    }
}
