//! Messengers, Tor, VPNs and one-layer tests: what may be said without a helper.

mod scenes;

use okno_detect::Knowledge;
use okno_model::State::{Blocked, Insufficient, Ok as Fine};
use scenes::{Scene, accused, baseline_of, judge, judge_with, states};

const DATA_CENTRES: [&str; 5] = ["71.1.1.1", "71.1.1.2", "71.1.1.3", "71.1.1.4", "71.1.1.5"];

fn telegram(endpoints: &str, rest: &str) -> String {
    let chains: String =
        DATA_CENTRES.iter().map(|ip| format!("chain - {ip}:443 tcp={endpoints}\n")).collect();
    format!("test telegram\n{chains}{rest}")
}

const WEB_WORKS: &str = "system web.telegram.example = 72.1.1.1
    chain web.telegram.example 72.1.1.1:443 tcp=ok tls=ok http=200
    app web ok\n";

#[test]
fn a_messenger_whose_servers_are_all_silent_while_its_page_answers_is_blocked() {
    let v = judge(&telegram(
        "!timeout",
        &format!("{WEB_WORKS} app endpoints_tcp failed\napp endpoints_http failed"),
    ));
    accused(&v, &["app messenger.endpoints"]);
    assert!(v.iter().all(|v| v.state != Blocked || v.probability < 0.8));
}

#[test]
fn a_messenger_of_which_nothing_answers_may_be_a_line_that_is_down() {
    let v = judge(&telegram(
        "!timeout",
        "system web.telegram.example = 72.1.1.1
        chain web.telegram.example 72.1.1.1:443 tcp=!timeout
        app web !timeout
        app endpoints_tcp failed",
    ));
    accused(&v, &[]);
    states(&v, &[("app", Insufficient)]);
}

#[test]
fn a_messenger_that_works_elsewhere_is_blocked_here() {
    let dead = telegram(
        "!timeout",
        "app web !timeout\napp endpoints_tcp failed\nsystem web.telegram.example = 72.1.1.1",
    );
    let alive = telegram("ok", &format!("{WEB_WORKS}\napp endpoints_tcp ok"));
    let others: Vec<Scene> =
        (1000..1003).map(|n| Scene::parse(&format!("probe AS{n} DE\n{alive}"))).collect();
    let v = judge_with(&Scene::parse(&dead), &baseline_of(&others), &Knowledge::empty());
    assert!(v.iter().any(|v| v.layer.as_str() == "app" && v.state == Blocked), "{}", scenes::show(&v));
    assert!(v.iter().any(|v| v.layer.as_str() == "tcp" && v.state == Blocked), "{}", scenes::show(&v));
}

#[test]
fn a_messenger_whose_page_alone_fails_works() {
    let v = judge(&telegram("ok", "app endpoints_tcp ok\napp endpoints_http ok\napp web !timeout"));
    accused(&v, &[]);
    states(&v, &[("app", Fine)]);
}

#[test]
fn handshakes_cut_at_every_host_of_a_messenger_are_no_outage() {
    let mut text = "test signal\nversion 3.20.0 0.2.5\napp backend !reset\n".to_owned();
    for host in ["chat.signal.example", "cdn.signal.example", "storage.signal.example"] {
        text += &format!("system {host} = 73.1.1.1\nchain {host} 73.1.1.1:443 tcp=ok tls=!reset\n");
    }
    let v = judge(&text);
    assert!(v.iter().any(|v| v.mechanism.as_deref() == Some("messenger.endpoints")), "{}", scenes::show(&v));
}

#[test]
fn a_signal_test_older_than_its_servers_root_says_nothing() {
    let text = |version: &str, date: &str| {
        format!("test signal\nversion {version}\ndate {date}\napp backend !authority\napp web ok")
    };
    for (version, date) in [
        ("3.9.0 0.2.0", "2022-11-01"),
        ("3.17.1 0.2.2", "2023-06-01"),
        ("3.18.0 0.2.3", "2023-12-01"),
        ("3.19.0 0.2.4", "2024-01-01"),
    ] {
        let v = judge(&text(version, date));
        assert_eq!(v.last().map(|v| v.rule.as_ref()), Some("app.invalidated"), "{version} {date}");
    }
    let v = judge(&text("3.16.0 0.2.1", "2022-01-01"));
    assert_ne!(v.last().map(|v| v.rule.as_ref()), Some("app.invalidated"));
}

#[test]
fn facebooks_caches_inside_providers_are_no_false_answers() {
    let v = judge(
        "test facebook_messenger
        system edge.fb.example = 137.5.5.5
        chain edge.fb.example 137.5.5.5:443 tcp=ok
        app dns_consistent failed role=edge
        app reachable ok role=edge",
    );
    accused(&v, &[]);
    states(&v, &[("app", Fine)]);
}

#[test]
fn a_private_address_for_a_messengers_name_is_false_for_sure() {
    let v = judge(
        "test facebook_messenger
        system edge.fb.example = 10.5.5.5
        app dns_consistent failed role=edge
        app reachable failed role=edge",
    );
    assert!(v.iter().any(|v| v.mechanism.as_deref() == Some("dns.injection.bogon")), "{}", scenes::show(&v));
}

#[test]
fn a_tunnel_that_was_not_run_is_neither_fine_nor_blocked() {
    let v = judge("test tor\napp target not_run role=obfs4");
    accused(&v, &[]);
    states(&v, &[("app", Insufficient)]);
}

#[test]
fn directory_servers_that_fail_while_bridges_answer_are_blocked() {
    let rows = |role: &str, result: &str, n: usize| format!("app target {result} role={role}\n").repeat(n);
    let v = judge(&format!("test tor\n{}{}", rows("or_port_dirauth", "!timeout", 8), rows("obfs4", "ok", 5)));
    accused(&v, &["app tor.directory"]);
    let v = judge(&format!("test tor\n{}{}", rows("or_port_dirauth", "ok", 8), rows("obfs4", "!timeout", 6)));
    accused(&v, &["app tor.bridge"]);
}

#[test]
fn a_tunnel_that_fails_alone_says_nothing_and_against_three_networks_much() {
    for (test, mechanism) in [
        ("psiphon", "app vpn.psiphon"),
        ("vanilla_tor", "app tor"),
        ("torsf", "app tor.snowflake"),
        ("openvpn", "app vpn.openvpn"),
        ("riseupvpn", "app vpn.riseup"),
        ("stunreachability", "app calls.stun"),
    ] {
        let text =
            |probe: &str, result: &str| format!("{probe}\ntest {test}\napp speed ok\napp bootstrap {result}");
        let failing = Scene::parse(&text("probe AS137 IT", "!timeout"));
        let alone = judge_with(&failing, &okno_detect::Baseline::empty(), &Knowledge::empty());
        accused(&alone, &[]);
        let others: Vec<Scene> =
            (1000..1003).map(|n| Scene::parse(&text(&format!("probe AS{n} DE"), "ok"))).collect();
        accused(&judge_with(&failing, &baseline_of(&others), &Knowledge::empty()), &[mechanism]);
    }
}

#[test]
fn an_echo_that_comes_back_changed_was_tampered_with() {
    let v = judge("test http_invalid_request_line\napp echo failed");
    accused(&v, &["http http.tampering"]);
    let v = judge("test http_header_field_manipulation\napp headers ok\napp header_names ok");
    accused(&v, &[]);
    states(&v, &[("http", Fine)]);
}

#[test]
fn one_address_two_names_one_cut_is_a_filter_by_name() {
    let v = judge(
        "test sni_blocking
        chain target.example 74.1.1.1:443 tcp=ok tls=!reset role=target
        chain control.example 74.1.1.1:443 tcp=ok tls=!hostname role=control
        app sni !reset role=target
        app sni !hostname role=control",
    );
    accused(&v, &["tls tls.reset.sni"]);
}

#[test]
fn a_server_that_answers_foreign_names_with_its_own_certificate_blocks_nothing() {
    let v = judge(
        "test sni_blocking
        chain target.example 74.1.1.1:443 tcp=ok tls=!hostname role=target
        chain control.example 74.1.1.1:443 tcp=ok tls=!hostname role=control",
    );
    accused(&v, &[]);
}

#[test]
fn a_handshake_that_stalls_with_ech_alone_shows_that_ech_is_the_trigger() {
    let v = judge(
        "test echcheck
        chain site.example 75.1.1.1:443 tcp=ok tls=ok
        chain outer.example 75.1.1.1:443 tcp=ok tls=!timeout ech=ech_outer.example",
    );
    accused(&v, &["tls tls.timeout.ech"]);
}

#[test]
fn a_test_nobody_knows_is_judged_by_what_it_carries() {
    let v = judge(
        "test something_new
        system site.example = 75.1.1.1
        chain site.example 75.1.1.1:443 tcp=ok tls=ok",
    );
    accused(&v, &[]);
    states(&v, &[("tcp", Fine), ("tls", Fine)]);
}

const WHATSAPP_PAGE: &str = "system web.whatsapp.com = 72.1.1.1
    chain web.whatsapp.com 72.1.1.1:443 tcp=ok tls=ok http=200
    app web ok\napp registration ok\n";

fn whatsapp(fates: [&str; 4], rest: &str) -> Vec<okno_model::Verdict<'static>> {
    let chains: String = fates
        .iter()
        .enumerate()
        .map(|(n, fate)| {
            format!(
                "system e{n}.whatsapp.net = 72.2.2.{n}\nchain e{n}.whatsapp.net 72.2.2.{n}:5222 tcp={fate}\n"
            )
        })
        .collect();
    let stated = if fates.contains(&"ok") { "ok" } else { "failed" };
    judge(&format!("test whatsapp\n{chains}app endpoints {stated}\n{rest}"))
}

#[test]
fn a_messenger_whose_named_servers_are_all_silent_while_its_page_answers_is_blocked() {
    accused(&whatsapp(["!timeout"; 4], WHATSAPP_PAGE), &["app messenger.endpoints"]);
    accused(&whatsapp(["!timeout", "!timeout", "!timeout", "ok"], WHATSAPP_PAGE), &[]);
    // The line may be down, or have no route.
    accused(&whatsapp(["!timeout"; 4], "app web !timeout"), &[]);
    accused(&whatsapp(["!unreachable"; 4], WHATSAPP_PAGE), &[]);
}

#[test]
fn nxdomain_for_a_messengers_lasting_name_is_a_false_answer_and_silence_is_none() {
    let names = |failure: &str, host: &str, test: &str| {
        judge(&format!("test {test}\nsystem {host} = !{failure}\napp reachable failed role=edge"))
    };
    let v = names("nxdomain", "edge-mqtt.facebook.com", "facebook_messenger");
    assert!(v.iter().any(|v| v.mechanism.as_deref() == Some("dns.nxdomain")), "{}", scenes::show(&v));
    assert!(v.iter().all(|v| v.state != Blocked || v.probability < 0.7), "{}", scenes::show(&v));
    accused(&names("timeout", "edge-mqtt.facebook.com", "facebook_messenger"), &[]);
    // Signal retired names; nobody vouches for a name that only looks alike.
    accused(&names("nxdomain", "api.directory.signal.org", "signal"), &[]);
    accused(&names("nxdomain", "notfacebook.com", "facebook_messenger"), &[]);
}

#[test]
fn a_messengers_page_that_is_reset_while_its_servers_answer_is_blocked_and_its_silence_is_not() {
    let page = |failure: &str, servers: &str| {
        judge(&telegram(
            "ok",
            &format!(
                "system web.telegram.org = 72.1.1.1
    chain web.telegram.org 72.1.1.1:443 tcp=ok tls=!{failure}
    app web !{failure}\napp endpoints_tcp {servers}\napp endpoints_http {servers}"
            ),
        ))
    };
    accused(&page("reset", "ok"), &["tls tls.reset"]);
    accused(&page("timeout", "ok"), &[]);
    accused(&page("reset", "failed"), &[]);
}
