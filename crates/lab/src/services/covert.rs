//! The other side of protocols that hide: FakeTLS of MTProto, fully encrypted streams, DTLS.
//!
//! Shapes, not contents: enough that a box which looks at first flights, sizes and entropy meets what it
//! would meet in the field. Where the real protocol has ciphertext there are random bytes.

use core::time::Duration;

use okno_wire::dtls;
use okno_wire::tls::{FirstFlight, first_flight};

use crate::net::{Net, NetError, TcpStream};
use crate::tls::{Authority, TlsStream, TlsVersions, UnknownName, server_config};

/// A FakeTLS record of random bytes.
fn application_data(net: &Net, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    net.fill_random(&mut bytes);
    okno_wire::tls::record(okno_wire::tls::code::content::APPLICATION_DATA, 0x0303, &bytes)
}

/// An MTProto proxy with FakeTLS on `port`: ServerHello, ChangeCipherSpec and one record of random bytes
/// answer the hello, as tdlib expects (https://github.com/tdlib/td/blob/master/td/mtproto/TlsInit.cpp); then
/// each record that comes is answered with one of the same size.
pub async fn serve_fake_tls(net: Net, port: u16) -> Result<(), NetError> {
    let mut listener = net.listen(port)?;
    loop {
        let stream = listener.accept().await?;
        net.spawn(move |net| fake_tls(net, stream));
    }
}

async fn fake_tls(net: Net, mut stream: TcpStream) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4_096]);
    while !matches!(first_flight(&bytes), FirstFlight::Hello(_)) {
        match stream.read(&mut chunk).await {
            Ok(taken @ 1..) if bytes.len() < 20_000 => bytes.extend_from_slice(&chunk[..taken]),
            _ => return,
        }
    }
    // A ServerHello of TLS 1.3 with a key share is 122 bytes long.
    let mut hello = vec![0; 122];
    net.fill_random(&mut hello);
    hello[..6].copy_from_slice(&[2, 0, 0, 118, 3, 3]);
    let mut flight = okno_wire::tls::record(okno_wire::tls::code::content::HANDSHAKE, 0x0303, &hello);
    flight.extend([20, 3, 3, 0, 1, 1]);
    flight.extend(application_data(&net, 2_000 + net.below(2_000) as usize));
    if stream.write_all(&flight).await.is_err() {
        return;
    }
    while let Ok(taken @ 1..) = stream.read(&mut chunk).await {
        if stream.write_all(&application_data(&net, taken)).await.is_err() {
            return;
        }
    }
}

/// A server of a fully encrypted protocol (obfs4, Shadowsocks and their like) on `port`: random bytes answer
/// random bytes, the first time as many as a padded handshake has.
pub async fn serve_random(net: Net, port: u16) -> Result<(), NetError> {
    let mut listener = net.listen(port)?;
    loop {
        let mut stream = listener.accept().await?;
        net.spawn(move |net| async move {
            let mut chunk = [0; 8_192];
            let mut first = true;
            while let Ok(taken @ 1..) = stream.read(&mut chunk).await {
                // obfs4's server handshake is 96–8192 bytes (obfs4-spec §4).
                let len = if first { 96 + net.below(4_000) as usize } else { taken };
                first = false;
                net.fill_random(&mut chunk[..len]);
                if stream.write_all(&chunk[..len]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// A DTLS server on UDP `port`, as a Snowflake proxy or a call's peer is: HelloVerifyRequest for a hello
/// without a cookie, pion's ServerHello for one with, application data for application data.
pub async fn serve_dtls(net: Net, port: u16) -> Result<(), NetError> {
    let socket = net.udp_bind(port)?;
    let cookie: [u8; 20] = net.random();
    loop {
        let datagram = socket.receive().await?;
        let Some(Ok(record)) = dtls::records(&datagram.bytes).next() else { continue };
        let answer = if record.kind == okno_wire::tls::code::content::HANDSHAKE && record.epoch == 0 {
            let asks_again = datagram.bytes.windows(cookie.len()).any(|window| window == cookie);
            if asks_again {
                dtls::server_hello(&dtls::preset::pion_server_2021(net.below(u64::MAX)), 1)
            } else {
                dtls::hello_verify(&cookie)
            }
        } else {
            let mut body = vec![0; datagram.bytes.len().saturating_sub(13)];
            net.fill_random(&mut body);
            let kind = okno_wire::tls::code::content::APPLICATION_DATA;
            dtls::record(kind, 0xfefd, 1, record.sequence, &body)
        };
        let _ = socket.send_to(&answer, datagram.from);
    }
}

/// Bytes of a cell of Tor's link protocol 4 and up.
pub(crate) const TOR_CELL: usize = 514;

/// A random host name as Tor's link certificates and hellos carry (see [`okno_wire::tor`]).
pub(crate) fn tor_name(net: &Net, end: &str) -> String {
    let letters = b"abcdefghijklmnopqrstuvwxyz234567";
    let len = 8 + net.below(13) as usize;
    let label = net.random::<20>().map(|byte| char::from(letters[usize::from(byte % 32)]));
    let label: String = label.iter().take(len).collect();
    format!("www.{label}{end}")
}

/// A Tor-like relay on `port`: TLS with a certificate of random names (visible in TLS 1.2), and a cell of
/// random bytes for each cell. No onion is peeled.
pub async fn serve_tor_like(net: Net, port: u16, versions: TlsVersions) -> Result<(), NetError> {
    let authority = Authority::new(net.below(u64::MAX), &tor_name(&net, ".com"));
    let name = tor_name(&net, ".net");
    let from = net.now();
    let identity = authority.issue(&[&name], from, from + Duration::from_secs(365 * 86_400));
    let config = server_config(&[(&name, identity)], UnknownName::FirstCertificate, versions, &[]);
    let mut listener = net.listen(port)?;
    loop {
        let stream = listener.accept().await?;
        let config = config.clone();
        net.spawn(move |net| async move {
            let Ok(mut stream) = TlsStream::accept(stream, config).await else { return };
            let mut cell = [0; TOR_CELL];
            let mut filled = 0;
            while let Ok(taken @ 1..) = stream.read(&mut cell[filled..]).await {
                filled += taken;
                if filled < TOR_CELL {
                    continue;
                }
                filled = 0;
                net.fill_random(&mut cell);
                if stream.write_all(&cell).await.is_err() {
                    return;
                }
            }
        });
    }
}
