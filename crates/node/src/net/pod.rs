//! One Pod's network: a namespace with loopback, `eth0`, an address and a default route, its other
//! end on the bridge. Making one, finding one again, taking many away.
//!
//! `pool` decides when; the functions here do it, synchronously, on the pool's own threads.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cidr::Cidr;
use super::error::Error;
use super::link::{self, Mac, Veth};
use super::netlink::{Message, Socket};
use super::netns;

/// How long a new veth may take to be connected, and how often that is looked at.
const CONNECTED_MAX: Duration = Duration::from_secs(5);
const CONNECTED_AGAIN: Duration = Duration::from_micros(200);

/// Name of the interface inside a Pod.
pub const POD_INTERFACE: &str = "eth0";

/// A Pod's network, ready for use. The namespace lives until `Network::release`, with or without
/// this value and this process.
#[derive(Clone, Debug)]
pub struct PodNet {
    name: String,
    ip: Ipv4Addr,
    netns: Arc<OwnedFd>,
    path: PathBuf,
}

impl PodNet {
    /// The name to note down and give to `Network::adopt` after a restart.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Pod's address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// The namespace, for `setns` and [`super::in_netns`].
    pub fn netns(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }

    /// The namespace's name in the file system.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What every Pod network of one `Network` has in common.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) bridge: String,
    pub(super) bridge_index: u32,
    pub(super) bridge_mac: Mac,
    pub(super) range: Cidr,
    pub(super) mtu: u32,
    /// Directory of the namespaces' names.
    pub(super) names: PathBuf,
}

impl Site {
    /// The name of a veth's outer end: short, and different for every bridge and address.
    pub(super) fn host_interface(&self, ip: Ipv4Addr) -> String {
        let tag = self.bridge.bytes().fold(0x811c_u16, |hash, byte| {
            (hash ^ u16::from(byte)).wrapping_mul(0x0193).rotate_left(3)
        });
        format!("v{tag:04x}{:08x}", ip.to_bits())
    }

    /// A number for interfaces on their way out that no other bridge of this machine uses.
    fn grave(&self) -> u32 {
        0x726b_0000 | (self.bridge_index & 0xffff)
    }
}

/// Makes a Pod's network with this address. Takes about a millisecond.
pub(super) fn make(site: &Site, host: &mut Socket, ip: Ipv4Addr) -> Result<PodNet, Error> {
    let (netns, inside) =
        netns::create(prepare_inside).map_err(Error::pod("make the namespace", ip))?;
    let mut inside = inside.map_err(Error::pod("bring loopback up", ip))?;
    let host_name = site.host_interface(ip);
    let veth = Veth {
        host_name: &host_name,
        pod_name: POD_INTERFACE,
        pod_mac: link::mac_of(ip),
        pod_netns: netns.as_fd(),
        mtu: site.mtu,
    };
    let outer = vec![
        link::new_veth(&veth),
        link::attach(&host_name, site.bridge_index),
        link::add_neighbour(site.bridge_index, ip, link::mac_of(ip)),
    ];
    host.batch(outer)
        .map_err(Error::pod("make the veth pair", ip))?;
    let made = configure_inside(site, &mut inside, ip)
        .and_then(|()| wait_until_connected(&mut inside, POD_INTERFACE))
        .and_then(|()| wait_until_connected(host, &host_name))
        // It is connected when its first port is.
        .and_then(|()| wait_until_connected(host, &site.bridge))
        .map_err(Error::pod("configure eth0", ip));
    let name = ip.to_string();
    let path = site.names.join(&name);
    let made =
        made.and_then(|()| netns::pin(&netns, &path).map_err(Error::pod("name the namespace", ip)));
    if let Err(error) = made {
        netns::unpin(&path);
        let _ = host.batch(burial(site, &[ip]));
        return Err(error);
    }
    Ok(PodNet {
        name,
        ip,
        netns: Arc::new(netns),
        path,
    })
}

/// Runs inside the new namespace: loopback, ports below 1024 and ping for every user (as container
/// engines give them), and the socket that goes on to work in there.
fn prepare_inside() -> io::Result<Socket> {
    let mut socket = Socket::route()?;
    socket.request(link::set_loopback_up())?;
    // Kernels before 4.11 lack the first, some lock the second; a Pod works without.
    let _ = std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    let _ = std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    Ok(socket)
}

fn configure_inside(site: &Site, inside: &mut Socket, ip: Ipv4Addr) -> io::Result<()> {
    let Some(eth0) = link::find(inside, POD_INTERFACE)? else {
        return Err(io::ErrorKind::NotFound.into());
    };
    inside.batch(vec![
        link::set_up(eth0.index),
        link::add_address(eth0.index, ip, site.range),
        link::add_default_route(eth0.index, site.range.gateway()),
        link::add_neighbour(eth0.index, site.range.gateway(), site.bridge_mac),
    ])
}

/// The kernel takes note of a connected veth in a worker of its own; until then one end drops what
/// it is given to send and the other's bridge port is closed. It says nothing we could wait for
/// that would be quicker than asking.
fn wait_until_connected(socket: &mut Socket, name: &str) -> io::Result<()> {
    let deadline = Instant::now() + CONNECTED_MAX;
    while !link::find(socket, name)?.is_some_and(|link| link.operational) {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(CONNECTED_AGAIN);
    }
    Ok(())
}

/// Finds what an earlier process left, by the names in the file system.
pub(super) fn leftovers(site: &Site) -> io::Result<Vec<PodNet>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&site.names)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let ip = name
            .parse::<Ipv4Addr>()
            .ok()
            .filter(|ip| site.range.contains(*ip));
        match (ip, open_namespace(&path)) {
            (Some(ip), Some(netns)) => {
                found.push(PodNet {
                    name,
                    ip,
                    netns: Arc::new(netns),
                    path,
                });
            }
            _ => netns::unpin(&path),
        }
    }
    Ok(found)
}

/// Opens a name if a namespace is behind it; after a crash half way there may be an empty file.
fn open_namespace(path: &Path) -> Option<OwnedFd> {
    let file = File::open(path).ok()?;
    let magic = rustix::fs::fstatfs(&file).ok()?.f_type;
    (magic == libc::NSFS_MAGIC as rustix::fs::FsWord).then(|| file.into())
}

/// Takes Pod networks away. The kernel's waiting is paid once for all of them.
pub(super) fn bury(site: &Site, host: &mut Socket, pods: &[PodNet]) {
    let addresses: Vec<Ipv4Addr> = pods.iter().map(PodNet::ip).collect();
    if let Err(error) = host.batch(burial(site, &addresses)) {
        // Nothing is lost: with the names goes the last thing that keeps the namespaces alive.
        tracing::debug!(%error, "some interfaces of released Pods were gone already");
    }
    for pod in pods {
        netns::unpin(&pod.path);
    }
}

fn burial(site: &Site, addresses: &[Ipv4Addr]) -> Vec<Message> {
    let mut messages = Vec::new();
    for ip in addresses {
        messages.push(link::set_group(&site.host_interface(*ip), site.grave()));
        messages.push(link::delete_neighbour(site.bridge_index, *ip));
    }
    messages.push(link::delete_group(site.grave()));
    messages
}
