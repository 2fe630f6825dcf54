//! Boards of made-up measurements: the counts, the exclusions and the matching are those of docs/scoring.md.

use okno_detect::{Ruleset, Summary};
use okno_model::{Layer, State};

use super::*;

fn judged(state: State, layer: Layer, mechanism: &str, probability: f64) -> Judged {
    let summary = Summary {
        state,
        layer: Some(layer),
        mechanism: (!mechanism.is_empty()).then(|| mechanism.to_owned()),
        probability,
        anomaly: state.is_interference() && probability >= 0.5,
        ..Summary::default()
    };
    let finding = Finding {
        layer,
        state,
        mechanism: mechanism.to_owned(),
        probability,
        rule: "r".to_owned(),
        host: Some("a.example".to_owned()),
        addresses: vec!["11.18.0.1".parse().unwrap()],
    };
    Judged {
        uid: "x1".to_owned(),
        test: "web_connectivity".to_owned(),
        target: "a.example".to_owned(),
        summary,
        addresses: finding.addresses.clone(),
        unharmed: Vec::new(),
        findings: vec![finding],
    }
}

fn label(deeds: &[(&str, &str)]) -> Label {
    let deed = |(mechanism, kind): &(&str, &str)| Deed {
        mechanism: (*mechanism).to_owned(),
        kind: (*kind).to_owned(),
        remote: "11.18.0.1".parse().ok(),
        name: "a.example".to_owned(),
        beside: false,
    };
    Label {
        scenario: "s".to_owned(),
        cell: "mts/moscow".to_owned(),
        network_type: "mobile".to_owned(),
        began_us: 1_000_000,
        ended_us: 5_000_000,
        deeds: deeds.iter().map(deed).collect(),
        ..Label::default()
    }
}

#[test]
fn a_right_a_wrong_a_missed_and_a_rightly_quiet_measurement_are_four_counts() {
    let mut tally = Tally::default();
    let reset = judged(State::Blocked, Layer::Tls, "tls.reset", 0.9);
    let fine = judged(State::Ok, Layer::Tls, "", 0.95);
    tally.add(&label(&[("tls.reset.sni", "injected")]), Some(&reset));
    tally.add(&label(&[]), Some(&reset));
    tally.add(&label(&[("tls.timeout.sni", "dropped")]), Some(&fine));
    tally.add(&label(&[]), Some(&fine));
    let board = tally.board("native@1 x");
    let counts = board.detection.counts;
    assert_eq!((counts.tp, counts.fp, counts.r#fn, counts.tn), (1, 1, 1, 1));
    assert_eq!((board.right_mechanism.hits, board.right_mechanism.of), (1, 1));
    let names: Vec<&str> = board.mechanisms.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["tls.reset", "tls.reset.sni", "tls.timeout.sni"]);
    assert_eq!(board.mechanisms[0].counts.fp, 1);
    assert!(board.confusion.contains(&("tls.timeout.sni".to_owned(), "(ok)".to_owned(), 1)));
    assert_eq!(board.calibration.count, 4);
}

#[test]
fn a_deed_that_changed_nothing_the_client_could_see_is_set_aside_and_counted() {
    let mut tally = Tally::default();
    let mut fine = judged(State::Ok, Layer::Tls, "", 0.95);
    fine.unharmed = fine.addresses.clone();
    tally.add(&label(&[("tls.throttle.sni", "policed")]), Some(&fine));
    tally.add(&label(&[("overload.drop", "dropped")]), Some(&fine));
    tally.add(&label(&[("tls.reset.sni", "triggered")]), Some(&fine));
    tally.add(&label(&[]), None);
    let mut beside = label(&[("dns.nxdomain", "injected")]);
    beside.deeds[0].beside = true;
    tally.add(&beside, Some(&judged(State::Blocked, Layer::Dns, "dns.nxdomain", 0.9)));
    let board = tally.board("native@1 x");
    assert_eq!((board.measurements, board.detection.counts.tn), (1, 1));
    assert_eq!(board.excluded.values().sum::<u64>(), 4);
    assert_eq!(board.beside_accused, 1);
}

#[test]
fn a_wrong_mechanism_is_found_interference_and_two_mistakes_of_mechanism() {
    let mut tally = Tally::default();
    tally.add(&label(&[("ip.drop", "dropped")]), Some(&judged(State::Blocked, Layer::Tls, "tls.reset", 0.9)));
    let board = tally.board("native@1 x");
    assert_eq!((board.detection.counts.tp, board.right_mechanism.hits), (1, 0));
    let row = |name: &str| board.mechanisms.iter().find(|row| row.name == name).unwrap().counts;
    assert_eq!((row("ip.drop").r#fn, row("tls.reset").fp), (1, 1));
}

#[test]
fn delays_run_from_the_first_act_in_the_cell_to_the_first_right_verdict() {
    let mut tally = Tally::default();
    tally.act("s", "mts/moscow", "tls.reset.sni", 2_000_000);
    tally.add(
        &label(&[("tls.reset.sni", "injected")]),
        Some(&judged(State::Blocked, Layer::Tls, "tls.reset", 0.9)),
    );
    let board = tally.board("native@1 x");
    assert_eq!((board.delays[0].cells, board.delays[0].found, board.delays[0].median_s), (1, 1, Some(3.0)));
    assert_eq!(board.delays[0].state_median_s, Some(3_598.0));
}

#[test]
fn lines_are_judged_as_each_others_baseline_and_nonsense_is_no_measurement() {
    let rules = Ruleset::native();
    let line = |failure: &str, asn: u32| {
        format!(
            r#"{{"test_name":"web_connectivity","probe_cc":"RU","probe_asn":"AS{asn}","input":"https://a.example/","measurement_start_time":"2026-03-20 10:00:00","test_keys":{{"queries":[{{"engine":"system","hostname":"a.example","query_type":"A","failure":null,"answers":[{{"answer_type":"A","ipv4":"11.18.0.1"}}]}}],"tcp_connect":[{{"ip":"11.18.0.1","port":443,"status":{{"failure":null,"success":true}}}}],"tls_handshakes":[{{"network":"tcp","address":"11.18.0.1:443","server_name":"a.example","failure":{failure}}}]}}}}"#
        )
    };
    let mut lines: Vec<String> = (1..5).map(|asn| line("null", asn)).collect();
    lines.push(line("\"connection_reset\"", 9));
    lines.push("nonsense".to_owned());
    let (reference, knowledge) = (Reference::empty(), Knowledge::empty());
    let desk = Desk::new(&rules, &reference, &knowledge);
    let judged = desk.judge(&lines);
    assert_eq!(judged.len(), 6);
    let cut = judged[4].as_ref().unwrap();
    assert!(cut.summary.anomaly, "{cut:?}");
    assert!(cut.unharmed.is_empty() && judged[0].as_ref().unwrap().unharmed.len() == 1);
    assert!(judged[5].is_none());
    // alone, nobody says that the name works elsewhere
    assert!(!desk.judge(&lines[4..5])[0].as_ref().unwrap().summary.anomaly);
}

#[test]
fn a_board_prints_its_losses() {
    let mut scorer = Scorer::new(Box::leak(Box::new(Ruleset::native())));
    scorer.censored.add(&label(&[("ip.drop", "dropped")]), Some(&judged(State::Ok, Layer::Tcp, "", 0.9)));
    let text = scorer.boards().to_string();
    assert!(text.contains("ip.drop") && text.contains("(ok)"), "{text}");
    assert!(!text.contains("Benign"));
}

#[test]
fn a_scored_line_says_what_was_true_and_what_was_said() {
    let one = judged(State::Blocked, Layer::Tls, "tls.reset", 0.9);
    let line = scored_line(&label(&[("tls.reset.sni", "injected")]), Some(&one));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&value["truth"][0], &value["mechanism"]), (&"tls.reset.sni".into(), &"tls.reset".into()));
    assert_eq!(value["verdicts"][0]["rule"], "r");
    assert!(scored_line(&label(&[]), None).contains("no measurement"));
}
