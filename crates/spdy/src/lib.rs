//! SPDY/3.1 frames, as kubectl before 1.31 speaks them for exec, attach and port-forward.
//!
//! Bytes in, frames out, and back: no sockets here; the API server drives it. Of the protocol,
//! what Kubernetes' clients use: streams with headers and data, resets, pings and go-away. Flow
//! control is not among it (their library ignores it, so does this). Source of the format: the
//! SPDY draft 3.1 of the Chromium project, sections 2.2 and 2.6.

mod frame;
mod headers;

pub use frame::{Codec, Error, Frame};
pub use headers::Headers;
