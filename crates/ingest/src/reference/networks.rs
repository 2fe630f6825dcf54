//! stub
use std::net::IpAddr;

use okno_model::{Asn, NetworkInfo, Timestamp};

/// Who announces an address, by date.
#[derive(Debug, Default)]
pub struct NetworkTable {}

impl NetworkTable {
    /// Who announced `ip` on the day of `at`.
    pub fn lookup(&self, _ip: IpAddr, _at: Timestamp) -> Option<NetworkInfo<'_>> {
        None
    }

    /// Organisation behind an AS number on the day of `at`.
    pub fn org_of(&self, _asn: Asn, _at: Timestamp) -> Option<&str> {
        None
    }

    /// Whether there is no table at all.
    pub fn is_empty(&self) -> bool {
        true
    }
}
