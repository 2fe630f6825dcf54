//! Real TLS whose every byte follows from the seed.
//!
//! rustls with ring's cipher suites; what would be random comes from the running program's stream: the key
//! exchange is X25519 ([`provider`]), certificates are Ed25519 (whose signatures need
//! none) with keys derived from the seed, sessions are not resumed and no tickets are sent, and the time is
//! virtual. The client's hello has rustls's own fingerprint; a browser's first flight is `wire`'s business
//! and ends with the server's answer ([`crate::clients`]).

mod provider;

use core::time::Duration;
use std::io::{self, Read, Write};
use std::sync::Arc;

use okno_model::Failure;
use okno_probe::net::TlsGround;
use okno_probe::tls::failure_of as tls_failure;
use okno_wire::Instant;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, SanType,
};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
};

use crate::net::{NetErrorKind, TcpStream};
use crate::world::{chance, moment};
pub use provider::provider;

#[derive(Debug)]
struct VirtualTime;

impl TimeProvider for VirtualTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_nanos(moment::now().nanos())))
    }
}

/// An Ed25519 key of 32 bytes, as PKCS #8 (RFC 8410 §7).
fn key_der(seed: u64, label: &str) -> Vec<u8> {
    const PREFIX: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    let mut key = [0; 32];
    chance::Stream::new(chance::hash_name(seed, label)).fill(&mut key);
    [&PREFIX[..], &key].concat()
}

fn key_pair(der: &[u8]) -> KeyPair {
    let der = PrivatePkcs8KeyDer::from(der.to_vec());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ED25519)
        .expect("any 32 bytes are an Ed25519 key")
}

fn params(common_name: &str, from: Instant, to: Instant) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let date = |at: Instant| {
        let seconds = i64::try_from(at.nanos() / 1_000_000_000).unwrap_or(0);
        let at = jiff::Timestamp::from_second(seconds).unwrap_or_default();
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = date(from);
    params.not_after = date(to);
    params
}

/// A certification authority of the lab.
#[derive(Clone)]
pub struct Authority {
    seed: u64,
    name: String,
    issuer: Arc<CertifiedIssuer<'static, KeyPair>>,
}

/// A certificate with its key, ready for a server.
#[derive(Clone, Debug)]
pub struct Identity {
    key: Arc<CertifiedKey>,
}

impl Authority {
    /// The authority `name` of a run; the same for the same seed and name. Valid 1990–2090.
    pub fn new(seed: u64, name: &str) -> Self {
        let year = |year: u64| Instant::from_secs((year - 1970) * 31_557_600);
        let mut params = params(name, year(1990), year(2090));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key_pair(&key_der(seed, name));
        let issuer = CertifiedIssuer::self_signed(params, key).expect("the parameters are complete");
        Self { seed, name: name.to_owned(), issuer: Arc::new(issuer) }
    }

    /// The authority's certificate, DER.
    pub fn certificate(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    /// A certificate for `names` (`*.example` is allowed), valid from one day to another (whole days, UTC).
    /// Names that no certificate can hold are left out.
    pub fn issue(&self, names: &[&str], from: Instant, to: Instant) -> Identity {
        let first = names.first().copied().unwrap_or("nobody.invalid");
        let mut params = params(first, from, to);
        params.subject_alt_names =
            names.iter().filter_map(|name| Some(SanType::DnsName((*name).try_into().ok()?))).collect();
        params.use_authority_key_identifier_extension = true;
        let der = key_der(self.seed, &format!("{}/{first}", self.name));
        let certificate =
            params.signed_by(&key_pair(&der), &self.issuer).expect("the parameters are complete");
        let chain = vec![certificate.der().clone(), self.issuer.der().clone()];
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der));
        let key = ring::sign::any_supported_type(&private).expect("Ed25519 is supported");
        Identity { key: Arc::new(CertifiedKey::new(chain, key)) }
    }
}

impl Identity {
    /// Certificate chain and key, for servers that run outside the lab too.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }
}

/// What a server does with a hello whose name it does not know, or without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownName {
    /// it shows its first certificate
    FirstCertificate,
    /// it ends the handshake with an alert (rustls sends access_denied)
    Alert,
}

#[derive(Debug)]
struct ByName {
    identities: Vec<(String, Arc<CertifiedKey>)>,
    unknown: UnknownName,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name();
        let found = asked.and_then(|asked| {
            self.identities.iter().find(|(name, _)| match name.strip_prefix("*.") {
                Some(parent) => asked.split_once('.').is_some_and(|(_, rest)| rest == parent),
                None => name == asked,
            })
        });
        match (found, self.unknown) {
            (Some((_, key)), _) => Some(key.clone()),
            (None, UnknownName::FirstCertificate) => self.identities.first().map(|(_, key)| key.clone()),
            (None, UnknownName::Alert) => None,
        }
    }
}

/// Versions that a server or client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersions {
    /// TLS 1.2 and 1.3
    Both,
    /// TLS 1.2: the certificate is in the clear
    Only12,
    /// TLS 1.3
    Only13,
}

impl TlsVersions {
    fn list(self) -> Vec<&'static rustls::SupportedProtocolVersion> {
        match self {
            Self::Both => vec![&rustls::version::TLS13, &rustls::version::TLS12],
            Self::Only12 => vec![&rustls::version::TLS12],
            Self::Only13 => vec![&rustls::version::TLS13],
        }
    }
}

/// A server's TLS setup: certificates by name.
pub fn server_config(
    identities: &[(&str, Identity)],
    unknown: UnknownName,
    versions: TlsVersions,
    alpn: &[&str],
) -> Arc<ServerConfig> {
    let identities = identities.iter().map(|(name, id)| ((*name).to_owned(), id.key.clone())).collect();
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(VirtualTime))
        .with_protocol_versions(&versions.list())
        .expect("ring has suites for both versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName { identities, unknown }));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// The ground for TLS that probes stand on: these authorities' certificates (DER) are trusted.
pub fn ground(trusted: &[Vec<u8>]) -> TlsGround {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().map(|der| CertificateDer::from(der.clone())));
    TlsGround { provider: provider(), roots: Arc::new(roots), clock: Arc::new(VirtualTime) }
}

/// A client's TLS setup: it trusts these authorities' certificates (DER).
pub fn client_config(trusted: &[Vec<u8>], versions: TlsVersions, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().map(|der| CertificateDer::from(der.clone())));
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(VirtualTime))
        .with_protocol_versions(&versions.list())
        .expect("ring has suites for both versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Takes any certificate, and proves only that the peer holds its key: Tor's clients do so, since its links
/// are authenticated one layer above (tor-spec, "Negotiating and initializing channels").
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client's TLS setup that takes any certificate, as Tor's does.
pub fn any_certificate_config(versions: TlsVersions) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(VirtualTime))
        .with_protocol_versions(&versions.list())
        .expect("ring has suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// A network failure under OONI's name.
pub const fn net_failure(kind: NetErrorKind) -> Failure {
    match kind {
        NetErrorKind::Refused => Failure::ConnectionRefused,
        NetErrorKind::Reset => Failure::ConnectionReset,
        NetErrorKind::TimedOut => Failure::GenericTimeout,
        NetErrorKind::Unreachable => Failure::HostUnreachable,
        NetErrorKind::NetworkUnreachable => Failure::NetworkUnreachable,
        NetErrorKind::InUse => Failure::AddressInUse,
        NetErrorKind::Closed => Failure::Eof,
        NetErrorKind::TooLong => Failure::MessageTooLong,
    }
}

/// TLS over a TCP stream.
pub struct TlsStream {
    stream: TcpStream,
    session: Connection,
}

/// Most bytes that are sealed before they are written.
const CHUNK: usize = 16_384;

impl TlsStream {
    /// Shakes hands as a client that asks for `name` (or an IP address).
    pub async fn connect(stream: TcpStream, config: Arc<ClientConfig>, name: &str) -> Result<Self, Failure> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| Failure::SslInvalidHostname)?;
        let session = ClientConnection::new(config, name).map_err(|error| tls_failure(&error))?;
        Self::handshake(stream, session.into()).await
    }

    /// Shakes hands as a server.
    pub async fn accept(stream: TcpStream, config: Arc<ServerConfig>) -> Result<Self, Failure> {
        let session = ServerConnection::new(config).map_err(|error| tls_failure(&error))?;
        Self::handshake(stream, session.into()).await
    }

    async fn handshake(stream: TcpStream, session: Connection) -> Result<Self, Failure> {
        let mut tls = Self { stream, session };
        while tls.session.is_handshaking() {
            tls.flush().await?;
            if tls.session.is_handshaking() && !tls.receive().await? {
                return Err(Failure::Eof);
            }
        }
        tls.flush().await?;
        Ok(tls)
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut bytes).expect("writing to memory does not fail");
        }
        self.stream.write_all(&bytes).await.map_err(|error| net_failure(error.kind))
    }

    /// Takes bytes from the wire; false at the end of the stream.
    async fn receive(&mut self) -> Result<bool, Failure> {
        let mut bytes = [0; 4_096];
        let taken = self.stream.read(&mut bytes).await.map_err(|error| net_failure(error.kind))?;
        let mut rest = &bytes[..taken];
        while !rest.is_empty() {
            self.session.read_tls(&mut rest).map_err(|_| Failure::SslFailedHandshake)?;
            if let Err(error) = self.session.process_new_packets() {
                // The alert goes out if it can; the failure is the first one.
                let _ = self.flush().await;
                return Err(tls_failure(&error));
            }
        }
        if self.session.wants_write() {
            self.flush().await?;
        }
        Ok(taken > 0)
    }

    /// Reads once; 0 at the end of the stream, announced by TLS or by TCP.
    pub async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Failure> {
        loop {
            match self.session.reader().read(bytes) {
                Ok(taken) => return Ok(taken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.receive().await? {
                        return Ok(0);
                    }
                }
                Err(_) => return Ok(0),
            }
        }
    }

    /// Seals and sends all bytes.
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        for chunk in bytes.chunks(CHUNK) {
            self.session.writer().write_all(chunk).map_err(|_| Failure::SslFailedHandshake)?;
            self.flush().await?;
        }
        Ok(())
    }

    /// Says that no more comes (close_notify) and ends the own way of the stream.
    pub async fn close(&mut self) {
        self.session.send_close_notify();
        if self.flush().await.is_ok() {
            self.stream.shutdown();
        }
    }

    /// The protocol that ALPN chose.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.session.alpn_protocol()
    }

    /// The peer's certificates, DER, its own first.
    pub fn peer_certificates(&self) -> Vec<Vec<u8>> {
        let chain = self.session.peer_certificates().unwrap_or_default();
        chain.iter().map(|certificate| certificate.to_vec()).collect()
    }

    /// The TCP stream below.
    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }
}
