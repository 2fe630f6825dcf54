//! Applications beside the web: STUN, calls, VPN protocols, SIP.

use core::net::IpAddr;

use okno_model::Failure;

use super::activity::Job;
use crate::net::Net;

/// Does what the job says with an application's server.
pub(crate) async fn perform(_net: &Net, _job: &Job, _address: IpAddr) -> Result<(), Failure> {
    Err(Failure::Unknown)
}

/// Starts the servers of applications on a service's host.
pub(crate) fn serve(
    _world: &crate::world::World,
    _host: crate::world::NodeId,
    _speaks: &[crate::scenario::Protocol],
) {
}
