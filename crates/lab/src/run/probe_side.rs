//! The other side of probes in a cell: test helpers, partners, echoes, and what messengers' endpoints answer.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use futures::AsyncReadExt as _;
use okno_model::Failure;
use okno_probe::helper::web::{Helper, HelperLimits, HelperOptions};
use okno_probe::helper::{echo, partner, udp_echo};
use okno_probe::net::{Listener, NetError, Stream, within};
use okno_probe::{Task, World as ProbeWorld};
use okno_wire::Endpoint;

use super::clients::Cast;
use super::names::{CellResolver, Zone};
use crate::probe::{LabNet, Names};
use crate::scenario::Protocol;
use crate::world::{NodeId, World};

/// Limits that a cell's probes never meet: the lab measures networks, not how helpers fend off crowds.
fn no_limits() -> HelperLimits {
    HelperLimits {
        at_once: 10_000,
        at_once_each: 1_000,
        burst: 1e9,
        per_second: 1e9,
        connections: 10_000,
        connections_each: 10_000,
        ..HelperLimits::default()
    }
}

pub(super) const fn any(port: u16) -> Endpoint {
    Endpoint { ip: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), port }
}

impl Cast<'_, '_> {
    /// Starts what a service has for probes.
    pub fn serve_probes(&self, world: &World, host: NodeId, at: usize, zone: &Rc<Zone>) {
        let Some(placed) = self.plan.services.get(at) else { return };
        let net = world.net(host);
        let lab = LabNet::new(net.clone(), None, self.certificates.ground.clone())
            .with_names(self.names_abroad(zone))
            .world();
        for protocol in &placed.service.speaks {
            let lab = lab.clone();
            match protocol {
                Protocol::Helper => self.helper(&net, lab, at),
                Protocol::Dns => {
                    let (zone, house) = (zone.clone(), self.house.clone());
                    // a service that has pages too answers with those on 443
                    let https = placed.service.speaks.contains(&Protocol::Https);
                    let config = self.certificates.servers.get(at).and_then(|of| of.as_ref());
                    let config = config.map(|of| &of[0]).filter(|_| !https);
                    CellResolver { zone, house, portal: None }.over_streams(&lab, config);
                }
                Protocol::Partner => start(&net, async move { partner::serve(&lab, any(443)) }),
                Protocol::UdpEcho => {
                    let setup =
                        udp_echo::EchoSetup { budget: u32::MAX, ..udp_echo::EchoSetup::at(any(0).ip) };
                    start(&net, async move { udp_echo::serve(&lab, &setup) });
                }
                Protocol::HttpEcho => {
                    listening(&net, lab, 80, |world, listener| Box::pin(echo::serve(world, listener)))
                }
                Protocol::TelegramDc => {
                    for port in [80, 443] {
                        listening(&net, lab.clone(), port, |world, listener| {
                            Box::pin(data_centre(world, listener))
                        });
                    }
                }
                Protocol::Chat => {
                    for port in [443, 5222] {
                        listening(&net, lab.clone(), port, |world, listener| Box::pin(chat(world, listener)));
                    }
                }
                _ => {}
            }
        }
    }

    /// Names as a resolver abroad gives them.
    fn names_abroad(&self, zone: &Rc<Zone>) -> Names {
        let (zone, house) = (zone.clone(), self.house.clone());
        Rc::new(move |name: &str| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            zone.find_abroad(&name, &house.circumstances.borrow()).ok_or(Failure::DnsNxDomain)
        })
    }

    fn helper(&self, net: &crate::net::Net, lab: ProbeWorld, at: usize) {
        let Some(Some([config, _])) = self.certificates.servers.get(at) else { return };
        let config = config.clone();
        let networks: BTreeMap<IpAddr, u32> = self
            .plan
            .services
            .iter()
            .flat_map(|placed| {
                placed.addresses.iter().chain(&placed.spare).map(|ip| (*ip, placed.hosting.asn))
            })
            .collect();
        let options = HelperOptions {
            network_of: Rc::new(move |ip| networks.get(&ip).copied().unwrap_or(0)),
            limits: no_limits(),
            ..HelperOptions::default()
        };
        net.spawn(move |_| async move {
            let Ok(listener) = lab.listen(any(443)) else { return };
            Helper::new(lab, options).run(listener, Some(config)).await;
        });
    }
}

fn start(net: &crate::net::Net, work: impl Future<Output = Result<(), NetError>> + 'static) {
    net.spawn(|_| work);
}

fn listening(
    net: &crate::net::Net,
    world: ProbeWorld,
    port: u16,
    serve: impl FnOnce(ProbeWorld, Box<dyn Listener>) -> Task<'static, ()> + 'static,
) {
    net.spawn(move |_| async move {
        if let Ok(listener) = world.listen(any(port)) {
            serve(world, listener).await;
        }
    });
}

/// How long an endpoint keeps a silent connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// Telegram's data centres answer any POST over plain HTTP with 501, whatever the port (ts-020).
async fn data_centre(world: ProbeWorld, mut listener: Box<dyn Listener>) {
    while let Ok(stream) = listener.accept().await {
        let inner = world.clone();
        world.spawn(Box::pin(async move {
            let _ = within(&*inner, PATIENCE, not_implemented(stream)).await;
        }));
    }
}

async fn not_implemented(mut stream: Box<dyn Stream>) -> std::io::Result<()> {
    use futures::AsyncWriteExt as _;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 2_048]);
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") && bytes.len() < 16_384 {
        match stream.read(&mut chunk).await? {
            0 => return Ok(()),
            taken => bytes.extend_from_slice(&chunk[..taken]),
        }
    }
    let page = "<html><head><title>501 Not Implemented</title></head><body></body></html>";
    let head = format!(
        "HTTP/1.1 501 Not Implemented\r\nServer: nginx\r\nContent-Type: text/html\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.close().await
}

/// Takes connections and says nothing, as endpoints of chats do to strangers.
async fn chat(world: ProbeWorld, mut listener: Box<dyn Listener>) {
    while let Ok(mut stream) = listener.accept().await {
        let inner = world.clone();
        world.spawn(Box::pin(async move {
            let mut chunk = [0; 512];
            let silent = async { while let Ok(1..) = stream.read(&mut chunk).await {} };
            within(&*inner, PATIENCE, silent).await;
        }));
    }
}
