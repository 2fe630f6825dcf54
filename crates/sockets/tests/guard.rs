//! What a session may not do, it cannot: the guard and the session, in a small world of the lab.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its world shall stop")]

use core::time::Duration;
use std::cell::RefCell;
use std::rc::Rc;

use futures::{AsyncReadExt, AsyncWriteExt};
use okno_lab::probe::Bench;
use okno_lab::services::web::Web;
use okno_probe::experiment::{Contact, Context, Experiment, Manual, Risk};
use okno_probe::guard::{Guard, Ledger, Limits, Why};
use okno_probe::measurement::Identity;
use okno_probe::net::{self, Dial, Endpoint, NetErrorKind, UdpSetup};
use okno_probe::session::{self, Done, Job, Plan, Session};
use okno_probe::{Net, Task, World};
use serde_json::{Map, Value, json};

fn contact(host: &str) -> Contact {
    Contact { host: host.to_string(), port: "tcp/443".to_string(), purpose: "test".to_string() }
}

fn end(text: &str) -> Endpoint {
    text.parse().unwrap()
}

async fn dial(world: &dyn Net, to: Endpoint) -> Result<(), NetErrorKind> {
    world.connect(Dial::to(to)).await.map(|_| ()).map_err(|error| error.kind)
}

#[test]
fn reserved_and_unnamed_addresses_are_refused_and_recorded() {
    let mut bench = Bench::open();
    let named = bench.web("site.example", Web::of_page("hello"));
    let other = bench.web("other.example", Web::of_page("hello"));
    let ledger = Ledger::new(Limits::default());
    let account = ledger.clone();
    let (ok, private, unnamed, mapped) = bench.run(move |context| async move {
        let contacts = [contact(&named.v4.to_string()), contact("10.0.0.0/8"), contact("192.168.1.1")];
        let guard = Guard::around(context.world, ledger, &contacts);
        (
            dial(&*guard, named.end(443)).await,
            dial(&*guard, end("10.1.2.3:443")).await,
            dial(&*guard, other.end(443)).await,
            dial(&*guard, end("[::ffff:192.168.1.1]:80")).await,
        )
    });
    assert_eq!(ok, Ok(()));
    for refused in [private, unnamed, mapped] {
        assert_eq!(refused, Err(NetErrorKind::Refusal));
    }
    let why: Vec<_> = account.attempts().iter().map(|one| (one.host.clone(), one.refused)).collect();
    assert!(why.contains(&("10.1.2.3".to_string(), Some(Why::Reserved))), "{why:?}");
    assert!(why.contains(&(other.v4.to_string(), Some(Why::Unnamed))), "{why:?}");
    assert!(why.contains(&(named.v4.to_string(), None)), "{why:?}");
    assert_eq!(account.spent().connections, 1);
}

#[test]
fn a_lab_may_allow_its_reserved_range() {
    let limits = Limits { allowed: vec!["198.18.0.0/15".parse().unwrap()], ..Limits::default() };
    let ledger = Ledger::new(limits);
    let kinds = Bench::open().run(|context| async move {
        let guard = Guard::around(context.world, ledger, &[contact("*")]);
        let patience = Duration::from_secs(1);
        let mut kinds = Vec::new();
        for to in ["198.18.0.9:80", "198.20.0.9:80", "10.0.0.9:80"] {
            let how = Dial { patience, ..Dial::to(end(to)) };
            kinds.push(guard.connect(how).await.err().map(|error| error.kind == NetErrorKind::Refusal));
        }
        kinds
    });
    assert_eq!(kinds, [Some(false), Some(false), Some(true)]);
}

#[test]
fn addresses_of_a_named_name_may_be_contacted_whoever_found_them() {
    let mut bench = Bench::open();
    let site = bench.web("site.example", Web::of_page("hello"));
    let other = bench.web("other.example", Web::of_page("hello"));
    let results = bench.run(move |context| async move {
        let guard = Guard::around(context.world, Ledger::new(Limits::default()), &[contact("SITE.example.")]);
        let before = dial(&*guard, site.end(80)).await;
        let refused = guard.lookup("other.example").await;
        guard.resolved("other.example", &[other.v4]);
        let unnamed = dial(&*guard, other.end(80)).await;
        guard.lookup("site.example").await.unwrap();
        let after = dial(&*guard, site.end(80)).await;
        guard.resolved("site.example", &[other.v4]);
        (before, refused, unnamed, after, dial(&*guard, other.end(80)).await)
    });
    let refusal = Err(NetErrorKind::Refusal);
    let canceled = Err(okno_model::Failure::OperationCanceled);
    assert_eq!(results, (refusal, canceled, refusal, Ok(()), Ok(())));
}

#[test]
fn spent_bytes_end_a_transfer() {
    let mut bench = Bench::open();
    let site = bench.web("site.example", Web::of_page(&"x".repeat(200_000)));
    let ledger = Ledger::new(Limits { bytes: 50_000, ..Limits::default() });
    let account = ledger.clone();
    let (kind, again) = bench.run(move |context| async move {
        let guard = Guard::around(context.world, ledger, &[contact(&site.v4.to_string())]);
        let mut stream = guard.connect(Dial::to(site.end(80))).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: site.example\r\n\r\n").await.unwrap();
        let mut all = Vec::new();
        let error = stream.read_to_end(&mut all).await.err().unwrap();
        (NetErrorKind::of(&error), dial(&*guard, site.end(80)).await)
    });
    assert_eq!((kind, again), (NetErrorKind::Refusal, Err(NetErrorKind::Refusal)));
    let spent = account.spent();
    assert!((50_000..120_000).contains(&spent.received), "{spent:?}");
}

#[test]
fn connections_to_one_address_keep_a_distance_after_a_burst() {
    let mut bench = Bench::open();
    let (a, b) = (bench.web("a.example", Web::of_page("a")), bench.web("b.example", Web::of_page("b")));
    let limits = Limits { burst: 3, gap: Duration::from_secs(1), ..Limits::default() };
    let (burst, paced, other) = bench.run(move |context| async move {
        let guard = Guard::around(context.world, Ledger::new(limits), &[contact("*")]);
        let from = guard.now();
        for _ in 0..3 {
            dial(&*guard, a.end(80)).await.unwrap();
        }
        let burst = guard.now() - from;
        for _ in 0..4 {
            dial(&*guard, a.end(80)).await.unwrap();
        }
        let paced = guard.now() - from;
        let from = guard.now();
        dial(&*guard, b.end(80)).await.unwrap();
        (burst, paced, guard.now() - from)
    });
    assert!(burst < Duration::from_millis(500), "{burst:?}");
    assert!((Duration::from_millis(2_900)..Duration::from_secs(5)).contains(&paced), "{paced:?}");
    assert!(other < Duration::from_millis(500), "{other:?}");
}

#[test]
fn a_flood_of_datagrams_is_refused() {
    let mut bench = Bench::open();
    let server = bench.server("sink.example");
    let limits = Limits { datagrams_per_second: 100, packets: 1_000, ..Limits::default() };
    let sent = bench.run(move |context| async move {
        let guard = Guard::around(context.world, Ledger::new(limits), &[contact(&server.v4.to_string())]);
        let socket = guard.udp(UdpSetup::default()).unwrap();
        (0..500).filter(|_| socket.send_to(b"x", server.end(9), None).is_ok()).count()
    });
    assert!((100..=102).contains(&sent), "{sent}");
}

/// Connects to its input, and tells everything that identifies a person.
struct Teller {
    alone: bool,
    log: Rc<RefCell<Vec<(String, f64, f64)>>>,
}

static MANUAL: Manual = Manual {
    title: "t",
    trigger: "t",
    control: "c",
    logic: "l",
    blind: "b",
    bytes: 1,
    seconds: 10,
    risk: Risk::Low,
    risk_note: "none",
    source: "none",
};

impl Experiment for Teller {
    fn name(&self) -> &'static str {
        if self.alone { "teller_alone" } else { "teller" }
    }
    fn version(&self) -> &'static str {
        "0.1.0"
    }
    fn manual(&self) -> &'static Manual {
        &MANUAL
    }
    fn takes_input(&self) -> bool {
        true
    }
    fn alone(&self) -> bool {
        self.alone
    }
    fn contacts(&self, input: Option<&str>) -> Vec<Contact> {
        vec![contact(input.unwrap())]
    }
    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let input = input.unwrap();
            if input == "useless" {
                return Err("give a name".to_string());
            }
            let world = &context.world;
            let from = world.now().nanos() as f64 / 1e9;
            let address = world.lookup(input).await.unwrap()[0];
            let own = world.own_address(address).unwrap();
            // later inputs are done sooner
            let wait = 10 - input.as_bytes()[1] as u64 % 10;
            net::sleep(&**world, Duration::from_secs(wait)).await;
            let done = dial(&**world, Endpoint { ip: address, port: 80 }).await.is_ok();
            self.log.borrow_mut().push((input.to_string(), from, world.now().nanos() as f64 / 1e9));
            Ok(json!({ "done": done, "own": own.to_string(), own.to_string(): "key" }))
        })
    }
}

fn plan() -> Plan {
    let identity = Identity {
        country: "RU".into(),
        asn: "AS65000".into(),
        network_name: "Example".into(),
        network_type: "wired".into(),
        resolver_asn: "AS65000".into(),
        resolver_network_name: "Example".into(),
        software_name: "okno".into(),
        software_version: "0.1.0".into(),
        platform: "lab".into(),
        origin: "manual".into(),
    };
    Plan {
        identity,
        limits: Limits::default(),
        parallel: 4,
        helper: Some("https://helper.example/".to_string()),
        helper_addresses: vec!["11.18.0.77".parse().unwrap()],
        own_addresses: Vec::new(),
        annotations: Map::new(),
    }
}

fn session_over(inputs: &[&str], plan: Plan) -> (Vec<Done>, Vec<(String, f64, f64)>, String) {
    let mut bench = Bench::open();
    for name in inputs {
        bench.web(name, Web::of_page("hello"));
    }
    let own = bench.run(|context| async move {
        context.world.own_address("11.18.0.1".parse().unwrap()).unwrap().to_string()
    });
    let log = Rc::new(RefCell::new(Vec::new()));
    let tests = [false, true].map(|alone| Rc::new(Teller { alone, log: log.clone() }) as Rc<dyn Experiment>);
    let jobs: Vec<Job> = inputs
        .iter()
        .enumerate()
        .map(|(index, name)| Job {
            experiment: tests[usize::from(index == 1)].clone(),
            input: Some(name.to_string()),
        })
        .collect();
    let done = bench.run(|context| async move {
        let world: World = context.world;
        let session = Session::new(world, plan, &jobs);
        let mut done = Vec::new();
        let each = &mut |one| {
            done.push(one);
            Ok(())
        };
        session.run(&jobs, each).await.unwrap();
        done
    });
    let log = log.borrow().clone();
    (done, log, own)
}

#[test]
fn a_session_writes_clean_lines_in_the_order_of_its_jobs() {
    let inputs =
        ["s0.example", "s1.example", "s2.example", "useless", "s4.example", "s5.example", "s6.example"];
    let (done, _, own) = session_over(&inputs, plan());
    let order: Vec<_> = done.iter().map(|one| one.index).collect();
    assert_eq!(order, [0, 2, 3, 4, 5, 6, 1], "the one that runs alone comes last");
    assert_eq!(done[2].line, Err("give a name".to_string()));
    for one in done.iter().filter(|one| one.index != 3) {
        let line = one.line.clone().unwrap();
        assert!(!line.contains(&own) && !line.contains('\n'), "{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["test_keys"]["own"], "[scrubbed]");
        assert_eq!(value["test_keys"]["[scrubbed]"], "key");
        assert_eq!(value["test_keys"]["done"], true);
        assert_eq!(value["probe_ip"], "127.0.0.1");
        assert_eq!(value["probe_cc"], "RU");
        assert_eq!(value["input"], inputs[one.index]);
    }
    assert_eq!(session_over(&inputs, plan()).0, done, "the same again, byte for byte");
}

#[test]
fn a_test_that_measures_rates_runs_beside_no_other() {
    let inputs = ["s0.example", "s1.example", "s2.example", "s3.example"];
    let (_, log, _) = session_over(&inputs, plan());
    let (_, from, to) = log.iter().find(|(name, ..)| name == "s1.example").unwrap();
    let beside =
        log.iter().filter(|(name, begin, end)| name != "s1.example" && begin < to && from < end).count();
    assert_eq!(beside, 0, "{log:?}");
}

#[test]
fn a_dry_run_names_every_host_and_contacts_none() {
    let dry = Plan { limits: Limits { dry: true, ..Limits::default() }, ..plan() };
    let log = Rc::new(RefCell::new(Vec::new()));
    let experiment: Rc<dyn Experiment> = Rc::new(Teller { alone: false, log });
    let jobs = [Job { experiment, input: Some("s0.example".to_string()) }];
    let hosts: Vec<_> = session::contacts(&dry, &jobs).into_iter().map(|(contact, _)| contact.host).collect();
    assert_eq!(hosts, ["11.18.0.77", "helper.example", "s0.example"]);
    let refused = Bench::open().run(|context| async move {
        let guard = Guard::around(context.world, Ledger::new(dry.limits), &[contact("*")]);
        let looked = guard.lookup("s0.example").await.is_err();
        let dialled = dial(&*guard, end("11.18.0.1:80")).await;
        (looked, dialled, guard.udp(UdpSetup::default()).is_err())
    });
    assert_eq!(refused, (true, Err(NetErrorKind::Refusal), true));
}
