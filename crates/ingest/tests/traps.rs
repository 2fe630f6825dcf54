//! The traps in OONI's data that concern reading, one named test each. The numbers are those of the table in
//! `docs/traps.md`, which also says where the other traps are tested.

mod reading;

use okno_ingest::host::{self, place};
use okno_ingest::source;
use okno_model::{Asn, Country, Failure, RejectReason, Timestamp, Transport};
use reading::{CERTIFICATE, CERTIFICATE_SHA256, measurement, of, read, web};

#[test]
fn trap_01_ids_bind_endpoint_operations_and_addresses_bind_lookups() {
    // Two resolvers give one address; each connection has its own id; zero and absent are no id.
    let rows = web(r#"{"queries":[
            {"transaction_id":7,"engine":"udp","resolver_address":"9.9.9.9:53","hostname":"www.example.org","query_type":"A","failure":null,"answers":[{"answer_type":"A","ipv4":"192.0.2.1"}]},
            {"transaction_id":3,"engine":"getaddrinfo","hostname":"www.example.org","query_type":"ANY","failure":null,"answers":[{"answer_type":"A","ipv4":"192.0.2.1"}]}],
          "tcp_connect":[
            {"transaction_id":9,"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true}},
            {"transaction_id":8,"ip":"192.0.2.1","port":443,"status":{"failure":"connection_refused","success":false}}],
          "tls_handshakes":[{"transaction_id":9,"address":"192.0.2.1:443","server_name":"www.example.org","failure":"connection_reset"}],
          "requests":[]}"#);
    let chains = rows.chains();
    assert_eq!((chains[0].transaction, chains[1].transaction), (9, 8));
    assert_eq!(chains[0].tls_failure, Some(Failure::ConnectionReset));
    assert_eq!(chains[1].tls_success, None, "the other connection shook no hands");
    // The system's lookup leads to both connections; the other resolver's stands alone.
    assert_eq!((chains[0].dns_lookup, chains[1].dns_lookup), (Some(1), Some(1)));
    assert_eq!((chains[2].dns_lookup, chains[2].tcp_success), (Some(0), None));
    assert_eq!(chains.len(), 3);

    let zero = web(
        r#"{"tcp_connect":[{"transaction_id":0,"ip":"192.0.2.1","port":443,"status":{"success":true,"failure":null}},
                           {"ip":"192.0.2.2","port":443,"status":{"success":true,"failure":null}}],
            "tls_handshakes":[{"transaction_id":0,"address":"192.0.2.2:443","failure":null}]}"#,
    );
    assert_eq!(zero.at("192.0.2.1")[0].tls_success, None, "zero binds nothing");
    assert_eq!(zero.at("192.0.2.2")[0].tls_success, Some(true));
}

#[test]
fn trap_02_redirects_are_newest_first_and_may_be_relative() {
    let rows = web(r#"{"requests":[
            {"request":{"url":"https://www.example.org/b/c","method":"GET"},"response":{"code":200,"body":"x"},"failure":null},
            {"request":{"url":"https://www.example.org/b/","method":"GET"},"response":{"code":302,"headers":{"location":"c"}},"failure":null},
            {"request":{"url":"https://www.example.org/a","method":"GET"},"response":{"code":301,"headers":{"Location":"/b/"}},"failure":null},
            {"request":{"url":"http://www.example.org/a","method":"GET"},"response":{"code":301,"headers":{"Location":"//www.example.org/never"}},"failure":null}]}"#);
    let hops: Vec<_> = rows.chains().iter().map(|row| (row.hop, row.http_status)).collect();
    assert_eq!(hops, [(2, Some(200)), (1, Some(302)), (0, Some(301)), (0, Some(301))]);
    // Probes of 2016 wrote the first URL beside every hop.
    let old = web(r#"{"requests":[
            {"request":{"url":"http://www.example.org/"},"response":{"code":200,"body":"x"}},
            {"request":{"url":"http://www.example.org/"},"response":{"code":302,"headers":{"Location":"https://www.example.org/"}}}]}"#);
    assert_eq!(old.chains().iter().map(|row| row.hop).collect::<Vec<_>>(), [1, 0]);
    // web_connectivity 0.4 tags no handshake: it stands at the hop that asked for its name over TLS.
    let moved = web(
        r#"{"tls_handshakes":[{"address":"192.0.2.1:443","server_name":"www.example.org","failure":"connection_reset"},
            {"address":"192.0.2.1:443","server_name":"other.example.org","failure":null}],"requests":[
            {"failure":"connection_reset","request":{"url":"https://www.example.org/"}},
            {"request":{"url":"http://www.example.org/"},"response":{"code":301,"headers":{"Location":"https://www.example.org/"}}}]}"#,
    );
    let handshakes = moved.chains().into_iter().filter(|row| row.tls_success.is_some()).map(|row| row.hop);
    assert_eq!(handshakes.collect::<Vec<_>>(), [1, 0]);
    // Three tries of one page are no redirects.
    let tries = web(
        r#"{"requests":[{"failure":"connection_reset","request":{"url":"http://www.example.org/"}},{"failure":"connection_reset","request":{"url":"http://www.example.org/"}}]}"#,
    );
    assert_eq!(tries.chains().iter().map(|row| row.hop).collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn trap_03_every_name_of_the_systems_resolver_is_one_engine() {
    for (engine, expected, classic) in [
        (r#""system""#, "system", true),
        (r#""getaddrinfo""#, "system", true),
        (r#""golang_net_resolver""#, "system", true),
        (r#""go""#, "system", true),
        ("null", "unknown", true),
        (r#""udp""#, "udp", false),
        (r#""doh3""#, "doh", false),
        (r#""something""#, "other", false),
    ] {
        let rows = web(&format!(
            r#"{{"queries":[{{"engine":{engine},"resolver_address":"9.9.9.9:53","hostname":"www.example.org","query_type":"ANY","failure":"dns_nxdomain_error","answers":null}}]}}"#
        ));
        let row = &rows.observations[0];
        assert_eq!((row.dns_engine.as_deref(), row.classic), (Some(expected), classic), "{engine}");
        assert_eq!(row.dns_resolver.is_some(), !classic, "the system's own resolver is nobody's business");
        assert_eq!(row.dns_failure, Some(Failure::DnsNxDomain));
    }
    let absent = web(r#"{"queries":[{"hostname":"www.example.org","failure":null,"answers":[]}]}"#);
    assert_eq!(absent.observations[0].dns_engine.as_deref(), Some("unknown"));
}

#[test]
fn trap_04_no_answer_may_stand_beside_an_alias() {
    let rows = web(
        r#"{"queries":[{"engine":"udp","hostname":"www.example.org","query_type":"AAAA","failure":"dns_no_answer","answers":[{"answer_type":"CNAME","hostname":"edge.example.net."}]}]}"#,
    );
    let row = &rows.observations[0];
    assert_eq!(row.dns_failure, Some(Failure::DnsNoAnswer));
    assert_ne!(row.dns_failure, Some(Failure::DnsNxDomain));
    assert_eq!(row.dns_cname.as_deref(), Some("edge.example.net"));
    assert_eq!(row.dns_answers, Some(0));
    // The name itself, which some probes write beside each address, is no alias.
    let own = web(
        r#"{"queries":[{"hostname":"www.example.org","answers":[{"hostname":"www.example.org","ipv4":"192.0.2.1"}]}]}"#,
    );
    assert_eq!(own.observations[0].dns_cname, None);
}

#[test]
fn trap_05_androids_missing_data_keeps_its_own_name() {
    let rows = web(
        r#"{"queries":[{"engine":"system","hostname":"www.example.org","failure":"android_dns_cache_no_data"}]}"#,
    );
    assert_eq!(rows.observations[0].dns_failure, Some(Failure::AndroidDnsCacheNoData));
}

#[test]
fn trap_06_the_control_is_for_the_ascii_name_of_the_input_and_minus_one_is_no_number() {
    let rows = read(&measurement(
        "web_connectivity",
        r#","input":"http://яндекс.рф/""#,
        r#"{"queries":[{"engine":"system","hostname":"xn--d1acpjx3f.xn--p1ai","answers":[{"ipv4":"192.0.2.1"}]}],
            "control":{"dns":{"failure":null,"addrs":["192.0.2.1"]},"tcp_connect":{"192.0.2.1:80":{"status":true,"failure":null}},
            "http_request":{"body_length":-1,"status_code":-1,"failure":"unknown_error","title":"","headers":{}}}}"#,
    ));
    assert_eq!(rows.measured().hostname.as_deref(), Some("xn--d1acpjx3f.xn--p1ai"));
    assert!(rows.controls.iter().all(|row| row.hostname.as_deref() == Some("xn--d1acpjx3f.xn--p1ai")));
    let http = rows.controls.iter().find(|row| row.kind == "http").unwrap();
    assert_eq!((http.http_body_bytes, http.http_status, http.success), (None, None, Some(false)));
    assert_eq!(rows.why(), []);
    assert_eq!(of("tcp_connect", r#"{"control":{"dns":{"addrs":[]}}}"#).measured().control, "none");
}

#[test]
fn trap_07_a_control_handshake_with_an_address_of_its_own_is_kept() {
    let rows = web(r#"{"control":{"dns":{"failure":null,"addrs":["192.0.2.1"]},
            "tcp_connect":{"192.0.2.1:443":{"status":true,"failure":null}},
            "tls_handshake":{"192.0.2.9:443":{"server_name":"www.example.org","status":false,"failure":"ssl_invalid_hostname"},
                             "edge.example.net:443":{"status":true,"failure":null}},
            "http_request":{"status_code":200,"body_length":10,"failure":null,"headers":{},"title":"t"}}}"#);
    let tls: Vec<_> = rows.controls.iter().filter(|row| row.kind == "tls").collect();
    assert_eq!(tls[0].ip.as_deref(), Some("192.0.2.9"));
    assert_eq!((tls[0].success, tls[0].failure), (Some(false), Some(Failure::SslInvalidHostname)));
    assert_eq!((tls[1].ip.as_deref(), tls[1].hostname.as_deref()), (None, Some("edge.example.net")));
    assert_eq!(rows.measured().control, "ok");
}

#[test]
fn trap_08_four_states_of_a_control_are_told_apart() {
    for (keys, state, failure) in [
        ("{}", "absent", None),
        (r#"{"control":null,"control_failure":null}"#, "absent", None),
        (r#"{"control":{},"control_failure":"connection_reset"}"#, "failed", Some(Failure::ConnectionReset)),
        (
            r#"{"control":{"dns":{"addrs":[],"failure":"dns_nxdomain_error"}},"control_failure":null}"#,
            "ok",
            None,
        ),
    ] {
        let rows = web(keys);
        assert_eq!(
            (rows.measured().control.as_ref(), rows.measured().control_failure),
            (state, failure),
            "{keys}"
        );
    }
    assert_eq!(of("telegram", "{}").measured().control, "none");
}

#[test]
fn trap_09_binary_values_are_decoded_and_bad_base64_costs_only_itself() {
    let rows = web(r#"{"requests":[
            {"request":{"url":"http://www.example.org/"},"failure":null,"response":{"code":200,
              "body":{"format":"base64","data":"PHRpdGxlPkJsb2NrZWQ8L3RpdGxlPg=="},
              "headers_list":[["Server",{"format":"base64","data":"bmdpbng="}],[{"format":"base64","data":"WC1PZGQ="},"1"]]}},
            {"request":{"url":"http://www.example.org/2"},"failure":null,"response":{"code":201,"body":{"format":"base64","data":"abc"}}}]}"#);
    let chains = rows.chains();
    assert_eq!(chains[0].http_title.as_deref(), Some("Blocked"));
    assert_eq!(chains[0].http_body_bytes, Some(22));
    assert_eq!(chains[0].http_server.as_deref(), Some("nginx"));
    assert_eq!(chains[0].http_headers.as_deref(), Some("x-odd"));
    assert_eq!((chains[1].http_status, chains[1].http_body_bytes), (Some(201), None));
    assert_eq!(rows.why(), [("test_keys.requests[1].response.body", RejectReason::InvalidBase64)]);
}

#[test]
fn trap_10_the_list_of_headers_is_authoritative_and_names_have_no_case() {
    let list = r#""headers_list":[["LOCATION","/list"],["x-b","1"],["X-A",["1","2"]]]"#;
    let map = r#""headers":{"Location":"/map","X-C":"1"}"#;
    for response in [format!("{list},{map}"), format!("{map},{list}")] {
        let rows = web(&format!(
            r#"{{"requests":[{{"request":{{"url":"http://www.example.org/"}},"response":{{"code":302,{response}}}}}]}}"#
        ));
        let row = &rows.observations[0];
        assert_eq!(row.http_location.as_deref(), Some("/list"), "{response}");
        assert!(row.http_headers.as_deref().unwrap().starts_with("x-a x-b"), "{response}");
    }
    // 2012–2016: a list of pairs under `headers`, the value a list.
    let old = web(
        r#"{"requests":[{"request":{"url":"http://www.example.org/"},"response":{"code":301,"headers":[["Location",["http://portal.example/"]],["Server",["x"]]]}}]}"#,
    );
    assert_eq!(old.observations[0].http_location.as_deref(), Some("http://portal.example/"));
    assert_eq!(old.observations[0].http_server.as_deref(), Some("x"));
}

#[test]
fn trap_11_every_form_of_a_failure_is_understood() {
    for (written, success, failure) in [
        ("null", Some(true), None),
        (r#""connection_reset""#, Some(false), Some(Failure::ConnectionReset)),
        ("false", None, None),
        ("true", Some(false), Some(Failure::Unknown)),
        (r#""""#, Some(false), Some(Failure::Unknown)),
        (
            r#""unknown_failure: dial tcp [scrubbed]: connectex: Es konnte keine Verbindung hergestellt werden, da der Zielcomputer die Verbindung verweigerte.""#,
            Some(false),
            Some(Failure::ConnectionRefused),
        ),
    ] {
        let rows =
            web(&format!(r#"{{"tls_handshakes":[{{"address":"192.0.2.1:443","failure":{written}}}]}}"#));
        let row = &rows.observations[0];
        assert_eq!((row.tls_success, row.tls_failure), (success, failure), "{written}");
    }
    let odd = web(r#"{"tls_handshakes":[{"address":"192.0.2.1:443","failure":7}]}"#);
    assert_eq!(odd.observations[0].tls_success, None);
    assert_eq!(odd.why(), [("test_keys.tls_handshakes[0].failure", RejectReason::WrongType)]);
}

#[test]
fn trap_12_a_scrubbed_address_is_there_and_hidden() {
    let rows = read(&measurement(
        "web_connectivity",
        r#","input":"https://www.example.org/","resolver_ip":"[scrubbed]","resolver_asn":"AS0""#,
        r#"{"client_resolver":"203.0.113.77","tcp_connect":[{"ip":"[scrubbed]","port":443,"status":{"failure":null,"success":true}}],
            "tls_handshakes":[{"address":"[scrubbed]:443","failure":null}]}"#,
    ));
    let row = &rows.observations[0];
    assert_eq!((row.ip.as_deref(), row.ip_is_bogon, row.tcp_success), (Some("[scrubbed]"), None, Some(true)));
    assert_eq!(row.tls_success, Some(true));
    let measured = rows.measured();
    assert!(measured.resolver_scrubbed);
    assert_eq!(measured.resolver_network, None);
    assert_eq!(rows.why(), []);
    assert_eq!(host::endpoint("[scrubbed]:443").unwrap().1, Some(443));
}

#[test]
fn trap_13_an_input_may_be_text_list_null_or_absent() {
    for (input, expected, target) in [
        (r#","input":"http://www.example.org/""#, Some("http://www.example.org/"), "www.example.org"),
        (
            r#","input":["ajax.example.com","meek.example.net"]"#,
            Some("ajax.example.com meek.example.net"),
            "ajax.example.com",
        ),
        (r#","input":null"#, None, "meek_fronted_requests_test"),
        ("", None, "meek_fronted_requests_test"),
        (r#","input":7"#, None, "meek_fronted_requests_test"),
    ] {
        let rows = read(&measurement("meek_fronted_requests_test", input, "{}"));
        assert_eq!(rows.measured().input.as_deref(), expected, "{input}");
        assert_eq!(rows.measured().target, target, "{input}");
    }
}

#[test]
fn trap_14_ids_of_every_kind_are_kept_and_absent_ones_made_from_the_content() {
    let uid = |uid: &str| {
        let text = measurement("telegram", &format!(r#","measurement_uid":{uid}"#), "{}");
        let rows = read(&text);
        (rows.measured().measurement_uid.to_string(), rows.measured().upload_utc)
    };
    let (kept, upload) = uid(r#""20260101T020304.123456_RU_telegram_0123456789abcdef""#);
    assert_eq!(kept, "20260101T020304.123456_RU_telegram_0123456789abcdef");
    assert_eq!(upload, Timestamp::parse("2026-01-01 02:03:04"));
    assert_eq!(uid(r#""20260101020304.123456_RU_telegram_0123456789abcdef""#).1, upload);
    // The hash form of the old archive begins with 01 and carries no time.
    assert_eq!(uid(r#""01202007106531b7e19c05e300cacea8803d9f9c""#).1, None);
    let (made, none) = uid(r#""""#);
    assert!(made.starts_with('x') && none.is_none());
    assert_eq!(uid("null").0, made, "the same content gives the same id");
    assert_ne!(read(&measurement("telegram", "", r#"{"a":1}"#)).measured().measurement_uid, made);
}

#[test]
fn trap_15_the_probes_clock_and_the_collectors_are_two_columns() {
    let rows = read(&measurement(
        "telegram",
        r#","measurement_uid":"20260321000001.5_RU_telegram_00""#,
        r#"{"tcp_connect":[{"ip":"192.0.2.1","port":443,"t0":1.25,"t":1.5,"status":{"failure":null,"success":true}}]}"#,
    ));
    let measured = rows.measured();
    assert_eq!(measured.start_utc, Timestamp::parse("2026-03-20 10:00:00").unwrap());
    assert_eq!(measured.upload_utc, Timestamp::parse("2026-03-21 00:00:01"));
    assert_eq!(rows.observations[0].start_utc.micros(), measured.start_utc.micros() + 1_250_000);
    assert_eq!(rows.observations[0].tcp_us, Some(250_000));
    // Legacy reports have seconds; an unreadable time is said to be so.
    let legacy = read(
        r#"{"test_name":"tcp_connect","probe_cc":"RU","probe_asn":"AS1","start_time":1407420650.5,"test_keys":{}}"#,
    );
    assert_eq!(legacy.measured().start_utc.date(), "2014-08-07");
    let odd = read(
        r#"{"test_name":"tcp_connect","probe_cc":"RU","probe_asn":"AS1","measurement_start_time":"soon","test_keys":{}}"#,
    );
    assert_eq!(odd.why(), [("measurement_start_time", RejectReason::InvalidTime)]);
}

#[test]
fn trap_17_as0_and_zz_are_unknown_and_kept() {
    for (asn, cc, network, why) in [
        (r#""AS0""#, r#""ZZ""#, Asn::UNKNOWN, vec![]),
        (r#""AS64512""#, r#""ru""#, Asn(64512), vec![]),
        ("12389", r#""RU""#, Asn(12389), vec![]),
        ("null", r#""RU""#, Asn::UNKNOWN, vec![("probe_asn", RejectReason::Missing)]),
        (
            r#""twelve""#,
            r#""Russia""#,
            Asn::UNKNOWN,
            vec![("probe_cc", RejectReason::WrongType), ("probe_asn", RejectReason::WrongType)],
        ),
    ] {
        let rows = read(&format!(
            r#"{{"test_name":"signal","probe_cc":{cc},"probe_asn":{asn},"measurement_start_time":"2026-03-20 10:00:00","test_keys":{{}}}}"#
        ));
        assert_eq!((rows.measured().network, rows.why()), (network, why), "{asn} {cc}");
    }
    assert_eq!(read(&measurement("signal", "", "{}")).measured().country, Country::parse("RU").unwrap());
}

#[test]
fn trap_18_success_without_verification_is_marked() {
    let rows = web(r#"{"tls_handshakes":[
            {"address":"192.0.2.1:443","no_tls_verify":true,"failure":null},
            {"address":"192.0.2.2:443","no_tls_verify":false,"failure":"ssl_unknown_authority"}]}"#);
    assert_eq!((rows.observations[0].tls_success, rows.observations[0].tls_unverified), (Some(true), true));
    assert_eq!((rows.observations[1].tls_success, rows.observations[1].tls_unverified), (Some(false), false));
    assert!(rows.observations[1].tls_failure.unwrap().is_certificate());
}

#[test]
fn trap_19_the_leaf_comes_first_and_is_read_from_its_der() {
    for certificates in [
        format!(r#"[{{"format":"base64","data":"{CERTIFICATE}"}},{{"format":"base64","data":"AAAA"}}]"#),
        format!(r#"["{CERTIFICATE}","AAAA"]"#),
    ] {
        let rows = web(&format!(
            r#"{{"tls_handshakes":[{{"address":"192.0.2.1:443","server_name":"www.example.org","failure":null,"peer_certificates":{certificates}}}]}}"#
        ));
        let row = &rows.observations[0];
        assert_eq!(row.cert_sha256.as_deref(), Some(CERTIFICATE_SHA256));
        assert_eq!((row.cert_chain, row.cert_matches_name), (Some(2), Some(true)));
        assert_eq!(row.cert_subject.as_deref(), Some("www.example.org"));
        assert_eq!(row.cert_not_after_utc, Timestamp::parse("2036-11-19 10:40:33"));
    }
    let odd = web(
        r#"{"tls_handshakes":[{"address":"192.0.2.1:443","failure":null,"peer_certificates":[{"format":"base64","data":"AAAA"}]}]}"#,
    );
    assert_eq!(
        odd.why(),
        [("test_keys.tls_handshakes[0].peer_certificates[0]", RejectReason::InvalidCertificate)]
    );
    assert_eq!(odd.observations[0].tls_success, Some(true));
}

#[test]
fn trap_20_quic_and_tcp_handshakes_with_one_address_stay_apart() {
    let rows = web(
        r#"{"tcp_connect":[{"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true}}],
            "tls_handshakes":[{"network":"tcp","address":"192.0.2.1:443","server_name":"www.example.org","failure":"connection_reset"},
                              {"network":"quic","address":"192.0.2.1:443","server_name":"www.example.org","failure":null}],
            "quic_handshakes":[{"network":"udp","transaction_id":5,"address":"192.0.2.1:443","server_name":"www.example.org","failure":"generic_timeout_error"}],
            "network_events":[{"transaction_id":5,"operation":"write_to","num_bytes":1200,"t":0.1,"failure":null},
                              {"transaction_id":5,"operation":"read_from","num_bytes":80,"t":0.2,"failure":null}]}"#,
    );
    let seen: Vec<_> =
        rows.chains().iter().map(|row| (row.transport, row.tls_success, row.tcp_success)).collect();
    assert_eq!(
        seen,
        [
            (Some(Transport::Tcp), Some(false), Some(true)),
            (Some(Transport::Quic), Some(true), None),
            (Some(Transport::Quic), Some(false), None)
        ]
    );
    assert_eq!((rows.chains()[2].tx_bytes, rows.chains()[2].rx_bytes), (Some(1200), Some(80)));
}

#[test]
fn trap_21_events_without_ids_belong_to_the_connect_before_them() {
    // web_connectivity 0.4 of 2021: no ids, no address beside handshakes and reads; one connection a run.
    let rows = web(
        r#"{"tcp_connect":[{"ip":"192.0.2.1","port":443,"t":0.34,"status":{"failure":null,"success":true}},
                           {"ip":"192.0.2.2","port":443,"t":0.35,"status":{"failure":null,"success":true}},
                           {"ip":"192.0.2.3","port":443,"t":0.36,"status":{"failure":"connection_refused","success":false}}],
            "tls_handshakes":[{"server_name":"www.example.org","t":0.48,"failure":null},
                              {"server_name":"www.example.org","t":0.47,"failure":"connection_reset"}],
            "network_events":[
              {"operation":"connect","address":"192.0.2.1:443","proto":"tcp","t":0.34,"failure":null},
              {"operation":"tls_handshake_start","t":0.341,"failure":null},
              {"operation":"write","num_bytes":286,"t":0.342,"failure":null},
              {"operation":"read","num_bytes":517,"t":0.44,"failure":null},
              {"operation":"read","num_bytes":5212,"t":0.46,"failure":null},
              {"operation":"tls_handshake_done","t":0.48,"failure":null},
              {"operation":"connect","address":"192.0.2.2:443","proto":"tcp","t":0.35,"failure":null},
              {"operation":"tls_handshake_start","t":0.351,"failure":null},
              {"operation":"write","num_bytes":286,"t":0.352,"failure":null},
              {"operation":"read","num_bytes":0,"t":0.47,"failure":"connection_reset"},
              {"operation":"tls_handshake_done","t":0.47,"failure":"connection_reset"},
              {"operation":"connect","address":"192.0.2.3:443","proto":"tcp","t":0.36,"failure":"connection_refused"}]}"#,
    );
    assert_eq!(rows.chains().len(), 3);
    let (first, second, third) = (rows.at("192.0.2.1")[0], rows.at("192.0.2.2")[0], rows.at("192.0.2.3")[0]);
    assert_eq!(
        (first.tls_success, first.rx_bytes, first.rx_reads, first.rx_us),
        (Some(true), Some(5729), Some(2), Some(20_000))
    );
    assert_eq!(
        (second.tls_failure, second.rx_bytes, second.tx_bytes),
        (Some(Failure::ConnectionReset), Some(0), Some(286))
    );
    // Nothing is known of bytes where neither a read nor a write was recorded: not zero bytes.
    assert_eq!((third.tcp_success, third.rx_bytes, third.tx_bytes), (Some(false), None, None));
    assert_eq!(third.last_operation.as_deref(), Some("connect connection_refused"));
}

#[test]
fn trap_21_cumulative_snapshots_are_the_evidence_of_throttling() {
    let rows = web(
        r#"{"tcp_connect":[{"transaction_id":4,"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true}}],
            "network_events":[
              {"transaction_id":4,"operation":"bytes_received_cumulative","num_bytes":1000,"t":0.25,"failure":null},
              {"transaction_id":4,"operation":"bytes_received_cumulative","num_bytes":1000,"t":0.5,"failure":null},
              {"transaction_id":4,"operation":"bytes_received_cumulative","num_bytes":3000,"t":1.25,"failure":null},
              {"transaction_id":4,"operation":"read","num_bytes":500,"t":0.2,"failure":null}]}"#,
    );
    let row = &rows.observations[0];
    assert_eq!((row.rx_bytes, row.rx_us, row.rx_gap_us), (Some(3000), Some(1_050_000), Some(1_000_000)));
}

#[test]
fn trap_22_ok_is_a_success_in_browser_web_and_no_failure() {
    let good = of("browser_web", r#"{"result":"ok","load_time_ms":357.4}"#);
    assert_eq!(good.statements(), [("page", Some(true), None)]);
    assert_eq!((good.observations[0].app_failure, good.observations[0].app_value), (None, Some(357.4)));
    let bad = of("browser_web", r#"{"result":"net::ERR_CONNECTION_RESET"}"#);
    assert_eq!(bad.statements(), [("page", Some(false), None)]);
    assert!(bad.observations[0].app_failure.is_some());
}

#[test]
fn trap_23_bodies_are_measured_by_their_decoded_bytes_and_never_kept() {
    let body = "<html><TITLE>\\n Доступ   ограничен </TITLE>secret-of-the-body</html>";
    let text = measurement(
        "web_connectivity",
        r#","input":"http://www.example.org/""#,
        &format!(
            r#"{{"requests":[{{"request":{{"url":"http://www.example.org/"}},"response":{{"code":200,"body_is_truncated":true,"body":"{body}"}}}}]}}"#
        ),
    );
    let rows = read(&text);
    let row = &rows.observations[0];
    let decoded = body.replace("\\n", "\n");
    assert_eq!(row.http_body_bytes, Some(decoded.len() as u64));
    assert_eq!(
        row.http_body_hash.as_deref(),
        Some(format!("{:032x}", xxhash_rust::xxh3::xxh3_128(decoded.as_bytes())).as_str())
    );
    assert_eq!(row.http_title.as_deref(), Some("Доступ ограничен"));
    assert_eq!(row.http_body_truncated, Some(true));
    assert!(!format!("{row:?}").contains("secret-of-the-body"));
}

#[test]
fn trap_24_the_probes_own_verdict_is_kept_as_written_and_nothing_more() {
    for (keys, blocking, accessible) in [
        (r#"{"blocking":false,"accessible":true}"#, Some("false"), Some(true)),
        (r#"{"blocking":"http-diff","accessible":false}"#, Some("http-diff"), Some(false)),
        (r#"{"blocking":null,"accessible":null}"#, None, None),
        ("{}", None, None),
    ] {
        let rows = web(keys);
        assert_eq!(
            (rows.measured().probe_blocking.as_deref(), rows.measured().probe_accessible),
            (blocking, accessible)
        );
    }
}

#[test]
fn trap_25_tags_say_classic_depth_and_fetch_body() {
    let rows = web(
        r#"{"queries":[{"engine":"getaddrinfo","hostname":"www.example.org","answers":[{"ipv4":"192.0.2.1"}],"tags":["classic","depth=0"]},
                       {"engine":"doh","hostname":"www.example.org","answers":[{"ipv4":"192.0.2.2"}],"tags":["depth=0"]}],
            "tcp_connect":[
              {"transaction_id":1,"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true},"tags":["classic","depth=0","fetch_body=true"]},
              {"transaction_id":2,"ip":"192.0.2.2","port":443,"status":{"failure":null,"success":true},"tags":["depth=0","fetch_body=false"]},
              {"transaction_id":3,"ip":"192.0.2.9","port":443,"status":{"failure":"connection_reset","success":false},"tags":["classic","depth=1","fetch_body=true","depth=bad"]}]}"#,
    );
    let of = |ip: &str| {
        let row = rows.at(ip)[0];
        (row.classic, row.fetch_body, row.hop)
    };
    assert_eq!(of("192.0.2.1"), (true, Some(true), 0));
    assert_eq!(of("192.0.2.2"), (false, Some(false), 0));
    assert_eq!(rows.at("192.0.2.9")[0].fetch_body, Some(true));
}

#[test]
fn trap_28_the_families_of_an_address_are_lookups_of_their_own() {
    let rows = web(
        r#"{"queries":[{"engine":"system","query_type":"A","hostname":"www.example.org","failure":null,"answers":[{"ipv4":"192.0.2.1"},{"ipv4":"192.0.2.2"}]},
                       {"engine":"system","query_type":"AAAA","hostname":"www.example.org","failure":"dns_no_answer","answers":null}]}"#,
    );
    let seen: Vec<_> =
        rows.chains().iter().map(|row| (row.dns_lookup, row.dns_answers, row.dns_failure)).collect();
    assert_eq!(
        seen,
        [(Some(0), Some(2), None), (Some(0), Some(2), None), (Some(1), Some(0), Some(Failure::DnsNoAnswer))]
    );
}

#[test]
fn trap_30_layouts_and_names_of_every_age_are_inputs() {
    for name in [
        "raw/20260101/10/RU/webconnectivity/2026010110_RU_webconnectivity.n0.0.jsonl.gz",
        "jsonl/telegram/RU/20200921/00/20200921_RU_telegram.l.0.jsonl.gz",
        "20200921_IT_webconnectivity.l.2.jsonl.gz",
        "can.tar.gz",
        "can.tar.lz4",
        "2018-01-01/report.json.lz4",
    ] {
        assert!(source::shape_of(name.as_ref()).is_some(), "{name}");
    }
    assert_eq!(read(&measurement("webconnectivity", "", "{}")).measured().test_name, "web_connectivity");
    assert_eq!(read(&measurement("stun_reachability", "", "{}")).measured().test_name, "stunreachability");
}

#[test]
fn trap_31_every_version_of_the_format_is_read_and_recorded() {
    for (version, expected) in [(r#""0.2.0""#, "0.2.0"), (r#""0.4.0""#, "0.4.0"), ("0.1", "0.1")] {
        let rows = read(&measurement("telegram", &format!(r#","data_format_version":{version}"#), "{}"));
        assert_eq!(rows.measured().data_format_version.as_deref(), Some(expected));
        assert_eq!(rows.why(), []);
    }
}

#[test]
fn trap_32_annotations_may_be_anything_and_unknown_keys_are_no_fault() {
    let rows = read(&measurement(
        "telegram",
        r#","annotations":{"platform":"android","network_type":7,"engine_name":null,"origin":{"x":[1]},"engine_version":"3.20.0"},"x_new":{"a":[1,{"b":null}]},"options":null"#,
        r#"{"x_key":[[[]]],"tcp_connect":null,"queries":null,"requests":null}"#,
    ));
    let measured = rows.measured();
    assert_eq!((measured.platform.as_deref(), measured.network_type.as_deref()), (Some("android"), None));
    assert_eq!((measured.engine_name.as_deref(), measured.engine_version.as_deref()), (None, Some("3.20.0")));
    assert_eq!(rows.why(), []);
    assert_eq!(read(&measurement("telegram", r#","annotations":null"#, "{}")).why(), []);
}

#[test]
fn trap_33_test_helpers_of_both_shapes_cost_nothing() {
    for helpers in [
        r#"{"backend":"https://0.th.example/"}"#,
        r#"{"backend":{"address":"https://0.th.example/","type":"https"}}"#,
        "null",
    ] {
        let rows = read(&measurement(
            "web_connectivity",
            &format!(r#","input":"http://www.example.org/","test_helpers":{helpers}"#),
            "{}",
        ));
        assert_eq!(rows.why(), [], "{helpers}");
    }
}

#[test]
fn trap_34_tor_openvpn_and_stun_fail_in_their_own_ways() {
    let tor = of(
        "tor",
        r#"{"targets":{
            "192.0.2.1:9001":{"target_protocol":"or_port_dirauth","target_address":"192.0.2.1:9001","failure":null,"summary":{"connect":{"failure":null}}},
            "hidden":{"target_protocol":"obfs4","target_address":"[scrubbed]","failure":"generic_timeout_error"},
            "unrun":{"target_protocol":"obfs4","failure":false}}}"#,
    );
    assert_eq!(
        tor.statements(),
        [("target", Some(true), Some("or_port_dirauth")), ("target", Some(false), Some("obfs4"))]
    );
    assert_eq!(
        (tor.observations[0].ip.as_deref(), tor.observations[0].port),
        (Some("192.0.2.1"), Some(9001))
    );
    let vpn = of(
        "openvpn",
        r#"{"success":false,"failure":null,"openvpn_handshake":[{"failure":"generic_timeout_error","ip":"192.0.2.7","port":1194,"transport":"udp"}]}"#,
    );
    assert_eq!(vpn.statements(), [("bootstrap", Some(false), None), ("handshake", Some(false), Some("udp"))]);
    assert_eq!(vpn.observations[1].ip.as_deref(), Some("192.0.2.7"));
    let stun =
        of("stunreachability", r#"{"endpoint":"stun.example:3478","failure":"generic_timeout_error"}"#);
    assert_eq!(stun.statements(), [("stun", Some(false), None)]);
    assert_eq!(stun.measured().target, "stun.example");
}

#[test]
fn trap_35_null_flags_of_messengers_state_nothing() {
    let telegram = of(
        "telegram",
        r#"{"telegram_tcp_blocking":null,"telegram_http_blocking":true,"telegram_web_status":"blocked","telegram_web_failure":"connection_reset"}"#,
    );
    assert_eq!(telegram.statements(), [("web", Some(false), None), ("endpoints_http", Some(false), None)]);
    assert_eq!(telegram.observations[0].app_failure, Some(Failure::ConnectionReset));
    let whatsapp = of(
        "whatsapp",
        r#"{"whatsapp_web_status":"ok","registration_server_status":"blocked","registration_server_failure":null,"whatsapp_endpoints_status":null}"#,
    );
    assert_eq!(whatsapp.statements(), [("web", Some(true), None), ("registration", Some(false), None)]);
    let facebook = of(
        "facebook_messenger",
        r#"{"facebook_edge_dns_consistent":null,"facebook_edge_reachable":null,"facebook_star_dns_consistent":true,"facebook_star_reachable":false}"#,
    );
    assert_eq!(
        facebook.statements(),
        [("dns_consistent", Some(true), Some("star")), ("reachable", Some(false), Some("star"))]
    );
}

#[test]
fn trap_37_altered_request_lines_and_headers_are_stated_by_kind() {
    let same = of(
        "http_invalid_request_line",
        r#"{"sent":["XjK5 / HTTP/1.1\n\r","GET / HTTP/gmq\n\r"],"received":["XjK5 / HTTP/1.1\n\r","GET / HTTP/gmq\n\r"],"tampering":false}"#,
    );
    assert_eq!(same.statements(), [("echo", Some(true), None)]);
    let altered = of(
        "http_invalid_request_line",
        r#"{"sent":["a","b","c"],"received":["a",{"format":"base64","data":"AAEC"},""]}"#,
    );
    assert_eq!(altered.statements(), [("echo", Some(false), None)]);
    assert_eq!(altered.observations[0].app_value, Some(1.0), "an empty answer is a failed connection");
    let silent = of("http_invalid_request_line", r#"{"sent":["a"],"received":[""]}"#);
    assert_eq!(silent.statements(), [("echo", None, None)]);
    let headers = of(
        "http_header_field_manipulation",
        r#"{"tampering":{"total":true,"header_field_name":false,"header_field_number":null,"header_name_diff":["X"]}}"#,
    );
    assert_eq!(headers.statements(), [("headers", Some(false), None), ("header_name_set", Some(true), None)]);
}

#[test]
fn trap_39_a_probe_id_is_never_kept() {
    let rows = read(&measurement("telegram", r#","probe_id":"a1b2c3d4e5f6a7b8""#, "{}"));
    let all = format!("{:?}{:?}", rows.measurement, rows.observations);
    assert!(!all.contains("a1b2c3d4"), "views of single persons are not built");
}

#[test]
fn trap_41_one_parser_reads_every_input() {
    for (input, hostname) in [
        ("http://User:pw@Example.ORG.:80/a?b#c", Some("example.org")),
        ("https://[2001:DB8::1]:8443/", Some("2001:db8::1")),
        ("https://bücher.example/", Some("xn--bcher-kva.example")),
        ("http://192.0.2.1:8080", Some("192.0.2.1")),
        ("www.example.org:443", Some("www.example.org")),
        ("dot://dns.example:853", Some("dns.example")),
        ("stun://stun.example:3478", Some("stun.example")),
        ("no host at all", None),
    ] {
        let rows = read(&measurement("urlgetter", &format!(r#","input":"{input}""#), "{}"));
        assert_eq!(rows.measured().hostname.as_deref(), hostname, "{input}");
    }
    assert_eq!(
        place("//cdn.example/x", Some("https://www.example.org/")).unwrap().url,
        "https://cdn.example/x"
    );
}

#[test]
fn trap_42_a_resubmission_shows_by_its_id_or_by_its_content() {
    let keys = r#"{"tcp_connect":[{"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true}}]}"#;
    let first = read(&measurement("telegram", r#","report_id":"r1""#, keys));
    let again = read(&measurement("telegram", r#","report_id":"r1","annotations":{"x":"y"}"#, keys));
    let other = read(&measurement("telegram", r#","report_id":"r2""#, keys));
    assert_eq!(first.measured().measurement_uid, again.measured().measurement_uid);
    assert_eq!(first.measured().content_hash, again.measured().content_hash);
    assert_ne!(first.measured().measurement_uid, other.measured().measurement_uid);
    let uid = r#","measurement_uid":"20260101T020304.1_RU_telegram_aa""#;
    let named = read(&measurement("telegram", uid, keys));
    assert_eq!(
        named.measured().content_hash,
        first.measured().content_hash,
        "the content is the same under any id"
    );
}

/// The words between backticks of a text.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_table_of_traps_has_a_row_for_each_and_names_tests_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = std::fs::read_to_string(root.join("docs/traps.md")).expect("docs/traps.md is there");
    let mut number = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")) {
        number += 1;
        let cells: Vec<&str> = row.split(" | ").collect();
        assert_eq!(cells[0].trim_start_matches("| "), number.to_string(), "{row}");
        let mut file = "crates/ingest/tests/traps.rs";
        let mut tests = 0;
        for word in quoted(cells[3]) {
            if word.ends_with(".rs") {
                file = word;
                continue;
            }
            tests += 1;
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            assert!(text.contains(&format!("fn {word}()")), "trap {number}: {file} has no test {word}");
            file = "crates/ingest/tests/traps.rs";
        }
        assert!(tests > 0, "trap {number} names no test");
    }
    assert_eq!(number, 42);
}

#[test]
fn a_lookup_failure_that_stands_beside_the_list_of_lookups_is_a_row() {
    for queries in
        ["[]", "null", r#"[{"hostname":"www.example.org","query_type":"A","failure":null,"answers":[]}]"#]
    {
        let rows = web(&format!(r#"{{"queries":{queries},"dns_experiment_failure":"dns_name_error"}}"#));
        let failed: Vec<_> = rows.observations.iter().filter(|row| row.dns_failure.is_some()).collect();
        assert_eq!(failed.len(), 1, "{queries}");
        assert_eq!(failed[0].dns_failure, Some(Failure::DnsNxDomain));
        assert_eq!(failed[0].hostname.as_deref(), Some("www.example.org"));
    }
    let told = web(
        r#"{"queries":[{"hostname":"www.example.org","failure":"dns_nxdomain_error","answers":null}],"dns_experiment_failure":"dns_nxdomain_error"}"#,
    );
    assert_eq!(told.observations.len(), 1, "what the list tells is not told twice");
}

#[test]
fn a_line_that_breaks_before_it_names_the_probes_address_keeps_nothing_that_could_tell_it() {
    let whole = r#"{"test_name":"web_connectivity","probe_cc":"RU","probe_asn":"AS1","measurement_start_time":"2026-01-01 00:00:00","input":"http://a.example/","test_keys":{"queries":[{"engine":"system","hostname":"198-51-100-77.pool.example","failure":null,"answers":[{"answer_type":"A","ipv4":"198.51.100.77"}]}],"requests":[]},"probe_ip":"198.51.100.77"}"#;
    let tells = |rows: &reading::Rows| {
        rows.observations.iter().any(|row| {
            let texts = [&row.hostname, &row.ip, &row.http_url];
            texts.into_iter().flatten().any(|text| text.contains("198") && text.contains("77"))
        })
    };
    assert!(!tells(&read(whole)));
    for end in 150..whole.len() {
        if whole.is_char_boundary(end) {
            let rows = read(&whole[..end]);
            assert!(!tells(&rows), "cut at {end}");
            assert!(!rows.rejects.is_empty());
        }
    }
    let odd = whole.replace(r#""requests":[]"#, r#""requests":[@]"#);
    assert!(!tells(&read(&odd)), "the address behind the break is found");
}
