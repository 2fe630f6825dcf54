//! TLS up to where it turns secret: records, hellos, certificates, alerts, fingerprints.
//!
//! A ClientHello is read the same way from TLS, QUIC and DTLS, so everything past the record layer is
//! shared. Two ways of looking at a stream stand side by side on purpose: [`first_flight`] joins records as
//! a server does, [`records`] gives them one by one, as a box without record reassembly sees them.

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
pub use fingerprint::{Ja4Transport, ja3, ja3_text, ja4, ja4_raw};
pub use hello::{ClientHello, Ech, Extension, Extensions, Numbers, is_grease, normalise_name};
pub use record::{
    FirstFlight, HelloFlight, MAX_HELLO, Message, Messages, Record, Records, first_flight, handshake_bytes,
    looks_like_tls, messages, records,
};
pub use server::{Alert, Certificates, ServerHello, ServerHelloRepr, certificate_message};
