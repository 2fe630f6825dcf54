//! What `okno probe` promises before a single packet goes out.

use serde_json::Value;

use crate::binary::Folder;

#[test]
fn a_dry_run_lists_every_host_as_json_and_contacts_none() {
    let folder = Folder::new("probe-dry");
    let args = ["probe", "run", "--input", "https://site.example/", "--helper", "https://helper.example/"];
    let run = folder.okno(&[&args[..], &["--dry-run", "--json"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.err);
    let list: Value = serde_json::from_str(&run.out).unwrap();
    let hosts: Vec<&str> =
        list["contacts"].as_array().unwrap().iter().map(|one| one["host"].as_str().unwrap()).collect();
    for host in ["site.example", "helper.example", "stun.cloudflare.com"] {
        assert!(hosts.contains(&host), "{hosts:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path(".")).unwrap().count(), 0, "nothing was written");
}

#[test]
fn a_risky_test_runs_only_for_who_understands() {
    let folder = Folder::new("probe-risk");
    let run = folder.okno(&["probe", "run", "--test", "vpn_protocols"]);
    assert_eq!(run.code, Some(2));
    assert!(
        run.err.contains("--i-understand") && run.err.contains("vpn_protocols (high risk)"),
        "{}",
        run.err
    );
    assert!(run.out.is_empty());
}

#[test]
fn unusable_arguments_end_with_code_2_and_say_what_to_write() {
    let folder = Folder::new("probe-words");
    folder.write("taken.jsonl", b"evidence");
    for (args, part) in [
        (&["probe", "run"][..], "--input"),
        (&["probe", "run", "--test", "nothing"], "web_connectivity"),
        (&["probe", "run", "--test", "signal", "--country", "Kazakhstan"], "KZ"),
        (&["probe", "run", "--test", "signal", "--network", "mine"], "AS64500"),
        (&["probe", "run", "--test", "signal", "--helper", "helper.example"], "https://host/"),
        (&["probe", "run", "--test", "signal", "--option", "tor={}"], "--test tor"),
        (&["probe", "run", "--test", "signal", "--output", "taken.jsonl"], "exists already"),
        (&["probe", "run", "--inputs", "absent.txt"], "absent.txt"),
        (&["probe", "test", "not a host"], "neither URL nor host"),
        (&["probe", "manual", "nothing"], "web_connectivity"),
    ] {
        let run = folder.okno(args);
        assert_eq!(run.code, Some(2), "{args:?}: {}", run.err);
        assert!(run.err.contains(part), "{args:?}: {}", run.err);
    }
    assert_eq!(std::fs::read(folder.path("taken.jsonl")).unwrap(), b"evidence");
}

#[test]
fn nobody_connects_to_a_private_target() {
    let folder = Folder::new("probe-private");
    let options = r#"web_connectivity={"udp_resolvers":[],"doh":[],"private_targets":true}"#;
    let args = ["probe", "run", "--stun", "none", "--input", "http://127.0.0.1:9/", "--output", "one.jsonl"];
    let run =
        folder.okno(&[&args[..], &["--json", "--test", "web_connectivity", "--option", options]].concat());
    let summary: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((&summary["connections"], &summary["sent_bytes"]), (&0.into(), &0.into()), "{summary}");
}

#[test]
fn the_manual_tells_cost_and_risk_of_every_test() {
    let printed = Folder::new("probe-manual").okno(&["probe", "manual", "--json"]);
    let tests: Value = serde_json::from_str(&printed.out).unwrap();
    let tests = tests.as_array().unwrap();
    assert!(tests.len() >= 20, "{}", tests.len());
    for test in tests {
        for key in ["title", "trigger", "control", "logic", "blind", "risk_note", "source"] {
            assert!(test[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {test}");
        }
        assert!(test["seconds"].as_u64() > Some(0) && test["bytes"].as_u64() > Some(0), "{test}");
    }
}
