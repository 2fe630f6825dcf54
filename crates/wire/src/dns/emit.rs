//! Messages out: queries, answers, refusals.
//!
//! Only one kind of compression is written: a pointer to the first question's name, which is what resolvers
//! and injectors alike send.

use core::net::IpAddr;

use super::{MessageView, flag, kind, rcode};

/// A message to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageRepr {
    /// transaction id
    pub id: u16,
    /// flags, operation and response code
    pub flags: u16,
    /// names, types, classes
    pub questions: Vec<(String, u16, u16)>,
    /// answers
    pub answers: Vec<RecordRepr>,
    /// authorities
    pub authorities: Vec<RecordRepr>,
    /// additionals
    pub additionals: Vec<RecordRepr>,
}

/// A record to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRepr {
    /// owner; a pointer when it is the first question's name
    pub name: String,
    /// type
    pub kind: u16,
    /// class
    pub class: u16,
    /// time to live, seconds
    pub ttl: u32,
    /// data without its length
    pub data: Vec<u8>,
}

/// A name's labels with their lengths and the root; labels are cut at 63 bytes and the name at 255.
/// Backslashes are not read: what needs them cannot be asked for here.
pub(super) fn name_bytes(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        if out.len() + label.len() + 2 > 255 {
            break;
        }
        out.push(label.len() as u8);
        out.extend_from_slice(label);
    }
    out.push(0);
    out
}

impl RecordRepr {
    /// A or AAAA.
    pub fn address(name: &str, ttl: u32, ip: IpAddr) -> Self {
        let (kind, data) = match ip {
            IpAddr::V4(ip) => (kind::A, ip.octets().to_vec()),
            IpAddr::V6(ip) => (kind::AAAA, ip.octets().to_vec()),
        };
        Self { name: name.to_owned(), kind, class: 1, ttl, data }
    }

    /// CNAME.
    pub fn cname(name: &str, ttl: u32, target: &str) -> Self {
        Self { name: name.to_owned(), kind: kind::CNAME, class: 1, ttl, data: name_bytes(target) }
    }

    /// TXT of one string, cut at 255 bytes.
    pub fn text(name: &str, ttl: u32, text: &str) -> Self {
        let text = &text.as_bytes()[..text.len().min(255)];
        let data = [&[text.len() as u8], text].concat();
        Self { name: name.to_owned(), kind: kind::TXT, class: 1, ttl, data }
    }

    /// SOA, as negative answers carry it.
    pub fn soa(name: &str, ttl: u32, primary: &str, minimum: u32) -> Self {
        let mut data = name_bytes(primary);
        data.extend(name_bytes("hostmaster"));
        for number in [1, 7_200, 900, 1_209_600, minimum] {
            data.extend_from_slice(&u32::to_be_bytes(number));
        }
        Self { name: name.to_owned(), kind: kind::SOA, class: 1, ttl, data }
    }

    /// HTTPS with parameters as keys and values, rising by key (RFC 9460 §2.2).
    pub fn https(name: &str, ttl: u32, priority: u16, target: &str, parameters: &[(u16, &[u8])]) -> Self {
        let mut data = priority.to_be_bytes().to_vec();
        data.extend(name_bytes(target));
        for (key, value) in parameters {
            data.extend_from_slice(&key.to_be_bytes());
            data.extend_from_slice(&(value.len() as u16).to_be_bytes());
            data.extend_from_slice(value);
        }
        Self { name: name.to_owned(), kind: kind::HTTPS, class: 1, ttl, data }
    }

    /// OPT (RFC 6891) that offers `size` bytes.
    pub const fn opt(size: u16) -> Self {
        Self { name: String::new(), kind: kind::OPT, class: size, ttl: 0, data: Vec::new() }
    }
}

impl MessageRepr {
    /// The bytes.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        let counts =
            [self.questions.len(), self.answers.len(), self.authorities.len(), self.additionals.len()];
        for number in [self.id, self.flags].into_iter().chain(counts.map(|count| count as u16)) {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for (name, kind, class) in &self.questions {
            out.extend(name_bytes(name));
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&class.to_be_bytes());
        }
        let first = self.questions.first().map(|(name, _, _)| name_bytes(name));
        for record in [&self.answers, &self.authorities, &self.additionals].into_iter().flatten() {
            let name = name_bytes(&record.name);
            if first.as_ref() == Some(&name) && name.len() > 2 {
                out.extend_from_slice(&[0xc0, 12]);
            } else {
                out.extend(name);
            }
            out.extend_from_slice(&record.kind.to_be_bytes());
            out.extend_from_slice(&record.class.to_be_bytes());
            out.extend_from_slice(&record.ttl.to_be_bytes());
            let data = &record.data[..record.data.len().min(usize::from(u16::MAX))];
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(data);
        }
        out
    }
}

/// A query as a stub resolver sends it: recursion desired, EDNS with 1,232 bytes.
pub fn query(id: u16, name: &str, kind: u16) -> MessageRepr {
    MessageRepr {
        id,
        flags: flag::RD,
        questions: vec![(name.to_owned(), kind, 1)],
        additionals: vec![RecordRepr::opt(1_232)],
        ..MessageRepr::default()
    }
}

/// A response to `query` with its id and question; the answers' owners are up to the caller.
pub fn answer(query: &MessageView<'_>, answers: Vec<RecordRepr>) -> MessageRepr {
    MessageRepr {
        id: query.id,
        flags: flag::QR | flag::RA | query.flags & flag::RD,
        questions: query
            .questions()
            .map_while(Result::ok)
            .map(|question| (question.name.to_text(), question.kind, question.class))
            .collect(),
        answers,
        ..MessageRepr::default()
    }
}

/// A response that says the name does not exist.
pub fn nxdomain(query: &MessageView<'_>) -> MessageRepr {
    let mut repr = answer(query, Vec::new());
    repr.flags |= u16::from(rcode::NXDOMAIN);
    repr
}

/// A message behind its length, as TCP wants it (RFC 1035 §4.2.2); cut at 65,535 bytes.
pub fn tcp_framed(message: &[u8]) -> Vec<u8> {
    let message = &message[..message.len().min(usize::from(u16::MAX))];
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}
