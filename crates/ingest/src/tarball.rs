//! The archive's cans: tar files of JSON lines, read as one stream of lines.
//!
//! Until October 2020 OONI packed reports into tar (some gzip'd, some LZ4'd, some not compressed although
//! named so; trap 30). Only the entries' text matters here: entries are joined, each ends with a line end.

use std::io::{self, Read};

/// Joins the entries of a tar stream. Reads headers itself, because entries must be streamed in order
/// and only name, size and type are needed (POSIX ustar; GNU long names are skipped as entries).
pub struct Joined<R> {
    stream: R,
    left: u64,
    padding: u64,
    at_line_start: bool,
    owed_line_end: bool,
    ended: bool,
}

impl<R: Read> Joined<R> {
    /// Reads `stream` from its first header.
    pub fn new(stream: R) -> Self {
        Self { stream, left: 0, padding: 0, at_line_start: true, owed_line_end: false, ended: false }
    }

    fn discard(&mut self, bytes: u64) -> io::Result<()> {
        let copied = io::copy(&mut self.stream.by_ref().take(bytes), &mut io::sink())?;
        if copied == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Moves to the next regular entry; `false` at the archive's end.
    fn next_entry(&mut self) -> io::Result<bool> {
        loop {
            let padding = std::mem::take(&mut self.padding);
            self.discard(padding)?;
            let mut header = [0u8; 512];
            match self.stream.read_exact(&mut header) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(error),
            }
            if header.iter().all(|byte| *byte == 0) {
                return Ok(false);
            }
            let size = octal(&header[124..136]).filter(|_| checksum_holds(&header));
            let Some(size) = size else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            self.padding = size.next_multiple_of(512) - size;
            if matches!(header[156], b'0' | 0) {
                self.left = size;
                return Ok(true);
            }
            self.discard(size)?;
        }
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}

fn checksum_holds(header: &[u8; 512]) -> bool {
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) })
        .sum();
    octal(&header[148..156]) == Some(sum)
}

impl<R: Read> Read for Joined<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.left == 0 {
            if std::mem::take(&mut self.owed_line_end) && !self.at_line_start {
                buffer[0] = b'\n';
                self.at_line_start = true;
                return Ok(1);
            }
            if self.ended || !self.next_entry()? {
                self.ended = true;
                return Ok(0);
            }
            self.owed_line_end = true;
        }
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let got = self.stream.read(&mut buffer[..wanted])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= got as u64;
        self.at_line_start = buffer[got - 1] == b'\n';
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn can(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, text) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append_data(&mut header, name, *text).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn entries_are_joined_at_line_ends() {
        let bytes = can(&[("a.json", b"{\"a\":1}\n{\"a\":2}"), ("empty", b""), ("b.json", b"{\"b\":1}\n")]);
        let mut text = String::new();
        Joined::new(&bytes[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"a\":2}\n{\"b\":1}\n");
    }

    #[test]
    fn a_cut_or_altered_can_is_an_error_and_no_silence() {
        let bytes = can(&[("a.json", &[b'x'; 3000])]);
        let mut text = Vec::new();
        assert!(Joined::new(&bytes[..2000]).read_to_end(&mut text).is_err());
        let mut altered = bytes.clone();
        altered[130] = b'7';
        assert!(Joined::new(&altered[..]).read_to_end(&mut Vec::new()).is_err());
    }
}
