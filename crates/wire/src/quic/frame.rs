//! Frames that an Initial may carry (RFC 9000 §12.4, §19).

use super::version::Version;
use crate::malformed::Malformed;

/// A variable-length integer and how many bytes it took (RFC 9000 §16).
pub fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = 1_usize << (first >> 6);
    let tail = bytes.get(1..len)?;
    Some((tail.iter().fold(u64::from(first & 0x3f), |sum, byte| sum << 8 | u64::from(*byte)), len))
}

/// How many zeros `bytes` begins with: most Initials are padded with hundreds.
fn zeros(bytes: &[u8]) -> usize {
    let (some, _) = bytes.as_chunks::<32>();
    let whole = some.iter().take_while(|some| **some == [0; 32]).count() * 32;
    whole + bytes[whole..].iter().take_while(|byte| **byte == 0).count()
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// so many PADDING frames in a row
    Padding(usize),
    /// PING
    Ping,
    /// ACK: the largest number acknowledged; ranges and counts are walked over
    Ack {
        /// largest packet number acknowledged
        largest: u64,
    },
    /// CRYPTO
    Crypto {
        /// place in the handshake stream
        offset: u64,
        /// bytes
        data: &'a [u8],
    },
    /// CONNECTION_CLOSE, of the transport (0x1c) or the application (0x1d)
    ConnectionClose {
        /// frame type 0x1d
        application: bool,
        /// error code
        code: u64,
    },
}

/// The frames of an opened payload. Stops after the first error.
pub const fn frames(payload: &[u8], version: Version) -> Frames<'_> {
    Frames { payload, at: 0, google: version.is_google() }
}

/// See [`frames`].
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    payload: &'a [u8],
    at: usize,
    google: bool,
}

impl<'a> Frames<'a> {
    fn number(&mut self, expected: &'static str) -> Result<u64, Malformed> {
        let rest = &self.payload[self.at..];
        let (value, len) =
            varint(rest).ok_or_else(|| Malformed::short("quic", self.at, expected, rest.len()))?;
        self.at += len;
        Ok(value)
    }

    fn bytes(&mut self, len: u64, expected: &'static str) -> Result<&'a [u8], Malformed> {
        let rest = &self.payload[self.at..];
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let taken = taken.ok_or_else(|| Malformed::short("quic", self.at, expected, rest.len()))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn ack(&mut self, counts: bool) -> Result<Frame<'a>, Malformed> {
        let largest = self.number("largest acknowledged")?;
        self.number("ack delay")?;
        let ranges = self.number("ack range count")?;
        self.number("first ack range")?;
        // Each range takes two bytes or more, so a lying count ends at the end of the payload.
        for _ in 0..ranges {
            self.number("ack gap")?;
            self.number("ack range")?;
        }
        for _ in 0..if counts { 3 } else { 0 } {
            self.number("ecn count")?;
        }
        Ok(Frame::Ack { largest })
    }

    fn step(&mut self) -> Result<Frame<'a>, Malformed> {
        let start = self.at;
        match self.number("frame type")? {
            0 => {
                let rest = &self.payload[start..];
                let run = zeros(rest).max(1);
                self.at = start + run;
                Ok(Frame::Padding(run))
            }
            1 => Ok(Frame::Ping),
            // Google's versions number frames their own way: CRYPTO is 8, PING is 7.
            7 if self.google => Ok(Frame::Ping),
            kind @ (2 | 3) => self.ack(kind == 3),
            kind if kind == if self.google { 8 } else { 6 } => {
                let offset = self.number("crypto offset")?;
                let len = self.number("crypto length")?;
                Ok(Frame::Crypto { offset, data: self.bytes(len, "crypto data")? })
            }
            kind @ (0x1c | 0x1d) => {
                let code = self.number("error code")?;
                if kind == 0x1c {
                    self.number("frame type")?;
                }
                let len = self.number("reason length")?;
                self.bytes(len, "reason phrase")?;
                Ok(Frame::ConnectionClose { application: kind == 0x1d, code })
            }
            kind => Err(Malformed::value("quic", start, "frame allowed in an initial", kind)),
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.payload.len() {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.at = self.payload.len();
        }
        Some(step)
    }
}
