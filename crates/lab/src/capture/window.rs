//! A window on a stream: the bytes at hand and where in the file they stand.
//!
//! It grows only to what one packet block may have, never to what a length field claims.

use std::io::{ErrorKind, Read};

use super::CaptureError;

/// Bytes asked of the reader at once.
const STEP: usize = 256 * 1024;

/// The largest record or block that is held: libpcap's largest frame on any medium but USB is 256 KiB
/// (https://github.com/the-tcpdump-group/libpcap, pcap-int.h, MAXIMUM_SNAPLEN); options come on top.
pub(super) const LARGEST: usize = 4 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Window<R> {
    reader: R,
    buffer: Vec<u8>,
    /// of the current record in `buffer`
    start: usize,
    /// of what was read into `buffer`
    end: usize,
    /// of `start` in the file
    offset: u64,
    exhausted: bool,
}

impl<R: Read> Window<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; STEP], start: 0, end: 0, offset: 0, exhausted: false }
    }

    /// Makes up to `wanted` bytes available; fewer at the file's end. `wanted` is at most [`LARGEST`].
    #[inline]
    pub(super) fn fill(&mut self, wanted: usize) -> Result<&[u8], CaptureError> {
        if self.end - self.start < wanted && !self.exhausted {
            self.read_more(wanted)?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    #[cold]
    fn read_more(&mut self, wanted: usize) -> Result<(), CaptureError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted.max(STEP), 0);
        }
        while self.end < wanted && !self.exhausted {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.exhausted = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let offset = self.offset + (self.end - self.start) as u64;
                    return Err(CaptureError::Io { offset, error });
                }
            }
        }
        Ok(())
    }

    /// Steps over `count` bytes, held or not; says how many of them the file did not have.
    pub(super) fn skip(&mut self, count: u64) -> Result<u64, CaptureError> {
        let mut left = count;
        loop {
            let held = (self.end - self.start) as u64;
            if left <= held {
                self.start += usize::try_from(left).expect("no more than the window holds");
                self.offset += left;
                return Ok(0);
            }
            left -= held;
            self.offset += held;
            self.start = self.end;
            if self.exhausted {
                return Ok(left);
            }
            self.read_more(1)?;
        }
    }
}

impl<R> Window<R> {
    /// All bytes read, those before the current record too: ranges of a [`super::formats::Step`] count from
    /// here.
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        &self.buffer
    }

    /// Steps over `count` bytes that are held, and says where they began in [`Self::data`].
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> usize {
        let at = self.start;
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
        at
    }

    /// Where the current record begins in the file.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the bytes at hand end in the file.
    pub(super) const fn end_offset(&self) -> u64 {
        self.offset + (self.end - self.start) as u64
    }
}
