//! The broker over loopback sockets and temporary directories.

mod delivery;
mod ingress;
mod support;
mod traces;
mod transform;
mod troubles;
