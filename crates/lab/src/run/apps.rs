//! Applications beside the web: STUN, calls over a relay, VPN protocols, SIP, by the lab's services and
//! clients.

use core::net::IpAddr;
use core::time::Duration;

use okno_model::Failure;
use okno_wire::tls::preset;

use super::activity::Job;
use super::servers::end;
use crate::clients::call::{CallPlan, call, sip_register, stun_binding};
use crate::clients::covert::{self, Opening};
use crate::clients::tunnel::{TunnelLoad, openvpn, wireguard};
use crate::clients::web;
use crate::net::Net;
use crate::scenario::{Activity, Protocol};
use crate::services::call::{serve_media_echo, serve_stun};
use crate::services::covert::{serve_dtls, serve_fake_tls};
use crate::services::plain::serve_sip;
use crate::services::tunnel::{serve_openvpn, serve_wireguard};
use crate::world::{NodeId, World};

/// IANA's ports; the echo that stands for a call's other side has none.
const STUN: u16 = 3478;
const WIREGUARD: u16 = 51_820;
const OPENVPN: u16 = 1194;
const SIP: u16 = 5060;
const ECHO: u16 = 40_000;
const FAKE_TLS: u16 = 443;
/// Snowflake's peers have whatever port their NAT gave them.
const DTLS: u16 = 40_001;

/// Outer name of Cloudflare's encrypted hellos (https://github.com/net4people/bbs/issues/417).
const ECH_OUTER: &str = "cloudflare-ech.com";

/// Loss above which nobody goes on talking (the lab's choice).
const TOO_MUCH_LOSS: f64 = 0.3;

/// Starts the servers of applications on a service's host. STUN's port may be the service's own.
pub(crate) fn serve(world: &World, host: NodeId, speaks: &[Protocol], port: Option<u16>) {
    let net = world.net(host);
    for protocol in speaks {
        match protocol {
            // a relay answers STUN as well; two of them would want the same port
            Protocol::Turn => {
                net.spawn(move |net| serve_stun(net, port.unwrap_or(STUN)));
                net.spawn(|net| serve_media_echo(net, ECHO));
            }
            Protocol::Stun if !speaks.contains(&Protocol::Turn) => {
                net.spawn(move |net| serve_stun(net, port.unwrap_or(STUN)));
            }
            Protocol::Wireguard => {
                net.spawn(move |net| serve_wireguard(net, port.unwrap_or(WIREGUARD)));
            }
            Protocol::Openvpn => {
                net.spawn(move |net| serve_openvpn(net, port.unwrap_or(OPENVPN)));
            }
            Protocol::Sip => {
                net.spawn(move |net| serve_sip(net, port.unwrap_or(SIP)));
            }
            Protocol::FakeTls => {
                net.spawn(move |net| serve_fake_tls(net, port.unwrap_or(FAKE_TLS)));
            }
            Protocol::Dtls => {
                net.spawn(move |net| serve_dtls(net, port.unwrap_or(DTLS)));
            }
            _ => {}
        }
    }
}

/// A browser's first flight: Firefox's hello with a post-quantum key, which takes two segments.
pub(crate) async fn first_flight(net: &Net, job: &Job, address: IpAddr) -> Result<(), Failure> {
    let name = if job.activity == Activity::Ech { ECH_OUTER } else { job.name.as_str() };
    let hello = preset::firefox(net.below(u64::MAX), Some(name), true);
    let remote = end(address, job.port.unwrap_or(443));
    let (seen, _) = web::first_flight(net, remote, &hello, job.timeout).await;
    seen.failure().map_or(Ok(()), |(_, failure)| Err(failure))
}

/// Does what the job says with an application's server.
pub(crate) async fn perform(net: &Net, job: &Job, address: IpAddr) -> Result<(), Failure> {
    let remote = |port: u16| end(address, job.port.unwrap_or(port));
    // half of the time for each step: handshake, then data
    let patience = job.timeout / 2;
    let load = TunnelLoad { packets: 40, every: Duration::from_millis(20), size: 1_008 };
    let seen = match job.activity {
        Activity::Stun => stun_binding(net, remote(STUN), patience).await,
        Activity::Call => {
            let (relay, peer) = (remote(STUN), end(address, ECHO));
            let plan = CallPlan { relay, peer, length: Duration::from_secs(4), payload: 160 };
            call(net, plan, patience).await
        }
        Activity::Wireguard => wireguard(net, remote(WIREGUARD), load, patience).await,
        Activity::Openvpn => openvpn(net, remote(OPENVPN), false, load, patience).await,
        Activity::FakeTls => {
            let opening = Opening::FakeTls(job.name.clone());
            covert::exchange(net, remote(FAKE_TLS), &opening, 3, 500, patience).await
        }
        Activity::Dtls => {
            let hello = okno_wire::dtls::preset::pion(net.below(u64::MAX));
            // long enough that a silence which begins late is felt
            covert::dtls_session(net, remote(DTLS), &hello, 30, patience).await
        }
        _ => sip_register(net, remote(SIP), &job.name, patience).await,
    };
    match seen.failure() {
        Some((_, failure)) => Err(failure),
        None if seen.media.is_some_and(|media| media.loss() > TOO_MUCH_LOSS) => Err(Failure::GenericTimeout),
        None => Ok(()),
    }
}
