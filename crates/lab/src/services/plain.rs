//! Small servers: echo, SSH, SIP.

use okno_wire::sip;
use okno_wire::ssh::{Banner, KexInit};

use crate::net::{Net, NetError};

/// Sends back what comes, on TCP and UDP `port`.
pub async fn serve_echo(net: Net, port: u16) -> Result<(), NetError> {
    let socket = net.udp_bind(port)?;
    net.spawn(move |_| async move {
        while let Ok(datagram) = socket.receive().await {
            let _ = socket.send_to(&datagram.bytes, datagram.from);
        }
    });
    let mut listener = net.listen(port)?;
    loop {
        let mut stream = listener.accept().await?;
        net.spawn(|_| async move {
            let mut chunk = [0; 4_096];
            while let Ok(taken @ 1..) = stream.read(&mut chunk).await {
                if stream.write_all(&chunk[..taken]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// What an OpenSSH server offers, shortened.
const ALGORITHMS: [&str; 10] = [
    "curve25519-sha256",
    "ssh-ed25519",
    "chacha20-poly1305@openssh.com",
    "chacha20-poly1305@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-256",
    "none",
    "none",
    "",
    "",
];

/// The first bytes of an SSH side: banner and key exchange offer (RFC 4253 §4.2, §7.1).
pub(crate) fn ssh_opening(software: &str) -> Vec<u8> {
    let banner = Banner { version: "2.0", software, comment: "", size: 0 }.emit();
    [banner, KexInit { lists: ALGORITHMS }.emit()].concat()
}

/// An SSH server on `port`: banner and offer are exact, what follows is random bytes of the size that came.
pub async fn serve_ssh(net: Net, port: u16) -> Result<(), NetError> {
    let mut listener = net.listen(port)?;
    loop {
        let mut stream = listener.accept().await?;
        net.spawn(|net| async move {
            if stream.write_all(&ssh_opening("OpenSSH_9.6")).await.is_err() {
                return;
            }
            let mut chunk = [0; 4_096];
            let mut offered = 0;
            let expected = ssh_opening("OpenSSH_9.9").len();
            while let Ok(taken @ 1..) = stream.read(&mut chunk).await {
                offered += taken;
                if offered <= expected {
                    continue;
                }
                net.fill_random(&mut chunk[..taken]);
                if stream.write_all(&chunk[..taken]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// A SIP server on UDP `port`: 200 to any request (RFC 3261 §8.2.6).
pub async fn serve_sip(net: Net, port: u16) -> Result<(), NetError> {
    let socket = net.udp_bind(port)?;
    loop {
        let datagram = socket.receive().await?;
        if let Some(answer) = sip_answer(&datagram.bytes) {
            let _ = socket.send_to(&answer, datagram.from);
        }
    }
}

/// The answer carries the request's own Via, From, To, Call-ID and CSeq.
fn sip_answer(request: &[u8]) -> Option<Vec<u8>> {
    let sip::Start::Request { .. } = sip::Message::parse(request).ok()?.start else { return None };
    let text = core::str::from_utf8(request).ok()?;
    let mut answer = String::from("SIP/2.0 200 OK\r\n");
    for line in text.lines().skip(1).take_while(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if matches!(name.as_str(), "via" | "from" | "to" | "call-id" | "cseq") {
            answer.push_str(line);
            answer.push_str("\r\n");
        }
    }
    answer.push_str("Content-Length: 0\r\n\r\n");
    Some(answer.into_bytes())
}
