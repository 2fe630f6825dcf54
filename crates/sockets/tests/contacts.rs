//! What a test names beforehand is what it contacts: every shipped test under a guard that refuses the rest.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use okno_lab::probe::Bench;
use okno_lab::services::web::Web;
use okno_probe::experiment::{Contact, Context};
use okno_probe::guard::{Guard, Ledger, Limits, Why};
use okno_probe::nettests;
use serde_json::Value;

/// An input that this kind of test takes.
const INPUTS: &[&str] = &["https://site.example/", "site.example", "site.example:443", "11.18.0.2:443"];

/// Hosts that a test tried without having named them, once with everything refused and once with nothing.
fn unnamed(name: &str, dry: bool) -> Option<Vec<String>> {
    let mut bench = Bench::open();
    bench.web("site.example", Web::of_page("hello"));
    let test = nettests::by_name(name, &Value::Null).unwrap();
    let ledger = Ledger::new(Limits { dry, ..Limits::default() });
    let account = ledger.clone();
    let ran = bench.run(move |context| async move {
        for input in INPUTS {
            let input = test.takes_input().then_some(*input);
            let contacts: Vec<Contact> = test.contacts(input);
            let guard = Guard::around(context.world.clone(), ledger.clone(), &contacts);
            if test.run(&Context::new(guard), input).await.is_ok() {
                return true;
            }
        }
        false
    });
    let attempts = account.attempts();
    let strangers = attempts.iter().filter(|one| one.refused == Some(Why::Unnamed));
    ran.then(|| strangers.map(|one| format!("{} {}", one.host, one.port)).collect())
}

#[test]
fn no_test_contacts_a_host_that_it_did_not_name() {
    let mut ran = 0;
    let mut strangers = Vec::new();
    for name in nettests::ALL {
        for dry in [true, false] {
            let Some(found) = unnamed(name, dry) else { continue };
            ran += 1;
            strangers.extend(found.into_iter().map(|host| format!("{name}: {host}")));
        }
    }
    assert!(ran > nettests::ALL.len(), "most tests run without a helper: {ran}");
    assert!(strangers.is_empty(), "{strangers:#?}");
}
