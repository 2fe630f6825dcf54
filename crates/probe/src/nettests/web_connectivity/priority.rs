//! Which of the connections that stand fetches the page (probe-cli webconnectivitylte/priority.go;
//! ooni/probe#2276): those to addresses of the system's resolver first, as a browser would, then UDP's, then
//! HTTPS's, then the helper's.

use core::cell::{Cell, RefCell};
use core::net::IpAddr;
use core::time::Duration;

use serde::Serialize;

use super::seen::endpoint_text;
use crate::net::{Instant, World};
use crate::trace::Trace;

/// The system's resolver gave the address.
pub const BY_SYSTEM: u8 = 1;
/// The resolver over UDP did.
pub const BY_UDP: u8 = 2;
/// The resolver over HTTPS did.
pub const BY_HTTPS: u8 = 4;

/// An address and who gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// the address
    pub ip: IpAddr,
    /// [`BY_SYSTEM`], [`BY_UDP`], [`BY_HTTPS`]; 0 when the helper did
    pub by: u8,
}

/// How long a connection of lower rank waits for one of higher.
const GRACE: Duration = Duration::from_millis(500);

/// A line of `x_conn_priority_log`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogLine {
    /// what was decided
    pub msg: String,
    /// seconds from the measurement's start
    pub t: f64,
}

#[derive(Clone, Copy)]
enum Stage {
    /// nobody has asked
    Fresh,
    /// the winner is chosen then
    Until(Instant),
    /// somebody fetches
    Granted(IpAddr),
}

/// Chooses, for the addresses of one hop.
pub struct Priority<'a> {
    world: &'a World,
    trace: &'a Trace,
    log: &'a RefCell<Vec<LogLine>>,
    found: Vec<Found>,
    top: u8,
    stage: Cell<Stage>,
    waiting: RefCell<Vec<IpAddr>>,
}

impl<'a> Priority<'a> {
    /// For these addresses.
    pub fn new(
        world: &'a World,
        trace: &'a Trace,
        log: &'a RefCell<Vec<LogLine>>,
        found: Vec<Found>,
    ) -> Self {
        let has = |flag: u8| found.iter().any(|found| found.by & flag != 0);
        let top = [BY_SYSTEM, BY_UDP, BY_HTTPS].into_iter().find(|flag| has(*flag)).unwrap_or(0);
        let listed: Vec<String> =
            found.iter().map(|found| format!("{{Addr:{} Flags:{}}}", found.ip, found.by)).collect();
        let priority = Self {
            world,
            trace,
            log,
            found,
            top,
            stage: Cell::new(Stage::Fresh),
            waiting: RefCell::default(),
        };
        priority.note(format!("create with [{}]", listed.join(" ")));
        priority
    }

    fn note(&self, msg: String) {
        let t = self.trace.seconds(self.world.now());
        self.log.borrow_mut().push(LogLine { msg, t });
    }

    /// With addresses of the helper alone everybody is first.
    fn is_first(&self, ip: IpAddr) -> bool {
        let by = self.found.iter().find(|found| found.ip == ip).map_or(0, |found| found.by);
        self.top == 0 || by & self.top != 0
    }

    /// Whether this connection may fetch; may wait for half a second.
    pub async fn may_fetch(&self, ip: IpAddr, port: u16) -> bool {
        let end = endpoint_text(ip, port);
        let at = match self.stage.get() {
            Stage::Granted(_) => {
                self.note(format!("conn {end}: denied permission: timed out sending"));
                return false;
            }
            Stage::Fresh if self.is_first(ip) => {
                self.stage.set(Stage::Granted(ip));
                self.note(format!("conn {end}: granted permission: true"));
                return true;
            }
            Stage::Fresh => {
                let at = self.world.now() + GRACE;
                self.stage.set(Stage::Until(at));
                at
            }
            Stage::Until(at) => at,
        };
        self.waiting.borrow_mut().push(ip);
        self.world.sleep_until(at).await;
        if matches!(self.stage.get(), Stage::Until(_)) {
            let waiting = self.waiting.borrow();
            let first = waiting.iter().copied().find(|ip| self.is_first(*ip));
            self.stage.set(Stage::Granted(first.or(waiting.first().copied()).unwrap_or(ip)));
        }
        let granted = matches!(self.stage.get(), Stage::Granted(winner) if winner == ip);
        self.note(format!("conn {end}: granted permission: {granted}"));
        granted
    }
}
