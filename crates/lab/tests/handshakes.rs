//! Real handshakes in virtual time: TLS 1.2, TLS 1.3 and QUIC, byte for byte the same for the same seed.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use core::net::IpAddr;
use core::time::Duration;

use okno_lab::tap::{KeptRecord, Recording};
use okno_lab::tls::{self, Authority, TlsStream, TlsVersions, UnknownName};
use okno_lab::world::{LinkSetup, NodeId, Setup, Side, World};
use okno_lab::{net::Net, quic};
use okno_model::Failure;
use okno_wire::{Endpoint, Instant, PacketView};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const SERVER: &str = "198.51.100.1";

struct Pair {
    world: World,
    client: NodeId,
    server: NodeId,
    recording: Recording,
    authority: Authority,
}

fn pair(seed: u64, setup: LinkSetup) -> Pair {
    let mut world = World::new(Setup { seed, ..Setup::default() });
    let client = world.host("client", &[ip("192.0.2.1")]);
    let server = world.host("server", &[ip(SERVER)]);
    let link = world.link(client, server, setup);
    let recording = Recording::default();
    world.tap(link, Side::A, Box::new(recording.clone()));
    Pair { world, client, server, recording, authority: Authority::new(seed, "Okno lab root") }
}

fn year(year: u64) -> Instant {
    Instant::from_secs((year - 1970) * 31_557_600)
}

/// A TLS server on port 443 that answers each line with itself.
fn tls_server(pair: &mut Pair, versions: TlsVersions, until: Instant) {
    let identity = pair.authority.issue(&["good.example", "*.wild.example"], year(2020), until);
    let names = [("good.example", identity.clone()), ("*.wild.example", identity)];
    let config = tls::server_config(&names, UnknownName::Alert, versions, &["http/1.1"]);
    pair.world.spawn(pair.server, move |net| async move {
        let mut listener = net.listen(443).unwrap();
        while let Ok(stream) = listener.accept().await {
            let config = config.clone();
            net.spawn(move |_| async move {
                let Ok(mut stream) = TlsStream::accept(stream, config).await else { return };
                let mut chunk = [0; 1_024];
                while let Ok(taken @ 1..) = stream.read(&mut chunk).await {
                    if stream.write_all(&chunk[..taken]).await.is_err() {
                        return;
                    }
                }
                stream.close().await;
            });
        }
    });
}

/// What came back, and how many certificates the server showed.
type Talk = Result<(Vec<u8>, usize), Failure>;

async fn talk(net: Net, name: &'static str, trusted: Vec<Vec<u8>>) -> Talk {
    let config = tls::client_config(&trusted, TlsVersions::Both, &["http/1.1"]);
    let stream = net.connect(Endpoint { ip: ip(SERVER), port: 443 }).await.unwrap();
    let mut stream = TlsStream::connect(stream, config, name).await?;
    stream.write_all(&[7; 20_000]).await?;
    let mut back = vec![0; 20_000];
    let mut filled = 0;
    while filled < back.len() {
        filled += stream.read(&mut back[filled..]).await?;
    }
    assert_eq!(stream.alpn(), Some(&b"http/1.1"[..]));
    let certificates = stream.peer_certificates().len();
    stream.close().await;
    Ok((back, certificates))
}

fn run_tls(seed: u64, versions: TlsVersions) -> (Talk, Vec<KeptRecord>) {
    let mut pair = pair(seed, LinkSetup::millis(15));
    tls_server(&mut pair, versions, year(2040));
    let trusted = vec![pair.authority.certificate()];
    let result = pair.world.block_on(pair.client, |net| talk(net, "good.example", trusted)).unwrap();
    (result, pair.recording.take())
}

#[test]
fn a_tls_handshake_is_real_and_the_same_bytes_for_the_same_seed() {
    for versions in [TlsVersions::Only12, TlsVersions::Only13, TlsVersions::Both] {
        let (result, trace) = run_tls(4, versions);
        assert_eq!(result, Ok((vec![7; 20_000], 2)));
        assert_eq!(run_tls(4, versions).1, trace);
        assert_ne!(run_tls(5, versions).1, trace);
        let hello = trace.iter().find_map(|record| {
            let view = PacketView::parse(&record.packet).unwrap();
            okno_wire::tls::looks_like_tls(view.payload()).then(|| view.payload().to_vec())
        });
        let hello = hello.unwrap();
        let okno_wire::tls::FirstFlight::Hello(flight) = okno_wire::tls::first_flight(&hello) else {
            panic!("no hello")
        };
        let message = flight.message.to_vec();
        let hello = okno_wire::tls::ClientHello::parse(&message).unwrap();
        assert_eq!(hello.server_name(), Some("good.example"));
    }
}

#[test]
fn a_wrong_name_a_wrong_date_and_a_wrong_authority_are_told_apart() {
    let attempt = |name: &'static str, until: Instant, trusted: &str| {
        let mut pair = pair(1, LinkSetup::millis(15));
        tls_server(&mut pair, TlsVersions::Both, until);
        let trusted = vec![Authority::new(1, trusted).certificate()];
        pair.world.block_on(pair.client, |net| talk(net, name, trusted)).unwrap().map(|_| ())
    };
    let root = "Okno lab root";
    assert_eq!(attempt("www.wild.example", year(2040), root), Ok(()));
    assert_eq!(attempt("unknown.example", year(2040), root), Err(Failure::SslFailedHandshake));
    assert_eq!(attempt("good.example", year(2024), root), Err(Failure::SslInvalidCertificate));
    assert_eq!(attempt("good.example", year(2040), "Another root"), Err(Failure::SslUnknownAuthority));
}

fn run_quic(seed: u64, setup: LinkSetup, listens: bool) -> (quic::QuicAnswer, Vec<KeptRecord>) {
    let mut pair = pair(seed, setup);
    let identity = pair.authority.issue(&["good.example"], year(2020), year(2040));
    let config = tls::server_config(
        &[("good.example", identity)],
        UnknownName::Alert,
        TlsVersions::Only13,
        quic::ALPN,
    );
    if listens {
        pair.world.spawn(pair.server, move |net| async move {
            quic::serve(net, 443, config, |path| path.as_bytes().repeat(20_000)).await
        });
    }
    let trusted = vec![pair.authority.certificate()];
    let answer = pair.world.block_on(pair.client, |net| async move {
        let remote = Endpoint { ip: ip(SERVER), port: 443 };
        quic::fetch(&net, remote, "good.example", "/abc", &trusted, Duration::from_secs(10), 1_000_000).await
    });
    pair.world.run_for(Duration::from_secs(1));
    (answer.unwrap(), pair.recording.take())
}

#[test]
fn a_quic_handshake_works_over_loss_and_is_the_same_bytes_for_the_same_seed() {
    for setup in [LinkSetup::millis(15), LinkSetup::millis(15).with_loss(0.05).with_rate(10_000_000)] {
        let (answer, trace) = run_quic(4, setup, true);
        assert_eq!(answer.failure, None);
        assert_eq!(answer.body, b"/abc".repeat(20_000));
        assert_eq!(run_quic(4, setup, true).1, trace);
        assert_ne!(run_quic(5, setup, true).1, trace);
    }
}

#[test]
fn quic_to_a_closed_port_is_refused_and_to_nobody_times_out() {
    assert_eq!(run_quic(1, LinkSetup::millis(15), false).0.failure, Some(Failure::ConnectionRefused));
    let lost = LinkSetup::millis(15).with_loss(1.0);
    assert_eq!(run_quic(1, lost, true).0.failure, Some(Failure::GenericTimeout));
}
