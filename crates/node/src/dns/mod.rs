//! The cluster's DNS: names of Services and Pods for the Pods of this node.
//!
//! In reading order: [`DnsServer`] listens; `zone` answers from the table of Services; `upstream`
//! asks the node's resolvers for the rest; `resolv` writes a Pod's `/etc/resolv.conf`.

mod resolv;
mod server;
#[cfg(test)]
mod tests;
mod upstream;
mod zone;

pub use resolv::{DnsPolicy, PodResolver, ResolvConf};
pub use server::{DnsConfig, DnsServer, Error};
