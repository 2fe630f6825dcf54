//! `okno lab`: captures and scenarios from the command line.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use okno_wire::tls::preset;
use serde_json::Value;

use crate::binary::Folder;

const ME: [u8; 4] = [192, 168, 7, 9];
const SITE: [u8; 4] = [203, 0, 113, 5];

fn ip(from: [u8; 4], to: [u8; 4], protocol: u8, rest: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + rest.len()).unwrap().to_be_bytes();
    [&[0x45, 0][..], &total, &[0, 1, 0, 0, 64, protocol, 0, 0], &from, &to, rest].concat()
}

fn tcp(from: u16, to: u16, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let head = [&from.to_be_bytes()[..], &to.to_be_bytes(), &seq.to_be_bytes(), &ack.to_be_bytes()].concat();
    [&head[..], &[0x50, flags, 1, 0, 0, 0, 0, 0], payload].concat()
}

/// A visit: handshake, hello with this name, an answer.
fn visit(port: u16, name: &str) -> Vec<Vec<u8>> {
    let hello = preset::chrome(1, Some(name), false).emit_record();
    let after = 10 + u32::try_from(hello.len()).unwrap();
    vec![
        ip(ME, SITE, 6, &tcp(port, 443, 9, 0, 2, b"")),
        ip(SITE, ME, 6, &tcp(443, port, 99, 10, 18, b"")),
        ip(ME, SITE, 6, &tcp(port, 443, 10, 100, 16, b"")),
        ip(ME, SITE, 6, &tcp(port, 443, 10, 100, 24, &hello)),
        ip(SITE, ME, 6, &tcp(443, port, 100, after, 24, &[0x16, 3, 3, 0, 2, 2, 0])),
        ip(SITE, ME, 6, &tcp(443, port, 107, after, 24, &[0x17, 3, 3, 0, 1, 0])),
    ]
}

fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file =
        [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0].to_vec();
    for (at, packet) in packets.iter().enumerate() {
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        let seconds = (1_650_000_000 + u32::try_from(at / 6).unwrap()).to_le_bytes();
        let micros = u32::try_from(at * 1_000).unwrap().to_le_bytes();
        file.extend([&seconds[..], &micros, &length, &length, packet].concat());
    }
    file
}

/// A folder with a capture of two visits and a list that has one of the names.
fn captured(name: &str) -> Folder {
    let folder = Folder::new(name);
    let packets = [visit(5000, "www.listed.example"), visit(5001, "www.other.example")].concat();
    folder.write("two.pcap", &pcap(&packets));
    folder.write("names.txt", b"*.listed.example\nlisted.example\n");
    folder
}

const REPLAY: [&str; 7] =
    ["lab", "replay", "two.pcap", "--profile", "tspu-2022@2022-04-01", "--list", "sni.blocked=names.txt"];

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_replay_says_which_rule_would_have_acted_at_which_packet_and_why() {
    let folder = captured("lab-replay");
    let text = folder.okno(&REPLAY).good().out;
    assert!(text.contains("www.listed.example") && text.contains("#4"), "{text}");
    assert!(text.contains("would have acted on 1 of 2 flows"), "{text}");
    let lines = json_lines(&folder.okno(&[&REPLAY[..], &["--json"]].concat()).good().out);
    let [first, second, total] = &lines[..] else { panic!("{lines:?}") };
    let (hit, miss) = if first["would"][0].is_null() { (second, first) } else { (first, second) };
    assert_eq!(hit["recognised"]["protocol"], "tls");
    assert_eq!(hit["recognised"]["name"], "www.listed.example");
    assert_eq!(hit["would"][0]["capture_packet"], 4);
    assert_eq!(hit["would"][0]["mechanism"], "tls.reset.sni");
    assert_eq!((&miss["would"], &miss["opened_by"]), (&serde_json::json!([]), &Value::from("subscriber")));
    assert_eq!((&total["summary"]["packets"], &total["summary"]["flows"]), (&12.into(), &2.into()));
    for run in [&text, &format!("{lines:?}")] {
        assert!(!run.contains("192.168.7.9"), "the subscriber's address is shown");
    }
}

#[test]
fn sql_reads_the_flows_and_the_same_replay_replaces_its_own() {
    let folder = captured("lab-sql");
    let args = [&REPLAY[..], &["--lake", "lake"]].concat();
    folder.okno(&args).good();
    folder.okno(&args).good();
    folder.okno(&["lab", "replay", "two.pcap", "--profile", "none", "--lake", "lake"]).good();
    let query = "SELECT profile, name, act_number, subscriber FROM flows WHERE rule IS NOT NULL";
    let rows = folder.sql("lake", query);
    let expected = serde_json::json!([{
        "profile": "tspu-2022@2022-04-01", "name": "www.listed.example", "act_number": 4, "subscriber": 1,
    }]);
    assert_eq!(Value::from(rows), expected);
    assert_eq!(folder.count("lake", "SELECT count(*) FROM flows"), 4);
    let bytes: Vec<u8> = folder.lake("lake").into_values().flatten().collect();
    assert!(!bytes.windows(11).any(|window| window == b"192.168.7.9"));
}

#[test]
fn what_cannot_be_used_says_so_with_exit_code_2_and_what_cannot_be_read_with_1() {
    let folder = captured("lab-wrong");
    folder.write("text.pcap", b"no capture at all");
    for (args, words) in [
        (&["lab", "replay", "none.pcap", "--profile", "none"][..], &["none.pcap", "does not exist"][..]),
        (&["lab", "replay", "two.pcap", "--profile", "tspu-2032"], &["tspu-2032"]),
        (
            &["lab", "replay", "two.pcap", "--profile", "none", "--subscriber", "10.0.0.0/99"],
            &["10.0.0.0/99"],
        ),
        (
            &["lab", "replay", "two.pcap", "--profile", "none", "--list", "sni.blocked"],
            &["--list", "NAME=FILE"],
        ),
        (&["lab", "replay", "two.pcap", "--profile", "none", "--set", "x=1"], &["x"]),
        (&["lab", "replay", "two.pcap"], &["--profile"]),
        (&["lab", "explain", "tspu-2032"], &["tspu-2032"]),
        (&["lab", "run", "nowhere"], &["nowhere"]),
    ] {
        let run = folder.okno(args);
        assert_eq!(run.code, Some(2), "{args:?}: {}", run.err);
        assert!(words.iter().all(|word| run.err.contains(word)), "{args:?}: {}", run.err);
    }
    for command in [&["lab", "replay", "text.pcap", "--profile", "none"][..], &["lab", "audit", "text.pcap"]]
    {
        let run = folder.okno(command);
        assert_eq!(run.code, Some(1), "{}", run.err);
        assert!(run.err.contains("neither pcap nor pcapng"), "{}", run.err);
    }
}

#[test]
fn a_capture_that_is_cut_gives_what_stands_before_and_names_the_byte() {
    let folder = captured("lab-cut");
    let whole = std::fs::read(folder.path("two.pcap")).unwrap();
    folder.write("cut.pcap", &whole[..whole.len() - 3]);
    folder.write("cut.pcap.gz", &crate::binary::gzip(&whole[..whole.len() - 3]));
    for name in ["cut.pcap", "cut.pcap.gz"] {
        let run = folder.okno(&["lab", "replay", name, "--profile", "none", "--json"]).good();
        let total = json_lines(&run.out).pop().unwrap();
        assert_eq!(total["summary"]["packets"], 11);
        let why = total["summary"]["cut_short"][0]["why"].as_str().unwrap();
        assert!(why.contains(&format!("ends at byte {}", whole.len() - 3)), "{why}");
    }
}

#[test]
fn an_audit_tells_names_and_software_and_hides_who_asked() {
    let folder = captured("lab-audit");
    let text = folder.okno(&["lab", "audit", "two.pcap"]).good().out;
    assert!(text.contains("server names in TLS hellos: 2, 2 different"), "{text}");
    assert!(text.contains("www.other.example (1)") && !text.contains("192.168.7.9"), "{text}");
    let run = folder.okno(&["lab", "audit", "two.pcap", "--json"]).good();
    let json: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(json["learned"]["tls_name"]["different"], 2);
    assert_eq!(json["protocols"]["tls"]["names"], 2);
    assert!(!run.out.contains("192.168.7.9"));
}

#[test]
fn profiles_are_listed_and_explained_with_their_sources() {
    let folder = Folder::new("lab-explain");
    let list = folder.okno(&["lab", "explain"]).good().out;
    for name in ["none", "tspu-2021", "tspu-2026", "china-gfw", "iran"] {
        assert!(list.contains(name), "{list}");
        let text = folder.okno(&["lab", "explain", name]).good().out;
        assert!(name == "none" || text.contains("https://"), "{name}: {text}");
        let json = folder.okno(&["lab", "explain", name, "--json"]).good().out;
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["name"], name);
    }
}

/// The guide's scenario.
fn guide() -> &'static str {
    let text = include_str!("../../../../docs/lab.md");
    let after = text.split_once("## Write your own scenario").unwrap().1;
    after.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0
}

#[test]
fn a_scenario_gives_the_same_trace_and_truth_on_one_thread_and_on_two() {
    let folder = Folder::new("lab-run");
    folder.write("mine/scenario.toml", guide().as_bytes());
    let run = |threads: &str| {
        let (trace, truth) = (format!("{threads}.pcapng"), format!("{threads}.jsonl"));
        let args = ["lab", "run", "mine", "--threads", threads, "--trace", &trace, "--truth", &truth];
        let out = folder.okno(&[&args[..], &["--lake", "lake"]].concat()).good().out;
        let read = |name: &str| std::fs::read(folder.path(name)).unwrap();
        (out, read(&trace), read(&truth))
    };
    let (one, two) = (run("1"), run("2"));
    assert_eq!(one, two);
    assert!(one.0.contains("mine") && !one.2.is_empty(), "{}", one.0);
    assert_eq!(folder.count("lake", "SELECT count(*) FROM truth WHERE class = 'fault'"), 1);
    assert!(folder.count("lake", "SELECT count(*) FROM outcomes") > 20);
    let replayed = folder.okno(&["lab", "replay", "1.pcapng", "--profile", "none", "--json"]).good().out;
    let total = json_lines(&replayed).pop().unwrap();
    assert!(total["summary"]["protocols"]["tls"]["flows"].as_u64() > Some(10), "{total}");
    assert_eq!(total["summary"]["cut_short"], serde_json::json!([]));
}

#[test]
fn wireshark_opens_the_trace_and_reads_the_same_names() {
    if !Command::new("tshark").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no tshark");
        return;
    }
    let folder = Folder::new("lab-wireshark");
    folder.write("mine/scenario.toml", guide().as_bytes());
    folder.okno(&["lab", "run", "mine", "--trace", "trace.pcapng"]).good();
    let tshark = |args: &[&str]| -> Vec<String> {
        let mut command = Command::new("tshark");
        let output = command.args(["-n", "-r", "trace.pcapng"]).args(args).current_dir(folder.path("."));
        let output = output.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    };
    let replayed = folder.okno(&["lab", "replay", "trace.pcapng", "--profile", "none", "--json"]).good().out;
    let mut lines = json_lines(&replayed);
    let total = lines.pop().unwrap();
    let frames = tshark(&["-T", "fields", "-e", "frame.number"]);
    assert_eq!(total["summary"]["packets"].as_u64(), Some(frames.len() as u64));
    let name = "tls.handshake.extensions_server_name";
    let theirs: BTreeSet<String> =
        tshark(&["-Y", &format!("tcp && {name}"), "-T", "fields", "-e", name]).into_iter().collect();
    let tls = lines.iter().filter(|line| line["recognised"]["protocol"] == "tls");
    let ours = tls.map(|line| line["recognised"]["name"].as_str().unwrap().to_owned());
    assert_eq!(ours.filter(|name| !name.is_empty()).collect::<BTreeSet<_>>(), theirs);
    assert!(!theirs.is_empty());
    assert!(tshark(&["-Y", "frame.comment", "-T", "fields", "-e", "frame.comment"]).len() > 1);
}

#[test]
fn a_mistake_in_a_scenario_names_file_line_and_fix() {
    let folder = Folder::new("lab-mistake");
    let line = 1 + guide().lines().position(|line| line.starts_with("hosting")).unwrap();
    folder.write("mine/scenario.toml", guide().replace("hosting = ", "hostin = ").as_bytes());
    let run = folder.okno(&["lab", "run", "mine"]);
    assert_eq!(run.code, Some(2));
    assert!(
        run.err.contains(&format!("mine/scenario.toml:{line}")) && run.err.contains("hosting"),
        "{}",
        run.err
    );
    assert!(!Path::new(&folder.path("okno-data")).exists());
}

#[test]
fn the_matrix_tells_what_survives_and_where_the_record_agrees() {
    let folder = Folder::new("lab-matrix");
    let text = folder.okno(&["lab", "matrix"]).good().out;
    assert!(text.contains("as recorded (=)") && text.contains("Protocols by profile"), "{text}");
    let json: Value = serde_json::from_str(&folder.okno(&["lab", "matrix", "--json"]).good().out).unwrap();
    assert!(json["evasions"]["cells"].as_array().unwrap().len() > 100);
}

#[test]
fn the_fidelity_suite_prints_its_totals_and_fails_when_a_row_does() {
    let folder = Folder::new("lab-fidelity");
    let run = folder.okno(&["lab", "fidelity", "--json"]);
    let report: Value = serde_json::from_str(&run.out).unwrap();
    let count = |key: &str| report[key].as_u64().unwrap();
    assert!(count("passed") >= 150, "{} passed", count("passed"));
    assert_eq!(run.code, Some(i32::from(count("failed") > 0)));
    assert_eq!(
        report["rows"].as_array().unwrap().len() as u64,
        count("passed") + count("failed") + count("unknown")
    );
}
