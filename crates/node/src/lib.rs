//! node.

pub mod net;
