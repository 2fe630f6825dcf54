//! The Internet checksum (RFC 1071) and the pseudo-headers of RFC 9293 §3.1 and RFC 8200 §8.1.

use core::net::IpAddr;

/// The one's-complement sum of `bytes`, added to `start`, not yet folded or inverted.
pub fn sum(start: u32, bytes: &[u8]) -> u32 {
    let mut total = u64::from(start);
    let mut words = bytes.chunks_exact(2);
    for word in &mut words {
        total += u64::from(u16::from_be_bytes([word[0], word[1]]));
    }
    if let [last] = words.remainder() {
        total += u64::from(*last) << 8;
    }
    while total > 0xffff_ffff {
        total = (total & 0xffff_ffff) + (total >> 32);
    }
    total as u32
}

/// Folds and inverts a sum.
pub fn finish(mut total: u32) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

/// The sum over the pseudo-header of a transport segment of `len` bytes.
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> u32 {
    let addresses = |start, ip: IpAddr| match ip {
        IpAddr::V4(ip) => sum(start, &ip.octets()),
        IpAddr::V6(ip) => sum(start, &ip.octets()),
    };
    let total = addresses(addresses(0, source), destination);
    let total = sum(total, &u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    sum(total, &[0, protocol])
}
