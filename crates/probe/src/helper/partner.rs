//! The partner: a host that consents to be measured against. One TCP port, one UDP port.
//!
//! TCP answers probes' replays ([`super::replay`]) and dials back on request ([`super::dialback`]); UDP says
//! what came of a datagram in fragments ([`super::fragments`]). Whoever is no probe is closed on without a
//! byte, so that the port is of no use to others: it sends much only to who has sent a hello on a whole
//! connection.

use okno_wire::Endpoint;

use super::replay::{self, Request};
use super::{dialback, fragments};
use crate::net::{Listener, NetError, Stream, World};

/// Port of a partner unless it says another: names in hellos are looked for on 443 above all.
pub const PORT: u16 = 443;

/// Opens both ports of `local` and answers until the session ends. Gives what stands in the way of listening;
/// without a free UDP port the census alone is missing.
pub fn serve(world: &World, local: Endpoint) -> Result<(), NetError> {
    let listener = world.listen(local)?;
    if let Ok(socket) = fragments::open(world, local) {
        world.spawn(Box::pin(fragments::serve(world.clone(), socket)));
    }
    world.spawn(Box::pin(accept(world.clone(), listener)));
    Ok(())
}

async fn accept(world: World, mut listener: Box<dyn Listener>) {
    let own_port = listener.local().port;
    while let Ok(stream) = listener.accept().await {
        world.spawn(Box::pin(guest(world.clone(), stream, own_port)));
    }
}

/// One connection.
async fn guest(world: World, stream: Box<dyn Stream>, own_port: u16) {
    let (_, remote) = stream.ends();
    let Some((mut talk, request)) = replay::receive(&*world, stream).await else { return };
    // A guest that goes away mid-way is its own affair.
    let _ = match request {
        Request::DialBack(port) => {
            let to = Endpoint { ip: remote.ip, port };
            let dialled = dialback::dial(&world, to, own_port).await;
            let said = replay::say(&*world, &mut talk, dialback::word(&dialled)).await;
            if let Ok(stream) = dialled {
                world.spawn(Box::pin(dialled_guest(world.clone(), stream)));
            }
            said
        }
        request => replay::serve(&*world, &mut talk, &request).await,
    };
    linger(world, talk).await;
}

/// A connection that the partner opened; a request to dial back is not taken from it.
async fn dialled_guest(world: World, stream: Box<dyn Stream>) {
    if let Some((mut talk, request)) = replay::receive(&*world, stream).await {
        let _ = replay::serve(&*world, &mut talk, &request).await;
        linger(world, talk).await;
    }
}

/// Waits for the guest's end: to close first would cut what is on its way.
async fn linger(world: World, mut talk: replay::Talk) {
    let mut byte = [0; 64];
    let _ = crate::flow::read(&*world, &mut talk, &mut byte, core::time::Duration::from_secs(20)).await;
    drop(talk);
}
