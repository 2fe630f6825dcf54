//! The two file formats, one record at a time.
//!
//! pcap: https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/, pcapng:
//! https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/. pcap-parser reads headers, blocks and
//! options; the lengths are looked at first, so that it never asks for more than a window.

use core::ops::Range;
use std::io::Read;

use okno_wire::Instant;
use pcap_parser::pcapng::{parse_block_be, parse_block_le};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, parse_pcap_header};

use super::link::Aside;
use super::window::{LARGEST, Window};
use super::{Capture, CaptureError};

/// Interfaces of a section that are kept; a hostile file has more.
const MAX_INTERFACES: usize = 65_536;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// A capture's format and what its headers said.
#[derive(Debug)]
pub(super) enum Format {
    /// the classic one
    Pcap { big_endian: bool, nanoseconds: bool, header: usize, link_type: u16 },
    /// the block one
    PcapNg { big_endian: bool, interfaces: Vec<Interface> },
}

/// One interface of a section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interface {
    link_type: u16,
    /// a unit's length as if_tsresol has it: power of two when the top bit is set, else of ten
    resolution: u8,
    /// seconds
    offset: i64,
}

/// What one record or block was.
pub(super) enum Step {
    /// the end of the file, between records
    End,
    /// a block without a packet
    Other,
    /// a packet; `data` counts from the window's first byte
    Record { at: Option<Instant>, link_type: u16, data: Range<usize> },
    /// a packet that cannot be read
    Unreadable(Aside),
}

impl Format {
    /// Reads the file's head.
    pub(super) fn detect<R: Read>(window: &mut Window<R>) -> Result<Self, CaptureError> {
        let head = window.fill(24)?;
        let Some(magic) = head.first_chunk::<4>() else {
            return Err(CaptureError::NotACapture { found: describe(head) });
        };
        if u32::from_le_bytes(*magic) == SECTION_HEADER {
            return Ok(Self::PcapNg { big_endian: false, interfaces: Vec::new() });
        }
        // The modified format of old Linux kernels, other byte order: pcap-parser does not know it.
        let swapped = *magic == [0xa1, 0xb2, 0xcd, 0x34];
        let header = if swapped { &[&[0xa1, 0xb2, 0xc3, 0xd4], &head[4..]].concat()[..] } else { head };
        match parse_pcap_header(header) {
            Ok((_, header)) => {
                let format = Self::Pcap {
                    big_endian: header.is_bigendian(),
                    nanoseconds: header.is_nanosecond_precision(),
                    header: if swapped || header.is_modified_format() { 24 } else { 16 },
                    // The upper bits tell of frame check sequences (draft-ietf-opsawg-pcap §4).
                    link_type: low_half(header.network.0),
                };
                window.take(24);
                Ok(format)
            }
            Err(pcap_parser::nom::Err::Incomplete(_)) => {
                Err(CaptureError::Truncated { offset: 0, end: head.len() as u64, what: "file header" })
            }
            Err(_) => Err(CaptureError::NotACapture { found: describe(head) }),
        }
    }

    /// Reads one record or block.
    #[inline]
    pub(super) fn step<R: Read>(&mut self, window: &mut Window<R>) -> Result<Step, CaptureError> {
        match self {
            Self::Pcap { big_endian, nanoseconds, header, link_type } => {
                step_pcap(window, *big_endian, *nanoseconds, *header, *link_type)
            }
            Self::PcapNg { big_endian, interfaces } => step_pcapng(window, big_endian, interfaces),
        }
    }
}

fn low_half(value: i32) -> u16 {
    u16::try_from(value & 0xffff).expect("masked to sixteen bits")
}

/// The first bytes, and what they are a sign of.
fn describe(head: &[u8]) -> String {
    let hex: Vec<String> = head.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let sign = match head {
        [] => return "nothing: it is empty".to_owned(),
        [0x1f, 0x8b, ..] => " (gzip: unpack it first)",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => " (zstd: unpack it first)",
        [b'B', b'Z', b'h', ..] => " (bzip2: unpack it first)",
        [0xfd, b'7', b'z', b'X', ..] => " (xz: unpack it first)",
        [b's', b'n', b'o', b'o', ..] => " (a snoop capture: convert it with editcap)",
        _ => "",
    };
    format!("{}{sign}", hex.join(" "))
}

fn read_u32(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let four = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
}

fn truncated<R>(window: &Window<R>, what: &'static str) -> CaptureError {
    CaptureError::Truncated { offset: window.offset(), end: window.end_offset(), what }
}

/// One record of a pcap file. Read here and not by pcap-parser, whose frame parser knows the "modified"
/// header in one byte order only; four fields of four bytes are all there is to it.
#[inline]
fn step_pcap<R: Read>(
    window: &mut Window<R>,
    big_endian: bool,
    nanoseconds: bool,
    header: usize,
    link_type: u16,
) -> Result<Step, CaptureError> {
    let bytes = window.fill(header)?;
    if bytes.is_empty() {
        return Ok(Step::End);
    }
    if bytes.len() < header {
        return Err(truncated(window, "record header"));
    }
    let (seconds, fraction) = (read_u32(bytes, 0, big_endian), read_u32(bytes, 4, big_endian));
    let captured = read_u32(bytes, 8, big_endian) as usize;
    if captured > LARGEST - header {
        let expected = "a record of at most 4 MiB";
        return Err(CaptureError::Broken { offset: window.offset(), expected, found: captured as u64 });
    }
    if window.fill(header + captured)?.len() < header + captured {
        return Err(truncated(window, "packet"));
    }
    let nanos = if nanoseconds { u64::from(fraction) } else { u64::from(fraction) * 1_000 };
    let at = Instant::from_nanos(u64::from(seconds) * 1_000_000_000 + nanos);
    let start = window.take(header + captured) + header;
    Ok(Step::Record { at: Some(at), link_type, data: start..start + captured })
}

/// One block of a pcapng file.
fn step_pcapng<R: Read>(
    window: &mut Window<R>,
    big_endian: &mut bool,
    interfaces: &mut Vec<Interface>,
) -> Result<Step, CaptureError> {
    let bytes = window.fill(12)?;
    if bytes.is_empty() {
        return Ok(Step::End);
    }
    if bytes.len() < 12 {
        return Err(truncated(window, "block header"));
    }
    let section = read_u32(bytes, 0, false) == SECTION_HEADER;
    if section {
        // Each section has its own byte order (draft-ietf-opsawg-pcapng §4.1).
        *big_endian = match read_u32(bytes, 8, false) {
            0x1a2b_3c4d => false,
            0x4d3c_2b1a => true,
            found => {
                let expected = "a byte-order magic";
                return Err(CaptureError::Broken { offset: window.offset(), expected, found: found.into() });
            }
        };
    }
    let kind = read_u32(bytes, 0, *big_endian);
    let total = read_u32(bytes, 4, *big_endian);
    if total < 12 || total % 4 != 0 {
        let expected = "a block length of 12 or more, in fours";
        return Err(CaptureError::Broken { offset: window.offset(), expected, found: total.into() });
    }
    let packet = matches!(kind, PACKET | SIMPLE_PACKET | ENHANCED_PACKET);
    let wanted = packet || section || kind == INTERFACE_DESCRIPTION;
    if !wanted || total as usize > LARGEST {
        let offset = window.offset();
        if window.skip(total.into())? > 0 {
            return Err(CaptureError::Truncated { offset, end: window.offset(), what: "block" });
        }
        return Ok(if packet { Step::Unreadable(Aside::Oversized) } else { Step::Other });
    }
    if window.fill(total as usize)?.len() < total as usize {
        return Err(truncated(window, "block"));
    }
    read_block(window, total as usize, *big_endian, interfaces)
}

/// A block that is held whole.
fn read_block<R>(
    window: &mut Window<R>,
    total: usize,
    big_endian: bool,
    interfaces: &mut Vec<Interface>,
) -> Result<Step, CaptureError> {
    let offset = window.offset();
    let start = window.take(total);
    let bytes = &window.data()[start..start + total];
    let parsed = if big_endian { parse_block_be(bytes) } else { parse_block_le(bytes) };
    let Ok((_, block)) = parsed else {
        let expected = "a block that holds together";
        return Err(CaptureError::Broken { offset, expected, found: total as u64 });
    };
    let within = |data: &[u8], at: usize, length: u32| {
        let length = (length as usize).min(data.len());
        start + at..start + at + length
    };
    Ok(match block {
        Block::SectionHeader(_) => {
            interfaces.clear();
            Step::Other
        }
        Block::InterfaceDescription(block) => {
            if interfaces.len() < MAX_INTERFACES {
                interfaces.push(Interface {
                    link_type: low_half(block.linktype.0),
                    resolution: block.if_tsresol,
                    offset: block.if_tsoffset,
                });
            }
            Step::Other
        }
        Block::EnhancedPacket(block) => {
            let data = within(block.raw_packet_data(), 28, block.caplen);
            record(interfaces, block.if_id, Some((block.ts_high, block.ts_low)), data)
        }
        Block::SimplePacket(block) => {
            let data = within(block.raw_packet_data(), 12, block.origlen);
            record(interfaces, 0, None, data)
        }
        Block::Unknown(_) if total >= 32 => {
            // The obsolete packet block (draft-ietf-opsawg-pcapng, appendix A), which pcap-parser leaves raw.
            let half = |at: usize| {
                let two = [bytes[at], bytes[at + 1]];
                if big_endian { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) }
            };
            let word = |at: usize| read_u32(bytes, at, big_endian);
            let data = within(&bytes[28..total - 4], 28, word(20));
            record(interfaces, half(8).into(), Some((word(12), word(16))), data)
        }
        _ => Step::Unreadable(Aside::Oversized),
    })
}

fn record(interfaces: &[Interface], id: u32, time: Option<(u32, u32)>, data: Range<usize>) -> Step {
    let Some(interface) = interfaces.get(id as usize) else {
        return Step::Unreadable(Aside::NoInterface);
    };
    let at = time.map(|(high, low)| interface.instant(u64::from(high) << 32 | u64::from(low)));
    Step::Record { at, link_type: interface.link_type, data }
}

impl Interface {
    /// A time stamp of this interface (draft-ietf-opsawg-pcapng §4.2, if_tsresol and if_tsoffset).
    fn instant(&self, units: u64) -> Instant {
        let wide = u128::from(units) * 1_000_000_000;
        let nanos = match self.resolution {
            6 => u128::from(units) * 1_000,
            9 => units.into(),
            two if two & 0x80 != 0 => wide >> (two & 0x7f),
            ten => 10_u128.checked_pow(ten.into()).map_or(0, |per_second| wide / per_second),
        };
        let offset = i128::from(self.offset) * 1_000_000_000;
        let nanos = i128::try_from(nanos).unwrap_or(i128::MAX).saturating_add(offset);
        Instant::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

impl<R> Capture<R> {
    /// The file's format in a word: `pcap` or `pcapng`.
    pub const fn format(&self) -> &'static str {
        match self.format {
            Format::Pcap { .. } => "pcap",
            Format::PcapNg { .. } => "pcapng",
        }
    }
}
