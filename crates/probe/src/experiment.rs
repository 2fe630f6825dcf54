//! What every test is: a name, a manual, hosts that it would contact, and a way to run.

use core::cell::Cell;
use std::rc::Rc;

use serde_json::Value;

use crate::net::{Task, World};

/// Risk to the person who runs a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// looks like ordinary use of the web
    Low,
    /// contacts names or services that are blocked, or sends traffic that a filter may count
    Elevated,
    /// sends traffic that is itself forbidden in places, or repeats a trigger often: needs `--i-understand`
    High,
}

/// What people must know of a test before they run it. Every text is plain and short.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manual {
    /// what it tells, in one line
    pub title: &'static str,
    /// what provokes the interference
    pub trigger: &'static str,
    /// what the trigger is compared with
    pub control: &'static str,
    /// how the comparison is read
    pub logic: &'static str,
    /// what it cannot tell
    pub blind: &'static str,
    /// cost of one input: bytes both ways, about
    pub bytes: u64,
    /// cost of one input: seconds at most
    pub seconds: u64,
    /// risk
    pub risk: Risk,
    /// what the risk is, for the person who runs it
    pub risk_note: &'static str,
    /// specification or paper that it follows
    pub source: &'static str,
}

/// A host that a test would contact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact {
    /// name or address
    pub host: String,
    /// `tcp/443`, `udp/53`
    pub port: String,
    /// what for, in a few words
    pub purpose: String,
}

/// What a test runs in.
#[derive(Clone)]
pub struct Context {
    /// the network, the clock, chance
    pub world: World,
    /// base URL of the test helper, `https://helper.example/`; tests without one ignore it
    pub helper: Option<String>,
    /// addresses of the helper, when its name shall not be looked up
    pub helper_addresses: Vec<core::net::IpAddr>,
    /// next transaction id of the measurement (df-001), from 1
    pub transactions: Rc<Cell<u64>>,
}

impl Context {
    /// A context for one measurement.
    pub fn new(world: World) -> Self {
        Self { world, helper: None, helper_addresses: Vec::new(), transactions: Rc::new(Cell::new(1)) }
    }

    /// A fresh transaction id.
    pub fn transaction(&self) -> u64 {
        let id = self.transactions.get();
        self.transactions.set(id + 1);
        id
    }
}

/// A test.
pub trait Experiment {
    /// Name, as in OONI's specification where it has one.
    fn name(&self) -> &'static str;
    /// Version of the test's data.
    fn version(&self) -> &'static str;
    /// What people must know.
    fn manual(&self) -> &'static Manual;
    /// Whether it measures an input (a URL, an endpoint) or itself knows what to measure.
    fn takes_input(&self) -> bool;
    /// Whether nothing else may run beside it: it measures rates, counts or losses of this line.
    fn alone(&self) -> bool {
        false
    }
    /// Every host that it would contact for this input. A session contacts no other.
    fn contacts(&self, input: Option<&str>) -> Vec<Contact>;
    /// Runs, and gives the test keys. Interference is data: this cannot fail. `Err` is for an input that the
    /// test cannot use, with what to give instead.
    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>>;
}
