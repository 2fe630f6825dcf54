//! What hosts of the lab answer: each service is a program, `host.spawn(|net| serve_…(net, …))`.
//!
//! A service that the scenario changes while it runs (slow, geo-blocking, other addresses) takes its manners
//! as a [`Shared`] value and looks at it anew for each request. DNS, HTTP, TLS and QUIC are real; of tunnels
//! and calls the messages and their order are, the bytes that would be encrypted are random.

pub mod call;
pub mod covert;
pub mod dns;
pub mod plain;
pub mod tunnel;
pub mod web;

use core::cell::RefCell;
use std::rc::Rc;

/// A value that a program reads and its world changes.
pub type Shared<T> = Rc<RefCell<T>>;

/// A shared value.
pub fn shared<T>(value: T) -> Shared<T> {
    Rc::new(RefCell::new(value))
}
