//! Profiles are read whole or refused with a place and a fix.

use super::*;
use crate::techniques;

#[test]
fn every_built_in_profile_reads_builds_and_keeps_its_name() {
    super::builtin::read_shared().expect("the shared lists and sources");
    for (name, text) in BUILTIN {
        let file = format!("profiles/{name}.toml");
        let profile = Profile::parse(&file, text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(profile.name, *name);
        profile.engine().unwrap_or_else(|error| panic!("{name}: {error}"));
        for variant in profile.variants.keys() {
            let selection = Selection { variants: vec![variant.clone()], ..Selection::default() };
            let chosen = profile.select(&selection).unwrap_or_else(|error| panic!("{error}"));
            chosen.engine().unwrap_or_else(|error| panic!("{name}:{variant}: {error}"));
        }
        for rule in &profile.rules {
            let mut all = profile.clone();
            all.rules.retain(|other| other.id == rule.id);
            all.rules[0].off = false;
            all.engine().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn every_alternative_of_every_built_in_parameter_can_be_chosen_and_builds() {
    for (name, _) in BUILTIN {
        let profile = builtin(name).unwrap();
        for rule in &profile.rules {
            for (param, value) in &rule.params {
                for alternative in &value.alternatives {
                    let set = vec![
                        format!("{}={}", rule.id, "on"),
                        format!("{}.{param}={}", rule.id, alternative.name),
                    ];
                    let chosen = profile.select(&Selection { set, ..Selection::default() }).unwrap();
                    assert_eq!(chosen.rule(&rule.id).unwrap().params[param].value, alternative.value);
                    chosen.engine().unwrap_or_else(|error| panic!("{name}: {error}"));
                }
            }
        }
    }
}

#[test]
fn every_technique_is_used_by_some_built_in_profile() {
    let used: Vec<&str> = BUILTIN
        .iter()
        .flat_map(|(name, _)| builtin(name).unwrap().rules.iter().map(|rule| rule.technique.as_str()))
        .collect();
    for spec in techniques::TECHNIQUES {
        assert!(used.contains(&spec.name), "{}", spec.name);
    }
}

#[test]
fn no_figure_stands_without_a_source_unless_it_says_that_it_is_unknown_or_the_labs() {
    for (name, _) in BUILTIN {
        for rule in &builtin(name).unwrap().rules {
            for (param, value) in &rule.params {
                let sourced = !value.provenance.sources.is_empty();
                let lab = value.provenance.tag == Tag::Lab && !value.provenance.note.is_empty();
                assert!(sourced || value.unknown || lab, "{name}: {}.{param}", rule.id);
            }
        }
    }
}

const HEAD: &str = "name = \"x\"\ntitle = \"x\"\ncountry = \"RU\"\n[sources]\nA = \"a paper\"\n";

fn wrong(body: &str) -> ProfileError {
    let text = format!("{HEAD}{body}");
    match Profile::parse("my.toml", &text).and_then(|profile| profile.engine().map(|_| ())) {
        Ok(()) => panic!("accepted: {body}"),
        Err(error) => error,
    }
}

const RULE: &str =
    "[[rule]]\nid = \"r\"\ntechnique = \"sni_drop\"\nmechanism = \"tls.timeout.sni\"\ntitle = \"t\"\n";

#[test]
fn an_error_names_file_line_and_what_to_do() {
    let table = [
        ("[what]\na = 1\n", 6, "means nothing here", "use one of"),
        ("[[rule]]\nid = \"r\"\n", 6, "`mechanism` is missing", "add `mechanism"),
        (&RULE.replace("timeout", "timeoot"), 6, "no `tls.timeoot.sni`", "did you mean `tls.timeout.sni`?"),
        (&RULE.replace("sni_drop", "sni_dropp"), 6, "no technique", "did you mean `sni_drop`?"),
        (&format!("{RULE}tag = \"P\"\n"), 6, "without a source", "add `source"),
        (&format!("{RULE}tag = \"P\"\nsource = \"B\"\n"), 6, "`B` is not described", "[sources]"),
        (
            &format!(
                "{RULE}params = {{ residual_s = {{ value = 1, tag = \"P\", source = \"A\", konfidence = 1 }} }}\n"
            ),
            11,
            "`konfidence` means nothing",
            "confidence",
        ),
        (
            &format!("{RULE}params = {{ residul_s = {{ value = 1 }} }}\n"),
            11,
            "no parameter `residul_s`",
            "did you mean `residual_s`?",
        ),
        (
            &format!("{RULE}lists = {{ names = \"nowhere\" }}\n"),
            6,
            "`nowhere`, which is nowhere",
            "use one of",
        ),
        (
            &format!("{RULE}lists = {{ nams = \"sni.blocked\" }}\n"),
            6,
            "no list `nams`",
            "did you mean `names`?",
        ),
        (&format!("{RULE}from = 2025-02-01\nuntil = 2025-01-01\n"), 6, "ends before it begins", "exchange"),
        (RULE, 6, "`residual_s`: it is missing", "value = "),
        (
            &format!("{RULE}params = {{ residual_s = {{ range = [5, 1] }} }}\n"),
            11,
            "two rising numbers",
            "range = [5, 8]",
        ),
        (&format!("{RULE}[rule.params]\nresidual_s = {{ value = \"long\" }}\n"), 12, "it is no number", "75"),
        ("[switches]\n\"tcp.reasembly\" = { value = \"none\" }\n", 7, "reasembly", "switch"),
        ("[lists.mine]\nkind = \"networks\"\nentries = [\"1.2.3.4/40\"]\n", 6, "1.2.3.4/40", "192.0.2.0/24"),
        ("name = [\n", 6, "", "mend the TOML"),
    ];
    refused(&table);
}

#[test]
fn what_is_misshapen_or_too_much_is_refused_at_its_place() {
    refused(&[
        (
            &format!("{RULE}[rule.params]\nresidual_s = {{ value = 1, alternatives = 5 }}\n"),
            12,
            "not a list",
            "brackets",
        ),
        ("[rule]\nid = \"r\"\n", 6, "not a list", "[[…]]"),
        (
            &format!("[switches]\n\"{}a\" = {{ value = 1 }}\n", "a.".repeat(100_000)),
            7,
            "at most 4 parts",
            "tcp.reassembly",
        ),
        (
            &(0..101).map(|n| format!("[variants.v{n}]\ntitle = \"x\"\n")).collect::<String>(),
            1,
            "101 variants, at most 100",
            "split",
        ),
    ]);
}

fn refused(table: &[(&str, usize, &str, &str)]) {
    for (body, line, problem, fix) in table {
        let error = wrong(body);
        assert!(error.problem.contains(problem), "{error}");
        assert!(error.fix.contains(fix), "{error}");
        assert!(error.line.abs_diff(*line) <= 1, "{error} (line {line})");
    }
}

/// A cheap stream of numbers.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }
}

#[test]
fn a_damaged_profile_is_read_or_refused_with_a_place_and_never_panics() {
    let mut dice = Dice(11);
    let mut refused = 0;
    for (_, text) in BUILTIN {
        for _ in 0..25 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..=dice.throw(3) {
                let at = dice.throw(bytes.len());
                match dice.throw(4) {
                    0 => bytes[at] = b"\"'=[]{}0-9.\n\xff"[dice.throw(13)],
                    1 => drop(bytes.remove(at)),
                    2 => bytes.truncate(at.max(1)),
                    _ => {
                        let line = bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(0);
                        bytes.drain(at..at + line);
                    }
                }
            }
            let damaged = String::from_utf8_lossy(&bytes);
            match Profile::parse("damaged.toml", &damaged) {
                Ok(profile) => drop(profile.engine()),
                Err(error) => {
                    refused += 1;
                    assert!(!error.problem.is_empty() && !error.fix.is_empty(), "{error}");
                    assert!(error.line <= damaged.lines().count() + 1, "{error}");
                }
            }
        }
    }
    assert!(refused > 100, "{refused} of {}", BUILTIN.len() * 25);
}

#[test]
fn a_long_lived_profile_follows_its_dates() {
    let profile = builtin("tspu-2021").unwrap();
    let on = |date: &str| {
        let at = Timestamp::parse(date).unwrap();
        let rules = profile.at(at).on_network(3216).rules;
        rules.iter().map(|rule| rule.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(on("2021-03-09"), Vec::<String>::new());
    assert_eq!(on("2021-03-10"), ["twitter-substring"]);
    assert_eq!(on("2021-03-13 23:59:59"), ["twitter-substring"]);
    assert_eq!(on("2021-03-14"), ["twitter-narrow"]);
    assert_eq!(on("2021-04-02"), ["twitter-exact"]);
    assert_eq!(on("2021-09-05"), ["twitter-exact", "wireguard-2021"]);
    let changes: Vec<String> = profile.changes().iter().map(|day| day.date()).collect();
    assert_eq!(changes[..3], ["2021-03-10", "2021-03-14", "2021-04-02"]);
}

#[test]
fn without_a_date_a_profile_stands_as_of_its_own_day_with_rules_in_force() {
    for (name, _) in BUILTIN.iter().filter(|(name, _)| *name != "none") {
        let profile = builtin(name).unwrap();
        assert!(profile.standing().active().count() > 0, "{name}");
        assert!(profile.as_of.is_none_or(|day| profile.period.contains(day)), "{name}");
    }
    let standing = builtin("tspu-2021").unwrap().standing();
    let ids: Vec<&str> = standing.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["twitter-exact", "esni"]);
}

#[test]
fn a_selection_chooses_variant_date_network_and_single_values() {
    let profile = Profile::named("tspu-2022:upstream-only@2022-03-10").unwrap();
    assert!(profile.rule("sni-1").unwrap().off && !profile.rule("sni-4").unwrap().off);
    assert!(profile.rule("sni-3").is_none(), "it ended on 3 March");
    let profile = builtin("tspu-2024").unwrap();
    let mts = profile.on_network(8359);
    assert!(mts.rule("encapsulated-mts").is_some() && mts.rule("encapsulated-megafon").is_none());
    let set =
        |words: &str| profile.select(&Selection { set: vec![words.to_owned()], ..Selection::default() });
    let chosen = set("sni-2.extra_packets=7").unwrap();
    let param = &chosen.rule("sni-2").unwrap().params["extra_packets"];
    assert_eq!((&param.value, param.provenance.tag), (&Value::Number(7.0), Tag::Lab));
    assert_eq!(
        set("sni-2.extra_packets=5..6").unwrap().rule("sni-2").unwrap().params["extra_packets"].value,
        Value::Range(5.0, 6.0)
    );
    assert!(set("sni-2=off").unwrap().rule("sni-2").unwrap().off);
    assert!(set("sni-2.extra_packets=many").unwrap_err().fix.contains("give a value"));
    assert!(set("sni-9.extra_packets=1").unwrap_err().fix.contains("sni-"));
    assert!(Profile::named("tspu-2023").unwrap_err().fix.contains("tspu-202"));
    assert!(Profile::named("tspu-2022:upstream").unwrap_err().to_string().contains("upstream"));
}

#[test]
fn a_child_replaces_rules_by_id_and_leaves_out_what_it_says() {
    let parent = builtin("tspu-2022").unwrap();
    let child = builtin("tspu-2024").unwrap();
    assert!(parent.rule("sni-3").is_some() && child.rule("sni-3").is_none());
    assert!(child.rule("sni-1").unwrap().params.contains_key("padding_skipped_from"));
    assert_eq!(child.rule("sni-2").unwrap().file, "profiles/tspu-2022.toml");
    assert_eq!(child.box_switches().unwrap().tcp.reassembly, crate::switches::Reassembly::Queue);
    assert_eq!(parent.box_switches().unwrap().tcp.reassembly, crate::switches::Reassembly::None);
}

#[test]
fn a_list_can_be_put_in_the_place_of_a_built_in_one() {
    let mut profile = builtin("tspu-2022").unwrap().clone();
    profile.override_list("sni.blocked", "mine.txt", "# mine\n.example.net\n").unwrap();
    profile.engine().unwrap();
    let error = profile.override_list("sni.blocked", "mine.txt", "*\n").unwrap_err();
    assert_eq!((error.line, error.file.as_str()), (1, "mine.txt"));
}

#[test]
fn more_rules_that_see_each_packet_than_a_box_can_tell_apart_are_refused() {
    let rules = |count: usize| {
        let rule = |n: usize| {
            format!(
                "[[rule]]\nid = \"r{n}\"\ntechnique = \"packet_budget\"\nmechanism = \"tcp.packet_budget\"\ntitle = \"t\"\n"
            )
        };
        let text = format!("{HEAD}{}", (0..count).map(rule).collect::<String>());
        Profile::parse("my.toml", &text).unwrap().engine().map(|_| ())
    };
    assert!(rules(64).is_ok());
    assert!(rules(65).unwrap_err().problem.contains("65 rules"));
}
