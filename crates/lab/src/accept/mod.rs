//! What a server would have taken of a packet sequence.
//!
//! An evasion works only when the server takes the real bytes and leaves the decoys, so its outcome is
//! predicted by a model of the receiver: the IP layer with its fragments ([`Fragments`]), the TCP receiver
//! of Linux and of Windows ([`TcpReceiver`]), and what the application then reads. Differences between the
//! two are listed at [`Stack`], each with its source; where a system's behaviour is not documented, the
//! model follows the RFC and says so.
//!
//! Once, outside of this repository, all sequences of [`crate::evasion`] over TCP (but the split handshake,
//! which needs another server) were fed to a real Linux 6.18 through a TUN device: the application read
//! byte for byte what the model says.

mod fragments;
mod hello;
mod replay;
mod tcp;
#[cfg(test)]
mod tests;

pub use fragments::{FragmentOverlap, Fragments};
pub use hello::{Greeting, greeting, quic_name};
pub use replay::{Accepted, Flight, Hops, replay};
pub(crate) use replay::{ip_fault, on_the_way};
pub use tcp::{Reply, TcpReceiver};

/// A receiver's system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Os {
    /// Linux 5 and 6
    Linux,
    /// Windows 10, 11 and Server since 2016
    Windows,
}

/// A receiver: its system and the settings that decide what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack {
    /// its system
    pub os: Os,
    /// it takes data in SYN without a cookie
    pub data_in_syn: bool,
    /// it agrees to timestamps when the client offers them
    pub timestamps: bool,
    /// it drops segments with an MD5 signature that it did not ask for
    pub drops_unexpected_md5: bool,
    /// which data stays where queued segments overlap
    pub overlap: Overlap,
    /// what becomes of overlapping IPv4 fragments
    pub fragment_overlap: FragmentOverlap,
    /// receive window offered, bytes
    pub window: u32,
}

/// Which data stays where segments in the out-of-order queue overlap. Bytes already delivered to the
/// application never change, on any system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// what came first stays
    First,
    /// what begins earlier wins, whenever it came; of equal starts the longer
    EarlierStart,
}

impl Stack {
    /// Linux with its defaults.
    ///
    /// - unexpected MD5 option: dropped, counted as TCPMD5Unexpected (`tcp_inbound_md5_hash`,
    ///   https://elixir.bootlin.com/linux/v6.6/source/net/ipv4/tcp.c; RFC 2385 §2 leaves it open)
    /// - timestamps: on (`net.ipv4.tcp_timestamps` = 1,
    ///   https://docs.kernel.org/networking/ip-sysctl.html)
    /// - data in SYN: not without a cookie (`net.ipv4.tcp_fastopen`, same page: 0x200 allows it)
    /// - overlap: a queued segment is replaced only by one that begins earlier or covers it
    ///   (`tcp_data_queue_ofo`; J. Novak, S. Sturges, "Target-Based TCP Stream Reassembly", 2007)
    /// - fragments: an overlap discards the whole queue, an exact duplicate is ignored (since 4.18.7;
    ///   `inet_frag_queue_insert`; for IPv6 RFC 5722 §4 asks for it)
    pub const fn linux() -> Self {
        Self {
            os: Os::Linux,
            data_in_syn: false,
            timestamps: true,
            drops_unexpected_md5: true,
            overlap: Overlap::EarlierStart,
            fragment_overlap: FragmentOverlap::Discard,
            window: 64_240,
        }
    }

    /// Windows with its defaults.
    ///
    /// - MD5 option: unknown to it, thus ignored and the data taken (RFC 9293 §3.1, MUST-6: an unknown
    ///   option is ignored)
    /// - timestamps: not agreed to (`netsh int tcp set global timestamps`, default "disabled" on servers,
    ///  
    /// https://learn.microsoft.com/en-us/previous-versions/windows/it-pro/windows-server-2012-R2-and-2012/hh826132(v=ws.11))
    /// - overlap: what came first stays (policy "vista" of Suricata and Snort, after Novak and Sturges 2007)
    /// - fragments: what came first stays in IPv4 (J. Novak, "Target-Based Fragmentation Reassembly",
    ///   2005); IPv6 discards (RFC 5722 §4)
    pub const fn windows() -> Self {
        Self {
            os: Os::Windows,
            data_in_syn: false,
            timestamps: false,
            drops_unexpected_md5: false,
            overlap: Overlap::First,
            fragment_overlap: FragmentOverlap::First,
            window: 65_535,
        }
    }
}

/// What became of one packet at the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// it did something: data was taken or queued, the connection moved on, or it acknowledged
    Taken,
    /// its TTL ended on the way
    TtlEnded,
    /// a router on the way drops packets with hop-by-hop options (RFC 7872 §3 measured 40–55 % of paths)
    ExtensionFiltered,
    /// a hop-by-hop header that is not the first extension header (RFC 8200 §4.1, §4.3)
    ExtensionOrder,
    /// the IPv4 header checksum is wrong (RFC 1122 §3.2.1.2)
    IpChecksum,
    /// the TCP or UDP checksum is wrong (RFC 9293 §3.1, MUST-3)
    TransportChecksum,
    /// the packet is malformed
    Malformed,
    /// a fragment that waits for others
    Fragment,
    /// a first IPv6 fragment that does not hold the whole transport header (RFC 7112 §5)
    FragmentTooShort,
    /// a fragment that overlaps another, or one whose packet was discarded for it
    FragmentOverlap,
    /// MD5 signature nobody asked for
    UnexpectedMd5,
    /// no ACK flag in an established connection (RFC 9293 §3.10.7.4, fifth step)
    NoAckFlag,
    /// its timestamp is older than the last (PAWS, RFC 7323 §5.3)
    OldTimestamp,
    /// outside the receive window (RFC 9293 §3.10.7.4, first step)
    OutOfWindow,
    /// a RST that is in the window but not exactly next: challenge ACK (RFC 5961 §3.2)
    InexactReset,
    /// a SYN in an established connection: challenge ACK (RFC 5961 §4.2)
    StraySyn,
    /// it acknowledges what was never sent, or far too old data (RFC 5961 §5.2)
    BadAck,
    /// all of it was there before
    Duplicate,
    /// a valid RST: the connection is gone
    Reset,
    /// no connection takes it
    NoConnection,
}
