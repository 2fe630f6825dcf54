//! The other side: one QUIC connection at a time on a UDP port, and HTTP/3 above it.
//!
//! For servers of tests and for a helper that speaks HTTP/3; a port with one client is enough for both.

use core::future::Future;
use core::net::SocketAddr;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Buf, Bytes, BytesMut};
use okno_model::Failure;
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::{DatagramEvent, ServerConfig, TimeSource};
use ring::hkdf;

use super::http3::Carrier;
use super::{Driver, QuicConnection, beside, endpoint_config, moment_of, transport};
use crate::http::{Answer, Asked};
use crate::limits;
use crate::net::{Datagrams, TlsGround, random};
use crate::trace::Scope;

/// The world's clock, for tokens.
struct Clock(Arc<dyn rustls::time_provider::TimeProvider>);

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        let now = self.0.current_time().map(|now| now.as_secs()).unwrap_or_default();
        SystemTime::UNIX_EPOCH + core::time::Duration::from_secs(now)
    }
}

/// Waits for a client on `socket` and shakes hands with it. `config` has ALPN `h3` for HTTP/3; it must offer
/// TLS 1.3.
pub async fn accept(
    scope: &Scope,
    socket: &Rc<dyn Datagrams>,
    config: Arc<rustls::ServerConfig>,
) -> Result<QuicConnection, Failure> {
    let config = server_config(scope, config)?;
    let endpoint_config = endpoint_config(&scope.world, 1);
    let mut endpoint = quinn_proto::Endpoint::new(endpoint_config, Some(config), false, None);
    loop {
        let datagram = core::future::poll_fn(|poller| socket.poll_receive(poller)).await;
        // An ICMP error about an earlier client is nothing to this one.
        let Ok(datagram) = datagram else { continue };
        let now = moment_of(scope.now());
        let from = SocketAddr::new(datagram.from.ip, datagram.from.port);
        let mut buffer = Vec::new();
        let bytes = BytesMut::from(&datagram.bytes[..]);
        let incoming = match endpoint.handle(now, from, None, None, bytes, &mut buffer) {
            Some(DatagramEvent::NewConnection(incoming)) => incoming,
            Some(DatagramEvent::Response(transmit)) => {
                // A negotiation; if it is lost, the client asks again.
                let _ = socket.send_to(&buffer[..transmit.size], datagram.from, None);
                continue;
            }
            _ => continue,
        };
        let Ok((handle, connection)) = endpoint.accept(incoming, now, &mut buffer, None) else { continue };
        let driver = Driver {
            scope: scope.clone(),
            socket: socket.clone(),
            remote: datagram.from,
            endpoint,
            handle,
            connection,
            buffer,
            timer: None,
            connected: false,
            lost: None,
            read_from: scope.now(),
            read_bytes: 0,
        };
        let driver = Rc::new(RefCell::new(driver));
        core::future::poll_fn(|poller| driver.borrow_mut().poll_connected(poller)).await?;
        return Ok(QuicConnection { driver, remote: datagram.from });
    }
}

fn server_config(scope: &Scope, tls: Arc<rustls::ServerConfig>) -> Result<Arc<ServerConfig>, Failure> {
    let crypto = QuicServerConfig::try_from(tls).map_err(|_| Failure::QuicHandshake)?;
    let key: [u8; 32] = random(&*scope.world);
    let token_key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&key);
    let TlsGround { clock, .. } = scope.world.tls();
    let mut config = ServerConfig::new(Arc::new(crypto), Arc::new(token_key));
    config.transport_config(transport(limits::HTTP)).time_source(Arc::new(Clock(clock)));
    Ok(Arc::new(config))
}

/// Answers requests of HTTP/3 on a connection, one after another, until the client leaves.
pub async fn serve<H, F>(connection: &QuicConnection, handler: H)
where
    H: Fn(Asked) -> F,
    F: Future<Output = Answer>,
{
    let driver = &connection.driver;
    let work = async {
        let mut builder = h3::server::builder();
        builder.send_grease(false);
        let Ok(mut session) = builder.build(Carrier(driver.clone())).await else { return };
        while let Ok(Some(resolver)) = session.accept().await {
            let Ok((request, mut stream)) = resolver.resolve_request().await else { continue };
            let mut body = Vec::new();
            while let Ok(Some(mut data)) = stream.recv_data().await {
                body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
            }
            let (head, ()) = request.into_parts();
            let headers = head.headers.iter();
            let asked = Asked {
                method: head.method.as_str().to_owned(),
                target: head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
                headers: headers
                    .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
                    .collect(),
                body,
            };
            let answer = handler(asked).await;
            let mut response = http::Response::builder().status(answer.code);
            for (name, value) in &answer.headers {
                response = response.header(name.to_ascii_lowercase(), value.as_str());
            }
            let Ok(response) = response.body(()) else { continue };
            // A client that breaks off is not the server's concern.
            if stream.send_response(response).await.is_ok()
                && stream.send_data(Bytes::from(answer.body)).await.is_ok()
            {
                let _ = stream.finish().await;
            }
        }
    };
    beside(driver, work).await;
}
