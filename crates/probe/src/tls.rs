//! TLS over any stream: rustls, with what a measurement wants to choose, and hand-built first flights.
//!
//! rustls's hello has one fingerprint (with the order of suites and groups as far as it lets us choose).
//! Where the fingerprint itself is the trigger, [`first_flight`] sends bytes from `okno-wire` and says what
//! came back: that is all a filter of first packets can show. Sessions are never resumed: a resumed handshake
//! shows no certificate.

use core::pin::Pin;
use core::task::{Context as Poller, Poll, ready};
use core::time::Duration;
use std::io::{self, Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use okno_model::Failure;
use okno_wire::tls::{Alert, ServerHello, code, messages, records};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{EchConfig, EchGreaseConfig, EchMode, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::internal::msgs::codec::{Codec as _, Reader};
use rustls::internal::msgs::handshake::EchConfigPayload;
use rustls::pki_types::{CertificateDer, EchConfigListBytes, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, ProtocolVersion,
    RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
};

use crate::hpke;
use crate::limits;
use crate::net::{Endpoint, Instant, NetErrorKind, TlsGround, within};
use crate::trace::{Binary, HandshakeRecord, Scope};

/// The name in the hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sni {
    /// the name that is verified
    #[default]
    Same,
    /// no name
    Absent,
    /// this one, whatever is verified
    Other(String),
}

/// Versions that are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 and 1.3
    #[default]
    Both,
    /// 1.2 alone: the certificate goes in the clear
    Only12,
    /// 1.3 alone
    Only13,
}

impl Versions {
    fn list(self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        static LIST: [&rustls::SupportedProtocolVersion; 2] =
            [&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            Self::Both => &LIST,
            Self::Only12 => &LIST[1..],
            Self::Only13 => &LIST[..1],
        }
    }
}

/// Encrypted ClientHello (RFC 9849).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ech {
    /// no such extension
    #[default]
    Off,
    /// an extension with random contents, which servers ignore
    Grease,
    /// real, with this ECHConfigList (from an HTTPS record)
    Config(Vec<u8>),
}

/// What a handshake shows and accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// name in the hello
    pub sni: Sni,
    /// protocols, in order
    pub alpn: Vec<String>,
    /// versions
    pub versions: Versions,
    /// whether the certificate must verify
    pub verify: bool,
    /// authorities that are trusted beside the world's, DER
    pub authorities: Vec<Vec<u8>>,
    /// cipher suites by number in this order; empty is the provider's order
    pub suites: Vec<u16>,
    /// key exchange groups by number in this order; the first gets the key share; empty is the provider's
    pub groups: Vec<u16>,
    /// ECH; with it only TLS 1.3 is offered
    pub ech: Ech,
    /// own certificates and key, DER (PKCS #8, PKCS #1 or SEC 1), for servers that ask
    pub identity: Option<(Vec<Vec<u8>>, Vec<u8>)>,
    /// most time
    pub patience: Duration,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            sni: Sni::Same,
            alpn: Vec::new(),
            versions: Versions::Both,
            verify: true,
            authorities: Vec::new(),
            suites: Vec::new(),
            groups: Vec::new(),
            ech: Ech::Off,
            identity: None,
            patience: limits::TLS,
        }
    }
}

impl TlsOptions {
    /// For HTTPS as OONI's probe does it: ALPN `h2`, `http/1.1`.
    pub fn web() -> Self {
        Self { alpn: vec!["h2".to_owned(), "http/1.1".to_owned()], ..Self::default() }
    }

    /// For HTTPS over HTTP/1.1 alone.
    pub fn http1() -> Self {
        Self { alpn: vec!["http/1.1".to_owned()], ..Self::default() }
    }
}

/// Judges a chain, by a name of our choice, and remembers it: rustls does not show a chain it refused.
#[derive(Debug)]
struct Judge {
    inner: Option<Arc<WebPkiServerVerifier>>,
    name: ServerName<'static>,
    provider: Arc<CryptoProvider>,
    shown: Mutex<Vec<Vec<u8>>>,
    refused: Mutex<Option<Failure>>,
}

impl Judge {
    fn take_shown(&self) -> Vec<Vec<u8>> {
        core::mem::take(&mut *self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = core::iter::once(end_entity).chain(intermediates).map(|der| der.to_vec()).collect();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        let verdict = inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp, now);
        if let Err(error) = &verdict {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure_of(error));
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A client's setup and where the chain it saw is kept.
pub(crate) struct Setup {
    pub(crate) config: Arc<ClientConfig>,
    judge: Arc<Judge>,
    /// what stands in the hello
    pub(crate) shown_name: ServerName<'static>,
}

impl Setup {
    /// Why the chain was refused, if it was: QUIC's errors keep only the alert.
    pub(crate) fn refused(&self) -> Option<Failure> {
        *self.judge.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chain that was shown since the last call, DER, the server's own first.
    pub(crate) fn take_chain(&self) -> Vec<Binary> {
        self.judge.take_shown().into_iter().map(Binary).collect()
    }
}

/// The suites and groups of our choice, as far as the provider has them.
fn provider(ground: &TlsGround, options: &TlsOptions) -> Arc<CryptoProvider> {
    if options.suites.is_empty() && options.groups.is_empty() {
        return ground.provider.clone();
    }
    let mut provider = (*ground.provider).clone();
    if !options.suites.is_empty() {
        let known = provider.cipher_suites.clone();
        let find = |number: &u16| known.iter().find(|suite| u16::from(suite.suite()) == *number).copied();
        provider.cipher_suites = options.suites.iter().filter_map(find).collect();
    }
    if !options.groups.is_empty() {
        let known = provider.kx_groups.clone();
        let find = |number: &u16| known.iter().find(|group| u16::from(group.name()) == *number).copied();
        provider.kx_groups = options.groups.iter().filter_map(find).collect();
    }
    Arc::new(provider)
}

/// Makes the client's setup. An unusable name is `ssl_invalid_hostname`; options that no handshake can be
/// made of (no common suite, a broken ECH configuration) are `ssl_failed_handshake`.
pub(crate) fn setup(ground: &TlsGround, name: &str, options: &TlsOptions) -> Result<Setup, Failure> {
    let parse = |name: &str| ServerName::try_from(name.to_owned()).map_err(|_| Failure::SslInvalidHostname);
    let verified = parse(name)?;
    let shown_name = match &options.sni {
        Sni::Same | Sni::Absent => verified.clone(),
        Sni::Other(other) => parse(other)?,
    };
    let provider = provider(ground, options);
    let inner = if options.verify { Some(verifier(&roots(ground, options), &provider)?) } else { None };
    let judge = Arc::new(Judge {
        inner,
        name: verified,
        provider: provider.clone(),
        shown: Mutex::default(),
        refused: Mutex::default(),
    });
    let builder = ClientConfig::builder_with_details(provider.clone(), ground.clock.clone());
    let broken = |_| Failure::SslFailedHandshake;
    let builder = match &options.ech {
        Ech::Off => builder.with_protocol_versions(options.versions.list()).map_err(broken)?,
        Ech::Grease => {
            let key = hpke::some_public_key(&provider).map_err(broken)?;
            builder.with_ech(EchMode::Grease(EchGreaseConfig::new(hpke::SUITE, key))).map_err(broken)?
        }
        Ech::Config(list) => {
            let list = EchConfigListBytes::from(list.clone());
            let config = EchConfig::new(list, &[hpke::SUITE]).map_err(broken)?;
            builder.with_ech(EchMode::Enable(config)).map_err(broken)?
        }
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(judge.clone());
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = chain.iter().map(|der| der.clone().into()).collect();
            let key = key.clone().try_into().map_err(|_| Failure::SslFailedHandshake)?;
            builder.with_client_auth_cert(chain, key).map_err(broken)?
        }
    };
    config.resumption = Resumption::disabled();
    config.enable_sni = options.sni != Sni::Absent;
    config.alpn_protocols = options.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect();
    Ok(Setup { config: Arc::new(config), judge, shown_name })
}

/// The world's authorities and the further ones of the options.
fn roots(ground: &TlsGround, options: &TlsOptions) -> Arc<RootCertStore> {
    if options.authorities.is_empty() {
        return ground.roots.clone();
    }
    let mut roots = (*ground.roots).clone();
    roots.add_parsable_certificates(options.authorities.iter().map(|der| der.clone().into()));
    Arc::new(roots)
}

fn verifier(
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Failure> {
    // Without any authority nothing verifies; rustls calls that an error of the setup.
    WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|_| Failure::SslUnknownAuthority)
}

/// A TLS failure under OONI's name (probe-cli `internal/netxlite/classify.go`, ClassifyTLSHandshakeError).
pub fn failure_of(error: &Error) -> Failure {
    match error {
        Error::InvalidCertificate(kind) => match kind {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Failure::SslInvalidHostname
            }
            CertificateError::UnknownIssuer => Failure::SslUnknownAuthority,
            _ => Failure::SslInvalidCertificate,
        },
        _ => Failure::SslFailedHandshake,
    }
}

/// `TLSv1.3`, as OONI writes versions.
pub(crate) const fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "",
    }
}

/// `TLS_AES_128_GCM_SHA256`, as IANA and OONI write suites; rustls marks those of TLS 1.3 (`TLS13_…`).
pub(crate) fn suite_name(suite: Option<rustls::SupportedCipherSuite>) -> String {
    let name = suite.and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    name.replacen("TLS13_", "TLS_", 1)
}

/// The client's part of a connection, or the server's.
enum Session {
    Client(Box<ClientConnection>),
    Server(Box<ServerConnection>),
}

macro_rules! both {
    ($session:expr, $name:ident => $do:expr) => {
        match $session {
            Session::Client($name) => $do,
            Session::Server($name) => $do,
        }
    };
}

/// TLS over a stream.
pub struct TlsStream<S> {
    stream: S,
    session: Session,
    /// sealed bytes on their way
    outgoing: Vec<u8>,
    written: usize,
    incoming: Vec<u8>,
    /// bytes of `incoming` that came, and those of them that the session took
    filled: usize,
    taken: usize,
    ended: bool,
}

/// Most bytes that are read at once: a record and its frame.
const CHUNK: usize = 16_640;

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    fn new(stream: S, session: Session) -> Self {
        Self {
            stream,
            session,
            outgoing: Vec::new(),
            written: 0,
            incoming: vec![0; CHUNK],
            filled: 0,
            taken: 0,
            ended: false,
        }
    }

    /// Writes what is sealed.
    fn poll_drain(&mut self, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.written == self.outgoing.len() {
                self.outgoing.clear();
                self.written = 0;
                if !both!(&self.session, session => session.wants_write()) {
                    return Poll::Ready(Ok(()));
                }
                while both!(&self.session, session => session.wants_write()) {
                    both!(&mut self.session, session => session.write_tls(&mut self.outgoing))?;
                }
                continue;
            }
            let taken =
                ready!(Pin::new(&mut self.stream).poll_write(poller, &self.outgoing[self.written..]))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += taken;
        }
    }

    /// Takes bytes from the wire, up to the first that a reader can have; false at the end of the stream.
    ///
    /// rustls refuses more while 16 kB wait to be read, and after a lost segment more than that comes at
    /// once: what it has not taken waits here.
    fn poll_fill(&mut self, poller: &mut Poller<'_>) -> Poll<io::Result<bool>> {
        if self.taken == self.filled {
            self.filled = ready!(Pin::new(&mut self.stream).poll_read(poller, &mut self.incoming))?;
            self.taken = 0;
            self.ended |= self.filled == 0;
        }
        let came = self.taken < self.filled;
        while self.taken < self.filled {
            let mut rest = &self.incoming[self.taken..self.filled];
            both!(&mut self.session, session => session.read_tls(&mut rest))?;
            self.taken = self.filled - rest.len();
            match both!(&mut self.session, session => session.process_new_packets()) {
                Ok(state) if state.plaintext_bytes_to_read() > 0 => break,
                Ok(_) => {}
                Err(error) => {
                    // The alert goes out if it can; the failure is the first one.
                    let _ = self.poll_drain(poller);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
        }
        Poll::Ready(Ok(came))
    }

    async fn handshake(&mut self) -> Result<(), Failure> {
        core::future::poll_fn(|poller| {
            loop {
                ready!(self.poll_drain(poller)).map_err(|error| stream_failure(&error))?;
                if !both!(&self.session, session => session.is_handshaking()) {
                    return Poll::Ready(Ok(()));
                }
                if !ready!(self.poll_fill(poller)).map_err(|error| stream_failure(&error))? {
                    return Poll::Ready(Err(Failure::Eof));
                }
            }
        })
        .await
    }

    /// The stream below.
    pub const fn below(&self) -> &S {
        &self.stream
    }

    /// The stream below, for what TLS does not offer (a TTL, a reset).
    pub const fn below_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream below; TLS ends without a word.
    pub fn into_below(self) -> S {
        self.stream
    }

    /// The protocol that ALPN chose; empty when none.
    pub fn alpn(&self) -> String {
        let chosen = both!(&self.session, session => session.alpn_protocol());
        chosen.map(|chosen| String::from_utf8_lossy(chosen).into_owned()).unwrap_or_default()
    }

    /// `TLSv1.3`.
    pub fn version(&self) -> &'static str {
        version_name(both!(&self.session, session => session.protocol_version()))
    }

    /// Cipher suite by its IANA name.
    pub fn cipher_suite(&self) -> String {
        suite_name(both!(&self.session, session => session.negotiated_cipher_suite()))
    }

    /// The peer's certificates, DER, its own first.
    pub fn peer_certificates(&self) -> Vec<Vec<u8>> {
        let chain = both!(&self.session, session => session.peer_certificates());
        chain.unwrap_or_default().iter().map(|certificate| certificate.to_vec()).collect()
    }

    /// Whether the server took the encrypted hello; `None` without one (or with GREASE).
    pub fn ech_accepted(&self) -> Option<bool> {
        let Session::Client(session) = &self.session else { return None };
        match session.ech_status() {
            rustls::client::EchStatus::Accepted => Some(true),
            rustls::client::EchStatus::Rejected | rustls::client::EchStatus::Offered => Some(false),
            _ => None,
        }
    }
}

/// An error of a stream or of TLS above it, under OONI's name.
pub fn stream_failure(error: &io::Error) -> Failure {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return failure_of(error);
    }
    NetErrorKind::of(error).failure()
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            match both!(&mut this.session, session => session.reader().read(bytes)) {
                Ok(taken) => return Poll::Ready(Ok(taken)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The stream ended without close_notify: an end all the same, as Go's library sees it.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(0)),
                Err(error) => return Poll::Ready(Err(error)),
            }
            if this.ended || !ready!(this.poll_fill(poller))? {
                return Poll::Ready(Ok(0));
            }
            if let Poll::Ready(result) = this.poll_drain(poller) {
                result?;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(poller))?;
        let taken = both!(&mut self.session, session => session.writer().write(bytes))?;
        // What does not go at once goes with the next write, flush or read.
        if let Poll::Ready(result) = self.poll_drain(poller) {
            result?;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(poller))?;
        Pin::new(&mut self.stream).poll_flush(poller)
    }

    fn poll_close(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            both!(&mut self.session, session => session.send_close_notify());
        }
        ready!(self.poll_drain(poller))?;
        Pin::new(&mut self.stream).poll_close(poller)
    }
}

/// Shakes hands as a client that asks for `name` (or an IP address), and records it.
pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    scope: &Scope,
    stream: S,
    remote: Endpoint,
    name: &str,
    options: &TlsOptions,
) -> Result<TlsStream<S>, Failure> {
    let from = scope.now();
    scope.event("tls_handshake_start", "tcp", Some(remote), from, Ok(0));
    let mut chain = Vec::new();
    let result = run(scope, stream, name, options, &mut chain).await;
    let mut record = HandshakeRecord {
        network: "tcp".to_owned(),
        address: remote.to_string(),
        failure: result.as_ref().err().copied(),
        no_tls_verify: !options.verify,
        peer_certificates: chain,
        // df-006: with ECH `server_name` is the inner name.
        server_name: if options.ech == Ech::Off { shown_text(options, name) } else { name.to_owned() },
        outer_server_name: match &options.ech {
            Ech::Off => None,
            Ech::Grease => Some(shown_text(options, name)),
            // rustls shows the configuration's public name.
            Ech::Config(list) => ech_public_name(list),
        },
        echconfig: match &options.ech {
            Ech::Off => None,
            Ech::Grease => Some("GREASE".to_owned()),
            Ech::Config(list) => Some(BASE64.encode(list)),
        },
        ..HandshakeRecord::default()
    };
    if let Ok(tls) = &result {
        record.cipher_suite = tls.cipher_suite();
        record.negotiated_protocol = tls.alpn();
        tls.version().clone_into(&mut record.tls_version);
    }
    record.stamp = scope.stamp(from);
    let done = record.failure.map_or(Ok(0), Err);
    scope.trace.add_tls(record);
    scope.event("tls_handshake_done", "tcp", Some(remote), scope.now(), done);
    result
}

/// The public name of an ECHConfigList (RFC 9849 §4).
pub fn ech_public_name(list: &[u8]) -> Option<String> {
    let configs = Vec::<EchConfigPayload>::read(&mut Reader::init(list)).ok()?;
    configs.iter().find_map(|config| match config {
        EchConfigPayload::V18(contents) => Some(contents.public_name.as_ref().to_owned()),
        EchConfigPayload::Unknown { .. } => None,
    })
}

/// The name in the hello, as it is recorded.
pub(crate) fn shown_text(options: &TlsOptions, name: &str) -> String {
    match &options.sni {
        Sni::Same => name.to_owned(),
        Sni::Absent => String::new(),
        Sni::Other(other) => other.clone(),
    }
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    scope: &Scope,
    stream: S,
    name: &str,
    options: &TlsOptions,
    chain: &mut Vec<Binary>,
) -> Result<TlsStream<S>, Failure> {
    let ground = scope.world.tls();
    let setup = setup(&ground, name, options)?;
    let session = hpke::with_provider(&ground.provider, || {
        ClientConnection::new(setup.config.clone(), setup.shown_name.clone())
    })
    .map_err(|error| failure_of(&error))?;
    let mut tls = TlsStream::new(stream, Session::Client(Box::new(session)));
    let result = within(&*scope.world, options.patience, tls.handshake()).await;
    *chain = setup.take_chain();
    result.unwrap_or(Err(Failure::GenericTimeout)).map(|()| tls)
}

/// Shakes hands as a server.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: Arc<ServerConfig>,
) -> Result<TlsStream<S>, Failure> {
    let session = ServerConnection::new(config).map_err(|error| failure_of(&error))?;
    let mut tls = TlsStream::new(stream, Session::Server(Box::new(session)));
    tls.handshake().await.map(|()| tls)
}

/// What came back to a first flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// a ServerHello, with the version it chose (0x0303, 0x0304)
    ServerHello(u16),
    /// an alert with its description (RFC 8446 §6)
    Alert(u8),
    /// a reset
    Reset,
    /// an orderly end
    Eof,
    /// nothing in time
    Silence,
    /// bytes that are not TLS
    Other,
    /// another error of the connection
    Failed(Failure),
}

impl Came {
    /// OONI's name; `None` for a ServerHello.
    pub const fn failure(&self) -> Option<Failure> {
        match self {
            Self::ServerHello(_) => None,
            Self::Alert(_) | Self::Other => Some(Failure::SslFailedHandshake),
            Self::Reset => Some(Failure::ConnectionReset),
            Self::Eof => Some(Failure::Eof),
            Self::Silence => Some(Failure::GenericTimeout),
            Self::Failed(failure) => Some(*failure),
        }
    }

    /// One word: `server_hello`, `alert`, `rst`, `eof`, `silence`, `other`, `failed`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::ServerHello(_) => "server_hello",
            Self::Alert(_) => "alert",
            Self::Reset => "rst",
            Self::Eof => "eof",
            Self::Silence => "silence",
            Self::Other => "other",
            Self::Failed(_) => "failed",
        }
    }
}

/// The answer to a first flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstAnswer {
    /// what
    pub came: Came,
    /// when the flight was written
    pub sent: Instant,
    /// when the answer was there, or patience was over
    pub at: Instant,
    /// the bytes that came
    pub bytes: Vec<u8>,
}

/// Sends `flight` (whole records) and waits for the first message that comes back.
pub async fn first_flight<S: AsyncRead + AsyncWrite + Unpin>(
    scope: &Scope,
    stream: &mut S,
    flight: &[u8],
    patience: Duration,
) -> FirstAnswer {
    let sent = scope.now();
    let mut bytes = Vec::new();
    let work = async {
        stream.write_all(flight).await?;
        stream.flush().await?;
        let mut chunk = [0; 4_096];
        loop {
            let taken = stream.read(&mut chunk).await?;
            bytes.extend_from_slice(&chunk[..taken]);
            if let Some(came) = read_answer(&bytes) {
                return Ok(came);
            }
            if taken == 0 {
                return Ok(if bytes.is_empty() { Came::Eof } else { Came::Other });
            }
        }
    };
    let came = match within(&*scope.world, patience, work).await {
        Some(Ok(came)) => came,
        Some(Err(error)) => came_of(&error),
        None => Came::Silence,
    };
    FirstAnswer { came, sent, at: scope.now(), bytes }
}

fn came_of(error: &io::Error) -> Came {
    match NetErrorKind::of(error) {
        NetErrorKind::Reset => Came::Reset,
        NetErrorKind::TimedOut => Came::Silence,
        NetErrorKind::Closed => Came::Eof,
        kind => Came::Failed(kind.failure()),
    }
}

/// The first message of what has come, if it is whole.
fn read_answer(bytes: &[u8]) -> Option<Came> {
    let first = *bytes.first()?;
    if !matches!(first, code::content::HANDSHAKE | code::content::ALERT) {
        return Some(Came::Other);
    }
    let record = records(bytes).next()?.ok()?;
    if first == code::content::ALERT {
        return Alert::parse(record.kind, record.body).map(|alert| Came::Alert(alert.description));
    }
    let message = messages(record.body).next()?;
    if message.kind != code::handshake::SERVER_HELLO {
        return Some(Came::Other);
    }
    let hello = ServerHello::parse(message.bytes).ok()?;
    Some(Came::ServerHello(hello.version()))
}
