//! `certificates`: is the certificate that stands at a name the site's own, or somebody else's on the way?
//!
//! Handshakes without and with judging the chain: at the address that the system's resolver gave, at those
//! that another resolver gave, with the name and with a neutral one; and the same endpoint as the helper saw
//! it. Each arm bears the SHA-256 of the leaf; whole chains stand in `tls_handshakes`.

use core::net::IpAddr;

use okno_wire::x509::CertificateView;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::arms::{Arm, Role};
use crate::dns::{self, Resolver};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::guard::ANYWHERE;
use crate::helper::web::{Ask, ask, protocol::HelperRequest};
use crate::net::{Dial, Endpoint, Task};
use crate::tcp;
use crate::tls::{self, Sni, TlsOptions};
use crate::trial::{Place, Trials, arm, contact};

/// What may be chosen.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Certificates {
    /// a name that nobody filters
    pub neutral: String,
    /// another resolver over HTTPS; empty leaves it out
    pub doh_url: String,
    /// its address
    pub doh_address: String,
    /// names of state authorities, as they stand in common names of chains
    pub state_authorities: Vec<String>,
    /// most addresses beside the first
    pub most_addresses: usize,
}

impl Default for Certificates {
    /// Authorities of states that asked citizens to trust them: Russia 2022
    /// (https://www.gosuslugi.ru/crt), Kazakhstan 2015–2020
    /// (https://censoredplanet.org/kazakhstan).
    fn default() -> Self {
        let names = [
            "Russian Trusted Root CA",
            "Russian Trusted Sub CA",
            "Qaznet Trust Network",
            "Information Security Certification Authority CA",
            "Information Security Certification Authority",
        ];
        Self {
            neutral: "www.example.com".to_owned(),
            doh_url: "https://dns.google/dns-query".to_owned(),
            doh_address: "8.8.8.8".to_owned(),
            state_authorities: names.map(str::to_owned).to_vec(),
            most_addresses: 3,
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether a site's certificate is substituted on the way",
    trigger: "a TLS handshake with the name, at the address that the resolver gives",
    control: "the name at addresses of another resolver, a neutral name at the same address, the helper's \
              handshake with the same endpoint",
    logic: "the chain does not verify here and does from outside or at another address: substituted; it \
            does not verify anywhere: the site's own fault, or its own choice of authority; a state's \
            authority for a site that shows another chain elsewhere: interception by the state",
    blind: "substitution by an authority that clients trust, where the other views are on the same path; \
            TLS 1.3 behind a box that lets certificates pass",
    bytes: 40_000,
    seconds: 60,
    risk: Risk::Elevated,
    risk_note: "shows the site's name to whoever looks at your traffic, a few times, as opening the site \
            would",
    source: "https://censoredplanet.org/kazakhstan; certificate verification of RFC 9525",
};

/// What a handshake showed.
struct Shown {
    leaf: String,
    state: bool,
}

impl Certificates {
    fn shown(&self, chain: &[crate::trace::Binary]) -> Shown {
        let leaf = chain.first().map(|leaf| {
            let digest = Sha256::digest(&leaf.0);
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        });
        let is_state = |der: &crate::trace::Binary| {
            let Ok(view) = CertificateView::parse(&der.0) else { return false };
            let names = [view.issuer.common_name(), view.subject.common_name()];
            names.into_iter().flatten().any(|name| self.state_authorities.iter().any(|known| known == name))
        };
        Shown { leaf: leaf.unwrap_or_default(), state: chain.iter().any(is_state) }
    }

    /// One handshake that judges the chain by `name`, whatever name is shown.
    async fn shake(&self, trials: &Trials<'_>, arm: Arm, to: Endpoint, name: &str, sni: Sni) {
        let shown_name = match &sni {
            Sni::Same => name,
            Sni::Absent => "",
            Sni::Other(other) => other,
        };
        let mut arm = arm.toward(to, shown_name);
        let scope = trials.scope(&mut arm);
        match tcp::connect_detailed(&scope, Dial::to(to)).await {
            Err(error) => arm.fail("tcp", error.kind.failure()),
            Ok(flow) => {
                let options = TlsOptions { sni, ..TlsOptions::web() };
                let done = tls::handshake(&scope, flow, to, name, &options).await;
                if let Err(failure) = done {
                    arm.fail("tls", failure);
                }
                let records = trials.trace.tls_handshakes();
                if let Some(record) = records.last() {
                    let shown = self.shown(&record.peer_certificates);
                    arm.variant = shown.leaf;
                    if shown.state { "state_authority" } else { "" }.clone_into(&mut arm.note);
                    arm.received_packets = record.peer_certificates.len() as u64;
                }
            }
        }
        trials.book.close(arm);
    }

    /// What the helper saw at the endpoint.
    async fn outside(&self, trials: &Trials<'_>, to: Endpoint, place: &Place) {
        let context = trials.context;
        let Some(url) = &context.helper else { return };
        let mut arm = arm(&trials.book, "outside", Role::Outside, 0, "tls_handshake").toward(to, &place.host);
        let request = HelperRequest {
            http_request: format!("https://{}/", place.host),
            tcp_connect: vec![to.to_string()],
            ..HelperRequest::default()
        };
        let whom = Ask { url, addresses: &context.helper_addresses };
        let Ok(response) = ask(context, whom, &request).await else { return };
        // The helper looks at port 443 alone, and at addresses that it takes for the site's.
        let Some(seen) = response.tls_handshake.get(&to.to_string()) else { return };
        if let Some(failure) = &seen.failure {
            arm.failure = Some(failure.clone());
            "tls".clone_into(&mut arm.failed_at);
        }
        trials.book.close(arm);
    }

    /// Addresses by the other resolver.
    async fn elsewhere(&self, trials: &Trials<'_>, host: &str) -> Vec<IpAddr> {
        let Ok(ip) = self.doh_address.parse() else { return Vec::new() };
        if self.doh_url.is_empty() || host.parse::<IpAddr>().is_ok() {
            return Vec::new();
        }
        let scope = crate::trace::Scope::new(trials.context, &trials.trace, &[]);
        let resolver = Resolver::Doh { endpoint: Endpoint { ip, port: 443 }, url: self.doh_url.clone() };
        dns::lookup(&scope, &resolver, host).await.addresses
    }

    async fn measure(&self, context: &Context, input: &str) -> Result<Value, String> {
        let place = Place::parse(input, 443)?;
        let trials = Trials::new(context);
        let scope = crate::trace::Scope::new(context, &trials.trace, &[]);
        let found = dns::lookup(&scope, &Resolver::System, &place.host).await;
        let others = self.elsewhere(&trials, &place.host).await;
        let Some(first) = found.addresses.iter().chain(&others).min_by_key(|ip| ip.is_ipv6()).copied() else {
            let mut unresolved = arm(&trials.book, "target", Role::Target, 0, "tls_handshake");
            unresolved.endpoint = format!("{}:{}", place.host, place.port);
            unresolved.fail("dns", found.failure.unwrap_or(okno_model::Failure::DnsNoAnswer));
            trials.book.close(unresolved);
            return Ok(trials.keys());
        };
        let end = Endpoint { ip: first, port: place.port };
        let new = |label: &str, role, round| arm(&trials.book, label, role, round, "tls_handshake");
        for round in 0..2 {
            self.shake(&trials, new("target", Role::Target, round), end, &place.host, Sni::Same).await;
        }
        let neutral = Sni::Other(self.neutral.clone());
        self.shake(&trials, new("neutral", Role::NeutralName, 0), end, &place.host, neutral).await;
        self.shake(&trials, new("no_name", Role::Plain, 0), end, &place.host, Sni::Absent).await;
        let mut rest: Vec<IpAddr> = others.into_iter().filter(|ip| *ip != first).collect();
        rest.dedup();
        for (round, ip) in rest.into_iter().take(self.most_addresses).enumerate() {
            let other = new("other", Role::OtherAddress, u32::try_from(round).unwrap_or(u32::MAX));
            self.shake(&trials, other, Endpoint { ip, port: place.port }, &place.host, Sni::Same).await;
        }
        self.outside(&trials, end, &place).await;
        Ok(trials.keys())
    }
}

impl Experiment for Certificates {
    fn name(&self) -> &'static str {
        "certificates"
    }

    fn version(&self) -> &'static str {
        "0.1.0"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        true
    }

    fn contacts(&self, input: Option<&str>) -> Vec<Contact> {
        let Some(place) = input.and_then(|input| Place::parse(input, 443).ok()) else { return Vec::new() };
        let mut all = vec![place.contact("TLS handshakes")];
        if !self.doh_url.is_empty() && !self.doh_address.is_empty() {
            all.push(contact(&self.doh_address, "tcp/443", "addresses of the site by another resolver"));
            let port = format!("tcp/{}", place.port);
            all.push(contact(ANYWHERE, &port, "the site at the addresses that the other resolver gives"));
        }
        all
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let input = input.ok_or("certificates needs a name or a URL, like https://site.example/")?;
            self.measure(context, input).await
        })
    }
}
