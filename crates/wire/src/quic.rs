//! QUIC up to where it turns secret: headers, Initials opened with the keys everyone can derive, the
//! ClientHello joined over frames, packets and datagrams.
//!
//! What no long header can be is refused by [`looks_like_quic`] without touching more than a few bytes, since
//! every UDP packet passes here. Versions differ by data ([`Version`]): salt, labels, packet type bits.
//!
//! ```
//! use okno_wire::quic::{CryptoAssembler, InitialRepr, Rekey, Side, Step, Version, crypto_frames};
//! use okno_wire::tls::{ClientHello, preset};
//!
//! // A hello cut inside and sent in the wrong order, as Chrome does.
//! let message = preset::quic(7, Some("quic.example.org"), &[1; 8], false).emit();
//! let mut frames = crypto_frames(&message, &[60, 150]);
//! frames.reverse();
//! let initial = InitialRepr::first(Version::V1, &[9; 8], &[1; 8]);
//! let datagram = initial.seal(Side::Client, &[9; 8], &frames, 1_200).expect("v1 has known keys");
//!
//! let mut assembler = CryptoAssembler::new(Rekey::AfterRetry);
//! assert_eq!(assembler.client(&datagram), Step::Hello);
//! let hello = ClientHello::parse(assembler.hello().expect("it is whole"))?;
//! assert_eq!(hello.server_name(), Some("quic.example.org"));
//! # Ok::<(), okno_wire::Malformed>(())
//! ```

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
