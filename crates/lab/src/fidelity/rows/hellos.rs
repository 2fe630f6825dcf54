//! M11, M16's TLS kin, M17, M18: encrypted names, camouflage, large hellos.

use okno_wire::tls::{extension, preset, record};

use super::check::{large_hello, only, share, through};
use super::{Answer, Rows, Said, source};
use crate::fidelity::Observed;
use crate::fidelity::stage::{BLOCKED, ELSEWHERE, HARMLESS, Stage, Tcp, Tried, exchange, hello, say};
use crate::fidelity::trial::Trial;

pub(super) fn rows(rows: &mut Rows) {
    ech(rows);
    fake_tls(rows);
    fake_tls_capture(rows);
    first_segment(rows);
}

const ECH: Said = Said { source: source::FOCI25, tag: 'K', confidence: "high", profile: "tspu-2024" };

/// A hello with an ECH extension under this outer name.
fn with_ech(outer: &str) -> Vec<u8> {
    let enc = preset::random_bytes(1, "enc", 32);
    let payload = preset::random_bytes(1, "payload", 208);
    preset::curl(1, Some(outer)).with_extension(extension::ech_outer(7, &enc, &payload)).emit_record()
}

/// One exchange under the ECH rule, whose list of outer names holds the stage's blocked name.
fn ech_to(ip: &str, flight: &[u8]) -> Answer {
    let mut stage = only("tspu-2024", "ech")?.stage()?;
    Ok(through(exchange(&mut stage, &mut Tcp::new(40_000).to(ip), flight)))
}

fn ech(rows: &mut Rows) {
    use crate::fidelity::stage::OUTSIDE;
    rows.fails(ECH, "M11.both", "outer name listed and ECH, to Cloudflare's ranges", || {
        ech_to(OUTSIDE, &with_ech(BLOCKED))
    });
    rows.passes(ECH, "M11.name_only", "outer name listed, no ECH", || ech_to(OUTSIDE, &hello(BLOCKED)));
    rows.passes(ECH, "M11.ech_only", "another outer name, with ECH", || ech_to(OUTSIDE, &with_ech(HARMLESS)));
    rows.passes(ECH, "M11.neither", "another name, no ECH", || ech_to(OUTSIDE, &hello(HARMLESS)));
    rows.passes(ECH, "M11.other_range", "outer name listed and ECH, to another network", || {
        ech_to(ELSEWHERE, &with_ech(BLOCKED))
    });
    rows.fails(ECH, "M11.quic", "outer name listed and ECH in a QUIC Initial", || {
        let enc = preset::random_bytes(1, "enc", 32);
        let payload = preset::random_bytes(1, "payload", 208);
        let hello = preset::quic(1, Some(BLOCKED), &[], false);
        let message = hello.with_extension(extension::ech_outer(7, &enc, &payload)).emit();
        let frames = okno_wire::quic::crypto_frames(&message, &[]);
        let datagram = crate::evasion::initial(okno_wire::quic::Version::V1, 0, &frames, 1_200);
        let mut stage = only("tspu-2024", "ech")?.stage()?;
        let udp = crate::fidelity::stage::Udp::new(50_000);
        let passed = udp.up(&mut stage, &datagram).passed() && udp.down(&mut stage, &[0xc0; 1_200]).passed();
        Ok(Observed::new(passed, "one Initial and an answer"))
    });
    rows.holds(ECH, "M11.silence", "the hello is dropped in silence", || {
        let mut stage = only("tspu-2024", "ech")?.stage()?;
        let tried = exchange(&mut stage, &mut Tcp::new(40_000), &with_ech(BLOCKED));
        Ok(Observed::new(tried == Tried::HelloDropped && stage.sent.is_empty(), format!("{tried:?}")))
    });
    rows.fails(
        ECH,
        "M11.shipped",
        "cloudflare-ech.com with ECH to 104.16.132.229, shipped lists, Dec 2024",
        || {
            let mut stage = Trial::new("tspu-2024@2024-12-01")?.stage()?;
            let mut tcp = Tcp::new(40_000).to("104.16.132.229");
            Ok(through(exchange(&mut stage, &mut tcp, &with_ech("cloudflare-ech.com"))))
        },
    );
    rows.passes(ECH, "M11.before", "the same before 5 Nov 2024", || {
        let mut stage = Trial::new("tspu-2024@2024-11-01")?.stage()?;
        let mut tcp = Tcp::new(40_000).to("104.16.132.229");
        Ok(through(exchange(&mut stage, &mut tcp, &with_ech("cloudflare-ech.com"))))
    });
    let splits: [(&str, &str, bool, bool, bool); 3] = [
        ("M11.tcp_split", "the ECH hello in two segments alone", true, false, false),
        ("M11.record_split", "the ECH hello in two records alone", false, true, false),
        ("M11.both_splits", "the ECH hello in two records and two segments", true, true, true),
    ];
    for (id, what, segments, records, passes) in splits {
        let run = move || split_ech(segments, records);
        if passes { rows.passes(ECH, id, what, run) } else { rows.fails(ECH, id, what, run) }
    }
}

fn split_ech(segments: bool, records: bool) -> Answer {
    let mut stage = only("tspu-2024", "ech")?.stage()?;
    let mut tcp = Tcp::new(40_000);
    tcp.open(&mut stage);
    let whole = with_ech(BLOCKED);
    let cut = crate::evasion::find(&whole, BLOCKED.as_bytes()).unwrap_or(100) + 5;
    let flight =
        if records { okno_wire::tls::split_records(0x0301, &whole[5..], &[cut - 5]) } else { whole.clone() };
    if segments {
        let first = tcp.up(&mut stage, &flight[..cut + 5]).passed();
        if !first {
            return Ok(Observed::new(false, "the first segment was dropped"));
        }
        return Ok(through(say(&mut stage, &mut tcp, &flight[cut + 5..])));
    }
    Ok(through(say(&mut stage, &mut tcp, &flight)))
}

const FAKE: Said =
    Said { source: source::MTPROXY, tag: 'F', confidence: "medium-high", profile: "tspu-2026" };

/// One exchange under the rules of 2026 on camouflaged TLS on a day, lists as shipped.
fn fake_on(day: &str, flight: &[u8], piece: usize) -> Answer {
    let trial = Trial::new(&format!("tspu-2026@{day}"))?;
    let ids: Vec<String> = trial
        .profile()
        .rules
        .iter()
        .filter(|rule| rule.technique == "fake_tls" && !rule.off)
        .map(|rule| rule.id.clone())
        .collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    if ids.is_empty() {
        return Ok(Observed::new(true, "no rule is in force"));
    }
    let mut stage = trial.rules_as_shipped(&ids)?.stage()?;
    let mut tcp = Tcp::new(40_000).to(ELSEWHERE);
    tcp.open(&mut stage);
    let mut passed = true;
    for part in flight.chunks(piece) {
        passed &= tcp.up(&mut stage, part).passed();
    }
    let answer = tcp.down(&mut stage, &[0x16; 900]).passed();
    Ok(Observed::new(passed && answer, format!("hello {passed}, answer {answer}")))
}

fn fake_tls(rows: &mut Rows) {
    rows.fails(
        FAKE,
        "M17.extension",
        "a hello with extension 0xfe02 and a 20-byte random, 2 Apr 2026",
        || fake_on("2026-04-02", &preset::telegram(2, "www.example.org").emit_record(), 1_400),
    );
    rows.passes(FAKE, "M17.browser_april", "a Chrome hello, 2 Apr 2026", || {
        fake_on("2026-04-02", &preset::chrome(2, Some("www.example.org"), false).emit_record(), 1_400)
    });
    rows.passes(FAKE, "M17.before", "the Telegram hello before 1 Apr 2026", || {
        fake_on("2026-03-25", &preset::telegram(2, "www.example.org").emit_record(), 1_400)
    });
    rows.fails(FAKE, "M17.ja4", "a hello of JA4 t13d1516h2_8daaf6152771_d8a2da3f94cd, 6 Jun 2026", || {
        fake_on("2026-06-06", &preset::chrome(2, Some("www.example.org"), false).emit_record(), 1_400)
    });
    rows.fails(FAKE, "M17.any_name", "the same with another name (independent of SNI)", || {
        fake_on("2026-06-06", &preset::chrome(2, Some("ya.ru"), false).emit_record(), 1_400)
    });
    rows.passes(FAKE, "M17.firefox", "a Firefox hello, 6 Jun 2026", || {
        fake_on("2026-06-06", &preset::firefox(2, Some("www.example.org"), false).emit_record(), 1_400)
    });
    rows.fails(FAKE, "M17.mss_88", "the fingerprint in segments of 88 bytes, on an upgraded node", || {
        fake_on("2026-06-06", &preset::chrome(2, Some("www.example.org"), false).emit_record(), 88)
    });
    rows.unknown(FAKE, "M17.residual", "timers and residual of the fingerprint rules");
    rows.unknown(
        Said { confidence: "low", ..FAKE },
        "M17.a_record",
        "whether the A record of the SNI is compared with the server's address",
    );
}

/// The fingerprint's rule with another of its recorded outcomes.
fn outcome_box(outcome: &str) -> Result<Trial, String> {
    let trial = Trial::new("tspu-2026")?.rules(&["telegram-ja4"])?;
    trial.set(&format!("telegram-ja4.outcome={outcome}"))
}

/// A hello of the listed fingerprint, 517 bytes and a record header long as in the capture.
fn listed_hello() -> Vec<u8> {
    preset::chrome(2, Some("www.example.org"), false).emit_record()
}

fn fake_tls_capture(rows: &mut Rows) {
    rows.holds(
        FAKE,
        "M17.first_segment",
        "27 May 2026: of 408 + 109 bytes the first segment is dropped, the second reaches the server",
        || {
            let trial = outcome_box("first-segment")?;
            let mut stage = trial.stage()?;
            let mut tcp = Tcp::new(40_000);
            tcp.open(&mut stage);
            let flight = listed_hello();
            let cut = flight.len() * 408 / 517;
            let first = tcp.up(&mut stage, &flight[..cut]);
            let second = tcp.up(&mut stage, &flight[cut..]);
            let lost = first.dropped() || first == crate::fidelity::stage::Seen::Held;
            Ok(Observed::new(lost && second.passed(), format!("first {first:?}, second {second:?}")))
        },
    );
    rows.holds(
        FAKE,
        "M17.silent_later",
        "variant: the handshake completes, application data is lost",
        || {
            let trial = outcome_box("later")?;
            let mut stage = trial.stage()?;
            let mut tcp = Tcp::new(40_000);
            tcp.open(&mut stage);
            let mut shaken = true;
            for part in listed_hello().chunks(1_400) {
                shaken &= tcp.up(&mut stage, part).passed();
            }
            shaken &= tcp.down(&mut stage, &record(22, 0x0303, &[2; 120])).passed();
            let mut later = 0;
            for _ in 0..20 {
                later += u32::from(tcp.up(&mut stage, &record(23, 0x0303, &[9; 200])).passed());
                later += u32::from(tcp.down(&mut stage, &record(23, 0x0303, &[9; 200])).passed());
            }
            Ok(Observed::new(
                shaken && later < 20,
                format!("handshake {shaken}, {later} of 40 later packets"),
            ))
        },
    );
    rows.holds(FAKE, "M17.reset", "variant: RST instead of silence", || {
        let trial = outcome_box("reset")?;
        let mut stage = trial.stage()?;
        let tried = exchange(&mut stage, &mut Tcp::new(40_000), &listed_hello());
        let reset = tried == Tried::Reset || !stage.resets(okno_censor::Direction::Down).is_empty();
        Ok(Observed::new(reset, format!("{tried:?}, {} packets sent", stage.sent.len())))
    });
}

const STALL: Said =
    Said { source: source::XRAY_6256, tag: 'F', confidence: "low-medium", profile: "tspu-2026" };

/// Whether the segments of a flight after the first pass.
fn later_segments(stage: &mut Stage, tcp: &mut Tcp, flight: &[u8]) -> (bool, bool) {
    tcp.open(stage);
    let mut parts = flight.chunks(1_424);
    let first = parts.next().is_some_and(|part| tcp.up(stage, part).passed());
    let rest = parts.all(|part| tcp.up(stage, part).passed());
    (first, rest)
}

fn stall_box() -> Result<Trial, String> {
    only("tspu-2026", "first_segment_stall")
}

fn first_segment(rows: &mut Rows) {
    rows.holds(STALL, "M18.first_passes", "of a hello of two segments the first always passes", || {
        let flight = large_hello(HARMLESS);
        share(&stall_box()?, 2_000, 1.0, 1.0, |stage, mut tcp| later_segments(stage, &mut tcp, &flight).0)
    });
    rows.holds(STALL, "M18.half_stall", "in about half of the flows the rest never comes", || {
        let (low, high) = super::check::bounds(0.5, 4_000);
        let flight = large_hello(HARMLESS);
        share(&stall_box()?, 4_000, low, high, |stage, mut tcp| !later_segments(stage, &mut tcp, &flight).1)
    });
    rows.passes(STALL, "M18.short", "a hello of 500 to 700 bytes", || {
        share(&stall_box()?, 500, 1.0, 1.0, |stage, mut tcp| {
            exchange(stage, &mut tcp, &preset::curl(1, Some(HARMLESS)).padded_to(600).emit_record())
                == Tried::Through
        })
    });
    rows.passes(STALL, "M18.other_network", "a hello of two segments to another network", || {
        share(&stall_box()?, 500, 1.0, 1.0, |stage, tcp| {
            later_segments(stage, &mut tcp.to(ELSEWHERE), &large_hello(HARMLESS)).1
        })
    });
    rows.unknown(STALL, "M18.trigger", "what sets it off, and whether the TSPU or the operator does it");
}
