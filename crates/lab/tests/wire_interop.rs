//! What `wire` sends is taken by real stacks (rustls, quinn-proto), and what they send it reads.
//!
//! Here and not in `wire`, because `wire` depends on neither.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::sync::Arc;

use bytes::BytesMut;
use okno_wire::quic::{self, CryptoAssembler, Frame, InitialRepr, Rekey, Side, Step, Version, crypto_frames};
use okno_wire::tls::{
    ClientHello, ClientHelloRepr, FirstFlight, first_flight, preset, records_of, split_records,
};
use quinn_proto::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn_proto::{DatagramEvent, Endpoint, EndpointConfig};

const NAME: &str = "www.example.org";

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn client_config(alpn: &str) -> rustls::ClientConfig {
    let builder = rustls::ClientConfig::builder_with_provider(provider());
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    config
}

/// What rustls's server makes of a stream: name and first protocol.
fn accepted(mut stream: &[u8]) -> (String, Vec<u8>) {
    let mut acceptor = rustls::server::Acceptor::default();
    while !stream.is_empty() {
        acceptor.read_tls(&mut stream).unwrap();
        if let Some(accepted) = acceptor.accept().map_err(|(error, _)| error).unwrap() {
            let hello = accepted.client_hello();
            let alpn = hello.alpn().and_then(|mut list| list.next().map(<[u8]>::to_vec));
            return (hello.server_name().unwrap_or_default().to_owned(), alpn.unwrap_or_default());
        }
    }
    panic!("the hello is not whole");
}

#[test]
fn rustls_takes_every_preset_whole_and_in_records() {
    let presets: [ClientHelloRepr; 5] = [
        preset::chrome(1, Some(NAME), false),
        preset::chrome(2, Some(NAME), true),
        preset::firefox(3, Some(NAME), true),
        preset::curl(4, Some(NAME)),
        preset::curl(5, Some(NAME)).padded_to(1_500),
    ];
    for repr in presets {
        let message = repr.emit();
        let cut = ClientHello::parse(&message).unwrap().sni_range().unwrap().start + 3;
        let in_two = split_records(0x0301, &message, &[cut]);
        for stream in [repr.emit_record(), records_of(0x0301, &message, 64), in_two] {
            assert_eq!(accepted(&stream), (NAME.to_owned(), b"h2".to_vec()));
        }
    }
}

#[test]
fn the_hello_of_rustls_is_read_and_emitted_byte_for_byte() {
    let name = NAME.try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(client_config("h2")), name).unwrap();
    let mut stream = Vec::new();
    client.write_tls(&mut stream).unwrap();
    let FirstFlight::Hello(flight) = first_flight(&stream) else { panic!("no hello") };
    let hello = ClientHello::parse(&flight.message).unwrap();
    assert_eq!((hello.server_name(), hello.highest_version()), (Some(NAME), 0x0304));
    assert_eq!(ClientHelloRepr::from_view(&hello).emit(), *flight.message);
}

#[expect(clippy::disallowed_methods, reason = "quinn-proto wants a moment; nothing here depends on which")]
fn moment() -> std::time::Instant {
    std::time::Instant::now()
}

fn client_endpoint() -> Endpoint {
    Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None)
}

#[test]
fn the_initials_of_quinn_are_opened_in_both_directions_of_time() {
    let crypto = QuicClientConfig::try_from(client_config("h3")).unwrap();
    let config = quinn_proto::ClientConfig::new(Arc::new(crypto));
    let mut endpoint = client_endpoint();
    let now = moment();
    let (_, mut connection) = endpoint.connect(now, config, "192.0.2.1:443".parse().unwrap(), NAME).unwrap();
    let mut datagrams = Vec::new();
    let mut buffer = Vec::new();
    while let Some(transmit) = connection.poll_transmit(now, 1, &mut buffer) {
        datagrams.push(buffer[..transmit.size].to_vec());
        buffer.clear();
    }
    for reversed in [false, true] {
        let mut assembler = CryptoAssembler::new(Rekey::Never);
        let mut order: Vec<&Vec<u8>> = datagrams.iter().collect();
        if reversed {
            order.reverse();
        }
        let last = order.into_iter().map(|datagram| assembler.client(datagram)).last();
        assert_eq!(last, Some(Step::Hello));
        let hello = ClientHello::parse(assembler.hello().unwrap()).unwrap();
        assert_eq!((hello.server_name(), hello.alpn().next()), (Some(NAME), Some(&b"h3"[..])));
    }
}

fn server_endpoint() -> Endpoint {
    let certified = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = QuicServerConfig::try_from(config).unwrap();
    let config = quinn_proto::ServerConfig::with_crypto(Arc::new(crypto));
    Endpoint::new(Arc::new(EndpointConfig::default()), Some(Arc::new(config)), false, None)
}

/// What quinn's server makes of a client's datagrams: the name asked for, and its first answer.
fn served(datagrams: &[Vec<u8>]) -> (Option<String>, Vec<u8>) {
    let mut endpoint = server_endpoint();
    let (now, mut buffer) = (moment(), Vec::new());
    let peer = "198.51.100.2:5000".parse().unwrap();
    let mut connection = None;
    for datagram in datagrams {
        match endpoint.handle(now, peer, None, None, BytesMut::from(&datagram[..]), &mut buffer) {
            Some(DatagramEvent::NewConnection(incoming)) => {
                connection =
                    Some(endpoint.accept(incoming, now, &mut buffer, None).map_err(|e| e.cause).unwrap().1);
            }
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                connection.as_mut().unwrap().handle_event(event)
            }
            _ => panic!("refused"),
        }
        buffer.clear();
    }
    let mut connection = connection.unwrap();
    let data = connection.crypto_session().handshake_data();
    let name = data.and_then(|data| data.downcast::<HandshakeData>().unwrap().server_name);
    let size = connection.poll_transmit(now, 1, &mut buffer).map_or(0, |transmit| transmit.size);
    (name, buffer[..size].to_vec())
}

#[test]
fn quinn_takes_our_initials_whole_shuffled_and_over_two_datagrams_and_we_open_its_answer() {
    let (dcid, scid) = ([7; 8], [9; 8]);
    let message = preset::quic(1, Some(NAME), &scid, false).emit();
    let cuts: Vec<usize> = (1..8).map(|index| index * message.len() / 8).collect();
    let mut shuffled = crypto_frames(&message, &cuts);
    shuffled.rotate_left(3);
    shuffled.insert(2, Frame::Ping);
    let datagram = |number, frames: &[Frame<'_>]| {
        let repr = InitialRepr { number, ..InitialRepr::first(Version::V1, &dcid, &scid) };
        repr.seal(Side::Client, &dcid, frames, 1_200).unwrap()
    };
    let whole = vec![datagram(0, &crypto_frames(&message, &[]))];
    let in_two = vec![datagram(0, &shuffled[..4]), datagram(1, &shuffled[4..])];
    for datagrams in [whole, vec![datagram(0, &shuffled)], in_two] {
        let (name, answer) = served(&datagrams);
        assert_eq!(name.as_deref(), Some(NAME));
        let Some(Ok(quic::Packet::Long(view))) = quic::packets(&answer).next() else {
            panic!("no long header")
        };
        assert_eq!((view.kind, view.dcid), (quic::PacketKind::Initial, &scid[..]));
        let keys = quic::Keys::initial(Version::V1, &dcid, Side::Server).unwrap();
        let opened = keys.open(&view).unwrap();
        let hello = quic::frames(&opened.payload, Version::V1).find_map(|frame| match frame.unwrap() {
            Frame::Crypto { offset: 0, data } => Some(data.to_vec()),
            _ => None,
        });
        let hello = hello.unwrap();
        assert_eq!(okno_wire::tls::ServerHello::parse(&hello).unwrap().version(), 0x0304);
    }
}
