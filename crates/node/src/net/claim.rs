//! What one instance takes of a machine's network, the bridge and two ranges, is taken by nobody
//! else: neither by another instance nor by the machine itself. Asked by the node before it
//! changes anything.
//!
//! A claim is a Unix socket with an abstract name: it exists in one network namespace, others can
//! list it, and it goes with its process, however that ends.

use std::io;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::cidr::Cidr;
use super::error::Error;
use super::link;
use super::netlink::Socket;
use super::network::NetConfig;

/// What the names of claims begin with.
const PREFIX: &str = "rekindle/network/";
/// Where the kernel lists the sockets of this network namespace.
const SOCKETS: &str = "/proc/thread-self/net/unix";

/// Bridge and ranges as taken; given back when dropped.
#[derive(Debug)]
pub struct Claim(#[allow(dead_code)] UnixDatagram);

impl Claim {
    /// Takes what `config` names.
    ///
    /// # Errors
    /// When the ranges overlap each other, those of another instance, or an address of the
    /// machine, and when another instance has the bridge.
    pub fn take(config: &NetConfig) -> Result<Self, Error> {
        let wanted = Taken {
            bridge: config.bridge.clone(),
            ranges: [config.pod_cidr, config.service_cidr],
        };
        let [pods, services] = wanted.ranges;
        if pods.overlaps(services) {
            return Err(Error::RangesOverlap { pods, services });
        }
        let sockets = std::fs::read_to_string(SOCKETS)
            .map_err(Error::setup("list the claims of other instances"))?;
        for other in claims(&sockets) {
            wanted.stands_beside(&other)?;
        }
        wanted.stands_beside_machine()?;
        let name = SocketAddr::from_abstract_name(wanted.name());
        let socket = name.and_then(|name| UnixDatagram::bind_addr(&name));
        match socket {
            Ok(socket) => Ok(Self(socket)),
            // It came between the list and now.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(wanted.bridge_taken()),
            Err(error) => Err(Error::setup("claim bridge and ranges")(error)),
        }
    }
}

/// A bridge, the Pods' range and the Services'.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    bridge: String,
    ranges: [Cidr; 2],
}

/// The flags behind the two ranges.
const FLAGS: [&str; 2] = ["--pod-cidr", "--service-cidr"];

impl Taken {
    fn name(&self) -> String {
        let [pods, services] = self.ranges;
        format!("{PREFIX}{pods}/{services}/{}", self.bridge)
    }

    fn parse(name: &str) -> Option<Self> {
        let mut words = name.strip_prefix(PREFIX)?.splitn(5, '/');
        let mut range = || {
            let (base, prefix) = (words.next()?, words.next()?);
            format!("{base}/{prefix}").parse().ok()
        };
        let ranges = [range()?, range()?];
        let bridge = words.next()?.to_owned();
        Some(Self { bridge, ranges })
    }

    fn bridge_taken(&self) -> Error {
        Error::BridgeTaken {
            name: self.bridge.clone(),
        }
    }

    fn stands_beside(&self, other: &Self) -> Result<(), Error> {
        if self.bridge == other.bridge {
            return Err(self.bridge_taken());
        }
        for (flag, range) in FLAGS.iter().zip(self.ranges) {
            if let Some(&taken) = other.ranges.iter().find(|taken| taken.overlaps(range)) {
                return Err(Error::RangeTaken {
                    flag,
                    range,
                    by: format!("{taken} of the instance with the bridge {}", other.bridge),
                });
            }
        }
        Ok(())
    }

    /// An address of the machine inside a range would be shadowed by the Pods.
    fn stands_beside_machine(&self) -> Result<(), Error> {
        let step = Error::setup("list the machine's addresses");
        let addresses = Socket::route().and_then(|mut socket| addresses(&mut socket));
        for (interface, address) in addresses.map_err(step)? {
            let clash = FLAGS.iter().zip(self.ranges);
            let mut clash = clash.filter(|(_, range)| range.contains(address));
            // The bridge itself may be there still, from before a crash.
            if let Some((flag, range)) = clash.next()
                && interface != self.bridge
            {
                let by = format!("address {address} of interface {interface}");
                return Err(Error::RangeTaken { flag, range, by });
            }
        }
        Ok(())
    }
}

/// The claims in a listing of the kernel's; abstract names begin with `@` there.
fn claims(sockets: &str) -> impl Iterator<Item = Taken> {
    let names = sockets.lines().filter_map(|line| line.rsplit_once(" @"));
    names.filter_map(|(_, name)| Taken::parse(name))
}

/// Every IPv4 address of the machine with the name of its interface.
fn addresses(socket: &mut Socket) -> io::Result<Vec<(String, Ipv4Addr)>> {
    let links = link::list(socket)?;
    let named = |index| links.iter().find(|link| link.index == index);
    let name = |index| named(index).map_or_else(String::new, |link| link.name.clone());
    let found = link::addresses(socket)?.into_iter();
    Ok(found
        .map(|(index, address)| (name(index), address))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bridge: &str, pods: &str, services: &str) -> Taken {
        Taken {
            bridge: bridge.to_owned(),
            ranges: [pods, services].map(|range| range.parse().expect("a range")),
        }
    }

    #[test]
    fn a_claim_is_read_back_from_the_kernels_list() {
        let ours = taken("rekindle0", "10.42.0.0/16", "10.43.0.0/16");
        let list = format!(
            "Num       RefCount Protocol Flags    Type St Inode Path\n\
             000000: 00000002 00000000 00010000 0001 01 177 /run/a/socket\n\
             000000: 00000002 00000000 00000000 0002 01 178 @{}\n\
             000000: 00000002 00000000 00000000 0002 01 179 @another\n",
            ours.name()
        );
        assert_eq!(claims(&list).collect::<Vec<_>>(), [ours]);
    }

    #[test]
    fn what_another_has_is_refused_by_name() {
        let other = taken("rekindle0", "10.42.0.0/16", "10.43.0.0/16");
        for (bridge, pods, services, refusal) in [
            ("b", "10.44.0.0/16", "10.45.0.0/16", ""),
            ("rekindle0", "10.44.0.0/16", "10.45.0.0/16", "--bridge"),
            ("b", "10.42.8.0/24", "10.45.0.0/16", "--pod-cidr"),
            ("b", "10.43.0.0/16", "10.45.0.0/16", "--pod-cidr"),
            ("b", "10.44.0.0/16", "10.0.0.0/8", "--service-cidr"),
        ] {
            let said = taken(bridge, pods, services).stands_beside(&other);
            let said = said
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert_eq!(said.is_empty(), refusal.is_empty(), "{said}");
            assert!(said.contains(refusal), "{said}");
        }
    }
}
