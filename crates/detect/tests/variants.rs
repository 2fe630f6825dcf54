//! Scenes that no emulator made: the same mechanisms under other circumstances, and their benign twins.

mod scenes;

use okno_detect::{Baseline, Knowledge};
use okno_model::State::{Blocked, Down, Insufficient, Ok as Fine};
use okno_model::{FingerprintInfo, FingerprintScope, ReferenceStamp};
use scenes::{Scene, accused, baseline_of, judge, judge_with, states};

const HELPER: &str = "
    control dns news.example = 50.1.1.1
    control tcp 50.1.1.1:443 ok
    control tcp 50.1.1.1:80 ok
    control tls 50.1.1.1:443 news.example ok
    control http 200 40000 title=Morning_paper headers=x-powered-press";

fn web(url: &str, parts: &[&str]) -> String {
    format!("get {url}\n{}", parts.join("\n"))
}

fn fetched(parts: &[&str]) -> Vec<okno_model::Verdict<'static>> {
    judge(&web("https://news.example/", &[HELPER, &parts.join("\n")]))
}

// --- name resolution

#[test]
fn a_resolver_that_errs_and_that_the_user_does_not_use_accuses_nobody() {
    let v = fetched(&["udp news.example = !servfail
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=200 body=40000"]);
    accused(&v, &[]);
    states(&v, &[("dns", Fine)]);
}

#[test]
fn an_encrypted_resolver_that_is_blocked_accuses_no_site() {
    let v = fetched(&["doh news.example = !reset
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=200 body=40000"]);
    accused(&v, &[]);
    states(&v, &[("dns", Fine)]);
}

#[test]
fn each_way_of_not_answering_has_its_mechanism() {
    for (failure, mechanism) in [
        ("nxdomain", "dns dns.nxdomain"),
        ("no_answer", "dns dns.no_answer"),
        ("refused_query", "dns dns.refused"),
        ("servfail", "dns dns.servfail"),
        ("timeout", "dns dns.timeout"),
        ("android_dns_cache_no_data", "dns dns"),
    ] {
        accused(&fetched(&[&format!("system news.example = !{failure}")]), &[mechanism]);
    }
}

#[test]
fn a_carriers_shared_address_is_a_false_answer() {
    accused(&fetched(&["system news.example = 100.64.7.7"]), &["dns dns.injection.bogon"]);
}

#[test]
fn an_empty_ipv6_answer_beside_a_good_ipv4_one_is_how_most_names_look() {
    let v = fetched(&["system news.example = 50.1.1.1
        system news.example = !no_answer type=AAAA
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=200 body=40000"]);
    accused(&v, &[]);
}

#[test]
fn an_empty_answer_to_ipv6_alone_says_nothing_of_an_ipv4_name() {
    let v = fetched(&["system news.example = !no_answer type=AAAA"]);
    accused(&v, &[]);
}

#[test]
fn a_nat64_answer_is_the_ipv4_address_that_it_carries() {
    let v = fetched(&["system news.example = 64:ff9b::3201:101
        chain news.example [64:ff9b::3201:101]:443 tcp=ok tls=!reset"]);
    states(&v, &[("dns", Fine)]);
    accused(&v, &["tls tls.reset"]);
}

#[test]
fn another_address_of_the_same_network_is_rotation() {
    let v = fetched(&["system news.example = 50.9.9.9
        chain news.example 50.9.9.9:443 tcp=ok tls=!timeout"]);
    states(&v, &[("dns", Fine)]);
}

#[test]
fn an_address_of_another_network_with_the_sites_certificate_is_rotation() {
    let v = fetched(&["system news.example = 60.1.1.1
        chain news.example 60.1.1.1:443 tcp=ok tls=ok http=200 body=40000"]);
    accused(&v, &[]);
    states(&v, &[("dns", Fine)]);
}

#[test]
fn a_cache_in_the_probes_network_that_only_its_own_resolver_names_is_no_proxy() {
    // Content networks put caches into providers' networks, and the provider's resolver alone knows them.
    let v = fetched(&["doh news.example = 50.1.1.1
        udp news.example = 50.1.1.1
        system news.example = 137.4.4.4
        chain news.example 137.4.4.4:443 tcp=ok tls=ok http=200 body=40000"]);
    accused(&v, &[]);
}

#[test]
fn a_name_that_is_answered_by_place_is_no_proxy() {
    // The encrypted resolver and the helper stand in different places and get different addresses.
    let v = fetched(&["doh news.example = 70.1.1.1
        udp news.example = 137.4.4.4
        system news.example = 137.4.4.4
        chain news.example 137.4.4.4:443 tcp=ok tls=ok http=200 body=40000"]);
    accused(&v, &[]);
}

#[test]
fn an_unmatched_answer_that_serves_the_helpers_page_is_fine() {
    let v = judge(&web(
        "http://news.example/",
        &[
            HELPER,
            "
        system news.example = 60.1.1.1
        chain news.example 60.1.1.1:80 tcp=ok http=200 body=39000 title=Morning_paper",
        ],
    ));
    accused(&v, &[]);
    states(&v, &[("dns", Fine), ("http", Fine)]);
}

#[test]
fn an_unmatched_answer_that_serves_another_page_is_false() {
    let v = judge(&web(
        "http://news.example/",
        &[
            HELPER,
            "
        system news.example = 60.1.1.1
        chain news.example 60.1.1.1:80 tcp=ok http=200 body=900 title=Access_restricted",
        ],
    ));
    accused(&v, &["dns dns.injection.other"]);
}

#[test]
fn an_unmatched_answer_alone_is_no_evidence() {
    let v = fetched(&["system news.example = 60.1.1.1"]);
    accused(&v, &[]);
    states(&v, &[("dns", Insufficient)]);
}

#[test]
fn without_a_helper_a_failed_lookup_says_nothing() {
    for control in ["control none", "control absent", "control failed connection_reset"] {
        let v = judge(&web("https://news.example/", &[control, "system news.example = !nxdomain"]));
        accused(&v, &[]);
        states(&v, &[("dns", Insufficient)]);
    }
}

#[test]
fn without_a_helper_an_encrypted_resolver_of_the_same_probe_may_contradict() {
    let v = judge(&web(
        "https://news.example/",
        &["control failed connection_reset
        doh news.example = 50.1.1.1
        system news.example = !nxdomain"],
    ));
    accused(&v, &["dns dns.nxdomain"]);
}

#[test]
fn a_helper_that_cannot_resolve_either_says_down() {
    let v = judge(&web(
        "https://news.example/",
        &["control dns news.example = !servfail
        control http !dns_lookup_error
        system news.example = !servfail"],
    ));
    accused(&v, &[]);
    states(&v, &[("dns", Down)]);
}

#[test]
fn a_helper_without_names_but_with_a_connection_still_vouches_for_the_address() {
    let v = judge(&web(
        "https://news.example/",
        &["control dns news.example = !servfail
        control tcp 50.1.1.1:443 ok
        control tls 50.1.1.1:443 news.example ok
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=!timeout"],
    ));
    accused(&v, &["tcp tcp.timeout"]);
    states(&v, &[("dns", Fine)]);
}

// --- connections

#[test]
fn a_probe_without_network_accuses_nobody() {
    let v = judge(&web(
        "https://news.example/",
        &["control failed timeout
        system news.example = !timeout
        chain news.example 50.1.1.1:443 tcp=!timeout"],
    ));
    accused(&v, &[]);
    states(&v, &[("dns", Insufficient), ("tcp", Insufficient)]);
}

#[test]
fn ipv6_that_does_not_work_at_all_says_nothing_of_the_site() {
    let helper = "control dns news.example = 50.1.1.1 2a50::1
        control tcp 50.1.1.1:443 ok
        control tcp [2a50::1]:443 ok
        control tls 50.1.1.1:443 news.example ok
        control http 200 40000";
    let v = judge(&web(
        "https://news.example/",
        &[
            helper,
            "
        system news.example = 50.1.1.1 2a50::1
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=200 body=40000
        chain news.example [2a50::1]:443 tcp=!unreachable",
        ],
    ));
    accused(&v, &[]);
    states(&v, &[("tcp", Fine)]);
}

#[test]
fn an_ipv6_only_site_is_judged_by_its_ipv6() {
    let v = judge(&web(
        "https://six.example/",
        &["control dns six.example = 2a50::1
        control tcp [2a50::1]:443 ok
        control tls [2a50::1]:443 six.example ok
        control http 200 40000
        system six.example = 2a50::1
        chain six.example [2a50::1]:443 tcp=ok tls=!reset"],
    ));
    accused(&v, &["tls tls.reset"]);
}

#[test]
fn one_silent_address_beside_a_working_one_is_no_evidence() {
    let helper = HELPER.replace("= 50.1.1.1", "= 50.1.1.1 50.1.1.2");
    let v = judge(&web(
        "https://news.example/",
        &[
            &helper,
            "
        control tcp 50.1.1.2:443 ok
        system news.example = 50.1.1.1 50.1.1.2
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=200 body=40000
        chain news.example 50.1.1.2:443 tcp=!timeout",
        ],
    ));
    accused(&v, &[]);
    states(&v, &[("tcp", Fine)]);
}

#[test]
fn one_refusing_address_beside_a_working_one_is_weak_evidence() {
    let helper = HELPER.replace("= 50.1.1.1", "= 50.1.1.1 50.1.1.2");
    let v = judge(&web(
        "https://news.example/",
        &[
            &helper,
            "
        control tcp 50.1.1.2:443 ok
        system news.example = 50.1.1.1 50.1.1.2
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=200 body=40000
        chain news.example 50.1.1.2:443 tcp=!refused",
        ],
    ));
    accused(&v, &["tcp tcp.refused"]);
    assert!(v.iter().all(|v| v.state != Blocked || v.probability < 0.6));
}

#[test]
fn a_site_that_the_helper_cannot_reach_either_is_down() {
    for failure in ["timeout", "refused"] {
        let v = judge(&web(
            "https://news.example/",
            &[&format!(
                "control dns news.example = 50.1.1.1
            control tcp 50.1.1.1:443 !{failure}
            control http !{failure}
            system news.example = 50.1.1.1
            chain news.example 50.1.1.1:443 tcp=!{failure}"
            )],
        ));
        accused(&v, &[]);
        states(&v, &[("tcp", Down)]);
    }
}

#[test]
fn no_route_here_and_a_connection_outside_is_unreachability() {
    let v = fetched(&["system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=!unreachable"]);
    accused(&v, &["tcp ip.unreachable"]);
}

#[test]
fn a_connection_that_only_validates_an_address_accuses_nobody() {
    let v = judge(&web(
        "http://news.example/",
        &[
            HELPER,
            "
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=200 body=40000 title=Morning_paper
        chain news.example 50.1.1.1:443 check tcp=!timeout",
        ],
    ));
    accused(&v, &[]);
    let v = judge(&web(
        "http://news.example/",
        &[
            HELPER,
            "
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=200 body=40000 title=Morning_paper
        chain news.example 50.1.1.1:443 check tcp=ok tls=!reset",
        ],
    ));
    accused(&v, &[]);
    states(&v, &[("tls", Insufficient)]);
}

#[test]
fn connections_to_a_false_address_say_nothing_of_the_site() {
    let v = fetched(&["doh news.example = 50.1.1.1
        system news.example = 10.1.1.1
        chain news.example 10.1.1.1:443 tcp=!timeout"]);
    accused(&v, &["dns dns.injection.bogon"]);
    states(&v, &[("tcp", Insufficient)]);
}

// --- TLS and QUIC

#[test]
fn each_way_of_cutting_a_handshake_has_its_mechanism() {
    for (failure, mechanism) in [("reset", "tls.reset"), ("timeout", "tls.timeout"), ("eof", "tls.eof")] {
        let v = fetched(&[&format!(
            "system news.example = 50.1.1.1
            chain news.example 50.1.1.1:443 tcp=ok tls=!{failure}"
        )]);
        accused(&v, &[&format!("tls {mechanism}")]);
    }
}

#[test]
fn a_foreign_certificate_at_the_sites_own_address_is_interception() {
    for (failure, mechanism) in [("authority", "tls.mitm.self_signed"), ("hostname", "tls.mitm.ca_signed")] {
        let v = fetched(&[&format!(
            "system news.example = 50.1.1.1
            chain news.example 50.1.1.1:443 tcp=ok tls=!{failure}"
        )]);
        accused(&v, &[&format!("tls {mechanism}")]);
    }
}

#[test]
fn a_clock_that_is_off_makes_certificates_expire() {
    let v = judge(&web(
        "https://news.example/",
        &[
            "uploaded 2024-06-20",
            HELPER,
            "
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=!expired",
        ],
    ));
    accused(&v, &[]);
}

#[test]
fn an_alert_may_come_from_the_server() {
    let v = fetched(&["system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=!alert"]);
    accused(&v, &[]);
    states(&v, &[("tls", Insufficient)]);
}

#[test]
fn another_name_that_passes_at_the_same_address_shows_that_the_name_is_the_trigger() {
    let v = fetched(&["system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=!reset
        chain harmless.example 50.1.1.1:443 tcp=ok tls=ok"]);
    accused(&v, &["tls tls.reset.sni"]);
}

#[test]
fn quic_is_judged_apart_from_tls() {
    let v = fetched(&["control quic 50.1.1.1:443 news.example ok
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=200 body=40000
        chain news.example 50.1.1.1:443 quic=!timeout"]);
    accused(&v, &["quic quic.timeout"]);
    states(&v, &[("tls", Fine)]);
    let v = fetched(&["control quic 50.1.1.1:443 news.example !timeout
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 quic=!timeout"]);
    accused(&v, &[]);
    states(&v, &[("quic", Down)]);
}

// --- HTTP

#[test]
fn an_authenticated_page_differs_for_the_sites_own_reasons() {
    let v = fetched(&["system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=403 body=300 title=Not_in_your_region"]);
    accused(&v, &[]);
    states(&v, &[("http", Fine)]);
}

#[test]
fn a_page_that_is_longer_than_usual_is_no_block_page() {
    let v = judge(&web(
        "http://news.example/",
        &[
            HELPER,
            "
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=200 body=90000 headers=x-other",
        ],
    ));
    accused(&v, &[]);
}

#[test]
fn a_title_in_common_outweighs_a_different_length() {
    let v = judge(&web(
        "http://news.example/",
        &[
            HELPER,
            "
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=200 body=5000 title=Morning_edition",
        ],
    ));
    accused(&v, &[]);
    states(&v, &[("http", Fine)]);
}

#[test]
fn a_request_that_failed_at_a_stage_nobody_wrote_down_is_no_silence_at_http() {
    let v = judge(&web(
        "http://news.example/",
        &["control dns news.example = 50.1.1.1
        control http 200 40000
        chain news.example 50.1.1.1:80 http=!timeout"],
    ));
    accused(&v, &[]);
}

#[test]
fn an_attempt_that_the_next_one_made_good_accuses_nobody() {
    let attempts = |second: &str| {
        judge(&web(
            "http://news.example/",
            &[
                HELPER,
                "system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=!timeout",
                second,
            ],
        ))
    };
    accused(&attempts("chain news.example 50.1.1.1:80 tcp=ok http=200 body=40000 title=Morning_paper"), &[]);
    accused(&attempts("chain news.example 50.1.1.1:80 tcp=ok http=!timeout"), &["http http.timeout"]);
}

fn fingerprints() -> Knowledge {
    let page = |id: &str, scope, country: &[&str]| FingerprintInfo {
        id: id.to_owned(),
        scope,
        countries: country.iter().map(|c| okno_model::Country::parse(c).expect("a country code")).collect(),
    };
    Knowledge::new(
        [
            page("isp.it", FingerprintScope::Isp, &["IT"]),
            page("isp.ru", FingerprintScope::Isp, &["RU"]),
            page("vague", FingerprintScope::Vbw, &[]),
            page("captcha", FingerprintScope::Fp, &[]),
        ],
        [
            ("83.224.65.74".to_owned(), page("dns.it", FingerprintScope::Isp, &["IT"])),
            ("0.0.0.0".to_owned(), page("dns.zero", FingerprintScope::Vbw, &[])),
            ("127.0.0.1".to_owned(), page("dns.localhost", FingerprintScope::Isp, &[])),
            ("83.9.9.9".to_owned(), page("dns.vague", FingerprintScope::Vbw, &[])),
        ],
        ReferenceStamp { text: "test@1".to_owned() },
    )
}

fn known(text: &str) -> Vec<okno_model::Verdict<'static>> {
    judge_with(&Scene::parse(text), &Baseline::empty(), &fingerprints())
}

#[test]
fn a_known_block_page_needs_no_helper() {
    let v = known(&web(
        "http://news.example/",
        &["control failed timeout
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=200 body=900 fp=isp.it"],
    ));
    accused(&v, &["http http.blockpage"]);
    assert!(okno_detect::sum_up(&v).confirmed);
    assert_eq!(v.last().and_then(|v| v.fingerprint.as_deref()), Some("isp.it"));
    assert_eq!(v[0].reference, "test@1");
}

#[test]
fn a_redirect_to_a_known_block_page_is_found_at_its_hop() {
    let v = known(&web(
        "http://news.example/",
        &[
            HELPER,
            "
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=302 loc=http://warning.isp.example/ fp=isp.it",
        ],
    ));
    accused(&v, &["http http.redirect"]);
}

#[test]
fn a_redirect_to_another_site_with_another_page_is_found_without_a_fingerprint() {
    let v = known(&web(
        "http://news.example/",
        &[
            HELPER,
            "
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=302 loc=http://warning.isp.test/
        system warning.isp.test = 137.3.3.3 hop=1
        chain warning.isp.test 137.3.3.3:80 hop=1 tcp=ok http=200 body=700 title=Restricted",
        ],
    ));
    assert!(
        v.iter().any(|v| v.hop == 0 && v.mechanism.as_deref() == Some("http.redirect")),
        "{}",
        scenes::show(&v)
    );
}

#[test]
fn a_site_that_moved_and_speaks_the_visitors_language_is_no_block_page() {
    let v = known(&web(
        "http://news.example/",
        &[
            HELPER,
            "
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=302 loc=https://giornale.test/
        system giornale.test = 50.2.2.2 hop=1
        chain giornale.test 50.2.2.2:443 hop=1 tcp=ok tls=ok http=200 body=9000 title=Notizie_della_mattina",
        ],
    ));
    accused(&v, &[]);
}

#[test]
fn a_vague_fingerprint_with_another_page_accuses_and_does_not_confirm() {
    let v = known(&web(
        "http://news.example/",
        &[
            HELPER,
            "
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=200 body=900 title=Restricted fp=vague",
        ],
    ));
    accused(&v, &["http http.blockpage"]);
    assert!(!okno_detect::sum_up(&v).confirmed);
}

#[test]
fn a_block_page_of_another_country_a_vague_one_and_a_captcha_do_not_confirm() {
    for id in ["isp.ru", "vague", "captcha"] {
        let v = known(&web(
            "http://news.example/",
            &[&format!(
                "control failed timeout
            system news.example = 50.1.1.1
            chain news.example 50.1.1.1:80 tcp=ok http=200 body=900 fp={id}"
            )],
        ));
        accused(&v, &[]);
    }
}

#[test]
fn a_block_page_that_the_helper_gets_too_is_the_sites_own() {
    let v = known(&web(
        "http://news.example/",
        &[
            HELPER,
            "
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=200 body=40000 title=Morning_paper fp=isp.it",
        ],
    ));
    accused(&v, &[]);
}

#[test]
fn a_false_address_that_serves_a_known_block_page_is_named_so_at_dns() {
    let v = known(&web(
        "http://news.example/",
        &[
            HELPER,
            "
        system news.example = 60.1.1.1
        chain news.example 60.1.1.1:80 tcp=ok http=200 body=900 fp=isp.it",
        ],
    ));
    accused(&v, &["dns dns.injection.blockpage"]);
    assert!(okno_detect::sum_up(&v).confirmed);
}

#[test]
fn an_address_that_block_pages_are_served_from_is_a_false_answer() {
    let v = known(&web("http://news.example/", &[HELPER, "system news.example = 83.224.65.74"]));
    accused(&v, &["dns dns.injection.blockpage"]);
}

#[test]
fn a_bogon_that_block_lists_name_is_a_bogon_and_alone_accuses_nobody() {
    for bogon in ["0.0.0.0", "127.0.0.1"] {
        let alone = known(&web(
            "http://news.example/",
            &["control failed timeout", &format!("system news.example = {bogon}")],
        ));
        accused(&alone, &[]);
        states(&alone, &[("dns", Insufficient)]);
        let compared =
            known(&web("http://news.example/", &[HELPER, &format!("system news.example = {bogon}")]));
        accused(&compared, &["dns dns.injection.bogon"]);
    }
}

#[test]
fn an_address_that_only_vaguely_belongs_to_block_pages_accuses_nobody() {
    let v =
        known(&web("http://news.example/", &["control failed timeout", "system news.example = 83.9.9.9"]));
    accused(&v, &[]);
    assert!(!okno_detect::sum_up(&v).confirmed);
}

// --- speed

#[test]
fn bytes_that_trickle_and_never_complete_are_throttled() {
    let v = fetched(&["system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=200 then=timeout rx=30000/9000000/900000/60"]);
    accused(&v, &["tls tls.throttle"]);
}

#[test]
fn one_long_pause_of_a_server_is_not_throttling() {
    let v = fetched(&["system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=200 body=40000 rx=42000/7000000/6500000/20"]);
    accused(&v, &[]);
}

#[test]
fn a_transfer_that_stops_after_some_kibibytes_is_a_packet_budget() {
    let v = fetched(&["system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=200 then=timeout rx=16300/400000/90000/14"]);
    accused(&v, &["tcp tcp.packet_budget"]);
}

// --- baselines

fn elsewhere(networks: std::ops::Range<u32>, country: &str, text: &str) -> Vec<Scene> {
    networks.map(|n| Scene::parse(&format!("probe AS{n} {country}\n{text}"))).collect()
}

const URLGETTER: &str = "test urlgetter\nsystem news.example = 50.1.1.1\n";

fn failing() -> Scene {
    Scene::parse(&format!("{URLGETTER}chain news.example 50.1.1.1:443 tcp=ok tls=!reset"))
}

fn working() -> String {
    format!("{URLGETTER}chain news.example 50.1.1.1:443 tcp=ok tls=ok http=200")
}

#[test]
fn other_networks_stand_in_for_a_helper() {
    let alone = judge_with(&failing(), &Baseline::empty(), &Knowledge::empty());
    accused(&alone, &[]);
    let two = baseline_of(&elsewhere(1000..1002, "DE", &working()));
    accused(&judge_with(&failing(), &two, &Knowledge::empty()), &[]);
    let three = baseline_of(&elsewhere(1000..1003, "DE", &working()));
    accused(&judge_with(&failing(), &three, &Knowledge::empty()), &["tls tls.reset"]);
}

#[test]
fn ten_thousand_rows_of_one_network_move_nothing() {
    let one = Scene::parse(&format!("probe AS1000 DE\n{}", working()));
    let baseline = baseline_of(&vec![one; 10_000]);
    accused(&judge_with(&failing(), &baseline, &Knowledge::empty()), &[]);
}

#[test]
fn the_probes_own_network_is_no_witness_and_yesterday_is_one() {
    let mut scenes = elsewhere(1000..1002, "DE", &working());
    scenes.push(Scene::parse(&working()));
    accused(&judge_with(&failing(), &baseline_of(&scenes), &Knowledge::empty()), &[]);
    scenes.extend(elsewhere(1002..1003, "DE", &format!("date 2024-05-05\n{}", working())));
    accused(&judge_with(&failing(), &baseline_of(&scenes), &Knowledge::empty()), &["tls tls.reset"]);
}

#[test]
fn what_fails_everywhere_is_down_and_what_fails_in_one_country_is_not() {
    let text = format!("{URLGETTER}chain news.example 50.1.1.1:443 tcp=ok tls=!timeout");
    let failing = Scene::parse(&text);
    let national = baseline_of(&elsewhere(1000..1006, "IT", &text));
    states(&judge_with(&failing, &national, &Knowledge::empty()), &[("tls", Insufficient)]);
    let mut scenes = elsewhere(1000..1003, "IT", &text);
    scenes.extend(elsewhere(1003..1006, "DE", &text));
    states(&judge_with(&failing, &baseline_of(&scenes), &Knowledge::empty()), &[("tls", Down)]);
}

#[test]
fn a_version_that_fails_where_others_succeed_is_an_instrument_defect() {
    let broken =
        format!("version 3.20.0 0.2.0\n{URLGETTER}chain news.example 50.1.1.1:443 tcp=ok tls=!reset");
    let sound = format!("version 3.21.0 0.2.0\n{}", working());
    let mut scenes = elsewhere(1000..1003, "IT", &broken);
    scenes.extend(elsewhere(1003..1006, "DE", &broken));
    scenes.extend(elsewhere(1006..1010, "FR", &sound));
    let v = judge_with(&Scene::parse(&broken), &baseline_of(&scenes), &Knowledge::empty());
    accused(&v, &[]);
    assert!(v.iter().any(|v| v.rule == "tls.instrument"), "{}", scenes::show(&v));
    // The same failure with a version that works elsewhere points to the network.
    let other = broken.replace("3.20.0", "3.21.0");
    let v = judge_with(&Scene::parse(&other), &baseline_of(&scenes), &Knowledge::empty());
    accused(&v, &["tls tls.reset"]);
}

// --- one submitter, many hops

#[test]
fn a_redirect_to_another_name_at_a_hop_is_judged_by_the_chains_end() {
    let v = judge(&web(
        "http://news.example/",
        &[
            HELPER,
            "
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=301 loc=https://www.news.example/
        system www.news.example = 50.1.1.1 hop=1
        chain www.news.example 50.1.1.1:443 hop=1 tcp=ok tls=!reset",
        ],
    ));
    accused(&v, &["tls#1 tls.reset"]);
    states(&v, &[("http", Fine)]);
}
