//! Servers on the other side of measurements: what `okno probe helper` runs.

pub mod dialback;
pub mod echo;
pub mod fragments;
pub mod headers;
pub mod partner;
pub mod replay;
pub mod udp_echo;
pub mod web;
pub mod whoami;
