//! Dialling back: a connection whose first packet comes from outside, on the wish of the one it goes to.
//!
//! Stateful rules of the Russian boxes look only at flows that a subscriber opened (IMC 2022,
//! doi:10.1145/3517745.3561461), so the same content on a connection that the partner opens shows whether
//! such a rule is at work. The request is `dial PORT` inside a replay ([`super::replay::Request::DialBack`]);
//! the partner connects to nothing but the address that asks, at a port from 1024 on, once a request.

use core::time::Duration;

use okno_wire::Endpoint;

use crate::net::{Dial, NetError, NetErrorKind, Stream, World};

/// Patience of the partner with the connection it opens.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// Connects to `to`, from the partner's own service port where the system lets it: then both directions
/// differ in nothing but who spoke first.
pub async fn dial(world: &World, to: Endpoint, own_port: u16) -> Result<Box<dyn Stream>, NetError> {
    let how = Dial { own_port: Some(own_port), patience: PATIENCE, ..Dial::to(to) };
    match world.connect(how).await {
        Err(error)
            if matches!(
                error.kind,
                NetErrorKind::InUse | NetErrorKind::NotPermitted | NetErrorKind::Local
            ) =>
        {
            world.connect(Dial { own_port: None, ..how }).await
        }
        result => result,
    }
}

/// What the partner says of it, one word.
pub const fn word(result: &Result<Box<dyn Stream>, NetError>) -> &'static str {
    match result {
        Ok(_) => "dialled",
        Err(error) => match error.kind {
            NetErrorKind::Refused | NetErrorKind::Reset => "refused",
            NetErrorKind::TimedOut => "silent",
            NetErrorKind::HostUnreachable | NetErrorKind::NetworkUnreachable => "unreachable",
            _ => "unable",
        },
    }
}
