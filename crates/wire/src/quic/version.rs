//! Versions: what differs between them as far as Initials go.

/// A version number as it stands in a long header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32);

const SALT_V1: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc,
    0xbb, 0x7f, 0x0a,
];
const SALT_V2: [u8; 20] = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9,
    0xbd, 0x2e, 0xd9,
];
const SALT_V2_DRAFT: [u8; 20] = [
    0xa7, 0x07, 0xc2, 0x03, 0xa5, 0x9b, 0x47, 0x18, 0x4a, 0x1d, 0x62, 0xca, 0x57, 0x04, 0x06, 0xea, 0x7a,
    0xe3, 0xe5, 0xd3,
];
const SALT_DRAFT_29: [u8; 20] = [
    0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43,
    0x90, 0xa8, 0x99,
];
const SALT_DRAFT_23: [u8; 20] = [
    0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7, 0xd2, 0x43, 0x2b, 0xb4, 0x63, 0x65, 0xbe,
    0xf9, 0xf5, 0x02,
];
const SALT_DRAFT_21: [u8; 20] = [
    0x7f, 0xbc, 0xdb, 0x0e, 0x7c, 0x66, 0xbb, 0xe9, 0x19, 0x3a, 0x96, 0xcd, 0x21, 0x51, 0x9e, 0xbd, 0x7a,
    0x02, 0x64, 0x4a,
];
const SALT_Q050: [u8; 20] = [
    0x50, 0x45, 0x74, 0xef, 0xd0, 0x66, 0xfe, 0x2f, 0x9d, 0x94, 0x5c, 0xfc, 0xdb, 0xd3, 0xa7, 0xf0, 0xd3,
    0xb5, 0x6b, 0x45,
];
const SALT_T050: [u8; 20] = [
    0x7f, 0xf5, 0x79, 0xe5, 0xac, 0xd0, 0x72, 0x91, 0x55, 0x80, 0x30, 0x4c, 0x43, 0xa2, 0x36, 0x7c, 0x60,
    0x48, 0x83, 0x10,
];
const SALT_T051: [u8; 20] = [
    0x7a, 0x4e, 0xde, 0xf4, 0xe7, 0xcc, 0xee, 0x5f, 0xa4, 0x50, 0x6c, 0x19, 0x12, 0x4f, 0xc8, 0xcc, 0xda,
    0x6e, 0x03, 0x3d,
];

impl Version {
    /// Version negotiation (RFC 8999 §6).
    pub const NEGOTIATION: Self = Self(0);
    /// QUIC v1 (RFC 9000).
    pub const V1: Self = Self(1);
    /// QUIC v2 (RFC 9369).
    pub const V2: Self = Self(0x6b33_43cf);
    /// The last draft with keys of its own.
    pub const DRAFT_29: Self = Self(0xff00_001d);
    /// Google QUIC 46, with an unencrypted hello.
    pub const Q046: Self = Self(0x5130_3436);
    /// Google QUIC 50, Google's hello behind Initial keys.
    pub const Q050: Self = Self(0x5130_3530);
    /// Google QUIC with TLS.
    pub const T050: Self = Self(0x5430_3530);
    /// Google QUIC with TLS, next number.
    pub const T051: Self = Self(0x5430_3531);

    /// The draft of draft-ietf-quic-transport whose Initials this version's are like; `None` for v1, v2 and
    /// Google's.
    pub const fn draft(self) -> Option<u8> {
        match self.0 {
            0xff00_0001..=0xff00_0022 => Some((self.0 & 0xff) as u8),
            // Facebook's mvfst.
            0xface_b000 | 0xface_b001 => Some(22),
            0xface_b002..=0xface_b00e => Some(27),
            _ if self.is_grease() => Some(29),
            _ => None,
        }
    }

    /// Reserved to force negotiation (RFC 9000 §15).
    pub const fn is_grease(self) -> bool {
        self.0 & 0x0f0f_0f0f == 0x0a0a_0a0a
    }

    /// A Google version: `Q` or `T`, then three digits.
    pub const fn is_google(self) -> bool {
        let [letter, a, b, c] = self.0.to_be_bytes();
        matches!(letter, b'Q' | b'T') && a == b'0' && b.is_ascii_digit() && c.is_ascii_digit()
    }

    /// v2 or its drafts: other type bits and labels.
    pub const fn is_v2(self) -> bool {
        matches!(self.0, 0x6b33_43cf | 0x709a_50c4 | 0xff02_0000)
    }

    /// The salt of the Initial secret (RFC 9001 §5.2, RFC 9369 §3.3.1); `None` when Initials of this version
    /// cannot be opened.
    pub const fn salt(self) -> Option<&'static [u8; 20]> {
        match self {
            Self::V1 => Some(&SALT_V1),
            Self::V2 => Some(&SALT_V2),
            Self(0x709a_50c4 | 0xff02_0000) => Some(&SALT_V2_DRAFT),
            Self::Q050 => Some(&SALT_Q050),
            Self::T050 => Some(&SALT_T050),
            Self::T051 => Some(&SALT_T051),
            _ => match self.draft() {
                Some(33..) => Some(&SALT_V1),
                Some(29..=32) => Some(&SALT_DRAFT_29),
                Some(23..=28) => Some(&SALT_DRAFT_23),
                Some(21 | 22) => Some(&SALT_DRAFT_21),
                _ => None,
            },
        }
    }

    /// Known well enough that a long header with it is taken for QUIC.
    pub const fn is_known(self) -> bool {
        self.salt().is_some() || self.is_google() || self.draft().is_some()
    }

    /// `v1`, `v2`, `draft-29`, `Q046`; hexadecimal for what is unknown.
    pub fn name(self) -> String {
        match self {
            Self::V1 => "v1".to_owned(),
            Self::V2 => "v2".to_owned(),
            _ if self.is_google() => String::from_utf8_lossy(&self.0.to_be_bytes()).into_owned(),
            _ if self.is_v2() => "v2-draft".to_owned(),
            _ if self.is_grease() => "grease".to_owned(),
            _ => self.draft().map_or_else(|| format!("{:08x}", self.0), |draft| format!("draft-{draft}")),
        }
    }
}
