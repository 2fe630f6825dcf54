//! `web_connectivity` (ts-017): can a page be fetched here, and if not, at which step does it break while a
//! helper elsewhere can.
//!
//! Version 0.5 is what OONI's probe measures today; 0.4 is what older probes did and still do, so that lab
//! scenarios can place both. Three things differ from OONI's on purpose: special addresses are not contacted
//! (a filter's bogon may be somebody's router), the resolver's address is not written, and so no `whoami`
//! lookups are made.

mod keys;
mod lookups;
mod measure;
mod older;
pub mod older_verdict;
pub mod priority;
pub mod seen;
pub mod verdict;

use core::cell::Cell;
use core::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Endpoint, Instant, Task, World, below};
use measure::{Hop, Measure, bare};

/// What OONI's probe writes when it is sent on more than ten times.
pub const TOO_MANY_REDIRECTS: &str = "unknown_failure: stopped after too many redirects";
/// What it writes without a helper.
pub const NO_HELPER: &str = "unknown_failure: no available helpers";

/// Which version of the test is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Variant {
    /// as OONI's probe does now
    #[default]
    #[serde(rename = "0.5")]
    V05,
    /// as probes did until 2023: the system's resolver alone, and one client for page and redirects
    #[serde(rename = "0.4")]
    V04,
}

/// The test.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebConnectivity {
    /// `0.5` or `0.4`
    pub variant: Variant,
    /// resolvers over UDP, `address:port`; one is drawn for each measurement, none asked when empty
    pub udp_resolvers: Vec<String>,
    /// URLs of resolvers over HTTPS; one is drawn every 20 to 40 seconds, none asked when empty
    pub doh: Vec<String>,
    /// whether QUIC handshakes are tried beside TLS ones, and the helper asked to do so too; OONI's test does
    /// not, so the list `quic_handshakes` is there only then
    pub quic: bool,
    /// most addresses of one host that are tried
    pub most_addresses: usize,
    /// whether private and other special addresses are contacted too: for tests in own networks
    pub private_targets: bool,
    /// whether bodies are written
    pub bodies: bool,
    /// when the next lookup over HTTPS is due
    #[serde(skip)]
    doh_due: Cell<Option<Instant>>,
}

impl Default for WebConnectivity {
    fn default() -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            variant: Variant::V05,
            // probe-cli webconnectivityalgo/dnsoverudp.go
            udp_resolvers: owned(&[
                "8.8.8.8:53",
                "8.8.4.4:53",
                "9.9.9.9:53",
                "149.112.112.112:53",
                "1.1.1.1:53",
                "1.0.0.1:53",
                "208.67.222.222:53",
                "208.67.220.220:53",
            ]),
            // webconnectivitylte/measurer.go
            doh: owned(&[
                "https://mozilla.cloudflare-dns.com/dns-query",
                "https://dns.nextdns.io/dns-query",
                "https://dns.google/dns-query",
                "https://dns.quad9.net/dns-query",
            ]),
            quic: false,
            most_addresses: 24,
            private_targets: false,
            bodies: true,
            doh_due: Cell::new(None),
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether a web page can be fetched, and at which step it breaks",
    trigger: "the page's name in DNS, in TLS and in HTTP, and its addresses",
    control: "a helper elsewhere looks the name up, connects to the same addresses and fetches the same page; \
              resolvers over UDP and HTTPS are asked beside the system's",
    logic: "a step that fails here and not for the helper, or a page that differs from the helper's, is an \
            anomaly of that step",
    blind: "who interferes: an outage of the site between two fetches, a site that turns away the helper's or \
            this country, and a page that differs by region look alike in one measurement; slow transfers \
            show only for pages of some size; QUIC is not tried",
    bytes: 400_000,
    seconds: 60,
    risk: Risk::Elevated,
    risk_note: "your network sees that you open the page, and the helper sees its URL; where visiting it is \
                held against people, so may this be",
    source: "OONI ts-017 (https://github.com/ooni/spec/blob/master/nettests/ts-017-web-connectivity.md)",
};

impl WebConnectivity {
    /// The resolver over HTTPS that is due, if any (webconnectivityalgo/dnsoverhttps.go): the first
    /// measurement asks one, then every 20 to 40 seconds another does.
    fn next_doh(&self, world: &World) -> Option<String> {
        let now = world.now();
        if self.doh.is_empty() || self.doh_due.get().is_some_and(|due| now < due) {
            return None;
        }
        self.doh_due.set(Some(now + Duration::from_secs(20 + below(&**world, 20))));
        let index = usize::try_from(below(&**world, self.doh.len() as u64)).ok()?;
        self.doh.get(index).cloned()
    }

    async fn measure(&self, context: &Context, url: Url) -> Value {
        if self.variant == Variant::V04 {
            return older::measure(context, self, url).await;
        }
        let measure = Measure::new(context, self);
        measure.hop(Hop { url: url.clone(), referer: String::new(), depth: 0 }).await;
        keys::of(&measure)
    }
}

/// The URL of an input.
fn url_of(input: Option<&str>) -> Result<Url, String> {
    let text = input.ok_or("needs a URL, such as https://www.example.org/")?;
    let mut url =
        Url::parse(text).map_err(|error| format!("{text:?} is no URL such as https://site/: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("{text:?} is no http or https URL with a host"));
    }
    bare(&mut url);
    Ok(url)
}

/// Hosts that a measurement of `url` contacts.
fn page_contacts(url: &Url) -> Vec<Contact> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let ports = match (url.port(), url.scheme()) {
        (Some(port), _) => vec![port],
        (None, "https") => vec![443],
        (None, _) => vec![80, 443],
    };
    let page = ports.into_iter().map(|port| Contact {
        host: host.to_owned(),
        port: format!("tcp/{port}"),
        purpose: "the page".to_owned(),
    });
    let on = Contact {
        host: "*".to_owned(),
        port: "tcp/*".to_owned(),
        purpose: "hosts that the page sends on to, up to ten in a row".to_owned(),
    };
    page.chain([on]).collect()
}

impl Experiment for WebConnectivity {
    fn name(&self) -> &'static str {
        "web_connectivity"
    }

    fn version(&self) -> &'static str {
        match self.variant {
            Variant::V05 => "0.5.28",
            Variant::V04 => "0.4.3",
        }
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        true
    }

    fn contacts(&self, input: Option<&str>) -> Vec<Contact> {
        let mut contacts = url_of(input).map(|url| page_contacts(&url)).unwrap_or_default();
        if self.variant == Variant::V04 {
            return contacts;
        }
        let is_secure = url_of(input).is_ok_and(|url| url.scheme() == "https");
        if let (true, Some(page)) = (self.quic && is_secure, contacts.first().cloned()) {
            let port = page.port.replace("tcp/", "udp/");
            contacts.push(Contact { port, purpose: "the page over QUIC".to_owned(), ..page });
        }
        contacts.extend(self.udp_resolvers.iter().filter_map(|text| text.parse::<Endpoint>().ok()).map(
            |end| Contact {
                host: end.ip.to_string(),
                port: format!("udp/{}", end.port),
                purpose: "a resolver to compare with".to_owned(),
            },
        ));
        contacts.extend(self.doh.iter().filter_map(|text| Url::parse(text).ok()).map(|url| Contact {
            host: url.host_str().unwrap_or_default().to_owned(),
            port: format!("tcp/{}", url.port_or_known_default().unwrap_or(443)),
            purpose: "a resolver over HTTPS, now and then".to_owned(),
        }));
        contacts
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move { Ok(self.measure(context, url_of(input)?).await) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_named_before_it_is_contacted() {
        let test = WebConnectivity { quic: true, ..WebConnectivity::default() };
        let named = |input| {
            let contacts = test.contacts(Some(input)).into_iter();
            contacts.map(|contact| format!("{} {}", contact.host, contact.port)).collect::<Vec<_>>()
        };
        let secure = named("https://user:secret@site.example/path");
        for wanted in [
            "site.example tcp/443",
            "site.example udp/443",
            "* tcp/*",
            "8.8.8.8 udp/53",
            "dns.google tcp/443",
        ] {
            assert!(secure.iter().any(|found| found == wanted), "{wanted}: {secure:?}");
        }
        let clear = named("http://site.example/");
        assert!(
            clear.contains(&"site.example tcp/80".to_owned())
                && clear.contains(&"site.example tcp/443".to_owned())
        );
        assert!(!clear.iter().any(|found| found.ends_with("udp/80")));
        assert!(named("http://[2a00::1]:8080/").contains(&"2a00::1 tcp/8080".to_owned()));
        let old = WebConnectivity { variant: Variant::V04, ..WebConnectivity::default() };
        assert_eq!(old.contacts(Some("https://site.example/")).len(), 2, "the page and where it sends on to");
    }

    #[test]
    fn an_input_that_is_no_page_is_refused_with_an_example() {
        for wrong in [None, Some("site.example"), Some("ftp://site.example/"), Some("http://")] {
            assert!(url_of(wrong).is_err(), "{wrong:?}");
        }
        let url = url_of(Some("https://user:secret@site.example/#part")).unwrap();
        assert_eq!(url.as_str(), "https://site.example/", "nothing of it is private");
    }
}
