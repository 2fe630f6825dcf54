//! Captures in: pcap and pcapng of any size, streamed; out come IP packets with their times.
//!
//! Blocks and records are read by pcap-parser from a window of ours, so that a block we do not want is
//! skipped without being held, memory stays bounded whatever a length field says, and every error names
//! its byte offset in the file. What is no IP packet is not an error: it is counted, with its reason.

mod formats;
mod link;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeMap;
use std::io::{self, Read};

use okno_wire::Instant;

pub use link::Aside;

use formats::{Format, Step};
use window::Window;

/// One IP packet of a capture.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// the capture's own clock; a simple packet block has none and takes that of the packet before
    pub at: Instant,
    /// from the first byte of the IP header; link padding may follow
    pub ip: &'a [u8],
    /// the record's number in the file from 1, records that were set aside included, as Wireshark counts
    pub number: u64,
    /// the record's link type (https://www.tcpdump.org/linktypes.html)
    pub link_type: u16,
}

/// Why reading ended before the file did. Packets before the place were delivered.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// the file is not a capture
    #[error("neither pcap nor pcapng: the file begins with {found}")]
    NotACapture {
        /// its first bytes in hexadecimal, and what they are a sign of when that is known
        found: String,
    },
    /// the file ends inside a record or block
    #[error("the capture ends at byte {end}, inside a {what} that begins at byte {offset}")]
    Truncated {
        /// where the record begins
        offset: u64,
        /// the file's end
        end: u64,
        /// what is cut
        what: &'static str,
    },
    /// a record or block that cannot be
    #[error("broken at byte {offset}: expected {expected}, found {found}")]
    Broken {
        /// where the record begins
        offset: u64,
        /// the rule
        expected: &'static str,
        /// what stood there
        found: u64,
    },
    /// the file could not be read
    #[error("cannot read past byte {offset}: {error}")]
    Io {
        /// how far reading came
        offset: u64,
        /// why
        error: io::Error,
    },
}

/// A capture as a stream of IP packets.
///
/// ```
/// # use okno_lab::capture::Capture;
/// # let head = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
/// # let file = &head[..];
/// let mut capture = Capture::open(file)?;
/// while let Some(packet) = capture.next() {
///     let packet = packet?;
///     println!("{} {}", packet.number, packet.ip.len());
/// }
/// for (reason, count) in capture.set_aside() {
///     println!("{count} records set aside: {reason}");
/// }
/// # Ok::<(), okno_lab::capture::CaptureError>(())
/// ```
#[derive(Debug)]
pub struct Capture<R> {
    window: Window<R>,
    format: Format,
    records: u64,
    last: Instant,
    aside: BTreeMap<Aside, u64>,
    over: bool,
}

impl<R: Read> Capture<R> {
    /// Reads the file's head. The reader needs no buffer of its own.
    pub fn open(reader: R) -> Result<Self, CaptureError> {
        let mut window = Window::new(reader);
        let format = Format::detect(&mut window)?;
        Ok(Self { window, format, records: 0, last: Instant::ZERO, aside: BTreeMap::new(), over: false })
    }

    /// The next IP packet; `None` at the end. After an error comes `None`.
    #[expect(clippy::should_implement_trait, reason = "a packet borrows from the reader's window")]
    pub fn next(&mut self) -> Option<Result<Packet<'_>, CaptureError>> {
        if self.over {
            return None;
        }
        let (at, link_type, ip) = loop {
            match self.format.step(&mut self.window) {
                Ok(Step::End) => {
                    self.over = true;
                    return None;
                }
                Ok(Step::Other) => {}
                Ok(Step::Record { at, link_type, data }) => {
                    self.records += 1;
                    if let Some(at) = at {
                        self.last = at;
                    }
                    match link::ip(link_type, &self.window.data()[data.clone()]) {
                        Ok(ip) => break (self.last, link_type, data.start + ip.start..data.start + ip.end),
                        Err(reason) => *self.aside.entry(reason).or_default() += 1,
                    }
                }
                Ok(Step::Unreadable(reason)) => {
                    self.records += 1;
                    *self.aside.entry(reason).or_default() += 1;
                }
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        };
        Some(Ok(Packet { at, ip: &self.window.data()[ip], number: self.records, link_type }))
    }

    /// Packet records read so far, those set aside included.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Records that held no IP packet, by reason.
    pub const fn set_aside(&self) -> &BTreeMap<Aside, u64> {
        &self.aside
    }

    /// Bytes of the file read so far: what a progress bar shows.
    pub const fn position(&self) -> u64 {
        self.window.offset()
    }
}
