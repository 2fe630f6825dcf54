//! Proxies that try to look like nothing, or like TLS: Shadowsocks, VMess, Trojan, VLESS with Reality, obfs4.
//!
//! None of these shows a message of its own, so all here are **heuristics** over bits and sizes, and other
//! traffic satisfies them too. Two published classifiers are written down: the rules by which the Great
//! Firewall exempted traffic from blocking, and the shape of a TLS handshake inside a tunnel.

/// Rules that exempt a first packet (Wu et al., "How the Great Firewall of China Detects and Blocks Fully
/// Encrypted Traffic", USENIX Security 2023, §4, https://gfw.report/publications/usenixsecurity23/).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exemption {
    /// Ex1: 3.4 set bits a byte or fewer, or 4.6 or more
    Popcount,
    /// Ex2: the first six bytes are printable ASCII
    Prefix,
    /// Ex3: more than half of the bytes are printable ASCII
    Half,
    /// Ex4: more than twenty printable bytes in a row
    Run,
    /// Ex5: opens like TLS or HTTP
    Protocol,
}

/// HTTP methods that exempt (ibid., Ex5).
const METHODS: [&[u8]; 8] =
    [b"GET ", b"PUT ", b"POST ", b"HEAD ", b"OPTIONS ", b"DELETE ", b"CONNECT ", b"TRACE "];

/// Why the first packet of a connection would pass that censor, or `None` when it would be taken for fully
/// encrypted. Empty packets pass.
pub fn exemption(bytes: &[u8]) -> Option<Exemption> {
    if bytes.is_empty() {
        return Some(Exemption::Popcount);
    }
    let printable = |byte: &u8| (0x20..=0x7e).contains(byte);
    // Ex5: `16 03 00–03`, `17 03 00–03`; the methods with their space.
    if matches!(bytes, [0x16 | 0x17, 0x03, 0x00..=0x03, ..])
        || METHODS.iter().any(|method| bytes.starts_with(method))
    {
        return Some(Exemption::Protocol);
    }
    if bytes.len() >= 6 && bytes[..6].iter().all(printable) {
        return Some(Exemption::Prefix);
    }
    let (bits, count, run) = bits_and_text(bytes);
    // Ex1 in whole numbers: bits/len ≤ 3.4 or ≥ 4.6.
    if bits * 10 <= bytes.len() * 34 || bits * 10 >= bytes.len() * 46 {
        return Some(Exemption::Popcount);
    }
    if count * 2 > bytes.len() {
        return Some(Exemption::Half);
    }
    (run > 20).then_some(Exemption::Run)
}

/// Set bits, printable bytes, the longest run of printable bytes.
fn bits_and_text(bytes: &[u8]) -> (usize, usize, usize) {
    let (mut bits, mut count, mut run, mut longest) = (0, 0, 0, 0);
    for &byte in bytes {
        bits += byte.count_ones() as usize;
        if (0x20..=0x7e).contains(&byte) {
            count += 1;
            run += 1;
            longest = longest.max(run);
        } else {
            run = 0;
        }
    }
    (bits, count, longest)
}

/// Whether bytes could be drawn uniformly at random, by more than the count of bits: no zero run, no byte
/// value too common, high and low nibbles spread. Meant for 48 bytes and more of a flow's very start; random
/// bytes fail it less than once in a thousand.
pub fn is_uniform(bytes: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(1024)];
    if bytes.len() < 48 {
        return false;
    }
    let mut counts = [0_u16; 256];
    let mut nibbles = [[0_u32; 16]; 2];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
        nibbles[0][usize::from(byte >> 4)] += 1;
        nibbles[1][usize::from(byte & 15)] += 1;
    }
    let most = counts.iter().copied().max().map_or(0, usize::from);
    // A value's count is Poisson with mean n/256; eight above twice the mean is never reached by chance.
    if most > 6 + bytes.len() / 64 {
        return false;
    }
    // Pearson's statistic of sixteen nibbles, 15 degrees of freedom: 1 in 10,000 is above 44.3.
    let fits = |seen: &[u32; 16]| {
        let expected = bytes.len() as f64 / 16.0;
        let chi: f64 = seen.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
        chi < 44.3
    };
    fits(&nibbles[0])
        && fits(&nibbles[1])
        && !bytes.windows(4).any(|four| four.iter().all(|&byte| byte == four[0]))
}

/// One burst of a connection: who sent, how many bytes of payload before the other side spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// sent by the end that opened the connection
    pub from_initiator: bool,
    /// payload bytes
    pub bytes: usize,
}

/// Whether the first bursts look like a TLS handshake carried inside another protocol: a hello of plausible
/// size, a server's flight, a short finish, then a request. Sizes of hellos and flights as observed by Xue
/// et al., "Fingerprinting Obfuscated Proxy Traffic with Encapsulated TLS Handshakes", USENIX Security 2024
/// (https://www.usenix.org/conference/usenixsecurity24/presentation/xue-fingerprinting); the bounds are
/// ours and generous: plain TLS satisfies them too, so ask only of flows that are not plain TLS.
pub fn has_inner_handshake(bursts: &[Burst]) -> bool {
    let shape: Vec<_> = bursts.iter().map(|burst| (burst.from_initiator, burst.bytes)).collect();
    shape
        .windows(4)
        .any(|four| matches!(four, [(true, 200..=2200), (false, 100..=12_000), (true, 50..=600), (_, 20..)]))
}

/// The pattern attributed to the Russian filter in April–May 2024: the client's first packets, three or more,
/// of 411 bytes or more each (https://github.com/net4people/bbs/issues/363, a field report, confidence
/// medium; its condition on the server's packets was not recovered).
pub fn has_three_large_packets(client_packets: &[usize]) -> bool {
    client_packets.iter().filter(|&&size| size >= 411).count() >= 3
}

/// Whether a stream inside TLS, once decrypted, is Trojan's request: 56 hex digits (SHA-224 of the
/// password), CRLF, a SOCKS 5 style request (https://trojan-gfw.github.io/trojan/protocol). Seen on the wire
/// only where the TLS is not there.
pub fn is_bare_trojan(bytes: &[u8]) -> bool {
    bytes.len() >= 61
        && bytes[..56].iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && bytes[56..58] == *b"\r\n"
        && matches!(bytes[58], 1 | 3)
        && matches!(bytes[59], 1 | 3 | 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a fixed generator (xorshift*, 64 bits).
    fn noise(size: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
        };
        (0..size).map(|_| next()).collect()
    }

    #[test]
    fn noise_is_not_exempt_and_everyday_openings_are() {
        assert_eq!(exemption(&noise(400, 7)), None);
        assert_eq!(exemption(b"GET / HTTP/1.1\r\n\r\n"), Some(Exemption::Protocol));
        assert_eq!(exemption(&[0x16, 3, 1, 2, 0]), Some(Exemption::Protocol));
        assert_eq!(exemption(b"EHLO mail"), Some(Exemption::Prefix));
        assert_eq!(exemption(&[0; 64]), Some(Exemption::Popcount));
    }

    #[test]
    fn each_exemption_holds_just_past_its_bound_and_not_before() {
        // 20 printable bytes in a row are not enough, 21 are.
        let mut bytes = noise(400, 9);
        bytes[100..123].copy_from_slice(b"\x01abcdefghijklmnopqrst\x01\x80");
        assert_eq!(exemption(&bytes), None);
        bytes[121] = b'u';
        assert_eq!(exemption(&bytes), Some(Exemption::Run));
        let mut bytes = noise(400, 11);
        bytes[..6].copy_from_slice(b"abcde\x80");
        assert_eq!(exemption(&bytes), None);
        bytes[5] = b'f';
        assert_eq!(exemption(&bytes), Some(Exemption::Prefix));
    }

    #[test]
    fn uniform_bytes_pass_nearly_always_and_structured_ones_fail() {
        let passed = (1..=1000_u64)
            .filter(|seed| is_uniform(&noise(256, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
            .count();
        assert!(passed >= 990, "{passed}");
        assert!(!is_uniform(&[0x41; 256]));
        assert!(!is_uniform(b"POST /index.html HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n"));
    }

    #[test]
    fn a_handshake_inside_a_tunnel_is_told_by_four_bursts_and_not_by_three() {
        let burst = |from_initiator, bytes| Burst { from_initiator, bytes };
        let inner = [burst(true, 590), burst(false, 3200), burst(true, 130), burst(true, 420)];
        assert!(has_inner_handshake(&inner));
        assert!(!has_inner_handshake(&inner[..3]));
        assert!(!has_inner_handshake(&[
            burst(true, 60),
            burst(false, 90),
            burst(true, 60),
            burst(false, 90)
        ]));
    }

    #[test]
    fn three_packets_of_411_bytes_fit_and_of_410_do_not() {
        assert!(has_three_large_packets(&[600, 100, 411, 411]));
        assert!(!has_three_large_packets(&[600, 411, 410]));
    }

    #[test]
    fn trojan_without_its_tls_is_seen_by_its_hexadecimal_password() {
        let request = [&[b'a'; 56][..], b"\r\n\x01\x03\x07example\x01\xbb\r\n"].concat();
        assert!(is_bare_trojan(&request));
        assert!(!is_bare_trojan(&request.to_ascii_uppercase()));
    }
}
