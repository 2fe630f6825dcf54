//! DTLS records and hellos.
