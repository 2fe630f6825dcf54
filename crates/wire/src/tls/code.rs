//! Numbers of TLS that the mechanisms look at
//! (https://www.iana.org/assignments/tls-parameters, …/tls-extensiontype-values).

/// Record content types (RFC 8446 §5.1, RFC 6520 §3, RFC 9147 §4).
pub mod content {
    /// ChangeCipherSpec
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// Alert
    pub const ALERT: u8 = 21;
    /// Handshake
    pub const HANDSHAKE: u8 = 22;
    /// Application data
    pub const APPLICATION_DATA: u8 = 23;
    /// Heartbeat
    pub const HEARTBEAT: u8 = 24;
    /// ACK of DTLS 1.3
    pub const ACK: u8 = 26;
}

/// Handshake message types (RFC 8446 §4, RFC 6347 §4.3.2).
pub mod handshake {
    /// HelloRequest
    pub const HELLO_REQUEST: u8 = 0;
    /// ClientHello
    pub const CLIENT_HELLO: u8 = 1;
    /// ServerHello
    pub const SERVER_HELLO: u8 = 2;
    /// HelloVerifyRequest of DTLS
    pub const HELLO_VERIFY_REQUEST: u8 = 3;
    /// Certificate
    pub const CERTIFICATE: u8 = 11;
    /// ServerKeyExchange
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    /// ServerHelloDone
    pub const SERVER_HELLO_DONE: u8 = 14;
}

/// Extension types.
pub mod ext {
    /// server_name (RFC 6066 §3)
    pub const SERVER_NAME: u16 = 0;
    /// status_request
    pub const STATUS_REQUEST: u16 = 5;
    /// supported_groups
    pub const SUPPORTED_GROUPS: u16 = 10;
    /// ec_point_formats
    pub const EC_POINT_FORMATS: u16 = 11;
    /// signature_algorithms
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    /// use_srtp (RFC 5764 §4.1)
    pub const USE_SRTP: u16 = 14;
    /// application_layer_protocol_negotiation (RFC 7301)
    pub const ALPN: u16 = 16;
    /// signed_certificate_timestamp
    pub const SCT: u16 = 18;
    /// padding (RFC 7685)
    pub const PADDING: u16 = 21;
    /// extended_master_secret
    pub const EXTENDED_MASTER_SECRET: u16 = 23;
    /// compress_certificate
    pub const COMPRESS_CERTIFICATE: u16 = 27;
    /// record_size_limit
    pub const RECORD_SIZE_LIMIT: u16 = 28;
    /// delegated_credentials
    pub const DELEGATED_CREDENTIALS: u16 = 34;
    /// session_ticket
    pub const SESSION_TICKET: u16 = 35;
    /// pre_shared_key
    pub const PRE_SHARED_KEY: u16 = 41;
    /// early_data
    pub const EARLY_DATA: u16 = 42;
    /// supported_versions
    pub const SUPPORTED_VERSIONS: u16 = 43;
    /// cookie
    pub const COOKIE: u16 = 44;
    /// psk_key_exchange_modes
    pub const PSK_KEY_EXCHANGE_MODES: u16 = 45;
    /// key_share
    pub const KEY_SHARE: u16 = 51;
    /// quic_transport_parameters (RFC 9001 §8.2)
    pub const QUIC_TRANSPORT_PARAMETERS: u16 = 57;
    /// the same in the drafts up to 32
    pub const QUIC_TRANSPORT_PARAMETERS_DRAFT: u16 = 0xffa5;
    /// application_settings of Chrome, first number
    pub const APPLICATION_SETTINGS_OLD: u16 = 0x4469;
    /// application_settings of Chrome, second number
    pub const APPLICATION_SETTINGS: u16 = 0x44cd;
    /// 0xfe02: a draft of ECH (draft-ietf-tls-esni-08); Telegram's first TLS camouflage carried it
    pub const ECH_DRAFT_08: u16 = 0xfe02;
    /// encrypted_client_hello (RFC 9849; drafts 13 and later)
    pub const ECH: u16 = 0xfe0d;
    /// encrypted_server_name (draft-ietf-tls-esni-02)
    pub const ESNI: u16 = 0xffce;
    /// renegotiation_info
    pub const RENEGOTIATION_INFO: u16 = 0xff01;
}

/// Protocol versions as they stand on the wire.
pub mod version {
    /// SSL 3.0
    pub const SSL30: u16 = 0x0300;
    /// TLS 1.0
    pub const TLS10: u16 = 0x0301;
    /// TLS 1.1
    pub const TLS11: u16 = 0x0302;
    /// TLS 1.2
    pub const TLS12: u16 = 0x0303;
    /// TLS 1.3
    pub const TLS13: u16 = 0x0304;
    /// DTLS 1.0
    pub const DTLS10: u16 = 0xfeff;
    /// DTLS 1.2
    pub const DTLS12: u16 = 0xfefd;
    /// DTLS 1.3
    pub const DTLS13: u16 = 0xfefc;
}

/// Named groups.
pub mod group {
    /// secp256r1
    pub const SECP256R1: u16 = 23;
    /// secp384r1
    pub const SECP384R1: u16 = 24;
    /// secp521r1
    pub const SECP521R1: u16 = 25;
    /// x25519
    pub const X25519: u16 = 29;
    /// X25519MLKEM768, the post-quantum hybrid: 1,216 bytes from the client
    pub const X25519_MLKEM768: u16 = 0x11ec;
    /// X25519Kyber768Draft00, its forerunner
    pub const X25519_KYBER768: u16 = 0x6399;
}
