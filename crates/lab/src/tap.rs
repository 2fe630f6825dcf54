//! What crosses a link, written down: pcapng with nanoseconds of virtual time.
//!
//! A sink gets records as they happen. Whoever merges the traces of several worlds collects them in memory
//! ([`Recording`]) and writes them sorted; whoever wants one link's trace writes it at once ([`Pcapng`]).

use core::cell::RefCell;
use core::time::Duration;
use std::borrow::Cow;
use std::io::Write;
use std::rc::Rc;

use okno_wire::Instant;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::{DataLink, Endianness};

/// One packet at a tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapRecord<'a> {
    /// when it left, or arrived
    pub at: Instant,
    /// it left this end (or went up through the box)
    pub out: bool,
    /// whole IP packet
    pub packet: &'a [u8],
    /// who forged or changed it, what a box did with it
    pub comment: Option<&'a str>,
}

/// Where a tap's records go.
pub trait Sink {
    /// Takes one record.
    fn record(&mut self, record: TapRecord<'_>);
}

/// A record that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRecord {
    /// when
    pub at: Instant,
    /// way, see [`TapRecord::out`]
    pub out: bool,
    /// whole IP packet
    pub packet: Vec<u8>,
    /// see [`TapRecord::comment`]
    pub comment: Option<String>,
}

/// A recording in memory; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    records: Rc<RefCell<Vec<KeptRecord>>>,
}

impl Recording {
    /// Takes what was recorded so far.
    pub fn take(&self) -> Vec<KeptRecord> {
        self.records.take()
    }
}

impl Sink for Recording {
    fn record(&mut self, record: TapRecord<'_>) {
        self.records.borrow_mut().push(KeptRecord {
            at: record.at,
            out: record.out,
            packet: record.packet.to_vec(),
            comment: record.comment.map(str::to_owned),
        });
    }
}

/// Writes pcapng: one section, one interface a name, raw IP, nanoseconds.
///
/// pcapng: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-04.html
pub struct Pcapng<W: Write> {
    writer: PcapNgWriter<W>,
}

/// A trace that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the trace cannot be written: {0}")]
pub struct TraceError(#[from] pcap_file::PcapError);

impl<W: Write> Pcapng<W> {
    /// Begins a trace of these interfaces.
    pub fn new(out: W, interfaces: &[&str]) -> Result<Self, TraceError> {
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            major_version: 1,
            minor_version: 0,
            section_length: -1,
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed("okno lab, virtual time"))],
        };
        let mut writer = PcapNgWriter::with_section_header(out, section)?;
        for name in interfaces {
            // if_tsresol 9: units of 10^-9 s.
            let options = vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(*name)),
                InterfaceDescriptionOption::IfTsResol(9),
            ];
            let block = InterfaceDescriptionBlock { linktype: DataLink::RAW, snaplen: 0, options };
            writer.write_pcapng_block(block)?;
        }
        Ok(Self { writer })
    }

    /// Writes one record of interface number `interface`.
    pub fn write(&mut self, interface: u32, record: TapRecord<'_>) -> Result<(), TraceError> {
        // epb_flags, direction: 1 inbound, 2 outbound.
        let mut options = vec![EnhancedPacketOption::Flags(if record.out { 2 } else { 1 })];
        if let Some(comment) = record.comment {
            options.push(EnhancedPacketOption::Comment(Cow::Borrowed(comment)));
        }
        let block = EnhancedPacketBlock {
            interface_id: interface,
            timestamp: Duration::from_nanos(record.at.nanos()),
            original_len: u32::try_from(record.packet.len()).unwrap_or(u32::MAX),
            data: Cow::Borrowed(record.packet),
            options,
        };
        self.writer.write_pcapng_block(block)?;
        Ok(())
    }

    /// Makes a sink of interface number `interface`; several sinks write one trace.
    pub fn sink(trace: &Rc<RefCell<Self>>, interface: u32) -> PcapngSink<W> {
        PcapngSink { trace: trace.clone(), interface, failed: false }
    }

    /// Ends the trace.
    pub fn into_inner(self) -> W {
        self.writer.into_inner()
    }
}

/// A sink that writes at once. After a record that could not be written it writes no more.
pub struct PcapngSink<W: Write> {
    trace: Rc<RefCell<Pcapng<W>>>,
    interface: u32,
    failed: bool,
}

impl<W: Write> Sink for PcapngSink<W> {
    fn record(&mut self, record: TapRecord<'_>) {
        if !self.failed {
            self.failed = self.trace.borrow_mut().write(self.interface, record).is_err();
        }
    }
}
