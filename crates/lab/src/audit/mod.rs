//! A capture through the eyes of somebody on the path: what is learned without breaking any encryption.
//!
//! It looks at what a passive observer could look at, and keeps names, counts and shortened identities;
//! never contents. A password or a cookie is counted as present and not read. Flows between private
//! addresses are told apart, because only somebody in the same network sees them.

mod found;
mod look;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;

use okno_wire::Protocol;

use crate::capture::CaptureError;
use crate::replay::{Cidr, FlowRow, Options, Progress, Replay, Summary, is_private};
pub use found::{Channel, Finding, Found, Group, Learned, shortened};
use look::Observer;

/// An audit of one or several captures.
pub struct Audit {
    replay: Replay<Observer, Make>,
    found: Rc<RefCell<Found>>,
}

/// Makes the observer's box.
type Make = Box<dyn FnMut() -> Observer>;

impl Audit {
    /// `subscribers` as in [`Options::subscribers`]; `show_identities` keeps identities in full.
    pub fn new(subscribers: Vec<Cidr>, show_identities: bool) -> Self {
        let found = Rc::new(RefCell::new(Found::new(show_identities)));
        let shared = Rc::clone(&found);
        let make: Make = Box::new(move || Observer::new(Rc::clone(&shared)));
        let options = Options { subscribers, keep_streams: true, ..Options::default() };
        Self { replay: Replay::new(options, make), found }
    }

    /// Reads one capture to its end; an error ends this capture alone and stands in the summary too.
    pub fn capture<R: Read>(
        &mut self,
        name: &str,
        reader: R,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), CaptureError> {
        let found = Rc::clone(&self.found);
        self.replay.capture(name, reader, &mut |row| learn(&mut found.borrow_mut(), &row), progress)
    }

    /// What was found, and the counts of the reading.
    pub fn finish(self) -> (Found, Summary) {
        let found = self.found;
        let summary = self.replay.finish(&mut |row| learn(&mut found.borrow_mut(), &row));
        let found = found.replace(Found::new(false));
        (found, summary)
    }
}

/// Books a flow that is over.
fn learn(found: &mut Found, row: &FlowRow) {
    let (remote, _) = row.remote();
    let local = is_local(remote);
    let mut learned = found.take_learned(&row.key);
    learned.flows = 1;
    learned.packets = row.packets[0] + row.packets[1];
    learned.bytes = row.bytes[0] + row.bytes[1];
    let protocol = row.recognition.as_ref().map(|recognition| recognition.protocol);
    if let Some(streams) = &row.streams {
        look::streams(found, &mut learned, &streams[0], &streams[1], local);
    }
    if let Some(recognition) = &row.recognition {
        let channel = match recognition.protocol {
            Protocol::Quic => Some(Channel::QuicName),
            Protocol::Dtls => Some(Channel::DtlsName),
            _ => None,
        };
        if let Some(channel) = channel {
            found.see(channel, &recognition.name, local, &mut learned);
        }
        found.see(Channel::Ja4, &recognition.fingerprint, local, &mut learned);
    }
    found.address(remote, row.subscriber().0, local);
    found.protocol(protocol.map_or("", Protocol::as_str), &learned, local);
}

/// Whether only the local network sees a flow to this address.
fn is_local(remote: core::net::IpAddr) -> bool {
    let group = match remote {
        core::net::IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        core::net::IpAddr::V6(ip) => ip.is_multicast(),
    };
    group || is_private(remote)
}
