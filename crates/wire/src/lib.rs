//! Packets and first flights as borrowed views and small reprs.
//!
//! A parser borrows from the packet, allocates nothing it does not return, and never panics: what does
//! not fit is a [`Malformed`] that says layer, offset, what was expected and what stood there, because
//! how a packet is malformed is evidence too. Nothing here opens a socket or knows of a censor.

pub mod bittorrent;
pub mod build;
mod bytes;
pub mod checksum;
mod cursor;
pub mod dns;
pub mod dtls;
mod flow;
pub mod http;
pub mod ike;
mod instant;
pub mod l2tp;
mod malformed;
pub mod mtproto;
pub mod openvpn;
pub mod packet;
pub mod protocol;
pub mod proxies;
pub mod quic;
pub mod recognise;
pub mod rtp;
pub mod sip;
pub mod socks;
pub mod ssh;
pub mod stun;
pub mod tls;
pub mod tor;
pub mod wireguard;
pub mod x509;

pub use flow::{Endpoint, FlowKey};
pub use instant::Instant;
pub use malformed::{Found, Malformed};
pub use packet::{PacketView, Transport};
pub use protocol::{Protocol, Recognition};
pub use recognise::{Ports, Recogniser, Side, Stream};
