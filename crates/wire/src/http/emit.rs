//! Heads out, plain or odd on purpose.

/// A request to send; every part is written as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRepr {
    /// method
    pub method: String,
    /// target
    pub target: String,
    /// `HTTP/1.1`
    pub version: String,
    /// names and what follows the colon, blanks included
    pub headers: Vec<(String, String)>,
    /// line end: CRLF, or LF alone
    pub line_end: &'static str,
}

impl RequestRepr {
    /// `GET target` of `host` as curl asks.
    pub fn get(host: &str, target: &str) -> Self {
        let headers = [("Host", host), ("User-Agent", "curl/8.5.0"), ("Accept", "*/*")];
        Self {
            method: "GET".to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1".to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), format!(" {value}"))).collect(),
            line_end: "\r\n",
        }
    }

    /// The head.
    pub fn emit(&self) -> Vec<u8> {
        let end = self.line_end;
        let mut out = format!("{} {} {}{end}", self.method, self.target, self.version);
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}:{value}{end}"));
        }
        out.push_str(end);
        out.into_bytes()
    }
}

/// A whole response with a Content-Length.
pub fn response(status: u16, reason: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} {reason}\r\n");
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    [out.as_bytes(), body].concat()
}
