//! The gateway over real sockets on the loopback: every test starts its own.

mod forward;
mod support;
