//! M12 and M13: a connection's packet budget, and a server's budget of connections.

use okno_wire::ssh::Banner;
use okno_wire::tls::preset;

use super::check::{only, through};
use super::{Answer, Rows, Said, source};
use crate::fidelity::Observed;
use crate::fidelity::stage::{ELSEWHERE, EXEMPT, FREE, HARMLESS, Stage, Tcp, Tried, Udp, exchange, hello};
use crate::fidelity::trial::Trial;

const P: &str = "tspu-2025";
const FIELD: Said = Said { source: source::N4P_490, tag: 'F', confidence: "medium", profile: P };

pub(super) fn rows(rows: &mut Rows) {
    freeze(rows);
    exempt(rows);
    bytes(rows);
    first_form(rows);
    second_form(rows);
}

fn budget_box() -> Result<Trial, String> {
    only(P, "packet_budget")
}

/// Packets of a connection that passed, up to `most`, small ones both ways.
fn count(stage: &mut Stage, tcp: &mut Tcp, flight: &[u8], most: u32) -> u32 {
    if !tcp.open(stage) {
        return 0;
    }
    let mut passed = 3;
    let first = tcp.up(stage, flight).passed();
    passed += u32::from(first);
    let mut index = 0;
    while passed < most {
        let seen = if index % 2 == 0 { tcp.down(stage, &[0x17; 60]) } else { tcp.ack_up(stage) };
        if !seen.passed() {
            break;
        }
        index += 1;
        passed += 1;
    }
    passed
}

fn freeze(rows: &mut Rows) {
    rows.passes(FIELD, "M12.packet_25", "the 25th packet of a connection, both ways counted", || {
        let passed = count(&mut budget_box()?.stage()?, &mut Tcp::new(40_000), &hello(HARMLESS), 25);
        Ok(Observed::new(passed == 25, format!("{passed} passed")))
    });
    rows.fails(FIELD, "M12.packet_26", "the 26th packet", || {
        let passed = count(&mut budget_box()?.stage()?, &mut Tcp::new(40_000), &hello(HARMLESS), 26);
        Ok(Observed::new(passed == 26, format!("{passed} passed")))
    });
    rows.fails(
        Said { source: source::CHECKERS, tag: 'C', ..FIELD },
        "M12.chunks",
        "64 bytes as 2-byte chunks 50 ms apart: more than 25 packets",
        || {
            let mut stage = budget_box()?.stage()?;
            let mut tcp = Tcp::new(40_000);
            tcp.open(&mut stage);
            let mut all = true;
            for _ in 0..32 {
                stage.wait_s(0.05);
                all &= tcp.up(&mut stage, &[7, 7]).passed();
            }
            Ok(Observed::new(all, "32 chunks"))
        },
    );
    rows.passes(
        Said { source: source::CHECKERS, tag: 'C', ..FIELD },
        "M12.one_segment",
        "the same 64 bytes in one segment (the control)",
        || {
            let mut stage = budget_box()?.stage()?;
            let mut tcp = Tcp::new(40_000);
            tcp.open(&mut stage);
            let all = tcp.up(&mut stage, &[7; 64]).passed() && tcp.down(&mut stage, &[8; 64]).passed();
            Ok(Observed::new(all, "one segment and an answer"))
        },
    );
    rows.fails(FIELD, "M12.no_refill", "a packet after the freeze and ten minutes of waiting", || {
        let mut stage = budget_box()?.stage()?;
        let mut tcp = Tcp::new(40_000);
        count(&mut stage, &mut tcp, &hello(HARMLESS), 40);
        stage.wait_s(400.0);
        Ok(Observed::new(tcp.up(&mut stage, &[1; 30]).passed(), "400 s later"))
    });
    rows.passes(FIELD, "M12.new_connection", "a new connection has a new budget", || {
        let mut stage = budget_box()?.stage()?;
        count(&mut stage, &mut Tcp::new(40_000), &hello(HARMLESS), 40);
        let passed = count(&mut stage, &mut Tcp::new(40_001), &hello(HARMLESS), 25);
        Ok(Observed::new(passed == 25, format!("{passed} passed")))
    });
    freeze_scope(rows);
}

fn freeze_scope(rows: &mut Rows) {
    for (id, port) in [("80", 80), ("5555", 5_555), ("8443", 8_443)] {
        rows.fails(FIELD, &format!("M12.port_{id}"), &format!("the 26th packet on port {port}"), move || {
            let mut tcp = Tcp::new(40_000).port(port);
            let passed = count(&mut budget_box()?.stage()?, &mut tcp, &hello(HARMLESS), 26);
            Ok(Observed::new(passed == 26, format!("{passed} passed")))
        });
    }
    rows.fails(FIELD, "M12.raw_tcp", "the 26th packet of a connection that is no TLS", || {
        let passed = count(&mut budget_box()?.stage()?, &mut Tcp::new(40_000), &[0x55; 300], 26);
        Ok(Observed::new(passed == 26, format!("{passed} passed")))
    });
    rows.fails(FIELD, "M12.udp", "the 40th datagram of a UDP flow", || {
        let mut stage = budget_box()?.stage()?;
        let udp = Udp::new(50_000).port(4_433);
        let mut all = true;
        for _ in 0..20 {
            all &= udp.up(&mut stage, &[1; 80]).passed() & udp.down(&mut stage, &[2; 80]).passed();
        }
        Ok(Observed::new(all, "40 datagrams"))
    });
    rows.holds(FIELD, "M12.silent", "the freeze is silent, both ways, without RST", || {
        let mut stage = budget_box()?.stage()?;
        let mut tcp = Tcp::new(40_000);
        count(&mut stage, &mut tcp, &hello(HARMLESS), 40);
        let (up, down) = (tcp.up(&mut stage, &[1; 9]), tcp.down(&mut stage, &[1; 9]));
        let silent = up.dropped() && down.dropped() && stage.sent.is_empty();
        Ok(Observed::new(silent, format!("up {up:?}, down {down:?}")))
    });
    rows.unknown(FIELD, "M12.payload_only", "whether packets without payload count");
    rows.unknown(
        Said { source: source::CLOUDFLARE, tag: 'O', ..FIELD },
        "M12.injected",
        "injected packets that end the connection, which the operator saw and field reports do not",
    );
}

fn exempt(rows: &mut Rows) {
    rows.passes(FIELD, "M12.russian", "a connection to a network that is not listed, 200 packets", || {
        let mut tcp = Tcp::new(40_000).to(ELSEWHERE);
        let passed = count(&mut budget_box()?.stage()?, &mut tcp, &hello(HARMLESS), 200);
        Ok(Observed::new(passed == 200, format!("{passed} passed")))
    });
    rows.passes(FIELD, "M12.exempt_name", "an exempt name, 200 packets", || {
        let passed = count(&mut budget_box()?.stage()?, &mut Tcp::new(40_000), &hello(FREE), 200);
        Ok(Observed::new(passed == 200, format!("{passed} passed")))
    });
    rows.passes(FIELD, "M12.exempt_network", "an exempt network, 200 packets", || {
        let mut tcp = Tcp::new(40_000).to(EXEMPT);
        let passed = count(&mut budget_box()?.stage()?, &mut tcp, &hello(HARMLESS), 200);
        Ok(Observed::new(passed == 200, format!("{passed} passed")))
    });
    for port in [22_u16, 443] {
        let what = format!("SSH on port {port}, 200 packets (recognised by protocol, not by port)");
        rows.passes(FIELD, &format!("M12.ssh_{port}"), &what, move || {
            let mut stage = budget_box()?.stage()?;
            let mut tcp = Tcp::new(40_000).port(port);
            tcp.open(&mut stage);
            let banner = |software| Banner { version: "2.0", software, comment: "", size: 0 }.emit();
            let mut all = tcp.down(&mut stage, &banner("OpenSSH_9.6")).passed();
            all &= tcp.up(&mut stage, &banner("OpenSSH_9.7")).passed();
            for _ in 0..100 {
                all &= tcp.up(&mut stage, &[5; 90]).passed() & tcp.down(&mut stage, &[6; 900]).passed();
            }
            Ok(Observed::new(all, "200 packets after the banners"))
        });
    }
    rows.fails(FIELD, "M12.name_near_miss", "a name beside an exempt one, 26 packets", || {
        let passed =
            count(&mut budget_box()?.stage()?, &mut Tcp::new(40_000), &hello("www.exempt.example.org"), 26);
        Ok(Observed::new(passed == 26, format!("{passed} passed")))
    });
    for (id, day, there) in [("2025-06-08", "2025-06-08", false), ("2025-06-10", "2025-06-10", true)] {
        let what = format!("the freeze of 9 Jun 2025 is in force on {id}: {there}");
        rows.holds(
            Said { source: source::CLOUDFLARE, tag: 'O', ..FIELD },
            &format!("M12.date.{id}"),
            &what,
            move || {
                let trial = Trial::new(&format!("{P}@{day}"))?;
                let has = trial.profile().rules.iter().any(|rule| rule.technique == "packet_budget");
                Ok(Observed::new(has == there, format!("in force: {has}")))
            },
        );
    }
}

/// Bytes that came down in segments of `size` before the freeze, under the byte alternative.
fn bytes_down(size: usize) -> Result<u64, String> {
    let base = budget_box()?;
    let rule = base.profile().rules.first().ok_or("no rule")?.id.clone();
    // The alternative that counts bytes takes the place of the one that counts packets.
    let trial = base.set(&format!("{rule}.packets=0"))?.set(&format!("{rule}.bytes_down=16384"))?;
    let mut stage = trial.stage()?;
    let mut tcp = Tcp::new(40_000);
    tcp.open(&mut stage);
    tcp.up(&mut stage, &hello(HARMLESS));
    let mut passed = 0;
    while passed < 200_000 && tcp.down(&mut stage, &vec![0x17; size]).passed() {
        passed += size as u64;
    }
    Ok(passed)
}

fn bytes(rows: &mut Rows) {
    let said = Said { source: source::CLOUDFLARE, tag: 'O', confidence: "medium", profile: P };
    for size in [1_400_usize, 100] {
        let what = format!("alternative: 16,384 bytes come down in segments of {size} bytes, no more");
        rows.holds(said, &format!("M12.bytes.{size}"), &what, move || {
            let passed = bytes_down(size)?;
            let most = 16_384 / size as u64 * size as u64;
            Ok(Observed::new(passed == most || passed == most + size as u64, format!("{passed} bytes")))
        });
    }
}

/// Handshakes begun `gap` seconds apart with one name; how many came through.
fn handshakes(stage: &mut Stage, first: u16, number: u16, gap: f64, flight: &[u8]) -> u32 {
    let mut through = 0;
    for index in 0..number {
        stage.wait_s((gap - 0.02).max(0.0));
        let tried = exchange(stage, &mut Tcp::new(first + index), flight);
        through += u32::from(tried == Tried::Through);
    }
    through
}

/// The rule of 2025 (twelve connections, 60 s) or of 2026 (three parallel ones, 120 s).
fn count_box(profile: &str) -> Result<Trial, String> {
    let trial = Trial::new(profile)?.only(&["connection_count"])?;
    Ok(trial.change(|profile| {
        for rule in &mut profile.rules {
            rule.off = false;
        }
    }))
}

fn first_form(rows: &mut Rows) {
    let said = Said { source: source::N4P_546, tag: 'F', confidence: "medium", profile: "tspu-2025" };
    rows.holds(said, "M13.first.twelve", "12 TLS connections to one server pass, the 13th does not", || {
        let mut stage = count_box("tspu-2025")?.stage()?;
        let passed = handshakes(&mut stage, 40_000, 20, 0.5, &chrome(HARMLESS));
        Ok(Observed::new(passed == 12, format!("{passed} of 20 passed")))
    });
    rows.fails(said, "M13.first.59", "another one 58 s after the freeze began", || {
        recovery("tspu-2025", 16, 58.0, 1)
    });
    rows.passes(said, "M13.first.61", "another one 62 s after the last", || {
        recovery("tspu-2025", 16, 62.0, 1)
    });
    rows.passes(said, "M13.first.nameless", "20 connections without a name", || {
        let mut stage = count_box("tspu-2025")?.stage()?;
        let flight = preset::chrome(4, None, false).emit_record();
        let passed = handshakes(&mut stage, 40_000, 20, 0.5, &flight);
        Ok(Observed::new(passed == 20, format!("{passed} of 20 passed")))
    });
    rows.passes(said, "M13.first.other_port", "20 connections to port 8443", || {
        let mut stage = count_box("tspu-2025")?.stage()?;
        let mut passed = 0;
        for index in 0..20 {
            stage.wait_s(0.5);
            let tried = exchange(&mut stage, &mut Tcp::new(40_000 + index).port(8_443), &chrome(HARMLESS));
            passed += u32::from(tried == Tried::Through);
        }
        Ok(Observed::new(passed == 20, format!("{passed} of 20 passed")))
    });
}

/// Chrome's hello without post-quantum shares: one segment.
fn chrome(name: &str) -> Vec<u8> {
    preset::chrome(4, Some(name), false).emit_record()
}

/// After so many handshakes set the freeze off and a pause, another one.
fn recovery(profile: &str, number: u16, pause: f64, from: u16) -> Answer {
    let mut stage = count_box(profile)?.stage()?;
    handshakes(&mut stage, 40_000, number, if from == 1 { 0.05 } else { 0.1 }, &chrome(HARMLESS));
    let began = stage.acts.iter().map(|act| act.at).max().ok_or("no freeze was set off")?;
    let gone = stage.now.since(began).as_secs_f64();
    stage.wait_s(pause - gone);
    Ok(through(exchange(&mut stage, &mut Tcp::new(50_000), &chrome(HARMLESS))))
}

fn second_form(rows: &mut Rows) {
    let said = Said { source: source::N4P_546, tag: 'F', confidence: "medium", profile: "tspu-2026" };
    let burst = |number: u16, gap: f64, flight: Vec<u8>, ip: &'static str| -> Answer {
        let mut stage = count_box("tspu-2026")?.stage()?;
        let mut passed = 0;
        for index in 0..number {
            stage.wait_s((gap - 0.02).max(0.0));
            let tried = exchange(&mut stage, &mut Tcp::new(40_000 + index).to(ip), &flight);
            passed += u32::from(tried == Tried::Through);
        }
        Ok(Observed::new(passed == u32::from(number), format!("{passed} of {number} passed")))
    };
    let listed = crate::fidelity::stage::OUTSIDE;
    rows.passes(said, "M13.second.three", "3 handshakes 100 ms apart", move || {
        burst(3, 0.1, chrome(HARMLESS), listed)
    });
    rows.fails(said, "M13.second.four", "4 handshakes 100 ms apart", move || {
        burst(4, 0.1, chrome(HARMLESS), listed)
    });
    rows.fails(said, "M13.second.350_ms", "5 handshakes 345 ms apart", move || {
        burst(5, 0.345, chrome(HARMLESS), listed)
    });
    rows.passes(said, "M13.second.450_ms", "8 handshakes 450 ms apart", move || {
        burst(8, 0.45, chrome(HARMLESS), listed)
    });
    rows.passes(
        said,
        "M13.second.other_network",
        "8 handshakes 100 ms apart to another network",
        move || burst(8, 0.1, chrome(HARMLESS), ELSEWHERE),
    );
    rows.passes(said, "M13.second.other_fingerprint", "8 handshakes with another fingerprint", move || {
        burst(8, 0.1, preset::firefox(4, Some(HARMLESS), false).emit_record(), listed)
    });
    rows.passes(said, "M13.second.nameless", "8 handshakes without a name", move || {
        burst(8, 0.1, preset::chrome(4, None, false).emit_record(), listed)
    });
    rows.passes(
        Said { source: source::CHECKERS, tag: 'C', ..said },
        "M13.second.other_name",
        "4 handshakes with one name, then one with another (the probe of dpi-checkers)",
        || {
            let mut stage = count_box("tspu-2026")?.stage()?;
            handshakes(&mut stage, 40_000, 5, 0.1, &chrome("alpha.example"));
            Ok(through(exchange(&mut stage, &mut Tcp::new(50_000), &chrome("beta.example"))))
        },
    );
    rows.fails(said, "M13.second.116", "another one 116 s after the freeze began", || {
        recovery("tspu-2026", 5, 116.0, 2)
    });
    rows.passes(said, "M13.second.122", "another one 122 s after", || recovery("tspu-2026", 5, 122.0, 2));
}
