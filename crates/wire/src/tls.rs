//! TLS up to where it turns secret: records, hellos, certificates, alerts, fingerprints.
//!
//! A ClientHello is read the same way from TLS, QUIC and DTLS, so everything past the record layer is
//! shared. Two ways of looking at a stream stand side by side on purpose: [`first_flight`] joins records as
//! a server does, [`records`] gives them one by one, as a box without record reassembly sees them.
//!
//! ```
//! use okno_wire::tls::{ClientHello, FirstFlight, first_flight, preset, records, split_records};
//!
//! // A client splits its hello inside the name, over two records.
//! let message = preset::chrome(7, Some("www.example.org"), false).emit();
//! let name = ClientHello::parse(&message)?.sni_range().expect("a name was given");
//! let stream = split_records(0x0301, &message, &[name.start + 4]);
//!
//! // The server joins them and sees the name; a box that reads the first record does not.
//! let FirstFlight::Hello(flight) = first_flight(&stream) else { panic!("the hello is whole") };
//! assert_eq!(ClientHello::parse(&flight.message)?.server_name(), Some("www.example.org"));
//! let first = records(&stream).next().expect("a record")?;
//! assert_eq!(ClientHello::parse_prefix(first.body)?.server_name(), None);
//! # Ok::<(), okno_wire::Malformed>(())
//! ```

pub mod code;
mod emit;
mod fingerprint;
mod hello;
pub mod preset;
mod record;
mod server;
#[cfg(test)]
mod tests;

pub use emit::{ClientHelloRepr, extension, record, records_of, split_records};
pub use fingerprint::{Ja4Transport, ja3, ja3_text, ja4, ja4_head, ja4_raw};
pub use hello::{ClientHello, Ech, Extension, Extensions, Numbers, is_grease, normalise_name};
pub use record::{
    FirstFlight, HelloFlight, MAX_HELLO, Message, Messages, Record, Records, first_flight, handshake_bytes,
    looks_like_tls, messages, records,
};
pub use server::{Alert, Certificates, ServerHello, ServerHelloRepr, certificate_message};
