//! What can go wrong with the node's network.

use std::io;
use std::net::Ipv4Addr;

use super::cidr::Cidr;

/// A failed step of the node's network. None of them is the user's fault save a name or a range
/// that is taken by somebody else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Starting or stopping the network failed. Without `CAP_NET_ADMIN` every start ends here.
    #[error("cannot {step}")]
    Setup {
        step: &'static str,
        source: io::Error,
    },
    /// The name of the bridge belongs to an interface of another kind.
    #[error("interface {name} exists and is no bridge; choose another name with --bridge")]
    NotABridge { name: String },
    /// A network interface's name is at most 15 bytes without `/` and spaces.
    #[error("{name:?} cannot be the name of a bridge; give --bridge 1 to 15 letters or digits")]
    BridgeName { name: String },
    /// Another instance has the bridge.
    #[error(
        "another instance uses the bridge {name} here; \
         give this one its own with --bridge, --pod-cidr and --service-cidr"
    )]
    BridgeTaken { name: String },
    /// The two ranges have addresses in common.
    #[error("--pod-cidr {pods} and --service-cidr {services} overlap; choose ranges apart")]
    RangesOverlap { pods: Cidr, services: Cidr },
    /// A range has addresses that are somebody else's.
    #[error("{flag} {range} overlaps {by}; choose another range")]
    RangeTaken {
        flag: &'static str,
        range: Cidr,
        by: String,
    },
    /// A Pod's network could not be made.
    #[error("cannot {step} for the Pod network of {ip}")]
    Pod {
        step: &'static str,
        ip: Ipv4Addr,
        source: io::Error,
    },
    /// Every address of the range is in use.
    #[error("the Pod range {range} has no free address; give --pod-cidr a larger one")]
    NoFreeAddress { range: Cidr },
    /// The network was stopped while somebody waited for a Pod network.
    #[error("the network is stopped")]
    Stopped,
}

impl Error {
    pub(super) fn setup(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Setup { step, source }
    }

    pub(super) fn pod(step: &'static str, ip: Ipv4Addr) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Pod { step, ip, source }
    }
}
