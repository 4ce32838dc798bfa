//! The node's network as one handle: the bridge and the Pods' networks on it.
//!
//! The agent starts it, takes a Pod network per Pod and releases it; service addresses are the
//! matter of `service` and `forward`.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use super::cidr::Cidr;
use super::error::Error;
use super::firewall::Rules;
use super::link;
use super::netlink::Socket;
use super::netns;
use super::pod::{self, PodNet, Site};
use super::pool::Pool;

const MTU_ETHERNET: u32 = 1500;
/// Below this an interface cannot do IPv6, not even for itself.
const MTU_IPV6_MIN: u32 = 1280;

/// Where the network lives and how large it is.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Range of the Pods' addresses; its first address is the bridge's.
    pub pod_cidr: Cidr,
    /// Range of the Services' addresses.
    pub service_cidr: Cidr,
    /// Name of the bridge, at most 15 bytes, different for every instance on a machine.
    pub bridge: String,
    /// The names of the namespaces go to `netns` in this directory.
    pub data_dir: PathBuf,
    /// How many Pod networks are kept ready.
    pub ready: usize,
}

/// A started network. Cheap to clone; the last one dropped leaves bridge and Pods as they are, so
/// that containers outlive the daemon. [`Network::stop`] removes everything.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    config: NetConfig,
    site: Site,
    pool: Pool,
}

impl Network {
    /// Makes or takes over the bridge and starts filling the pool. What an earlier process left is
    /// there for [`Network::adopt`] until [`Network::sweep`].
    ///
    /// Blocks for some milliseconds. Needs root or `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`.
    pub fn start(config: NetConfig) -> Result<Self, Error> {
        let names = config.data_dir.join("netns");
        netns::prepare_names(&names).map_err(Error::setup("prepare the directory netns"))?;
        let started = Self::start_with(config, names.clone());
        if started.is_err() {
            netns::remove_names_if_unused(&names);
        }
        started
    }

    fn start_with(config: NetConfig, names: PathBuf) -> Result<Self, Error> {
        let mut socket = Socket::route().map_err(Error::setup("open a netlink socket"))?;
        let bridge_mac = link::mac_of(config.pod_cidr.gateway());
        let bridge_index = set_up_bridge(&mut socket, &config, bridge_mac)?;
        let site = Site {
            bridge: config.bridge.clone(),
            bridge_index,
            bridge_mac,
            range: config.pod_cidr,
            mtu: uplink_mtu(&mut socket),
            names,
        };
        let leftovers = pod::leftovers(&site).map_err(Error::setup("list the directory netns"))?;
        remove_strangers(&mut socket, &site, &leftovers)
            .map_err(Error::setup("remove interfaces an earlier run left"))?;
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")
            .map_err(Error::setup("switch IPv4 forwarding on"))?;
        let pool = Pool::start(site.clone(), config.ready, leftovers)?;
        let network = Self(Arc::new(Inner { config, site, pool }));
        if let Err(error) = network.rules().install() {
            tracing::warn!(
                %error,
                "no nf_tables: Pods reach nothing outside, Services have no UDP"
            );
        }
        Ok(network)
    }

    /// A network for a new Pod: at once when one is ready, else as soon as one is made.
    pub async fn take(&self) -> Result<PodNet, Error> {
        self.0.pool.take().await
    }

    /// How many Pod networks are ready now.
    pub fn ready(&self) -> usize {
        self.0.pool.ready()
    }

    /// The network of a Pod that outlived the daemon, by [`PodNet::name`]. None when it is gone or
    /// was adopted before.
    pub fn adopt(&self, name: &str) -> Option<PodNet> {
        self.0.pool.adopt(name)
    }

    /// Releases what an earlier process left and nobody adopted. Call it when the agent has seen
    /// all its Pods.
    pub fn sweep(&self) {
        self.0.pool.sweep();
    }

    /// Takes a Pod's network away, in the background. Its address becomes free after all others of
    /// the range have been used.
    pub fn release(&self, pod: PodNet) {
        self.0.pool.release(pod);
    }

    /// The bridge's address: the Pods' gateway and name server, and where the node answers them.
    pub fn gateway(&self) -> Ipv4Addr {
        self.0.config.pod_cidr.gateway()
    }

    /// What it was started with.
    pub fn config(&self) -> &NetConfig {
        &self.0.config
    }

    /// The rules of address translation, without a forwarder.
    pub(super) fn rules(&self) -> Rules {
        let config = self.config();
        Rules {
            bridge: config.bridge.clone(),
            pods: config.pod_cidr,
            services: config.service_cidr,
            forwarder: None,
        }
    }

    /// Ends the background work and leaves bridge and networks in use in place for the next process.
    /// Blocks until the stock and what was released is gone, some tens of milliseconds.
    pub fn detach(&self) {
        self.0.pool.stop(false);
        netns::remove_names_if_unused(&self.0.site.names);
    }

    /// Removes bridge, Pod networks and their names. Only for when no Pod runs. Blocks for some
    /// tens of milliseconds.
    pub fn stop(&self) -> Result<(), Error> {
        self.0.pool.stop(true);
        let mut socket = Socket::route().map_err(Error::setup("open a netlink socket"))?;
        remove_strangers(&mut socket, &self.0.site, &[])
            .map_err(Error::setup("remove the Pods' interfaces"))?;
        socket
            .request(link::delete(self.0.site.bridge_index))
            .map_err(Error::setup("remove the bridge"))?;
        // Only there where the forwarder did without nf_tables.
        let _ = socket.request(link::delete_local_route(1, self.0.config.service_cidr));
        netns::remove_names(&self.0.site.names);
        self.rules()
            .remove()
            .map_err(Error::setup("remove the rules of address translation"))
    }
}

/// What fits through the interface of the default route, so that nothing of a Pod's has to be
/// broken up on its way out.
fn uplink_mtu(socket: &mut Socket) -> u32 {
    let table = std::fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let default = table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let (interface, destination) = (words.next()?, words.next()?);
        (destination == "00000000").then(|| interface.to_owned())
    });
    let uplink = default.and_then(|name| link::find(socket, &name).ok().flatten());
    uplink.map_or(MTU_ETHERNET, |uplink| {
        uplink.mtu.clamp(MTU_IPV6_MIN, MTU_ETHERNET)
    })
}

/// Makes the bridge, or takes over the one an earlier process left; returns its index.
fn set_up_bridge(socket: &mut Socket, config: &NetConfig, mac: link::Mac) -> Result<u32, Error> {
    let name = config.bridge.as_str();
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > 15 || name.starts_with('.') || name.contains(bad) {
        return Err(Error::BridgeName {
            name: name.to_owned(),
        });
    }
    let step = Error::setup("make the bridge");
    let found = match link::find(socket, name).map_err(Error::setup("look for the bridge"))? {
        Some(found) => found,
        None => {
            socket.request(link::new_bridge(name, mac)).map_err(step)?;
            link::find(socket, name)
                .and_then(|link| link.ok_or_else(|| std::io::ErrorKind::NotFound.into()))
                .map_err(Error::setup("look for the bridge"))?
        }
    };
    if found.kind.as_deref() != Some("bridge") {
        return Err(Error::NotABridge {
            name: name.to_owned(),
        });
    }
    let (gateway, index) = (config.pod_cidr.gateway(), found.index);
    socket
        .batch(vec![
            link::set_mac(index, mac),
            link::set_up(index),
            link::add_address(index, gateway, config.pod_cidr),
            link::add_range_route(index, config.service_cidr, gateway),
        ])
        .map_err(Error::setup("give the bridge its address"))?;
    Ok(index)
}

/// Deletes every veth on the bridge that belongs to none of `keep`.
fn remove_strangers(socket: &mut Socket, site: &Site, keep: &[PodNet]) -> std::io::Result<()> {
    let kept: Vec<String> = keep
        .iter()
        .map(|pod| site.host_interface(pod.ip()))
        .collect();
    for link in link::list(socket)? {
        let ours = link.master == Some(site.bridge_index) && link.kind.as_deref() == Some("veth");
        if ours && !kept.contains(&link.name) {
            // It may vanish by itself at this moment, with its namespace.
            let _ = socket.request(link::delete(link.index));
        }
    }
    Ok(())
}
