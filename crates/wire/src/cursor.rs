//! A reader that walks bytes and says where and why it could not go on.
//!
//! Offsets are those of the slice it was given plus a base, so that a nested field reports its place in the
//! whole message.

use crate::malformed::Malformed;

/// A place in a borrowed slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    layer: &'static str,
    bytes: &'a [u8],
    base: usize,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the first of `bytes`.
    pub(crate) const fn new(layer: &'static str, bytes: &'a [u8]) -> Self {
        Self { layer, bytes, base: 0, at: 0 }
    }

    /// Starts at the first of `bytes`, which stand at `base` of the message.
    pub(crate) const fn at_base(layer: &'static str, bytes: &'a [u8], base: usize) -> Self {
        Self { layer, bytes, base, at: 0 }
    }

    /// Offset of the next byte in the message.
    pub(crate) const fn offset(&self) -> usize {
        self.base + self.at
    }

    /// Bytes not yet read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Count of bytes not yet read.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize, expected: &'static str) -> Result<&'a [u8], Malformed> {
        if self.left() < count {
            return Err(Malformed::short(self.layer, self.offset(), expected, self.left()));
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    /// As many of the next `count` bytes as there are.
    pub(crate) fn take_up_to(&mut self, count: usize) -> &'a [u8] {
        let count = count.min(self.left());
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        taken
    }

    /// A big-endian number of `width` bytes, at most 8.
    pub(crate) fn number(&mut self, width: usize, expected: &'static str) -> Result<u64, Malformed> {
        let bytes = self.take(width, expected)?;
        Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    pub(crate) fn u8(&mut self, expected: &'static str) -> Result<u8, Malformed> {
        Ok(self.take(1, expected)?[0])
    }

    pub(crate) fn u16(&mut self, expected: &'static str) -> Result<u16, Malformed> {
        Ok(self.number(2, expected)? as u16)
    }

    pub(crate) fn u32(&mut self, expected: &'static str) -> Result<u32, Malformed> {
        Ok(self.number(4, expected)? as u32)
    }

    /// Bytes behind a length of `width` bytes.
    pub(crate) fn vector(&mut self, width: usize, expected: &'static str) -> Result<&'a [u8], Malformed> {
        let len = self.number(width, expected)? as usize;
        self.take(len, expected)
    }
}
