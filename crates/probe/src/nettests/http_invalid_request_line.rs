//! `http_invalid_request_line` (ts-007): five lines that are no HTTP, to a server that sends back what comes.
//!
//! A box that reads HTTP answers in the server's place or drops the line. OONI runs no echo server any more
//! (its probe's own tests of this nettest are skipped for that), so the session's helper must offer one.

use core::time::Duration;

use futures::future::join_all;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use okno_model::Failure;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{backend, redact};
use crate::experiment::{Contact, Context, Experiment, Manual, Risk};
use crate::net::{Dial, Endpoint, NetErrorKind, Task, World, below, within};
use crate::tcp;
use crate::trace::{MaybeBinary, Scope, Trace};

/// The test and whom it asks.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct HttpInvalidRequestLine {
    /// an echo server, `192.0.2.1:80`; without it port 80 of the session's helper
    pub backend: Option<String>,
}

/// How long each connection is listened to (probe-cli `hirl.go`).
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes that are kept of an answer.
const MAX_ANSWER: usize = 16_384;

static MANUAL: Manual = Manual {
    title: "whether a box on the path takes lines that are no HTTP for HTTP",
    trigger: "five invalid request lines on port 80: a random method, a random number of fields, a method of \
              1,024 letters, a random version, and Squid's own `cache_object`",
    control: "what was sent: the helper sends back every byte",
    logic: "tampering when what comes back differs from what was sent",
    blind: "a box that leaves invalid HTTP alone, or acts on port 443, is not seen; a helper that is down \
            gives failures, and a silent path counts as tampering by the specification's own rule; a proxy \
            does no censorship by itself",
    bytes: 12_000,
    seconds: 20,
    risk: Risk::Low,
    risk_note: "odd requests to a server of the observatory; logs of a proxy may show them",
    source: "OONI ts-007 \
             (https://github.com/ooni/spec/blob/master/nettests/ts-007-http-invalid-request-line.md)",
};

/// `count` random capital letters.
fn letters(world: &World, count: usize) -> String {
    (0..count).map(|_| char::from(b'A' + below(&**world, 26) as u8)).collect()
}

/// The five lines of ts-007, line ends as OONI's engine sends them.
fn lines(world: &World) -> [String; 5] {
    let word = |count| letters(world, count);
    [
        format!("{} / HTTP/1.1\n\r", word(4)),
        format!("{} {} {} {}\r\n", word(5), word(5), word(5), word(5)),
        format!("{} / HTTP/1.1\r\n", word(1_024)),
        format!("GET / HTTP/{}\r\n", word(3)),
        "GET cache_object://localhost/ HTTP/1.0\n\r".to_owned(),
    ]
}

/// What came of one line.
struct Tried {
    sent: String,
    received: Vec<u8>,
    failure: Option<Failure>,
}

impl Tried {
    fn tampering(&self) -> bool {
        self.sent.as_bytes() != self.received
    }

    /// The answer as it is written: one that differs may hold the own address.
    fn written(&self) -> MaybeBinary {
        MaybeBinary(if self.tampering() { redact::addresses(&self.received) } else { self.received.clone() })
    }
}

async fn try_line(scope: Scope, remote: Endpoint, line: String) -> Tried {
    let mut tried = Tried { sent: String::new(), received: Vec::new(), failure: None };
    let mut flow = match tcp::connect(&scope, Dial::to(remote)).await {
        Ok(flow) => flow,
        Err(failure) => return Tried { failure: Some(failure), ..tried },
    };
    let world = scope.world.clone();
    let received = &mut tried.received;
    let exchange = async {
        flow.write_all(line.as_bytes()).await?;
        flow.flush().await?;
        let mut chunk = [0; 4_096];
        while received.len() < MAX_ANSWER {
            match flow.read(&mut chunk).await? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                taken => received.extend_from_slice(&chunk[..taken]),
            }
        }
        Ok(())
    };
    let ended: Option<Result<(), std::io::Error>> = within(&*world, PATIENCE, exchange).await;
    // An echo server does not close: that the time is up is the ordinary end.
    let failure = ended.and_then(Result::err).map(|error| NetErrorKind::of(&error).failure());
    tried.failure = failure.filter(|failure| *failure != Failure::GenericTimeout);
    tried.sent = line;
    tried
}

impl Experiment for HttpInvalidRequestLine {
    fn name(&self) -> &'static str {
        "http_invalid_request_line"
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
        vec![backend::contact(self.backend.as_deref(), "the helper's echo server")]
    }

    fn run<'a>(&'a self, context: &'a Context, _input: Option<&'a str>) -> Task<'a, Result<Value, String>> {
        Box::pin(async move {
            let remote = backend::endpoint(self.backend.as_deref(), context).await?;
            let trace = Trace::new(context);
            let tries =
                lines(&context.world).map(|line| try_line(Scope::new(context, &trace, &[]), remote, line));
            let tries = join_all(tries).await;
            // A connection that failed sent nothing and got nothing: no tampering (probe-cli `hirl.go`).
            let tampering: Vec<bool> = tries.iter().map(Tried::tampering).collect();
            let mut keys = trace.test_keys();
            keys.retain(|key, _| matches!(key.as_str(), "network_events" | "tcp_connect"));
            let failures: Vec<Option<&str>> =
                tries.iter().map(|tried| tried.failure.map(Failure::as_str)).collect();
            let sent: Vec<&str> = tries.iter().map(|tried| tried.sent.as_str()).collect();
            let received: Vec<MaybeBinary> = tries.iter().map(Tried::written).collect();
            keys.insert("failure_list".to_owned(), json!(failures));
            keys.insert("received".to_owned(), json!(received));
            keys.insert("sent".to_owned(), json!(sent));
            keys.insert("tampering".to_owned(), json!(tampering.contains(&true)));
            keys.insert("tampering_list".to_owned(), json!(tampering));
            Ok(Value::Object(keys))
        })
    }
}
