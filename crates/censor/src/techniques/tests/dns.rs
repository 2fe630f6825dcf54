//! Forged answers, refusals, turned queries.

use okno_wire::dns::{self, MessageView, kind, rcode};
use okno_wire::{PacketView, build};

use super::bench::{Bench, Line, ip};
use crate::middlebox::{Direction, Verdict};

fn query(name: &str, kind: u16) -> Vec<u8> {
    dns::query(0x1234, name, kind).emit()
}

/// Sends a query; whether it went on, and the forged answers that came back.
fn ask(bench: &mut Bench, to: &str, name: &str, kind: u16) -> (bool, Vec<Vec<u8>>) {
    let line = Line::to(to, 53);
    let on = bench.passes(Direction::Up, &line.udp(Direction::Up, &query(name, kind)));
    let answers = bench.injected().into_iter().map(|injection| {
        assert_eq!(injection.direction, Direction::Down);
        let view = PacketView::parse(&injection.packet).unwrap();
        assert_eq!((view.source, view.ports().0), (ip(to), 53), "it seems to come from the one asked");
        view.payload().to_vec()
    });
    (on, answers.collect())
}

#[test]
fn a_national_resolver_denies_removed_names_and_no_others() {
    let mut bench = Bench::of("ru-dns-2026", "nsdi-nxdomain");
    let (on, answers) = ask(&mut bench, "195.208.4.1", "www.youtube.com", kind::A);
    let answer = MessageView::parse(&answers[0]).unwrap();
    assert!(!on, "the answer stands in the resolver's place");
    assert_eq!((answer.id, answer.rcode(), answer.is_response()), (0x1234, rcode::NXDOMAIN, true));
    assert_eq!(answer.question().unwrap().name.to_text(), "www.youtube.com");
    assert_eq!(ask(&mut bench, "195.208.4.1", "ya.ru", kind::A), (true, Vec::new()));
    assert_eq!(
        ask(&mut bench, "77.88.8.8", "www.youtube.com", kind::A),
        (true, Vec::new()),
        "another resolver"
    );
}

#[test]
fn queries_over_udp_are_turned_and_tcp_is_untouched() {
    let mut bench = Bench::of("ru-dns-2026", "dnat");
    let line = Line::to("8.8.8.8", 53);
    let asked = line.udp(Direction::Up, &query("whoami.akamai.net", kind::A));
    let Verdict::Rewrite(packet) = bench.send(Direction::Up, &asked) else { panic!("not turned") };
    let to = PacketView::parse(&packet).unwrap().destination;
    assert!([ip("195.208.4.1"), ip("195.208.5.1")].contains(&to), "{to}");
    let answer = build::udp(&build::IpRepr::new(to, line.inside), 53, line.ports.0, b"answer");
    let Verdict::Rewrite(packet) = bench.send(Direction::Down, &answer) else { panic!("not turned back") };
    assert_eq!(PacketView::parse(&packet).unwrap().source, ip("8.8.8.8"), "the client sees the one it asked");
    let mut tcp = Line::to("8.8.8.8", 53).with_port(9);
    bench.open(&mut tcp);
    assert!(bench.up(&mut tcp, &dns::tcp_framed(&query("a.ua", kind::A))));
    assert!(bench.passes(Direction::Up, &Line::to("8.8.8.8", 5353).udp(Direction::Up, b"x")), "another port");
    assert!(
        bench.passes(Direction::Up, &Line::to("9.9.9.9", 53).udp(Direction::Up, &query("a.ua", kind::A)))
    );
}

#[test]
fn chinas_forged_answers_race_the_real_one_and_fit_the_query_type() {
    let mut bench = Bench::of("china-gfw", "dns");
    let (on, answers) = ask(&mut bench, "8.8.8.8", "www.google.com", kind::A);
    assert!(on && answers.len() == 2, "the query goes on, {} answers", answers.len());
    for answer in &answers {
        let addresses: Vec<_> = MessageView::parse(answer).unwrap().addresses().collect();
        assert!(addresses.len() == 1 && addresses[0].is_ipv4(), "{addresses:?}");
    }
    let (_, answers) = ask(&mut bench, "8.8.8.8", "www.google.com", kind::AAAA);
    assert_eq!(MessageView::parse(&answers[0]).unwrap().addresses().collect::<Vec<_>>(), [ip("2001::1")]);
    assert!(ask(&mut bench, "8.8.8.8", "example.org", kind::A).1.is_empty());
    assert!(ask(&mut bench, "8.8.8.8", "notgoogle.com", kind::A).1.is_empty());
}

#[test]
fn iran_and_turkmenistan_answer_with_addresses_of_no_use() {
    let answer = |profile: &str, name: &str| {
        let (_, answers) = ask(&mut Bench::of(profile, "dns"), "8.8.8.8", name, kind::A);
        MessageView::parse(answers.first()?).unwrap().addresses().next().map(|ip| ip.to_string())
    };
    assert!(answer("iran", "www.facebook.com").is_some_and(|ip| ip.starts_with("10.10.34.")));
    assert_eq!(answer("turkmenistan", "facebook.com").as_deref(), Some("127.0.0.1"));
    assert_eq!(answer("turkmenistan", "example.org"), None);
}

#[test]
fn a_resolver_of_an_operator_answers_with_its_block_page() {
    let mut bench = Bench::of("ru-legacy-isp", "dns-stub");
    let (on, answers) = ask(&mut bench, "203.0.113.53", "rutracker.org", kind::A);
    let stub = MessageView::parse(&answers[0]).unwrap().addresses().next().unwrap().to_string();
    assert!(
        !on && ["195.19.90.226", "95.167.13.51", "188.19.132.154", "62.33.207.196", "62.33.207.197"]
            .contains(&stub.as_str())
    );
    assert_eq!(ask(&mut bench, "203.0.113.53", "example.org", kind::A), (true, Vec::new()));
}
