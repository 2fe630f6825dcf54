//! A session: tests over inputs, within limits, one clean line a measurement.
//!
//! Lines come in the order of the jobs, whatever finished first: the same answers give the same file. Tests
//! that measure rates run alone, after the others, because a busy line looks like a throttled one.

use core::cell::RefCell;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

use futures::StreamExt;
use okno_model::Timestamp;
use serde_json::{Map, Value};
use url::Url;

use crate::experiment::{Contact, Context, Experiment};
use crate::guard::{Guard, Ledger, Limits};
use crate::measurement::{Identity, Measurement, extensions, format_time};
use crate::net::{Instant, World, within};
use crate::scrub::Scrubber;

/// Beyond this times its manual's seconds a test is cut off, so that no session hangs.
const PATIENCE: u32 = 3;

/// What a session measures with.
#[derive(Clone)]
pub struct Plan {
    /// who measures, as far as it may be written
    pub identity: Identity,
    /// what may be spent, and where
    pub limits: Limits,
    /// measurements at a time
    pub parallel: usize,
    /// base URL of the test helper
    pub helper: Option<String>,
    /// addresses of the helper, when its name shall not be looked up
    pub helper_addresses: Vec<IpAddr>,
    /// own addresses as others see them, beside what the system knows
    pub own_addresses: Vec<IpAddr>,
    /// free notes in every line
    pub annotations: Map<String, Value>,
}

/// One measurement to make.
#[derive(Clone)]
pub struct Job {
    /// the test
    pub experiment: Rc<dyn Experiment>,
    /// what to measure; `None` for tests that know it themselves
    pub input: Option<String>,
}

/// One measurement that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// number of the job
    pub index: usize,
    /// the test
    pub test: &'static str,
    /// what was measured
    pub input: Option<String>,
    /// seconds that it took
    pub seconds: f64,
    /// one JSON object without a line's end, scrubbed; `Err` tells why there is none
    pub line: Result<String, String>,
}

/// Every host that these jobs would contact, for people: contact and the tests that name it.
pub fn contacts(plan: &Plan, jobs: &[Job]) -> Vec<(Contact, Vec<&'static str>)> {
    let mut all: BTreeMap<Contact, BTreeSet<&'static str>> = BTreeMap::new();
    for job in jobs {
        for contact in named(plan, job) {
            all.entry(contact).or_default().insert(job.experiment.name());
        }
    }
    all.into_iter().map(|(contact, tests)| (contact, tests.into_iter().collect())).collect()
}

/// What a job's test names, and the helper; tests write the word `helper` for the session's own.
fn named(plan: &Plan, job: &Job) -> Vec<Contact> {
    let mut contacts = job.experiment.contacts(job.input.as_deref());
    let Some(helper) = plan.helper.as_deref().and_then(|helper| Url::parse(helper).ok()) else {
        return contacts;
    };
    let named = helper.host_str().map(str::to_string);
    let hosts: Vec<String> = plan.helper_addresses.iter().map(IpAddr::to_string).chain(named).collect();
    let (of_helper, mut all): (Vec<_>, Vec<_>) =
        contacts.drain(..).partition(|contact| HELPER.contains(&contact.host.as_str()));
    let port = format!("tcp/{}", helper.port_or_known_default().unwrap_or(443));
    let itself = Contact { host: String::new(), port, purpose: "the test helper".to_string() };
    for contact in of_helper.into_iter().chain([itself]) {
        all.extend(hosts.iter().map(|host| Contact { host: host.clone(), ..contact.clone() }));
    }
    all
}

/// How a test's contacts name the session's helper.
const HELPER: [&str; 2] = ["helper", "(the helper)"];

/// A session under way.
pub struct Session {
    world: World,
    plan: Plan,
    ledger: Rc<Ledger>,
    own: BTreeSet<IpAddr>,
    begun: RefCell<BTreeMap<&'static str, Instant>>,
}

/// Addresses that ask the routing table for the own ones: any public ones do, nothing is sent.
const FAR: [IpAddr; 2] = [
    IpAddr::V4(core::net::Ipv4Addr::new(1, 1, 1, 1)),
    IpAddr::V6(core::net::Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111)),
];

impl Session {
    /// Prepares a session over `jobs`.
    pub fn new(world: World, plan: Plan, jobs: &[Job]) -> Self {
        let mut own: BTreeSet<IpAddr> = plan.own_addresses.iter().copied().collect();
        own.extend(FAR.iter().filter_map(|far| world.own_address(*far)));
        let mut named_hosts = BTreeSet::new();
        for (contact, _) in contacts(&plan, jobs) {
            if let Ok(ip) = contact.host.trim_matches(['[', ']']).parse::<IpAddr>() {
                own.extend(world.own_address(ip).filter(|own| *own != ip));
                named_hosts.insert(ip);
            }
        }
        // A resolver that is itself measured stays; the line's own box is nobody else's business.
        own.extend(world.system_resolver().map(|end| end.ip).filter(|ip| !named_hosts.contains(ip)));
        let ledger = Ledger::new(plan.limits.clone());
        Self { world, plan, ledger, own, begun: RefCell::default() }
    }

    /// The account.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Runs everything. `each` gets the measurements in order; its error ends the session.
    pub async fn run(&self, jobs: &[Job], each: &mut dyn FnMut(Done) -> io::Result<()>) -> io::Result<()> {
        let numbered = || jobs.iter().enumerate();
        let together: Vec<_> = numbered().filter(|(_, job)| !job.experiment.alone()).collect();
        let alone: Vec<_> = numbered().filter(|(_, job)| job.experiment.alone()).collect();
        self.run_some(&together, self.plan.parallel.max(1), each).await?;
        self.run_some(&alone, 1, each).await
    }

    async fn run_some(
        &self,
        jobs: &[(usize, &Job)],
        parallel: usize,
        each: &mut dyn FnMut(Done) -> io::Result<()>,
    ) -> io::Result<()> {
        let work = jobs.iter().map(|(index, job)| self.measure(*index, job));
        let mut done = futures::stream::iter(work).buffer_unordered(parallel);
        let mut waiting: BTreeMap<usize, Done> = BTreeMap::new();
        let mut order = jobs.iter().map(|(index, _)| *index).peekable();
        while let Some(one) = done.next().await {
            waiting.insert(one.index, one);
            while let Some(next) = order.peek().and_then(|index| waiting.remove(index)) {
                order.next();
                each(next)?;
            }
        }
        Ok(())
    }

    async fn measure(&self, index: usize, job: &Job) -> Done {
        let test = job.experiment.name();
        let start = self.world.now();
        let begun = *self.begun.borrow_mut().entry(test).or_insert(start);
        let guard = Guard::around(self.world.clone(), self.ledger.clone(), &named(&self.plan, job));
        let mut context = Context::new(guard);
        context.helper.clone_from(&self.plan.helper);
        context.helper_addresses.clone_from(&self.plan.helper_addresses);
        let limit = Duration::from_secs(job.experiment.manual().seconds.max(10)) * PATIENCE;
        let work = job.experiment.run(&context, job.input.as_deref());
        let keys = within(&*self.world, limit, work).await;
        let seconds = (self.world.now() - start).as_secs_f64();
        let line = match keys {
            Some(Ok(keys)) => Ok(self.line(job, keys, (begun, start), seconds)),
            Some(Err(why)) => Err(why),
            None => Err(format!("{test} did not end within {} s", limit.as_secs())),
        };
        Done { index, test, input: job.input.clone(), seconds, line }
    }

    fn line(&self, job: &Job, mut keys: Value, (begun, start): (Instant, Instant), seconds: f64) -> String {
        Scrubber::new(self.own.iter().copied().chain(self.ledger.own_addresses())).value(&mut keys);
        let who = &self.plan.identity;
        let time = |at: Instant| format_time(Timestamp::from_micros(at.micros().cast_signed()));
        let mut test_helpers = Map::new();
        if let Some(helper) = &self.plan.helper {
            test_helpers.insert("backend".to_string(), helper.as_str().into());
        }
        let measurement = Measurement {
            annotations: self.plan.annotations.clone(),
            data_format_version: "0.2.0",
            extensions: extensions(&keys),
            input: job.input.clone(),
            input_hashes: Vec::new(),
            measurement_start_time: time(start),
            probe_asn: who.asn.clone(),
            probe_cc: who.country.clone(),
            probe_city: None,
            probe_ip: "127.0.0.1",
            probe_network_name: who.network_name.clone(),
            report_id: String::new(),
            resolver_asn: who.resolver_asn.clone(),
            resolver_ip: "127.0.0.2",
            resolver_network_name: who.resolver_network_name.clone(),
            software_name: who.software_name.clone(),
            software_version: who.software_version.clone(),
            test_helpers,
            test_keys: keys,
            test_name: job.experiment.name().to_string(),
            test_runtime: seconds,
            test_start_time: time(begun),
            test_version: job.experiment.version().to_string(),
        };
        serde_json::to_string(&measurement).expect("keys are texts and numbers are finite")
    }
}
