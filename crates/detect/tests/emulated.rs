//! The scenarios of OONI's emulator, restated with other names, addresses and networks: what each sets up
//! between probe and target must be found, in its layer, and nothing else accused.

mod scenes;

use okno_model::State::{Blocked, Down, Insufficient, Ok as Fine, Throttled};
use scenes::{accused, judge, states};

/// What a healthy helper saw of `shop.example` at 20.1.1.1.
const HELPER: &str = "
    control dns shop.example = 20.1.1.1
    control tcp 20.1.1.1:443 ok
    control tcp 20.1.1.1:80 ok
    control tls 20.1.1.1:443 shop.example ok
    control http 200 2100 title=Welcome_customers headers=alt-svc";

/// Every resolver gives the true address.
const HONEST: &str = "
    doh shop.example = 20.1.1.1
    doh shop.example = !no_answer type=AAAA
    system shop.example = 20.1.1.1
    udp shop.example = 20.1.1.1
    udp shop.example = !no_answer type=AAAA";

fn web(url: &str, parts: &[&str]) -> String {
    format!("get {url}\n{}", parts.join("\n"))
}

#[test]
fn an_expired_certificate_that_the_helper_sees_too_is_the_sites_own() {
    let v = judge(&web(
        "https://old.example/",
        &["control dns old.example = 30.1.1.1
           control tcp 30.1.1.1:443 ok
           control tls 30.1.1.1:443 old.example !expired
           control http !unknown
           doh old.example = 30.1.1.1
           system old.example = 30.1.1.1
           chain old.example 30.1.1.1:443 tcp=ok tls=!expired"],
    ));
    accused(&v, &[]);
    states(&v, &[("dns", Fine), ("tcp", Fine), ("tls", Down)]);
}

#[test]
fn an_untrusted_root_that_the_helper_sees_too_is_the_sites_own() {
    let v = judge(&web(
        "https://odd.example/",
        &["control dns odd.example = 30.1.1.1
           control tls 30.1.1.1:443 odd.example !authority
           control http !unknown
           system odd.example = 30.1.1.1
           chain odd.example 30.1.1.1:443 tcp=ok tls=!authority"],
    ));
    accused(&v, &[]);
    states(&v, &[("tls", Down)]);
}

#[test]
fn a_false_answer_leads_to_a_server_with_another_certificate() {
    let v = judge(&web(
        "https://shop.example/",
        &[
            HELPER,
            "
           control tcp 30.1.1.1:443 ok
           control tls 30.1.1.1:443 shop.example !authority
           doh shop.example = 20.1.1.1
           system shop.example = 30.1.1.1
           udp shop.example = 30.1.1.1
           chain shop.example 30.1.1.1:443 tcp=ok tls=!authority
           chain shop.example 20.1.1.1:443 other tcp=ok tls=ok http=200 body=2100 title=Welcome_customers",
        ],
    ));
    accused(&v, &["dns dns.injection.other"]);
    states(&v, &[("http", Fine)]);
}

#[test]
fn a_captcha_accuses_nobody() {
    let v = judge(&web(
        "http://shop.example/",
        &[HELPER, HONEST, "
           chain shop.example 20.1.1.1:80 tcp=ok http=503 body=8432 title=Attention_Required! server=cloudflare headers=nel
           chain shop.example 20.1.1.1:443 check tcp=ok tls=ok"],
    ));
    accused(&v, &[]);
    states(&v, &[("http", Insufficient)]);
}

#[test]
fn a_blocked_helper_is_no_blocked_site() {
    let v = judge(&web(
        "http://shop.example/",
        &[
            "control failed connection_reset",
            HONEST,
            "
           chain shop.example 20.1.1.1:80 tcp=ok http=200 body=2100 title=Welcome_customers
           chain shop.example 20.1.1.1:443 check tcp=ok tls=ok",
        ],
    ));
    accused(&v, &[]);
    states(&v, &[("dns", Fine), ("tcp", Fine), ("tls", Fine), ("http", Insufficient)]);
}

#[test]
fn a_private_address_is_a_false_answer() {
    let v = judge(&web(
        "https://shop.example/",
        &[
            HELPER,
            "
           doh shop.example = 20.1.1.1
           system shop.example = 10.10.34.35
           udp shop.example = 20.1.1.1
           chain shop.example 10.10.34.35:443 tcp=!timeout
           chain shop.example 20.1.1.1:443 other tcp=ok tls=ok http=200 body=2100",
        ],
    ));
    accused(&v, &["dns dns.injection.bogon"]);
    let dns = &v[0];
    assert_eq!(dns.witness.as_deref(), Some("system shop.example → 10.10.34.35 (bogon); control: 20.1.1.1"));
}

#[test]
fn nxdomain_for_a_name_that_exists_outside() {
    let v = judge(&web(
        "https://shop.example/",
        &[
            HELPER,
            "
           doh shop.example = 20.1.1.1
           system shop.example = !nxdomain
           udp shop.example = 20.1.1.1
           chain shop.example 20.1.1.1:443 other tcp=ok tls=ok http=200 body=2100",
        ],
    ));
    accused(&v, &["dns dns.nxdomain"]);
}

#[test]
fn a_loopback_address_is_a_false_answer() {
    let v = judge(&web(
        "http://shop.example/",
        &[
            HELPER,
            "
           doh shop.example = 20.1.1.1
           system shop.example = 127.0.0.1
           udp shop.example = 127.0.0.1
           chain shop.example 20.1.1.1:80 other tcp=ok http=200 body=2100 title=Welcome_customers
           chain shop.example 20.1.1.1:443 other check tcp=ok tls=ok",
        ],
    ));
    accused(&v, &["dns dns.injection.bogon"]);
}

const PROXY: &str = "
    control tcp 137.9.9.9:443 ok
    control tcp 137.9.9.9:80 ok
    control tls 137.9.9.9:443 shop.example ok
    doh shop.example = 20.1.1.1
    system shop.example = 137.9.9.9
    udp shop.example = 137.9.9.9";

#[test]
fn a_proxy_in_the_probes_network_is_a_false_answer_though_it_passes_the_site_through() {
    let v = judge(&web(
        "http://shop.example/",
        &[
            HELPER,
            PROXY,
            "
           chain shop.example 137.9.9.9:80 tcp=ok http=200 body=2100 title=Welcome_customers
           chain shop.example 137.9.9.9:443 check tcp=ok tls=ok
           chain shop.example 20.1.1.1:80 other tcp=ok
           chain shop.example 20.1.1.1:443 other check tcp=ok tls=ok",
        ],
    ));
    accused(&v, &["dns dns.injection.other"]);
    let v = judge(&web(
        "https://shop.example/",
        &[
            HELPER,
            PROXY,
            "
           chain shop.example 137.9.9.9:443 tcp=ok tls=ok http=200 body=2100
           chain shop.example 20.1.1.1:443 other tcp=ok tls=ok",
        ],
    ));
    accused(&v, &["dns dns.injection.other"]);
}

#[test]
fn a_proxy_that_writes_block_pages_is_found_at_both_layers() {
    let v = judge(&web(
        "http://shop.example/",
        &[
            HELPER,
            PROXY,
            "
           chain shop.example 137.9.9.9:80 tcp=ok http=200 body=188 title=Access_Denied
           chain shop.example 137.9.9.9:443 check tcp=ok tls=ok
           chain shop.example 20.1.1.1:80 other tcp=ok
           chain shop.example 20.1.1.1:443 other check tcp=ok tls=ok",
        ],
    ));
    accused(&v, &["dns dns.injection.other", "http http.blockpage"]);
}

#[test]
fn handshakes_cut_at_a_proxy_and_at_the_site_are_found_at_both_layers() {
    let v = judge(&web(
        "https://shop.example/",
        &[
            HELPER,
            PROXY,
            "
           chain shop.example 137.9.9.9:443 tcp=ok tls=!reset
           chain shop.example 20.1.1.1:443 other tcp=ok tls=!reset",
        ],
    ));
    accused(&v, &["dns dns.injection.other", "tls tls.reset"]);
}

#[test]
fn an_address_for_a_name_that_does_not_exist_is_a_false_answer() {
    for (url, port) in [("http://gone.example/", 80), ("https://gone.example/", 443)] {
        let chain = if port == 80 {
            "chain gone.example 30.2.2.2:80 tcp=ok http=200 body=188 title=Access_Denied
             chain gone.example 30.2.2.2:443 check tcp=!refused"
        } else {
            "chain gone.example 30.2.2.2:443 tcp=!refused"
        };
        let v = judge(&web(
            url,
            &[
                "control dns gone.example = !nxdomain
               control tcp 30.2.2.2:443 !refused
               control tcp 30.2.2.2:80 ok
               control http !dns_lookup_error
               doh gone.example = !nxdomain
               doh gone.example = !nxdomain type=AAAA
               system gone.example = 30.2.2.2
               udp gone.example = 30.2.2.2
               udp gone.example = !no_answer type=AAAA",
                chain,
            ],
        ));
        accused(&v, &["dns dns.injection.other"]);
    }
}

#[test]
fn a_reset_request_is_found_at_http_while_the_handshake_completes() {
    let v = judge(&web(
        "http://shop.example/",
        &[
            HELPER,
            HONEST,
            "
           chain shop.example 20.1.1.1:80 tcp=ok http=!reset
           chain shop.example 20.1.1.1:443 check tcp=ok tls=ok",
        ],
    ));
    accused(&v, &["http http.reset"]);
    states(&v, &[("dns", Fine), ("tcp", Fine), ("tls", Fine)]);
}

#[test]
fn a_page_unlike_the_helpers_in_every_respect_is_found_at_http() {
    let v = judge(&web(
        "http://shop.example/",
        &[
            HELPER,
            HONEST,
            "
           chain shop.example 20.1.1.1:80 tcp=ok http=200 body=188 title=Access_Denied
           chain shop.example 20.1.1.1:443 check tcp=ok tls=ok",
        ],
    ));
    accused(&v, &["http http.blockpage"]);
}

#[test]
fn redirects_between_healthy_names_accuse_nobody() {
    let v = judge(&web(
        "http://xn--e1afmkfd.example/",
        &["control dns xn--e1afmkfd.example = 20.1.1.1
           control tcp 20.1.1.1:80 ok
           control tls 20.1.1.1:443 xn--e1afmkfd.example ok
           control http 200 2100 title=Welcome_customers
           doh xn--e1afmkfd.example = 20.1.1.1
           system xn--e1afmkfd.example = 20.1.1.1
           udp xn--e1afmkfd.example = 20.1.1.1
           system mid.example = 20.1.1.1 hop=1
           udp mid.example = 20.1.1.1 hop=1
           system end.example = 20.1.1.1 hop=2
           chain xn--e1afmkfd.example 20.1.1.1:80 tcp=ok http=308 loc=https://mid.example/
           chain xn--e1afmkfd.example 20.1.1.1:443 check tcp=ok tls=ok
           chain mid.example 20.1.1.1:443 hop=1 tcp=ok tls=ok http=308 loc=https://end.example/
           chain end.example 20.1.1.1:443 hop=2 tcp=ok tls=ok http=200 body=2100 title=Welcome_customers"],
    ));
    accused(&v, &[]);
    assert!(v.iter().all(|verdict| verdict.state == Fine), "\n{}", scenes::show(&v));
}

#[test]
fn a_large_page_that_arrives_is_not_throttled() {
    for (url, chain) in [
        (
            "http://shop.example/",
            "chain shop.example 20.1.1.1:80 tcp=ok http=200 body=0 cut_off headers=alt-svc
          chain shop.example 20.1.1.1:443 check tcp=ok tls=ok",
        ),
        (
            "https://shop.example/",
            "chain shop.example 20.1.1.1:443 tcp=ok tls=ok http=200 body=0 cut_off headers=alt-svc",
        ),
    ] {
        let helper = HELPER.replace("200 2100", "200 16777216");
        accused(&judge(&web(url, &[&helper, HONEST, chain])), &[]);
    }
}

#[test]
fn a_name_that_is_loopback_for_everybody_is_down() {
    let v = judge(&web(
        "http://loop.example/",
        &["control dns loop.example = 127.0.0.1
           control http !unknown
           doh loop.example = 127.0.0.1
           system loop.example = 127.0.0.1
           udp loop.example = 127.0.0.1"],
    ));
    accused(&v, &[]);
    states(&v, &[("dns", Down)]);
}

#[test]
fn a_redirect_to_nowhere_accuses_nobody() {
    let v = judge(&web(
        "http://shop.example/",
        &[HELPER, HONEST, "
           chain shop.example 20.1.1.1:80 tcp=ok http=302 loc=http:///nowhere then=http_invalid_redirect_location_host
           chain shop.example 20.1.1.1:443 check tcp=ok tls=ok"],
    ));
    accused(&v, &[]);
    states(&v, &[("http", Insufficient)]);
}

/// A short link at 40.1.1.1 leads to `shop.example`; the helper followed it to the end.
const SHORT_LINK: &str = "
    control dns link.example = 40.1.1.1
    control tcp 40.1.1.1:443 ok
    control tls 40.1.1.1:443 link.example ok
    control http 200 2100 title=Welcome_customers
    doh link.example = 40.1.1.1
    system link.example = 40.1.1.1
    udp link.example = 40.1.1.1
    chain link.example 40.1.1.1:443 tcp=ok tls=ok http=308 loc=http://shop.example/";

const NEXT: &str = "
    system shop.example = 20.1.1.1 hop=1
    udp shop.example = 20.1.1.1 hop=1";

fn after_redirect(rest: &str) -> Vec<okno_model::Verdict<'static>> {
    judge(&web("https://link.example/abc", &[SHORT_LINK, rest]))
}

#[test]
fn a_redirect_hop_that_refuses_is_found_at_tcp() {
    let v = after_redirect(&format!(
        "{NEXT}
        chain shop.example 20.1.1.1:80 hop=1 tcp=!refused
        chain shop.example 20.1.1.1:443 hop=1 check tcp=!refused"
    ));
    accused(&v, &["tcp#1 tcp.refused"]);
    let v = after_redirect(&format!(
        "{NEXT}
        chain shop.example 20.1.1.1:443 hop=1 tcp=!refused"
    ));
    accused(&v, &["tcp#1 tcp.refused"]);
}

#[test]
fn one_filter_that_cuts_request_and_handshake_of_a_hop_is_counted_once_at_tls() {
    for (failure, mechanism) in [("reset", "tls.reset"), ("eof", "tls.eof"), ("timeout", "tls.timeout")] {
        let v = after_redirect(&format!(
            "{NEXT}
            chain shop.example 20.1.1.1:80 hop=1 tcp=ok http=!{failure}
            chain shop.example 20.1.1.1:443 hop=1 check tcp=ok tls=!{failure}"
        ));
        accused(&v, &[&format!("tls#1 {mechanism}")]);
        let v = after_redirect(&format!(
            "{NEXT}
            chain shop.example 20.1.1.1:443 hop=1 tcp=ok tls=!{failure}"
        ));
        accused(&v, &[&format!("tls#1 {mechanism}")]);
    }
}

#[test]
fn a_redirect_hop_that_does_not_resolve_is_found_at_dns() {
    let v = after_redirect(
        "
        system shop.example = !nxdomain hop=1
        udp shop.example = !nxdomain hop=1
        udp shop.example = !nxdomain hop=1 type=AAAA",
    );
    accused(&v, &["dns#1 dns.nxdomain"]);
}

#[test]
fn more_redirects_than_anybody_follows_accuse_nobody() {
    let mut text = "get http://loop.example/
        control dns loop.example = 20.1.1.1
        control tcp 20.1.1.1:80 ok
        control tls 20.1.1.1:443 loop.example ok
        control http !unknown
        system loop.example = 20.1.1.1
        doh loop.example = 20.1.1.1"
        .to_owned();
    for hop in 0..=10 {
        let end = if hop == 10 { " then=unknown" } else { "" };
        text += &format!(
            "
            chain loop.example 20.1.1.1:80 hop={hop} tcp=ok http=302 loc=http://loop.example/{hop}{end}
            chain loop.example 20.1.1.1:443 hop={hop} check tcp=ok tls=ok"
        );
    }
    accused(&judge(&text), &[]);
}

#[test]
fn a_healthy_page_is_ok_at_every_layer() {
    let v = judge(&web(
        "http://shop.example/",
        &[
            HELPER,
            HONEST,
            "
           chain shop.example 20.1.1.1:80 tcp=ok http=200 body=2090 title=Welcome_customers
           chain shop.example 20.1.1.1:443 check tcp=ok tls=ok",
        ],
    ));
    accused(&v, &[]);
    states(&v, &[("dns", Fine), ("tcp", Fine), ("tls", Fine), ("http", Fine)]);
    assert!(v.iter().all(|verdict| verdict.witness.is_none()));
}

#[test]
fn a_silent_address_that_the_helper_reaches_is_found_at_tcp() {
    let v = judge(&web(
        "https://shop.example/",
        &[HELPER, HONEST, "chain shop.example 20.1.1.1:443 tcp=!timeout"],
    ));
    accused(&v, &["tcp tcp.timeout"]);
}

#[test]
fn a_refusing_address_of_a_false_answer_is_judged_by_what_the_helper_saw_of_it() {
    let v = judge(&web(
        "http://shop.example/",
        &[
            HELPER,
            "
           control tcp 30.2.2.2:443 !refused
           control tcp 30.2.2.2:80 ok
           doh shop.example = 20.1.1.1
           system shop.example = 30.2.2.2
           udp shop.example = 30.2.2.2
           chain shop.example 30.2.2.2:80 tcp=!refused
           chain shop.example 30.2.2.2:443 check tcp=!refused
           chain shop.example 20.1.1.1:80 other tcp=ok http=200 body=2100 title=Welcome_customers
           chain shop.example 20.1.1.1:443 other check tcp=ok tls=ok",
        ],
    ));
    accused(&v, &["dns dns.injection.other", "tcp tcp.refused"]);
}

#[test]
fn a_large_page_that_never_completes_is_throttled_where_it_travels() {
    let helper = HELPER.replace("200 2100", "200 16777216");
    let v = judge(&web(
        "https://shop.example/",
        &[
            &helper,
            HONEST,
            "chain shop.example 20.1.1.1:443 tcp=ok tls=ok http=200 then=timeout body=0 cut_off",
        ],
    ));
    accused(&v, &["tls tls.throttle"]);
    states(&v, &[("tls", Throttled)]);
    let v = judge(&web(
        "http://shop.example/",
        &[
            &helper,
            HONEST,
            "
           chain shop.example 20.1.1.1:80 tcp=ok http=200 then=timeout body=0 cut_off
           chain shop.example 20.1.1.1:443 check tcp=ok tls=ok",
        ],
    ));
    accused(&v, &["http http.throttle"]);
}

#[test]
fn a_reset_handshake_that_the_helper_completes_is_found_at_tls() {
    let v = judge(&web(
        "https://shop.example/",
        &[HELPER, HONEST, "chain shop.example 20.1.1.1:443 tcp=ok tls=!reset"],
    ));
    accused(&v, &["tls tls.reset"]);
    states(&v, &[("tls", Blocked)]);
}

#[test]
fn a_name_that_does_not_exist_for_anybody_is_down() {
    let v = judge(&web(
        "http://gone.example/",
        &["control dns gone.example = !nxdomain
           control http !dns_lookup_error
           doh gone.example = !nxdomain
           system gone.example = !nxdomain
           udp gone.example = !nxdomain"],
    ));
    accused(&v, &[]);
    states(&v, &[("dns", Down)]);
}

#[test]
fn a_name_without_addresses_for_anybody_is_down() {
    let v = judge(&web(
        "http://empty.example/",
        &["control dns empty.example = !no_answer
           control http !dns_lookup_error
           system empty.example = !no_answer
           udp empty.example = !no_answer"],
    ));
    accused(&v, &[]);
    states(&v, &[("dns", Down)]);
}

#[test]
fn a_port_that_is_closed_for_everybody_is_down() {
    let v = judge(&web(
        "http://shop.example:444/",
        &[
            "control dns shop.example = 20.1.1.1
           control tcp 20.1.1.1:444 !refused
           control http !refused",
            HONEST,
            "chain shop.example 20.1.1.1:444 tcp=!refused",
        ],
    ));
    accused(&v, &[]);
    states(&v, &[("tcp", Down)]);
}
