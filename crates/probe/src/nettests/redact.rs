//! Takes every address out of bytes that a box may have written the own address into.
//!
//! Proxies tell the address of who asks in headers and error pages (`X-Forwarded-For`, ts-006 and ts-007
//! "Privacy considerations"). The own public address is not known to a probe behind a NAT, so all addresses
//! go, whoever's they are.

use core::net::{IpAddr, SocketAddr};

/// What stands in an address's place, as OONI's engine writes it.
pub const SCRUBBED: &str = "[scrubbed]";

const fn is_part(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':')
}

fn is_address(token: &str) -> bool {
    let told = |ip: IpAddr| !ip.is_unspecified();
    token.parse().is_ok_and(told) || token.parse().is_ok_and(|end: SocketAddr| told(end.ip()))
}

/// The same bytes with [`SCRUBBED`] for each address (and its port).
pub fn addresses(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let len = bytes[at..].iter().take_while(|byte| is_part(**byte)).count();
        let Ok(run) = core::str::from_utf8(&bytes[at..at + len]) else { break };
        let token = run.trim_end_matches(['.', ':']);
        if is_address(token) {
            out.extend_from_slice(SCRUBBED.as_bytes());
            out.extend_from_slice(&run.as_bytes()[token.len()..]);
        } else {
            out.extend_from_slice(run.as_bytes());
        }
        at += len;
        out.extend(bytes.get(at));
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(String::from_utf8(addresses(text.as_bytes())).unwrap(), expected);
    }

    #[test]
    fn addresses_go_and_all_else_stays() {
        check("X-Forwarded-For: 203.0.113.7, 10.0.0.1\r\n", "X-Forwarded-For: [scrubbed], [scrubbed]\r\n");
        check("for=\"[2001:db8::17]:4711\"", "for=\"[[scrubbed]]:4711\"");
        check("from 192.0.2.1:80.", "from [scrubbed].");
        check("12:30:45 squid/3.5.27 at 1.2.3", "12:30:45 squid/3.5.27 at 1.2.3");
        check("a::b c", "[scrubbed] c");
        check("Date: 10:00:00 GMT :: x", "Date: 10:00:00 GMT :: x");
        assert_eq!(addresses(&[0xff, b'1', b'.', 0xfe]), [0xff, b'1', b'.', 0xfe]);
    }
}
