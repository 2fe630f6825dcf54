//! `openvpn`: OONI's test of one OpenVPN endpoint by one handshake (ts-040).
//!
//! Keys and the names of stages and opcodes are OONI's
//! (https://github.com/ooni/spec/blob/master/nettests/ts-040-openvpn.md).
//! The server's certificate is not judged: nothing goes through the channel that was a secret (drawn key
//! material, a request for options), and providers' certificates bear no names that could be checked.

use core::cell::RefCell;
use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use okno_model::Failure;
use okno_wire::openvpn::Opcode;
use okno_wire::{Endpoint, Instant};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::flow::round;
use crate::net::{Dial, Task, UdpSetup, random, within};
use crate::talk::control::{Control, Log, Packet, Wire};
use crate::tcp;
use crate::tls::{self, Sni, TlsOptions, TlsStream, stream_failure};
use crate::trace::{Scope, Trace};

/// Credentials and options. OONI's probe gets credentials from its API; here they are given, PEM or base64
/// of PEM, or there are none, and servers that ask for some break the handshake off.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Openvpn {
    /// own certificate
    pub safe_cert: String,
    /// its key
    pub safe_key: String,
    /// cipher of the data channel that is proposed
    pub cipher: String,
    /// hash of the data channel that is proposed
    pub auth: String,
    /// seconds for everything (ts-040: 60)
    pub timeout_s: u64,
}

impl Default for Openvpn {
    fn default() -> Self {
        Self {
            safe_cert: String::new(),
            safe_key: String::new(),
            cipher: "AES-256-GCM".to_owned(),
            auth: "SHA512".to_owned(),
            timeout_s: 60,
        }
    }
}

static MANUAL: Manual = Manual {
    title: "whether an OpenVPN endpoint completes a handshake",
    trigger: "a hard reset, TLS in the control channel, keys and a request for options",
    control: "none: see the test `vpn_protocols`",
    logic: "options pushed by the server are success; else the failure and the stage that was reached",
    blind: "whether endpoint, port, credentials or OpenVPN is at fault; what happens to data after the handshake",
    bytes: 20_000,
    seconds: 75,
    risk: Risk::High,
    risk_note: "Opens a session with a VPN provider. Where using one is an offence, this looks like it.",
    source: "https://github.com/ooni/spec/blob/master/nettests/ts-040-openvpn.md",
};

/// What an input names: `openvpn://PROVIDER.corp/?address=IP:PORT&transport=tcp|udp`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    provider: String,
    remote: Endpoint,
    tcp: bool,
}

fn target(input: Option<&str>) -> Result<Target, String> {
    let expected = || {
        "give openvpn://PROVIDER.corp/?address=IP:PORT&transport=udp (or tcp); obfs4 is not supported"
            .to_owned()
    };
    let url = Url::parse(input.ok_or_else(expected)?).map_err(|_| expected())?;
    let value = |wanted: &str| url.query_pairs().find(|(key, _)| key == wanted).map(|(_, v)| v.into_owned());
    let tcp = match value("transport").as_deref() {
        Some("tcp") => true,
        Some("udp") => false,
        _ => return Err(expected()),
    };
    let remote = value("address").and_then(|address| address.parse().ok()).ok_or_else(expected)?;
    let host = url.host_str().unwrap_or_default();
    if url.scheme() != "openvpn" || host.is_empty() {
        return Err(expected());
    }
    Ok(Target { provider: host.trim_end_matches(".corp").to_owned(), remote, tcp })
}

const fn opcode_name(opcode: Opcode) -> &'static str {
    match opcode {
        Opcode::ResetClientV1 => "P_CONTROL_HARD_RESET_CLIENT_V1",
        Opcode::ResetServerV1 => "P_CONTROL_HARD_RESET_SERVER_V1",
        Opcode::SoftReset => "P_CONTROL_SOFT_RESET_V1",
        Opcode::Control => "P_CONTROL_V1",
        Opcode::Ack => "P_ACK_V1",
        Opcode::DataV1 => "P_DATA_V1",
        Opcode::ResetClientV2 => "P_CONTROL_HARD_RESET_CLIENT_V2",
        Opcode::ResetServerV2 => "P_CONTROL_HARD_RESET_SERVER_V2",
        Opcode::DataV2 => "P_DATA_V2",
        Opcode::ResetClientV3 => "P_CONTROL_HARD_RESET_CLIENT_V3",
        Opcode::ControlWrapped => "P_CONTROL_WKC_V1",
    }
}

/// Events of a handshake, in OONI's form.
struct Events {
    began: Instant,
    transaction: u64,
    stage: &'static str,
    rows: Vec<Value>,
    said: (bool, bool),
}

impl Events {
    fn row(&mut self, operation: &str, at: Instant, tags: &[&str], packet: Value) {
        self.rows.push(json!({
            "operation": operation,
            "stage": self.stage,
            "t": round(at.since(self.began).as_secs_f64()),
            "tags": tags,
            "packet": packet,
            "transaction_id": self.transaction,
        }));
    }

    fn enter(&mut self, stage: &'static str, at: Instant) {
        self.stage = stage;
        self.row("state", at, &[], Value::Null);
    }

    fn packet(&mut self, packet: &Packet) {
        // The server's reset opens the stage in which it came.
        if packet.opcode == Opcode::ResetServerV2 && self.stage == "PRE_START" {
            self.enter("START", packet.at);
        }
        let operation = match (packet.out, packet.dropped) {
            (true, _) => "packet_out",
            (false, false) => "packet_in",
            (false, true) => "packet_dropped",
        };
        let mut tags: Vec<&str> = Vec::new();
        if packet.out && packet.head == Some((22, 1)) && !core::mem::replace(&mut self.said.0, true) {
            tags.push("client_hello");
        }
        if !packet.out && packet.head == Some((22, 2)) && !core::mem::replace(&mut self.said.1, true) {
            tags.push("server_hello");
        }
        let body = json!({
            "operation": if packet.out { "write" } else { "read" },
            "opcode": opcode_name(packet.opcode),
            "id": packet.id,
            "acks": if packet.acks.is_empty() { Value::Null } else { json!(packet.acks) },
            "payload_size": packet.payload,
            "send_attempts": if packet.out { json!(packet.attempts) } else { Value::Null },
        });
        self.row(operation, packet.at, &tags, body);
    }
}

impl Openvpn {
    fn options(&self) -> Result<TlsOptions, String> {
        let identity = match (pem(&self.safe_cert), pem(&self.safe_key)) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
                let chain = chain.map_err(|_| "safe_cert is no PEM certificate")?;
                let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| "safe_key is no PEM key")?;
                Some((chain.iter().map(|der| der.to_vec()).collect(), key.secret_der().to_vec()))
            }
            _ => return Err("give both safe_cert and safe_key, or neither".to_owned()),
        };
        let patience = Duration::from_secs(self.timeout_s);
        Ok(TlsOptions { sni: Sni::Absent, verify: false, identity, patience, ..TlsOptions::default() })
    }

    async fn wire(&self, scope: &Scope, target: &Target) -> Result<Wire, Failure> {
        if target.tcp {
            return Ok(Wire::Flow(Box::new(tcp::connect(scope, Dial::to(target.remote)).await?)));
        }
        let setup = UdpSetup { peer: Some(target.remote), ..UdpSetup::default() };
        let socket = scope.world.udp(setup).map_err(|error| error.kind.failure())?;
        Ok(Wire::Udp(socket, target.remote))
    }

    /// Reset, TLS, keys, options.
    async fn shake(
        &self,
        scope: &Scope,
        target: &Target,
        mut control: Control,
        options: &TlsOptions,
        events: &RefCell<Events>,
    ) -> Result<(), Failure> {
        events.borrow_mut().enter("PRE_START", scope.now());
        control.open().await.map_err(|error| stream_failure(&error))?;
        let name = target.remote.ip.to_string();
        let mut stream = tls::handshake(scope, control, target.remote, &name, options).await?;
        events.borrow_mut().enter("SENT_KEY", scope.now());
        let result = self.keys(scope, &mut stream, events).await;
        result.map_err(|error| stream_failure(&error))
    }

    async fn keys(
        &self,
        scope: &Scope,
        stream: &mut TlsStream<Control>,
        events: &RefCell<Events>,
    ) -> std::io::Result<()> {
        stream.write_all(&self.key_method(scope)).await?;
        stream.flush().await?;
        // The server's half: as the client's without the pre-master secret, then its options.
        let mut head = [0; 5 + 64];
        stream.read_exact(&mut head).await?;
        let mut len = [0; 2];
        stream.read_exact(&mut len).await?;
        let mut text = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut text).await?;
        events.borrow_mut().enter("GOT_KEY", scope.now());
        stream.write_all(b"PUSH_REQUEST\0").await?;
        stream.flush().await?;
        let mut pushed = Vec::new();
        let mut chunk = [0; 1_024];
        loop {
            let taken = stream.read(&mut chunk).await?;
            pushed.extend_from_slice(&chunk[..taken]);
            // Other messages may come first, such as empty user names and passwords of key method 2.
            if pushed.windows(10).any(|window| window == b"PUSH_REPLY") {
                break;
            }
            if taken == 0 || pushed.len() > 65_536 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        let mut events = events.borrow_mut();
        events.enter("ACTIVE", scope.now());
        events.enter("GENERATED_KEYS", scope.now());
        Ok(())
    }

    /// Key method 2: four zeros, the method, pre-master secret and two randoms, options, no user, no password
    /// (OpenVPN 2.6 ssl.c, key_method_2_write).
    fn key_method(&self, scope: &Scope) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 0, 2];
        bytes.extend(random::<112>(&*scope.world));
        let options = format!(
            "V4,dev-type tun,link-mtu 1549,tun-mtu 1500,proto UDPv4,cipher {},auth {},keysize 256,key-method 2,tls-client\0",
            self.cipher, self.auth
        );
        bytes.extend((options.len() as u16).to_be_bytes());
        bytes.extend(options.as_bytes());
        bytes.extend([0, 0, 0, 0]);
        bytes
    }
}

/// PEM, as it is or in base64; `None` when empty.
fn pem(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let plain = text.strip_prefix("base64:").unwrap_or(text);
    if plain.contains("-----BEGIN") {
        return Some(plain.as_bytes().to_vec());
    }
    Some(BASE64.decode(plain).unwrap_or_else(|_| plain.as_bytes().to_vec()))
}

/// Everything of one run that becomes keys.
struct Outcome {
    failure: Option<Failure>,
    t0: f64,
    t: f64,
    transaction: u64,
    events: Vec<Value>,
}

impl Openvpn {
    async fn measure(
        &self,
        context: &Context,
        trace: &Rc<Trace>,
        target: &Target,
        options: &TlsOptions,
    ) -> Outcome {
        let scope = Scope::new(context, trace, &[]);
        let transaction = scope.transaction;
        let wire = self.wire(&scope, target).await;
        let began = scope.now();
        let t0 = trace.seconds(began);
        let events = Rc::new(RefCell::new(Events {
            began: trace.start(),
            transaction,
            stage: "INITIAL",
            rows: Vec::new(),
            said: (false, false),
        }));
        let failure = match wire {
            Err(failure) => Some(failure),
            Ok(wire) => {
                let kept = events.clone();
                let log: Log = Rc::new(move |packet| kept.borrow_mut().packet(&packet));
                let control = Control::new(&scope.world, wire, log);
                let work = self.shake(&scope, target, control, options, &events);
                let result = within(&*scope.world, Duration::from_secs(self.timeout_s), work).await;
                result.unwrap_or(Err(Failure::GenericTimeout)).err()
            }
        };
        let t = trace.seconds(scope.now());
        let rows = core::mem::take(&mut events.borrow_mut().rows);
        Outcome { failure, t0, t, transaction, events: rows }
    }

    fn keys_of(&self, target: &Target, outcome: Outcome, trace: &Trace) -> Value {
        let transport = if target.tcp { "tcp" } else { "udp" };
        let failure = outcome.failure.map(Failure::as_str);
        // ts-040: zero when there was an error.
        let bootstrap = if failure.is_none() { round(outcome.t - outcome.t0) } else { 0.0 };
        let mut keys = Map::new();
        keys.insert("success".to_owned(), json!(failure.is_none()));
        keys.insert("network_events".to_owned(), Value::Array(outcome.events));
        if target.tcp {
            keys.insert("tcp_connect".to_owned(), json!(*trace.tcp_connects()));
        }
        let ip: IpAddr = target.remote.ip;
        let handshake = json!({
            "bootstrap_time": bootstrap,
            "handshake_time": round(outcome.t - outcome.t0),
            "endpoint": format!("openvpn://{}/{transport}", target.remote),
            "failure": failure,
            "ip": ip.to_string(),
            "port": target.remote.port,
            "transport": transport,
            "provider": target.provider,
            "openvpn_options": { "auth": self.auth, "cipher": self.cipher },
            "t0": outcome.t0,
            "t": outcome.t,
            "tags": [],
            "transaction_id": outcome.transaction,
        });
        keys.insert("openvpn_handshake".to_owned(), json!([handshake]));
        keys.insert("bootstrap_time".to_owned(), json!(bootstrap));
        keys.insert("tunnel".to_owned(), json!("openvpn"));
        keys.insert("failure".to_owned(), json!(failure));
        Value::Object(keys)
    }
}

impl Experiment for Openvpn {
    fn name(&self) -> &'static str {
        "openvpn"
    }

    fn version(&self) -> &'static str {
        "0.1.1"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        true
    }

    fn contacts(&self, input: Option<&str>) -> Vec<Contact> {
        let Ok(target) = target(input) else { return Vec::new() };
        let transport = if target.tcp { "tcp" } else { "udp" };
        vec![Contact {
            host: target.remote.ip.to_string(),
            port: format!("{transport}/{}", target.remote.port),
            purpose: "an OpenVPN handshake".to_owned(),
        }]
    }

    fn run<'a>(&'a self, context: &'a Context, input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let target = target(input)?;
            let options = self.options()?;
            let trace = Trace::new(context);
            let outcome = self.measure(context, &trace, &target, &options).await;
            Ok(self.keys_of(&target, outcome, &trace))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_oonis_address_of_an_endpoint() {
        let found = target(Some("openvpn://riseup.corp/?address=51.15.187.53:1194&transport=tcp"));
        let found = found.expect("it is one");
        assert_eq!((found.provider.as_str(), found.remote.port, found.tcp), ("riseup", 1_194, true));
        for wrong in [
            "openvpn://riseup.corp/?address=51.15.187.53:1194",
            "openvpn+obfs4://unknown.corp/?address=1.2.3.4:1194&transport=tcp",
            "openvpn://riseup.corp/?address=vpn.example:1194&transport=udp",
        ] {
            assert!(target(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
