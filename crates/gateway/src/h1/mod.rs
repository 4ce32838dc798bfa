//! HTTP/1.1 carried by hand: heads parsed with httparse and written anew, bodies passed on as they
//! come. In reading order: `buffer` and `conn` move bytes, `http1` knows where a body ends,
//! `head`, `upward` and `response` read and write heads, `pump` moves a body, `exchange` carries one request to a Pod and
//! its answer back, `serve` is the loop over one client connection.

mod buffer;
mod conn;
mod exchange;
mod head;
mod pump;
mod response;
mod serve;
mod upstream;
mod upward;

pub(crate) use conn::Upstream;
pub(crate) use head::RequestHead;
pub(crate) use serve::serve;
pub(crate) use upstream::{connect, connect_address, connect_plain};

#[cfg(test)]
mod tests;
