//! Everything that touches HTTP/2, through hyper: clients with prior knowledge or ALPN, revisions
//! that speak h2c (gRPC), and HTTP/1.1 clients of such revisions. In reading order: `serve` takes
//! connections over and answers requests, `headers` rewrites them, `upstream` pools connections to
//! applications, `body` keeps a request's slots until its last byte.

mod body;
mod headers;
mod serve;
mod upstream;

pub(crate) use serve::{Version, take_over};
pub(crate) use upstream::Connections;
