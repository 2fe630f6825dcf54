//! web_connectivity in the lab: what it writes of each kind of interference, and what ingest and detect make
//! of that.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use okno_lab::probe::{Bench, Server};
use okno_lab::services::web::Web;
use okno_probe::helper::web::{Helper, HelperOptions};
use okno_probe::net::Net as _;
use okno_probe::nettests::by_name;
use okno_wire::Endpoint;
use serde_json::{Value, json};

const PAGE: &str = "<html><title>A page of pages</title><body>hello</body></html>";

/// A helper abroad, on port 443 with a certificate.
fn helper(bench: &mut Bench) -> Server {
    let server = bench.server("helper.example");
    let tls = bench.tls(&["helper.example"], &["http/1.1"]);
    let world = bench.world_of(server);
    bench.serve(server, move |_| async move {
        let listener = world.listen(Endpoint { ip: "0.0.0.0".parse().unwrap(), port: 443 }).unwrap();
        Helper::new(world.world(), HelperOptions::default()).run(listener, Some(tls)).await;
    });
    server
}

/// Measures; resolvers are the bench's.
fn measure(bench: &mut Bench, url: &str) -> Value {
    let dns = bench.public_dns;
    let options = json!({
        "udp_resolvers": [dns.end(53).to_string()],
        "doh": ["https://dns.example/dns-query"],
    });
    let test = by_name("web_connectivity", &options).unwrap();
    bench.measure_with(&test, Some(url), |context| context.helper = Some("https://helper.example/".into()))
}

#[test]
fn a_healthy_site_is_accessible() {
    let mut bench = Bench::open();
    helper(&mut bench);
    bench.web("site.example", Web::of_page(PAGE));
    let keys = measure(&mut bench, "https://site.example/");
    assert_eq!(keys["accessible"], true);
}
