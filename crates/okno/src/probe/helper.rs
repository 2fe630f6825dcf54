//! `okno probe helper`: the other side of measurements, on kernel sockets.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use okno_probe::World;
use okno_probe::dns::Resolver;
use okno_probe::helper::udp_echo::{self, EchoSetup};
use okno_probe::helper::web::{Helper as Web, HelperOptions};
use okno_probe::helper::{echo, partner};
use okno_probe::net::Endpoint;
use okno_sockets::{Setup, TokioNet};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::cli::Helper;
use crate::Unusable;

fn end(address: std::net::SocketAddr) -> Endpoint {
    Endpoint { ip: address.ip(), port: address.port() }
}

pub fn run(args: &Helper) -> Result<ExitCode> {
    let tls = tls(args)?;
    okno_sockets::run(async {
        let world: World = TokioNet::new(&Setup::default());
        let cannot = |what: &str, error: okno_probe::net::NetError| {
            anyhow::anyhow!("cannot listen on {what}: {:?}", error.kind)
        };
        let listener =
            world.listen(end(args.listen)).map_err(|error| cannot(&args.listen.to_string(), error))?;
        let local = listener.local();
        let scheme = if tls.is_some() { "https" } else { "http" };
        eprintln!("okno: helper at {scheme}://{}:{}/, ends with Ctrl-C", local.ip, local.port);
        if let Some(ip) = args.udp {
            let setup = EchoSetup::at(ip);
            udp_echo::serve(&world, &setup).map_err(|error| cannot(&format!("{ip}, UDP"), error))?;
            eprintln!("okno: UDP probes at {ip}, ports {:?}", setup.udp);
        }
        if let Some(address) = args.partner {
            partner::serve(&world, end(address)).map_err(|error| cannot(&address.to_string(), error))?;
            eprintln!("okno: partner at {address}");
        }
        if let Some(address) = args.echo {
            let listener = world.listen(end(address)).map_err(|error| cannot(&address.to_string(), error))?;
            world.spawn(Box::pin(echo::serve(world.clone(), listener)));
            eprintln!("okno: echo of HTTP at {address}");
        }
        let options = HelperOptions {
            resolver: args.resolver.map_or(Resolver::System, |address| Resolver::Udp(end(address))),
            private_targets: args.allow_private,
            ..HelperOptions::default()
        };
        world.spawn(Box::pin(Web::new(world.clone(), options).run(listener, tls)));
        tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
        Ok(ExitCode::SUCCESS)
    })?
}

fn tls(args: &Helper) -> Result<Option<Arc<ServerConfig>>> {
    let (Some(chain), Some(key)) = (&args.certificate, &args.key) else { return Ok(None) };
    let wrong =
        |path: &std::path::Path, what: &str| Unusable(format!("{}: no {what} in PEM", path.display()));
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(chain).map_err(|_| wrong(chain, "certificate"))?.collect();
    let certificates = certificates.map_err(|_| wrong(chain, "certificate"))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|_| wrong(key, "private key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("ring has suites for both versions")?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(|error| Unusable(format!("certificate and key: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}
