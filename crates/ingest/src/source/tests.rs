//! Claims about input streams.

use std::io::Write;

use super::*;

fn gather(bytes: &[u8], shape: Shape, packed: Option<u64>) -> (Vec<(u64, u64, String)>, Vec<StreamReject>) {
    let mut lines = Lines::new(bytes, shape, packed);
    let (mut seen, mut rejects) = (Vec::new(), Vec::new());
    loop {
        match lines.next_batch() {
            Next::Bytes(raw) => {
                let batch = Batch::prepare(raw);
                for line in &batch.lines {
                    seen.push((line.number, line.offset, batch.text[line.start..line.end].to_owned()));
                }
            }
            Next::Reject(reject) => rejects.push(reject),
            Next::End => return (seen, rejects),
        }
    }
}

#[test]
fn lines_keep_their_number_and_offset_and_blank_ones_are_no_rows() {
    let (seen, rejects) = gather(b"{\"a\":1}\n\n  {\"b\":2}\r\n{\"c\":3}", Shape::Lines, None);
    assert_eq!(seen, [(1, 0, "{\"a\":1}".into()), (3, 9, "  {\"b\":2}".into()), (4, 20, "{\"c\":3}".into())]);
    assert!(rejects.is_empty());
}

#[test]
fn a_document_over_many_lines_is_one_row_and_lines_in_a_json_file_stay_lines() {
    let (seen, _) = gather(b"{\n \"a\": 1\n}\n", Shape::Document, None);
    assert_eq!(seen.len(), 1);
    assert!(seen[0].2.starts_with('{') && seen[0].2.ends_with('}'));
    let (seen, _) = gather(b"{\"a\":1}\n{\"a\":2}\n", Shape::Document, None);
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_line_longer_than_the_limit_is_set_aside_and_the_next_is_read() {
    let mut bytes = vec![b'x'; MAX_LINE + BATCH * 3];
    bytes.extend_from_slice(b"\n{\"a\":1}\n");
    let (seen, rejects) = gather(&bytes, Shape::Lines, None);
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].0, seen[0].1), (2, (MAX_LINE + BATCH * 3 + 1) as u64));
    assert_eq!(rejects.len(), 1);
    assert_eq!(rejects[0].reason, RejectReason::TooLong);
    assert!(rejects[0].counts_as_line);
}

#[test]
fn every_packing_is_told_by_its_bytes() {
    let text = b"{\"a\":1}\n{\"b\":2}\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(text).unwrap();
    let lz4 = lz4.finish().unwrap();
    let zstd = zstd::stream::encode_all(&text[..], 1).unwrap();
    let two_members = [gzip.clone(), gzip.clone()].concat();
    for (packed, packing, rows) in [
        (text.to_vec(), Packing::Plain, 2),
        (gzip, Packing::Gzip, 2),
        (two_members, Packing::Gzip, 4),
        (lz4, Packing::Lz4, 2),
        (zstd, Packing::Zstd, 2),
    ] {
        let (mut stream, told) = decompress(Box::new(io::Cursor::new(packed))).unwrap();
        assert_eq!(told, packing);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(gather(&bytes, Shape::Lines, None).0.len(), rows, "{packing:?}");
    }
}

#[test]
fn a_truncated_gzip_gives_what_came_before_and_says_where_it_breaks() {
    let text: String = (0..50_000).map(|i| format!("{{\"n\":{}}}\n", i * 7919 % 100_003)).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let mut gzip = gzip.finish().unwrap();
    gzip.truncate(gzip.len() / 2);
    let (stream, _) = decompress(Box::new(io::Cursor::new(gzip))).unwrap();
    let mut lines = Lines::new(stream, Shape::Lines, None);
    let (mut rows, mut rejects) = (0, Vec::new());
    loop {
        match lines.next_batch() {
            Next::Bytes(raw) => rows += Batch::prepare(raw).lines.len(),
            Next::Reject(reject) => rejects.push(reject),
            Next::End => break,
        }
    }
    assert!(rows > 1_000, "{rows}");
    assert_eq!(rejects.len(), 1);
    assert_eq!(rejects[0].reason, RejectReason::CorruptStream);
    assert_eq!(rejects[0].byte_offset, lines.text_bytes());
}

#[test]
fn a_stream_that_grows_out_of_proportion_is_abandoned() {
    let zeros = io::repeat(b' ').take(BOMB_FLOOR + (64 << 20));
    let mut lines = Lines::new(zeros, Shape::Lines, Some(1000));
    let mut reasons = Vec::new();
    loop {
        match lines.next_batch() {
            Next::Reject(reject) => reasons.push(reject.reason),
            Next::Bytes(_) => {}
            Next::End => break,
        }
    }
    assert_eq!(reasons, [RejectReason::TooLong, RejectReason::Bomb]);
}

#[test]
fn bytes_that_are_no_utf8_are_replaced_and_their_place_is_kept() {
    let batch = Batch::prepare(RawBatch {
        bytes: b"{\"a\":\"ok\"}\n{\"b\":\"\xFF\"}\n".to_vec(),
        first_line: 1,
        first_offset: 0,
    });
    assert_eq!(batch.lines[0].invalid_utf8, None);
    assert_eq!(batch.lines[1].invalid_utf8, Some(6));
    assert_eq!(&batch.text[batch.lines[1].start..batch.lines[1].end], "{\"b\":\"\u{fffd}\"}");
}

#[test]
fn only_inputs_are_walked_in_a_fixed_order() {
    let dir = std::env::temp_dir().join(format!("okno-walk-{}", std::process::id()));
    for name in ["b/2.jsonl", "b/1.jsonl.gz", "a/x.json", "README.md", "truth.csv", ".hidden/y.jsonl"] {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"{}").unwrap();
    }
    let mut found = Vec::new();
    walk(&dir, &mut found).unwrap();
    let names: Vec<_> = found.iter().map(|p| p.strip_prefix(&dir).unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a/x.json", "b/1.jsonl.gz", "b/2.jsonl"]);
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(walk(&dir, &mut found).is_err());
}
