//! Arms of tests that compare: one row each, in the columns that other observations use where they can.

mod reading;

use okno_model::Failure;
use reading::{measurement, read};

#[test]
fn an_arm_becomes_one_row_with_its_role_and_its_numbers() {
    let rows = read(&measurement(
        "throttling",
        r#","input":"https://a.example/""#,
        r#"{"arms":[
            {"name":"target.1","role":"target","round":1,"transaction_id":7,"operation":"transfer","endpoint":"192.0.2.1:443","server_name":"A.example","variant":"","failure":"generic_timeout_error","failed_at":"transfer","t0":1.5,"t":4.0,"sent_bytes":300,"received_bytes":20000,"sent_packets":3,"received_packets":16,"goodput":8000.5,"rtt_ms":120.25,"note":"silence"},
            {"name":"random","role":"random","round":0,"transaction_id":0,"operation":"udp_exchange","endpoint":"[2001:db8::1]:51820","server_name":"","variant":"wireguard","failure":null,"failed_at":"","t0":0,"t":0.1,"sent_bytes":0,"received_bytes":0,"sent_packets":10,"received_packets":9,"loss":0.1,"ttl":4,"value":-3}],
          "tcp_connect":[{"transaction_id":7,"ip":"192.0.2.1","port":443,"status":{"failure":null,"success":true}}]}"#,
    ));
    assert_eq!(rows.why(), []);
    assert_eq!(rows.measured().target, "a.example");
    let arms: Vec<_> = rows.observations.iter().filter(|row| row.arm.is_some()).collect();
    let [target, random] = arms[..] else { panic!("{} arms", arms.len()) };
    assert_eq!((target.arm.as_deref(), target.arm_role.as_deref()), (Some("target.1"), Some("target")));
    assert_eq!((target.ip.as_deref(), target.port), (Some("192.0.2.1"), Some(443)));
    assert_eq!((target.tls_server_name.as_deref(), target.transaction), (Some("a.example"), 7));
    assert_eq!((target.arm_success, target.arm_failure), (Some(false), Some(Failure::GenericTimeout)));
    assert_eq!((target.rx_bytes, target.tx_bytes, target.arm_us), (Some(20_000), Some(300), Some(2_500_000)));
    assert_eq!((target.arm_goodput_bytes_s, target.arm_rtt_ms), (Some(8000.5), Some(120.25)));
    assert_eq!((target.arm_variant.as_deref(), target.arm_note.as_deref()), (None, Some("silence")));
    assert_eq!((random.ip.as_deref(), random.port), (Some("2001:db8::1"), Some(51_820)));
    assert_eq!((random.arm_success, random.arm_loss_share), (Some(true), Some(0.1)));
    assert_eq!((random.arm_ttl, random.arm_value, random.app.as_deref()), (Some(4), Some(-3.0), None));
}

#[test]
fn what_is_no_arm_is_passed_over_and_noted() {
    for keys in [r#"{"arms":{}}"#, r#"{"arms":null}"#, r#"{"arms":[3,null,"x"]}"#, r#"{"arms":7}"#] {
        let rows = read(&measurement("throttling", "", keys));
        assert_eq!(rows.observations.len(), 0, "{keys}");
    }
    let odd = r#"{"arms":[{"name":["x"],"role":3,"goodput":"fast","loss":7,"failure":false}]}"#;
    let rows = read(&measurement("throttling", "", odd));
    assert_eq!((rows.observations.len(), rows.observations[0].arm_success), (1, None));
    assert_eq!(rows.observations[0].arm_loss_share, None);
}

#[test]
fn an_endpoint_without_an_address_keeps_its_name() {
    let arms = r#"{"arms":[{"name":"target","role":"target","endpoint":"b.example:443","failure":"dns_nxdomain_error","failed_at":"dns"}]}"#;
    let rows = read(&measurement("whitelist", r#","input":null"#, arms));
    assert_eq!(rows.measured().target, "network");
    assert_eq!(
        (rows.observations[0].hostname.as_deref(), rows.observations[0].ip.as_deref()),
        (Some("b.example"), None)
    );
}
