//! Techniques as the built-in profiles use them: trigger and near-miss, deed, timer, opener, key.

mod address;
mod bench;
mod calls;
mod dns;
mod injected;
mod names;
mod parsers;
mod quic;
mod tunnels;
