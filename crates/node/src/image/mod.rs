//! The node's images: names, content, unpacked layers; loading, building.
//!
//! In reading order: [`ImageStore`] is what the agent holds; `table` keeps its names, `blobs` its
//! content, `layers` what is unpacked, by `unpack`; `load` and `build` read and write image files;
//! `reference`, `digest` and `manifest` are the words of the OCI specification.

mod blobs;
pub mod build;
mod digest;
mod error;
mod layers;
mod load;
mod manifest;
mod reference;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod unpack;

pub use digest::{Digest, DigestError};
pub use error::Error;
pub use manifest::ImageConfig;
pub use reference::Reference;
pub use store::{Image, ImageStore, Summary};
