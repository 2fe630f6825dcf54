//! SSH: the identification line and the first key exchange message (RFC 4253 §4.2, §7.1).

use crate::bytes::be32;
use crate::malformed::Malformed;

/// The identification line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Banner<'a> {
    /// `2.0`, or `1.99` and `1.5` of old servers
    pub version: &'a str,
    /// software, up to the first space: `OpenSSH_9.6p1`
    pub software: &'a str,
    /// what follows the space; empty when nothing does
    pub comment: &'a str,
    /// bytes up to and with the line's end
    pub size: usize,
}

impl<'a> Banner<'a> {
    /// Reads the line; a server may send other lines before it, which are skipped (§4.2).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut at = 0;
        // Eight lines of 255 bytes are more than any greeting before the banner.
        for _ in 0..8 {
            let rest = &bytes[at..];
            let line_end = memchr::memchr(b'\n', &rest[..rest.len().min(512)]);
            if rest.starts_with(b"SSH-") {
                let end = line_end.ok_or(Malformed::short("ssh", at, "the line's end", rest.len()))?;
                return Self::line(&rest[..end], at, at + end + 1);
            }
            match line_end {
                Some(end) if rest[..end].iter().all(|&byte| byte == b'\r' || byte == b'\t' || byte >= 32) => {
                    at += end + 1;
                }
                Some(_) => break,
                None if b"SSH-".starts_with(rest) => {
                    return Err(Malformed::short("ssh", at, "the identification line", rest.len()));
                }
                None => break,
            }
        }
        Err(Malformed::value("ssh", at, "SSH-", u64::from(bytes.get(at).copied().unwrap_or(0))))
    }

    fn line(line: &'a [u8], at: usize, size: usize) -> Result<Self, Malformed> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let wrong = Malformed::value("ssh", at, "SSH-version-software", line.len() as u64);
        let text = core::str::from_utf8(line).map_err(|_| wrong)?;
        let (version, rest) = text["SSH-".len()..].split_once('-').ok_or(wrong)?;
        if !matches!(version.as_bytes(), [b'1' | b'2', b'.', b'0'..=b'9', ..]) || version.len() > 5 {
            return Err(wrong);
        }
        let (software, comment) = rest.split_once(' ').unwrap_or((rest, ""));
        Ok(Self { version, software, comment, size })
    }

    /// Writes the line.
    pub fn emit(&self) -> Vec<u8> {
        let space = if self.comment.is_empty() { "" } else { " " };
        format!("SSH-{}-{}{space}{}\r\n", self.version, self.software, self.comment).into_bytes()
    }
}

/// SSH_MSG_KEXINIT: ten lists of names in the sender's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KexInit<'a> {
    /// key exchange, host keys, ciphers ×2, MACs ×2, compression ×2, languages ×2 (client to server first)
    pub lists: [&'a str; 10],
}

impl<'a> KexInit<'a> {
    /// Reads the binary packet that follows the banner (§6 and §7.1).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let length = be32(bytes, 0).ok_or(Malformed::short("ssh", 0, "a packet length", bytes.len()))?;
        // §6.1: a packet has at most 35,000 bytes.
        if !(2..=35_000).contains(&length) {
            return Err(Malformed::value("ssh", 0, "a length of 35,000 or less", u64::from(length)));
        }
        let packet = bytes.get(4..4 + length as usize).ok_or(Malformed::short(
            "ssh",
            4,
            "the whole packet",
            bytes.len() - 4,
        ))?;
        if packet[1] != 20 {
            return Err(Malformed::value("ssh", 5, "SSH_MSG_KEXINIT", u64::from(packet[1])));
        }
        let mut lists = [""; 10];
        let mut at = 2 + 16;
        for list in &mut lists {
            let size = be32(packet, at).ok_or(Malformed::short("ssh", at, "a list", packet.len()))? as usize;
            let names = at.checked_add(4).and_then(|from| packet.get(from..from.checked_add(size)?));
            let names = names.ok_or(Malformed::short("ssh", at, "the whole list", packet.len()))?;
            *list = core::str::from_utf8(names)
                .map_err(|_| Malformed::value("ssh", at, "names in ASCII", size as u64))?;
            at += 4 + size;
        }
        Ok(Self { lists })
    }

    /// Writes the packet with a zero cookie and zero padding.
    pub fn emit(&self) -> Vec<u8> {
        let mut body = vec![20];
        body.extend([0; 16]);
        for list in self.lists {
            body.extend((list.len() as u32).to_be_bytes());
            body.extend(list.as_bytes());
        }
        body.extend([0; 5]);
        // §6: at least four bytes of padding, the whole in units of eight.
        let padding = 4 + (8 - (5 + body.len() + 4) % 8) % 8;
        let mut bytes = ((1 + body.len() + padding) as u32).to_be_bytes().to_vec();
        bytes.push(padding as u8);
        bytes.extend(body);
        bytes.resize(bytes.len() + padding, 0);
        bytes
    }
}
