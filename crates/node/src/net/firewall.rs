//! The node's rules of address translation, in a table of their own named after the bridge: Pods go
//! out under the node's address; Services' TCP goes to the forwarder, their UDP to an endpoint.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};

use super::cidr::Cidr;
use super::netlink::Socket;
use super::nft::{Batch, Expression, Hook};
use super::service::{Protocol, ServiceTable};

const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const UDP_MAP: &str = "udp";

/// What the rules are about.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Also the table's name.
    pub(super) bridge: String,
    pub(super) pods: Cidr,
    pub(super) services: Cidr,
    /// Where the forwarder listens, once there is one.
    pub(super) forwarder: Option<SocketAddrV4>,
}

impl Rules {
    /// Puts the rules in place of whatever the table held.
    pub(super) fn install(&self) -> io::Result<()> {
        let mut batch = Batch::new(&self.bridge)
            .replace_table()
            .nat_chain("postrouting", Hook::Postrouting)
            .rule(
                "postrouting",
                &[
                    Expression::SourceIn(self.pods),
                    Expression::DestinationNotIn(self.pods),
                    Expression::OutputIsNot(&self.bridge),
                    Expression::Masquerade,
                ],
            );
        if let Some(forwarder) = self.forwarder {
            // Pods answer each other past the node, so the asker must seem to be the node.
            let between_pods = [
                Expression::Translated,
                Expression::SourceIn(self.pods),
                Expression::DestinationIn(self.pods),
                Expression::Masquerade,
            ];
            batch = batch.rule("postrouting", &between_pods);
            batch = batch.address_map(UDP_MAP);
            for (chain, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
                let to_service = Expression::DestinationIn(self.services);
                let tcp = [
                    to_service.clone(),
                    Expression::Transport(IPPROTO_TCP),
                    Expression::Dnat(forwarder),
                ];
                let udp = [
                    to_service,
                    Expression::Transport(IPPROTO_UDP),
                    Expression::DnatByMap(UDP_MAP),
                ];
                batch = batch
                    .nat_chain(chain, hook)
                    .rule(chain, &tcp)
                    .rule(chain, &udp);
            }
        }
        batch.send(&mut Socket::netfilter()?)
    }

    /// Takes the table away.
    pub(super) fn remove(&self) -> io::Result<()> {
        match Batch::new(&self.bridge)
            .delete_table()
            .send(&mut Socket::netfilter()?)
        {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }
}

/// The UDP ports of Services as the kernel has them.
pub(super) struct UdpMap {
    bridge: String,
    current: BTreeMap<SocketAddrV4, SocketAddrV4>,
}

impl UdpMap {
    /// The map of freshly installed rules.
    pub(super) fn new(bridge: &str) -> Self {
        Self {
            bridge: bridge.to_owned(),
            current: BTreeMap::new(),
        }
    }

    /// Brings the map to what the table says. An endpoint is kept as long as it is one.
    pub(super) fn update(&mut self, table: &ServiceTable) -> io::Result<()> {
        let mut wanted = BTreeMap::new();
        for (ip, port, of) in table.addresses(Protocol::Udp) {
            let from = SocketAddrV4::new(ip, port);
            let endpoints = &of.port().endpoints;
            let kept = self
                .current
                .get(&from)
                .filter(|to| endpoints.contains(&SocketAddr::V4(**to)));
            let v4 = |endpoint: &SocketAddr| match endpoint {
                SocketAddr::V4(endpoint) => Some(*endpoint),
                SocketAddr::V6(_) => None,
            };
            let first = rand::random_range(0..endpoints.len().max(1));
            let mut turned = endpoints.iter().cycle().skip(first).take(endpoints.len());
            if let Some(to) = kept.copied().or_else(|| turned.find_map(v4)) {
                wanted.insert(from, to);
            }
        }
        if wanted == self.current {
            return Ok(());
        }
        let mut batch = Batch::new(&self.bridge);
        for (from, to) in &self.current {
            if wanted.get(from) != Some(to) {
                batch = batch.delete_map_element(UDP_MAP, *from);
            }
        }
        for (from, to) in &wanted {
            if self.current.get(from) != Some(to) {
                batch = batch.map_element(UDP_MAP, *from, *to);
            }
        }
        batch.send(&mut Socket::netfilter()?)?;
        self.current = wanted;
        Ok(())
    }
}
