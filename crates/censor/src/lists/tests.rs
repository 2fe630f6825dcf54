//! What the lists hold and what they do not.

use super::*;

fn names(entries: &[&str]) -> Names {
    match List::read(Kind::Names, entries).expect("entries that fit") {
        List::Names(names) => *names,
        _ => unreachable!("a list of names"),
    }
}

fn networks(entries: &[&str]) -> Networks {
    match List::read(Kind::Networks, entries).expect("entries that fit") {
        List::Networks(networks) => networks,
        _ => unreachable!("a list of networks"),
    }
}

#[test]
fn each_pattern_of_names_holds_for_what_it_says_and_no_more() {
    let table = [
        ("example.com", "example.com", true),
        ("example.com", "www.example.com", false),
        ("*.example.com", "example.com", false),
        ("*.example.com", "a.b.example.com", true),
        ("*.example.com", "notexample.com", false),
        (".example.com", "example.com", true),
        (".example.com", "a.example.com", true),
        (".example.com", "notexample.com", false),
        ("*t.co*", "example.com", false),
        ("*t.co*", "reddit.com", true),
        ("*t.co*", "microsoft.com", true),
        ("*twitter.com", "nottwitter.com", true),
        ("*twitter.com", "twitter.com.", false),
        ("*.twimg.com", "abs.twimg.com.", false),
    ];
    for (entry, name, holds) in table {
        assert_eq!(names(&[entry]).matched(name).is_some(), holds, "{entry} on {name}");
    }
    assert_eq!(names(&["*a*"]).matched(""), None);
}

#[test]
fn an_entry_that_could_hold_for_no_name_is_refused() {
    let odd =
        ["*", "**", ".", "*.", "a*", "a*b", "..a.test", "*..a.test", ".a.test*", "a b", "a\0b", "пример.рф"];
    let longer = "a".repeat(254);
    let foreign = ["https://a.test/", "||a.test^", "a.test;b", "0.0.0.0 a.test", longer.as_str()];
    for entry in odd.iter().chain(&foreign) {
        assert!(List::read(Kind::Names, &[entry]).is_err(), "{entry:?}");
    }
    assert!(names(&["xn--e1afmkfd.xn--p1ai"]).matched("xn--e1afmkfd.xn--p1ai").is_some());
}

#[test]
fn a_file_that_an_editor_began_with_a_mark_and_ends_lines_its_own_way_reads_as_any() {
    let mut lists = Lists::default();
    lists.insert("mine", Kind::Names, &[], "").expect("an empty list");
    let text = "\u{feff}a.test\r\n# nothing\r\n\r\n.b.test # both\r\n";
    lists.read_lines("mine", "mine.txt", text, &Lists::default()).expect("two names");
    let Some(List::Names(names)) = lists.find("mine").map(|list| &**list) else { panic!("a list of names") };
    assert_eq!((names.matched("a.test"), names.matched("x.b.test")), (Some("a.test"), Some(".b.test")));
}

#[test]
fn a_name_of_many_labels_costs_no_more_than_its_end() {
    let list = names(&[".blocked.test"]);
    let long = format!("{}blocked.test", "a.".repeat(30_000));
    assert!((0..200).all(|_| list.matched(&long).is_some()));
    assert_eq!(list.matched(&format!("{}free.test", "a.".repeat(30_000))), None);
}

#[test]
fn a_match_names_the_entry_that_decided() {
    let names = names(&["a.test", "*.B.test", "*part*"]);
    assert_eq!(names.matched("x.b.test"), Some("*.b.test"));
    assert_eq!(names.matched("xpartx"), Some("*part*"));
}

#[test]
fn networks_hold_their_first_and_last_address_and_not_the_next() {
    let networks = networks(&["192.0.2.0/25", "198.51.100.7", "203.0.113.5-203.0.113.9", "2001:db8::/33"]);
    let table = [
        ("192.0.2.0", true),
        ("192.0.2.127", true),
        ("192.0.2.128", false),
        ("192.0.1.255", false),
        ("198.51.100.7", true),
        ("198.51.100.8", false),
        ("203.0.113.4", false),
        ("203.0.113.9", true),
        ("203.0.113.10", false),
        ("2001:db8:7fff:ffff::1", true),
        ("2001:db8:8000::", false),
    ];
    for (ip, holds) in table {
        assert_eq!(networks.has(ip.parse().unwrap()), holds, "{ip}");
    }
}

#[test]
fn nested_and_overlapping_networks_hold_their_union() {
    let networks = networks(&[
        "10.0.0.0/8",
        "10.1.0.0/16",
        "9.255.255.0-10.0.0.5",
        "10.255.255.250-11.0.0.5",
        "0.0.0.0/32",
    ]);
    for (ip, holds) in [
        ("9.255.254.255", false),
        ("9.255.255.0", true),
        ("10.0.0.6", true),
        ("10.1.2.3", true),
        ("10.255.255.255", true),
        ("11.0.0.5", true),
        ("11.0.0.6", false),
        ("0.0.0.0", true),
        ("0.0.0.1", false),
    ] {
        assert_eq!(networks.has(ip.parse().unwrap()), holds, "{ip}");
    }
    assert!(self::networks(&["0.0.0.0/0", "::/0"]).has("255.255.255.255".parse().unwrap()));
}

#[test]
fn a_wrong_entry_names_its_line_and_the_fix() {
    let mut lists = Lists::default();
    lists.insert("net", Kind::Networks, &[], "").unwrap();
    let text = "# mine\n192.0.2.0/24\n\n192.0.2.0/33 # too long\n";
    let error = lists.read_lines("net", "mine.txt", text, &Lists::default()).unwrap_err();
    assert_eq!((error.file.as_str(), error.line), ("mine.txt", 4));
    assert!(error.fix.contains("192.0.2.0/24"));
    let error = lists.read_lines("nett", "mine.txt", text, &Lists::default()).unwrap_err();
    assert!(error.fix.contains("did you mean `net`"), "{error}");
}

#[test]
fn ports_and_ends_are_read() {
    let List::Ports(ports) = List::read(Kind::Ports, &["596-599", "1400"]).unwrap() else { unreachable!() };
    assert!(ports.has(596) && ports.has(599) && ports.has(1400) && !ports.has(600) && !ports.has(595));
    assert!(List::read(Kind::Ports, &["599-596"]).is_err());
    assert_eq!(List::read(Kind::Endpoints, &["192.0.2.1:443", "[2001:db8::1]:1"]).unwrap().len(), 2);
    assert!(List::read(Kind::Endpoints, &["192.0.2.1"]).is_err());
}
