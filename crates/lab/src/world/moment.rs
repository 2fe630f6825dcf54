//! Virtual time for libraries that ask for the time without taking it as an argument.
//!
//! Certificate verification and QUIC tokens ask a provider object. The provider reads this thread-local,
//! which a world sets before its programs run; it is never the wall clock.

use core::cell::Cell;

use okno_wire::Instant;

thread_local! {
    static NOW: Cell<Instant> = const { Cell::new(Instant::ZERO) };
}

/// Virtual time of the world whose programs run.
pub(crate) fn now() -> Instant {
    NOW.get()
}

/// Sets it.
pub(crate) fn set(now: Instant) {
    NOW.set(now);
}
