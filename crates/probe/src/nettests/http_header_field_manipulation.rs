//! `http_header_field_manipulation` (ts-006): a request in odd capitals, and how it arrived.
//!
//! Written by hand onto TCP: an HTTP library would put the capitals right. The helper answers with the
//! request line and headers as JSON; a box that reads HTTP puts names in order, adds headers or answers
//! itself.

use core::time::Duration;
use std::collections::BTreeMap;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use okno_model::Failure;
use okno_wire::http::ResponseView;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{backend, redact};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Dial, Endpoint, NetErrorKind, Task, World, below, within};
use crate::tcp;
use crate::trace::{Headers, HttpRecord, Scope, Trace};

/// The test and whom it asks.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct HttpHeaderFieldManipulation {
    /// a server that returns headers, `192.0.2.1:80`; without it port 80 of the session's helper
    pub backend: Option<String>,
}

/// Most time for the exchange (probe-cli `hhfm.go`).
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const MAX_ANSWER: usize = 1 << 19;
/// The method, with the capitals of ts-006.
const METHOD: &str = "GeT";

static MANUAL: Manual = Manual {
    title: "whether a box on the path rewrites HTTP headers",
    trigger: "one HTTP request on port 80 whose method and header names have random capitals",
    control: "what was sent: the helper returns the request line and headers as it got them",
    logic: "each kind of difference has its key: request line, number of headers, capitals of names, values; \
            `total` when no proper answer came",
    blind: "a box that leaves headers alone, or acts on port 443, is not seen; `total` is also set by a helper \
            that is down or a bad network; a proxy does no censorship by itself",
    bytes: 3_000,
    seconds: 45,
    risk: Risk::Low,
    risk_note: "one odd request to a server of the observatory; logs of a proxy may show it",
    source: "OONI ts-006 \
             (https://github.com/ooni/spec/blob/master/nettests/ts-006-header-field-manipulation.md)",
};

/// A browser of the list in ts-006.
const USER_AGENT: &str =
    "Mozilla/5.0 (Windows; U; Windows NT 6.1; en-US; rv:1.9.2) Gecko/20100115 Firefox/3.6";

fn odd_capitals(world: &World, name: &str) -> String {
    let flip =
        |c: char| if below(&**world, 2) == 0 { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    name.chars().map(flip).collect()
}

/// The headers of ts-006, in random capitals.
fn headers(world: &World) -> Vec<(String, String)> {
    let letter = |_| {
        let number = below(&**world, 52) as u8;
        char::from(if number < 26 { b'A' + number } else { b'a' + number - 26 })
    };
    let host: String = (0..15).map(letter).collect();
    let plain = [
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8".to_owned()),
        ("Accept-Charset", "ISO-8859-1,utf-8;q=0.7,*;q=0.3".to_owned()),
        ("Accept-Encoding", "gzip,deflate,sdch".to_owned()),
        ("Accept-Language", "en-US,en;q=0.8".to_owned()),
        ("Host", format!("{host}.com")),
        ("User-Agent", USER_AGENT.to_owned()),
    ];
    plain.into_iter().map(|(name, value)| (odd_capitals(world, name), value)).collect()
}

/// The helper's answer: the request as it came.
#[derive(Debug, Deserialize)]
struct Echoed {
    headers_dict: BTreeMap<String, Vec<String>>,
    request_line: String,
}

/// The flags of ts-006.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tampering {
    header_field_number: bool,
    header_field_value: bool,
    header_name_capitalization: bool,
    header_name_diff: Vec<String>,
    request_line_capitalization: bool,
    total: bool,
}

impl Tampering {
    fn between(sent: &[(String, String)], echoed: &Echoed) -> Self {
        let mut tampering = Self {
            request_line_capitalization: echoed.request_line != format!("{METHOD} / HTTP/1.1"),
            header_field_number: sent.len() != echoed.headers_dict.len(),
            ..Self::default()
        };
        for (name, value) in sent {
            // Names are compared where both sides have them; a missing one shows in the number.
            let found = echoed.headers_dict.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            let Some((other, values)) = found else { continue };
            if other != name {
                tampering.header_name_capitalization = true;
                tampering.header_name_diff.extend([name.clone(), other.clone()]);
            }
            tampering.header_field_value |= values.as_slice() != core::slice::from_ref(value);
        }
        tampering
    }

    fn write(&self) -> Value {
        json!({
            // Never true since the Python probe: kept, as OONI keeps it.
            "header_field_name": false,
            "header_field_number": self.header_field_number,
            "header_field_value": self.header_field_value,
            "header_name_capitalization": self.header_name_capitalization,
            "header_name_diff": self.header_name_diff,
            "request_line_capitalization": self.request_line_capitalization,
            "total": self.total,
        })
    }
}

/// A whole response.
struct Answer {
    status: u16,
    headers: Headers,
    body: Vec<u8>,
}

/// A body in chunks (RFC 9112 §7.1); `None` while it is not whole.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let size = core::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// The response in these bytes, when it is whole; at the `end` of the stream what has come counts.
fn answer(bytes: &[u8], end: bool) -> Option<Answer> {
    let view = ResponseView::parse(bytes).ok().filter(|view| view.complete)?;
    let rest = &bytes[view.head_len..];
    let number = |name: &str| {
        let value = core::str::from_utf8(view.header(name)?.value).ok()?;
        value.trim().parse::<usize>().ok()
    };
    let is_chunked = view
        .header("transfer-encoding")
        .is_some_and(|header| header.value.to_ascii_lowercase().ends_with(b"chunked"));
    let body = if is_chunked {
        unchunk(rest)
    } else {
        number("content-length").and_then(|len| rest.get(..len)).map(<[u8]>::to_vec)
    };
    let body = body.or_else(|| end.then(|| rest.to_vec()))?;
    let headers = view
        .headers()
        .map(|header| (String::from_utf8_lossy(header.name).into_owned(), header.value.to_vec()))
        .collect();
    Some(Answer { status: view.status, headers, body })
}

/// Sends the request and reads the response.
async fn exchange(scope: &Scope, remote: Endpoint, request: &[u8]) -> Result<Answer, Failure> {
    let mut flow = tcp::connect(scope, Dial::to(remote)).await?;
    let work = async {
        flow.write_all(request).await?;
        flow.flush().await?;
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4_096]);
        loop {
            let taken = flow.read(&mut chunk).await?;
            bytes.extend_from_slice(&chunk[..taken]);
            if let Some(answer) = answer(&bytes, taken == 0) {
                return Ok(answer);
            }
            if taken == 0 || bytes.len() > MAX_ANSWER {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
            }
        }
    };
    let done = within(&*scope.world, PATIENCE, work).await.ok_or(Failure::GenericTimeout)?;
    done.map_err(|error| NetErrorKind::of(&error).failure())
}

/// What the answer says: the failure of the test, and the flags.
fn judge(sent: &[(String, String)], answer: &Result<Answer, Failure>) -> (Option<Failure>, Tampering) {
    let total = |failure| (Some(failure), Tampering { total: true, ..Tampering::default() });
    match answer {
        Err(failure) => total(*failure),
        Ok(answer) if answer.status != 200 => total(Failure::HttpRequestFailed),
        Ok(answer) => match serde_json::from_slice::<Echoed>(&answer.body) {
            Ok(echoed) => (None, Tampering::between(sent, &echoed)),
            Err(_) => total(Failure::JsonParse),
        },
    }
}

fn record(
    scope: &Scope,
    remote: Endpoint,
    sent: &[(String, String)],
    answer: Result<Answer, Failure>,
) -> HttpRecord {
    let mut record = HttpRecord {
        network: "tcp".to_owned(),
        address: remote.to_string(),
        failure: answer.as_ref().err().copied(),
        method: METHOD.to_owned(),
        url: format!("http://{remote}"),
        request_headers: sent
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
            .collect(),
        stamp: scope.stamp(scope.trace.start()),
        ..HttpRecord::default()
    };
    if let Ok(answer) = answer {
        record.code = answer.status;
        record.response_headers =
            answer.headers.into_iter().map(|(name, value)| (name, redact::addresses(&value))).collect();
        record.response_body = redact::addresses(&answer.body);
    }
    record
}

impl Experiment for HttpHeaderFieldManipulation {
    fn name(&self) -> &'static str {
        "http_header_field_manipulation"
    }

    fn version(&self) -> &'static str {
        "0.2.1"
    }

    fn manual(&self) -> &'static Manual {
        &MANUAL
    }

    fn takes_input(&self) -> bool {
        false
    }

    fn contacts(&self, _input: Option<&str>) -> Vec<Contact> {
        vec![backend::contact(self.backend.as_deref(), "the helper's server that returns headers")]
    }

    fn run<'a>(&'a self, context: &'a Context, _input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let remote = backend::endpoint(self.backend.as_deref(), context).await?;
            let trace = Trace::new(context);
            let scope = Scope::new(context, &trace, &[]);
            let sent = headers(&context.world);
            let lines: String = sent.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let request = format!("{METHOD} / HTTP/1.1\r\n{lines}\r\n");
            let answer = exchange(&scope, remote, request.as_bytes()).await;
            let (failure, tampering) = judge(&sent, &answer);
            trace.add_request(record(&scope, remote, &sent, answer));
            let mut keys = trace.test_keys();
            keys.retain(|key, _| matches!(key.as_str(), "network_events" | "requests" | "tcp_connect"));
            keys.insert("agent".to_owned(), json!("agent"));
            keys.insert("failure".to_owned(), json!(failure.map(Failure::as_str)));
            keys.insert("socksproxy".to_owned(), Value::Null);
            keys.insert("tampering".to_owned(), tampering.write());
            Ok(Value::Object(keys))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> Vec<(String, String)> {
        [("hOSt", "a.com"), ("uSEr-AgenT", "x")].map(|(n, v)| (n.to_owned(), v.to_owned())).into()
    }

    fn echoed(names: &[(&str, &str)], line: &str) -> Echoed {
        Echoed {
            headers_dict: names.iter().map(|(n, v)| ((*n).to_owned(), vec![(*v).to_owned()])).collect(),
            request_line: line.to_owned(),
        }
    }

    #[test]
    fn an_untouched_request_shows_nothing() {
        let echoed = echoed(&[("hOSt", "a.com"), ("uSEr-AgenT", "x")], "GeT / HTTP/1.1");
        assert_eq!(Tampering::between(&sent(), &echoed), Tampering::default());
    }

    #[test]
    fn each_kind_of_change_has_its_flag() {
        let line = "GeT / HTTP/1.1";
        let names = echoed(&[("Host", "a.com"), ("uSEr-AgenT", "x")], line);
        let tampering = Tampering::between(&sent(), &names);
        assert!(tampering.header_name_capitalization && !tampering.header_field_number);
        assert_eq!(tampering.header_name_diff, ["hOSt", "Host"]);
        let added = echoed(&[("hOSt", "a.com"), ("uSEr-AgenT", "x"), ("Via", "1.1 p")], line);
        assert!(Tampering::between(&sent(), &added).header_field_number);
        let value = echoed(&[("hOSt", "b.com"), ("uSEr-AgenT", "x")], line);
        assert!(Tampering::between(&sent(), &value).header_field_value);
        let method = echoed(&[("hOSt", "a.com"), ("uSEr-AgenT", "x")], "GET / HTTP/1.1");
        assert!(Tampering::between(&sent(), &method).request_line_capitalization);
    }

    #[test]
    fn a_page_in_the_answers_place_is_total() {
        let page = Answer { status: 200, headers: Vec::new(), body: b"<html>".to_vec() };
        let (failure, tampering) = judge(&sent(), &Ok(page));
        assert!(tampering.total);
        assert_eq!(failure, Some(Failure::JsonParse));
    }

    #[test]
    fn responses_are_whole_by_length_by_chunks_or_at_the_end() {
        let fixed = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert!(answer(&fixed[..fixed.len() - 1], false).is_none());
        assert_eq!(answer(fixed, false).unwrap().body, b"{}");
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
        assert_eq!(answer(chunked, false).unwrap().body, b"{}");
        assert!(answer(&chunked[..chunked.len() - 9], false).is_none());
        let open = b"HTTP/1.0 200 OK\r\n\r\n{}";
        assert!(answer(open, false).is_none());
        assert_eq!(answer(open, true).unwrap().body, b"{}");
    }
}
