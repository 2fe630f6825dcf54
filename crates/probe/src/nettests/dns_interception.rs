//! `dns_interception`: is the resolver that answers the one that was asked, and does it say the same to all?
//!
//! One resolver, one suspected and one neutral name, asked over UDP, TCP, TLS and HTTPS; an address that runs
//! no resolver, whose answer would be somebody else's; the port kept open for a second answer; the address
//! that a whoami name sees. Queries to 8.8.8.8 and 1.1.1.1 were turned to national resolvers over UDP alone
//! on 26 August 2026: https://github.com/net4people/bbs/issues/657.

use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;

use okno_wire::dns::{MessageView, kind};
use okno_wire::{Endpoint, dns as wire};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::address::is_public;
use crate::arm_book::ArmBook;
use crate::arms::{Arm, Role};
use crate::dns::{Answer, RecordType, Resolver, query_within};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Task, UdpSetup, below, random, receive};
use crate::talk::bout::target;
use crate::trace::{Scope, Trace};

/// Whom it asks for what.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsInterception {
    /// a name that nobody filters and that has had addresses for decades
    pub neutral: String,
    /// a name whose address is that of the resolver that asks for it
    /// (https://www.akamai.com/blog/developers/introducing-new-whoami-tool-dns-resolver-information)
    pub whoami: String,
    /// the resolver's name in certificates; known for the large public ones
    pub certificate_name: Option<String>,
    /// an address that is routed and runs no resolver; the helper's own (UDP port 53) when absent
    pub no_resolver: Option<IpAddr>,
    /// milliseconds for an answer
    pub patience_ms: u64,
    /// milliseconds that the port stays open for a second answer
    pub late_ms: u64,
    /// whoami queries over each transport: large resolvers ask from several addresses
    pub whoami_rounds: u32,
}

impl Default for DnsInterception {
    fn default() -> Self {
        Self {
            neutral: "example.com".to_owned(),
            whoami: "whoami.akamai.net".to_owned(),
            certificate_name: None,
            no_resolver: None,
            patience_ms: 4_000,
            late_ms: 2_000,
            whoami_rounds: 3,
        }
    }
}

/// Public resolvers and their names in certificates, from their operators' pages.
const KNOWN: [(&str, &str); 8] = [
    ("1.0.0.1", "one.one.one.one"),
    ("1.1.1.1", "one.one.one.one"),
    ("77.88.8.1", "common.dot.dns.yandex.net"),
    ("77.88.8.8", "common.dot.dns.yandex.net"),
    ("8.8.4.4", "dns.google"),
    ("8.8.8.8", "dns.google"),
    ("9.9.9.9", "dns.quad9.net"),
    ("94.140.14.14", "dns.adguard-dns.com"),
];

static MANUAL: Manual = Manual {
    title: "whether questions to a resolver are answered by it, and alike over all transports",
    trigger: "questions over UDP for a suspected name, to a public resolver and to an address that runs none",
    control: "a neutral name; TCP, TLS and HTTPS to the same resolver; the system's resolver; a port kept open for a second answer; a name that does not exist; a whoami name over UDP and TCP; mixed case and EDNS, which a box in between may lose",
    logic: "any answer from where no resolver runs: interception. Two different answers to one question: an injector races. Denied over UDP and right over TCP: a box answers, or turns queries to another resolver, when whoami names another network. Denied by all transports of one resolver alone: its own policy",
    blind: "who operates the resolver that really answers; interception that answers honestly and passes whoami; resolvers that give different answers by place",
    bytes: 60_000,
    seconds: 60,
    risk: Risk::Elevated,
    risk_note: "A suspected name is asked for in the clear, and resolvers abroad are contacted over TLS, which some networks forbid.",
    source: "https://github.com/net4people/bbs/issues/657",
};

/// What an input means.
struct Asked<'a> {
    resolver: Endpoint,
    name: &'a str,
    certificate: Option<String>,
}

/// One question.
struct Question<'a> {
    arm: &'a str,
    role: Role,
    round: u32,
    resolver: Resolver,
    name: &'a str,
}

/// One measurement at work.
struct Run<'a> {
    context: &'a Context,
    book: &'a ArmBook,
    trace: Rc<Trace>,
    patience: Duration,
}

impl DnsInterception {
    fn parse<'a>(&self, input: Option<&'a str>) -> Result<Asked<'a>, String> {
        let expected =
            || "give dns://RESOLVER_ADDRESS[:PORT]/NAME, as dns://8.8.8.8/www.youtube.com".to_owned();
        let input = input.ok_or_else(expected)?;
        let (resolver, name) = input.rsplit_once('/').ok_or_else(expected)?;
        let found = target(resolver).filter(|found| found.scheme == "dns").ok_or_else(expected)?;
        let ip: IpAddr = found.host.parse().map_err(|_| expected())?;
        if name.is_empty() || name.parse::<IpAddr>().is_ok() {
            return Err(expected());
        }
        let known = KNOWN.iter().find(|(address, _)| ip.to_string() == **address);
        let certificate = self.certificate_name.clone().or_else(|| known.map(|(_, name)| (*name).to_owned()));
        Ok(Asked { resolver: Endpoint { ip, port: found.port.unwrap_or(53) }, name, certificate })
    }

    fn silent(&self, context: &Context, like: IpAddr) -> Option<IpAddr> {
        let helper = context.helper_addresses.iter().find(|ip| ip.is_ipv4() == like.is_ipv4());
        self.no_resolver.or_else(|| helper.copied())
    }

    async fn measure(&self, run: &Run<'_>, asked: &Asked<'_>) {
        let (udp, tcp) = (Resolver::Udp(asked.resolver), Resolver::Tcp(asked.resolver));
        let question = |arm, role, round, resolver: &Resolver, name| Question {
            arm,
            role,
            round,
            resolver: resolver.clone(),
            name,
        };
        let late = Duration::from_millis(self.late_ms);
        run.ask(&question("neutral.udp", Role::NeutralName, 0, &udp, self.neutral.as_str()), None).await;
        run.ask(&question("target", Role::Target, 0, &udp, asked.name), Some(late)).await;
        run.ask(&question("tcp", Role::OtherTransport, 0, &tcp, asked.name), None).await;
        run.ask(&question("repeat", Role::Repeat, 1, &udp, asked.name), Some(late)).await;
        run.ask(&question("neutral.tcp", Role::NeutralName, 1, &tcp, self.neutral.as_str()), None).await;
        if let Some(name) = &asked.certificate {
            let ip = asked.resolver.ip;
            let dot = Resolver::Dot { endpoint: Endpoint { ip, port: 853 }, name: name.clone() };
            let url = format!("https://{name}/dns-query");
            let doh = Resolver::Doh { endpoint: Endpoint { ip, port: 443 }, url };
            run.ask(&question("dot", Role::OtherTransport, 0, &dot, asked.name), None).await;
            run.ask(&question("doh", Role::OtherTransport, 0, &doh, asked.name), None).await;
        }
        if let Some(ip) = self.silent(run.context, asked.resolver.ip) {
            let nobody = Resolver::Udp(Endpoint { ip, port: 53 });
            run.ask(&question("no_resolver", Role::OtherAddress, 0, &nobody, asked.name), None).await;
            let neutral = self.neutral.as_str();
            run.ask(&question("no_resolver.neutral", Role::OtherAddress, 1, &nobody, neutral), None).await;
        }
        run.ask(&question("system", Role::Domestic, 0, &Resolver::System, asked.name), None).await;
        let neutral = self.neutral.as_str();
        run.ask(&question("system.neutral", Role::Domestic, 1, &Resolver::System, neutral), None).await;
        let nowhere = format!("{}.com", letters(run.context));
        run.ask(&question("nonexistent", Role::Step, 0, &udp, &nowhere), None).await;
        for round in 0..self.whoami_rounds.min(10) {
            for (transport, resolver) in [("udp", &udp), ("tcp", &tcp)] {
                run.whoami(&format!("whoami.{transport}.{round}"), round, resolver, &self.whoami).await;
            }
        }
        run.case_and_edns(asked.resolver, &self.neutral).await;
    }
}

/// A name that nobody has registered: 26 letters.
fn letters(context: &Context) -> String {
    (0..26).map(|_| char::from(b'a' + below(&*context.world, 26) as u8)).collect()
}

/// What an answer holds, in a word: an address, an address that is none for the public, a code without
/// address, or nothing.
fn word(answer: &Answer) -> &'static str {
    if answer.addresses.is_empty() {
        return if answer.rcode.is_some() || answer.came.is_some() { "code" } else { "none" };
    }
    if answer.addresses.iter().any(|ip| is_public(*ip)) { "address" } else { "bogon" }
}

/// Whether two answers to one question say different things. The order of addresses means nothing.
fn differ(first: &Answer, second: &Answer) -> bool {
    let sorted = |answer: &Answer| {
        let mut addresses = answer.addresses.clone();
        addresses.sort_unstable();
        addresses
    };
    first.rcode != second.rcode || sorted(first) != sorted(second)
}

/// The network of an address, as far as may be kept: /24, /48.
fn prefix(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

fn end(resolver: &Resolver) -> String {
    match resolver {
        Resolver::System => String::new(),
        Resolver::Udp(end) | Resolver::Tcp(end) => end.to_string(),
        Resolver::Dot { endpoint, .. } | Resolver::Doh { endpoint, .. } => endpoint.to_string(),
    }
}

impl Run<'_> {
    fn open(&self, name: &str, role: Role, round: u32, scope: &Scope) -> Arm {
        let mut arm = self.book.open(name, role, "dns_query");
        arm.round = round;
        arm.transaction_id = scope.transaction;
        arm
    }

    /// Asks one question; with `late`, keeps the port open and writes a second answer down as an arm.
    async fn ask(&self, question: &Question<'_>, late: Option<Duration>) {
        let scope = Scope::new(self.context, &self.trace, &[]);
        let mut arm = self.open(question.arm, question.role, question.round, &scope);
        arm.endpoint = end(&question.resolver);
        question.name.clone_into(&mut arm.server_name);
        let answer =
            query_within(&scope, &question.resolver, question.name, RecordType::A, self.patience).await;
        settle(&mut arm, &answer);
        // That a name which does not exist does not exist is as it should be.
        if question.arm == "nonexistent" && answer.failure == Some(okno_model::Failure::DnsNxDomain) {
            arm.failure = None;
            arm.failed_at.clear();
        }
        self.book.close(arm);
        let Some(late) = late else { return };
        if let Some(second) = answer.late(&scope, late).await.first() {
            let mut arm = self.open(&format!("{}.second", question.arm), Role::Series, 1, &scope);
            arm.endpoint = end(&question.resolver);
            question.name.clone_into(&mut arm.server_name);
            settle(&mut arm, second);
            let word = if differ(&answer, second) { "differs" } else { "same" };
            word.clone_into(&mut arm.note);
            self.book.close(arm);
        }
    }

    /// Asks who asks. The address goes into no record: only its network is kept.
    async fn whoami(&self, name: &str, round: u32, resolver: &Resolver, whoami: &str) {
        let scope = Scope::new(self.context, &self.trace.beside(0), &[]);
        let mut arm = self.open(name, Role::Step, round, &scope);
        arm.endpoint = end(resolver);
        whoami.clone_into(&mut arm.server_name);
        let answer = query_within(&scope, resolver, whoami, RecordType::A, self.patience).await;
        settle(&mut arm, &answer);
        arm.note = answer.addresses.first().map_or_else(|| "none".to_owned(), |ip| prefix(*ip));
        self.book.close(arm);
    }

    /// Mixed case (https://datatracker.ietf.org/doc/html/draft-vixie-dnsext-dns0x20-00) and EDNS
    /// (RFC 6891 §6.1.1: whoever understands it answers with it).
    async fn case_and_edns(&self, resolver: Endpoint, name: &str) {
        let net = &*self.context.world;
        let scope = Scope::new(self.context, &self.trace, &[]);
        let mut arm = self.open("case_edns", Role::Step, 0, &scope);
        arm.endpoint = resolver.to_string();
        let coin = u64::from_le_bytes(random(net));
        let mixed: String = name
            .char_indices()
            .map(|(at, c)| if coin >> (at % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c })
            .collect();
        let id = u16::from_be_bytes(random(net));
        let question = wire::query(id, &mixed, kind::A).emit();
        let exchange = async {
            let socket = net.udp(UdpSetup { peer: Some(resolver), ..UdpSetup::default() })?;
            socket.send_to(&question, resolver, None)?;
            receive(net, &*socket, self.patience).await
        };
        match exchange.await {
            Err(error) => arm.fail("dns", error.kind.failure()),
            Ok(datagram) => kept(&datagram.bytes, &mixed).clone_into(&mut arm.note),
        }
        self.book.close(arm);
    }
}

/// What an answer kept of the question's peculiarities.
fn kept(bytes: &[u8], name: &str) -> &'static str {
    let Ok(view) = MessageView::parse(bytes) else { return "broken" };
    let case = view.question().is_some_and(|question| question.name.to_text() == name);
    let edns = view.records().map_while(Result::ok).any(|record| record.kind == kind::OPT);
    match (case, edns) {
        (true, true) => "kept",
        (false, true) => "case_lost",
        (true, false) => "edns_lost",
        (false, false) => "both_lost",
    }
}

fn settle(arm: &mut Arm, answer: &Answer) {
    if let Some(failure) = answer.failure {
        arm.fail("dns", failure);
    }
    word(answer).clone_into(&mut arm.note);
    arm.received_bytes = answer.raw.len() as u64;
    if let (Some(sent), Some(came)) = (answer.sent, answer.came) {
        arm.rtt_ms = Some(came.since(sent).as_secs_f64() * 1e3);
    }
    arm.ttl = answer.datagram_ttl;
}

impl Experiment for DnsInterception {
    fn name(&self) -> &'static str {
        "dns_interception"
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
        let Ok(asked) = self.parse(input) else { return Vec::new() };
        let contact = |host: String, port: &str, purpose: &str| Contact {
            host,
            port: port.to_owned(),
            purpose: purpose.to_owned(),
        };
        let (ip, port) = (asked.resolver.ip.to_string(), asked.resolver.port);
        let mut contacts = vec![
            contact(ip.clone(), &format!("udp/{port}"), "questions for a suspected and a neutral name"),
            contact(ip.clone(), &format!("tcp/{port}"), "the same over TCP"),
        ];
        if let Some(name) = &asked.certificate {
            contacts.push(contact(ip.clone(), "tcp/853", "the same over TLS"));
            contacts.push(contact(ip, "tcp/443", &format!("the same over HTTPS, as {name}")));
        }
        // Without one it is the helper's address, which a session names anyway.
        if let Some(silent) = self.no_resolver {
            contacts.push(contact(silent.to_string(), "udp/53", "an address without resolver"));
        }
        for name in [asked.name, &self.neutral] {
            contacts.push(contact(name.to_owned(), "the system's resolver", "a lookup"));
        }
        contacts
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let asked = self.parse(input)?;
            let book = ArmBook::new(context);
            let run = Run {
                context,
                book: &book,
                trace: Trace::new(context),
                patience: Duration::from_millis(self.patience_ms),
            };
            self.measure(&run, &asked).await;
            let mut keys = run.trace.test_keys();
            keys.extend(book.keys());
            keys.insert("resolver".to_owned(), json!(asked.resolver.to_string()));
            keys.insert("hostname".to_owned(), json!(asked.name));
            Ok(Value::Object(keys))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolvers_address_is_kept_as_a_network_only() {
        assert_eq!(prefix("193.232.230.48".parse().expect("an address")), "193.232.230.0/24");
        assert_eq!(prefix("2a02:6b8:0:1::2".parse().expect("an address")), "2a02:6b8:0::/48");
    }

    #[test]
    fn an_input_names_a_resolver_by_address_and_a_name() {
        let test = DnsInterception::default();
        let Ok(asked) = test.parse(Some("dns://8.8.8.8/www.youtube.com")) else { panic!("it is one") };
        assert_eq!((asked.resolver.port, asked.name), (53, "www.youtube.com"));
        assert_eq!(asked.certificate.as_deref(), Some("dns.google"));
        for wrong in ["8.8.8.8", "dns://8.8.8.8", "dns://dns.google/a.example", "dns://8.8.8.8/1.2.3.4"] {
            assert!(test.parse(Some(wrong)).is_err(), "{wrong}");
        }
        assert!(test.parse(None).is_err());
    }
}
