//! Every nettest of OONI's specification that issue A names: one small measurement each, with made-up names,
//! and the rows it must give. The numbers of specifications (`ts-0NN`) are those of ooni/spec.

mod reading;

use okno_model::{Failure, RejectReason, Transport};
use reading::{measurement, of, read};

const DNS: &str = r#"{"engine":"system","hostname":"a.example","query_type":"A","failure":null,"answers":[{"answer_type":"A","ipv4":"192.0.2.1"}]}"#;
const TCP: &str = r#"{"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true}}"#;
const TLS: &str = r#"{"network":"tcp","address":"192.0.2.1:443","server_name":"a.example","failure":null,"tls_version":"TLSv1.3"}"#;
const HTTP: &str = r#"{"request":{"url":"https://a.example/","method":"GET"},"response":{"code":200,"body":"x"},"failure":null}"#;

/// The four structures that nettests share.
fn shared() -> String {
    format!(r#""queries":[{DNS}],"tcp_connect":[{TCP}],"tls_handshakes":[{TLS}],"requests":[{HTTP}]"#)
}

#[test]
fn web_connectivity_0_4_joins_lookup_connect_handshake_and_page() {
    let rows = read(&measurement(
        "web_connectivity",
        r#","input":"https://a.example/""#,
        &format!(
            r#"{{{},"control":{{"dns":{{"failure":null,"addrs":["192.0.2.1"]}},"tcp_connect":{{"192.0.2.1:443":{{"status":true,"failure":null}}}},"http_request":{{"status_code":200,"body_length":1,"failure":null,"title":"T","headers":{{"X-Odd":"1"}}}}}},"blocking":false,"accessible":true}}"#,
            shared()
        ),
    ));
    assert_eq!(rows.why(), []);
    assert_eq!(rows.observations.len(), 1, "one chain");
    let row = &rows.observations[0];
    assert_eq!(row.hostname.as_deref(), Some("a.example"));
    assert_eq!(
        (row.dns_answers, row.tcp_success, row.tls_success, row.http_status),
        (Some(1), Some(true), Some(true), Some(200))
    );
    let kinds: Vec<_> = rows.controls.iter().map(|row| row.kind.as_ref()).collect();
    assert_eq!(kinds, ["dns", "tcp", "http"]);
    assert_eq!(rows.controls[2].http_headers.as_deref(), Some("x-odd"));
    assert_eq!(rows.measured().target, "a.example");
}

#[test]
fn web_connectivity_0_5_keeps_each_hop_with_its_own_host() {
    let rows = read(&measurement(
        "web_connectivity",
        r#","input":"http://a.example/""#,
        r#"{"queries":[
             {"transaction_id":5,"engine":"getaddrinfo","hostname":"a.example","answers":[{"ipv4":"192.0.2.1"}],"tags":["classic","depth=0"]},
             {"transaction_id":6,"engine":"getaddrinfo","hostname":"b.example","answers":[{"ipv4":"192.0.2.1"}],"tags":["classic","depth=1"]}],
            "tcp_connect":[
             {"transaction_id":41,"ip":"192.0.2.1","port":80,"status":{"failure":null,"success":true},"tags":["classic","depth=0","fetch_body=true"]},
             {"transaction_id":51,"ip":"192.0.2.1","port":443,"status":{"failure":"connection_reset","success":false},"tags":["classic","depth=1","fetch_body=true"]}],
            "requests":[{"transaction_id":41,"address":"192.0.2.1:80","request":{"url":"http://a.example/"},"response":{"code":302,"headers":{"Location":"https://b.example/"}},"tags":["classic","depth=0","fetch_body=true"]}]}"#,
    ));
    let seen: Vec<_> =
        rows.chains().iter().map(|row| (row.hop, row.hostname.as_deref(), row.dns_lookup)).collect();
    assert_eq!(seen, [(0, Some("a.example"), Some(0)), (1, Some("b.example"), Some(1))]);
}

#[test]
fn urlgetter_dnscheck_and_echcheck_give_their_chains() {
    let urlgetter =
        read(&measurement("urlgetter", r#","input":"https://a.example/""#, &format!("{{{}}}", shared())));
    assert_eq!((urlgetter.observations.len(), urlgetter.measured().target.as_ref()), (1, "a.example"));

    let dnscheck = read(&measurement(
        "dnscheck",
        r#","input":"dot://dns.example:853""#,
        &format!(
            r#"{{"domain":"a.example","bootstrap":{{"queries":[{DNS}]}},"bootstrap_failure":null,"lookups":{{
                "dot://9.9.9.9:853":{{"queries":[{{"engine":"dot","resolver_address":"9.9.9.9:853","hostname":"a.example","query_type":"A","failure":null,"answers":[{{"ipv4":"192.0.2.1"}}]}}],
                   "tcp_connect":[{{"ip":"9.9.9.9","port":853,"t":0.1,"status":{{"failure":null,"success":true}}}},{{"ip":"9.9.9.9","port":853,"t":0.3,"status":{{"failure":null,"success":true}}}}],
                   "tls_handshakes":[{{"server_name":"dns.example","t":0.2,"failure":null}},{{"server_name":"dns.example","t":0.4,"failure":"connection_reset"}}]}}}}}}"#
        ),
    ));
    assert_eq!(dnscheck.why(), []);
    let role = Some("lookups.dot://9.9.9.9:853");
    let handshakes: Vec<_> =
        dnscheck.at("9.9.9.9").iter().map(|row| (row.role.as_deref(), row.tls_success)).collect();
    assert_eq!(handshakes, [(role, Some(true)), (role, Some(false))], "one endpoint, in order of time");
    let lookup = dnscheck.chains().into_iter().find(|row| row.dns_engine.as_deref() == Some("dot")).unwrap();
    assert_eq!((lookup.role.as_deref(), lookup.classic), (role, false));
    assert!(dnscheck.observations.iter().any(|row| row.role.as_deref() == Some("bootstrap")));

    let old = of("echcheck", &format!(r#"{{"control":{TLS},"target":{TLS}}}"#));
    let seen: Vec<_> = old.chains().iter().map(|row| (row.role.as_deref(), row.tls_ech.as_deref())).collect();
    assert_eq!(seen, [(Some("control"), None), (Some("target"), Some("grease"))]);
    let new = of(
        "echcheck",
        r#"{"tls_handshakes":[{"address":"192.0.2.1:443","server_name":"a.example","failure":null},{"address":"192.0.2.1:443","server_name":"a.example","outer_server_name":"outer.example","echconfig":"AEX+DQ==","failure":"connection_reset"}]}"#,
    );
    assert_eq!(new.chains()[1].tls_ech.as_deref(), Some("ech outer.example"));
}

#[test]
fn messengers_give_chains_and_statements() {
    let telegram = of(
        "telegram",
        r#"{"tcp_connect":[{"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true}},{"ip":"192.0.2.1","port":80,"status":{"failure":"generic_timeout_error","success":false}}],
            "requests":[{"request":{"url":"http://192.0.2.1:443/","method":"POST"},"response":{"code":501},"failure":null},
                        {"request":{"url":"http://192.0.2.1/","method":"POST"},"failure":"generic_timeout_error"}],
            "telegram_tcp_blocking":false,"telegram_http_blocking":false,"telegram_web_status":"ok","telegram_web_failure":null}"#,
    );
    assert_eq!(telegram.measured().target, "telegram");
    let seen: Vec<_> =
        telegram.chains().iter().map(|row| (row.port, row.tcp_success, row.http_status)).collect();
    assert_eq!(
        seen,
        [(Some(443), Some(true), Some(501)), (Some(80), Some(false), None)],
        "the URL names the endpoint"
    );
    assert_eq!(telegram.statements().len(), 3);

    let whatsapp = of(
        "whatsapp",
        r#"{"queries":[{"engine":"system","hostname":"e1.example","answers":[{"ipv4":"192.0.2.1"}]},{"engine":"system","hostname":"e2.example","answers":[{"ipv4":"192.0.2.1"}]}],
            "tcp_connect":[{"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true}},{"ip":"192.0.2.1","port":5222,"status":{"failure":null,"success":true}},
                           {"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true}},{"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true}}],
            "whatsapp_endpoints_status":"ok","whatsapp_web_status":"ok","registration_server_status":"ok"}"#,
    );
    let seen: Vec<_> =
        whatsapp.chains().iter().map(|row| (row.hostname.as_deref().unwrap(), row.port.unwrap())).collect();
    assert_eq!(seen, [("e1.example", 443), ("e1.example", 5222), ("e2.example", 443), ("e1.example", 443)]);

    let signal = of(
        "signal",
        &format!(
            r#"{{{},"signal_backend_status":"blocked","signal_backend_failure":"connection_reset"}}"#,
            shared()
        ),
    );
    assert_eq!(signal.statements(), [("backend", Some(false), None)]);
    assert_eq!(signal.chains().len(), 1);
    assert_eq!(
        of("facebook_messenger", r#"{"facebook_stun_dns_consistent":true,"facebook_tcp_blocking":false}"#)
            .statements(),
        [("dns_consistent", Some(true), Some("stun"))]
    );
}

#[test]
fn tunnels_say_how_far_they_came() {
    let vanilla = of(
        "vanilla_tor",
        r#"{"success":false,"error":"timeout-reached","failure":"generic_timeout_error","tor_progress":45,"bootstrap_time":0,"transport_name":"vanilla"}"#,
    );
    assert_eq!(
        vanilla.statements(),
        [("bootstrap", Some(false), Some("vanilla")), ("bootstrap_progress", Some(false), None)]
    );
    assert_eq!(
        (vanilla.observations[0].app_failure, vanilla.observations[1].app_value),
        (Some(Failure::GenericTimeout), Some(45.0))
    );
    let torsf = of("torsf", r#"{"failure":null,"bootstrap_time":12.5,"transport_name":"snowflake"}"#);
    assert_eq!(
        (torsf.observations[0].app_value, torsf.measured().target.as_ref()),
        (Some(12_500_000.0), "tor-snowflake")
    );
    let psiphon = of(
        "psiphon",
        &format!(
            r#"{{"failure":null,"bootstrap_time":1.5,"socksproxy":"127.0.0.1:1080","requests":[{HTTP}]}}"#
        ),
    );
    assert_eq!(psiphon.statements(), [("bootstrap", Some(true), None)]);
    assert_eq!(psiphon.chains()[0].role.as_deref(), Some("tunnel"), "the page came through the tunnel");
    let riseup = of(
        "riseupvpn",
        r#"{"api_status":"blocked","api_failure":"connection_reset","ca_cert_status":true,"failing_gateways":[{"ip":"192.0.2.1","port":443,"transport_type":"openvpn"}]}"#,
    );
    assert_eq!(riseup.statements(), [("api", Some(false), None), ("ca_certificate", Some(true), None)]);
    let tor = of(
        "tor",
        r#"{"targets":{"id":{"target_protocol":"dir_port","target_address":"192.0.2.1:80","failure":null,"tcp_connect":[{"ip":"192.0.2.1","port":80,"status":{"failure":null,"success":true}}],"requests":[{"request":{"url":"http://192.0.2.1/tor/x"},"response":{"code":200}}]}}}"#,
    );
    assert_eq!(
        (tor.chains().len(), tor.chains()[0].role.as_deref(), tor.chains()[0].http_status),
        (1, Some("targets.id"), Some(200))
    );
    let vpn = read(&measurement(
        "openvpn",
        r#","input":"openvpn://provider.corp/?address=192.0.2.7:1194&transport=tcp""#,
        r#"{"success":true,"tcp_connect":[{"ip":"192.0.2.7","port":1194,"status":{"failure":null,"success":true}}],"openvpn_handshake":[{"failure":null,"ip":"192.0.2.7","port":1194,"transport":"tcp","handshake_time":0.5}]}"#,
    ));
    assert_eq!(vpn.measured().target, "provider.corp");
    assert_eq!(vpn.statements(), [("bootstrap", Some(true), None), ("handshake", Some(true), Some("tcp"))]);
    assert_eq!(vpn.observations.last().unwrap().app_value, Some(500_000.0));
    let meek = read(&measurement(
        "meek_fronted_requests_test",
        r#","input":["cdn.example","meek.example"]"#,
        &format!(r#"{{"success":true,"requests":[{HTTP}]}}"#),
    ));
    assert_eq!(
        (meek.measured().target.as_ref(), meek.statements()),
        ("cdn.example", vec![("handshake", Some(true), None)])
    );
}

#[test]
fn pings_give_a_row_each() {
    let quic = r#"{"network":"quic","address":"192.0.2.1:443","server_name":"a.example","failure":"generic_timeout_error"}"#;
    let simple = of(
        "simplequicping",
        &format!(r#"{{"pings":[{{"quic_handshake":{quic}}},{{"quic_handshake":{quic}}}]}}"#),
    );
    assert_eq!(
        simple.chains().iter().map(|row| (row.role.as_deref(), row.transport)).collect::<Vec<_>>(),
        [(Some("pings[0]"), Some(Transport::Quic)), (Some("pings[1]"), Some(Transport::Quic))]
    );
    let tcp = of("tcpping", &format!(r#"{{"pings":[{{"tcp_connect":{TCP}}},{{"tcp_connect":{TCP}}}]}}"#));
    assert_eq!((tcp.chains().len(), tcp.chains()[1].tcp_success), (2, Some(true)));
    let tls = of("tlsping", &format!(r#"{{"pings":[{{"tcp_connect":{TCP},"tls_handshake":{TLS}}}]}}"#));
    assert_eq!(
        (tls.chains().len(), tls.chains()[0].tcp_success, tls.chains()[0].tls_success),
        (1, Some(true), Some(true))
    );
    let dns = of(
        "dnsping",
        r#"{"pings":[{"query":{"engine":"udp","resolver_address":"9.9.9.9:53","hostname":"a.example","query_type":"A","failure":"dns_nxdomain_error"}},{"queries":[{"engine":"udp","hostname":"a.example","answers":[{"answer_type":"AAAA","ivp6":"2001:db8::1"}]}]}]}"#,
    );
    assert_eq!(dns.chains()[0].dns_failure, Some(Failure::DnsNxDomain));
    assert_eq!(dns.chains()[1].ip.as_deref(), Some("2001:db8::1"), "0.1 and 0.2 misspelt the key");
    let quicping = of(
        "quicping",
        r#"{"pings":[{"failure":null,"responses":[{"t":1}]},{"failure":"generic_timeout_error","responses":[]}]}"#,
    );
    assert_eq!((quicping.statements()[0].1, quicping.observations[0].app_value), (Some(true), Some(0.5)));
    let silent = of("quicping", r#"{"pings":[{"failure":null,"responses":null}]}"#);
    assert_eq!(
        (silent.statements()[0].1, silent.observations[0].app_failure),
        (Some(false), Some(Failure::GenericTimeout))
    );
}

#[test]
fn tests_of_names_and_middleboxes_state_what_they_saw() {
    let sni = read(&measurement(
        "sni_blocking",
        r#","input":"blocked.example""#,
        r#"{"control":{"failure":null,"sni":"harmless.example","tcp_connect":[{"conn_id":1,"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true}}],"tls_handshakes":[{"conn_id":1,"failure":null}]},
            "target":{"failure":"connection_reset","sni":"blocked.example","tcp_connect":[{"conn_id":2,"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true}}],"tls_handshakes":[{"conn_id":2,"failure":"connection_reset"}]}}"#,
    ));
    let seen: Vec<_> = sni
        .chains()
        .iter()
        .map(|row| (row.role.as_deref(), row.tls_server_name.as_deref(), row.tls_success))
        .collect();
    assert_eq!(
        seen,
        [
            (Some("control"), Some("harmless.example"), Some(true)),
            (Some("target"), Some("blocked.example"), Some(false))
        ]
    );
    assert_eq!(
        sni.statements(),
        [("sni", Some(true), Some("control")), ("sni", Some(false), Some("target"))]
    );

    let middlebox = of(
        "tlsmiddlebox",
        r#"{"iterative_trace":[{"address":"192.0.2.1:443","control_trace":{"server_name":"a.example","iterations":[{"ttl":1,"handshake":{"failure":"host_unreachable"}},{"ttl":9,"handshake":{"failure":null}}]},
             "target_trace":{"server_name":"b.example","iterations":[{"ttl":1,"handshake":{"failure":"host_unreachable"}},{"ttl":4,"handshake":{"failure":"connection_reset"}}]}}]}"#,
    );
    assert_eq!(
        middlebox.statements(),
        [("ttl_trace", Some(true), Some("control")), ("ttl_trace", Some(false), Some("target"))]
    );
    assert_eq!(
        (middlebox.observations[1].app_value, middlebox.observations[1].ip.as_deref()),
        (Some(4.0), Some("192.0.2.1"))
    );
    let ports = of(
        "portfiltering",
        r#"{"tcp_connect":[{"ip":"192.0.2.1","port":22,"status":{"failure":"connection_refused","success":false}},{"ip":"192.0.2.1","port":"80","status":{"failure":null,"success":true}}]}"#,
    );
    assert_eq!(
        ports.chains().iter().map(|row| (row.port, row.tcp_success)).collect::<Vec<_>>(),
        [(Some(22), Some(false)), (Some(80), Some(true))]
    );
    assert_eq!(ports.measured().target, "ports");
    let hirl = of("http_invalid_request_line", r#"{"sent":["a"],"received":["b"]}"#);
    let hhfm = of(
        "http_header_field_manipulation",
        &format!(r#"{{"tampering":{{"total":false}},"requests":[{HTTP}]}}"#),
    );
    assert_eq!(
        (hirl.statements()[0], hhfm.statements()[0]),
        (("echo", Some(false), None), ("headers", Some(true), None))
    );
    assert_eq!((hirl.measured().target.as_ref(), hhfm.chains().len()), ("http-middlebox", 1));
}

#[test]
fn stunreachability_browser_web_ndt_and_dash_state_results() {
    let stun = read(&measurement(
        "stunreachability",
        r#","input":"stun://stun.example:3478""#,
        &format!(r#"{{"endpoint":"stun.example:3478","failure":null,"queries":[{DNS}]}}"#),
    ));
    assert_eq!(
        (stun.measured().target.as_ref(), stun.statements()),
        ("stun.example", vec![("stun", Some(true), None)])
    );
    assert_eq!(stun.chains()[0].dns_answers, Some(1));
    let browser = read(&measurement(
        "browser_web",
        r#","input":"https://a.example/""#,
        r#"{"result":"ok","load_time_ms":12}"#,
    ));
    assert_eq!(browser.statements(), [("page", Some(true), None)]);
    let ndt = of(
        "ndt",
        r#"{"failure":null,"protocol":7,"summary":{"download":86735.5,"upload":100,"ping":23.1,"mss":1460},"download":[{"Test":"download"}]}"#,
    );
    let units: Vec<_> =
        ndt.observations.iter().map(|row| (row.app.as_deref().unwrap(), row.app_unit.as_deref())).collect();
    assert_eq!(
        units,
        [("speed", None), ("download", Some("kbit_s")), ("upload", Some("kbit_s")), ("ping", Some("ms"))]
    );
    let dash = of(
        "dash",
        r#"{"failure":"generic_timeout_error","simple":{"median_bitrate":1000,"min_playout_delay":0.5}}"#,
    );
    assert_eq!(
        (dash.statements()[0], dash.observations[2].app_unit.as_deref()),
        (("speed", Some(false), None), Some("s"))
    );
}

#[test]
fn tests_of_2012_to_2017_keep_what_they_share() {
    // Every page was asked twice; what came through Tor is the control (ts-001).
    let http = read(&measurement(
        "http_requests",
        r#","input":"http://a.example/""#,
        r#"{"control_failure":null,"requests":[
            {"request":{"url":"http://a.example/","method":"GET","tor":{"is_tor":false}},"failure":"connection_reset"},
            {"request":{"url":"http://a.example/","method":"GET","tor":{"is_tor":true,"exit_ip":"192.0.2.200"}},"response":{"code":200,"body":"<title>A</title>"},"failure":null}]}"#,
    ));
    assert_eq!((http.chains().len(), http.chains()[0].http_failure), (1, Some(Failure::ConnectionReset)));
    let control = &http.controls[0];
    assert_eq!(
        (control.kind.as_ref(), control.http_status, control.http_title.as_deref()),
        ("http", Some(200), Some("A"))
    );
    assert_eq!((control.hostname.as_deref(), http.measured().control.as_ref()), (Some("a.example"), "ok"));

    // The control resolver is no resolver of the machine's (ts-002).
    let dns = read(&measurement(
        "dns_consistency",
        r#","input":"a.example""#,
        r#"{"control_resolver":"9.9.9.9:57004","queries":[
            {"hostname":"a.example","query_type":"A","failure":null,"resolver_hostname":"9.9.9.9","resolver_port":57004,"answers":[{"ipv4":"192.0.2.1"}]},
            {"hostname":"a.example","query_type":"A","failure":null,"resolver_hostname":"10.0.0.1","resolver_port":53,"answers":[{"ipv4":"192.0.2.66"}]}]}"#,
    ));
    let seen: Vec<_> = dns
        .chains()
        .iter()
        .map(|row| (row.classic, row.dns_engine.as_deref(), row.dns_resolver.as_deref()))
        .collect();
    assert_eq!(seen, [(false, Some("udp"), Some("9.9.9.9:57004")), (true, Some("unknown"), None)]);
    assert_eq!(
        of("tcp_connect", r#"{"connection":"success"}"#).statements(),
        [("connect", Some(true), None)]
    );
    assert_eq!(
        of("tcp_connect", r#"{"connection":"connection_refused_error"}"#).observations[0].app_failure,
        Some(Failure::ConnectionRefused)
    );
}

#[test]
fn an_unknown_test_keeps_its_row_and_whatever_it_shares_wherever_that_stands() {
    let rows = of(
        "test_of_tomorrow",
        &format!(
            r#"{{"novel":{{"deep":[{{"er":{{{},"failure":null}}}}]}},"queries":[{DNS}],"flag":true,"score":7}}"#,
            shared()
        ),
    );
    assert_eq!(rows.measured().target, "test_of_tomorrow");
    assert_eq!(rows.observations.len(), 2);
    let nested = rows.observations.iter().find(|row| row.tcp_success.is_some()).unwrap();
    assert_eq!(
        (nested.role.as_deref(), nested.dns_answers, nested.http_status),
        (Some("novel.deep[0].er"), Some(1), Some(200))
    );
    let top = rows.observations.iter().find(|row| row.tcp_success.is_none()).unwrap();
    assert_eq!(
        (top.role.as_deref(), top.dns_answers),
        (None, Some(1)),
        "operations of two places are not mixed"
    );
    let empty = read(
        r#"{"test_name":"x","probe_cc":"RU","probe_asn":"AS1","measurement_start_time":"2026-03-20 10:00:00"}"#,
    );
    assert_eq!(
        (empty.measured().test_name.as_ref(), empty.why()),
        ("x", vec![("test_keys", RejectReason::Missing)])
    );
}
