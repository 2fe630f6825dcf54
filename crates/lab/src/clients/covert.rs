//! Clients of protocols that hide or look like others: Tor-like TLS, FakeTLS of MTProto, fully encrypted
//! streams, DTLS as Snowflake's, SSH.
//!
//! Shapes, not contents; see [`crate::services::covert`].

use core::time::Duration;

use okno_model::{Failure, Layer};
use okno_wire::Endpoint;
use okno_wire::dtls;
use okno_wire::tls::{ClientHelloRepr, preset};

use super::{Media, Observed, named, within};
use crate::net::{Net, NetErrorKind, TcpStream};
use crate::services::covert::{TOR_CELL, tor_name};
use crate::services::plain::ssh_opening;
use crate::tls::{TlsStream, TlsVersions, any_certificate_config};

/// What a covert stream's client sends first.
#[derive(Clone, Debug)]
pub enum Opening {
    /// uniformly random bytes: obfs4 (its handshake has 141–8192 bytes), Shadowsocks and their like
    Random(usize),
    /// a FakeTLS hello with this name, as Telegram sends it to a proxy
    FakeTls(String),
    /// this hello
    Hello(ClientHelloRepr),
    /// SSH's banner and offer
    Ssh,
}

/// Opens a stream with `opening` and then sends `rounds` bursts of `size` random bytes, each answered by the
/// server before the next.
pub async fn exchange(
    net: &Net,
    remote: Endpoint,
    opening: &Opening,
    rounds: u32,
    size: usize,
    patience: Duration,
) -> Observed {
    let mut seen = Observed::at(net.now());
    seen.address = Some(remote.ip);
    let began = net.now();
    let connected = within(net, patience, async { named(net.connect(remote).await) }).await;
    let Some(mut stream) = seen.step(net, Layer::Tcp, began, connected) else { return seen };
    let first = match opening {
        Opening::Random(len) => {
            let mut bytes = vec![0; *len];
            net.fill_random(&mut bytes);
            bytes
        }
        Opening::FakeTls(name) => preset::telegram(net.below(u64::MAX), name).emit_record(),
        Opening::Hello(hello) => hello.emit_record(),
        Opening::Ssh => ssh_opening("OpenSSH_9.9"),
    };
    let wrapped = matches!(opening, Opening::FakeTls(_));
    let mut media = Media::default();
    let began = net.now();
    for round in 0..=rounds {
        let bytes = if round == 0 { first.clone() } else { burst(net, size, wrapped) };
        media.sent += 1;
        let turn = within(net, patience, turn(net, &mut stream, &bytes, &mut seen)).await;
        if let Err(failure) = turn {
            seen.media = Some(media);
            seen.note(net, Layer::App, began, Some(failure));
            return seen;
        }
        media.received += 1;
    }
    seen.media = Some(media);
    seen.note(net, Layer::App, began, None);
    seen
}

fn burst(net: &Net, size: usize, wrapped: bool) -> Vec<u8> {
    let mut bytes = vec![0; size];
    net.fill_random(&mut bytes);
    if wrapped {
        okno_wire::tls::record(okno_wire::tls::code::content::APPLICATION_DATA, 0x0303, &bytes)
    } else {
        bytes
    }
}

/// Sends a burst and reads what comes until there is a pause.
async fn turn(net: &Net, stream: &mut TcpStream, bytes: &[u8], seen: &mut Observed) -> Result<(), Failure> {
    named(stream.write_all(bytes).await)?;
    seen.sent += bytes.len() as u64;
    let mut chunk = [0; 8_192];
    let taken = named(stream.read(&mut chunk).await)?;
    if taken == 0 {
        return Err(Failure::Eof);
    }
    seen.take(net, &chunk[..taken]);
    // A pause ends the server's turn.
    while let Ok(more) = net.timeout(Duration::from_millis(150), stream.read(&mut chunk)).await {
        match named(more)? {
            0 => return Err(Failure::Eof),
            taken => seen.take(net, &chunk[..taken]),
        }
    }
    Ok(())
}

/// A Tor-like link: TLS with a random host name, then cells of 514 bytes (tor-spec, link protocol 4 and up),
/// each answered by one. The cells' contents are random bytes; the certificate is not verified, as Tor's
/// links do not.
pub async fn tor_like(net: &Net, remote: Endpoint, cells: u32, patience: Duration) -> Observed {
    let mut seen = Observed::at(net.now());
    seen.address = Some(remote.ip);
    let began = net.now();
    let connected = within(net, patience, async { named(net.connect(remote).await) }).await;
    let Some(stream) = seen.step(net, Layer::Tcp, began, connected) else { return seen };
    let began = net.now();
    let name = tor_name(net, ".com");
    let config = any_certificate_config(TlsVersions::Both);
    let shaken = within(net, patience, TlsStream::connect(stream, config, &name)).await;
    let Some(mut stream) = seen.step(net, Layer::Tls, began, shaken) else { return seen };
    let began = net.now();
    let mut media = Media::default();
    let mut failure = None;
    for _ in 0..cells {
        let mut cell = [0; TOR_CELL];
        net.fill_random(&mut cell);
        media.sent += 1;
        let turn = async {
            stream.write_all(&cell).await?;
            let mut filled = 0;
            while filled < cell.len() {
                match stream.read(&mut cell[filled..]).await? {
                    0 => return Err(Failure::Eof),
                    taken => filled += taken,
                }
            }
            Ok(())
        };
        if let Err(error) = within(net, patience, turn).await {
            failure = Some(error);
            break;
        }
        media.received += 1;
        seen.take(net, &cell);
    }
    seen.sent = u64::from(media.sent) * TOR_CELL as u64;
    seen.media = Some(media);
    seen.note(net, Layer::App, began, failure);
    seen
}

/// A DTLS hello, the second one with the server's cookie, then `packets` of application data, each echoed by
/// the peer: Snowflake's and a WebRTC data channel's shape. The handshake stops at the ServerHello.
pub async fn dtls_session(
    net: &Net,
    remote: Endpoint,
    hello: &ClientHelloRepr,
    packets: u32,
    patience: Duration,
) -> Observed {
    let mut seen = Observed::at(net.now());
    seen.address = Some(remote.ip);
    let began = net.now();
    let work = dtls_exchange(net, remote, hello, packets, &mut seen);
    let result = net.timeout(patience, work).await.unwrap_or(Err(Failure::GenericTimeout));
    seen.step(net, Layer::App, began, result);
    seen
}

async fn dtls_exchange(
    net: &Net,
    remote: Endpoint,
    hello: &ClientHelloRepr,
    packets: u32,
    seen: &mut Observed,
) -> Result<(), Failure> {
    let socket = named(net.udp_connect(remote))?;
    let mut hello = hello.clone();
    let mut sequence = 0;
    while sequence < 2 {
        let body = hello.emit_body();
        let datagram =
            dtls::fragments_of(1, 0xfefd, sequence, u64::from(sequence), &body, body.len()).concat();
        let answer = loop {
            named(socket.send_to(&datagram, remote))?;
            // RFC 6347 §4.2.4.1: repeated after a second.
            match socket.receive_for(Duration::from_secs(1)).await {
                Ok(answer) => break answer.bytes,
                Err(error) if error.kind == NetErrorKind::TimedOut => {}
                Err(error) => return named(Err(error)),
            }
        };
        seen.take(net, &answer);
        let record = dtls::records(&answer).next().and_then(Result::ok).ok_or(Failure::SslFailedHandshake)?;
        let fragment = dtls::fragments(record.body).next().and_then(Result::ok);
        match fragment.and_then(|fragment| dtls::verify_cookie(fragment.body).ok()) {
            Some(cookie) if sequence == 0 => hello.cookie = Some(cookie.to_vec()),
            _ => break,
        }
        sequence += 1;
    }
    let mut media = Media::default();
    for index in 0..packets {
        let mut body = vec![0; 300];
        net.fill_random(&mut body);
        let kind = okno_wire::tls::code::content::APPLICATION_DATA;
        named(socket.send_to(&dtls::record(kind, 0xfefd, 1, u64::from(index), &body), remote))?;
        media.sent += 1;
        if let Ok(answer) = socket.receive_for(Duration::from_millis(500)).await {
            media.received += 1;
            seen.take(net, &answer.bytes);
        }
    }
    seen.media = Some(media);
    if packets > 0 && media.received == 0 { Err(Failure::GenericTimeout) } else { Ok(()) }
}
