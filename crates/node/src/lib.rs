//! node.

pub mod image;
pub mod net;
