//! Scenes that a review of the rules brought up: each kind of interference beside the look-alike that must
//! not accuse. What needs fingerprints is in `variants.rs`.

mod scenes;

use okno_detect::Knowledge;
use okno_model::State::{Insufficient, Ok as Fine};
use scenes::{Scene, accused, baseline_of, judge, judge_with, states};

/// Helpers before web_connectivity 0.5: lookups, connects and a page, no handshakes.
const EARLY_HELPER: &str = "
    control dns news.example = 50.1.1.1
    control tcp 50.1.1.1:443 ok
    control tcp 50.1.1.1:80 ok
    control http 200 40000 title=Morning_paper headers=x-powered-press";

fn early(url: &str, text: &str) -> Vec<okno_model::Verdict<'static>> {
    judge(&format!("get {url}\n{EARLY_HELPER}\n{text}"))
}

#[test]
fn a_request_whose_handshake_was_cut_is_counted_at_the_handshake_alone() {
    for failure in ["reset", "eof"] {
        let v = early(
            "https://news.example/",
            &format!(
                "system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=!{failure} http=!{failure}"
            ),
        );
        accused(&v, &[&format!("tls tls.{failure}")]);
        states(&v, &[("http", Insufficient)]);
    }
}

#[test]
fn a_request_that_was_cut_after_a_completed_handshake_is_counted_at_http() {
    let v = early(
        "https://news.example/",
        "system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=!reset",
    );
    accused(&v, &["http http.reset"]);
    states(&v, &[("tls", Fine)]);
}

#[test]
fn a_foreign_certificate_at_a_foreign_address_is_a_false_answer_also_for_helpers_without_handshakes() {
    for failure in ["hostname", "authority"] {
        let v = early(
            "https://news.example/",
            &format!(
                "system news.example = 60.1.1.1
        chain news.example 60.1.1.1:443 tcp=ok tls=!{failure} http=!{failure}"
            ),
        );
        accused(&v, &["dns dns.injection.other"]);
    }
}

#[test]
fn a_foreign_certificate_at_the_helpers_address_stays_interception_and_a_valid_one_rotation() {
    let v = early(
        "https://news.example/",
        "system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=!hostname",
    );
    accused(&v, &["tls tls.mitm.ca_signed"]);
    let v = early(
        "https://news.example/",
        "system news.example = 60.1.1.1
        chain news.example 60.1.1.1:443 tcp=ok tls=ok http=200 body=40000",
    );
    accused(&v, &[]);
}

#[test]
fn dates_of_certificates_contradict_no_address_when_the_clock_is_off() {
    let v = early(
        "https://news.example/",
        "uploaded 2024-06-20
        system news.example = 60.1.1.1
        chain news.example 60.1.1.1:443 tcp=ok tls=!expired",
    );
    accused(&v, &[]);
}

#[test]
fn a_redirect_to_a_block_page_behind_a_valid_certificate_is_a_redirect_to_a_block_page() {
    let redirected = |place: &str, network: u32, page: &str| {
        early(
            "http://news.example/",
            &format!(
                "system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=302 loc=https://{place}/
        system {place} = {network}.3.3.3 hop=1
        chain {place} {network}.3.3.3:443 hop=1 tcp=ok tls=ok http=200 {page}"
            ),
        )
    };
    accused(&redirected("warning.isp.test", 90, "body=700 title=Restricted"), &["http http.redirect"]);
    // A longer page, in the probe's own network.
    accused(&redirected("warning.isp.test", 137, "body=9000 title=Restricted"), &["http http.redirect"]);
    // The benign twins: the same site, its domain for another country, another site with the same page.
    for place in ["news.example", "www.news.example", "news.test"] {
        accused(&redirected(place, 90, "body=700 title=Come_back_later"), &[]);
    }
    accused(&redirected("paper.test", 90, "body=39000 title=Morning_paper"), &[]);
}

#[test]
fn a_redirect_to_another_site_accuses_nobody_when_the_helper_got_no_page() {
    let v = judge(
        "get http://news.example/
        control dns news.example = 50.1.1.1
        control http !timeout
        system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=302 loc=https://warning.isp.test/
        system warning.isp.test = 90.3.3.3 hop=1
        chain warning.isp.test 90.3.3.3:443 hop=1 tcp=ok tls=ok http=200 body=700 title=Restricted",
    );
    accused(&v, &[]);
}

#[test]
fn a_longer_page_with_another_title_is_no_block_page_and_a_shorter_one_is() {
    let page = |bytes: u32| {
        early(
            "http://news.example/",
            &format!(
                "system news.example = 50.1.1.1
        chain news.example 50.1.1.1:80 tcp=ok http=200 body={bytes} title=Restricted"
            ),
        )
    };
    accused(&page(90_000), &[]);
    states(&page(90_000), &[("http", Insufficient)]);
    accused(&page(900), &["http http.blockpage"]);
}

#[test]
fn a_slow_transfer_that_completes_with_nothing_faster_beside_it_may_be_a_slow_line() {
    let transfer = |rest: &str| {
        early(
            "https://news.example/",
            &format!(
                "system news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=200 {rest} rx=42000/9000000/900000/60"
            ),
        )
    };
    let v = transfer("body=40000 title=Morning_paper");
    accused(&v, &[]);
    states(&v, &[("tls", Insufficient), ("http", Fine)]);
    accused(&transfer("then=timeout"), &["tls tls.throttle"]);
}

#[test]
fn silence_on_a_line_that_carries_no_connection_at_all_may_be_an_outage_beyond_the_resolver() {
    let scene = |more: &str| {
        Scene::parse(&format!(
            "get https://news.example/\ncontrol failed generic_timeout_error\nsystem news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=!timeout\n{more}"
        ))
    };
    let alive = "get https://news.example/\nsystem news.example = 50.1.1.1
        chain news.example 50.1.1.1:443 tcp=ok tls=ok http=200,40000,title=Morning_paper";
    let others: Vec<Scene> =
        (1000..1004).map(|n| Scene::parse(&format!("probe AS{n} DE\n{alive}"))).collect();
    let baseline = baseline_of(&others);
    let judged = |more: &str| judge_with(&scene(more), &baseline, &Knowledge::empty());
    accused(&judged(""), &[]);
    let online = judged("system other.example = 51.1.1.1\nchain other.example 51.1.1.1:443 tcp=ok tls=ok");
    accused(&online, &["tcp tcp.timeout"]);
}

#[test]
fn one_address_for_unrelated_names_may_be_a_hotspot_and_for_related_ones_is_a_false_answer() {
    let scene = |other: &str| {
        early(
            "https://news.example/",
            &format!(
                "system news.example = 60.1.1.1\nsystem {other} = 60.1.1.1
        chain news.example 60.1.1.1:443 tcp=!timeout"
            ),
        )
    };
    accused(&scene("resolver.invalid"), &[]);
    accused(&scene("www.news.example"), &["dns dns.injection.other"]);
}
