//! `quicping` (ts-031): does a UDP port answer QUIC at all?
//!
//! Initial packets of a version that nobody speaks, with random contents: a server has to answer them with
//! version negotiation (RFC 9000 §6), and no filter finds a name in them.

use core::time::Duration;

use okno_wire::quic::{LongView, PacketKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dns::{self, Resolver};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Datagrams, Endpoint, Instant, NetErrorKind, Task, UdpSetup, below, receive};
use crate::trace::{Binary, Scope, Trace};
use crate::trial::{Place, contact};

/// What may be chosen (probe-cli `internal/experiment/quicping`, Config).
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quicping {
    /// port
    pub port: u16,
    /// pings
    pub repetitions: u32,
    /// milliseconds from one ping to the next
    pub delay_ms: u64,
    /// milliseconds that an answer may take
    pub patience_ms: u64,
}

impl Default for Quicping {
    /// OONI's: port 443, 10 pings, a second apart (probe-cli `quicping.go`).
    fn default() -> Self {
        Self { port: 443, repetitions: 10, delay_ms: 1_000, patience_ms: 5_000 }
    }
}

static MANUAL: Manual = Manual {
    title: "whether a host answers QUIC's version negotiation",
    trigger: "UDP datagrams that look like QUIC, without any name",
    control: "none of its own: compare with TCP to the same host, and with other hosts",
    logic: "an answer shows that UDP and QUIC's form pass both ways; silence has several causes",
    blind: "filters that look for a version or a name; whether the server speaks QUIC at all",
    bytes: 15_000,
    seconds: 15,
    risk: Risk::Low,
    risk_note: "a few datagrams to a public server, as browsers send them",
    source: "OONI ts-031-quicping",
};

/// The version that OONI asks for: of the form that is reserved for forcing negotiation (RFC 9000 §15).
const VERSION: u32 = 0xbaba_baba;
/// Size of a ping (RFC 9000 §14.1).
const SIZE: usize = 1_200;

#[derive(Serialize)]
struct Response {
    response_data: Binary,
    failure: Option<&'static str>,
    t: f64,
    supported_versions: Vec<u32>,
}

#[derive(Serialize)]
struct Ping {
    conn_id_dst: String,
    conn_id_src: String,
    failure: Option<&'static str>,
    request: Binary,
    t: f64,
    responses: Vec<Response>,
    #[serde(skip)]
    ids: (Vec<u8>, Vec<u8>),
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A long header of the unknown version and random bytes after it.
fn ping_packet(scope: &Scope) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let net = &*scope.world;
    let id = |least: u64| {
        let mut id = vec![0; usize::try_from(least + below(net, 9)).unwrap_or(8)];
        net.fill_random(&mut id);
        id
    };
    // RFC 9000 §7.2: the first destination id has at least 8 bytes, and none more than 20.
    let (dcid, scid) = (id(8), id(8));
    let mut packet = vec![0; SIZE];
    net.fill_random(&mut packet);
    packet[0] = 0xc0 | packet[0] & 0x0f;
    let mut head = VERSION.to_be_bytes().to_vec();
    for id in [&dcid, &scid] {
        head.push(u8::try_from(id.len()).unwrap_or(8));
        head.extend_from_slice(id);
    }
    // No token, then a length of two bytes that covers the rest.
    head.push(0);
    let rest = SIZE - 1 - head.len() - 2;
    head.extend_from_slice(&(0x4000 | u16::try_from(rest).unwrap_or(0)).to_be_bytes());
    packet[1..=head.len()].copy_from_slice(&head);
    (packet, dcid, scid)
}

impl Quicping {
    async fn measure(&self, context: &Context, input: &str) -> Result<Value, String> {
        let place = Place::parse(input, self.port)?;
        let trace = Trace::new(context);
        let scope = Scope::new(context, &trace, &[]);
        let found = dns::lookup(&scope, &Resolver::System, &place.host).await;
        let mut pings = Vec::new();
        let mut unexpected: Vec<Response> = Vec::new();
        if let Some(ip) = found.addresses.first() {
            let remote = Endpoint { ip: *ip, port: self.port };
            let setup = UdpSetup { peer: Some(remote), ..UdpSetup::default() };
            match scope.world.udp(setup) {
                Ok(socket) => self.ping_all(&scope, &*socket, remote, &mut pings, &mut unexpected).await,
                Err(error) => return Err(format!("no UDP port for {remote}: {error}")),
            }
        }
        let mut keys = json!({
            "domain": place.host,
            "pings": pings,
            "unexpected_responses": (!unexpected.is_empty()).then_some(unexpected),
            "repetitions": self.repetitions,
        });
        if let Value::Object(keys) = &mut keys {
            let lists = trace.test_keys();
            for name in ["queries", "network_events"] {
                keys.insert(name.to_owned(), lists.get(name).cloned().unwrap_or(Value::Null));
            }
        }
        Ok(keys)
    }

    async fn ping_all(
        &self,
        scope: &Scope,
        socket: &dyn Datagrams,
        remote: Endpoint,
        pings: &mut Vec<Ping>,
        unexpected: &mut Vec<Response>,
    ) {
        for number in 0..self.repetitions {
            let (packet, dcid, scid) = ping_packet(scope);
            let sent = socket.send_to(&packet, remote, None).map_err(|error| error.kind.failure());
            scope.event("write_to", "udp", Some(remote), scope.now(), sent.map(|()| packet.len()));
            pings.push(Ping {
                conn_id_dst: hex(&dcid),
                conn_id_src: hex(&scid),
                failure: sent.err().map(okno_model::Failure::as_str),
                request: Binary(packet),
                t: scope.seconds(),
                responses: Vec::new(),
                ids: (dcid, scid),
            });
            let last = number + 1 == self.repetitions;
            let wait = if last { self.patience_ms } else { self.delay_ms };
            let until = scope.now() + Duration::from_millis(wait);
            collect(scope, socket, remote, until, pings, unexpected).await;
        }
        for ping in pings.iter_mut().filter(|ping| ping.responses.is_empty() && ping.failure.is_none()) {
            ping.failure = Some(okno_model::Failure::GenericTimeout.as_str());
        }
    }
}

/// Takes what comes until `until`, or until every ping has its answer and the next is due.
async fn collect(
    scope: &Scope,
    socket: &dyn Datagrams,
    remote: Endpoint,
    until: Instant,
    pings: &mut [Ping],
    unexpected: &mut Vec<Response>,
) {
    while scope.now() < until {
        let from = scope.now();
        match receive(&*scope.world, socket, until.since(from)).await {
            Ok(datagram) => {
                scope.event("read_from", "udp", Some(remote), from, Ok(datagram.bytes.len()));
                let view = LongView::parse(&datagram.bytes).ok();
                let view = view.filter(|view| view.kind == PacketKind::VersionNegotiation);
                let versions = view.iter().flat_map(LongView::versions).map(|version| version.0).collect();
                // RFC 9000 §17.2.1: the ids come back, exchanged.
                let ping = view.and_then(|view| {
                    pings.iter_mut().find(|ping| ping.ids.1 == view.dcid && ping.ids.0 == view.scid)
                });
                let t = scope.trace.seconds(datagram.at);
                let response = Response {
                    response_data: Binary(datagram.bytes.clone()),
                    failure: None,
                    t,
                    supported_versions: versions,
                };
                match ping {
                    Some(ping) => ping.responses.push(response),
                    None => unexpected.push(response),
                }
            }
            Err(error) if error.kind == NetErrorKind::TimedOut => return,
            Err(error) => {
                let failure = error.kind.failure();
                scope.event("read_from", "udp", Some(remote), from, Err(failure));
                if let Some(ping) = pings.last_mut() {
                    ping.failure = Some(failure.as_str());
                }
                return scope.world.sleep_until(until).await;
            }
        }
    }
}

impl Experiment for Quicping {
    fn name(&self) -> &'static str {
        "quicping"
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
        let place = input.and_then(|input| Place::parse(input, self.port).ok());
        place.iter().map(|place| contact(&place.host, &format!("udp/{}", self.port), "QUIC ping")).collect()
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let input = input.ok_or("quicping needs a host or a URL, like https://site.example/")?;
            self.measure(context, input).await
        })
    }
}
