//! The node's network: one bridge, one namespace and address per Pod, made ahead.
//!
//! In reading order: [`Network`] is the handle the agent holds; `pool` keeps Pod networks in stock;
//! `pod` makes one; `link` and `netlink` are the kernel's language; `netns` moves threads between
//! namespaces; `cidr` counts addresses; `claim` keeps instances apart. [`Services`] is the table of Services; [`ServiceProxy`]
//! forwards connections to them, `firewall` (in the words of `nft`) brings them there.

mod cidr;
mod claim;
mod error;
mod firewall;
mod forward;
mod link;
mod netlink;
mod netns;
mod network;
mod nft;
mod pod;
mod pool;
mod service;
mod splice;
#[cfg(test)]
pub(crate) mod tests;

pub use cidr::{Cidr, CidrError};
pub use claim::Claim;
pub use error::Error;
pub use forward::ServiceProxy;
pub use netns::in_netns;
pub(crate) use netns::isolated;
pub use network::{NetConfig, Network};
pub use pod::{POD_INTERFACE, PodNet};
pub use service::{
    HeadlessAddress, PortOf, Protocol, Service, ServiceChange, ServicePort, ServiceTable, Services,
};
