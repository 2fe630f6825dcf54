//! Google QUIC before 50: a public header of its own and a hello in the clear.
//!
//! Seen in captures to 2021; a box that knows it reads the name from the hello's `SNI` tag
//! (https://docs.google.com/document/d/1g5nIXAIkN_Y-7XJW5K45IblHd_L2f5LTaDUDwvZ5L6g).

use memchr::memmem;

use super::version::Version;

/// How far into a datagram the hello's tag is looked for: header, hash and stream frame take no more.
const SEARCH: usize = 96;

/// A client's datagram of an early Google version.
#[derive(Clone, Copy, Debug)]
pub struct GquicView<'a> {
    /// version, `Q009` to `Q048`
    pub version: Version,
    /// the hello, when the datagram holds its start
    pub chlo: Option<Chlo<'a>>,
}

impl<'a> GquicView<'a> {
    /// Reads a datagram that names its version: with the public header of Q043 and before (flags, 8 bytes of
    /// connection id, version) or the long form of Q044 to Q048 (flags, version).
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let version = |at: usize| {
            let four = datagram.get(at..at + 4)?;
            let version = Version(u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
            (version.is_google() && four[0] == b'Q' && version.0 < Version::Q050.0).then_some(version)
        };
        let first = *datagram.first()?;
        // The version flag and a connection id of 8 bytes.
        let version = match first {
            0x80.. => version(1)?,
            _ if first & 0x09 == 0x09 && first & 0x40 == 0 => version(9)?,
            _ => return None,
        };
        let window = &datagram[..datagram.len().min(SEARCH)];
        let chlo = memmem::find(window, b"CHLO").and_then(|at| Chlo::parse(&datagram[at..]));
        Some(Self { version, chlo })
    }
}

/// Google's hello: tags and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chlo<'a> {
    table: &'a [u8],
    values: &'a [u8],
}

impl<'a> Chlo<'a> {
    /// Reads from `CHLO` on. Values past the end of `bytes` are left out.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let &[b'C', b'H', b'L', b'O', low, high, _, _, ref rest @ ..] = bytes else { return None };
        let count = usize::from(u16::from_le_bytes([low, high]));
        let table = rest.get(..count * 8)?;
        Some(Self { table, values: &rest[count * 8..] })
    }

    /// Tags and values in order.
    pub fn tags(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let (table, values) = (self.table, self.values);
        let mut start = 0;
        table.chunks_exact(8).map_while(move |entry| {
            let end = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]) as usize;
            let value = values.get(start..end)?;
            start = end;
            Some((&entry[..4], value))
        })
    }

    /// All values are there.
    pub fn is_complete(&self) -> bool {
        self.tags().count() * 8 == self.table.len()
    }

    /// The server name.
    pub fn sni(&self) -> Option<&'a [u8]> {
        self.tags().find_map(|(tag, value)| (tag == b"SNI\0").then_some(value))
    }

    /// The client's name for itself.
    pub fn user_agent(&self) -> Option<&'a [u8]> {
        self.tags().find_map(|(tag, value)| (tag == b"UAID").then_some(value))
    }
}

impl Chlo<'_> {
    /// The hello's bytes from `CHLO` on.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let count = (self.table.len() / 8) as u16;
        [b"CHLO", &count.to_le_bytes()[..], &[0, 0], self.table, self.values].concat()
    }
}
