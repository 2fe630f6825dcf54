//! web_connectivity, 0.5 and 0.4: the operations of one visit (df-001 … df-008, ts-017) and the test
//! helper's answer.
//!
//! A [`Visit`] collects operations in the order in which a probe performs them; what happens to the visitor
//! is a [`Case`]. The verdict keys (`blocking`, `accessible`) are what OONI's probe would have written, its
//! mistakes included.

use serde_json::{Value, json};

use super::page::{block_page, challenge_page, page, refusal_page};
use super::rng::Stream;
use super::visit::{Answer, Flow, Reply, Visit, joined};
use super::world::{Address, Site};

/// What happens to a visit.
#[derive(Clone, Copy)]
pub enum Case {
    /// nothing
    Fine,
    /// RST after the ClientHello
    TlsReset,
    /// silence after the ClientHello
    TlsTimeout,
    /// the provider's resolver answers with this address, where a block page is served
    DnsAnswer(Address),
    /// the provider's resolver says that the name does not exist
    DnsNxdomain,
    /// 302 to a block page at this host and address
    Redirect(&'static str, Address),
    /// a block page in the site's place
    BlockPage,
    /// RST after the request
    HttpReset,
    /// SYN unanswered
    TcpTimeout,
    /// nothing more after some 16 KB
    Freeze,
    /// slow from the handshake on
    Throttle,
    /// a certificate of somebody else
    Mitm,
    /// the server is down for everybody
    Down,
    /// the server's certificate has expired
    Expired,
    /// the server refuses visitors from this country
    Refusal,
    /// a CDN that answers with another address of its own
    Rotation(Address),
    /// a CDN asks whether the visitor is human
    Challenge,
    /// the test helper could not be asked
    NoControl,
    /// IPv6 leads nowhere from this network
    BrokenIpv6,
    /// a release of the probe that trusts no certificate
    Defect,
}

/// The probe's own verdict.
struct Own {
    blocking: Value,
    accessible: Value,
    dns: Value,
    failure: Option<&'static str>,
}

impl Own {
    fn fine() -> Self {
        Self { blocking: json!(false), accessible: json!(true), dns: json!("consistent"), failure: None }
    }
    fn blocked(how: &str, failure: Option<&'static str>) -> Self {
        Self { blocking: json!(how), accessible: json!(false), dns: json!("consistent"), failure }
    }
}

/// A certificate in somebody else's name (DER, base64): made for the samples with OpenSSL, keys thrown away.
const MITM_CERTIFICATE: &str = "MIIBlTCCATugAwIBAgICQkMwCgYIKoZIzj0EAwIwKzEpMCcGA1UEAwwgUWF6bmV0IFRydXN0IE5ldHdvcmsgKGltaXRhdGlvbikwHhcNMjUwNjAxMDAwMDAwWhcNMjYwNjAxMDAwMDAwWjAbMRkwFwYDVQQDDBB3d3cuZmFjZWJvb2suY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEO9gzkoopVBquOXejpI4ilqLSozVxQETzmGI8VstmYVydHds4tPR+OdROx4RATlZoXQIJcpjZ6+MiYujaHVEAY6NfMF0wGwYDVR0RBBQwEoIQd3d3LmZhY2Vib29rLmNvbTAdBgNVHQ4EFgQU0dgZXkv1ZY07cW8AmvF+WvbtjF8wHwYDVR0jBBgwFoAUuQ5ZpLSNAv8L6CDCjbPcVTyrfCowCgYIKoZIzj0EAwIDSAAwRQIhAJsIeVTy/EgNPgVIJesnjd3B6KAnHWbsGu9PEI1JrDvSAiBcMWARhGuUfc9qgccewXOhX1LufwMat7HzVR1KbWhNtQ==";
/// An expired one for `*.badssl.com`, likewise.
const EXPIRED_CERTIFICATE: &str = "MIIBezCCASKgAwIBAgICQkIwCgYIKoZIzj0EAwIwGjEYMBYGA1UEAwwPT2tubyBTYW1wbGVzIENBMB4XDTE1MDQwOTAwMDAwMFoXDTE1MDQxMjIzNTk1OVowFzEVMBMGA1UEAwwMKi5iYWRzc2wuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEOemeFzbI2sKCGq55jg13Xujnr5OIwpCC6vKQ5Thcz9QZzOA7hzYu946V7qpcWxct3Fklj79ae/XXMDQE9axQ2KNbMFkwFwYDVR0RBBAwDoIMKi5iYWRzc2wuY29tMB0GA1UdDgQWBBT0F3bYEw9TREVrB/ceO33NpPFqoTAfBgNVHSMEGDAWgBRlNplL7OWW+guv4tnIY8/cD71IrzAKBggqhkjOPQQDAgNHADBEAiAHWDnXq7aQesg9quRpUAoa5bmCA9fWokdCUtvlM9eDfAIgMJbcN9UBikB6i777GO9YcxvGAh1g4olngVTqUS5iP/Q=";

/// `test_keys` of a visit of `site` in which `case` happens, and how long it took.
pub fn test_keys(site: &Site, case: Case, v05: bool, stream: &mut Stream) -> (Value, u64) {
    let mut visit = Visit::new(v05, stream);
    let own = perform(site, case, &mut visit);
    let control = control(site, case, &visit);
    let runtime = visit.clock_us();
    (finish(site, case, visit, own, control), runtime)
}

fn perform(site: &Site, case: Case, visit: &mut Visit<'_>) -> Own {
    let secure = site.url.starts_with("https:");
    let body = page(site.title, site.body_bytes);
    match case {
        Case::DnsAnswer(false_address) => dns_answer(site, false_address, visit, &body),
        Case::DnsNxdomain => {
            visit.lookup(
                site.host,
                0,
                Answer::Failure("dns_nxdomain_error"),
                Answer::Addresses(site.addresses),
            );
            fetch(site, site.addresses, secure, false, visit, &body);
            Own {
                blocking: json!("dns"),
                accessible: json!(false),
                dns: json!("inconsistent"),
                failure: Some("dns_nxdomain_error"),
            }
        }
        Case::Rotation(other) => {
            let here = [other];
            visit.lookup(site.host, 0, Answer::Addresses(&here), Answer::Addresses(&here));
            fetch(site, &here, secure, true, visit, &body);
            Own::fine()
        }
        _ => {
            visit.lookup(site.host, 0, Answer::Addresses(site.addresses), Answer::Addresses(site.addresses));
            on_path(site, case, secure, visit, &body)
        }
    }
}

/// A visit without trouble: connect, handshake where due, request. For a cleartext input the probe also
/// validates the address by a TLS handshake without fetching anything (tag `fetch_body=false`).
fn fetch(site: &Site, addresses: &[Address], secure: bool, classic: bool, visit: &mut Visit<'_>, body: &str) {
    for (at, address) in addresses.iter().enumerate() {
        let flow = visit.connect(address.ip, if secure { 443 } else { 80 }, None, classic, at == 0);
        if secure {
            visit.handshake(&flow, site.host, None, None);
        }
        if at == 0 {
            visit.request(&flow, site.url, site.host, &Reply::page(200, site.server, body));
        }
        if !secure {
            let validation = visit.connect(address.ip, 443, None, classic, false);
            visit.handshake(&validation, site.host, None, None);
        }
    }
}

fn dns_answer(site: &Site, false_address: Address, visit: &mut Visit<'_>, body: &str) -> Own {
    let here = [false_address];
    visit.lookup(site.host, 0, Answer::Addresses(&here), Answer::Addresses(site.addresses));
    let flow = visit.connect(false_address.ip, 80, None, true, true);
    visit.request(&flow, site.url, site.host, &Reply::page(200, "nginx", &block_page()));
    visit.connect(false_address.ip, 443, Some("connection_refused"), true, false);
    fetch(site, site.addresses, false, false, visit, body);
    Own { dns: json!("inconsistent"), ..Own::blocked("dns", None) }
}

fn on_path(site: &Site, case: Case, secure: bool, visit: &mut Visit<'_>, body: &str) -> Own {
    let address = &site.addresses[0];
    let port = if secure { 443 } else { 80 };
    match case {
        Case::TcpTimeout | Case::Down => {
            visit.connect(address.ip, port, Some("generic_timeout_error"), true, true);
            return if matches!(case, Case::Down) {
                Own { accessible: json!(false), failure: Some("generic_timeout_error"), ..Own::fine() }
            } else {
                Own::blocked("tcp_ip", Some("generic_timeout_error"))
            };
        }
        Case::BrokenIpv6 => return broken_ipv6(site, visit, body),
        Case::Fine | Case::NoControl => {
            fetch(site, site.addresses, secure, true, visit, body);
            let own = Own::fine();
            return if matches!(case, Case::NoControl) {
                Own { blocking: Value::Null, accessible: Value::Null, dns: Value::Null, failure: None }
            } else {
                own
            };
        }
        _ => {}
    }
    let flow = visit.connect(address.ip, port, None, true, true);
    if secure { on_tls(site, case, &flow, visit, body) } else { on_cleartext(site, case, &flow, visit) }
}

fn broken_ipv6(site: &Site, visit: &mut Visit<'_>, body: &str) -> Own {
    let (v6, v4): (Vec<Address>, Vec<Address>) = site.addresses.iter().partition(|a| a.ip.contains(':'));
    for address in &v6 {
        visit.connect(address.ip, 443, Some("network_unreachable"), true, false);
    }
    fetch(site, &v4, true, true, visit, body);
    Own::fine()
}

fn on_tls(site: &Site, case: Case, flow: &Flow, visit: &mut Visit<'_>, body: &str) -> Own {
    let broken = |visit: &mut Visit<'_>, failure, certificate| {
        visit.handshake(flow, site.host, Some(failure), certificate);
        Own::blocked("http-failure", Some(failure))
    };
    match case {
        Case::TlsReset => broken(visit, "connection_reset", None),
        Case::TlsTimeout => broken(visit, "generic_timeout_error", None),
        Case::Mitm => broken(visit, "ssl_unknown_authority", Some(MITM_CERTIFICATE)),
        Case::Defect => broken(visit, "ssl_unknown_authority", None),
        Case::Expired => {
            let own = broken(visit, "ssl_invalid_certificate", Some(EXPIRED_CERTIFICATE));
            Own { blocking: json!(false), ..own }
        }
        Case::Freeze | Case::Throttle => {
            visit.handshake(flow, site.host, None, None);
            visit.stalled_request(flow, site.url, site.host, site.server, matches!(case, Case::Throttle));
            Own::blocked("http-failure", Some("generic_timeout_error"))
        }
        Case::Refusal => {
            visit.handshake(flow, site.host, None, None);
            visit.request(flow, site.url, site.host, &Reply::page(403, site.server, &refusal_page()));
            Own::fine()
        }
        _ => {
            visit.handshake(flow, site.host, None, None);
            visit.request(flow, site.url, site.host, &Reply::page(200, site.server, body));
            Own::fine()
        }
    }
}

fn on_cleartext(site: &Site, case: Case, flow: &Flow, visit: &mut Visit<'_>) -> Own {
    let own = match case {
        Case::HttpReset => {
            visit.request(flow, site.url, site.host, &Reply::failure("connection_reset"));
            Own::blocked("http-failure", Some("connection_reset"))
        }
        Case::Redirect(host, address) => {
            let location = format!("http://{host}/?id=1&st=0");
            visit.request(flow, site.url, site.host, &Reply::redirect("nginx", &location));
            let here = [address];
            visit.lookup(host, 1, Answer::Addresses(&here), Answer::Addresses(&here));
            let hop = visit.connect(address.ip, 80, None, true, true);
            visit.request(&hop, &location, host, &Reply::page(200, "nginx", &block_page()));
            return Own::blocked("http-diff", None);
        }
        Case::Challenge => {
            let reply =
                Reply::page(403, site.server, &challenge_page()).with_header("Cf-Mitigated", "challenge");
            visit.request(flow, site.url, site.host, &reply);
            Own::blocked("http-diff", None)
        }
        _ => {
            visit.request(flow, site.url, site.host, &Reply::page(200, "nginx", &block_page()));
            Own::blocked("http-diff", None)
        }
    };
    // Address validation of the cleartext input: the handshake passes, since only the Host header is looked
    // at.
    let validation = visit.connect(site.addresses[0].ip, 443, None, true, false);
    visit.handshake(&validation, site.host, None, None);
    own
}

/// What the test helper saw, outside the country: the site itself, and each address that the probe asked
/// about.
fn control(site: &Site, case: Case, visit: &Visit<'_>) -> Value {
    if matches!(case, Case::NoControl) {
        return json!({
            "tcp_connect": null,
            "http_request": {"body_length": 0, "failure": null, "title": "", "headers": null, "status_code": 0},
            "dns": {"failure": null, "addrs": null},
        });
    }
    let mut endpoints = serde_json::Map::new();
    let mut handshakes = serde_json::Map::new();
    for (ip, port) in visit.endpoints() {
        let (ip, port) = (ip.as_str(), *port);
        let key = joined(ip, port);
        let known =
            site.addresses.iter().any(|address| address.ip == ip) || matches!(case, Case::Rotation(_));
        let failure = match case {
            Case::Down => json!("generic_timeout_error"),
            _ if !known && port == 443 => json!("connection_refused"),
            _ => Value::Null,
        };
        if port == 443 && failure.is_null() {
            let tls =
                if matches!(case, Case::Expired) { json!("ssl_invalid_certificate") } else { Value::Null };
            let row = json!({"server_name": site.host, "status": tls.is_null(), "failure": tls});
            handshakes.insert(key.clone(), row);
        }
        endpoints.insert(key, json!({"status": failure.is_null(), "failure": failure}));
    }
    let mut info = serde_json::Map::new();
    for address in site.addresses {
        info.insert(address.ip.to_owned(), json!({"asn": address.asn, "flags": 11}));
    }
    if let Case::DnsAnswer(other) = case {
        info.insert(other.ip.to_owned(), json!({"asn": other.asn, "flags": 1}));
    }
    if let Case::Rotation(other) = case {
        info.insert(other.ip.to_owned(), json!({"asn": other.asn, "flags": 9}));
    }
    let addresses: Vec<&str> = site.addresses.iter().map(|address| address.ip).collect();
    json!({
        "tcp_connect": endpoints,
        "tls_handshake": handshakes,
        "quic_handshake": {},
        "http_request": control_page(site, case),
        "http3_request": null,
        "dns": {"failure": null, "addrs": addresses},
        "ip_info": info,
    })
}

fn control_page(site: &Site, case: Case) -> Value {
    let failure = match case {
        Case::Down => Some("generic_timeout_error"),
        Case::Expired => Some("unknown_error"),
        _ => None,
    };
    if let Some(failure) = failure {
        return json!({
            "body_length": -1, "discovered_h3_endpoint": "", "failure": failure,
            "title": "", "headers": {}, "status_code": -1,
        });
    }
    let length = match case {
        Case::Freeze => 412_310,
        Case::Throttle => 1_183_402,
        _ => page(site.title, site.body_bytes).len(),
    };
    json!({
        "body_length": length,
        "discovered_h3_endpoint": "",
        "failure": null,
        "title": site.title,
        "headers": {"Content-Type": "text/html; charset=utf-8", "Server": site.server},
        "status_code": 200,
    })
}

fn finish(site: &Site, case: Case, visit: Visit<'_>, own: Own, control: Value) -> Value {
    let v05 = visit.is_v05();
    let no_control = matches!(case, Case::NoControl);
    let same = own.failure.is_none() && own.blocking == json!(false) && !matches!(case, Case::Refusal);
    let judged = |value: bool| if own.failure.is_some() || no_control { Value::Null } else { json!(value) };
    let asked: Vec<String> = visit.endpoints().iter().map(|(ip, port)| joined(ip, *port)).collect();
    let blocking_flags = match own.blocking.as_str() {
        Some("dns") => 1,
        Some("tcp_ip") => 2,
        Some("http-failure") => 4,
        Some("http-diff") => 16,
        _ => 0,
    };
    let dns_failure = matches!(case, Case::DnsNxdomain).then_some("dns_nxdomain_error");
    let mut keys = json!({
        "agent": "redirect",
        "client_resolver": "[scrubbed]",
        "retries": null,
        "socksproxy": null,
        "control": control,
        "control_failure": no_control.then_some("generic_timeout_error"),
        "dns_experiment_failure": dns_failure,
        "dns_consistency": own.dns,
        "http_experiment_failure": own.failure,
        "body_proportion": if same { 1.0 } else { 0.0 },
        "body_length_match": judged(same),
        "headers_match": judged(same),
        "status_code_match": judged(!matches!(case, Case::Refusal | Case::Challenge)),
        "title_match": judged(same),
        "blocking": own.blocking,
        "accessible": own.accessible,
    });
    let map = keys.as_object_mut().expect("an object literal");
    if v05 {
        map.insert("x_blocking_flags".into(), json!(blocking_flags));
        map.insert("x_dns_flags".into(), json!(if own.dns == json!("inconsistent") { 1 } else { 0 }));
        map.insert("x_null_null_flags".into(), json!(0));
        map.insert(
            "x_control_request".into(),
            json!({"http_request": site.url, "tcp_connect": asked, "x_quic_enabled": false}),
        );
    }
    visit.pour_into(map);
    keys
}
