//! A request's line and headers as JSON, letter for letter as they came: OONI's
//! `http-return-json-headers` (ts-006).

use okno_wire::http::RequestView;
use serde_json::{Map, Value, json};

/// Longest head that is answered.
pub const MAX_HEAD: usize = 16_384;

/// The response to a whole head; `None` while it is not whole, or when the bytes are no request.
///
/// ```
/// use okno_probe::helper::headers::response_to;
///
/// let response = response_to(b"GeT / HTTP/1.1\r\nhOSt: a\r\n\r\n").expect("a whole head");
/// assert!(String::from_utf8_lossy(&response).contains(r#""request_line":"GeT / HTTP/1.1""#));
/// assert_eq!(response_to(b"GeT / HTTP/1.1\r\nhOSt: a\r\n"), None);
/// ```
pub fn response_to(bytes: &[u8]) -> Option<Vec<u8>> {
    let view = RequestView::parse(bytes).ok().filter(|view| view.complete)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty())?;
    let (mut dict, mut list) = (Map::new(), Vec::new());
    for header in view.headers() {
        let (name, value) = (text(header.name), text(header.value));
        list.push(json!([name, value]));
        let values = dict.entry(name).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(json!(value));
        }
    }
    let body = json!({"headers_dict": dict, "request_headers": list, "request_line": text(line)}).to_string();
    Some(okno_wire::http::response(
        200,
        "OK",
        &[("Content-Type", "application/json"), ("Connection", "close")],
        body.as_bytes(),
    ))
}
