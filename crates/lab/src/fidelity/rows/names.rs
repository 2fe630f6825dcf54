//! M21, M22: name resolution and HTTP.

use okno_censor::Direction;
use okno_wire::PacketView;
use okno_wire::dns::{MessageView, query, tcp_framed};

use super::check::only;
use super::{Answer, Rows, Said, source};
use crate::fidelity::Observed;
use crate::fidelity::stage::{BLOCKED, HARMLESS, Seen, Stage, Tcp, Tried, Udp, payload_of};
use crate::fidelity::trial::Trial;

pub(super) fn rows(rows: &mut Rows) {
    redirect(rows);
    removal(rows);
    http(rows);
}

const DNS: Said =
    Said { source: source::N4P_657, tag: 'F', confidence: "medium-high", profile: "ru-dns-2026" };

/// National resolvers (https://github.com/net4people/bbs/issues/657).
const NATIONAL: [&str; 9] = [
    "195.208.6.1",
    "195.208.7.1",
    "195.208.4.1",
    "195.208.5.1",
    "193.232.147.53",
    "193.232.253.53",
    "62.76.76.62",
    "193.232.230.48",
    "193.232.160.49",
];

/// What a query over UDP came to: where it went, or what came back.
enum Resolved {
    Passed,
    Redirected(String),
    Answered(Vec<u8>),
    Nothing,
}

fn ask(stage: &mut Stage, resolver: &str, name: &str) -> Resolved {
    let udp = Udp::new(50_053).port(53).to(resolver);
    let before = stage.sent.len();
    let seen = udp.up(stage, &query(7, name, 1).emit());
    let forged = stage.sent[before..].iter().find(|sent| sent.direction == Direction::Down);
    if let Some(sent) = forged {
        return Resolved::Answered(payload_of(&sent.packet));
    }
    match seen {
        Seen::Passed => Resolved::Passed,
        Seen::Changed(packet) => PacketView::parse(&packet)
            .map_or(Resolved::Nothing, |view| Resolved::Redirected(view.destination.to_string())),
        Seen::Dropped | Seen::Held => Resolved::Nothing,
    }
}

fn shipped() -> Result<Stage, String> {
    Trial::new("ru-dns-2026@2026-09-10")?.stage()
}

/// Whether the answer is NXDOMAIN (RFC 1035 §4.1.1: RCODE 3).
fn is_nxdomain(message: &[u8]) -> bool {
    MessageView::parse(message).is_ok_and(|view| view.flags & 0x000f == 3)
}

fn redirect(rows: &mut Rows) {
    for resolver in ["8.8.8.8", "1.1.1.1"] {
        let what = format!("UDP/53 to {resolver} goes to a national resolver instead");
        rows.holds(DNS, &format!("M21.dnat.{resolver}"), &what, move || {
            let mut stage = shipped()?;
            let (yes, detail) = match ask(&mut stage, resolver, "www.example.org") {
                Resolved::Redirected(to) => (NATIONAL.contains(&to.as_str()), format!("to {to}")),
                Resolved::Answered(message) => {
                    (true, format!("answered at the box, NXDOMAIN {}", is_nxdomain(&message)))
                }
                Resolved::Passed => (false, "it passed".to_owned()),
                Resolved::Nothing => (false, "nothing came".to_owned()),
            };
            Ok(Observed::new(yes, detail))
        });
    }
    rows.holds(
        DNS,
        "M21.dnat.answer_address",
        "the answer comes back from the address that was asked",
        || {
            let mut stage = shipped()?;
            let Resolved::Redirected(to) = ask(&mut stage, "8.8.8.8", "www.example.org") else {
                return Err("no redirection".to_owned());
            };
            let mut back = Udp::new(50_053).port(53).to(&to);
            back.inside.port = 50_053;
            let answer = okno_wire::dns::nxdomain(
                &MessageView::parse(&query(7, "www.example.org", 1).emit())
                    .map_err(|error| error.to_string())?,
            );
            let Seen::Changed(packet) = back.down(&mut stage, &answer.emit()) else {
                return Err("the answer was not rewritten".to_owned());
            };
            let from = PacketView::parse(&packet).map_err(|error| error.to_string())?.source.to_string();
            Ok(Observed::new(from == "8.8.8.8", format!("from {from}")))
        },
    );
    rows.passes(DNS, "M21.tcp_untouched", "TCP/53 to 8.8.8.8", || {
        let mut stage = shipped()?;
        let mut tcp = Tcp::new(40_000).to("8.8.8.8").port(53);
        let open = tcp.open(&mut stage);
        let asked = tcp.up(&mut stage, &tcp_framed(&query(7, "youtube.com", 1).emit()));
        let answered = tcp.down(&mut stage, &[0; 60]);
        Ok(Observed::new(open && asked.passed() && answered.passed(), format!("{asked:?}, {answered:?}")))
    });
    rows.passes(DNS, "M21.other_port", "UDP to 8.8.8.8 port 5353", || {
        let mut stage = shipped()?;
        let seen =
            Udp::new(50_000).port(5_353).to("8.8.8.8").up(&mut stage, &query(7, "youtube.com", 1).emit());
        Ok(Observed::new(seen.passed(), format!("{seen:?}")))
    });
    rows.passes(DNS, "M21.before", "UDP/53 to 8.8.8.8 before 26 Aug 2026", || {
        let mut stage = Trial::new("ru-dns-2026@2026-08-01")?.stage()?;
        Ok(Observed::new(
            matches!(ask(&mut stage, "8.8.8.8", "www.example.org"), Resolved::Passed),
            "1 Aug 2026",
        ))
    });
}

fn removal(rows: &mut Rows) {
    let removed =
        ["youtube.com", "whatsapp.com", "facebook.com", "instagram.com", "bbc.com", "torproject.org"];
    for name in removed {
        let what = format!("{name} at a national resolver: NXDOMAIN");
        rows.holds(DNS, &format!("M21.nxdomain.{name}"), &what, move || resolver_answers(name, true));
    }
    for name in ["ya.ru", "www.example.org"] {
        let what = format!("{name} at a national resolver: no false answer");
        rows.holds(DNS, &format!("M21.control.{name}"), &what, move || resolver_answers(name, false));
    }
    rows.unknown(DNS, "M21.doh_days", "on which days foreign DoH endpoints were blocked in each network");
}

fn resolver_answers(name: &str, removed: bool) -> Answer {
    let mut stage = shipped()?;
    let nxdomain = match ask(&mut stage, "195.208.6.1", name) {
        Resolved::Answered(message) => is_nxdomain(&message),
        _ => false,
    };
    Ok(Observed::new(nxdomain == removed, format!("NXDOMAIN: {nxdomain}")))
}

const HTTP: Said = Said { source: source::NDSS20, tag: 'K', confidence: "high", profile: "ru-legacy-isp" };

fn request(host: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: x\r\n\r\n").into_bytes()
}

/// A box of the legacy kind with the stage's lists.
fn legacy() -> Result<Trial, String> {
    only("ru-legacy-isp", "http_block")
}

/// What requests on one connection came to; true when the last was neither answered falsely nor lost.
fn requests(port: u16, flights: &[Vec<u8>]) -> Result<(bool, Vec<u8>, String), String> {
    let mut stage = legacy()?.stage()?;
    let mut tcp = Tcp::new(40_000).port(port);
    tcp.open(&mut stage);
    let mut last = Tried::Through;
    let mut forged = Vec::new();
    for flight in flights {
        let before = stage.sent.len();
        let passed = tcp.up(&mut stage, flight).passed();
        let down = stage.sent[before..].iter().filter(|sent| sent.direction == Direction::Down);
        forged.extend(down.flat_map(|sent| payload_of(&sent.packet)));
        let answered = tcp.down(&mut stage, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").passed();
        last = match (passed, answered) {
            (true, true) => Tried::Through,
            (false, _) => Tried::HelloDropped,
            (true, false) => Tried::Silent,
        };
    }
    let clean = last == Tried::Through && forged.is_empty();
    let detail = format!("{last:?}, {} forged bytes", forged.len());
    Ok((clean, forged, detail))
}

fn http(rows: &mut Rows) {
    let one = |port: u16, flights: Vec<Vec<u8>>| -> Answer {
        requests(port, &flights).map(|(clean, _, detail)| Observed::new(clean, detail))
    };
    rows.fails(HTTP, "M22.host", "a listed Host as first request", move || one(80, vec![request(BLOCKED)]));
    rows.passes(HTTP, "M22.other_host", "another Host", move || one(80, vec![request(HARMLESS)]));
    rows.passes(HTTP, "M22.second_request", "a listed Host as second request on the connection", move || {
        one(80, vec![request(HARMLESS), request(BLOCKED)])
    });
    rows.passes(HTTP, "M22.coalesced", "a listed Host as second request in the same segment", move || {
        one(80, vec![[request(HARMLESS), request(BLOCKED)].concat()])
    });
    rows.passes(HTTP, "M22.two_segments", "a listed Host split over two segments", move || {
        let bytes = request(BLOCKED);
        one(80, vec![bytes[..25].to_vec(), bytes[25..].to_vec()])
    });
    rows.passes(
        HTTP,
        "M22.port",
        "a listed Host on port 8088 (filters are bound to 80 and 443)",
        move || one(8_088, vec![request(BLOCKED)]),
    );
    rows.holds(HTTP, "M22.redirect", "the answer is a redirect or a block page", move || {
        let (_, forged, detail) = requests(80, &[request(BLOCKED)])?;
        let text = String::from_utf8_lossy(&forged).to_ascii_lowercase();
        let known = text.contains("302") || text.contains("blocked") || text.contains("blocklist.rkn.gov.ru");
        Ok(Observed::new(known, format!("{detail}: {}", text.lines().next().unwrap_or(""))))
    });
    rows.holds(
        Said { source: source::TSPUDOC, tag: 'V', confidence: "medium", ..HTTP },
        "M22.fits_stream",
        "the forged answer carries the numbers the client expects",
        move || {
            let mut stage = legacy()?.stage()?;
            let mut tcp = Tcp::new(40_000).port(80);
            tcp.open(&mut stage);
            let expects = tcp.down;
            tcp.up(&mut stage, &request(BLOCKED));
            let forged =
                stage.sent.iter().find(|sent| sent.direction == Direction::Down).ok_or("nothing came")?;
            let view = PacketView::parse(&forged.packet).map_err(|error| error.to_string())?;
            let head = view.tcp().ok_or("no TCP")?;
            let fits = head.seq() == expects && view.transport_checksum_holds();
            Ok(Observed::new(fits, format!("seq {} where {expects} is expected", head.seq())))
        },
    );
}
