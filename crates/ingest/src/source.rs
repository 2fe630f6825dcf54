//! Input files: finding them, opening them, cutting them into batches of whole lines.
//!
//! Memory stays bounded whatever the file: a batch holds a few MiB of whole lines, a line longer than
//! [`MAX_LINE`] is set aside unread, and a stream that grows out of proportion is abandoned.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use okno_model::RejectReason;

/// Bytes of text that one batch aims at: small enough to stay in a cache between decompressor and reader.
pub const BATCH: usize = 2 << 20;
/// Longest line that is read; OONI's collector takes far less.
pub const MAX_LINE: usize = 24 << 20;
/// Most lines of one batch: a file of empty objects is all lines.
const MAX_LINES: usize = 1 << 14;
/// A compressed file may grow by this factor and [`BOMB_FLOOR`]; HTML in JSON reaches about 12.
pub const BOMB_RATIO: u64 = 200;
/// Growth that is allowed to any file.
pub const BOMB_FLOOR: u64 = 512 << 20;

/// How a file's text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// one measurement a line
    Lines,
    /// one JSON document, possibly over many lines
    Document,
}

/// Endings that are read, longest first.
const ENDINGS: [(&str, Shape); 12] = [
    (".jsonl.gz", Shape::Lines),
    (".jsonl.zst", Shape::Lines),
    (".jsonl.lz4", Shape::Lines),
    (".jsonl", Shape::Lines),
    (".ndjson", Shape::Lines),
    (".json.gz", Shape::Document),
    (".json.zst", Shape::Document),
    (".json.lz4", Shape::Document),
    (".json", Shape::Document),
    (".tar.gz", Shape::Lines),
    (".tar.lz4", Shape::Lines),
    (".tar", Shape::Lines),
];

/// The shape that a path's ending promises; `None` when it is no input.
pub fn shape_of(path: &Path) -> Option<Shape> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, shape)| *shape)
}

/// Input files below `path`, in a fixed order: a folder's entries by name, folders among them. A file that
/// is named directly is taken whatever its ending.
pub fn walk(path: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        std::fs::metadata(path)?;
        found.push(path.to_owned());
        return Ok(());
    }
    let mut pending = vec![path.to_owned()];
    while let Some(next) = pending.pop() {
        // Links to folders may go in circles, and a pipe would never end; a link to nothing is an input
        // that cannot be read, and is told as such.
        let kind = std::fs::symlink_metadata(&next)?.file_type();
        if kind.is_dir() || (kind.is_symlink() && next == path) {
            let mut entries =
                std::fs::read_dir(&next)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
            entries.sort_unstable_by(|a, b| b.cmp(a));
            pending.extend(entries.into_iter().filter(|entry| !is_hidden(entry)));
        } else if shape_of(&next).is_some() && std::fs::metadata(&next).map_or(true, |m| m.is_file()) {
            found.push(next);
        }
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// One line of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// start in the batch's text
    pub start: usize,
    /// end in the batch's text, without the line end
    pub end: usize,
    /// number in the file, from 1
    pub number: u64,
    /// offset of its first byte in the decompressed file
    pub offset: u64,
    /// offset in the line of the first byte that is no UTF-8; such bytes are U+FFFD in the text
    pub invalid_utf8: Option<usize>,
}

/// Whole lines, as valid UTF-8.
#[derive(Debug, Default)]
pub struct Batch {
    /// the text
    pub text: String,
    /// its lines; blank ones are left out
    pub lines: Vec<Line>,
}

/// Something that happened to a stream as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamReject {
    /// line at which it happened, from 1
    pub line: u64,
    /// offset in the decompressed file
    pub byte_offset: u64,
    /// whether a line was lost by it and must be counted
    pub counts_as_line: bool,
    /// why
    pub reason: RejectReason,
    /// what happened and what to do, in words
    pub detail: String,
}

/// What comes next from a stream.
pub enum Next {
    /// raw bytes of whole lines, to be given to [`Batch::prepare`] (apart, because that costs time)
    Bytes(RawBatch),
    /// something was set aside
    Reject(StreamReject),
    /// the end
    End,
}

/// Bytes of whole lines and where they stand.
pub struct RawBatch {
    bytes: Vec<u8>,
    first_line: u64,
    first_offset: u64,
}

impl RawBatch {
    /// Size in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

impl Batch {
    /// The batch's buffer, for [`Lines::give_back`].
    pub fn into_buffer(self) -> Vec<u8> {
        self.text.into_bytes()
    }

    /// Finds the lines and makes the bytes valid UTF-8.
    pub fn prepare(raw: RawBatch) -> Self {
        let RawBatch { bytes, first_line, first_offset } = raw;
        let batch = match String::from_utf8(bytes) {
            Ok(text) => {
                let lines = split(text.as_bytes(), first_line, first_offset);
                Self { text, lines }
            }
            Err(error) => {
                let bytes = error.into_bytes();
                let mut batch = Self { text: String::with_capacity(bytes.len() + 64), lines: Vec::new() };
                for mut line in split(&bytes, first_line, first_offset) {
                    let raw = &bytes[line.start..line.end];
                    line.invalid_utf8 = std::str::from_utf8(raw).err().map(|e| e.valid_up_to());
                    line.start = batch.text.len();
                    batch.text.push_str(&String::from_utf8_lossy(raw));
                    line.end = batch.text.len();
                    batch.lines.push(line);
                }
                batch
            }
        };
        batch.open_arrays()
    }

    /// A document may be an array of measurements; each element is a row of its own.
    fn open_arrays(mut self) -> Self {
        let is_array = |line: &Line| {
            self.text[line.start..].trim_start_matches('\u{feff}').starts_with(['[', ' ', '\t'])
        };
        if self.lines.iter().any(is_array) {
            let open = |line| crate::Extractor::elements(&self.text, line).unwrap_or_else(|| vec![line]);
            self.lines = self.lines.into_iter().flat_map(open).collect();
        }
        self
    }
}

fn split(bytes: &[u8], first_line: u64, first_offset: u64) -> Vec<Line> {
    let mut lines = Vec::new();
    let (mut start, mut number) = (0, first_line);
    while start < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |p| start + p);
        let trimmed = bytes[start..end].trim_ascii_end();
        if !trimmed.trim_ascii_start().is_empty() {
            lines.push(Line {
                start,
                end: start + trimmed.len(),
                number,
                offset: first_offset + start as u64,
                invalid_utf8: None,
            });
        }
        number += 1;
        start = end + 1;
    }
    lines
}

/// Reads a decompressed stream as batches of whole lines.
pub struct Lines<R> {
    stream: R,
    shape: Shape,
    /// bytes not yet handed out: the first `filled` of `rest`; what follows is room, kept initialised
    rest: Vec<u8>,
    filled: usize,
    spare: Vec<Vec<u8>>,
    line: u64,
    offset: u64,
    limit: u64,
    ended: bool,
    pending: Option<StreamReject>,
}

impl<R: Read> Lines<R> {
    /// `compressed_bytes` is the size on disk, from which the growth limit follows; `None` for plain text.
    pub fn new(stream: R, shape: Shape, compressed_bytes: Option<u64>) -> Self {
        let limit = compressed_bytes.map_or(u64::MAX, |size| size.saturating_mul(BOMB_RATIO).max(BOMB_FLOOR));
        Self {
            stream,
            shape,
            rest: Vec::new(),
            filled: 0,
            spare: Vec::new(),
            line: 1,
            offset: 0,
            limit,
            ended: false,
            pending: None,
        }
    }

    /// Bytes of text delivered so far.
    pub fn text_bytes(&self) -> u64 {
        self.offset
    }

    /// Takes the buffer of a batch that is done with, so that its pages are used again.
    pub fn give_back(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < 4 && buffer.capacity() <= 4 * BATCH {
            self.spare.push(buffer);
        }
    }

    /// The next batch, reject, or the end. A document is one batch as long as it keeps below [`MAX_LINE`].
    pub fn next_batch(&mut self) -> Next {
        if let Some(reject) = self.pending.take() {
            return Next::Reject(reject);
        }
        while !self.ended || self.filled > 0 {
            let target = match self.shape {
                Shape::Lines => BATCH.max(self.filled + BATCH / 4),
                Shape::Document => MAX_LINE,
            };
            self.fill(target);
            if self.shape == Shape::Document && !self.ended {
                // Too long for a document: read it as lines, which most such files are.
                self.shape = Shape::Lines;
            }
            let whole = if self.ended {
                self.filled
            } else {
                memchr::memrchr(b'\n', self.held()).map_or(0, |last| last + 1)
            };
            if whole > 0 {
                return Next::Bytes(self.cut(self.at_most(whole)));
            }
            if self.filled > MAX_LINE {
                return Next::Reject(self.skip_long_line());
            }
        }
        match self.pending.take() {
            Some(reject) => Next::Reject(reject),
            None => Next::End,
        }
    }

    /// The end of the last line that a batch of `whole` bytes may take.
    fn at_most(&self, whole: usize) -> usize {
        let mut ends = memchr::memchr_iter(b'\n', &self.rest[..whole]);
        ends.nth(MAX_LINES - 1).map_or(whole, |last| last + 1)
    }

    fn held(&self) -> &[u8] {
        &self.rest[..self.filled]
    }

    fn fill(&mut self, target: usize) {
        while self.filled < target && !self.ended {
            if self.rest.len() == self.filled {
                // Small files stay small; large ones double.
                let more = self.filled.clamp(64 << 10, BATCH);
                self.rest.resize((self.filled + more).min(target), 0);
            }
            let room = self.rest.len().min(target);
            match self.stream.read(&mut self.rest[self.filled..room]) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    self.filled += n;
                    if self.offset + self.filled as u64 > self.limit {
                        self.abandon(RejectReason::Bomb, format!(
                            "grew to more than {} MiB; the rest of the file was not read. If it is genuine, decompress it and observe the plain file",
                            self.limit >> 20
                        ));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.abandon(RejectReason::CorruptStream, format!(
                    "the stream breaks here ({}); what came before was kept. Fetch the file again and observe it once more",
                    plain_kind(&error)
                )),
            }
        }
    }

    fn abandon(&mut self, reason: RejectReason, detail: String) {
        self.ended = true;
        let lines_before = memchr::memchr_iter(b'\n', self.held()).count() as u64;
        self.pending = Some(StreamReject {
            line: self.line + lines_before,
            byte_offset: self.offset + self.filled as u64,
            counts_as_line: false,
            reason,
            detail,
        });
    }

    fn cut(&mut self, whole: usize) -> RawBatch {
        // A buffer that was used before keeps its length, so that nothing is cleared twice.
        let mut tail = self.spare.pop().unwrap_or_default();
        let left = self.filled - whole;
        if tail.len() < left {
            tail.resize(left, 0);
        }
        tail[..left].copy_from_slice(&self.rest[whole..self.filled]);
        self.filled = left;
        let mut bytes = std::mem::replace(&mut self.rest, tail);
        bytes.truncate(whole);
        if self.shape == Shape::Document {
            flatten(&mut bytes);
        }
        let raw = RawBatch { first_line: self.line, first_offset: self.offset, bytes };
        self.line += memchr::memchr_iter(b'\n', &raw.bytes).count() as u64;
        self.offset += whole as u64;
        raw
    }

    fn skip_long_line(&mut self) -> StreamReject {
        let reject = StreamReject {
            line: self.line,
            byte_offset: self.offset,
            counts_as_line: true,
            reason: RejectReason::TooLong,
            detail: format!("the line is longer than {} MiB and was not read", MAX_LINE >> 20),
        };
        loop {
            if let Some(end) = memchr::memchr(b'\n', self.held()) {
                self.offset += end as u64 + 1;
                self.rest.copy_within(end + 1..self.filled, 0);
                self.filled -= end + 1;
                break;
            }
            self.offset += self.filled as u64;
            self.filled = 0;
            if self.ended {
                break;
            }
            self.fill(1 << 20);
        }
        self.line += 1;
        reject
    }
}

/// Makes one line of a JSON document that is spread over several, unless its first line is a document
/// of its own. Line ends cannot stand inside JSON strings, so blanks may take their place.
fn flatten(bytes: &mut [u8]) {
    let start = bytes.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(0);
    let first_end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |p| start + p);
    let first_is_whole = std::str::from_utf8(&bytes[start..first_end]).is_ok_and(|first| {
        let mut reader = crate::json::Reader::new(first);
        reader.skip().is_ok() && reader.at_end()
    });
    if !first_is_whole {
        for byte in bytes.iter_mut().filter(|byte| matches!(**byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
    }
}

fn plain_kind(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early",
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => "its checksum or structure is wrong",
        io::ErrorKind::PermissionDenied => "permission denied",
        _ => "it cannot be read",
    }
}

/// How a stream is packed, told by its first bytes, never by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// not compressed
    Plain,
    /// RFC 1952
    Gzip,
    /// RFC 8878
    Zstd,
    /// LZ4 frame format
    Lz4,
}

/// Tells the packing from the first bytes.
pub fn packing_of(head: &[u8]) -> Packing {
    match head {
        [0x1F, 0x8B, ..] => Packing::Gzip,
        [0x28, 0xB5, 0x2F, 0xFD, ..] => Packing::Zstd,
        // Zstandard skippable frames, which parallel compressors put first.
        [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Packing::Zstd,
        [0x04, 0x22, 0x4D, 0x18, ..] => Packing::Lz4,
        _ => Packing::Plain,
    }
}

/// A stream of text, and its size on disk when it is compressed.
pub type Text = (Box<dyn Read + Send>, Packing);

/// Opens a stream by what its first bytes say.
pub fn decompress(mut raw: Box<dyn Read + Send>) -> io::Result<Text> {
    let mut head = [0u8; 4];
    let mut have = 0;
    while have < head.len() {
        match raw.read(&mut head[have..])? {
            0 => break,
            n => have += n,
        }
    }
    let packing = packing_of(&head[..have]);
    let whole = io::Cursor::new(head[..have].to_vec()).chain(raw);
    let text: Box<dyn Read + Send> = match packing {
        Packing::Plain => Box::new(whole),
        Packing::Gzip => {
            Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(128 << 10, whole)))
        }
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(whole)?),
        Packing::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(whole)),
    };
    Ok((text, packing))
}

/// Opens an input file as lines.
pub fn open(path: &Path) -> io::Result<Lines<Box<dyn Read + Send>>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let (text, packing) = decompress(Box::new(file))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let text: Box<dyn Read + Send> =
        if name.contains(".tar") { Box::new(crate::tarball::Joined::new(text)) } else { text };
    let limit = (packing != Packing::Plain).then_some(size);
    Ok(Lines::new(text, shape_of(path).unwrap_or(Shape::Document), limit))
}

/// Opens standard input, or any other stream, as lines.
pub fn open_stream(raw: Box<dyn Read + Send>) -> io::Result<Lines<Box<dyn Read + Send>>> {
    let (text, _) = decompress(raw)?;
    Ok(Lines::new(text, Shape::Document, None))
}

#[cfg(test)]
mod tests;
