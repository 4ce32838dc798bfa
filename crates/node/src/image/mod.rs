//! The node's images: names, content, unpacked layers; loading, building.
//!
//! In reading order: [`ImageStore`] is what the agent holds; `table` keeps its names, `blobs` its
//! content, `layers` what is unpacked, by `unpack`; `gc` makes room; `load` and `build` read and write image files;
//! `built` makes images out of directories, packed by `pack`, with the layers of earlier builds from `cache`;
//! [`Puller`] fetches from registries: `registries` says where they are, `keyring` who we are there,
//! `registry` speaks with one of them, `push` brings images there. `reference`, `digest` and `manifest` are the words of the OCI specification.

mod blobs;
pub mod build;
pub(crate) mod built;
pub(crate) mod cache;
mod digest;
mod error;
mod gc;
mod keyring;
mod layers;
mod load;
mod manifest;
pub(crate) mod pack;
mod pull;
mod push;
mod reference;
mod registries;
mod registry;
mod store;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod unpack;

pub use digest::{Digest, DigestError};
pub use error::{Error, Fault};
pub use gc::{GC_PERIOD, GcPolicy, collect};
pub use keyring::{Credentials, Keyring};
pub(crate) use manifest::ARCHITECTURE;
pub use manifest::ImageConfig;
pub use pull::{OnProgress, Progress, PullPolicy, Puller};
pub use push::Access;
pub use reference::Reference;
pub use registries::Registries;
pub use store::{Image, ImageStore, Summary};
