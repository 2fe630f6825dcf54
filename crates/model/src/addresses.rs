//! Addresses that no public service has, and IPv4 addresses inside IPv6 ones.
//!
//! Sources stand at each line. Embeddings (6to4, Teredo, NAT64) are judged by the IPv4 address that
//! they carry, so the public part of 2002::/16 is no bogon.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address cannot belong to a public service: the special-purpose registries of RFC 6890
/// and multicast.
pub fn is_bogon(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_bogon_v4(v4),
        IpAddr::V6(v6) => is_bogon_v6(v6),
    }
}

/// The IPv4 address inside a well-known NAT64 address (64:ff9b::/96, RFC 6052 section 2.1); every
/// other address is given back unchanged.
pub fn unmap_nat64(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) if v6.octets()[..12] == [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0] => {
            IpAddr::V4(low_v4(v6))
        }
        other => other,
    }
}

fn low_v4(ip: Ipv6Addr) -> Ipv4Addr {
    let o = ip.octets();
    Ipv4Addr::new(o[12], o[13], o[14], o[15])
}

fn is_bogon_v4(ip: Ipv4Addr) -> bool {
    match ip.octets() {
        [0, ..] => true,              // 0.0.0.0/8 "this network", RFC 791 section 3.2
        [10, ..] => true,             // 10.0.0.0/8 private, RFC 1918
        [100, 64..=127, ..] => true,  // 100.64.0.0/10 carrier-grade NAT, RFC 6598
        [127, ..] => true,            // 127.0.0.0/8 loopback, RFC 1122 section 3.2.1.3
        [169, 254, ..] => true,       // 169.254.0.0/16 link local, RFC 3927
        [172, 16..=31, ..] => true,   // 172.16.0.0/12 private, RFC 1918
        [192, 0, 0, 9 | 10] => false, // PCP and TURN anycast: global, RFC 7723, RFC 8155
        [192, 0, 0, _] => true,       // 192.0.0.0/24 protocol assignments, RFC 6890 section 2.1
        [192, 0, 2, _] => true,       // 192.0.2.0/24 documentation, RFC 5737
        [192, 168, ..] => true,       // 192.168.0.0/16 private, RFC 1918
        [198, 18..=19, ..] => true,   // 198.18.0.0/15 benchmarking, RFC 2544
        [198, 51, 100, _] => true,    // 198.51.100.0/24 documentation, RFC 5737
        [203, 0, 113, _] => true,     // 203.0.113.0/24 documentation, RFC 5737
        [224..=239, ..] => true,      // 224.0.0.0/4 multicast, RFC 5771
        [240..=255, ..] => true,      // 240.0.0.0/4 reserved, RFC 1112 section 4; broadcast, RFC 919
        _ => false,
    }
}

fn is_bogon_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => true, // ::, ::1, RFC 4291 sections 2.5.2 and 2.5.3
        [0, 0, 0, 0, 0, 0xffff, ..] => is_bogon_v4(low_v4(ip)), // ::ffff:0:0/96 IPv4-mapped, RFC 4291 section 2.5.5.2
        [0, 0, 0, 0, 0, 0, ..] => true, // ::/96 IPv4-compatible, deprecated, RFC 4291 section 2.5.5.1
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_bogon_v4(low_v4(ip)), // 64:ff9b::/96 NAT64, RFC 6052: as its IPv4
        [0x64, 0xff9b, 1, ..] => true,                             // 64:ff9b:1::/48 local-use NAT64, RFC 8215
        [0x100, 0, 0, 0, ..] => true,                              // 100::/64 discard only, RFC 6666
        // 2001::/32 Teredo: bits 32-63 are the server's IPv4, bits 96-127 the client's, inverted
        // (RFC 4380 section 4)
        [0x2001, 0, a, b, .., c, d] => is_bogon_v4(v4_of(a, b)) || is_bogon_v4(v4_of(!c, !d)),
        [0x2001, 2, 0, ..] => true,        // 2001:2::/48 benchmarking, RFC 5180
        [0x2001, 0x10..=0x1f, ..] => true, // 2001:10::/28 ORCHID, deprecated, RFC 4843
        [0x2001, 0xdb8, ..] => true,       // 2001:db8::/32 documentation, RFC 3849
        [0x2002, a, b, ..] => is_bogon_v4(v4_of(a, b)), // 2002::/16 6to4: bits 16-47 are IPv4, RFC 3056 section 2
        [0x3fff, 0..=0xfff, ..] => true,                // 3fff::/20 documentation, RFC 9637
        [0x5f00, ..] => true,                           // 5f00::/16 segment-routing identifiers, RFC 9602
        [0xfc00..=0xfdff, ..] => true,                  // fc00::/7 unique local, RFC 4193
        [0xfe80..=0xfebf, ..] => true,                  // fe80::/10 link local, RFC 4291 section 2.5.6
        [0xfec0..=0xfeff, ..] => true,                  // fec0::/10 site local, deprecated, RFC 3879
        [0xff00..=0xffff, ..] => true,                  // ff00::/8 multicast, RFC 4291 section 2.7
        _ => false,
    }
}

fn v4_of(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bogon(text: &str) -> bool {
        is_bogon(text.parse().unwrap())
    }

    #[test]
    fn special_purpose_ipv4_is_bogon_and_its_neighbours_are_not() {
        for (inside, outside) in [
            ("0.255.255.255", "1.0.0.0"),
            ("10.10.34.35", "11.0.0.0"),
            ("100.64.0.0", "100.63.255.255"),
            ("100.127.255.255", "100.128.0.0"),
            ("127.0.0.1", "128.0.0.1"),
            ("169.254.1.1", "169.255.0.0"),
            ("172.31.255.255", "172.32.0.0"),
            ("192.0.0.1", "192.0.1.0"),
            ("192.0.2.255", "192.0.3.0"),
            ("192.168.0.1", "192.169.0.0"),
            ("198.19.255.255", "198.20.0.0"),
            ("198.51.100.7", "198.51.101.0"),
            ("203.0.113.7", "203.0.114.0"),
            ("224.0.0.1", "223.255.255.255"),
            ("255.255.255.255", "8.8.8.8"),
        ] {
            assert!(bogon(inside), "{inside}");
            assert!(!bogon(outside), "{outside}");
        }
    }

    #[test]
    fn df_trap_38_embeddings_are_judged_by_the_ipv4_inside() {
        assert!(bogon("2002:a00:1::1")); // 10.0.0.1
        assert!(!bogon("2002:808:808::1")); // 8.8.8.8
        assert!(bogon("2001:0:a00:1::1")); // Teredo server 10.0.0.1
        assert!(bogon("2001:0:4136:e378:8000:63bf:3fff:fdd2")); // Teredo client 192.0.2.45
        assert!(!bogon("2001:0:4136:e378:8000:63bf:f7f7:f7f7")); // Teredo client 8.8.8.8
        assert!(bogon("2001::1f0d:5e01")); // server 0.0.0.0, as injected in China
        assert!(bogon("64:ff9b::a0a:2223")); // 10.10.34.35
        assert!(!bogon("64:ff9b::808:808"));
        assert!(bogon("::ffff:127.0.0.1"));
        assert!(!bogon("::ffff:1.1.1.1"));
    }

    #[test]
    fn special_purpose_ipv6_is_bogon_and_public_ipv6_is_not() {
        for inside in [
            "::",
            "::1",
            "64:ff9b:1::1",
            "100::1",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(bogon(inside), "{inside}");
        }
        for outside in ["2a00:1450::1", "2001:4860:4860::8888", "3fff:1000::1", "2620:fe::fe", "2001:2:1::1"]
        {
            assert!(!bogon(outside), "{outside}");
        }
    }

    #[test]
    fn df_trap_38_only_the_well_known_nat64_prefix_is_unmapped() {
        let unmapped = |t: &str| unmap_nat64(t.parse().unwrap()).to_string();
        assert_eq!(unmapped("64:ff9b::8.8.8.8"), "8.8.8.8");
        assert_eq!(unmapped("64:ff9b::1:808:808"), "64:ff9b::1:808:808");
        assert_eq!(unmapped("64:ff9b:1::808:808"), "64:ff9b:1::808:808");
        assert_eq!(unmapped("::ffff:8.8.8.8"), "::ffff:8.8.8.8");
        assert_eq!(unmapped("8.8.4.4"), "8.8.4.4");
    }
}
