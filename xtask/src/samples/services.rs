//! The nettests that measure a service, a protocol or the path itself, one function each, after their
//! specifications (ts-005 … ts-040 of github.com/ooni/spec).
//!
//! Each returns the `test_keys` of a run that went well, or of one that met its documented trouble.

use serde_json::{Value, json};

use super::envelope::seconds;
use super::rng::Stream;
use super::visit::{Answer, Reply, Visit};
use super::world::Address;

/// A run of a nettest.
pub struct Run {
    /// version of the test
    pub version: &'static str,
    /// its input
    pub input: Option<&'static str>,
    /// what it is about
    pub target: &'static str,
    /// its keys
    pub keys: Value,
    /// how long it took
    pub runtime_us: u64,
}

const TELEGRAM: &str = "Telegram Messenger Inc";
const META: &str = "Facebook, Inc.";
const AMAZON: &str = "Amazon.com, Inc.";
const GOOGLE: &str = "Google LLC";

fn pour(visit: Visit<'_>, mut keys: Value) -> (Value, u64) {
    let runtime = visit.clock_us();
    visit.pour_into(keys.as_object_mut().expect("an object literal"));
    (keys, runtime)
}

/// telegram (ts-020): data centres by POST on 80 and 443, and web.telegram.org. Trouble: SYNs unanswered.
pub fn telegram(trouble: bool, stream: &mut Stream) -> Run {
    const CENTRES: &[&str] =
        &["149.154.175.50", "149.154.167.51", "149.154.175.100", "149.154.167.91", "149.154.171.5"];
    let mut visit = Visit::new(false, stream);
    let failure = trouble.then_some("generic_timeout_error");
    for ip in CENTRES {
        for port in [80, 443] {
            let flow = visit.connect(ip, port, failure, false, true);
            let url = format!("http://{ip}:{port}/");
            match failure {
                Some(failure) => visit.unsent_request(&flow, &url, ip, failure),
                None => {
                    let body = "<html><head><title>501</title></head></html>\n";
                    visit.request(&flow, &url, ip, &Reply::page(501, "nginx/0.3.33", body));
                }
            }
        }
    }
    let web = [Address { ip: "149.154.167.99", asn: 62041, org: TELEGRAM }];
    visit.lookup("web.telegram.org", 0, Answer::Addresses(&web), Answer::Addresses(&web));
    let flow = visit.connect(web[0].ip, 443, None, false, true);
    let web_failure = trouble.then_some("connection_reset");
    visit.handshake(&flow, "web.telegram.org", web_failure, None);
    if !trouble {
        let body = super::page::page("Telegram Web", 420);
        visit.request(
            &flow,
            "https://web.telegram.org/",
            "web.telegram.org",
            &Reply::page(200, "nginx", &body),
        );
    }
    let (keys, runtime_us) = pour(
        visit,
        json!({
            "agent": "redirect", "failed_operation": null, "failure": null,
            "telegram_http_blocking": trouble, "telegram_tcp_blocking": trouble,
            "telegram_web_failure": web_failure,
            "telegram_web_status": if trouble { "blocked" } else { "ok" },
        }),
    );
    Run { version: "0.3.1", input: None, target: "telegram", keys, runtime_us }
}

/// whatsapp (ts-018). Trouble: the endpoints' handshakes are reset.
pub fn whatsapp(trouble: bool, stream: &mut Stream) -> Run {
    let mut visit = Visit::new(false, stream);
    let endpoint = [Address { ip: "157.240.205.60", asn: 32934, org: META }];
    for host in ["e1.whatsapp.net", "e2.whatsapp.net", "e3.whatsapp.net"] {
        visit.lookup(host, 0, Answer::Addresses(&endpoint), Answer::Addresses(&endpoint));
        visit.connect(endpoint[0].ip, 5222, trouble.then_some("generic_timeout_error"), false, true);
    }
    for host in ["v.whatsapp.net", "web.whatsapp.com"] {
        visit.lookup(host, 0, Answer::Addresses(&endpoint), Answer::Addresses(&endpoint));
        let flow = visit.connect(endpoint[0].ip, 443, None, false, true);
        visit.handshake(&flow, host, trouble.then_some("connection_reset"), None);
        if !trouble {
            let url = format!("https://{host}/");
            visit.request(
                &flow,
                &url,
                host,
                &Reply::page(200, "proxygen", &super::page::page("WhatsApp", 380)),
            );
        }
    }
    let status = if trouble { "blocked" } else { "ok" };
    let failure = trouble.then_some("connection_reset");
    let (keys, runtime_us) = pour(
        visit,
        json!({
            "agent": "redirect", "failed_operation": null, "failure": null,
            "registration_server_failure": failure, "registration_server_status": status,
            "whatsapp_endpoints_blocked": [], "whatsapp_endpoints_dns_inconsistent": [],
            "whatsapp_endpoints_status": status,
            "whatsapp_web_failure": failure, "whatsapp_web_status": status,
        }),
    );
    Run { version: "0.11.1", input: None, target: "whatsapp", keys, runtime_us }
}

/// signal (ts-029). Trouble: silence after the ClientHello to each back end.
pub fn signal(trouble: bool, stream: &mut Stream) -> Run {
    const BACKENDS: &[(&str, &str, u32, &str)] = &[
        ("chat.signal.org", "13.248.212.111", 16509, AMAZON),
        ("storage.signal.org", "142.250.74.115", 15169, GOOGLE),
        ("cdn.signal.org", "13.224.189.90", 16509, AMAZON),
        ("cdn2.signal.org", "104.18.37.148", 13335, "Cloudflare, Inc."),
        ("sfu.voip.signal.org", "34.49.5.136", 396982, GOOGLE),
    ];
    let mut visit = Visit::new(false, stream);
    for (host, ip, asn, org) in BACKENDS {
        let here = [Address { ip, asn: *asn, org }];
        visit.lookup(host, 0, Answer::Addresses(&here), Answer::Addresses(&here));
        let flow = visit.connect(ip, 443, None, false, true);
        visit.handshake(&flow, host, trouble.then_some("generic_timeout_error"), None);
        if !trouble {
            let url = format!("https://{host}/");
            visit.request(&flow, &url, host, &Reply::page(404, "server", ""));
        }
    }
    // The test's own name check; uptime.signal.org answers with a loopback address by design (ts-029).
    let uptime = [Address { ip: "127.0.0.1", asn: 0, org: "" }];
    visit.lookup("uptime.signal.org", 0, Answer::Addresses(&uptime), Answer::Addresses(&uptime));
    let (keys, runtime_us) = pour(
        visit,
        json!({
            "agent": "redirect", "failed_operation": null, "failure": null,
            "signal_backend_failure": trouble.then_some("generic_timeout_error"),
            "signal_backend_status": if trouble { "blocked" } else { "ok" },
        }),
    );
    Run { version: "0.2.5", input: None, target: "signal", keys, runtime_us }
}

/// facebook_messenger (ts-019). Trouble: the provider's resolver denies the names under facebook.com.
pub fn facebook_messenger(trouble: bool, stream: &mut Stream) -> Run {
    const ROLES: &[(&str, &str)] = &[
        ("b_api", "b-api.facebook.com"),
        ("b_graph", "b-graph.facebook.com"),
        ("edge", "edge-mqtt.facebook.com"),
        ("external_cdn", "external.xx.fbcdn.net"),
        ("scontent_cdn", "scontent.xx.fbcdn.net"),
        ("star", "star.c10r.facebook.com"),
    ];
    let mut visit = Visit::new(false, stream);
    let mut keys = json!({
        "agent": "redirect", "failed_operation": null, "failure": null,
        "facebook_dns_blocking": trouble, "facebook_tcp_blocking": false,
        "facebook_stun_dns_consistent": true, "facebook_stun_reachable": null,
    });
    let here = [Address { ip: "157.240.205.1", asn: 32934, org: META }];
    for (role, host) in ROLES {
        let denied = trouble && host.ends_with("facebook.com");
        let answer = if denied { Answer::Failure("dns_nxdomain_error") } else { Answer::Addresses(&here) };
        visit.lookup(host, 0, answer, Answer::Addresses(&here));
        keys[format!("facebook_{role}_dns_consistent")] = json!(!denied);
        keys[format!("facebook_{role}_reachable")] = if denied { Value::Null } else { json!(true) };
        if !denied {
            visit.connect(here[0].ip, 443, None, false, true);
        }
    }
    let (keys, runtime_us) = pour(visit, keys);
    Run { version: "0.2.1", input: None, target: "facebook_messenger", keys, runtime_us }
}

/// tor (ts-023): directory authorities and default bridges. Trouble: SYNs to them unanswered.
pub fn tor(trouble: bool, stream: &mut Stream) -> Run {
    const TARGETS: &[(&str, &str, &str, u16, &str)] = &[
        ("128.31.0.39:9101", "moria1", "128.31.0.39", 9101, "or_port_dirauth"),
        ("131.188.40.189:443", "gabelmoo", "131.188.40.189", 443, "or_port_dirauth"),
        ("193.23.244.244:443", "dannenberg", "193.23.244.244", 443, "or_port_dirauth"),
        ("2b5951c0a1ffa86c", "", "37.218.240.34", 40035, "obfs4"),
        ("fded903f932e4a29", "", "193.11.166.194", 27015, "obfs4"),
    ];
    let mut targets = serde_json::Map::new();
    let mut clock = 0;
    for (id, name, ip, port, protocol) in TARGETS {
        let failure = trouble.then_some("generic_timeout_error");
        let t0 = clock;
        clock += if trouble { 10_000_000 } else { 40_000 + stream.between(0, 30_000) };
        let mut summary = json!({"connect": {"failure": failure}});
        if !trouble {
            summary["handshake"] = json!({"failure": null});
        }
        targets.insert(
            (*id).to_owned(),
            json!({
                "agent": "redirect", "failure": failure,
                "network_events": [{
                    "address": format!("{ip}:{port}"), "failure": failure, "operation": "connect",
                    "proto": "tcp", "t0": seconds(t0), "t": seconds(clock),
                }],
                "queries": null, "requests": null, "summary": summary,
                "target_address": format!("{ip}:{port}"), "target_name": name, "target_protocol": protocol,
                "tcp_connect": [{
                    "ip": ip, "port": port, "t0": seconds(t0), "t": seconds(clock),
                    "status": {"failure": failure, "success": failure.is_none()},
                }],
                "tls_handshakes": null,
            }),
        );
    }
    let good = |n: u32| if trouble { 0 } else { n };
    let keys = json!({
        "dir_port_accessible": 0, "dir_port_total": 0,
        "obfs4_accessible": good(2), "obfs4_total": 2,
        "or_port_accessible": 0, "or_port_total": 0,
        "or_port_dirauth_accessible": good(3), "or_port_dirauth_total": 3,
        "targets": targets,
    });
    Run { version: "0.4.0", input: None, target: "tor", keys, runtime_us: clock }
}

/// vanilla_tor (ts-016) and torsf (ts-030). Trouble: the bootstrap stops at the first relay.
pub fn bootstrap(snowflake: bool, trouble: bool, stream: &mut Stream) -> Run {
    let limit = if snowflake { 600 } else { 200 };
    let time = 18_000_000 + stream.between(0, 40_000_000);
    let mut keys = json!({
        "bootstrap_time": if trouble { 0.0 } else { seconds(time) },
        "error": trouble.then_some("timeout-reached"),
        "failure": trouble.then_some("generic_timeout_error"),
        "success": !trouble,
        "timeout": limit,
        "tor_logs": if trouble {
            json!(["[notice] Bootstrapped 10% (conn_done): Connected to a relay"])
        } else {
            json!(["[notice] Bootstrapped 10% (conn_done): Connected to a relay", "[notice] Bootstrapped 100% (done): Done"])
        },
        "tor_progress": if trouble { 10 } else { 100 },
        "tor_progress_summary": if trouble { "Connected to a relay" } else { "Done" },
        "tor_progress_tag": if trouble { "conn_done" } else { "done" },
        "tor_version": "0.4.8.16",
        "transport_name": if snowflake { "snowflake" } else { "vanilla" },
    });
    if snowflake {
        keys["persistent_datadir"] = json!(true);
        keys["rendezvous_method"] = json!("domain_fronting");
    }
    let runtime_us = if trouble { limit * 1_000_000 } else { time };
    Run {
        version: if snowflake { "0.4.0" } else { "0.3.1" },
        input: None,
        target: if snowflake { "torsf" } else { "vanilla_tor" },
        keys,
        runtime_us,
    }
}

/// dnscheck (ts-028) of a public DNS-over-TLS resolver. Trouble: connections to it time out.
pub fn dnscheck(trouble: bool, stream: &mut Stream) -> Run {
    let here = [Address { ip: "8.8.8.8", asn: 15169, org: GOOGLE }];
    let mut first = Visit::new(false, stream);
    first.lookup("dns.google", 0, Answer::Addresses(&here), Answer::Addresses(&here));
    let (bootstrap, _) = pour(first, json!({"agent": "", "failed_operation": null, "failure": null}));
    let mut visit = Visit::new(false, stream);
    let failure = trouble.then_some("generic_timeout_error");
    let flow = visit.connect("8.8.8.8", 853, failure, false, true);
    if !trouble {
        visit.handshake(&flow, "dns.google", None, None);
    }
    let answer = [Address { ip: "93.184.215.14", asn: 15133, org: "Edgecast Inc." }];
    let answer =
        if let Some(failure) = failure { Answer::Failure(failure) } else { Answer::Addresses(&answer) };
    let t = seconds(visit.clock_us());
    visit.query("example.org", "dot", "8.8.8.8:853", "A", answer, None, (0.0, t, 0), None);
    let (lookup, runtime_us) = pour(
        visit,
        json!({"agent": "redirect", "failed_operation": trouble.then_some("resolve"), "failure": failure}),
    );
    let keys = json!({
        "bootstrap": bootstrap, "bootstrap_failure": null, "domain": "example.org",
        "lookups": {"dot://8.8.8.8:853": lookup},
    });
    Run { version: "0.9.2", input: Some("dot://dns.google/"), target: "dns.google", keys, runtime_us }
}

/// openvpn (ts-040) over TCP. Trouble: the connection opens, the handshake gets no answer.
pub fn openvpn(trouble: bool, stream: &mut Stream) -> Run {
    let connected = 34_000 + stream.between(0, 60_000);
    let end = connected + if trouble { 60_000_000 } else { 180_000 + stream.between(0, 90_000) };
    let failure = trouble.then_some("generic_timeout_error");
    let packet = |operation: &str, opcode: &str, us: u64, attempt: u32| {
        json!({
            "operation": operation, "stage": "PRE_START", "t": seconds(us), "tags": [], "transaction_id": 1,
            "packet": {
                "operation": if operation == "packet_out" { "write" } else { "read" }, "opcode": opcode,
                "id": 0, "acks": null, "payload_size": 0, "send_attempts": attempt,
            },
        })
    };
    let mut events = vec![
        json!({"operation": "state", "stage": "PRE_START", "t": seconds(connected), "tags": [], "packet": null, "transaction_id": 1}),
        packet("packet_out", "P_CONTROL_HARD_RESET_CLIENT_V2", connected + 40, 1),
    ];
    if trouble {
        for attempt in 2..5_u32 {
            let us = connected + 2_000_000 * u64::from(attempt);
            events.push(packet("packet_out", "P_CONTROL_HARD_RESET_CLIENT_V2", us, attempt));
        }
    } else {
        events.push(packet("packet_in", "P_CONTROL_HARD_RESET_SERVER_V2", connected + 60_000, 0));
        events.push(json!({"operation": "state", "stage": "GENERATED_KEYS", "t": seconds(end), "tags": [], "packet": null, "transaction_id": 1}));
    }
    let keys = json!({
        "success": !trouble,
        "network_events": events,
        "tcp_connect": [{
            "ip": "51.15.187.53", "port": 1194, "status": {"failure": null, "success": true},
            "t0": 0.00003, "t": seconds(connected), "tags": [], "transaction_id": 1,
        }],
        "openvpn_handshake": [{
            "bootstrap_time": if trouble { 0.0 } else { seconds(end) },
            "endpoint": "openvpn://51.15.187.53:1194/tcp", "failure": failure, "ip": "51.15.187.53", "port": 1194,
            "transport": "tcp", "provider": "riseupvpn",
            "openvpn_options": {"auth": "SHA512", "cipher": "AES-256-GCM"},
            "t0": seconds(connected), "t": seconds(end), "tags": [], "transaction_id": 1,
        }],
        "tls_handshakes": [],
    });
    Run {
        version: "0.1.6",
        input: Some("openvpn://riseupvpn.corp/?address=51.15.187.53:1194&transport=tcp"),
        target: "riseupvpn.corp",
        keys,
        runtime_us: end,
    }
}

/// stunreachability (ts-025). Trouble: no answer to the binding request.
pub fn stun(trouble: bool, stream: &mut Stream) -> Run {
    let here = [Address { ip: "142.250.82.127", asn: 15169, org: GOOGLE }];
    let mut visit = Visit::new(false, stream);
    visit.lookup("stun.l.google.com", 0, Answer::Addresses(&here), Answer::Addresses(&here));
    let failure = trouble.then_some("generic_timeout_error");
    let asked = visit.clock_us();
    let end = asked + if trouble { 10_000_000 } else { 60_000 };
    let (mut keys, _) = pour(visit, json!({"endpoint": "stun.l.google.com:19302", "failure": failure}));
    let event = |operation: &str, us: u64, bytes: Option<u32>, failure: Option<&str>| {
        json!({
            "address": "142.250.82.127:19302", "failure": failure, "num_bytes": bytes,
            "operation": operation, "proto": "udp", "t": seconds(us),
        })
    };
    keys["network_events"] = json!([
        event("connect", asked, None, None),
        event("write", asked + 200, Some(20), None),
        event("read", end, if trouble { None } else { Some(32) }, failure),
    ]);
    Run {
        version: "0.4.1",
        input: Some("stun://stun.l.google.com:19302"),
        target: "stun.l.google.com",
        keys,
        runtime_us: end,
    }
}

/// psiphon (ts-015). Trouble: no tunnel.
pub fn psiphon(trouble: bool, stream: &mut Stream) -> Run {
    let time = 4_000_000 + stream.between(0, 9_000_000);
    let keys = json!({
        "agent": "redirect",
        "bootstrap_time": if trouble { 0.0 } else { seconds(time) },
        "failed_operation": null,
        "failure": trouble.then_some("generic_timeout_error"),
        "max_runtime": 60, "network_events": null, "queries": null, "requests": [],
        "socksproxy": if trouble { Value::Null } else { json!("127.0.0.1:50221") },
        "tcp_connect": null, "tls_handshakes": null,
    });
    Run { version: "0.6.0", input: None, target: "psiphon", keys, runtime_us: time }
}

/// quicping (ts-031): datagrams of an unknown version, which a server answers with its versions. They pass
/// where QUIC version 1 does not: the filter looks at version 1 only.
pub fn quicping(trouble: bool, stream: &mut Stream) -> Run {
    let mut pings = Vec::new();
    for n in 0..3_u64 {
        let t = n * 1_000_000;
        let id = format!("{:016x}{:016x}", stream.next(), stream.next());
        let answers = if trouble {
            json!([])
        } else {
            json!([{
                "failure": null, "t": seconds(t + 42_000), "supported_versions": [1, 1_799_418_369_u32],
                "response_data": {"data": "wAAAAAAQeaSVRFdNQWB5TNrJ27fSiA==", "format": "base64"},
            }])
        };
        pings.push(json!({
            "conn_id_dst": id, "conn_id_src": id,
            "failure": trouble.then_some("generic_timeout_error"),
            "request": {"data": "wbq6uroAAAAA", "format": "base64"}, "responses": answers, "t": seconds(t),
        }));
    }
    let keys =
        json!({"domain": "www.youtube.com", "pings": pings, "repetitions": 3, "unexpected_responses": null});
    Run {
        version: "0.1.0",
        input: Some("www.youtube.com"),
        target: "www.youtube.com",
        keys,
        runtime_us: 3_060_000,
    }
}

/// echcheck (ts-039). Trouble: hellos that carry an ECH extension and the outer name cloudflare-ech.com get
/// no answer; the one without the extension passes.
pub fn echcheck(trouble: bool, stream: &mut Stream) -> Run {
    let rtt = 30_000 + stream.between(0, 40_000);
    let mut clock = rtt;
    let mut rows = Vec::new();
    for ech in [None, Some("GREASE"), Some("AEX+DQBB")] {
        let failure = (trouble && ech.is_some()).then_some("generic_timeout_error");
        let t0 = clock;
        clock += if failure.is_some() { 10_000_000 } else { rtt };
        let mut row = json!({
            "address": "104.18.10.118:443",
            "cipher_suite": if failure.is_some() { "" } else { "TLS_AES_128_GCM_SHA256" },
            "failure": failure,
            "negotiated_protocol": if failure.is_some() { "" } else { "h2" },
            "network": "tcp", "no_tls_verify": true, "peer_certificates": [],
            "server_name": "cloudflare-ech.com", "t0": seconds(t0), "t": seconds(clock), "tags": [],
            "tls_version": if failure.is_some() { "" } else { "TLSv1.3" },
        });
        if let Some(ech) = ech {
            row["echconfig"] = json!(ech);
            row["outer_server_name"] = json!("cloudflare-ech.com");
        }
        rows.push(row);
    }
    Run {
        version: "0.3.0",
        input: Some("https://cloudflare-ech.com/cdn-cgi/trace"),
        target: "cloudflare-ech.com",
        keys: json!({"tls_handshakes": rows}),
        runtime_us: clock,
    }
}

/// urlgetter (ts-027) over HTTP/3. Trouble: QUIC's Initial gets no answer.
pub fn urlgetter(trouble: bool, stream: &mut Stream) -> Run {
    let here = [Address { ip: "142.250.74.46", asn: 15169, org: GOOGLE }];
    let mut visit = Visit::new(false, stream);
    visit.lookup("www.youtube.com", 0, Answer::Addresses(&here), Answer::Addresses(&here));
    let failure = trouble.then_some("generic_timeout_error");
    let t0 = visit.clock_us();
    let end = t0 + if trouble { 10_000_000 } else { 65_000 };
    let (mut keys, _) = pour(
        visit,
        json!({"agent": "redirect", "failed_operation": trouble.then_some("quic_handshake"), "failure": failure}),
    );
    keys["quic_handshakes"] = json!([{
        "address": "142.250.74.46:443", "cipher_suite": if trouble { "" } else { "TLS_AES_128_GCM_SHA256" },
        "failure": failure, "negotiated_protocol": if trouble { "" } else { "h3" }, "network": "udp",
        "no_tls_verify": false, "peer_certificates": null, "server_name": "www.youtube.com",
        "t0": seconds(t0), "t": seconds(end), "tags": [], "tls_version": if trouble { "" } else { "TLSv1.3" },
    }]);
    let mut events = vec![
        json!({"failure": null, "operation": "quic_handshake_start", "t": seconds(t0)}),
        json!({"address": "142.250.74.46:443", "failure": null, "num_bytes": 1252, "operation": "write_to", "proto": "udp", "t": seconds(t0 + 900)}),
    ];
    if !trouble {
        events.push(json!({"address": "142.250.74.46:443", "failure": null, "num_bytes": 1252, "operation": "read_from", "proto": "udp", "t": seconds(end - 2_000)}));
        keys["requests"] = http3_request(seconds(end));
    }
    events.push(json!({"failure": failure, "operation": "quic_handshake_done", "t": seconds(end)}));
    keys["network_events"] = json!(events);
    Run {
        version: "0.2.0",
        input: Some("https://www.youtube.com/"),
        target: "www.youtube.com",
        keys,
        runtime_us: end,
    }
}

fn http3_request(t: f64) -> Value {
    json!([{
        "failure": null,
        "request": {
            "body": "", "body_is_truncated": false, "headers": {}, "headers_list": [], "method": "GET",
            "tor": {"exit_ip": null, "exit_name": null, "is_tor": false},
            "url": "https://www.youtube.com/", "x_transport": "udp",
        },
        "response": {
            "body": super::page::page("Video site", 1_180), "body_is_truncated": false, "code": 200,
            "headers": {"Server": "ESF"}, "headers_list": [["Server", "ESF"]],
        },
        "t": t,
    }])
}

/// http_invalid_request_line (ts-007): what the echo server received. Trouble: a proxy on the path answered.
pub fn invalid_request_line(trouble: bool, stream: &mut Stream) -> Run {
    let nonsense = format!("{:08x} / HTTP/1.1\n\r", stream.next() as u32);
    let sent = [
        nonsense,
        "GET / HTTP/KP\n\r".to_owned(),
        "HEAD / HTTP/1.1\n\r".to_owned(),
        "GET / HTTP/11.2\n\r".to_owned(),
    ];
    let received: Vec<&str> = if trouble {
        vec!["HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"; sent.len()]
    } else {
        sent.iter().map(String::as_str).collect()
    };
    let keys = json!({
        "failure_list": vec![Value::Null; sent.len()], "received": received, "sent": sent,
        "tampering": trouble, "tampering_list": vec![trouble; sent.len()],
    });
    Run { version: "0.2.1", input: None, target: "http_invalid_request_line", keys, runtime_us: 1_400_000 }
}

/// http_header_field_manipulation (ts-006): headers as they arrived. Trouble: a proxy rewrote their case.
pub fn header_fields(trouble: bool, stream: &mut Stream) -> Run {
    let token = format!("{:012x}.com", stream.next() >> 16);
    let sent = json!({"aCcEPt": "*/*", "hOST": token, "uSEr-AgeNT": "Mozilla/5.0 (X11; Linux x86_64)"});
    let arrived = if trouble {
        json!({"Accept": "*/*", "Host": token, "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "Via": "1.1 proxy"})
    } else {
        sent.clone()
    };
    let echo = json!({"headers_dict": arrived, "request_headers": [], "request_line": "GeT / HTTP/1.1"});
    let keys = json!({
        "agent": "agent", "client_resolver": null,
        "requests": [{
            "failure": null,
            "request": {"body": "", "headers": sent, "method": "GeT", "url": "http://37.218.241.94:80", "tor": {"is_tor": false, "exit_ip": null, "exit_name": null}},
            "response": {"body": echo.to_string(), "code": 200, "headers": {}},
            "t": 0.081,
        }],
        "socksproxy": null,
        "tampering": {
            "header_field_name": trouble, "header_field_number": trouble, "header_field_value": false,
            "header_name_capitalization": trouble, "header_name_diff": [], "request_line_capitalization": trouble,
            "total": false,
        },
    });
    Run { version: "0.2.1", input: None, target: "http_header_field_manipulation", keys, runtime_us: 900_000 }
}

/// ndt (ts-022): speed to a measurement server. Numbers, no judgement.
pub fn ndt(stream: &mut Stream) -> Run {
    let down = 20_000.0 + stream.between(0, 60_000) as f64;
    let keys = json!({
        "failure": null, "protocol": 7, "download": [], "upload": [],
        "server": {"hostname": "ndt-mlab1-fra05.mlab-oti.measurement-lab.org", "site": "fra05"},
        "summary": {
            "avg_rtt": 48.2, "download": down, "max_rtt": 90.4, "min_rtt": 31.7, "mss": 1448, "ping": 31.7,
            "retransmit_rate": 0.002, "upload": down / 3.0,
        },
    });
    Run { version: "0.10.1", input: None, target: "ndt", keys, runtime_us: 21_000_000 }
}

/// dash (ts-021): streaming bitrate. Numbers, no judgement.
pub fn dash(stream: &mut Stream) -> Run {
    let rate = 8_000 + stream.between(0, 30_000);
    let keys = json!({
        "failure": null, "receiver_data": [],
        "simple": {"connect_latency": 0.0421, "median_bitrate": rate, "min_playout_delay": 0.31},
    });
    Run { version: "0.13.0", input: None, target: "dash", keys, runtime_us: 32_000_000 }
}
