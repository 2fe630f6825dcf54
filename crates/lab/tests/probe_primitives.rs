//! The probe's primitives against the lab's servers, resolvers and boxes.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use core::time::Duration;
use std::sync::Arc;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use okno_lab::probe::{Bench, LabNet, Server};
use okno_lab::services::dns::NameRule;
use okno_lab::services::web::Web;
use okno_model::Failure;
use okno_probe::dns::{self, RecordType, Resolver};
use okno_probe::experiment::Context;
use okno_probe::http::{self, Answer, Request, Via};
use okno_probe::net::{self, Dial, Net as _, UdpSetup};
use okno_probe::quic::{self, FirstInitial, QuicCame, QuicOptions};
use okno_probe::tcp::{self, Flow};
use okno_probe::tls::{self, Came, Ech, Sni, TlsOptions, Versions};
use okno_probe::trace::{Scope, Trace};
use okno_wire::Endpoint;
use rustls::ServerConfig;

fn scope(context: &Context) -> Scope {
    Scope::new(context, &Trace::new(context), &["depth=0"])
}

async fn connect(scope: &Scope, remote: Endpoint) -> Flow {
    tcp::connect(scope, Dial::to(remote)).await.unwrap()
}

/// Serves HTTP of both versions over TLS: it answers with what it was asked.
fn serve_mirror(bench: &mut Bench, server: Server, port: u16, config: Arc<ServerConfig>) {
    let ground = bench.probe().tls();
    bench.serve(server, move |net| async move {
        let world = LabNet::new(net, None, ground).world();
        let any = "0.0.0.0".parse().unwrap();
        let mut listener = world.listen(Endpoint { ip: any, port }).unwrap();
        while let Ok(stream) = listener.accept().await {
            let Ok(stream) = tls::accept(stream, config.clone()).await else { continue };
            let http2 = stream.alpn() == "h2";
            let answer = |asked: http::Asked| async move {
                let headers = asked.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
                let body = format!("{} {} {}", asked.method, asked.target, headers.join(","));
                let headers =
                    [("server", "mirror"), ("x-two-words", "b")].map(|(n, v)| (n.to_owned(), v.to_owned()));
                Answer {
                    code: 200,
                    headers: headers.to_vec(),
                    body: [body.into_bytes(), asked.body].concat(),
                }
            };
            world.spawn(Box::pin(http::serve(stream, http2, 65_536, answer)));
        }
    });
}

#[test]
fn https_is_recorded_as_oonis_formats_say() {
    let mut bench = Bench::open();
    let server = bench.web("site.example", Web::of_page("hello"));
    let (response, keys) = bench.run(move |context| async move {
        let scope = scope(&context);
        let flow = connect(&scope, server.end(443)).await;
        let options = TlsOptions::web();
        let stream = tls::handshake(&scope, flow, server.end(443), "site.example", &options);
        let stream = stream.await.unwrap();
        let via = Via { remote: Some(server.end(443)), alpn: stream.alpn() };
        let response =
            http::exchange(&scope, stream, &via, &Request::get("https://site.example/x?y=1")).await;
        (response.unwrap(), scope.trace.test_keys())
    });
    assert_eq!((response.code, response.text().as_str()), (200, "hello"));
    let tcp = &keys["tcp_connect"][0];
    assert_eq!((&tcp["ip"], &tcp["port"]), (&server.v4.to_string().into(), &443.into()));
    assert_eq!(tcp["status"], serde_json::json!({"failure": null, "success": true}));
    let tls = &keys["tls_handshakes"][0];
    assert_eq!(tls["cipher_suite"], "TLS_AES_256_GCM_SHA384");
    assert_eq!((&tls["tls_version"], &tls["negotiated_protocol"]), (&"TLSv1.3".into(), &"http/1.1".into()));
    assert_eq!(tls["peer_certificates"].as_array().unwrap().len(), 2);
    assert_eq!(tls["peer_certificates"][0]["format"], "base64");
    let request = &keys["requests"][0];
    assert_eq!(request["request"]["headers"]["Host"], "site.example");
    assert_eq!(request["request"]["url"], "https://site.example/x?y=1");
    assert_eq!((&request["response"]["code"], &request["response"]["body"]), (&200.into(), &"hello".into()));
    assert_eq!((&request["transaction_id"], &request["tags"][0]), (&1.into(), &"depth=0".into()));
    let times: Vec<f64> = ["tcp_connect", "tls_handshakes", "requests"]
        .iter()
        .flat_map(|list| [keys[*list][0]["t0"].as_f64().unwrap(), keys[*list][0]["t"].as_f64().unwrap()])
        .collect();
    assert!(times.is_sorted() && times[1] > 0.03, "a connect takes a round trip: {times:?}");
    let events = keys["network_events"].as_array().unwrap();
    let operations: Vec<&str> = events.iter().map(|event| event["operation"].as_str().unwrap()).collect();
    for name in
        ["connect", "tls_handshake_start", "write", "read", "tls_handshake_done", "http_transaction_done"]
    {
        assert!(operations.contains(&name), "{name} in {operations:?}");
    }
}

#[test]
fn a_burst_of_many_records_is_read_whole() {
    let mut bench = Bench::open();
    let server = bench.web("site.example", Web::of_bytes(0));
    let len = bench.run(move |context| async move {
        let scope = scope(&context);
        let flow = connect(&scope, server.end(443)).await;
        let options = TlsOptions::web();
        let stream = tls::handshake(&scope, flow, server.end(443), "site.example", &options);
        let mut stream = stream.await.unwrap();
        let request = b"GET /bytes/100000 HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        // As behind a lost segment: more waits than rustls keeps for its reader.
        net::sleep(&*context.world, Duration::from_secs(3)).await;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        all.len()
    });
    assert!(len > 100_000, "{len}");
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_and_the_chain_is_kept() {
    let mut bench = Bench::open();
    let server = bench.web("site.example", Web::of_page("hello"));
    let mitm = bench.server("mitm.example");
    let config = bench.foreign_tls(&["mitm.example"], &["http/1.1"]);
    serve_mirror(&mut bench, mitm, 443, config);
    let (failures, keys) = bench.run(move |context| async move {
        let scope = scope(&context);
        let mut failures = Vec::new();
        let other = TlsOptions { sni: Sni::Other("site.example".to_owned()), ..TlsOptions::default() };
        let absent = TlsOptions { sni: Sni::Absent, ..TlsOptions::default() };
        let blind = TlsOptions { verify: false, ..TlsOptions::default() };
        for (server, name, options) in [
            (server, "other.example", TlsOptions::default()),
            (mitm, "mitm.example", TlsOptions::default()),
            (server, "other.example", other),
            (server, "site.example", absent),
            (mitm, "mitm.example", blind),
        ] {
            let flow = connect(&scope, server.end(443)).await;
            let result = tls::handshake(&scope, flow, server.end(443), name, &options).await;
            failures.push(result.err().map(Failure::as_str));
        }
        (failures, scope.trace.test_keys())
    });
    let hostname = Some("ssl_invalid_hostname");
    assert_eq!(failures, [hostname, Some("ssl_unknown_authority"), hostname, None, None]);
    let records = keys["tls_handshakes"].as_array().unwrap();
    let names: Vec<&str> = records.iter().map(|record| record["server_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["other.example", "mitm.example", "site.example", "", "mitm.example"]);
    assert!(records.iter().all(|record| record["peer_certificates"].as_array().unwrap().len() == 2));
    assert_eq!(records[4]["no_tls_verify"], true);
}

#[test]
fn a_long_transfer_keeps_the_first_events_alone_and_the_body_is_cut() {
    let mut bench = Bench::open();
    let page = "x".repeat(900_000);
    let server = bench.web("site.example", Web::of_page(&page));
    let (keys, counted) = bench.run(move |context| async move {
        let scope = scope(&context);
        let flow = connect(&scope, server.end(80)).await;
        let counters = flow.counters();
        let via = Via { remote: Some(server.end(80)), alpn: String::new() };
        http::exchange(&scope, flow, &via, &Request::get("http://site.example/")).await.unwrap();
        (scope.trace.test_keys(), counters.received_bytes())
    });
    // probe-cli keeps 64 events of a trace, and bodies to 1 << 19 bytes.
    let events = keys["network_events"].as_array().unwrap();
    assert_eq!(events.iter().filter(|event| event["operation"] == "read").count(), 63, "and one write");
    assert!(events.iter().any(|event| event["operation"] == "http_transaction_done"));
    let response = &keys["requests"][0]["response"];
    assert_eq!(response["body"].as_str().unwrap().len(), 1 << 19);
    assert_eq!(response["body_is_truncated"], true);
    assert!(counted >= 1 << 19, "the counters go on: {counted}");
}

#[test]
fn http2_goes_there_and_back_with_a_body() {
    let mut bench = Bench::open();
    let server = bench.server("site.example");
    let config = bench.tls(&["site.example"], &["h2", "http/1.1"]);
    serve_mirror(&mut bench, server, 443, config);
    let responses = bench.run(move |context| async move {
        let scope = scope(&context);
        let mut responses = Vec::new();
        for options in [TlsOptions::web(), TlsOptions::http1()] {
            let flow = connect(&scope, server.end(443)).await;
            let stream =
                tls::handshake(&scope, flow, server.end(443), "site.example", &options).await.unwrap();
            let via = Via { remote: Some(server.end(443)), alpn: stream.alpn() };
            let body = vec![b'z'; 50_000];
            let mut request = Request::post("https://site.example/a?b", "text/plain", body);
            request.body_limit = 20_000;
            responses.push((via.alpn.clone(), http::exchange(&scope, stream, &via, &request).await.unwrap()));
        }
        responses
    });
    for (alpn, response) in responses {
        assert_eq!(response.code, 200, "{alpn}");
        assert!(response.text().starts_with("POST /a?b "), "{alpn}: {}", &response.text()[..80]);
        assert!(response.truncated && response.body.len() == 20_000, "{alpn}");
        assert_eq!(response.header("x-two-words"), Some("b"));
        assert!(response.headers.iter().any(|(name, _)| name == "X-Two-Words"), "{:?}", response.headers);
        let host = response.text().contains("host,");
        assert_eq!(host, alpn == "http/1.1", "in HTTP/2 the authority is no header: {}", response.text());
    }
}

#[test]
fn every_resolver_gives_the_same_addresses_and_errors_have_oonis_names() {
    let mut bench = Bench::open();
    let server = bench.web("site.example", Web::of_page("hello"));
    for (name, rule) in [
        ("gone.example", NameRule::NxDomain),
        ("empty.example", NameRule::Empty),
        ("refused.example", NameRule::Refused),
        ("silent.example", NameRule::Silence),
    ] {
        bench.lie(name, rule);
    }
    let public = bench.public_dns;
    let (addresses, failures, keys) = bench.run(move |context| async move {
        let scope = scope(&context);
        let name = "dns.example".to_owned();
        let all = [
            Resolver::System,
            Resolver::Udp(public.end(53)),
            Resolver::Tcp(public.end(53)),
            Resolver::Dot { endpoint: public.end(853), name },
            Resolver::Doh { endpoint: public.end(443), url: "https://dns.example/dns-query".to_owned() },
        ];
        let mut addresses = Vec::new();
        for resolver in &all {
            let found = dns::lookup(&scope, resolver, "site.example").await;
            addresses.push((resolver.engine(), found.failure, found.addresses));
        }
        let isp = Resolver::Udp(context.world.system_resolver().unwrap());
        let mut failures = Vec::new();
        for name in ["gone.example", "empty.example", "refused.example", "silent.example"] {
            let answer = dns::query(&scope, &isp, name, RecordType::A).await;
            failures.push(answer.failure.map(Failure::as_str));
        }
        (addresses, failures, scope.trace.test_keys())
    });
    for (engine, failure, found) in addresses {
        assert_eq!((failure, found), (None, vec![server.v4]), "{engine}");
    }
    let names = ["dns_nxdomain_error", "dns_no_answer", "dns_refused_error", "generic_timeout_error"];
    assert_eq!(failures, names.map(Some));
    let queries = keys["queries"].as_array().unwrap();
    assert_eq!(queries[0]["engine"], "getaddrinfo");
    assert_eq!(queries[0]["query_type"], "ANY");
    let over_udp = queries.iter().find(|query| query["engine"] == "udp").unwrap();
    assert_eq!(over_udp["resolver_address"], public.end(53).to_string());
    assert_eq!(over_udp["answers"][0]["ipv4"], server.v4.to_string());
    assert!(over_udp["raw_response"].as_str().unwrap().len() > 40);
}

#[test]
fn quic_shakes_hands_and_a_first_datagram_by_hand_is_answered_in_its_version() {
    let mut bench = Bench::open();
    let server = bench.web("site.example", Web::of_page("hello"));
    let (done, came, keys) = bench.run(move |context| async move {
        let scope = scope(&context);
        let remote = server.end(443);
        let mut done = Vec::new();
        for (remote, name) in
            [(remote, "site.example"), (remote, "other.example"), (server.end(444), "site.example")]
        {
            let options = QuicOptions { patience: Duration::from_secs(3), ..QuicOptions::default() };
            let result = quic::handshake(&scope, remote, name, &options).await;
            done.push(result.map(|connection| connection.alpn()).map_err(Failure::as_str));
        }
        let mut came = Vec::new();
        for version in [1, 0x6b33_43cf, 0x0a0a_0a0a] {
            let what = FirstInitial {
                version,
                name: Some("site.example"),
                size: 1_250,
                own_port: 0,
                retries: 1,
                patience: Duration::from_secs(3),
            };
            came.push(quic::first_initial(&scope, remote, &what).await.came);
        }
        (done, came, scope.trace.test_keys())
    });
    assert_eq!(done[0], Ok("h3".to_owned()));
    assert_eq!(done[1], Err("ssl_invalid_hostname"));
    assert_eq!(done[2], Err("connection_refused"));
    // The lab's certificates are Ed25519, which Chrome's hello does not offer: the server says so (RFC 9001
    // §4.8, alert 40), and has seen the hello.
    assert_eq!(came[0], QuicCame::Close(0x128));
    assert!(matches!(&came[1], QuicCame::Negotiation(list) if list.contains(&1)), "{:?}", came[1]);
    assert!(matches!(&came[2], QuicCame::Negotiation(_)), "{:?}", came[2]);
    assert_eq!(keys["quic_handshakes"][0]["network"], "udp");
    assert_eq!(keys["quic_handshakes"][0]["negotiated_protocol"], "h3");
}

#[test]
fn http3_goes_there_and_back_with_a_large_body() {
    let mut bench = Bench::open();
    let server = bench.server("site.example");
    let config = bench.tls(&["site.example"], &["h3"]);
    let ground = bench.probe().tls();
    bench.serve(server, move |net| async move {
        let context = Context::new(LabNet::new(net, None, ground).world());
        let scope = scope(&context);
        let socket = context.world.udp(UdpSetup { port: 443, ..UdpSetup::default() }).unwrap();
        let connection = quic::accept(&scope, &socket, config).await.unwrap();
        let answer = |asked: http::Asked| async move {
            let body = [asked.target.as_bytes(), &vec![b'x'; 300_000]].concat();
            Answer { code: 200, headers: vec![("Server".to_owned(), "h3".to_owned())], body }
        };
        quic::serve(&connection, answer).await;
    });
    let (response, keys) = bench.run(move |context| async move {
        let scope = scope(&context);
        let remote = server.end(443);
        let connection =
            quic::handshake(&scope, remote, "site.example", &QuicOptions::default()).await.unwrap();
        let request = Request::get("https://site.example/page?x=1");
        let response = quic::get(&scope, &connection, &request).await;
        connection.close();
        (response.unwrap(), scope.trace.test_keys())
    });
    assert_eq!((response.code, response.body.len()), (200, "/page?x=1".len() + 300_000));
    assert!(response.text().starts_with("/page?x=1xxx"));
    assert_eq!(response.header("Server"), Some("h3"));
    let record = &keys["requests"][0];
    assert_eq!((&record["network"], &record["alpn"]), (&"udp".into(), &"h3".into()));
    assert_eq!(record["request"]["x_transport"], "quic");
}

#[test]
fn a_second_answer_to_one_question_is_kept() {
    let names: &[&str] = &["blocked.example"];
    let mut bench = Bench::with_profile("china-gfw", &[("cn.names", names)]);
    let server = bench.web("blocked.example", Web::of_page("hello"));
    bench.web("site.example", Web::of_page("hello"));
    let public = bench.public_dns;
    let (first, late, clean, keys) = bench.run(move |context| async move {
        let scope = scope(&context);
        let resolver = Resolver::Udp(public.end(53));
        let first = dns::query(&scope, &resolver, "blocked.example", RecordType::A).await;
        let late = first.late(&scope, Duration::from_secs(2)).await;
        let clean = dns::query(&scope, &resolver, "site.example", RecordType::A).await;
        let none = clean.late(&scope, Duration::from_secs(2)).await.len();
        (first.addresses, late, none, scope.trace.test_keys())
    });
    assert_ne!(first, [server.v4], "the injector's answer is first");
    assert!(late.iter().any(|answer| answer.addresses == [server.v4]), "the resolver's answer comes later");
    assert_eq!(clean, 0, "a name that nobody injects for has one answer");
    let queries = keys["queries"].as_array().unwrap();
    assert!(queries.iter().any(|query| query["tags"] == serde_json::json!(["depth=0", "late"])));
}

#[test]
fn ech_grease_and_real_ech_do_not_disturb_a_server_that_knows_neither() {
    let mut bench = Bench::open();
    let server = bench.web("site.example", Web::of_page("hello"));
    // One config (RFC 9849 §4): X25519, HKDF-SHA256, AES-128-GCM, public name site.example.
    let mut contents = vec![7, 0, 0x20, 0, 32];
    contents.extend([9; 32]);
    contents.extend([0, 4, 0, 1, 0, 1, 0, 12]);
    contents.extend(b"site.example");
    contents.extend([0, 0]);
    let mut config = vec![0xfe, 0x0d, 0, u8::try_from(contents.len()).unwrap()];
    config.extend(contents);
    let list = [vec![0, u8::try_from(config.len()).unwrap()], config].concat();
    let (grease, real, outer) = bench.run(move |context| async move {
        let scope = scope(&context);
        let mut results = Vec::new();
        for ech in [Ech::Grease, Ech::Config(list)] {
            let flow = connect(&scope, server.end(443)).await;
            let options = TlsOptions { ech, ..TlsOptions::web() };
            let result = tls::handshake(&scope, flow, server.end(443), "site.example", &options).await;
            results.push(result.map(|stream| stream.version()));
        }
        let records = scope.trace.tls_handshakes();
        let outer: Vec<_> = records.iter().map(|record| record.outer_server_name.clone()).collect();
        (results.remove(0), results.remove(0), outer)
    });
    assert_eq!(outer, [Some("site.example".to_owned()), Some("site.example".to_owned())]);
    assert_eq!(grease, Ok("TLSv1.3"));
    // The server is authentic for the public name and did not take the inner hello: RFC 9849 §6.1.6.
    assert_eq!(real.err(), Some(Failure::SslFailedHandshake));
}

#[test]
fn a_hand_built_hello_shows_what_a_box_does_with_it() {
    let flight = |name: &str| {
        let message = okno_wire::tls::preset::chrome(3, Some(name), false).emit();
        okno_wire::tls::records_of(0x0301, &message, 16_384)
    };
    let mut bench = Bench::with_profile("tspu-2024", &[("sni.blocked", &["blocked.example"])]);
    let server = bench.web("site.example", Web::of_page("hello"));
    let (neutral, blocked) = (flight("site.example"), flight("blocked.example"));
    let (open, shut) = bench.run(move |context| async move {
        let scope = scope(&context);
        let mut came = Vec::new();
        for flight in [neutral, blocked] {
            let mut flow = connect(&scope, server.end(443)).await;
            let answer = tls::first_flight(&scope, &mut flow, &flight, Duration::from_secs(4)).await;
            came.push(answer.came);
        }
        (came.remove(0), came.remove(0))
    });
    assert_eq!(open, Came::ServerHello(0x0304));
    assert!(matches!(shut, Came::Reset | Came::Silence), "{shut:?}");
}

#[test]
fn tls12_and_chosen_suites_are_honoured() {
    let mut bench = Bench::open();
    let server = bench.web("site.example", Web::of_page("hello"));
    let shown = bench.run(move |context| async move {
        let scope = scope(&context);
        let mut shown = Vec::new();
        for options in [
            TlsOptions { versions: Versions::Only12, ..TlsOptions::default() },
            TlsOptions { suites: vec![0x1303, 0x1301], ..TlsOptions::default() },
        ] {
            let flow = connect(&scope, server.end(443)).await;
            let stream =
                tls::handshake(&scope, flow, server.end(443), "site.example", &options).await.unwrap();
            shown.push((stream.version(), stream.cipher_suite()));
        }
        shown
    });
    assert_eq!(shown[0].0, "TLSv1.2");
    assert_eq!(shown[1], ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256".to_owned()));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let measure = || {
        let mut bench = Bench::open();
        let server = bench.web("site.example", Web::of_page("hello"));
        bench.run(move |context| async move {
            let scope = scope(&context);
            let flow = connect(&scope, server.end(443)).await;
            let options = TlsOptions { ech: Ech::Grease, ..TlsOptions::web() };
            let stream =
                tls::handshake(&scope, flow, server.end(443), "site.example", &options).await.unwrap();
            let via = Via { remote: Some(server.end(443)), alpn: stream.alpn() };
            http::exchange(&scope, stream, &via, &Request::get("https://site.example/")).await.unwrap();
            quic::handshake(&scope, server.end(443), "site.example", &QuicOptions::default()).await.unwrap();
            serde_json::to_string(&scope.trace.test_keys()).unwrap()
        })
    };
    assert_eq!(measure(), measure());
}
