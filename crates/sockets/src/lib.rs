//! The real network behind the probe's `Net`: the kernel's sockets by tokio, on one thread.
//!
//! It stands apart from `okno-probe`, because the lab links that crate and must reach no socket.
