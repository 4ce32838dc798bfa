//! The gateway over real sockets on the loopback: every test starts its own.

mod body;
mod forward;
mod http2;
mod internal;
mod lifecycle;
mod limits;
mod queue;
mod strict;
mod support;
mod traces;
