//! Every format, link type and kind of damage, from bytes built here.

use std::fmt::Write as _;
use std::io::Read;

use okno_wire::Instant;

use super::{Aside, Capture, CaptureError};

/// An IPv4 header and nothing else, told apart by its identification.
fn packet(id: u8) -> Vec<u8> {
    vec![0x45, 0, 0, 20, 0, id, 0, 0, 64, 59, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ether_type.to_be_bytes(), payload].concat()
}

fn pcap(magic: [u8; 4], big_endian: bool, link: u32, head: usize, frames: &[(u32, u32, Vec<u8>)]) -> Vec<u8> {
    let word = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let half = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut file = [&magic[..], &half(2), &half(4), &[0; 8], &word(65_535), &word(link)].concat();
    for (seconds, fraction, frame) in frames {
        let length = u32::try_from(frame.len()).unwrap();
        for value in [*seconds, *fraction, length, length] {
            file.extend(word(value));
        }
        file.resize(file.len() + head - 16, 0);
        file.extend(frame);
    }
    file
}

fn block(big_endian: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let word = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let total = word(u32::try_from(body.len() + 12).unwrap());
    [&word(kind)[..], &total, &body, &total].concat()
}

fn section(big_endian: bool) -> Vec<u8> {
    let (word, half) = if big_endian {
        (0x1a2b_3c4d_u32.to_be_bytes(), 1_u16.to_be_bytes())
    } else {
        (0x1a2b_3c4d_u32.to_le_bytes(), 1_u16.to_le_bytes())
    };
    block(big_endian, 0x0a0d_0d0a, &[&word[..], &half, &[0, 0], &[0xff; 8]].concat())
}

fn interface(link: u16, options: &[u8]) -> Vec<u8> {
    block(false, 1, &[&link.to_le_bytes()[..], &[0; 2], &[0, 0, 4, 0], options].concat())
}

fn enhanced(interface: u32, units: u64, data: &[u8]) -> Vec<u8> {
    let words = [interface, (units >> 32) as u32, units as u32, data.len() as u32, data.len() as u32];
    let head: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut padded = data.to_vec();
    padded.resize(data.len().next_multiple_of(4), 0);
    // A comment, as a lab trace has.
    block(false, 6, &[&head[..], &padded, &[1, 0, 3, 0], b"why\0", &[0; 4]].concat())
}

/// One line a packet: number, time, identification; then the error, if one came.
fn read(file: &[u8]) -> String {
    let mut lines = String::new();
    let mut capture = match Capture::open(file) {
        Ok(capture) => capture,
        Err(error) => return error.to_string(),
    };
    while let Some(packet) = capture.next() {
        match packet {
            Ok(packet) => {
                writeln!(lines, "{} {} {}", packet.number, packet.at, packet.ip.get(5).unwrap_or(&0))
                    .unwrap();
            }
            Err(error) => writeln!(lines, "{error}").unwrap(),
        }
    }
    for (reason, count) in capture.set_aside() {
        writeln!(lines, "{count} × {reason}").unwrap();
    }
    lines
}

#[test]
fn all_six_magics_of_pcap_give_the_same_packets() {
    let frames = [(7, 5, ethernet(0x0800, &packet(1))), (8, 6, ethernet(0x0800, &packet(2)))];
    let micro = "1 7.000005000 1\n2 8.000006000 2\n";
    let nano = "1 7.000000005 1\n2 8.000000006 2\n";
    assert_eq!(read(&pcap([0xd4, 0xc3, 0xb2, 0xa1], false, 1, 16, &frames)), micro);
    assert_eq!(read(&pcap([0xa1, 0xb2, 0xc3, 0xd4], true, 1, 16, &frames)), micro);
    assert_eq!(read(&pcap([0x4d, 0x3c, 0xb2, 0xa1], false, 1, 16, &frames)), nano);
    assert_eq!(read(&pcap([0xa1, 0xb2, 0x3c, 0x4d], true, 1, 16, &frames)), nano);
    assert_eq!(read(&pcap([0x34, 0xcd, 0xb2, 0xa1], false, 1, 24, &frames)), micro);
    assert_eq!(read(&pcap([0xa1, 0xb2, 0xcd, 0x34], true, 1, 24, &frames)), micro);
    // Frame check sequences are told in the upper bits of the link type.
    assert_eq!(read(&pcap([0xd4, 0xc3, 0xb2, 0xa1], false, 0x5400_0001, 16, &frames)), micro);
}

#[test]
fn pcapng_has_sections_interfaces_resolutions_and_offsets() {
    let nanos = [9, 0, 1, 0, 9, 0, 0, 0, 14, 0, 8, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let halves = [9, 0, 1, 0, 0x81, 0, 0, 0, 0, 0, 0, 0];
    let simple = [&20_u32.to_le_bytes()[..], &packet(4)].concat();
    let old =
        [&[1, 0, 0, 0][..], &[0; 4], &[6, 0, 0, 0], &[20, 0, 0, 0], &[20, 0, 0, 0], &packet(5)].concat();
    let mut file = section(false);
    file.extend(interface(1, &[]));
    file.extend(interface(101, &nanos));
    file.extend(enhanced(0, 7_000_005, &ethernet(0x0800, &packet(1))));
    file.extend(block(false, 4, &[0; 40]));
    file.extend(enhanced(1, 7_000_000_005, &packet(2)));
    file.extend(enhanced(9, 0, &packet(3)));
    file.extend(section(false));
    file.extend(interface(101, &halves));
    file.extend(interface(228, &halves));
    file.extend(block(false, 0x8000_0001, &[1; 400]));
    file.extend(block(false, 3, &simple));
    file.extend(block(false, 2, &old));
    let expected = "1 7.000005000 1\n2 107.000000005 2\n4 107.000000005 4\n5 3.000000000 5\n\
                    1 × a packet of an undescribed interface\n";
    assert_eq!(read(&file), expected);
    assert_eq!(read(&[section(true), block(true, 77, &[1; 8]), file.clone()].concat()), expected);
}

#[test]
fn the_packet_is_found_under_every_link_type() {
    let ip = packet(9);
    let under = |head: &[u8]| [head, &ip].concat();
    let wifi = [&[0x88, 0x01][..], &[0; 24], &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]].concat();
    let label = [0, 1, 0x01, 64];
    let cases: Vec<(u32, Vec<u8>)> = vec![
        (1, ethernet(0x0800, &ip)),
        (1, ethernet(0x8100, &under(&[0, 5, 8, 0]))),
        (1, ethernet(0x88a8, &under(&[0, 5, 0x81, 0, 0, 6, 8, 0]))),
        (1, ethernet(0x8847, &[&[0, 1, 0, 64][..], &label, &ip].concat())),
        (1, ethernet(0x8847, &[&label[..], &[0; 4], &ethernet(0x0800, &ip)].concat())),
        (1, ethernet(0x8864, &under(&[0x11, 0, 0, 1, 0, 22, 0, 0x21]))),
        (1, ethernet(28, &under(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]))),
        (0, under(&[2, 0, 0, 0])),
        (0, under(&[0, 0, 0, 2])),
        (108, under(&[0, 0, 0, 2])),
        (9, under(&[0xff, 3, 0, 0x21])),
        (9, under(&[0x21])),
        (50, under(&[0xff, 3, 0, 0x21])),
        (12, ip.clone()),
        (14, ip.clone()),
        (101, ip.clone()),
        (228, ip.clone()),
        (104, under(&[0x0f, 0, 8, 0])),
        (105, under(&wifi)),
        (127, [&[0, 0, 8, 0, 0, 0, 0, 0][..], &wifi, &ip].concat()),
        (113, under(&[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0])),
        (276, under(&[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0])),
        (192, [&[0, 0, 8, 0, 1, 0, 0, 0][..], &ethernet(0x0800, &ip)].concat()),
        (239, under(&[2, 0, 0, 0, 5, 0, 1, 0, 7, 0, 0, 0, 24, 0, 9, 0])),
        (204, under(&[1, 0xff, 3, 0, 0x21])),
        (109, under(&[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0])),
        (
            117,
            under(&[
                45, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ]),
        ),
    ];
    for (link, frame) in cases {
        let file = pcap([0xd4, 0xc3, 0xb2, 0xa1], false, link, 16, &[(1, 0, frame)]);
        let mut capture = Capture::open(&file[..]).unwrap();
        let found = capture.next().unwrap_or_else(|| panic!("nothing under link type {link}")).unwrap();
        assert_eq!((found.ip, found.at), (&ip[..], Instant::from_secs(1)), "link type {link}");
    }
}

#[test]
fn what_is_no_ip_is_counted_by_its_reason() {
    let frames = [
        (1, 0, ethernet(0x0806, &[0; 28])),
        (1, 0, ethernet(0x88cc, &[0; 28])),
        (2, 0, ethernet(0x0806, &[0; 28])),
        (3, 0, ethernet(0x4321, &[])),
        (4, 0, vec![1, 2, 3]),
        (5, 0, ethernet(0x0800, &packet(1))),
    ];
    let file = pcap([0xd4, 0xc3, 0xb2, 0xa1], false, 1, 16, &frames);
    assert_eq!(
        read(&file),
        "6 5.000000000 1\n2 × not IP: ARP\n1 × not IP: EtherType 0x4321\n1 × not IP: LLDP\n1 × cut inside the \
         link header\n"
    );
    let file = pcap([0xd4, 0xc3, 0xb2, 0xa1], false, 187, 16, &frames);
    assert_eq!(read(&file), "6 × link type 187 is not read\n");
}

#[test]
fn a_cut_or_broken_file_gives_what_stands_before_and_names_the_byte() {
    let frames = [(7, 0, ethernet(0x0800, &packet(1))), (8, 0, ethernet(0x0800, &packet(2)))];
    let file = pcap([0xd4, 0xc3, 0xb2, 0xa1], false, 1, 16, &frames);
    let first = "1 7.000000000 1\n";
    assert_eq!(
        read(&file[..file.len() - 1]),
        format!("{first}the capture ends at byte 123, inside a packet that begins at byte 74\n")
    );
    assert_eq!(
        read(&file[..80]),
        format!("{first}the capture ends at byte 80, inside a record header that begins at byte 74\n")
    );
    let mut broken = file.clone();
    broken[85] = 0xff;
    assert!(read(&broken).starts_with(&format!("{first}broken at byte 74: expected a record of at most")));
    assert_eq!(read(&file[..24]), "");
    assert_eq!(read(&file[..20]), "the capture ends at byte 20, inside a file header that begins at byte 0");
    assert!(read(b"\x1f\x8b\x08\x08").contains("gzip: unpack it first"));
    assert!(read(b"").contains("it is empty"));

    let ng = [section(false), interface(101, &[]), enhanced(0, 7_000_000, &packet(1))].concat();
    let tail = [&ng[..], &block(false, 5, &[0; 64])[..30]].concat();
    assert!(read(&tail).starts_with(&format!("{first}the capture ends at byte ")), "{}", read(&tail));
    let tail = [&ng[..], &[6, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert!(read(&tail).contains("expected a block length of 12 or more, in fours, found 7"));
}

/// Gives one byte at a time, and an endless block of zeros behind what it has.
struct Dripping<'a>(&'a [u8], u64);

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if let Some((first, rest)) = self.0.split_first() {
            buffer[0] = *first;
            self.0 = rest;
            return Ok(1);
        }
        let count = buffer.len().min(usize::try_from(self.1).unwrap());
        buffer[..count].fill(0);
        self.1 -= count as u64;
        Ok(count)
    }
}

#[test]
fn a_block_of_a_gigabyte_is_stepped_over_and_not_held() {
    let mut head = [section(false), interface(101, &[]), enhanced(0, 7_000_000, &packet(1))].concat();
    head.extend([6, 0, 0, 0]);
    head.extend(0x4000_0000_u32.to_le_bytes());
    let mut capture = Capture::open(Dripping(&head, 0x4000_0000 - 8)).unwrap();
    assert!(capture.next().unwrap().is_ok());
    assert!(capture.next().is_none());
    assert_eq!(capture.set_aside().get(&Aside::Oversized), Some(&1));
    assert!(capture.window.data().len() < 1 << 20);
    let mut capture = Capture::open(Dripping(&head, 1 << 20)).unwrap();
    assert!(capture.next().unwrap().is_ok());
    assert!(matches!(capture.next(), Some(Err(CaptureError::Truncated { what: "block", .. }))));
    assert!(capture.next().is_none());
}

#[test]
fn no_damage_makes_it_panic_or_run_on() {
    let frames = [(7, 0, ethernet(0x8100, &packet(1))), (8, 0, ethernet(0x8847, &packet(2)))];
    let wifi = [(7, 0, vec![0x88; 60]), (8, 0, vec![0x08; 60])];
    let ng = [section(false), interface(1, &[9, 0, 1, 0, 0xff, 0, 0, 0]), enhanced(0, u64::MAX, &packet(1))];
    let seeds = [
        pcap([0xd4, 0xc3, 0xb2, 0xa1], false, 1, 16, &frames),
        pcap([0xa1, 0xb2, 0xcd, 0x34], true, 127, 24, &wifi),
        [ng.concat(), section(true), ng.concat()].concat(),
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for round in 0..30_000 {
        let mut file = seeds[round % seeds.len()].clone();
        for _ in 0..=draw(4) {
            let at = draw(file.len());
            file[at] = [0, 1, 0x7f, 0x80, 0xff, draw(256) as u8][draw(6)];
        }
        file.truncate(file.len() - draw(8) * draw(2));
        assert!(read(&file).lines().count() < 64);
    }
}
