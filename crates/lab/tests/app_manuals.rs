//! What the manuals of OONI's tests promise to the person who runs them: no host that was not named, no more
//! time and bytes than is said.

use std::cell::RefCell;
use std::rc::Rc;

use okno_lab::probe::Bench;
use okno_probe::experiment::Contact;
use okno_probe::guard::{Attempt, Guard, Ledger, Limits, Spent};

mod app_worlds;

use app_worlds::{HELPER, TESTS, dropped, made};

/// Runs a test behind a guard that admits its contacts and the helper alone; what it spent, whom it tried,
/// and how many seconds it took.
fn guarded(mut bench: Bench, name: &str) -> (Spent, Vec<Attempt>, f64) {
    let (test, input) = made(&mut bench, name);
    let mut contacts = test.contacts(input.as_deref());
    assert!(!contacts.is_empty(), "{name} names nobody");
    contacts.push(Contact {
        host: "helper.example".to_owned(),
        port: "tcp/443".to_owned(),
        purpose: "the helper".to_owned(),
    });
    let kept = Rc::new(RefCell::new(None));
    let (put, began) = (kept.clone(), bench.world.now());
    bench.measure_with(&test, input.as_deref(), move |context| {
        let ledger = Ledger::new(Limits::default());
        context.world = Guard::around(context.world.clone(), ledger.clone(), &contacts);
        context.helper = Some(HELPER.to_owned());
        *put.borrow_mut() = Some(ledger);
    });
    let seconds = (bench.world.now() - began).as_secs_f64();
    let ledger = kept.take().expect("it was put there");
    (ledger.spent(), ledger.attempts(), seconds)
}

#[test]
fn no_test_tries_a_host_that_it_did_not_name() {
    for name in TESTS {
        let (_, attempts, _) = guarded(Bench::open(), name);
        assert!(!attempts.is_empty(), "{name} tried nobody");
        let refused: Vec<_> = attempts.iter().filter(|attempt| attempt.refused.is_some()).collect();
        assert!(refused.is_empty(), "{name}: {refused:?}");
    }
}

#[test]
fn no_test_costs_more_than_its_manual_says() {
    let mut broken = Vec::new();
    for name in TESTS {
        for (world, bench) in [("open", Bench::open()), ("dropped", dropped())] {
            let (spent, _, seconds) = guarded(bench, name);
            let manual = made(&mut Bench::open(), name).0;
            let manual = manual.manual();
            let bytes = spent.sent + spent.received;
            let told = format!(
                "{name}, {world}: {bytes} of {} bytes, {seconds:.1} of {} s",
                manual.bytes, manual.seconds
            );
            println!("{told}");
            if bytes > manual.bytes || seconds > manual.seconds as f64 {
                broken.push(told);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
