//! QUIC up to where it turns secret.
