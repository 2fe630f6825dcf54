//! DNS messages over UDP and TCP, as views, and a builder for queries and answers.
//!
//! Names are read where they stand and only become text when asked for: compression pointers are followed
//! with a bound on steps, and only backwards, so that no message can make the walk turn in circles.

mod emit;
mod name;
#[cfg(test)]
mod tests;

pub use emit::{MessageRepr, RecordRepr, answer, nxdomain, query, tcp_framed};
pub use name::{Labels, Name};

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::cursor::Cursor;
use crate::malformed::Malformed;

/// Record types (https://www.iana.org/assignments/dns-parameters).
pub mod kind {
    /// IPv4 address
    pub const A: u16 = 1;
    /// name server
    pub const NS: u16 = 2;
    /// canonical name
    pub const CNAME: u16 = 5;
    /// start of authority
    pub const SOA: u16 = 6;
    /// pointer
    pub const PTR: u16 = 12;
    /// text
    pub const TXT: u16 = 16;
    /// IPv6 address
    pub const AAAA: u16 = 28;
    /// EDNS (RFC 6891)
    pub const OPT: u16 = 41;
    /// service binding (RFC 9460)
    pub const SVCB: u16 = 64;
    /// service binding of HTTPS (RFC 9460)
    pub const HTTPS: u16 = 65;
    /// any
    pub const ANY: u16 = 255;
}

/// Response codes (RFC 1035 §4.1.1).
pub mod rcode {
    /// no error
    pub const NOERROR: u8 = 0;
    /// format error
    pub const FORMERR: u8 = 1;
    /// server failure
    pub const SERVFAIL: u8 = 2;
    /// no such name
    pub const NXDOMAIN: u8 = 3;
    /// refused
    pub const REFUSED: u8 = 5;
}

/// Header flags.
pub mod flag {
    /// response
    pub const QR: u16 = 0x8000;
    /// authoritative answer
    pub const AA: u16 = 0x0400;
    /// truncated
    pub const TC: u16 = 0x0200;
    /// recursion desired
    pub const RD: u16 = 0x0100;
    /// recursion available
    pub const RA: u16 = 0x0080;
}

/// A DNS message (RFC 1035 §4).
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    bytes: &'a [u8],
    /// transaction id
    pub id: u16,
    /// flags, operation and response code
    pub flags: u16,
    /// counts in the header: questions, answers, authorities, additionals
    pub counts: [u16; 4],
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// name
    pub name: Name<'a>,
    /// type; see [`kind`]
    pub kind: u16,
    /// class
    pub class: u16,
}

/// Part of a message that a record stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// answer
    Answer,
    /// authority
    Authority,
    /// additional
    Additional,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    message: &'a [u8],
    /// where
    pub section: Section,
    /// owner
    pub name: Name<'a>,
    /// type; see [`kind`]
    pub kind: u16,
    /// class; the UDP size of an OPT
    pub class: u16,
    /// time to live in seconds; flags of an OPT
    pub ttl: u32,
    /// raw data
    pub data: &'a [u8],
    data_at: usize,
}

/// Data of a record, read.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// A
    A(Ipv4Addr),
    /// AAAA
    Aaaa(Ipv6Addr),
    /// CNAME, NS or PTR
    Name(Name<'a>),
    /// SOA: primary server and negative TTL
    Soa {
        /// primary server
        primary: Name<'a>,
        /// minimum TTL in seconds
        minimum: u32,
    },
    /// SVCB or HTTPS
    Service {
        /// priority, 0 for an alias
        priority: u16,
        /// target
        target: Name<'a>,
        /// parameters, raw
        parameters: &'a [u8],
    },
    /// another type, or data that does not fit its type
    Raw(&'a [u8]),
}

impl<'a> MessageView<'a> {
    /// Reads the header. Questions and records are read as they are asked for; [`Self::check`] reads all.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new("dns", bytes);
        let mut next = || cursor.u16("header of 12 bytes");
        let (id, flags) = (next()?, next()?);
        let counts = [next()?, next()?, next()?, next()?];
        Ok(Self { bytes, id, flags, counts })
    }

    /// All bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// It is a response.
    pub const fn is_response(&self) -> bool {
        self.flags & flag::QR != 0
    }

    /// Operation; 0 is a query.
    pub const fn opcode(&self) -> u8 {
        (self.flags >> 11 & 0xf) as u8
    }

    /// Response code without EDNS's high bits; see [`rcode`].
    pub const fn rcode(&self) -> u8 {
        (self.flags & 0xf) as u8
    }

    /// Questions in order; stops after the first error.
    pub fn questions(&self) -> impl Iterator<Item = Result<Question<'a>, Malformed>> + use<'a> {
        let (bytes, mut left) = (self.bytes, self.counts[0]);
        let mut at = 12;
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let question = question(bytes, &mut at);
            if question.is_err() {
                left = 0;
            }
            Some(question)
        })
    }

    /// The first question.
    pub fn question(&self) -> Option<Question<'a>> {
        self.questions().next()?.ok()
    }

    /// Records of all sections in order; stops after the first error.
    pub fn records(&self) -> impl Iterator<Item = Result<RecordView<'a>, Malformed>> + use<'a> {
        let bytes = self.bytes;
        let mut at = 12;
        let mut failed = (0..self.counts[0]).find_map(|_| question(bytes, &mut at).err());
        let [_, answers, authorities, additionals] = self.counts.map(u32::from);
        let mut index = 0;
        core::iter::from_fn(move || {
            if let Some(malformed) = failed.take() {
                index = u32::MAX;
                return Some(Err(malformed));
            }
            let section = match index {
                _ if index < answers => Section::Answer,
                _ if index < answers + authorities => Section::Authority,
                _ if index < answers + authorities + additionals => Section::Additional,
                _ => return None,
            };
            index += 1;
            let record = record(bytes, section, &mut at);
            if record.is_err() {
                index = u32::MAX;
            }
            Some(record)
        })
    }

    /// Addresses in the answers.
    pub fn addresses(&self) -> impl Iterator<Item = core::net::IpAddr> + use<'a> {
        self.records().map_while(Result::ok).filter_map(|record| match record.data() {
            _ if record.section != Section::Answer => None,
            Data::A(ip) => Some(ip.into()),
            Data::Aaaa(ip) => Some(ip.into()),
            _ => None,
        })
    }

    /// Reads everything: what is wrong first, if anything. Bytes after the last record are let be.
    pub fn check(&self) -> Result<(), Malformed> {
        self.questions().try_for_each(|question| question.map(drop))?;
        self.records().try_for_each(|record| record.map(drop))
    }

    /// Whether an unknown UDP payload may be DNS: an operation and counts that occur, a first question that
    /// parses in class IN, CH or ANY (with or without mDNS's top bit).
    pub fn is_plausible(&self) -> bool {
        let [questions, answers, authorities, additionals] = self.counts;
        let counts = questions <= 8 && answers <= 256 && authorities <= 64 && additionals <= 64;
        let operation = matches!(self.opcode(), 0 | 4 | 5);
        let question = match (questions, answers) {
            (0, 0) => return false,
            (0, _) => self.records().next().is_some_and(|record| record.is_ok()),
            _ => self.question().is_some_and(|question| matches!(question.class & 0x7fff, 1 | 3 | 255)),
        };
        counts && operation && question
    }
}

fn question<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Question<'a>, Malformed> {
    let name = Name::read(bytes, at)?;
    let mut cursor = Cursor::at_base("dns", &bytes[*at..], *at);
    let (kind, class) = (cursor.u16("question type")?, cursor.u16("question class")?);
    *at = cursor.offset();
    Ok(Question { name, kind, class })
}

fn record<'a>(bytes: &'a [u8], section: Section, at: &mut usize) -> Result<RecordView<'a>, Malformed> {
    let name = Name::read(bytes, at)?;
    let mut cursor = Cursor::at_base("dns", &bytes[*at..], *at);
    let (kind, class) = (cursor.u16("record type")?, cursor.u16("record class")?);
    let ttl = cursor.u32("time to live")?;
    let data = cursor.vector(2, "record data")?;
    *at = cursor.offset();
    Ok(RecordView { message: bytes, section, name, kind, class, ttl, data, data_at: *at - data.len() })
}

impl<'a> RecordView<'a> {
    /// The data by its type.
    pub fn data(&self) -> Data<'a> {
        self.read().unwrap_or(Data::Raw(self.data))
    }

    fn read(&self) -> Option<Data<'a>> {
        let mut at = self.data_at;
        Some(match self.kind {
            kind::A => Data::A(<[u8; 4]>::try_from(self.data).ok()?.into()),
            kind::AAAA => Data::Aaaa(<[u8; 16]>::try_from(self.data).ok()?.into()),
            kind::CNAME | kind::NS | kind::PTR => Data::Name(Name::read(self.message, &mut at).ok()?),
            kind::SOA => {
                let primary = Name::read(self.message, &mut at).ok()?;
                Name::read(self.message, &mut at).ok()?;
                let minimum = self.message.get(at + 16..at + 20)?;
                Data::Soa { primary, minimum: u32::from_be_bytes(minimum.try_into().ok()?) }
            }
            kind::SVCB | kind::HTTPS => {
                let priority = u16::from_be_bytes(self.data.get(..2)?.try_into().ok()?);
                at += 2;
                let target = Name::read(self.message, &mut at).ok()?;
                let parameters = self.message.get(at..self.data_at + self.data.len())?;
                Data::Service { priority, target, parameters }
            }
            _ => return None,
        })
    }

    /// The strings of a TXT.
    pub fn strings(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut cursor = Cursor::new("dns", if self.kind == kind::TXT { self.data } else { &[] });
        core::iter::from_fn(move || cursor.vector(1, "string").ok())
    }

    /// A parameter of a SVCB or HTTPS record (RFC 9460 §2.2): 1 ALPN, 4 and 6 address hints, 5 ECH.
    pub fn service_parameter(&self, key: u16) -> Option<&'a [u8]> {
        let Data::Service { parameters, .. } = self.data() else { return None };
        let mut cursor = Cursor::new("dns", parameters);
        loop {
            let (have, value) = (cursor.u16("key").ok()?, cursor.vector(2, "value").ok()?);
            if have == key {
                return Some(value);
            }
        }
    }
}

/// The messages of a TCP stream (RFC 1035 §4.2.2), each without its length; the last only when it is whole.
pub fn tcp_messages(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut cursor = Cursor::new("dns", stream);
    core::iter::from_fn(move || cursor.vector(2, "message").ok())
}
