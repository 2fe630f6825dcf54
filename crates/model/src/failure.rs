//! What a network operation failed with: one closed list, with OONI's strings.
//!
//! Interference is data. A reset or a forged answer is a value here, never a Rust error. The names are
//! those of OONI's df-007-errors; legacy names of 2012–2019 probes and the texts of localised Windows
//! errors are mapped onto them, so that a rule needs one word for one thing.

/// The kinds of trouble that rules distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// certificate does not verify
    Certificate,
    /// the resolver answered with an error other than a name or data error
    DnsError,
    /// orderly close where an answer was due
    Eof,
    /// the HTTP exchange itself was odd
    Http,
    /// the probe's own machine or library is at fault
    Local,
    /// the name exists, the data does not
    NoAnswer,
    /// the name does not exist
    NxDomain,
    /// no route, as an ICMP message or the local stack said
    Unreachable,
    /// RST where a connection was asked for
    Refused,
    /// RST on an open connection
    Reset,
    /// nothing came back in time
    Timeout,
    /// the TLS or QUIC handshake broke for another reason
    Handshake,
    /// no known name
    Unknown,
}

macro_rules! failures {
    ($( $(#[doc = $doc:literal])+ $variant:ident = $text:literal, $kind:ident; )+) => {
        /// A failure, under OONI's name (df-007-errors).
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Failure {
            $( $(#[doc = $doc])+ $variant, )+
            /// A failure without a name in the list. Its text is not kept: such texts carry addresses.
            #[default]
            Unknown,
        }

        impl Failure {
            /// Every named failure.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ Self::Unknown ];

            /// OONI's name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )+
                    Self::Unknown => "unknown_failure",
                }
            }

            /// What kind of trouble it is.
            pub const fn kind(self) -> FailureKind {
                match self {
                    $( Self::$variant => FailureKind::$kind, )+
                    Self::Unknown => FailureKind::Unknown,
                }
            }

            fn exact(text: &str) -> Option<Self> {
                match text {
                    $( $text => Some(Self::$variant), )+
                    "unknown_failure" => Some(Self::Unknown),
                    _ => None,
                }
            }
        }
    };
}

failures! {
    /// a cached miss on Android: NXDOMAIN or any other miss (df-007)
    AndroidDnsCacheNoData = "android_dns_cache_no_data", NoAnswer;
    /// the address is not configured on this machine
    AddressNotAvailable = "address_not_available", Local;
    /// the address is in use
    AddressInUse = "address_in_use", Local;
    /// a connection was aborted by the local stack
    ConnectionAborted = "connection_aborted", Reset;
    /// an operation on a closed connection
    ConnectionAlreadyClosed = "connection_already_closed", Local;
    /// RST in answer to SYN
    ConnectionRefused = "connection_refused", Refused;
    /// RST on an open connection
    ConnectionReset = "connection_reset", Reset;
    /// the resolver's answer was a bogon (set by the probe)
    DnsBogon = "dns_bogon_error", DnsError;
    /// legacy name for any lookup error
    DnsLookup = "dns_lookup_error", DnsError;
    /// the name exists, the record type does not
    DnsNoAnswer = "dns_no_answer", NoAnswer;
    /// getaddrinfo: EAI_FAIL
    DnsNonRecoverable = "dns_non_recoverable_failure", DnsError;
    /// the name does not exist
    DnsNxDomain = "dns_nxdomain_error", NxDomain;
    /// REFUSED
    DnsRefused = "dns_refused_error", DnsError;
    /// an answer that does not belong to the question
    DnsReplyWithWrongQueryId = "dns_reply_with_wrong_query_id", DnsError;
    /// SERVFAIL
    DnsServfail = "dns_servfail_error", DnsError;
    /// any other RCODE
    DnsServerMisbehaving = "dns_server_misbehaving", DnsError;
    /// getaddrinfo: EAI_AGAIN
    DnsTemporary = "dns_temporary_failure", DnsError;
    /// orderly close where data was due
    Eof = "eof_error", Eof;
    /// no answer in time
    GenericTimeout = "generic_timeout_error", Timeout;
    /// ICMP host unreachable
    HostUnreachable = "host_unreachable", Unreachable;
    /// a redirect to something that is no host
    HttpInvalidRedirect = "http_invalid_redirect_location_host", Http;
    /// the request failed with a status the test does not accept
    HttpRequestFailed = "http_request_failed", Http;
    /// a redirect to somewhere the test does not accept
    HttpUnexpectedRedirect = "http_unexpected_redirect_url", Http;
    /// a status the test does not accept
    HttpUnexpectedStatus = "http_unexpected_status_code", Http;
    /// the call was interrupted
    Interrupted = "interrupted", Local;
    /// the answer was not the JSON it should have been
    JsonParse = "json_parse_error", Http;
    /// the datagram is too long
    MessageTooLong = "message_size", Local;
    /// the local network is down
    NetworkDown = "network_down", Local;
    /// the network dropped the connection on reset
    NetworkReset = "network_reset", Reset;
    /// ICMP network unreachable, or no route
    NetworkUnreachable = "network_unreachable", Unreachable;
    /// the probe gave up on purpose
    OperationCanceled = "operation_canceled", Local;
    /// the local system forbids it
    PermissionDenied = "permission_denied", Local;
    /// no common QUIC version
    QuicIncompatibleVersion = "quic_incompatible_version", Handshake;
    /// the QUIC handshake failed
    QuicHandshake = "quic_handshake_failure", Handshake;
    /// the request went out, nothing came back (legacy)
    ResponseNeverReceived = "response_never_received", Reset;
    /// the SOCKS proxy in front of the target failed
    Socks = "socks_error", Local;
    /// the handshake failed with an alert or a protocol error
    SslFailedHandshake = "ssl_failed_handshake", Handshake;
    /// the certificate is expired or otherwise bad
    SslInvalidCertificate = "ssl_invalid_certificate", Certificate;
    /// the certificate is for another name
    SslInvalidHostname = "ssl_invalid_hostname", Certificate;
    /// the certificate's issuer is not trusted
    SslUnknownAuthority = "ssl_unknown_authority", Certificate;
    /// tor, psiphon or another tunnel could not start
    TunnelStart = "tunnel_start_error", Unknown;
}

/// Legacy and foreign spellings: (text, meaning). OONI's own: df-007 and the texts of the 2012–2019 probe.
const ALIASES: &[(&str, Failure)] = &[
    ("connection_refused_error", Failure::ConnectionRefused),
    ("connection_reset_error", Failure::ConnectionReset),
    ("connect_error", Failure::ConnectionRefused),
    ("connection_lost_error", Failure::ConnectionReset),
    ("connection_closed_error", Failure::Eof),
    ("deferred_timeout_error", Failure::GenericTimeout),
    ("task_timed_out", Failure::GenericTimeout),
    ("timed_out", Failure::GenericTimeout),
    ("timeout", Failure::GenericTimeout),
    ("generic_timeout", Failure::GenericTimeout),
    ("tcp_timed_out_error", Failure::GenericTimeout),
    ("no_route_to_host_error", Failure::HostUnreachable),
    ("no_answer", Failure::DnsNoAnswer),
    ("dns_name_error", Failure::DnsNxDomain),
    ("dns_server_failure", Failure::DnsServfail),
    ("nxdomain", Failure::DnsNxDomain),
    ("dns_no_error", Failure::DnsNoAnswer),
    ("ssl_error", Failure::SslFailedHandshake),
    ("ssl_handshake_error", Failure::SslFailedHandshake),
    ("unexpected_eof", Failure::Eof),
    ("socks_connection_refused", Failure::Socks),
    ("socks_host_unreachable", Failure::Socks),
    ("socks_ttl_expired", Failure::Socks),
    ("socks_network_unreachable", Failure::Socks),
    ("socks_connection_not_allowed", Failure::Socks),
    ("socks_command_not_supported", Failure::Socks),
    ("socks_address_not_supported", Failure::Socks),
    ("http_status_code_unexpected", Failure::HttpUnexpectedStatus),
    ("message_too_long", Failure::MessageTooLong),
];

/// Fragments of texts behind `unknown_failure:`; Windows writes them in the language of the machine
/// (WSAECONNREFUSED, WSAECONNRESET, WSAETIMEDOUT …), Go and Twisted in English.
const FRAGMENTS: &[(&str, Failure)] = &[
    ("actively refused", Failure::ConnectionRefused),
    ("connection refused", Failure::ConnectionRefused),
    ("expressément refusée", Failure::ConnectionRefused),
    ("die verbindung verweigerte", Failure::ConnectionRefused),
    ("denegó expresamente", Failure::ConnectionRefused),
    ("recusou ativamente", Failure::ConnectionRefused),
    ("recusaram ativamente", Failure::ConnectionRefused),
    ("as recusou", Failure::ConnectionRefused),
    ("отверг запрос на подключение", Failure::ConnectionRefused),
    ("forcibly closed", Failure::ConnectionReset),
    ("connection reset", Failure::ConnectionReset),
    ("fermée par l’hôte distant", Failure::ConnectionReset),
    ("fermée par l'hôte distant", Failure::ConnectionReset),
    ("vom remotehost geschlossen", Failure::ConnectionReset),
    ("forzado la interrupción", Failure::ConnectionReset),
    ("forçado o cancelamento", Failure::ConnectionReset),
    ("принудительно разорвал", Failure::ConnectionReset),
    ("aborted by the software", Failure::ConnectionAborted),
    ("did not properly respond", Failure::GenericTimeout),
    ("n’a pas répondu", Failure::GenericTimeout),
    ("n'a pas répondu", Failure::GenericTimeout),
    ("ein verbindungsversuch ist fehlgeschlagen", Failure::GenericTimeout),
    ("no respondió adecuadamente", Failure::GenericTimeout),
    ("não respondeu", Failure::GenericTimeout),
    ("не получен нужный отклик", Failure::GenericTimeout),
    ("i/o timeout", Failure::GenericTimeout),
    ("timed out", Failure::GenericTimeout),
    ("timeout", Failure::GenericTimeout),
    ("deadline exceeded", Failure::GenericTimeout),
    ("no such host", Failure::DnsNxDomain),
    ("hôte inconnu", Failure::DnsNxDomain),
    ("unbekannter host", Failure::DnsNxDomain),
    ("host desconocido", Failure::DnsNxDomain),
    ("host desconhecido", Failure::DnsNxDomain),
    ("этот хост неизвестен", Failure::DnsNxDomain),
    ("no data of the requested type", Failure::DnsNoAnswer),
    ("server misbehaving", Failure::DnsServerMisbehaving),
    ("no route to host", Failure::HostUnreachable),
    ("unreachable host", Failure::HostUnreachable),
    ("network is unreachable", Failure::NetworkUnreachable),
    ("unreachable network", Failure::NetworkUnreachable),
    ("network is down", Failure::NetworkDown),
    ("permission denied", Failure::PermissionDenied),
    ("operation was canceled", Failure::OperationCanceled),
    ("context canceled", Failure::OperationCanceled),
    ("unknown authority", Failure::SslUnknownAuthority),
    ("x509: certificate is valid for", Failure::SslInvalidHostname),
    ("x509: certificate has expired", Failure::SslInvalidCertificate),
    ("remote error: tls", Failure::SslFailedHandshake),
    ("tls: ", Failure::SslFailedHandshake),
    ("handshake did not complete", Failure::GenericTimeout),
    ("unexpected eof", Failure::Eof),
    (": eof", Failure::Eof),
    ("connectionrefused", Failure::ConnectionRefused),
    ("connectionlost", Failure::ConnectionReset),
    ("responseneverreceived", Failure::ResponseNeverReceived),
    ("dnslookuperror", Failure::DnsLookup),
    ("tcptimedout", Failure::GenericTimeout),
];

impl Failure {
    /// The failure behind any string OONI ever wrote. An unknown text is [`Failure::Unknown`], and so
    /// is the empty string: it says that something failed and not what (trap 11).
    pub fn from_ooni(text: &str) -> Self {
        if let Some(failure) = Self::exact(text) {
            return failure;
        }
        if let Some((_, failure)) = ALIASES.iter().find(|(alias, _)| *alias == text) {
            return *failure;
        }
        // Only the head matters: what follows is a stack or an address list.
        let head: String = text.chars().take(400).collect::<String>().to_lowercase();
        FRAGMENTS
            .iter()
            .find(|(fragment, _)| head.contains(fragment))
            .map_or(Self::Unknown, |(_, failure)| *failure)
    }

    /// Whether the failure says that the certificate did not verify.
    pub fn is_certificate(self) -> bool {
        self.kind() == FailureKind::Certificate
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for failure in Failure::ALL {
            assert_eq!(Failure::from_ooni(failure.as_str()), *failure);
        }
    }

    #[test]
    fn windows_errors_are_understood_in_every_language_we_know() {
        for (text, failure) in [
            (
                "unknown_failure: dial tcp [scrubbed]: connectex: No connection could be made because the target machine actively refused it.",
                Failure::ConnectionRefused,
            ),
            (
                "unknown_failure: read tcp: wsarecv: An existing connection was forcibly closed by the remote host.",
                Failure::ConnectionReset,
            ),
            (
                "unknown_failure: Une connexion existante a dû être fermée par l’hôte distant.",
                Failure::ConnectionReset,
            ),
            (
                "unknown_failure: Eine vorhandene Verbindung wurde vom Remotehost geschlossen.",
                Failure::ConnectionReset,
            ),
            (
                "unknown_failure: Se ha forzado la interrupción de una conexión existente por el host remoto.",
                Failure::ConnectionReset,
            ),
            (
                "unknown_failure: Foi forçado o cancelamento de uma conexão existente pelo host remoto.",
                Failure::ConnectionReset,
            ),
            (
                "unknown_failure: Удаленный хост принудительно разорвал существующее подключение.",
                Failure::ConnectionReset,
            ),
            ("unknown_failure: something nobody has seen", Failure::Unknown),
            ("", Failure::Unknown),
        ] {
            assert_eq!(Failure::from_ooni(text), failure, "{text}");
        }
    }
}
