//! The test helper in the lab: what it answers, what it refuses, and that nobody can take it from others.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::net::IpAddr;

use futures::future::join_all;
use okno_lab::probe::{Bench, Server};
use okno_lab::services::web::Web;
use okno_model::Failure;
use okno_probe::Context;
use okno_probe::helper::web::protocol::{HelperRequest, HelperResponse};
use okno_probe::helper::web::{Ask, Helper, HelperLimits, HelperOptions, ask};
use okno_probe::http::{Request, Response, Via, exchange};
use okno_probe::net::{Dial, Net as _};
use okno_probe::tcp;
use okno_probe::trace::{Scope, Trace};
use okno_wire::Endpoint;

/// A helper in the clear on port 80.
fn helper(bench: &mut Bench, options: HelperOptions) -> Server {
    let server = bench.server("helper.example");
    let world = bench.world_of(server);
    bench.serve(server, move |_| async move {
        let listener = world.listen(Endpoint { ip: "0.0.0.0".parse().unwrap(), port: 80 }).unwrap();
        Helper::new(world.world(), options).run(listener, None).await;
    });
    server
}

fn request(url: &str, ends: &[&str]) -> HelperRequest {
    let tcp_connect = ends.iter().map(|end| (*end).to_owned()).collect();
    HelperRequest { http_request: url.to_owned(), tcp_connect, ..HelperRequest::default() }
}

fn asked(bench: &mut Bench, helper: Server, request: HelperRequest) -> Result<HelperResponse, Failure> {
    bench.run(move |context| async move {
        ask(&context, Ask { url: "http://helper.example/", addresses: &[helper.v4] }, &request).await
    })
}

/// A raw exchange with the helper.
async fn post(context: &Context, helper: Server, method: &str, body: Vec<u8>) -> Result<Response, Failure> {
    let trace = Trace::new(context);
    let scope = Scope::new(context, &trace, &[]);
    let mut message = Request::post("http://helper.example/", "application/json", body);
    method.clone_into(&mut message.method);
    let flow = tcp::connect(&scope, Dial::to(helper.end(80))).await?;
    exchange(&scope, flow, &Via { remote: Some(helper.end(80)), alpn: String::new() }, &message).await
}

#[test]
fn it_tells_of_names_connects_handshakes_and_the_page() {
    let mut bench = Bench::open();
    let helper =
        helper(&mut bench, HelperOptions { network_of: std::rc::Rc::new(|_| 64_500), ..Default::default() });
    let site = bench.web("site.example", Web::of_page("<title>A page</title>"));
    let silent = bench.server("silent.example");
    let end = format!("{}:80", silent.v4);
    let seen = asked(&mut bench, helper, request("http://site.example/", &[&end, "not an address"])).unwrap();
    assert_eq!(seen.dns.addrs, [site.v4.to_string()]);
    assert_eq!((seen.http_request.status_code, seen.http_request.title.as_str()), (200, "A page"));
    for port in [80, 443] {
        assert!(seen.tcp_connect[&site.end(port).to_string()].status);
    }
    let handshake = &seen.tls_handshake[&site.end(443).to_string()];
    assert_eq!((handshake.status, handshake.server_name.as_str()), (true, "site.example"));
    let refused = &seen.tcp_connect[&end];
    assert_eq!((refused.status, refused.failure.as_deref()), (false, Some("connection_refused_error")));
    assert_eq!(seen.ip_info[&silent.v4.to_string()].flags, 1, "the probe's address");
    assert_eq!(seen.ip_info[&site.v4.to_string()].flags, 2 | 8, "the helper's, and valid");
    assert_eq!(seen.ip_info[&site.v4.to_string()].asn, 64_500);
}

#[test]
fn a_name_that_does_not_exist_is_told_in_the_words_of_older_helpers() {
    let mut bench = Bench::open();
    let helper = helper(&mut bench, HelperOptions::default());
    let seen = asked(&mut bench, helper, request("https://nowhere.example/", &[])).unwrap();
    assert_eq!(seen.dns.failure.as_deref(), Some("dns_name_error"));
    assert_eq!(seen.http_request.failure.as_deref(), Some("dns_lookup_error"));
    assert_eq!((seen.http_request.body_length, seen.http_request.status_code), (-1, -1));
}

#[test]
fn it_contacts_no_private_address_whoever_names_it() {
    let mut bench = Bench::open();
    let helper = helper(&mut bench, HelperOptions::default());
    let inside: IpAddr = "10.0.0.5".parse().unwrap();
    bench.zones.borrow_mut().set_addresses("inside.example", 60, &[inside]);
    let seen = asked(&mut bench, helper, request("http://inside.example/", &["127.0.0.1:80"])).unwrap();
    assert!(seen.tcp_connect.is_empty());
    assert_eq!(seen.ip_info["10.0.0.5"].flags, 2 | 4, "found by the helper, special");
    assert_eq!(seen.http_request.failure.as_deref(), Some("unknown_error"));
    // A page that sends on to one.
    bench.web("site.example", Web { redirect: "http://inside.example/".into(), ..Web::of_page("") });
    let seen = asked(&mut bench, helper, request("http://site.example/", &[])).unwrap();
    assert_eq!(seen.http_request.status_code, -1);
    let seen = asked(&mut bench, helper, request("http://10.0.0.5/", &["10.0.0.5:80"])).unwrap();
    assert!(seen.tcp_connect.is_empty());
}

#[test]
fn it_tries_the_ports_of_the_url_and_no_other() {
    let mut bench = Bench::open();
    let helper = helper(&mut bench, HelperOptions::default());
    let site = bench.web("site.example", Web::of_page("x"));
    let end = format!("{}:22", site.v4);
    let seen = asked(&mut bench, helper, request("https://site.example/", &[&end])).unwrap();
    assert_eq!(seen.tcp_connect.keys().collect::<Vec<_>>(), [&site.end(443).to_string()]);
}

#[test]
fn what_is_no_request_is_400_and_what_is_too_long_413() {
    let mut bench = Bench::open();
    let helper = helper(&mut bench, HelperOptions::default());
    let codes = bench.run(move |context| async move {
        let mut codes = Vec::new();
        for (method, body) in [
            ("GET", Vec::new()),
            ("PUT", Vec::new()),
            ("POST", b"no json".to_vec()),
            ("POST", br#"{"http_request":"ftp://site.example/"}"#.to_vec()),
            ("POST", vec![b' '; 1 << 17]),
        ] {
            codes.push(post(&context, helper, method, body).await.map(|answer| answer.code));
        }
        codes
    });
    assert_eq!(codes, [200, 400, 400, 400, 413].map(Ok));
}

#[test]
fn a_client_that_floods_is_turned_away_while_another_is_served() {
    let mut bench = Bench::open();
    let limits = HelperLimits { at_once_each: 3, ..HelperLimits::default() };
    let helper = helper(&mut bench, HelperOptions { limits, ..HelperOptions::default() });
    bench.web("site.example", Web::of_page("x"));
    let body = serde_json::to_vec(&request("http://site.example/", &[])).unwrap();
    let codes = bench.run(move |context| async move {
        let many = (0..10).map(|_| post(&context, helper, "POST", body.clone()));
        join_all(many).await.into_iter().map(|answer| answer.unwrap().code).collect::<Vec<_>>()
    });
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 3, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 503).count(), 7);
}

#[test]
fn a_page_without_end_is_cut_at_the_helpers_limit() {
    let mut bench = Bench::open();
    let limits = HelperLimits { page_bytes: 10_000, ..HelperLimits::default() };
    let helper = helper(&mut bench, HelperOptions { limits, ..HelperOptions::default() });
    bench.web("site.example", Web::of_bytes(5_000_000));
    let seen = asked(&mut bench, helper, request("http://site.example/", &[])).unwrap();
    assert_eq!(seen.http_request.body_length, 10_000);
}

#[test]
fn a_silent_site_ends_in_a_timeout_within_the_clients_patience() {
    let mut bench = Bench::open();
    let helper = helper(&mut bench, HelperOptions::default());
    bench.web("site.example", Web { delay: std::time::Duration::from_secs(300), ..Web::of_page("x") });
    let seen = asked(&mut bench, helper, request("http://site.example/", &[])).unwrap();
    assert_eq!(seen.http_request.failure.as_deref(), Some("generic_timeout_error"));
    assert!(seen.tcp_connect.values().all(|seen| seen.status));
}

#[test]
fn quic_is_tried_for_a_probe_that_asks_and_a_site_that_offers_it() {
    let mut bench = Bench::open();
    let helper = helper(&mut bench, HelperOptions::default());
    let offer = Web { alt_svc: "h3=\":443\"; ma=3600".into(), ..Web::of_page("<title>A page</title>") };
    let site = bench.web("site.example", offer);
    let asks = HelperRequest { x_quic_enabled: true, ..request("https://site.example/", &[]) };
    let seen = asked(&mut bench, helper, asks).unwrap();
    assert_eq!(seen.http_request.discovered_h3_endpoint, "site.example:443");
    let handshake = &seen.quic_handshake[&site.end(443).to_string()];
    assert_eq!((handshake.status, handshake.server_name.as_str()), (true, "site.example"));
    assert!(seen.http3_request.is_some());
    let silent = asked(&mut bench, helper, request("https://site.example/", &[])).unwrap();
    assert!(silent.quic_handshake.is_empty() && silent.http3_request.is_none(), "nobody asked");
}

#[test]
fn idle_connections_of_one_client_leave_room_for_another() {
    let mut bench = Bench::open();
    let limits = HelperLimits { connections: 12, connections_each: 8, ..HelperLimits::default() };
    let helper = helper(&mut bench, HelperOptions { limits, ..HelperOptions::default() });
    let other = bench.server("other.example");
    let world = bench.world_of(other).world();
    let (open, answer) = bench.run(move |context| async move {
        let mut idle = Vec::new();
        for _ in 0..12 {
            idle.push(context.world.connect(Dial::to(helper.end(80))).await.unwrap());
        }
        // Those above the limit are reset.
        okno_probe::net::sleep(&*context.world, std::time::Duration::from_secs(1)).await;
        let mut open = 0;
        for stream in &mut idle {
            let mut byte = [0];
            let read = futures::AsyncReadExt::read(stream, &mut byte);
            let waits = std::time::Duration::from_millis(10);
            open += usize::from(okno_probe::net::within(&*context.world, waits, read).await.is_none());
        }
        let other = Context::new(world);
        (open, post(&other, helper, "GET", Vec::new()).await.map(|answer| answer.code))
    });
    assert_eq!((open, answer), (8, Ok(200)));
}
