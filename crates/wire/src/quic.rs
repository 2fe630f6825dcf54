//! QUIC up to where it turns secret: headers, Initials opened with the keys everyone can derive, the
//! ClientHello joined over frames, packets and datagrams.
//!
//! What no long header can be is refused by [`looks_like_quic`] without touching more than a few bytes, since
//! every UDP packet passes here. Versions differ by data ([`Version`]): salt, labels, packet type bits.

mod assemble;
mod emit;
mod frame;
mod gquic;
mod header;
mod keys;
#[cfg(test)]
mod tests;
mod version;

pub use assemble::{CryptoAssembler, Rekey, Step};
pub use emit::{InitialRepr, crypto_frames, retry, short_packet, version_negotiation};
pub use frame::{Frame, Frames, frames, varint};
pub use gquic::{Chlo, GquicView};
pub use header::{LongView, Packet, PacketKind, Packets, looks_like_quic, packets};
pub use keys::{Keys, Opened, Side, retry_tag};
pub use version::Version;
